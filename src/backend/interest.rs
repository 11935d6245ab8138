//! One channel towards PostgreSQL: whether it is wanted, asked for, and confirmed.
//!
//! A table of transitions and nothing else: at most one LISTEN or UNLISTEN of a channel is under
//! way, and a channel counts as listened to only once its LISTEN was answered with ReadyForQuery.
//! Knows neither names nor clients nor time.

use super::command::Verb;

/// The state of one channel towards the listening session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interest {
    /// Not listened to, not wanted.
    #[default]
    Idle,
    /// Wanted; LISTEN has not been sent yet.
    Waiting,
    /// LISTEN is under way.
    Listening {
        /// Whether the channel is still wanted.
        wanted: bool,
    },
    /// LISTEN was confirmed, and the channel is wanted.
    Listened,
    /// LISTEN was confirmed, the channel is not wanted any more; UNLISTEN has not been sent yet.
    Unwanted,
    /// UNLISTEN is under way.
    Unlistening {
        /// Whether the channel is wanted again.
        wanted: bool,
    },
    /// Wanted, but PostgreSQL refused; it will be asked again.
    Refused,
}

impl Interest {
    /// The channel is wanted.
    pub fn want(&mut self) {
        *self = match *self {
            Self::Idle | Self::Waiting | Self::Refused => Self::Waiting,
            Self::Listening { .. } => Self::Listening { wanted: true },
            // PostgreSQL has not been told: nothing of the channel was missed.
            Self::Listened | Self::Unwanted => Self::Listened,
            Self::Unlistening { .. } => Self::Unlistening { wanted: true },
        };
    }

    /// The channel is not wanted any more.
    pub fn unwant(&mut self) {
        *self = match *self {
            Self::Idle | Self::Waiting | Self::Refused => Self::Idle,
            Self::Listening { .. } => Self::Listening { wanted: false },
            Self::Listened | Self::Unwanted => Self::Unwanted,
            Self::Unlistening { .. } => Self::Unlistening { wanted: false },
        };
    }

    /// Whether PostgreSQL is to be asked for something.
    pub fn is_to_be_asked(self) -> bool {
        matches!(self, Self::Waiting | Self::Unwanted)
    }

    /// What PostgreSQL is asked now, if anything: from here on that is under way.
    #[must_use]
    pub fn ask(&mut self) -> Option<Verb> {
        match self {
            Self::Waiting => {
                *self = Self::Listening { wanted: true };
                Some(Verb::Listen)
            }
            Self::Unwanted => {
                *self = Self::Unlistening { wanted: false };
                Some(Verb::Unlisten)
            }
            Self::Idle
            | Self::Listening { .. }
            | Self::Listened
            | Self::Unlistening { .. }
            | Self::Refused => None,
        }
    }

    /// LISTEN was confirmed.
    pub fn listened(&mut self) {
        *self = match *self {
            Self::Listening { wanted: true } => Self::Listened,
            Self::Listening { wanted: false } => Self::Unwanted,
            Self::Idle
            | Self::Waiting
            | Self::Listened
            | Self::Unwanted
            | Self::Unlistening { .. }
            | Self::Refused => {
                debug_assert!(false, "LISTEN confirmed in {self:?}");
                return;
            }
        };
    }

    /// LISTEN was refused.
    pub fn refused(&mut self) {
        debug_assert!(
            matches!(self, Self::Listening { .. }),
            "LISTEN refused in {self:?}"
        );
        *self = if self.is_wanted() {
            Self::Refused
        } else {
            Self::Idle
        };
    }

    /// UNLISTEN was answered.
    pub fn unlistened(&mut self) {
        debug_assert!(
            matches!(self, Self::Unlistening { .. }),
            "UNLISTEN answered in {self:?}"
        );
        self.lost();
    }

    /// The session is gone, and with it everything it was asked.
    pub fn lost(&mut self) {
        *self = if self.is_wanted() {
            Self::Waiting
        } else {
            Self::Idle
        };
    }

