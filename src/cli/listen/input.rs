//! Commands: the lines of a stdin that is no terminal, and what a line means.
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
            let arrival = next_line(&mut stdin).map_or(Arrival::InputEnd, Arrival::Line);
            let is_last = matches!(arrival, Arrival::InputEnd);
            if !inbox.send(arrival) || is_last {
                return;
            }
        }
    });
}

/// The next line; of a longer one than any command, so much that it is seen to be none.
fn next_line(input: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let mut read = |line: &mut Vec<u8>, most: u64| {
        let read = input.by_ref().take(most).read_until(b'\n', line);
        read.is_ok_and(|bytes| bytes > 0)
    };
    if !read(&mut line, LINE_BYTES_MAX + 1) {
        return None;
    }
    let mut rest = Vec::new();
    while line.len() as u64 > LINE_BYTES_MAX && !line.ends_with(b"\n") && !rest.ends_with(b"\n") {
        rest.clear();
        if !read(&mut rest, LINE_BYTES_MAX) {
            break;
        }
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// The command on a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed<'a> {
    Subscribe(&'a str),
    Unsubscribe(&'a str),
    Publish(&'a str, &'a str),
    List,
    Clear,
    Help,
    Quit,
    /// An empty line.
    Empty,
    /// A command without what it needs, and the words of the whole.
    Incomplete(&'static str),
    /// No command is so long.
    TooLong,
    Unknown(&'a str),
}

/// Parses a line. The channel is the rest of the line, so that names with spaces can be typed;
/// before a payload it is one word, or stands between quotation marks.
pub(super) fn parse(line: &str) -> Typed<'_> {
    if line.len() as u64 > LINE_BYTES_MAX {
        return Typed::TooLong;
    }
    let line = line.trim_start().trim_end_matches(['\n', '\r']);
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (word, rest.trim()) {
        ("", _) => Typed::Empty,
        ("sub", "") => Typed::Incomplete("sub <channel>"),
        ("unsub", "") => Typed::Incomplete("unsub <channel>"),
        ("sub", channel) => Typed::Subscribe(channel),
        ("unsub", channel) => Typed::Unsubscribe(channel),
        ("pub", _) => publish(rest.trim_start()),
        ("list", "") => Typed::List,
        ("clear", "") => Typed::Clear,
        ("help", "") => Typed::Help,
        ("quit" | "exit", "") => Typed::Quit,
        _ => Typed::Unknown(line.trim_end()),
    }
}

/// `CHANNEL PAYLOAD`: the payload is everything behind one space.
fn publish(rest: &str) -> Typed<'_> {
    let quoted = ['"', '\''].into_iter().find_map(|mark| {
        let (channel, payload) = rest.strip_prefix(mark)?.split_once(mark)?;
        let payload = payload.strip_prefix(char::is_whitespace)?;
        Some((channel, payload))
    });
    match quoted.or_else(|| rest.split_once(char::is_whitespace)) {
        Some((channel, payload)) => Typed::Publish(channel, payload),
        None => Typed::Incomplete("pub <channel> <payload>"),
    }
}

/// A channel, and a payload of which each byte is escaped.
const LINE_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_and_maybe_a_channel() {
        for (line, expected) in [
            ("sub orders\n", Typed::Subscribe("orders")),
            ("  sub   my channel  \r\n", Typed::Subscribe("my channel")),
            ("unsub orders", Typed::Unsubscribe("orders")),
            ("sub", Typed::Incomplete("sub <channel>")),
            ("unsub  ", Typed::Incomplete("unsub <channel>")),
            ("pub", Typed::Incomplete("pub <channel> <payload>")),
            ("pub orders\n", Typed::Incomplete("pub <channel> <payload>")),
            ("pub orders \n", Typed::Publish("orders", "")),
            ("pub  orders  a b \r\n", Typed::Publish("orders", " a b ")),
            ("pub 'my channel' x", Typed::Publish("my channel", "x")),
            (r#"pub "it's" x"#, Typed::Publish("it's", "x")),
            ("pub 'tis x", Typed::Publish("'tis", "x")),
            ("list", Typed::List),
            ("clear", Typed::Clear),
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

    /// The end of a long line is no command.
    #[test]
    fn a_line_too_long_is_one_line() {
        let most = usize::try_from(LINE_BYTES_MAX).unwrap();
        for (length, is_too_long) in [(most - 1, false), (most, true), (3 * most, true)] {
            let typed = format!("{}\nquit", "x".repeat(length));
            let mut input = typed.as_bytes();
            let first = next_line(&mut input).unwrap();
            assert_eq!(parse(&first) == Typed::TooLong, is_too_long, "{length}");
            assert_eq!(next_line(&mut input).as_deref(), Some("quit"));
            assert_eq!(next_line(&mut input), None);
        }
    }
}
