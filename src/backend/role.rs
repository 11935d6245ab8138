//! The two sessions, told apart.

use std::fmt;

/// Which of the two sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// LISTENs and hears; does nothing else, so that nothing delays what it hears.
    Listening,
    /// NOTIFYs.
    Publishing,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Listening, Self::Publishing];

    /// The number, for arrays by role.
    pub fn index(self) -> usize {
        match self {
            Self::Listening => 0,
            Self::Publishing => 1,
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
