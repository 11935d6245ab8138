//! The way out: the hot path, from a channel's pending frames to the bytes lent to a socket.
//!
//! Reads from top to bottom: whose turn it is, what that client is owed, and what became of the
//! write. Nothing here allocates per recipient of a fan-out while sockets take what they are given.

use super::{
    Delivery, Outbound,
    fanout::{EVERYONE, Run},
    index::Index,
    outgoing::{Outgoing, Pieces, SLICES_MAX, Sending, Transmit, Written},
    recipient::{BLOCKED, NO_BACKLOG, OWED, READY},
};
use crate::{channel::ChannelKey, metrics::Metrics};

impl Delivery {
    /// Whether anything can be written now.
    pub fn has_transmit(&self) -> bool {
        !self.ready.is_empty() || self.fanout.has_work()
    }

    /// Whose turn it is to be written to, and what. Each must be answered by
    /// [`Self::handle_transmitted`] before the next.
    pub fn poll_transmit(&mut self, index: &Index, metrics: &mut Metrics) -> Option<Transmit<'_>> {
        debug_assert!(self.sending.is_none(), "the last transmit was not answered");
        self.ready_first = !self.ready_first;
        let sending = if self.ready_first {
            self.next_ready()
                .or_else(|| self.next_of_pass(index, metrics))
        } else {
            self.next_of_pass(index, metrics)
                .or_else(|| self.next_ready())
        }?;
        self.sending = Some(sending);
        Some(match sending {
            Sending::Direct(slot, run) => Transmit {
                slot,
                bytes: Outgoing::One(self.batches.bytes(run.span)),
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

    /// Walks passes to the next client that is owed something and whose socket takes it.
    fn next_of_pass(&mut self, index: &Index, metrics: &mut Metrics) -> Option<Sending> {
        let mut budget = DELIVERIES_MAX;
        while let Some((key, cursor)) = self.fanout.pass() {
            let newest = self.fanout.newest(key);
            let is_alone = self.fanout.is_alone(key);
            let audience = self.audience(key, index);
            let mut cursor = cursor.min(u32::try_from(audience).unwrap_or(u32::MAX));
            while let Some(below) = cursor.checked_sub(1) {
                let slot = if key == EVERYONE {
                    below
                } else {
                    index.subscribers(key)[below as usize]
                };
                let recipient = self.recipients[slot as usize];
                if recipient.seen >= newest || !recipient.is(OWED) {
                    cursor = below;
                    continue;
                }
                let run = if is_alone {
                    self.fanout
                        .run_before(key, recipient.seen, u64::MAX, &self.batches)
                } else {
                    self.next_run(slot, index)
                };
                let Some(run) = run else {
                    debug_assert!(false, "a client behind its channel is owed something");
                    cursor = below;
                    continue;
                };
                if recipient.backlog == NO_BACKLOG && run.last >= newest {
                    self.fanout.advance(below);
                    return Some(Sending::Direct(slot, run));
                }
                // It has a backlog already, or is owed several ranges: they gather, for one write.
                self.deliver(slot, index);
                cursor = below;
                budget -= 1;
                if budget == 0 {
                    // Many are behind; the turn goes on, and this pass with the next one.
                    self.fanout.advance(cursor);
                    return None;
                }
            }
            self.fanout.advance(0);
            let began_at = self.fanout.finish(audience, &mut self.batches);
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

    /// The next range of frames the client is owed, over all its channels.
    fn next_run(&self, slot: u32, index: &Index) -> Option<Run> {
        let seen = self.recipients[slot as usize].seen;
        self.fanout.next_run(
            seen,
            self.subscribed_and_pending(slot, index),
            &self.batches,
        )
    }

    /// Channels of the client, among them all that may owe it something: the smaller of its own
    /// and the pending ones is walked, where looking those up among its own is cheap.
    pub(super) fn subscribed_and_pending<'a>(
        &'a self,
        slot: u32,
        index: &'a Index,
    ) -> impl Iterator<Item = ChannelKey> + use<'a> {
        let links = index.subscriptions(slot);
        let pending = self.fanout.pending();
        let few = if pending.len() <= FEW { pending } else { &[] };
        let own = if few.len() == pending.len() {
            &[]
        } else {
            links
        };
        let subscribed = move |key: &ChannelKey| links.iter().any(|link| link.channel() == *key);
        let few = few.iter().copied().filter(subscribed);
        few.chain(own.iter().map(|link| link.channel()))
    }

    /// What became of the bytes lent. Says of whose backlog they were, where they were of one.
    pub fn handle_transmitted(&mut self, written: Written, metrics: &mut Metrics) -> Option<u32> {
        match self.sending.take() {
            Some(Sending::Direct(slot, run)) => {
                self.recipients[slot as usize].seen = run.last;
                let bytes = match written {
                    Written::All => run.span.bytes(),
                    Written::Full(bytes) => {
                        let mut rest = run.span;
                        rest.start += u32::try_from(bytes).expect("no more than was lent");
                        self.push_span(slot, rest);
                        self.outbound_mut(slot).progressed_at = Some(self.tick);
                        self.recipients[slot as usize].flags |= BLOCKED;
                        bytes
                    }
                };
                metrics.bytes_written += bytes as u64;
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
        self.fanout.end_slice()
    }
}

/// So many pending channels are looked up in a client's own.
const FEW: usize = 4;
/// Backlogs added to without a write in between.
const DELIVERIES_MAX: u32 = 1_024;
