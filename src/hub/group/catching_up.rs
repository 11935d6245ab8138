//! Coming to where the others are: after a lost listening session, and when a bridge joins.
//!
//! Channels that are listened to again are held back. When all are, they are announced with the
//! epochs that they had; the first announcement that comes back marks a place of PostgreSQL's order.
//! What comes behind the mark is held, what lies before it is filled in from a peer: it says where it
//! stood at the announcement, and that is translated into our own number. Then both are replayed, and
//! the epoch goes on. A bridge that joins takes over the rings and the numbers of a peer the same way.
//!
//! Refuses to know what translates numbers, and who is believed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    super::epoch::Epoch,
    encoding::BridgeId,
    filling::{Candidate, Fills},
    gathering::Gathering,
    held::{Held, Replayed},
    held_back::{Entry, Released, Settled, State},
    pieces::{Piece, Wish},
    wire::Place,
};
use crate::channel::{Channel, ChannelKey};

/// The channels that are held back, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    phase: Phase,
    entries: BTreeMap<ChannelKey, Entry>,
    /// Entries that are neither filled nor given up.
    unsettled: usize,
    /// Channels that were listened to too late to be announced with the others.
    late: Vec<ChannelKey>,
    /// Our announcements that came back, each with its channels.
    begins: BTreeMap<u64, Vec<Option<ChannelKey>>>,
    fills: Fills,
    /// What came behind the mark, and in [`Phase::Replaying`] what is to be replayed.
    held: Held,
    is_marked: bool,
    /// A peer announced channels while ours were held back.
    has_missed_begin: bool,
    due: Option<Instant>,
    /// No progress moves `due` beyond this.
    due_max: Option<Instant>,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nothing is held back.
    #[default]
    Idle,
    /// Channels are listened to again.
    Gathering(Gathering),
    /// They are announced.
    Asking,
    /// All is decided, and what was missed is on its way to clients.
    Replaying,
}

