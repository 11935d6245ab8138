//! Places of PostgreSQL's order at which bridges compare their numbers: the `begin`s that we heard,
//! our own among them, with our numbers there.
//!
//! A comparison is kept for a while, because the numbers of the others come behind it. Knows neither
//! what follows from them nor whether to believe them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{super::epoch::Epoch, encoding::BridgeId, ledger::OwnPlace};
use crate::channel::ChannelKey;

/// The comparisons under way.
#[derive(Debug, Default)]
pub(super) struct Comparisons {
    heard: BTreeMap<Place, Vec<(Option<OwnPlace>, Epoch)>>,
    /// Those of `heard`, each until when, in the order heard.
    until: VecDeque<(Place, Instant)>,
    /// Our own that are sent and not heard yet, in this order: each its counter, and its channels.
    sent: VecDeque<(u64, Vec<ChannelKey>)>,
    /// Our own ones that peers still owe an answer to.
    asked: VecDeque<Asked>,
}

/// One place of the order: which bridge announced something there, and which of its messages that was.
type Place = (BridgeId, u64);

#[derive(Debug)]
struct Asked {
    begin: u64,
    keys: Vec<ChannelKey>,
    waits_for: Vec<BridgeId>,
    until: Instant,
}

impl Comparisons {
    /// Our own `begin` of these channels is sent.
    pub(super) fn handle_sent(&mut self, begin: u64, keys: Vec<ChannelKey>) {
        debug_assert!(!self.are_many_under_way());
        self.sent.push_back((begin, keys));
    }

    /// Whether so many of ours are on their way that no other one may be sent.
    pub(super) fn are_many_under_way(&self) -> bool {
        self.sent.len() >= SENT_MAX
    }

    /// Our own `begin` is heard: its channels, if it is the one under way.
    pub(super) fn take_sent(&mut self, begin: u64) -> Option<Vec<ChannelKey>> {
        let is_next = self.sent.front().is_some_and(|&(sent, _)| sent == begin);
        let sent = is_next.then(|| self.sent.pop_front()).flatten();
        sent.map(|(_, keys)| keys)
    }

    /// These peers are to answer to our `begin`, which was heard now.
    pub(super) fn ask(
        &mut self,
        begin: u64,
        keys: Vec<ChannelKey>,
        waits_for: Vec<BridgeId>,
        now: Instant,
    ) {
        self.asked.push_back(Asked {
            begin,
            keys,
            waits_for,
            until: now + ANSWER_TIMEOUT,
        });
    }

    /// A `begin` was heard, with our numbers at its place; `None` where we do not count, or did not.
    pub(super) fn note(
        &mut self,
        by: BridgeId,
        begin: u64,
        places: Vec<(Option<OwnPlace>, Epoch)>,
        now: Instant,
    ) {
        if self.heard.insert((by, begin), places).is_some() {
            return;
        }
        self.until
            .push_back(((by, begin), now + COMPARISON_TIMEOUT));
        if self.until.len() > COMPARISONS_MAX {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((place, _)) = self.until.pop_front() {
            self.heard.remove(&place);
        }
    }

    /// Our number at an entry of a `begin`, and the epoch that its sender named; `None` where we do
    /// not know.
    pub(super) fn place(
        &self,
        by: BridgeId,
        begin: u64,
        index: usize,
    ) -> Option<(Option<OwnPlace>, Epoch)> {
        self.heard.get(&(by, begin))?.get(index).copied()
    }

    /// A peer has answered everything of our `begin`.
    pub(super) fn handle_done(&mut self, begin: u64, peer: BridgeId) {
        let asked = self.asked.iter_mut().find(|asked| asked.begin == begin);
        if let Some(asked) = asked {
            asked.waits_for.retain(|&id| id != peer);
        }
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: BridgeId) {
        for asked in &mut self.asked {
            asked.waits_for.retain(|&id| id != peer);
        }
    }

    /// The channels of the next `begin` of ours that nobody owes an answer to.
    pub(super) fn poll_answered(&mut self, now: Instant) -> Option<Vec<ChannelKey>> {
        let is_over = |asked: &Asked| asked.waits_for.is_empty() || asked.until <= now;
        let at = self.asked.iter().position(is_over)?;
        self.asked.remove(at).map(|asked| asked.keys)
    }

    /// Nothing that was said or asked counts any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Lets go of what nobody comes back to.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.until.front().is_some_and(|&(_, until)| until <= now) {
            self.drop_first();
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let heard = self.until.front().map(|&(_, until)| until);
        let asked = self.asked.front().map(|it| it.until);
        heard.into_iter().chain(asked).min()
    }
}

