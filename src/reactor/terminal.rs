//! The terminal that the program was started at: when it is closed SIGHUP comes, as it does from
//! whoever asks for a reload.
//!
//! Knows no signal.

use std::io::{self, IsTerminal};

/// Which of the standard streams that carry no data are a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    stdin: bool,
    stderr: bool,
}

impl Terminal {
    /// As it is now.
    pub(super) fn look() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stderr: io::stderr().is_terminal(),
        }
    }

    /// Whether there was one that was closed since: it is none any more (a hang-up, termios(3)).
    pub(super) fn has_gone(&self) -> bool {
        let now = Self::look();
        self.stdin && !now.stdin || self.stderr && !now.stderr
    }
}
