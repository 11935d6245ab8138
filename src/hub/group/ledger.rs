//! Our own channels, as the group sees them: the epoch that each counts in, how far it was announced,
//! and what translates other epochs into it.
//!
//! An entry exists while the channel's LISTEN is confirmed and its epoch lasts; a new epoch begins a
//! new entry. Refuses to know who the peers are and what was asked of them.

use std::collections::VecDeque;

use super::{
    super::epoch::Epoch,
    offsets::{Contradiction, Offsets},
    wire::Beginning,
};
use crate::channel::{Channel, ChannelKey};

/// All of them, by key.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Option<Box<Entry>>>,
    /// Channels to be announced, and some that are so no longer.
    unsaid: VecDeque<ChannelKey>,
    /// Entries that are not [`Stage::Answered`].
    unanswered: usize,
}

#[derive(Debug)]
struct Entry {
    name: Channel,
    epoch: Epoch,
    /// Clients of ours want the channel.
    is_own: bool,
    stage: Stage,
    offsets: Offsets,
}

/// How far the group knows of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not heard for now: it waits for [`Ledger::release`].
    Away,
    /// It is in the queue of those to be announced.
    Unsaid,
    /// It was announced, and peers may yet say where they stand.
    Said,
    /// Nobody is waited for.
    Answered,
}

/// The numbers of a channel at one place of PostgreSQL's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnPlace {
    pub(super) key: ChannelKey,
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
}

impl Ledger {
    /// The channel counts in a new epoch.
    pub(super) fn begin(&mut self, key: ChannelKey, name: &Channel, epoch: Epoch, is_own: bool) {
        self.hold(key, name, epoch, is_own);
        self.announce(key);
    }

    /// The channel is about to count in a new epoch, from [`Self::release`] on.
    pub(super) fn hold(&mut self, key: ChannelKey, name: &Channel, epoch: Epoch, is_own: bool) {
        self.forget(key);
        if self.entries.len() <= key.index() {
            self.entries.resize_with(key.index() + 1, || None);
        }
        self.unanswered += 1;
        self.entries[key.index()] = Some(Box::new(Entry {
            name: name.clone(),
            epoch,
            is_own,
            stage: Stage::Away,
            offsets: Offsets::default(),
        }));
    }

