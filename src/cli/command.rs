//! The commands and the topics of `alle help`, by name.
//!
//! Owns the words that stand for them on the command line; knows neither what a command does nor
//! which options it has.

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
    /// `alle check`.
    Check,
    /// `alle config`.
    Config,
    /// `alle health`.
    Health,
    /// `alle token`.
    Token,
}

impl CommandName {
    /// All commands, in the order in which they are shown.
    pub(crate) const ALL: [Self; 9] = [
        Self::Serve,
        Self::Listen,
        Self::Publish,
        Self::Demo,
        Self::Doctor,
        Self::Check,
        Self::Config,
        Self::Health,
        Self::Token,
    ];

    /// The command that `word` names.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Listen => "listen",
            Self::Publish => "publish",
            Self::Demo => "demo",
            Self::Doctor => "doctor",
            Self::Check => "check",
            Self::Config => "config",
            Self::Health => "health",
            Self::Token => "token",
        }
    }
}

/// A topic of `alle help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// The program as a whole.
    Program,
    /// One command.
    Command(CommandName),
    /// The manual page.
    Man,
    /// The completions of a shell.
    Completions(Shell),
}

/// The shells that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    /// GNU Bash, from 3.2 on.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

impl Shell {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// The shell that `word` names.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

/// Stands in the place of a command.
pub(crate) const HELP: &str = "help";
/// The topic that is the manual page.
pub(crate) const MAN: &str = "man";
/// The topic that is the completions of a shell, whose name follows.
pub(crate) const COMPLETIONS: &str = "completions";
