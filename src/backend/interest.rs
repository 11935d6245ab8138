//! What is wanted of one channel, what was asked of PostgreSQL, and what it confirmed.
//!
//! A table of transitions and nothing else: at most one LISTEN or UNLISTEN of a channel is under
//! way, and a channel counts as listened to only once its LISTEN was answered with ReadyForQuery.
//! Knows neither names nor clients, and of time only how long a refusal holds.

use std::time::Duration;

/// The state of one channel towards the listening session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interest {
    /// Not listened to, not wanted.
    #[default]
    Idle,
    /// Wanted; there is no session to ask.
    Waiting,
    /// LISTEN is under way.
    Listening {
        /// Whether somebody still wants it.
        wanted: bool,
    },
    /// LISTEN was confirmed, and somebody wants it.
    Listened,
    /// UNLISTEN is under way.
    Unlistening {
        /// Whether somebody wants it again.
        wanted: bool,
    },
    /// Wanted, but PostgreSQL refused; it will be asked again, after [`Self::RETRY_MIN`] first.
    Refused,
}

/// What is to be sent because of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// LISTEN.
    Listen,
    /// UNLISTEN.
    Unlisten,
}

impl Interest {
    /// What was refused is asked for again after this long, doubling
    pub const RETRY_MIN: Duration = Duration::from_secs(1);
    /// up to this long.
    pub const RETRY_MAX: Duration = Duration::from_secs(30);

    /// Somebody wants the channel; `up` is whether a session can be asked.
    #[must_use]
    pub fn want(&mut self, up: bool) -> Option<Command> {
        let (next, command) = match *self {
            Self::Idle | Self::Refused if up => {
                (Self::Listening { wanted: true }, Some(Command::Listen))
            }
            Self::Idle | Self::Refused | Self::Waiting => (Self::Waiting, None),
            Self::Listening { .. } => (Self::Listening { wanted: true }, None),
            Self::Listened => (Self::Listened, None),
            Self::Unlistening { .. } => (Self::Unlistening { wanted: true }, None),
        };
        *self = next;
        command
    }

    /// Nobody wants the channel any more.
    #[must_use]
    pub fn unwant(&mut self) -> Option<Command> {
        let (next, command) = match *self {
            Self::Idle | Self::Waiting | Self::Refused => (Self::Idle, None),
            Self::Listening { .. } => (Self::Listening { wanted: false }, None),
            Self::Listened => (Self::Unlistening { wanted: false }, Some(Command::Unlisten)),
            Self::Unlistening { .. } => (Self::Unlistening { wanted: false }, None),
        };
        *self = next;
        command
    }