    /// No channel is heard for now, and each keeps its epoch. Returns them.
    pub(super) fn suspend(&mut self) -> Vec<ChannelKey> {
        self.unsaid.clear();
        let mut keys = Vec::new();
        for (key, entry) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = entry {
                let stage = std::mem::replace(&mut entry.stage, Stage::Away);
                self.unanswered += usize::from(stage == Stage::Answered);
                keys.push(key_of(key));
            }
        }
        keys
    }

    /// All channels are heard: those that were away are to be announced.
    pub(super) fn release(&mut self) {
        for key in (0..self.entries.len()).map(key_of) {
            self.announce(key);
        }
    }

    fn announce(&mut self, key: ChannelKey) {
        if let Some(entry) = self.entry_mut(key).filter(|it| it.stage == Stage::Away) {
            entry.stage = Stage::Unsaid;
            self.unsaid.push_back(key);
        }
    }

    /// The epoch that the channel counts in, or did before it was away.
    pub(super) fn epoch(&self, key: ChannelKey) -> Option<Epoch> {
        self.entry(key).map(|entry| entry.epoch)
    }

    /// The channel is not listened to any more.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        let entry = self.entries.get_mut(key.index()).and_then(Option::take);
        if entry.is_some_and(|entry| entry.stage != Stage::Answered) {
            self.unanswered -= 1;
        }
    }

    /// No channel is listened to any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether clients of ours want the channel changes. Returns its name where that is news.
    pub(super) fn set_own(&mut self, key: ChannelKey, is_own: bool) -> Option<Channel> {
        let entry = self.entry_mut(key)?;
        let is_news = std::mem::replace(&mut entry.is_own, is_own) != is_own;
        let name = is_news.then(|| entry.name.clone());
        if is_news && is_own {
            self.unsay(key);
        }
        name
    }

    /// Every channel is to be announced again.
    pub(super) fn unsay_all(&mut self) {
        for key in (0..self.entries.len()).map(key_of) {
            self.unsay(key);
        }
    }

    /// The channel is to be announced again, unless it is away.
    pub(super) fn unsay(&mut self, key: ChannelKey) {
        let Some(entry) = self.entry_mut(key) else {
            return;
        };
        let is_answered = match entry.stage {
            Stage::Away | Stage::Unsaid => return,
            Stage::Said => false,
            Stage::Answered => true,
        };
        entry.stage = Stage::Unsaid;
        self.unanswered += usize::from(is_answered);
        self.unsaid.push_back(key);
    }

    /// The next channels to be announced, their forms in a message no longer than this.
    pub(super) fn poll_begin(&mut self, bytes_max: usize) -> (Vec<ChannelKey>, Vec<Beginning>) {
        let (mut keys, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(key) = self.unsaid.front().copied() {
            let entry = self.entries.get_mut(key.index()).and_then(Option::as_mut);
            if let Some(entry) = entry.filter(|entry| entry.stage == Stage::Unsaid) {
                bytes += Beginning::bytes_max(&entry.name);
                if bytes > bytes_max {
                    break;
                }
                entry.stage = Stage::Said;
                keys.push(key);
                entries.push(Beginning {
                    channel: entry.name.clone(),
                    epoch: entry.epoch,
                    is_own: entry.is_own,
                });
            }
            self.unsaid.pop_front();
        }
        (keys, entries)
    }

    /// Nobody is waited for on this channel, as far as it was announced.
    pub(super) fn handle_answered(&mut self, key: ChannelKey) {
        if let Some(entry) = self.entry_mut(key).filter(|it| it.stage == Stage::Said) {
            entry.stage = Stage::Answered;
            self.unanswered -= 1;
        }
    }

    /// There is nobody to announce anything to.
    pub(super) fn answer_all(&mut self) {
        self.unsaid.clear();
        self.unanswered = 0;
        for entry in self.entries.iter_mut().flatten() {
            entry.stage = Stage::Answered;
        }
    }

    /// Whether nobody is waited for on this channel.
    pub(super) fn is_answered(&self, key: ChannelKey) -> bool {
        self.entry(key)
            .is_none_or(|entry| entry.stage == Stage::Answered)
    }

    /// Whether nobody is waited for on any channel.
    pub(super) fn is_settled(&self) -> bool {
        self.unanswered == 0
    }

    /// A channel's name.
    pub(super) fn name(&self, key: ChannelKey) -> Option<&Channel> {
        self.entry(key).map(|entry| &entry.name)
    }

    /// The channels that clients of ours want.
    pub(super) fn own(&self) -> impl Iterator<Item = &Channel> {
        let own = self.entries.iter().flatten().filter(|entry| entry.is_own);
        own.map(|entry| &entry.name)
    }

    /// Our number where that of another epoch is this one; `None` where nobody knows.
    pub(super) fn offset(&self, key: ChannelKey, epoch: Epoch) -> Option<i64> {
        self.entry(key)?.offsets.of(epoch)
    }

    /// The offsets of the channel that are worth passing on, if it counts in this epoch still.
    pub(super) fn passed_on(&self, key: ChannelKey, epoch: Epoch) -> Option<Vec<(Epoch, i64)>> {
        let entry = self.entry(key).filter(|entry| entry.epoch == epoch)?;
        Some(entry.offsets.passed_on())
    }

    /// Another bridge counts `theirs` in its epoch where we count `own`. Says nothing to a place of
    /// an epoch of ours that is over.
    pub(super) fn learn(
        &mut self,
        own: OwnPlace,
        epoch: Epoch,
        theirs: u64,
    ) -> Result<(), Contradiction> {
        match self.entry_mut(own.key) {
            Some(entry) if entry.epoch == own.epoch && epoch != own.epoch => {
                entry.offsets.learn(epoch, own.seq, theirs)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How many offsets there are.
    pub(super) fn offset_count(&self) -> usize {
        let entries = self.entries.iter().flatten();
        entries.map(|entry| entry.offsets.len()).sum()
    }

    fn entry(&self, key: ChannelKey) -> Option<&Entry> {
        self.entries.get(key.index())?.as_deref()
    }

    fn entry_mut(&mut self, key: ChannelKey) -> Option<&mut Entry> {
        self.entries.get_mut(key.index())?.as_deref_mut()
    }

    /// Counts are those of the entries, and nothing is forgotten that is to be announced.
    pub(super) fn check_invariants(&self) {
        let entries = self.entries.iter().flatten();
        let unanswered = entries.filter(|entry| entry.stage != Stage::Answered);
        assert_eq!(self.unanswered, unanswered.count());
        for (key, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            entry.offsets.check_invariants(entry.epoch);
            let is_queued = || self.unsaid.iter().any(|it| it.index() == key);
            assert!(entry.stage != Stage::Unsaid || is_queued(), "{entry:?}");
        }
    }
}

fn key_of(index: usize) -> ChannelKey {
    ChannelKey(u32::try_from(index).expect("keys are made from u32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const B: ChannelKey = ChannelKey(3);

    fn epoch(number: u64) -> Epoch {
        Epoch { process: 1, number }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for (key, name) in [(A, "a"), (B, "b")] {
            let name = Channel::new(name).unwrap();
            ledger.begin(key, &name, epoch(u64::from(key.0)), key == A);
        }
        ledger
    }

    fn begun(ledger: &mut Ledger, bytes_max: usize) -> Vec<String> {
        let (keys, entries) = ledger.poll_begin(bytes_max);
        assert_eq!(keys.len(), entries.len());
        ledger.check_invariants();
        let names = entries.iter().map(|it| it.channel.as_str().to_owned());
        names.collect()
    }

    #[test]
    fn each_channel_is_announced_once_until_it_is_to_be_said_again() {
        let mut ledger = ledger();
        let one = Beginning::bytes_max(&Channel::new("a").unwrap());
        assert_eq!(begun(&mut ledger, one), ["a"]);
        assert_eq!(begun(&mut ledger, 2 * one), ["b"]);
        assert!(begun(&mut ledger, one).is_empty());
        assert!(!ledger.is_answered(A) && !ledger.is_settled());
        ledger.handle_answered(A);
        ledger.handle_answered(B);
        assert!(ledger.is_answered(A) && ledger.is_settled());
        ledger.unsay_all();
        assert_eq!(begun(&mut ledger, 2 * one), ["a", "b"]);
        ledger.unsay_all();
        ledger.handle_answered(A);
        assert!(!ledger.is_answered(A), "it is to be said again first");
        ledger.forget(A);
        assert_eq!(begun(&mut ledger, one), ["b"]);
        ledger.answer_all();
        assert!(ledger.is_settled());
        ledger.check_invariants();
    }

    #[test]
    fn a_channel_that_clients_come_to_want_is_announced_again() {
        let mut ledger = ledger();
        begun(&mut ledger, 1_000);
        assert_eq!(ledger.own().count(), 1);
        assert_eq!(ledger.set_own(A, true), None);
        assert!(ledger.set_own(B, true).is_some());
        assert_eq!(begun(&mut ledger, 1_000), ["b"]);
        assert!(ledger.set_own(B, false).is_some());
        assert!(begun(&mut ledger, 1_000).is_empty());
        assert_eq!(ledger.own().count(), 1);
    }

    #[test]
    fn an_offset_lasts_as_long_as_our_own_epoch() {
        let mut ledger = ledger();
        let place = OwnPlace {
            key: A,
            epoch: epoch(0),
            seq: 10,
        };
        let theirs = epoch(77);
        assert_eq!(ledger.learn(place, theirs, 4), Ok(()));
        assert_eq!(ledger.offset(A, theirs), Some(6));
        assert_eq!(ledger.learn(place, epoch(0), 4), Ok(()), "it is our own");
        assert_eq!(ledger.offset(A, epoch(0)), None);
        assert_eq!(ledger.offset_count(), 1);
        ledger.begin(A, &Channel::new("a").unwrap(), epoch(5), true);
        assert_eq!(ledger.offset(A, theirs), None);
        assert_eq!(ledger.learn(place, theirs, 4), Ok(()), "that is over");
        assert_eq!(ledger.offset(A, theirs), None);
        assert_eq!(ledger.passed_on(A, epoch(0)), None);
        ledger.check_invariants();
    }
}
