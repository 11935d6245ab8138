//! The table of options: how each is spelt, whether it takes a value, where it belongs.
//!
//! Also finds the nearest spelling for a typing error. Knows no defaults and no meaning.

use super::CommandName::{self, Demo, Doctor, Listen, Publish, Serve};

/// What an option is about, however it was spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    PostgresUrl,
    PgListenUrl,
    PgPublishUrl,
    LogLevel,
    Help,
    Version,
    WsBindAddr,
    WsUrl,
    AdminAddr,
    Channels,
    AllowOrigin,
    AllowHost,
    AllowSubscribe,
    AllowPublish,
    TokenFile,
    Playground,
    MaxClients,
    MaxClientsPerAddress,
    ClientRate,
    History,
    HistoryBytes,
    UnlistenDelay,
    Drain,
    ClientQueue,
    Retained,
    Json,
    NoReconnect,
}

/// One row of [`OPTIONS`].
pub(super) struct OptionSpec {
    pub(super) name: Name,
    /// `-w` is the address of the bridge everywhere: where it binds, or where it is.
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) takes_value: bool,
    pub(super) commands: &'static [CommandName],
}

/// The command a word names.
pub(super) fn command(word: &str) -> Option<CommandName> {
    COMMANDS
        .iter()
        .copied()
        .find(|command| command_word(*command) == word)
}

/// The word for a command.
pub(super) fn command_word(command: CommandName) -> &'static str {
    match command {
        Serve => "serve",
        Listen => "listen",
        Publish => "publish",
        Demo => "demo",
        Doctor => "doctor",
    }
}

/// A command as one types it.
pub(super) fn command_text(command: CommandName) -> String {
    format!("alle {}", command_word(command))
}

/// The command nearest to `word`.
pub(super) fn nearest_command(word: &str) -> Option<&'static str> {
    let words = COMMANDS.iter().map(|command| command_word(*command));
    nearest(word, words.chain(["help"]))
}

/// The long option nearest to `long`, among those of `command` where that is known.
pub(super) fn nearest_option(long: &str, command: Option<CommandName>) -> Option<&'static str> {
    let of_command = OPTIONS
        .iter()
        .filter(|option| command.is_none_or(|command| option.commands.contains(&command)));
    nearest(long, of_command.map(|option| option.long))
}

/// The candidate that `typed` begins or that takes the fewest changes, at most a third of it.
fn nearest(typed: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let distance = |candidate: &'static str| {
        if typed.len() >= PREFIX_BYTES_MIN && candidate.starts_with(typed) {
            return 1;
        }
        changes(typed, candidate)
    };
    let (distance, candidate) = candidates
        .map(|candidate| (distance(candidate), candidate))
        .min()?;
    (distance <= candidate.len().div_ceil(3)).then_some(candidate)
}

/// How many insertions, deletions and replacements lead from `from` to `to` (Levenshtein).
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[to.len()]
}

const COMMANDS: &[CommandName] = &[Serve, Listen, Publish, Demo, Doctor];

/// Shorter beginnings fit too much.
const PREFIX_BYTES_MIN: usize = 3;

macro_rules! option {
    ($name:ident, $short:expr, $long:literal, $takes_value:literal, $commands:expr) => {
        OptionSpec {
            name: Name::$name,
            short: $short,
            long: $long,
            takes_value: $takes_value,
            commands: $commands,
        }
    };
}

pub(super) const OPTIONS: &[OptionSpec] = &[
    option!(PostgresUrl, Some('p'), "postgres-url", true, COMMANDS),
    option!(PgListenUrl, None, "pg-listen-url", true, &[Serve, Doctor]),
    option!(PgPublishUrl, None, "pg-publish-url", true, &[Serve, Doctor]),
    option!(LogLevel, Some('l'), "log-level", true, COMMANDS),
    option!(Help, Some('h'), "help", false, COMMANDS),
    option!(Version, Some('V'), "version", false, COMMANDS),
    option!(WsBindAddr, Some('w'), "ws-bind-addr", true, &[Serve, Demo]),
    option!(WsUrl, Some('w'), "ws-url", true, &[Listen, Publish]),
    option!(AdminAddr, None, "admin-addr", true, &[Serve]),
    option!(Channels, Some('c'), "channels", true, &[Serve]),
    option!(AllowOrigin, None, "allow-origin", true, &[Serve]),
    option!(AllowHost, None, "allow-host", true, &[Serve]),
    option!(AllowSubscribe, None, "allow-subscribe", true, &[Serve]),
    option!(AllowPublish, None, "allow-publish", true, &[Serve]),
    option!(
        TokenFile,
        None,
        "token-file",
        true,
        &[Serve, Listen, Publish]
    ),
    option!(Playground, None, "playground", false, &[Serve]),
    option!(MaxClients, None, "max-clients", true, &[Serve]),
    option!(
        MaxClientsPerAddress,
        None,
        "max-clients-per-address",
        true,
        &[Serve]
    ),
    option!(ClientRate, None, "client-rate", true, &[Serve]),
    option!(History, None, "history", true, &[Serve]),
    option!(HistoryBytes, None, "history-bytes", true, &[Serve]),
    option!(UnlistenDelay, None, "unlisten-delay", true, &[Serve]),
    option!(Drain, None, "drain", true, &[Serve]),
    option!(ClientQueue, None, "client-queue", true, &[Serve]),
    option!(Retained, None, "retained", true, &[Serve]),
    option!(Json, None, "json", false, &[Listen]),
    option!(NoReconnect, None, "no-reconnect", false, &[Listen]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_option_and_nonsense_finds_none() {
        for (typed, expected) in [
            ("chanels", Some("channels")),
            ("ws-bind-adr", Some("ws-bind-addr")),
            ("postgres", Some("postgres-url")),
            ("pg-lisen-url", Some("pg-listen-url")),
            ("jsn", Some("json")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest_option(typed, None), expected, "{typed}");
        }
        assert_eq!(nearest_option("chanels", Some(Listen)), None);
        assert_eq!(nearest_command("lisen"), Some("listen"));
        assert_eq!(nearest_command("xyzzy"), None);
    }
}
