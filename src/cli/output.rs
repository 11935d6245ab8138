//! The one place that writes to stdout and stderr, a line at a time.
//!
//! A reader of stdout that is gone (`alle listen | head -1`) is not an error: further lines are
//! dropped, `is_open` turns false and `finish` still returns success. An error of stderr is
//! ignored, since it could not be reported. Knows whether stdout is a terminal, not the meaning of
//! the lines.

use std::{
    borrow::Cow,
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
    pub(crate) fn new() -> Self {
        Self {
            stdout: State::Open,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Whether a person reads stdout.
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
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
        self.text(&format!("{}\n", one_line(line, self.stdout_is_terminal)));
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
