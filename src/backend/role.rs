//! Which of the two sessions: the one that listens, or the one that publishes.

use std::fmt;

/// The part that a session plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// LISTENs and receives notifications; does nothing else, so that nothing delays them.
    Listening,
    /// NOTIFYs.
    Publishing,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Listening, Self::Publishing];

    /// The place of the role in an array of both.
    pub fn index(self) -> usize {
        match self {
            Self::Listening => 0,
            Self::Publishing => 1,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Listening => Self::Publishing,
            Self::Publishing => Self::Listening,
        }
    }

    pub(super) fn application_name(self) -> &'static str {
        match self {
            Self::Listening => "alle",
            Self::Publishing => "alle publish",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "listening",
            Self::Publishing => "publishing",
        })
    }
}
