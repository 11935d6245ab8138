//! Why a command did not do what it was asked.
//!
//! Knows nothing of the commands but their names, and no exit status: that is for `cli` to choose.

use super::command::CommandName;

/// Why a command did not do what it was asked. A closed stdout is no failure: see
/// [`Output`](super::output::Output).
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked in a way that cannot work: exit status 2.
    Usage {
        /// One sentence, lower case, no full stop.
        reason: String,
        /// The command whose usage line helps, `None` for that of the program.
        command: Option<CommandName>,
    },
    /// It failed while running: exit status 1.
    Run(String),
    /// Whether it did what it was asked is unknown: exit status 3.
    Unknown(String),
}

impl Failure {
    /// Wrong usage of `command`, or of the program.
    pub(crate) fn usage(
        command: impl Into<Option<CommandName>>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Usage {
            reason: reason.into(),
            command: command.into(),
        }
    }
}
