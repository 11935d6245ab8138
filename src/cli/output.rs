//! The one place that writes to stdout and stderr, a line at a time.
//!
//! A reader of stdout that is gone (`alle listen | head -1`) is not an error: further lines are
//! dropped, `is_open` turns false and `finish` still returns success. An error of stderr is
//! ignored, since it could not be reported. Knows whether stdout is a terminal, not the meaning of
//! the lines.

use std::{
    borrow::Cow,
    ffi::OsStr,
    io::{self, ErrorKind, IsTerminal, Write},
};

use alle::internals::escape::{escaped, escaped_where};

use super::failure::Failure;

/// Stdout and stderr.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: State,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    look: Look,
}

/// What the environment says of the terminal and of the person at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Colours are welcome.
    pub(crate) is_coloured: bool,
    /// The terminal can do nothing but go on writing.
    pub(crate) is_dumb: bool,
}

impl Look {
    /// By the variables NO_COLOR (<https://no-color.org>) and TERM.
    pub(crate) fn new(no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let is_dumb = term.is_none_or(|it| it.is_empty() || it == "dumb");
        Self {
            is_coloured: !is_dumb && no_color.is_none_or(OsStr::is_empty),
            is_dumb,
        }
    }
}

/// The role of a part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// The name of a channel.
    Channel,
    Good,
    Warning,
    Bad,
    /// Of less interest.
    Faint,
}

impl Style {
    /// The parameters of "select graphic rendition" (ECMA-48).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Channel => "36",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

#[derive(Debug)]
enum State {
    Open,
    /// The reader is gone.
    Closed,
    /// A write failed for another reason, such as a full disk.
    Failed(io::Error),
}

impl Output {
    /// Nothing written yet.
    pub(crate) fn new(look: Look) -> Self {
        Self {
            stdout: State::Open,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            look,
        }
    }

    /// What the environment says of the terminal.
    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Whether a person reads stdout.
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether a person reads stderr.
    pub(crate) fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
    }

    /// Writes `text` to stderr as it is: for what is drawn there.
    pub(crate) fn draw(text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Whether stdout still has a reader.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stdout, State::Open)
    }

    /// Writes `text` to stdout as it is.
    pub(crate) fn text(&mut self, text: &str) {
        if !self.is_open() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            self.stdout = if error.kind() == ErrorKind::BrokenPipe {
                State::Closed
            } else {
                State::Failed(error)
            };
        }
    }

    /// Writes one line to stdout.
    pub(crate) fn line(&mut self, line: &str) {
        let line = self.styled(&[(Style::Plain, line)]);
        self.text(&line);
    }

    /// One line for stdout, to be written as [`text`](Self::text).
    pub(crate) fn styled(&self, parts: &[(Style, &str)]) -> String {
        let mut line = String::new();
        for (style, part) in parts {
            let part = one_line(part, self.stdout_is_terminal);
            let is_coloured = self.stdout_is_terminal && self.look.is_coloured;
            if is_coloured && *style != Style::Plain {
                line.push_str(&format!("\x1b[{}m{part}\x1b[0m", style.code()));
            } else {
                line.push_str(&part);
            }
        }
        line.push('\n');
        line
    }

    /// Writes one line to stderr.
    pub(crate) fn complain(&self, line: &str) {
        let line = format!("{}\n", one_line(line, self.stderr_is_terminal));
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// The end: success if every line was written, or the reader is gone.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        match &self.stdout {
            State::Open | State::Closed => Ok(()),
            State::Failed(error) => Err(Failure::Run(format!("cannot write to stdout: {error}"))),
        }
    }
}

/// `text` on one line: line breaks become `\n` and `\r`. For a terminal every other character that
/// controls it is escaped as well, as `\u{1b}`: a payload may come from anybody. For a file or a
/// pipe everything else stays as it is.
fn one_line(text: &str, for_terminal: bool) -> Cow<'_, str> {
    if for_terminal {
        escaped(text)
    } else {
        escaped_where(text, |letter| matches!(letter, '\n' | '\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_can_and_people_who_did_not_decline() {
        let look = |no_color: Option<&str>, term: Option<&str>| {
            let look = Look::new(no_color.map(OsStr::new), term.map(OsStr::new));
            (look.is_coloured, look.is_dumb)
        };
        for (no_color, term, expected) in [
            (None, Some("xterm"), (true, false)),
            (Some(""), Some("xterm"), (true, false)),
            (Some("1"), Some("xterm"), (false, false)),
            (Some("0"), Some("xterm"), (false, false)),
            (None, Some("dumb"), (false, true)),
            (None, Some(""), (false, true)),
            (None, None, (false, true)),
        ] {
            assert_eq!(look(no_color, term), expected, "{no_color:?} {term:?}");
        }
    }

    #[test]
    fn a_line_stays_one_line_and_cannot_command_a_terminal() {
        for (text, file, terminal) in [
            (
                "plain 'x' \"y\" \\",
                "plain 'x' \"y\" \\",
                "plain 'x' \"y\" \\",
            ),
            ("a\nb\r\nc", "a\\nb\\r\\nc", "a\\nb\\r\\nc"),
            ("a\tb", "a\tb", "a\tb"),
            ("\x1b[31mred", "\x1b[31mred", "\\u{1b}[31mred"),
            ("\u{9b}2J\x7f", "\u{9b}2J\x7f", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}fdp", "\u{202e}fdp", "\\u{202e}fdp"),
            ("grüße 🐘", "grüße 🐘", "grüße 🐘"),
        ] {
            assert_eq!(one_line(text, false), file);
            assert_eq!(one_line(text, true), terminal);
        }
    }
}
