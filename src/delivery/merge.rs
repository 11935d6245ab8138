//! What one client is owed over all its channels, merged in the order of the frames' sequence.
//!
//! What is small is copied together, since contiguous bytes are cheaper to send than pieces, and a
//! client that takes them all needs no backlog. Clients that are owed the same, as most that one
//! transaction is for, share one merge. Knows no socket, no backlog and no client.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    batch::{BATCH_BYTES_MAX, Batches},
    fanout::{EVERYONE, Fanout, Run},
    index::{Subscription, is_among},
};
use crate::channel::ChannelKey;

/// What came of the last merge.
#[derive(Debug, Default)]
pub(super) struct Merge {
    runs: Vec<Run>,
    /// The bytes of `runs`, if `is_gathered`.
    bytes: Vec<u8>,
    is_gathered: bool,
    /// What it was made of: the channels that owe something behind `seen`, at that revision of what
    /// is unsent. As long as all of this is the same, so is what comes of it.
    keys: Vec<ChannelKey>,
    seen: u64,
    revision: u64,
    /// The keys of the merge at hand.
    next_keys: Vec<ChannelKey>,
    /// Channels that owe something, by the first frame owed: the last one is next. Empty between
    /// merges, as is `again`.
    owing: Vec<(u64, ChannelKey)>,
    /// Channels that owe more, behind a frame of another.
    again: BinaryHeap<Reverse<(u64, ChannelKey)>>,
}

impl Merge {
    /// Merges what the channels of `links`, and the stream of everybody, have behind `seen`.
    pub(super) fn merge(
        &mut self,
        seen: u64,
        links: &[Subscription],
        fanout: &Fanout,
        batches: &Batches,
    ) {
        self.find_owing(seen, links, fanout);
        let is_same = (self.seen, self.revision) == (seen, fanout.revision());
        if is_same && self.keys == self.next_keys {
            return;
        }
        std::mem::swap(&mut self.keys, &mut self.next_keys);
        (self.seen, self.revision) = (seen, fanout.revision());
        self.is_gathered = false;
        self.runs.clear();
        let first_of = |&key| Some((fanout.first_after(key, seen, batches)?, key));
        self.owing.extend(self.keys.iter().filter_map(first_of));
        self.owing.sort_unstable_by_key(|&owing| Reverse(owing));
        let mut seen = seen;
        while let Some(key) = self.pop() {
            let run = fanout.run_before(key, seen, self.bound(), batches);
            let Some(run) = run else {
                debug_assert!(false, "a channel that owes something has a run");
                continue;
            };
            self.runs.push(run);
            seen = run.last;
            if let Some(first) = fanout.first_after(key, seen, batches) {
                self.again.push(Reverse((first, key)));
            }
        }
    }

    /// Finds the channels that owe something behind `seen`: of the client's own and the pending ones the
    /// fewer are walked, where looking those up among its own is cheap.
    fn find_owing(&mut self, seen: u64, links: &[Subscription], fanout: &Fanout) {
        let owes = |key: &ChannelKey| fanout.newest(*key) > seen;
        let (keys, pending) = (&mut self.next_keys, fanout.pending());
        keys.clear();
        if pending.len() <= FEW {
            let is_own = |key: &ChannelKey| is_among(links, *key);
            keys.extend(pending.iter().copied().filter(is_own).filter(owes));
        } else {
            keys.extend(links.iter().map(|link| link.channel()).filter(owes));
        }
        keys.extend([EVERYONE].iter().filter(|key| owes(key)));
    }

    /// The channel whose frame is next.
    fn pop(&mut self) -> Option<ChannelKey> {
        let again = self.again.peek().map(|&Reverse(again)| again);
        let next = match (self.owing.last().copied(), again) {
            (Some(owing), Some(again)) if again < owing => None,
            (owing, _) => owing,
        };
        if let Some((_, key)) = next {
            self.owing.pop();
            return Some(key);
        }
        self.again.pop().map(|Reverse((_, key))| key)
    }

    /// The first frame of any other channel.
    fn bound(&self) -> u64 {
        let owing = self.owing.last().map_or(u64::MAX, |&(first, _)| first);
        let again = self.again.peek();
        owing.min(again.map_or(u64::MAX, |&Reverse((first, _))| first))
    }

    /// The ranges, in order.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Copies the ranges together; whether they are small enough for that.
    pub(super) fn gather(&mut self, batches: &Batches) -> bool {
        if self.is_gathered {
            return true;
        }
        let bytes: usize = self.runs.iter().map(|run| run.span.bytes()).sum();
        if bytes > GATHERED_BYTES_MAX {
            return false;
        }
        self.bytes.clear();
        for run in &self.runs {
            self.bytes.extend_from_slice(batches.bytes(run.span));
        }
        self.is_gathered = true;
        true
    }

    /// The ranges together.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// So many pending channels are looked up in a client's own.
const FEW: usize = 4;
/// What is copied for one write: a socket takes hardly more at once.
const GATHERED_BYTES_MAX: usize = BATCH_BYTES_MAX;
