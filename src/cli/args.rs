//! From `argv` and the environment to an [`Invocation`]: valid, or a sentence saying why not.
//!
//! Two steps. `typed` notes what was typed without judging which option belongs to which command,
//! because options may stand before it; here it gets its meaning, flag before variable before
//! default. Runs nothing and reads the environment only through its argument.

mod choices;
mod options;
mod typed;

use std::ffi::OsString;

use alle::{
    BridgeConfig,
    access::{Permissions, globs::Globs, origins::is_origin},
    channel::Channel,
};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub(crate) use self::choices::{
    DemoOptions, LimitOptions, ListenOptions, PostgresOptions, PublishOptions, ServeOptions,
};
use self::{options::Name, typed::Typed};
use super::{Failure, connection::WsUrl, token::TokenSource};

/// What one run of the program is to do.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Which log lines are written.
    pub(crate) log_filter: Targets,
    /// What to do.
    pub(crate) command: Command,
}

/// One command with everything it needs.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print a help text, `None` for that of the program.
    Help(Option<CommandName>),
    /// Print the version.
    Version,
    /// Start the bridge.
    Serve(Box<ServeOptions>),
    /// Listen through a bridge.
    Listen(ListenOptions),
    /// Send one notification through a bridge.
    Publish(PublishOptions),
    /// Start everything at once, to throw away.
    Demo(DemoOptions),
    /// Check PostgreSQL.
    Doctor(PostgresOptions),
}

/// The commands that have options and a help text of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandName {
    /// `alle serve`, and `alle` alone.
    Serve,
    /// `alle listen`.
    Listen,
    /// `alle publish`.
    Publish,
    /// `alle demo`.
    Demo,
    /// `alle doctor`.
    Doctor,
}

/// Reads a variable of the environment.
pub(crate) type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Gives `arguments` (the program's name first) their meaning.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: Variable<'_>,
) -> Result<Invocation, Failure> {
    let typed = typed::read(arguments)?;
    if typed.help || typed.version {
        let command = if typed.help {
            Command::Help(typed.command)
        } else {
            Command::Version
        };
        return Ok(Invocation {
            log_filter: Targets::new(),
            command,
        });
    }
    let meaning = Meaning {
        command: typed.command.unwrap_or(CommandName::Serve),
        typed,
        variable,
    };
    meaning.check_options()?;
    Ok(Invocation {
        log_filter: meaning.log_filter()?,
        command: meaning.command()?,
    })
}

/// What was typed, on its way to what it means.
struct Meaning<'a> {
    command: CommandName,
    typed: Typed,
    variable: Variable<'a>,
}