    /// LISTEN was confirmed. Afterwards the channel is [`Interest::Listened`], or nobody wanted it
    /// any more.
    #[must_use]
    pub fn listened(&mut self) -> Option<Command> {
        match *self {
            Self::Listening { wanted: true } => {
                *self = Self::Listened;
                None
            }
            Self::Listening { wanted: false } => {
                *self = Self::Unlistening { wanted: false };
                Some(Command::Unlisten)
            }
            Self::Idle
            | Self::Waiting
            | Self::Listened
            | Self::Unlistening { .. }
            | Self::Refused => {
                debug_assert!(false, "LISTEN confirmed in {self:?}");
                None
            }
        }
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
    #[must_use]
    pub fn unlistened(&mut self) -> Option<Command> {
        debug_assert!(
            matches!(self, Self::Unlistening { .. }),
            "UNLISTEN answered in {self:?}"
        );
        if self.is_wanted() {
            *self = Self::Listening { wanted: true };
            return Some(Command::Listen);
        }
        *self = Self::Idle;
        None
    }

    /// The session is gone, and with it everything it was asked.
    pub fn lost(&mut self) {
        *self = if self.is_wanted() {
            Self::Waiting
        } else {
            Self::Idle
        };
    }

    /// A session can be asked, for the first time or again.
    #[must_use]
    pub fn ready(&mut self) -> Option<Command> {
        match self {
            Self::Waiting | Self::Refused => {
                *self = Self::Listening { wanted: true };
                Some(Command::Listen)
            }
            Self::Idle | Self::Listening { .. } | Self::Listened | Self::Unlistening { .. } => None,
        }
    }

    /// Whether somebody wants the channel.
    fn is_wanted(self) -> bool {
        match self {
            Self::Idle => false,
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
    const ALL: [Interest; 8] = [
        Interest::Idle,
        Interest::Waiting,
        LISTENING,
        LISTENING_UNWANTED,
        Interest::Listened,
        UNLISTENING,
        UNLISTENING_WANTED,
        Interest::Refused,
    ];

    type Row = (Interest, Interest, Option<Command>);

    fn check(event: impl Fn(&mut Interest) -> Option<Command>, rows: &[Row]) {
        for &(before, after, command) in rows {
            let mut interest = before;
            assert_eq!(event(&mut interest), command, "{before:?}");
            assert_eq!(interest, after, "{before:?}");
        }
    }

    #[test]
    fn wanting_a_channel_listens_once() {
        let listen = Some(Command::Listen);
        check(
            |interest| interest.want(true),
            &[
                (Interest::Idle, LISTENING, listen),
                (Interest::Waiting, Interest::Waiting, None),
                (LISTENING, LISTENING, None),
                (LISTENING_UNWANTED, LISTENING, None),
                (Interest::Listened, Interest::Listened, None),
                (UNLISTENING, UNLISTENING_WANTED, None),
                (UNLISTENING_WANTED, UNLISTENING_WANTED, None),
                (Interest::Refused, LISTENING, listen),
            ],
        );
    }

    #[test]
    fn wanting_a_channel_without_a_session_waits() {
        check(
            |interest| interest.want(false),
            &[
                (Interest::Idle, Interest::Waiting, None),
                (Interest::Waiting, Interest::Waiting, None),
                (Interest::Refused, Interest::Waiting, None),
            ],
        );
    }

    #[test]
    fn unwanting_a_channel_unlistens_only_what_is_confirmed() {
        check(
            Interest::unwant,
            &[
                (Interest::Idle, Interest::Idle, None),
                (Interest::Waiting, Interest::Idle, None),
                (LISTENING, LISTENING_UNWANTED, None),
                (LISTENING_UNWANTED, LISTENING_UNWANTED, None),
                (Interest::Listened, UNLISTENING, Some(Command::Unlisten)),
                (UNLISTENING, UNLISTENING, None),
                (UNLISTENING_WANTED, UNLISTENING, None),
                (Interest::Refused, Interest::Idle, None),
            ],
        );
    }

    #[test]
    fn answers_settle_what_was_asked() {
        check(
            Interest::listened,
            &[
                (LISTENING, Interest::Listened, None),
                (LISTENING_UNWANTED, UNLISTENING, Some(Command::Unlisten)),
            ],
        );
        check(
            Interest::unlistened,
            &[
                (UNLISTENING, Interest::Idle, None),
                (UNLISTENING_WANTED, LISTENING, Some(Command::Listen)),
            ],
        );
        let refused = |interest: &mut Interest| {
            interest.refused();
            None
        };
        check(
            refused,
            &[
                (LISTENING, Interest::Refused, None),
                (LISTENING_UNWANTED, Interest::Idle, None),
            ],
        );
    }

    #[test]
    fn a_lost_session_leaves_only_what_is_wanted() {
        for before in ALL {
            let mut interest = before;
            interest.lost();
            let expect = if before.is_wanted() {
                Interest::Waiting
            } else {
                Interest::Idle
            };
            assert_eq!(interest, expect, "{before:?}");
            let command = interest.ready();
            let expect = before.is_wanted().then_some(Command::Listen);
            assert_eq!(command, expect, "{before:?}");
        }
    }

    #[test]
    fn a_subscriber_during_unlisten_is_listened_to_anew() {
        let mut interest = Interest::Listened;
        assert_eq!(interest.unwant(), Some(Command::Unlisten));
        assert_eq!(interest.want(true), None);
        assert_eq!(interest.unlistened(), Some(Command::Listen));
        assert_eq!(interest.listened(), None);
        assert_eq!(interest, Interest::Listened);
    }
}
