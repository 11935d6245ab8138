//! One channel that is held back: what it was, what is known, and how that ends.
//!
//! Knows nothing of the others, nor of time.

use super::{super::epoch::Epoch, wire::Place};
use crate::channel::{Channel, ChannelKey};

/// A channel that is held back.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Channel,
    pub(super) epoch: Epoch,
    /// Where the epoch stood when the session was lost; `None` for one that nobody was told of.
    pub(super) former: Option<u64>,
    /// Notifications held of it.
    pub(super) held: u64,
    /// Our announcement of it, and how many notifications were held of it then.
    pub(super) asked: Option<(u64, u64)>,
    /// What peers said at the announcement.
    pub(super) answers: Vec<Place>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Open,
    /// Nothing is missing: our number at the mark, and how many notifications were filled in.
    Filled {
        at_mark: u64,
        count: u64,
    },
    GivenUp,
}

/// How it ends for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Verdict {
    /// Nothing is missing once all is replayed.
    Resumed,
    /// The epoch, which nobody was told of, begins with this number.
    Begun(u64),
    /// Something may be missing.
    Missed,
}

/// The end of a channel's catching up.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) key: ChannelKey,
    pub(super) verdict: Verdict,
    /// So many notifications were filled in.
    pub(super) filled: u64,
    /// Our announcement of the channel, our number there, and the numbers of others; `None` where we
    /// have no number.
    pub(super) place: Option<(u64, Epoch, u64, Vec<Place>)>,
}

/// What was held back and is so no longer.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) keys: Vec<ChannelKey>,
    /// They were not announced.
    pub(super) late: Vec<ChannelKey>,
    /// They are to be announced again.
    pub(super) has_missed_begin: bool,
}

impl Entry {
    pub(super) fn new(name: &Channel, epoch: Epoch, former: Option<u64>) -> Self {
        Self {
            name: name.clone(),
            epoch,
            former,
            held: 0,
            asked: None,
            answers: Vec::new(),
            state: State::Open,
        }
    }

    /// How it ends, and our number at the announcement.
    pub(super) fn verdict(&self) -> (Verdict, Option<u64>) {
        let held = self.asked.map(|(_, held)| held);
        match (&self.state, self.former) {
            (State::Filled { at_mark, .. }, Some(_)) => {
                (Verdict::Resumed, held.map(|held| at_mark + held))
            }
            (State::Open | State::GivenUp, Some(_)) => (Verdict::Missed, None),
            (State::Filled { at_mark, count }, None) => {
                let begun = Verdict::Begun(at_mark - count);
                (begun, held.map(|held| at_mark + held))
            }
            (State::Open | State::GivenUp, None) => (Verdict::Begun(0), held),
        }
    }
}
