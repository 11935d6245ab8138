//! The way out: the hot path, from a channel's pending frames to the bytes lent to a socket.
//!
//! Reads from top to bottom: whose turn it is, what that client is owed, and what became of the
//! write. Nothing here allocates per recipient of a fan-out while sockets take what they are given.

use super::{
    Delivery, Outbound,
    fanout::{EVERYONE, Run},
    index::Index,
    lane::{Indexes, Lane, OWED_MASK, owed},
    outgoing::{Outgoing, Pieces, SLICES_MAX, Sending, Transmit, Written},
    recipient::{BLOCKED, NO_BACKLOG, READY},
};
use crate::{channel::ChannelKey, metrics::Metrics};

impl Delivery {
    /// Whether anything can be written now.
    pub fn has_transmit(&self) -> bool {
        !self.ready.is_empty() || self.has_work()
    }

    /// Whose turn it is to be written to, and what. Each must be answered by
    /// [`Self::handle_transmitted`] before the next.
    pub fn poll_transmit(
        &mut self,
        indexes: &Indexes,
        metrics: &mut Metrics,
    ) -> Option<Transmit<'_>> {
        debug_assert!(self.sending.is_none(), "the last transmit was not answered");
        self.ready_first = !self.ready_first;
        let sending = if self.ready_first {
            self.next_ready()
                .or_else(|| self.next_of_passes(indexes, metrics))
        } else {
            self.next_of_passes(indexes, metrics)
                .or_else(|| self.next_ready())
        }?;
        self.sending = Some(sending);
        Some(match sending {
            Sending::Direct(slot, run) => Transmit {
                slot,
                bytes: Outgoing::One(self.batches.bytes(run.span)),
            },
            Sending::Gathered(slot) => Transmit {
                slot,
                bytes: Outgoing::One(self.lanes[self.lane_of(slot)].merge.bytes()),
            },
            Sending::Backlog(slot) => {
                let key = self.recipients[slot as usize].backlog as usize;
                Transmit {
                    slot,
                    bytes: Outgoing::Many(Pieces::new(&self.outbound[key].backlog, &self.batches)),
                }
            }
        })
    }

    fn next_ready(&mut self) -> Option<Sending> {
        while let Some(&slot) = self.ready.front() {
            let recipient = self.recipients[slot as usize];
            if recipient.is(READY) && recipient.backlog != NO_BACKLOG {
                return Some(Sending::Backlog(slot));
            }
            self.ready.pop_front();
            self.recipients[slot as usize].flags &= !READY;
        }
        None
    }

    /// The lanes that have something to pass on take turns.
    fn next_of_passes(&mut self, indexes: &Indexes, metrics: &mut Metrics) -> Option<Sending> {
        if self.lanes[1].fanout.unsent_bytes() == 0 {
            return self.next_of_pass::<0>(indexes, metrics);
        }
        self.is_second_lane_first = !self.is_second_lane_first;
        if self.is_second_lane_first {
            self.next_of_pass::<1>(indexes, metrics)
                .or_else(|| self.next_of_pass::<0>(indexes, metrics))
        } else {
            self.next_of_pass::<0>(indexes, metrics)
                .or_else(|| self.next_of_pass::<1>(indexes, metrics))
        }
    }

    /// Walks the lane's passes to the next client that is owed something and whose socket takes it.
    fn next_of_pass<const LANE: usize>(
        &mut self,
        indexes: &Indexes,
        metrics: &mut Metrics,
    ) -> Option<Sending> {
        let lane = LANE;
        let index = &indexes[lane];
        let owed = owed(lane);
        while let Some((key, cursor)) = self.lanes[lane].fanout.pass() {
            let newest = self.lanes[lane].fanout.newest(key);
            let is_alone = self.lanes[lane].fanout.is_alone(key);
            let audience = self.audience(key, index);
            let mut cursor = cursor.min(u32::try_from(audience).unwrap_or(u32::MAX));
            while let Some(below) = cursor.checked_sub(1) {
                let slot = if key == EVERYONE {
                    below
                } else {
                    index.subscribers(key)[below as usize]
                };
                let recipient = self.recipients[slot as usize];
                if recipient.seen >= newest || recipient.flags & OWED_MASK != owed {
                    cursor = below;
                    continue;
                }
                let sending = if recipient.backlog != NO_BACKLOG {
                    if self.moves_left == 0 {
                        self.lanes[lane].fanout.advance(cursor);
                        return None;
                    }
                    // What is owed gathers behind what waits already.
                    self.deliver(slot, indexes);
                    None
                } else if is_alone || self.is_only_channel(slot, key, lane, index) {
                    self.send_run(slot, key, newest, lane, indexes)
                } else {
                    self.send_owed(slot, indexes)
                };
                if sending.is_some() {
                    self.lanes[lane].fanout.advance(below);
                    return sending;
                }
                cursor = below;
                let links = index.subscriptions(slot).len();
                self.moves_left = self.moves_left.saturating_sub(1 + links / LINKS_A_MOVE);
                if self.moves_left == 0 {
                    // Many are behind; the turn goes on, and this pass with the next one.
                    self.lanes[lane].fanout.advance(cursor);
                    return None;
                }
            }
            let Lane { fanout, .. } = &mut self.lanes[lane];
            fanout.advance(0);
            let began_at = fanout.finish(audience, &mut self.batches);
            if let Some(began_at) = began_at.filter(|_| key != EVERYONE) {
                metrics.fan_out_latency.observe(self.micros - began_at);
            }
        }
        None
    }

    fn audience(&self, key: ChannelKey, index: &Index) -> usize {
        if key == EVERYONE {
            self.recipients.len()
        } else {
            index.subscribers(key).len()
        }
    }

    /// Whether nothing but this channel can owe the client anything, since it has no other.
    fn is_only_channel(&self, slot: u32, key: ChannelKey, lane: usize, index: &Index) -> bool {
        let has_status = self.lanes[lane].fanout.newest(EVERYONE) > 0;
        key != EVERYONE && !has_status && index.subscriptions(slot).len() == 1
    }

    /// What the client is owed by this channel and by no other: one range, straight from its batch.
    // A call of it would be 30 instructions of each delivery.
    #[inline(always)]
    fn send_run(
        &mut self,
        slot: u32,
        key: ChannelKey,
        newest: u64,
        lane: usize,
        indexes: &Indexes,
    ) -> Option<Sending> {
        let seen = self.recipients[slot as usize].seen;
        let run = self.lanes[lane]
            .fanout
            .run_before(key, seen, u64::MAX, &self.batches)
            .filter(|run| run.last >= newest);
        if run.is_none() {
            self.deliver(slot, indexes);
        }
        run.map(|run| Sending::Direct(slot, run))
    }

    /// What the client is owed by all its channels, copied together for one write. What is too
    /// much for that is moved to its backlog.
    fn send_owed(&mut self, slot: u32, indexes: &Indexes) -> Option<Sending> {
        self.merge_owed(slot, indexes);
        let lane = self.lane_of(slot);
        let Lane { merge, .. } = &mut self.lanes[lane];
        debug_assert!(!merge.runs().is_empty(), "it is behind its channel");
        if let &[run] = merge.runs() {
            return Some(Sending::Direct(slot, run));
        }
        if merge.gather(&self.batches) {
            return Some(Sending::Gathered(slot));
        }
        self.push_owed(slot);
        None
    }

    /// What became of the bytes lent. Says of whose backlog they were, where they were of one.
    pub fn handle_transmitted(&mut self, written: Written, metrics: &mut Metrics) -> Option<u32> {
        match self.sending.take() {
            Some(Sending::Direct(slot, run)) => {
                self.recipients[slot as usize].seen = run.last;
                let bytes = match written {
                    Written::All => run.span.bytes(),
                    Written::Full(bytes) => {
                        self.keep_rest(slot, &[run], bytes);
                        bytes
                    }
                };
                metrics.bytes_written += bytes as u64;
                None
            }
            Some(Sending::Gathered(slot)) => {
                metrics.bytes_written += self.handle_gathered(slot, written) as u64;
                None
            }
            Some(Sending::Backlog(slot)) => {
                metrics.bytes_written += self.handle_progress(slot, written) as u64;
                Some(slot)
            }
            None => {
                debug_assert!(false, "nothing was being transmitted");
                None
            }
        }
    }

    /// Bytes of what was copied together went out, so many: the rest waits as references to where
    /// it was copied from.
    fn handle_gathered(&mut self, slot: u32, written: Written) -> usize {
        let lane = self.lane_of(slot);
        let merge = std::mem::take(&mut self.lanes[lane].merge);
        if let Some(last) = merge.runs().last() {
            self.recipients[slot as usize].seen = last.last;
        }
        let bytes = match written {
            Written::All => merge.bytes().len(),
            Written::Full(bytes) => {
                let waiting = self.keep_rest(slot, merge.runs(), bytes);
                self.mark_overflow(slot, waiting);
                bytes
            }
        };
        self.lanes[lane].merge = merge;
        bytes
    }

    /// The socket took so many bytes of the ranges and takes no more: the rest waits. Says how much
    /// its backlog refers to now.
    fn keep_rest(&mut self, slot: u32, runs: &[Run], taken: usize) -> usize {
        let (mut taken, mut waiting) = (taken, 0);
        for run in runs {
            let skipped = taken.min(run.span.bytes());
            taken -= skipped;
            let mut rest = run.span;
            rest.start += u32::try_from(skipped).expect("no more than was lent");
            waiting = self.push_span(slot, rest);
        }
        self.outbound_mut(slot).progressed_at = Some(self.tick);
        self.recipients[slot as usize].flags |= BLOCKED;
        waiting
    }

    /// Bytes of a backlog went out, so many: it shrinks, moves to the end of the queue, or is done.
    fn handle_progress(&mut self, slot: u32, written: Written) -> usize {
        let key = self.recipients[slot as usize].backlog as usize;
        let Outbound {
            backlog,
            progressed_at,
            ..
        } = &mut self.outbound[key];
        let bytes = match written {
            Written::Full(bytes) => bytes,
            Written::All => backlog.head_bytes(SLICES_MAX),
        };
        if bytes > 0 || progressed_at.is_none() {
            *progressed_at = Some(self.tick);
        }
        self.owned_bytes -= backlog.owned_bytes();
        backlog.consume(bytes, &mut self.batches);
        self.owned_bytes += backlog.owned_bytes();
        let is_empty = backlog.is_empty();
        self.ready.pop_front();
        let recipient = &mut self.recipients[slot as usize];
        recipient.flags &= !READY;
        if is_empty {
            self.outbound.remove(key);
            recipient.backlog = NO_BACKLOG;
        } else if matches!(written, Written::Full(_)) {
            recipient.flags |= BLOCKED;
        } else {
            self.mark_ready(slot);
        }
        bytes
    }

    /// Ends the slice of the pass under way: another may take its turn. Whether there was one.
    pub fn end_slice(&mut self) -> bool {
        self.moves_left = MOVES_MAX;
        let lanes = self.lanes.iter_mut();
        lanes.fold(false, |was, lane| lane.fanout.end_slice() | was)
    }

    fn lane_of(&self, slot: u32) -> usize {
        self.recipients[slot as usize].lane()
    }
}

/// What may be moved to backlogs in a slice, each time for one client.
pub(super) const MOVES_MAX: usize = 1_024;
/// Channels of a client, each of which may owe it something, that cost as much as a move.
const LINKS_A_MOVE: usize = 64;