impl CatchUp {
    /// Keeps so many bytes of peers' rings.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            fills: Fills::new(bytes_max),
            ..Self::default()
        }
    }

    /// Whether channels are held back.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Whether channels are still being listened to.
    pub(super) fn is_gathering(&self) -> bool {
        matches!(self.phase, Phase::Gathering(_))
    }

    /// Whether all is decided and not all delivered.
    pub(super) fn is_replaying(&self) -> bool {
        matches!(self.phase, Phase::Replaying)
    }

    // ---- gathering

    /// A bridge joins.
    pub(super) fn join(&mut self, now: Instant) {
        self.reset();
        self.phase = Phase::Gathering(Gathering::of_peers());
        self.postpone(now);
        self.due_max = Some(now + JOIN_TIMEOUT_MAX);
    }

    /// The listening session is lost that heard these channels.
    pub(super) fn suspend(&mut self, keys: impl IntoIterator<Item = ChannelKey>) {
        self.reset();
        self.phase = Phase::Gathering(Gathering::of(keys));
    }

    /// Nothing is held back any more, nor is anything missing.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.fills.bytes_max());
    }

    /// There is a listening session again.
    pub(super) fn handle_up(&mut self, now: Instant) {
        self.postpone(now);
        self.due_max = Some(now + TIMEOUT_MAX);
    }

    /// Peers want a channel that is listened to soon.
    pub(super) fn expect(&mut self, channel: &Channel) {
        if let Phase::Gathering(gathering) = &mut self.phase {
            gathering.expect(channel);
        }
    }

    /// The channel is not going to be listened to, or not now.
    pub(super) fn handle_refused(&mut self, key: Option<ChannelKey>, channel: &Channel) {
        if let Phase::Gathering(gathering) = &mut self.phase {
            gathering.remove(key, Some(channel));
        }
    }

    /// The channel is not wanted any more.
    pub(super) fn handle_unwanted(&mut self, channel: &Channel) {
        if let Phase::Gathering(gathering) = &mut self.phase {
            gathering.remove(None, Some(channel));
        }
    }

    /// The LISTEN of a channel is confirmed: it stood there, or is new. Whether it takes part; else it
    /// is released with the others all the same.
    pub(super) fn hold_back(
        &mut self,
        key: ChannelKey,
        name: &Channel,
        epoch: Epoch,
        former: Option<u64>,
        now: Instant,
    ) -> bool {
        let Phase::Gathering(gathering) = &mut self.phase else {
            self.late.push(key);
            return false;
        };
        gathering.confirm(key, name);
        if !gathering.is_of_peers() {
            self.due_max = Some(now + TIMEOUT_MAX);
        }
        let entry = Entry::new(name, epoch, former);
        self.unsettled += usize::from(self.entries.insert(key, entry).is_none());
        self.postpone(now);
        true
    }

    /// Whether all are there and may be announced, which is said once.
    pub(super) fn poll_gathered(&mut self, have_all_ended: bool) -> bool {
        let is_gathered = match &self.phase {
            Phase::Gathering(gathering) => gathering.is_complete(have_all_ended),
            Phase::Idle | Phase::Asking | Phase::Replaying => false,
        };
        if is_gathered {
            self.phase = Phase::Asking;
        }
        is_gathered
    }

    /// The channel is known no longer.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        if let Phase::Gathering(gathering) = &mut self.phase {
            gathering.remove(Some(key), None);
        }
        if let Some(entry) = self.entries.remove(&key) {
            self.unsettled -= usize::from(matches!(entry.state, State::Open));
        }
        self.late.retain(|&late| late != key);
        self.held.forget(key);
        self.fills.forget(key);
    }

    // ---- asking

    /// Our announcement of these channels, as far as they are held back, is heard: this is the place.
    pub(super) fn note_begin(&mut self, begin: u64, keys: Vec<Option<ChannelKey>>) {
        if !matches!(self.phase, Phase::Asking) {
            return;
        }
        if !std::mem::replace(&mut self.is_marked, true) {
            self.held.clear();
            for entry in self.entries.values_mut() {
                entry.held = 0;
            }
        }
        for key in keys.iter().flatten() {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.asked = Some((begin, entry.held));
                entry.answers.clear();
            }
        }
        self.begins.insert(begin, keys);
    }

    /// The channel at an entry of an announcement of ours, if it is held back.
    pub(super) fn announced(&self, begin: u64, index: usize) -> Option<ChannelKey> {
        let key = (*self.begins.get(&begin)?.get(index)?)?;
        let asked = self.entries.get(&key)?.asked;
        asked.filter(|&(it, _)| it == begin).map(|_| key)
    }

    /// A peer says where it stood at our announcement. `own` is what that is in the numbers that the
    /// channel had; `None` where that is not known. Whether that can be.
    pub(super) fn handle_place(
        &mut self,
        key: ChannelKey,
        by: BridgeId,
        place: &Place,
        own: Option<u64>,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else {
            return true;
        };
        let Some((_, held)) = entry.asked else {
            return true;
        };
        entry.answers.push(place.clone());
        let Some(through) = place.seq.checked_sub(held) else {
            // It has listened to the channel for a shorter time than we have.
            return true;
        };
        let (after, at_mark) = match (entry.former, own) {
            (None, _) => (None, through),
            (Some(former), Some(own)) => {
                let at_mark = own.checked_sub(held);
                let missing = at_mark.and_then(|at_mark| at_mark.checked_sub(former));
                let (Some(at_mark), Some(missing)) = (at_mark, missing) else {
                    return false;
                };
                let Some(after) = through.checked_sub(missing) else {
                    return true;
                };
                (Some(after), at_mark)
            }
            (Some(_), None) => return true,
        };
        let candidate = Candidate {
            by,
            epoch: place.epoch,
            after,
            through,
            at_mark,
        };
        match entry.state {
            State::Open if !candidate.is_nothing() => self.fills.propose(key, candidate),
            State::Open if after.is_some() => {
                entry.state = State::Filled { at_mark, count: 0 };
                self.unsettled -= 1;
                self.fills.forget(key);
            }
            // A peer that has heard nothing yet: another one may have.
            State::Open | State::Filled { .. } | State::GivenUp => {}
        }
        self.postpone(now);
        true
    }

    /// A peer has answered our announcement, as far as it can.
    pub(super) fn handle_done(&mut self, begin: u64, peer: BridgeId) {
        for &key in self.begins.get(&begin).into_iter().flatten().flatten() {
            self.fills.handle_done(key, peer);
        }
    }

    /// All peers have answered, or were waited for long enough.
    pub(super) fn handle_answered(&mut self, key: ChannelKey) {
        if !self.fills.handle_answered(key) {
            self.give_up(key);
        }
    }

    /// A peer is gone.
    pub(super) fn forget_peer(&mut self, peer: BridgeId) {
        for key in self.fills.forget_peer(peer) {
            self.give_up(key);
        }
    }

    /// We are another to the peers from now on: they are asked again.
    pub(super) fn handle_renamed(&mut self) {
        if self.is_replaying() {
            return;
        }
        self.fills.clear();
        self.begins.clear();
        for entry in self.entries.values_mut() {
            entry.asked = None;
            entry.answers.clear();
            entry.state = State::Open;
        }
        self.unsettled = self.entries.len();
    }

    /// The next wishes, and whose they are to grant, their forms no longer than this.
    pub(super) fn poll_wishes(&mut self, bytes_max: usize) -> Option<(BridgeId, u64, Vec<Wish>)> {
        let entries = &self.entries;
        let name = |key| entries.get(&key).map(|entry| &entry.name);
        self.fills.poll_wishes(name, bytes_max)
    }

    /// A peer grants wishes.
    pub(super) fn handle_filled(
        &mut self,
        by: BridgeId,
        number: u64,
        part: u64,
        pieces: Vec<Piece>,
        now: Instant,
    ) {
        let Some((filled, given_up)) = self.fills.handle_part(by, number, part, pieces) else {
            return;
        };
        for (key, at_mark, count) in filled {
            if let Some(entry) = self.entries.get_mut(&key)
                && matches!(entry.state, State::Open)
            {
                entry.state = State::Filled { at_mark, count };
                self.unsettled -= 1;
            }
        }
        for key in given_up {
            self.give_up(key);
        }
        self.postpone(now);
    }

    fn give_up(&mut self, key: ChannelKey) {
        if let Some(entry) = self.entries.get_mut(&key)
            && matches!(entry.state, State::Open)
        {
            entry.state = State::GivenUp;
            self.unsettled -= 1;
        }
    }

    /// A peer announced channels.
    pub(super) fn note_foreign_begin(&mut self) {
        self.has_missed_begin |= self.is_on();
    }

    // ---- what is held

    /// A notification of a channel that does not count. Whether it is held back, or comes before all
    /// that is. All that is kept may cost `bytes_max`.
    pub(super) fn hold(&mut self, key: ChannelKey, payload: &[u8], bytes_max: usize) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        if !self.is_marked && !matches!(self.phase, Phase::Replaying) {
            return true;
        }
        entry.held += 1;
        self.held.push(key, payload);
        let is_over = self.held.is_over() || self.bytes() > bytes_max;
        if is_over && matches!(self.phase, Phase::Asking) {
            // All of it is given up: it cannot be said which channel is to blame.
            for entry in self.entries.values_mut() {
                entry.state = State::GivenUp;
                entry.asked = None;
            }
            self.unsettled = 0;
            self.held.clear();
            self.fills.clear();
        }
        true
    }

    /// What is held and filled in costs so many.
    pub(super) fn bytes(&self) -> usize {
        self.held.bytes() + self.fills.bytes()
    }

    // ---- the end

    /// Whether all is decided, and [`Self::finish`] is wanted.
    pub(super) fn is_decided(&self) -> bool {
        matches!(self.phase, Phase::Asking) && self.unsettled == 0
    }

    /// When what is not decided is given up.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Progress was made.
    pub(super) fn postpone(&mut self, now: Instant) {
        if self.is_on() && !self.is_replaying() {
            let due = now + TIMEOUT;
            self.due = Some(self.due_max.map_or(due, |max| due.min(max)));
        }
    }

    /// A peer says what it listens to.
    pub(super) fn handle_have(&mut self, now: Instant) {
        if self.is_joining() {
            self.postpone(now);
        }
    }

    /// Whether the bridge joins and the others have not said all yet.
    pub(super) fn is_joining(&self) -> bool {
        matches!(&self.phase, Phase::Gathering(gathering) if gathering.is_of_peers())
    }

    /// Decides: what is not filled in is given up. What is to be replayed follows by
    /// [`Self::pop_replayed`].
    pub(super) fn finish(&mut self) -> Vec<Settled> {
        self.phase = Phase::Replaying;
        self.due = None;
        let mut settled = Vec::new();
        for (&key, entry) in &mut self.entries {
            let (verdict, own) = entry.verdict();
            let place = entry.asked.zip(own).map(|((begin, _), own)| {
                let answers = std::mem::take(&mut entry.answers);
                (begin, entry.epoch, own, answers)
            });
            let filled = match entry.state {
                State::Filled { count, .. } => count,
                State::Open | State::GivenUp => {
                    entry.state = State::GivenUp;
                    0
                }
            };
            settled.push(Settled {
                key,
                verdict,
                filled,
                place,
            });
        }
        self.unsettled = 0;
        let is_filled = |key: ChannelKey| {
            let state = self.entries.get(&key).map(|entry| &entry.state);
            matches!(state, Some(State::Filled { .. }))
        };
        let filled = self.fills.take(is_filled);
        self.held.prepend(filled.into_iter().map(|text| Replayed {
            key: text.key,
            payload: text.text,
            is_lossy: text.is_lossy,
        }));
        settled
    }

    /// Our announcements, each with its channels, for which our numbers are owed still.
    pub(super) fn take_begins(&mut self) -> BTreeMap<u64, Vec<Option<ChannelKey>>> {
        std::mem::take(&mut self.begins)
    }

    /// The next notification that is to be delivered late.
    pub(super) fn pop_replayed(&mut self) -> Option<Replayed> {
        if !self.is_replaying() {
            return None;
        }
        self.held.pop()
    }

    /// All is delivered: nothing is held back from now on.
    pub(super) fn poll_released(&mut self) -> Option<Released> {
        if !self.is_replaying() || !self.held.is_empty() {
            return None;
        }
        let released = Released {
            keys: self.entries.keys().copied().collect(),
            late: std::mem::take(&mut self.late),
            has_missed_begin: self.has_missed_begin,
        };
        self.reset();
        Some(released)
    }

    /// Counts are those of the entries.
    pub(super) fn check_invariants(&self) {
        let entries = self.entries.values();
        let open = entries.filter(|entry| matches!(entry.state, State::Open));
        assert_eq!(self.unsettled, open.count());
        assert!(self.is_on() || self.entries.is_empty() && self.held.is_empty());
        self.fills.check_invariants();
    }
}

/// Without progress, so long until what is not filled in is given up.
const TIMEOUT: Duration = Duration::from_secs(1);
/// From the last LISTEN on, at most so long in all.
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// Of a bridge that joins, whose LISTENs are among it.
pub(super) const JOIN_TIMEOUT_MAX: Duration = Duration::from_secs(10);