/// Announcements of ours under way, together no more than a transaction of 60 KB.
const SENT_MAX: usize = 8;
/// Comparisons kept: a bridge that comes back announces all its channels before it says where it
/// stood, and 50,000 channels are some 700 announcements.
const COMPARISONS_MAX: usize = 1_024;
/// Numbers of others come within milliseconds, unless their publishing session hangs.
const COMPARISON_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that has not answered by then is waited for no longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const ME: BridgeId = BridgeId(1);
    const PEERS: [BridgeId; 2] = [BridgeId(2), BridgeId(3)];

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn epoch(number: u64) -> Epoch {
        Epoch { process: 1, number }
    }

    #[test]
    fn a_begin_of_ours_is_answered_when_all_have_answered_or_are_late() {
        let now = start();
        let mut comparisons = Comparisons::default();
        comparisons.handle_sent(5, vec![A]);
        assert!(!comparisons.are_many_under_way());
        assert_eq!(comparisons.take_sent(4), None, "one of an earlier session");
        let keys = comparisons.take_sent(5).unwrap();
        comparisons.ask(5, keys, PEERS.to_vec(), now);
        comparisons.handle_done(5, PEERS[0]);
        assert_eq!(comparisons.poll_answered(now), None);
        comparisons.handle_done(5, PEERS[1]);
        assert_eq!(comparisons.poll_answered(now), Some(vec![A]));
        comparisons.ask(6, vec![A], PEERS.to_vec(), now);
        comparisons.forget(PEERS[0]);
        assert_eq!(comparisons.poll_answered(now), None);
        let late = now + ANSWER_TIMEOUT;
        assert_eq!(comparisons.poll_timeout(), Some(late));
        assert_eq!(comparisons.poll_answered(late), Some(vec![A]));
        assert_eq!(comparisons.poll_timeout(), None);
    }

    #[test]
    fn numbers_are_compared_at_the_place_that_is_named() {
        let now = start();
        let mut comparisons = Comparisons::default();
        let place = OwnPlace {
            key: A,
            epoch: epoch(1),
            seq: 3,
        };
        let places = vec![(None, epoch(8)), (Some(place), epoch(9))];
        comparisons.note(PEERS[0], 5, places, now);
        let found = |begin, index| comparisons.place(PEERS[0], begin, index);
        assert_eq!(found(5, 0), Some((None, epoch(8))));
        assert_eq!(found(5, 1), Some((Some(place), epoch(9))));
        assert_eq!((found(5, 2), found(6, 0)), (None, None));
        assert_eq!(comparisons.place(ME, 5, 0), None);
        comparisons.handle_timeout(now + COMPARISON_TIMEOUT);
        assert_eq!(comparisons.place(PEERS[0], 5, 0), None);
    }

    #[test]
    fn only_so_many_comparisons_are_kept() {
        let now = start();
        let mut comparisons = Comparisons::default();
        for begin in 0..=COMPARISONS_MAX as u64 {
            comparisons.note(ME, begin, vec![(None, epoch(1))], now);
        }
        assert_eq!(comparisons.place(ME, 0, 0), None);
        assert!(comparisons.place(ME, 1, 0).is_some());
    }
}
