//! How a half-typed command may go on.
//!
//! Knows the words of the commands and that the name of a channel follows some of them. Refuses to
//! know which channels there are.

use alle::internals::escape::is_command;

use super::editor::Completion;

/// The ways in which `typed` may go on. `channels` are all the names that are known, `wanted` those
/// that are subscribed to.
pub(super) fn complete<'a>(
    typed: &str,
    channels: impl Iterator<Item = &'a str>,
    wanted: impl Iterator<Item = &'a str>,
) -> Completion {
    let indent = typed.len() - typed.trim_start().len();
    let Some((word, rest)) = typed[indent..].split_once(char::is_whitespace) else {
        let begun = &typed[indent..];
        let words = COMMANDS.into_iter().filter(|word| word.starts_with(begun));
        return Completion {
            start: indent,
            candidates: words.map(str::to_owned).collect(),
        };
    };
    let begun = rest.trim_start();
    let begins = |name: &&str| name.starts_with(begun) && !name.contains(is_command);
    let candidates = match word {
        "sub" => channels.filter(begins).map(str::to_owned).collect(),
        "unsub" => wanted.filter(begins).map(str::to_owned).collect(),
        "pub" => channels
            .filter(begins)
            .filter(|name| !name.contains(char::is_whitespace))
            .map(|name| format!("{name} "))
            .collect(),
        _ => Vec::new(),
    };
    Completion {
        start: typed.len() - begun.len(),
        candidates,
    }
}

/// With a space where something has to follow.
const COMMANDS: [&str; 8] = [
    "sub ", "unsub ", "pub ", "list", "clear", "help", "quit", "exit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_on_and_channels_behind_them() {
        let channels = ["alerts", "my channel", "orders", "x\u{202e}"];
        for (typed, start, expected) in [
            ("", 0, &COMMANDS[..]),
            ("  s", 2, &["sub "]),
            ("cl", 0, &["clear"]),
            ("sub ", 4, &["alerts", "my channel", "orders"]),
            ("sub  my c", 5, &["my channel"]),
            ("unsub ", 6, &["orders"]),
            ("pub ", 4, &["alerts ", "orders "]),
            ("pub or", 4, &["orders "]),
            ("pub orders ", 4, &[]),
            ("list ", 5, &[]),
            ("frob", 0, &[]),
        ] {
            let found = complete(typed, channels.into_iter(), ["orders"].into_iter());
            assert_eq!(found.candidates, expected, "{typed:?}");
            assert_eq!(found.start, start, "{typed:?}");
        }
    }
}
