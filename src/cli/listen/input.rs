//! Lines typed on stdin, and their meaning.
//!
//! Stdin may be a file or a pipe, for which no poll can wait: a thread reads it. Knows no socket.

#![expect(
    clippy::disallowed_methods,
    reason = "stdin cannot be polled wherever it comes from, so a thread blocks on it"
)]

use std::{
    io::{self, BufRead, Read},
    thread,
};

use super::inbox::{Arrival, Inbox};

/// Sends every line of stdin to `inbox`, then its end.
pub(super) fn start(inbox: Inbox) {
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut stdin)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line);
            let arrival = match read {
                Ok(0) | Err(_) => Arrival::InputEnd,
                Ok(_) => Arrival::Line(String::from_utf8_lossy(&line).into_owned()),
            };
            let is_last = matches!(arrival, Arrival::InputEnd);
            if !inbox.send(arrival) || is_last {
                return;
            }
        }
    });
}

/// The command on a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed<'a> {
    Subscribe(&'a str),
    Unsubscribe(&'a str),
    List,
    Help,
    Quit,
    /// An empty line.
    Empty,
    /// A command without its channel.
    Incomplete(&'a str),
    Unknown(&'a str),
}

/// Parses a line. The channel is the rest of the line, so that names with spaces can be typed.
pub(super) fn parse(line: &str) -> Typed<'_> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (word, rest.trim_start()) {
        ("", _) => Typed::Empty,
        ("sub" | "unsub", "") => Typed::Incomplete(word),
        ("sub", channel) => Typed::Subscribe(channel),
        ("unsub", channel) => Typed::Unsubscribe(channel),
        ("list", "") => Typed::List,
        ("help", "") => Typed::Help,
        ("quit" | "exit", "") => Typed::Quit,
        _ => Typed::Unknown(line),
    }
}

/// A longer line counts as several.
const LINE_BYTES_MAX: u64 = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_and_maybe_a_channel() {
        for (line, expected) in [
            ("sub orders\n", Typed::Subscribe("orders")),
            ("  sub   my channel  \r\n", Typed::Subscribe("my channel")),
            ("unsub orders", Typed::Unsubscribe("orders")),
            ("sub", Typed::Incomplete("sub")),
            ("unsub  ", Typed::Incomplete("unsub")),
            ("list", Typed::List),
            ("help", Typed::Help),
            ("quit", Typed::Quit),
            ("exit\n", Typed::Quit),
            ("\n", Typed::Empty),
            ("subscribe x", Typed::Unknown("subscribe x")),
            ("list all", Typed::Unknown("list all")),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }
}
