//! Which of the sessions: the one that listens, the one that publishes, or the one that is asked
//! about tokens.

use std::fmt;

/// The part that a session plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// LISTENs and receives notifications; does nothing else, so that nothing delays them.
    Listening,
    /// NOTIFYs.
    Publishing,
    /// Calls the function that says whose a token is, where there is one.
    Authorizing,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Listening, Self::Publishing, Self::Authorizing];
    /// Those that there always are.
    pub const PAIR: [Self; 2] = [Self::Listening, Self::Publishing];

    /// The place of the role in an array of all.
    pub fn index(self) -> usize {
        match self {
            Self::Listening => 0,
            Self::Publishing => 1,
            Self::Authorizing => 2,
        }
    }

    /// One of the others, whose settings may be the same.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Listening => Self::Publishing,
            Self::Publishing | Self::Authorizing => Self::Listening,
        }
    }

    pub(super) fn application_name(self) -> &'static str {
        match self {
            Self::Listening => "alle",
            Self::Publishing => "alle publish",
            Self::Authorizing => "alle authorize",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "listening",
            Self::Publishing => "publishing",
            Self::Authorizing => "authorizing",
        })
    }
}