impl Meaning<'_> {
    fn command(&self) -> Result<Command, Failure> {
        match self.command {
            CommandName::Serve => self.serve().map(|it| Command::Serve(Box::new(it))),
            CommandName::Listen => self.listen().map(Command::Listen),
            CommandName::Publish => self.publish().map(Command::Publish),
            CommandName::Demo => self.demo().map(Command::Demo),
            CommandName::Doctor => {
                self.no_positionals()?;
                self.postgres().map(Command::Doctor)
            }
        }
    }

    fn serve(&self) -> Result<ServeOptions, Failure> {
        self.no_positionals()?;
        Ok(ServeOptions {
            postgres: self.postgres()?,
            ws_bind_addr: self
                .setting(Name::WsBindAddr, "WS_BIND_ADDR")?
                .unwrap_or_else(|| DEFAULT_WS_BIND_ADDR.to_owned()),
            admin_addr: self.values(Name::AdminAddr).pop(),
            channels: self.serve_channels()?,
            allow_origins: self.origins()?,
            allow_hosts: split(&self.values(Name::AllowHost)),
            permissions: Permissions {
                subscribe: self.globs(Name::AllowSubscribe),
                publish: self.globs(Name::AllowPublish),
            },
            token_file: self.token_file()?,
            playground: self.has(Name::Playground),
            drain: self.drain()?,
            limits: LimitOptions {
                max_clients: self.number(Name::MaxClients, "--max-clients", 1)?,
                max_clients_per_address: self.number(
                    Name::MaxClientsPerAddress,
                    "--max-clients-per-address",
                    1,
                )?,
                client_rate: self.number(Name::ClientRate, "--client-rate", 1)?,
                history: self.number(Name::History, "--history", 0)?,
                history_bytes: self.number(Name::HistoryBytes, "--history-bytes", 0)?,
                unlisten_delay: self.number(Name::UnlistenDelay, "--unlisten-delay", 0)?,
                client_queue: self.number(Name::ClientQueue, "--client-queue", 1)?,
                retained: self.number(Name::Retained, "--retained", 1)?,
            },
        })
    }

    fn postgres(&self) -> Result<PostgresOptions, Failure> {
        Ok(PostgresOptions {
            url: self
                .setting(Name::PostgresUrl, "POSTGRES_URL")?
                .unwrap_or_else(|| DEFAULT_POSTGRES_URL.to_owned()),
            listen_url: self.setting(Name::PgListenUrl, "PG_LISTEN_URL")?,
            publish_url: self.setting(Name::PgPublishUrl, "PG_PUBLISH_URL")?,
        })
    }

    /// Never an empty list: with a token file it would narrow nothing, as none does.
    fn origins(&self) -> Result<Vec<String>, Failure> {
        let lists = self.values(Name::AllowOrigin);
        let empty = lists
            .iter()
            .find(|list| split(std::slice::from_ref(list)).is_empty());
        let origins = split(&lists);
        match empty.or_else(|| origins.iter().find(|it| !is_origin(it))) {
            None => Ok(origins),
            Some(wrong) => Err(self.wrong(format!(
                "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', \
                 not '{wrong}'"
            ))),
        }
    }

    /// The patterns typed; all channels where there are none, none where they are empty.
    fn globs(&self, name: Name) -> Globs {
        let lists = self.values(name);
        if lists.is_empty() {
            return Globs::default();
        }
        Globs::parse(&lists.join(","))
    }

    /// For how many seconds.
    fn drain(&self) -> Result<Option<usize>, Failure> {
        let max = BridgeConfig::DRAIN_MAX.as_secs();
        let Some(text) = self.values(Name::Drain).pop() else {
            return Ok(None);
        };
        match text.parse() {
            Ok(seconds) if seconds as u64 <= max => Ok(Some(seconds)),
            Ok(_) | Err(_) => Err(self.wrong(format!(
                "--drain takes a whole number from 0 to {max}, not '{text}'"
            ))),
        }
    }

    /// A whole number from `min` up.
    fn number(&self, name: Name, option: &str, min: usize) -> Result<Option<usize>, Failure> {
        let values = self.values(name);
        let Some(text) = values.last() else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if number >= min => Ok(Some(number)),
            Ok(_) | Err(_) => Err(self.wrong(format!(
                "{option} takes a whole number from {min} up, not '{text}'"
            ))),
        }
    }

    fn listen(&self) -> Result<ListenOptions, Failure> {
        Ok(ListenOptions {
            ws_url: self.ws_url()?,
            token: self.token()?,
            channels: self.channels(&self.typed.positionals)?,
            json: self.has(Name::Json),
            reconnect: !self.has(Name::NoReconnect),
        })
    }

    fn publish(&self) -> Result<PublishOptions, Failure> {
        let [channel, payload] = self.typed.positionals.as_slice() else {
            return Err(self.wrong(match self.typed.positionals.len() {
                0 => "publish needs a CHANNEL and a PAYLOAD",
                1 => "publish needs a PAYLOAD after the CHANNEL ('-' reads it from stdin)",
                _ => "publish takes one CHANNEL and one PAYLOAD: put quotes around the payload",
            }));
        };
        Ok(PublishOptions {
            ws_url: self.ws_url()?,
            token: self.token()?,
            channel: Channel::new(channel).map_err(|error| self.wrong(error.to_string()))?,
            payload: payload.clone(),
        })
    }

    fn demo(&self) -> Result<DemoOptions, Failure> {
        self.no_positionals()?;
        Ok(DemoOptions {
            ws_bind_addr: self.setting(Name::WsBindAddr, "WS_BIND_ADDR")?,
        })
    }

    fn ws_url(&self) -> Result<WsUrl, Failure> {
        let text = self.setting(Name::WsUrl, "WS_URL")?;
        WsUrl::parse(text.as_deref().unwrap_or(DEFAULT_WS_URL))
            .map_err(|error| self.wrong(error.to_string()))
    }

    fn token(&self) -> Result<TokenSource, Failure> {
        if let Some(path) = self.token_file()? {
            return Ok(TokenSource::File(path));
        }
        match self.variable(TokenSource::VARIABLE)? {
            Some(text) => TokenSource::given(&text).map_err(|reason| self.wrong(reason)),
            None => Ok(TokenSource::None),
        }
    }

    /// Never empty: a script's variable that is not set must not let everybody in.
    fn token_file(&self) -> Result<Option<String>, Failure> {
        match self.values(Name::TokenFile).pop() {
            Some(path) if path.is_empty() => {
                Err(self.wrong("--token-file takes the path of a file, not ''"))
            }
            path => Ok(path),
        }
    }

    fn serve_channels(&self) -> Result<Vec<String>, Failure> {
        let typed = self.values(Name::Channels);
        if !typed.is_empty() {
            return self.channels(&typed);
        }
        let from_environment = self.variable("LISTEN_CHANNELS")?;
        self.channels(from_environment.as_slice())
    }

    /// The channels named in comma separated `lists`, each once, in order.
    fn channels(&self, lists: &[String]) -> Result<Vec<String>, Failure> {
        if lists.iter().any(|list| list.trim().is_empty()) {
            return Err(self.wrong("channel name is empty"));
        }
        let mut channels = Vec::new();
        for name in split(lists) {
            let channel = Channel::new(&name)
                .map_err(|error| self.wrong(format!("channel '{name}': {error}")))?;
            if !channels.iter().any(|known| known == channel.as_str()) {
                channels.push(name);
            }
        }
        Ok(channels)
    }

    fn log_filter(&self) -> Result<Targets, Failure> {
        let directives = self.setting(Name::LogLevel, "RUST_LOG")?;
        let default = match self.command {
            // What it finds it prints.
            CommandName::Doctor => "off",
            CommandName::Serve | CommandName::Listen | CommandName::Publish | CommandName::Demo => {
                DEFAULT_LOG_LEVEL
            }
        };
        let directives = directives.as_deref().unwrap_or(default);
        // `Targets` takes a word it does not know for a target's name: `-l verbose` would silence
        // everything without a word, and so would nothing.
        let listed = split(&[directives.to_owned()]);
        let nothing = listed.is_empty().then(String::new);
        let misspelt = nothing.or_else(|| {
            listed.into_iter().find(|directive| {
                !directive.contains('=')
                    && directive.parse::<LevelFilter>().is_err()
                    && directive != "alle"
                    && !directive.starts_with("alle::")
            })
        });
        let parsed = directives.parse::<Targets>();
        match (misspelt, parsed) {
            (None, Ok(filter)) => Ok(filter),
            (Some(directive), _) => Err(self.wrong(format!(
                "log level '{directive}' is none of off, error, warn, info, debug, trace \
                 (or TARGET=LEVEL, comma separated)"
            ))),
            (None, Err(error)) => {
                Err(self.wrong(format!("log level '{directives}' is malformed: {error}")))
            }
        }
    }

    /// Every option must be one of this command.
    fn check_options(&self) -> Result<(), Failure> {
        match self
            .typed
            .options
            .iter()
            .find(|typed| typed.name(self.command).is_none())
        {
            None => Ok(()),
            Some(stranger) => Err(self.wrong(format!(
                "option '{}' does not belong to '{}'",
                stranger.spelling(),
                options::command_text(self.command)
            ))),
        }
    }

    fn no_positionals(&self) -> Result<(), Failure> {
        match self.typed.positionals.first() {
            None => Ok(()),
            Some(stray) => Err(self.wrong(format!("unexpected argument '{stray}'"))),
        }
    }

    /// The flag, typed last, or else the variable; empty counts as not set.
    fn setting(&self, name: Name, variable: &str) -> Result<Option<String>, Failure> {
        match self.values(name).pop() {
            Some(value) => Ok(Some(value)),
            None => self.variable(variable),
        }
    }

    fn variable(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some(value) = (self.variable)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match value.into_string() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.wrong(format!("the variable {name} is not valid UTF-8"))),
        }
    }

    fn values(&self, name: Name) -> Vec<String> {
        let named = self
            .typed
            .options
            .iter()
            .filter(|typed| typed.name(self.command) == Some(name));
        named.filter_map(|typed| typed.value.clone()).collect()
    }

    fn has(&self, name: Name) -> bool {
        self.typed
            .options
            .iter()
            .any(|typed| typed.name(self.command) == Some(name))
    }

    fn wrong(&self, reason: impl Into<String>) -> Failure {
        Failure::usage(self.command, reason)
    }
}

/// The items of comma separated `lists`, without the space around them and without empty ones.
fn split(lists: &[String]) -> Vec<String> {
    let items = lists.iter().flat_map(|list| list.split(',')).map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

const DEFAULT_POSTGRES_URL: &str = "postgresql://localhost/postgres";
const DEFAULT_LOG_LEVEL: &str = "alle=info,info";
pub(crate) const DEFAULT_WS_BIND_ADDR: &str = "127.0.0.1:8080";
pub(crate) const DEFAULT_WS_URL: &str = "ws://127.0.0.1:8080";

#[cfg(test)]
mod tests;