    /// Whether each notification counts: LISTEN was confirmed, and nothing has been asked since. The
    /// channel may be wanted again before UNLISTEN is, and has missed nothing then.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Listened | Self::Unwanted)
    }

    /// Whether the channel is wanted.
    pub fn is_wanted(self) -> bool {
        match self {
            Self::Idle | Self::Unwanted => false,
            Self::Waiting | Self::Listened | Self::Refused => true,
            Self::Listening { wanted } | Self::Unlistening { wanted } => wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENING: Interest = Interest::Listening { wanted: true };
    const LISTENING_UNWANTED: Interest = Interest::Listening { wanted: false };
    const UNLISTENING: Interest = Interest::Unlistening { wanted: false };
    const UNLISTENING_WANTED: Interest = Interest::Unlistening { wanted: true };
    const ALL: [Interest; 9] = [
        Interest::Idle,
        Interest::Waiting,
        LISTENING,
        LISTENING_UNWANTED,
        Interest::Listened,
        Interest::Unwanted,
        UNLISTENING,
        UNLISTENING_WANTED,
        Interest::Refused,
    ];

    fn check(event: impl Fn(&mut Interest), rows: &[(Interest, Interest)]) {
        for &(before, after) in rows {
            let mut interest = before;
            event(&mut interest);
            assert_eq!(interest, after, "{before:?}");
        }
    }

    #[test]
    fn a_channel_is_wanted_from_every_state() {
        check(
            Interest::want,
            &[
                (Interest::Idle, Interest::Waiting),
                (Interest::Waiting, Interest::Waiting),
                (LISTENING, LISTENING),
                (LISTENING_UNWANTED, LISTENING),
                (Interest::Listened, Interest::Listened),
                (Interest::Unwanted, Interest::Listened),
                (UNLISTENING, UNLISTENING_WANTED),
                (UNLISTENING_WANTED, UNLISTENING_WANTED),
                (Interest::Refused, Interest::Waiting),
            ],
        );
    }

    #[test]
    fn only_a_confirmed_channel_is_unlistened() {
        check(
            Interest::unwant,
            &[
                (Interest::Idle, Interest::Idle),
                (Interest::Waiting, Interest::Idle),
                (LISTENING, LISTENING_UNWANTED),
                (LISTENING_UNWANTED, LISTENING_UNWANTED),
                (Interest::Listened, Interest::Unwanted),
                (Interest::Unwanted, Interest::Unwanted),
                (UNLISTENING, UNLISTENING),
                (UNLISTENING_WANTED, UNLISTENING),
                (Interest::Refused, Interest::Idle),
            ],
        );
    }

    #[test]
    fn one_command_of_a_channel_is_under_way_at_a_time() {
        for before in ALL {
            let mut interest = before;
            let expected = match before {
                Interest::Waiting => Some((Verb::Listen, LISTENING)),
                Interest::Unwanted => Some((Verb::Unlisten, UNLISTENING)),
                Interest::Idle
                | Interest::Listening { .. }
                | Interest::Listened
                | Interest::Unlistening { .. }
                | Interest::Refused => None,
            };
            assert_eq!(before.is_to_be_asked(), expected.is_some(), "{before:?}");
            let asked = interest.ask().map(|verb| (verb, interest));
            assert_eq!(asked, expected, "{before:?}");
            assert_eq!(interest.ask(), None, "{before:?}");
        }
    }

    #[test]
    fn answers_settle_the_request() {
        check(
            Interest::listened,
            &[
                (LISTENING, Interest::Listened),
                (LISTENING_UNWANTED, Interest::Unwanted),
            ],
        );
        check(
            Interest::unlistened,
            &[
                (UNLISTENING, Interest::Idle),
                (UNLISTENING_WANTED, Interest::Waiting),
            ],
        );
        check(
            Interest::refused,
            &[
                (LISTENING, Interest::Refused),
                (LISTENING_UNWANTED, Interest::Idle),
            ],
        );
    }

    #[test]
    fn a_lost_session_leaves_only_the_wish() {
        for before in ALL {
            let mut interest = before;
            interest.lost();
            let expected = if before.is_wanted() {
                Interest::Waiting
            } else {
                Interest::Idle
            };
            assert_eq!(interest, expected, "{before:?}");
        }
    }
}
