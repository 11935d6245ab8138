//! Reactions to what `catching_up` needs, and to what it decides.
//!
//! Numbers of a peer become ours here, for the offsets are known; and what was decided is told to the
//! peers, who count with our numbers again.

use std::{collections::BTreeMap, time::Instant};

use super::{
    Epoch, Group, Outcome,
    encoding::BridgeId,
    held::Replayed,
    held_back::{Released, Settled, Verdict},
    ledger::OwnPlace,
    wire::Place,
};
use crate::channel::{Channel, ChannelKey};

impl Group {
    /// Whether the LISTENs that are confirmed are held back.
    pub(in crate::hub) fn is_catching_up(&self) -> bool {
        self.catch_up.is_on()
    }

    /// Whether a channel's epoch is one that goes on, if it can.
    pub(in crate::hub) fn is_suspended(&self, key: ChannelKey, epoch: Epoch) -> bool {
        self.ledger.epoch(key) == Some(epoch)
    }

    /// The LISTEN of a channel is confirmed, and held back: [`Outcome::Settle`] follows, and
    /// [`Self::poll_released`]. It stands there; if it is not [suspended](Self::is_suspended), the
    /// epoch is new and nobody was told of it.
    pub(in crate::hub) fn hold_back(
        &mut self,
        key: ChannelKey,
        name: &Channel,
        epoch: Epoch,
        seq: u64,
        is_own: bool,
        now: Instant,
    ) {
        let is_suspended = self.is_suspended(key, epoch);
        let former = is_suspended.then_some(seq);
        let takes_part = self.catch_up.hold_back(key, name, epoch, former, now);
        if takes_part && !is_suspended {
            self.ledger.hold(key, name, epoch, is_own);
        }
    }

    /// PostgreSQL refused to listen to the channel, or there is no room for it.
    pub(in crate::hub) fn handle_unlistened(&mut self, key: Option<ChannelKey>, name: &Channel) {
        self.catch_up.handle_refused(key, name);
    }

    /// A notification of a channel that does not count. Whether it is held back. All that is, and what
    /// is filled in, may cost `bytes_max`; past it something was missed.
    pub(in crate::hub) fn hold(
        &mut self,
        key: ChannelKey,
        payload: &[u8],
        bytes_max: usize,
    ) -> bool {
        self.catch_up.hold(key, payload, bytes_max)
    }

    /// What is held back and filled in costs so many bytes.
    pub(in crate::hub) fn held_bytes(&self) -> usize {
        self.catch_up.bytes()
    }

    /// The next notification that is to be delivered late.
    pub(in crate::hub) fn poll_replayed(&mut self) -> Option<Replayed> {
        self.catch_up.pop_replayed()
    }

    /// Whether notifications are to be delivered late.
    pub(in crate::hub) fn is_replaying(&self) -> bool {
        self.catch_up.is_replaying()
    }

    /// All is delivered. These channels count from now on, and those that came too late begin a new
    /// epoch.
    pub(in crate::hub) fn poll_released(&mut self) -> Option<(Vec<ChannelKey>, Vec<ChannelKey>)> {
        let Released {
            keys,
            late,
            has_missed_begin,
        } = self.catch_up.poll_released()?;
        if has_missed_begin {
            // Who announced something meanwhile does not know where we stood.
            for &key in &keys {
                self.ledger.unsay(key);
            }
        }
        Some((keys, late))
    }

    /// A peer says where it stood at our announcement of a channel that is held back.
    pub(super) fn handle_missed_place(
        &mut self,
        key: ChannelKey,
        peer: BridgeId,
        place: &Place,
        now: Instant,
    ) {
        let own = self.own_number(key, place);
        if !self.catch_up.handle_place(key, peer, place, own, now) {
            self.note_contradiction(key);
        }
    }

    /// What a peer's number is in ours, as far as either of the two knows.
    fn own_number(&self, key: ChannelKey, place: &Place) -> Option<u64> {
        if let Some(offset) = self.ledger.offset(key, place.epoch) {
            return place.seq.checked_add_signed(offset);
        }
        let own = self.ledger.epoch(key)?;
        let &(_, offset) = place.others.iter().find(|&&(epoch, _)| epoch == own)?;
        place.seq.checked_add_signed(offset.checked_neg()?)
    }

    /// What is not decided is given up.
    pub(super) fn finish_catch_up(&mut self, now: Instant) {
        let mut places = BTreeMap::new();
        for Settled {
            key,
            verdict,
            filled,
            place,
        } in self.catch_up.finish()
        {
            self.counts.resumed += u64::from(verdict == Verdict::Resumed);
            self.counts.filled += filled;
            self.outcomes.push_back(Outcome::Settle(key, verdict));
            if let Some((begin, epoch, seq, answers)) = place {
                let own = OwnPlace { key, epoch, seq };
                places.insert(key, (begin, own));
                for answer in &answers {
                    self.learn_from(own, answer);
                }
            }
        }
        self.ledger.release();
        for (begin, keys) in self.catch_up.take_begins() {
            let own = |key| places.get(&key).filter(|(of, _)| *of == begin);
            let places: Vec<_> = keys
                .into_iter()
                .map(|key| key.and_then(own).map(|(_, own)| *own))
                .map(|own| (own, own.map_or(NOBODYS, |own| own.epoch)))
                .collect();
            self.say_began(begin, &places);
            if let Some(identity) = self.identity {
                // Answers that come later are compared with these.
                self.comparisons.note(identity.id, begin, places, now);
            }
        }
    }
}

/// Stands where no epoch is known.
const NOBODYS: Epoch = Epoch {
    process: 0,
    number: 0,
};
