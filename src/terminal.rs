//! The terminal at which the program was started: its closing sends SIGHUP, and so does a request
//! for a reload.
//!
//! Knows no signal.

use std::io::{self, IsTerminal};

/// Which of the standard streams that carry no data are a terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    stdin: bool,
    stderr: bool,
}

impl Terminal {
    /// The state at present.
    pub(crate) fn look() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stderr: io::stderr().is_terminal(),
        }
    }

    /// Whether a terminal was closed since: it is none any more (a hang-up, termios(3)).
    pub(crate) fn has_gone(&self) -> bool {
        let now = Self::look();
        self.stdin && !now.stdin || self.stderr && !now.stderr
    }
}
