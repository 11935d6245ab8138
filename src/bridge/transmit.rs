//! The way out: the hot path, from a channel's pending frames to the bytes lent to a socket.
//!
//! Reads from top to bottom: whose turn it is, what that client is owed, what became of the write,
//! and what is kept for one whose socket is full. Nothing here allocates per recipient of a
//! fan-out while sockets take what they are given.

use std::{cmp::Reverse, io::IoSlice};

use super::hub::{
    BLOCKED, ClientId, DEAD, Disconnect, Hub, NO_BACKLOG, OPEN, Phase, READY, Stalled, Tick,
};
use crate::{
    backlog::Backlog,
    batch::{Batches, Span},
    channel::ChannelKey,
    fanout::{EVERYONE, Run},
    ws::close::CloseReason,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Sending {
    Backlog(u32),
    Direct(u32, Run),
}

/// Bytes lent to be written to one socket.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// Whose socket.
    pub client: ClientId,
    /// What is to be written.
    pub bytes: Outgoing<'a>,
}

/// One piece, as nearly always, or several.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// Contiguous.
    One(&'a [u8]),
    /// What heads a backlog.
    Many(Pieces<'a>),
}

/// The pieces at the head of a backlog. A view: an array of slices in every [`Transmit`] would
/// cost the many more than it gives the few.
#[derive(Debug)]
pub struct Pieces<'a> {
    backlog: &'a Backlog,
    batches: &'a Batches,
}

impl<'a> Pieces<'a> {
    /// The first so many slices of the array are to be written, in order.
    pub fn slices(&self) -> ([IoSlice<'a>; SLICES_MAX], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.backlog.slices(self.batches, &mut slices);
        (slices, count)
    }
}

/// What became of lent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All went.
    All,
    /// So many went; the socket takes no more until it says so.
    Full(usize),
}

impl Hub {
    /// Whether anything can be written now.
    pub(super) fn has_transmit(&self) -> bool {
        !self.ready.is_empty() || self.fanout.has_work()
    }

    /// Whose turn it is to be written to, and what. Each must be answered by
    /// [`Self::handle_transmitted`] before the next.
    pub(super) fn poll_transmit(&mut self, now: Tick) -> Option<Transmit<'_>> {
        debug_assert!(self.sending.is_none(), "the last transmit was not answered");
        self.ready_first = !self.ready_first;
        let sending = if self.ready_first {
            self.next_ready().or_else(|| self.next_of_pass(now))
        } else {
            self.next_of_pass(now).or_else(|| self.next_ready())
        }?;
        self.sending = Some(sending);
        Some(match sending {
            Sending::Direct(slot, run) => Transmit {
                client: self.id(slot),
                bytes: Outgoing::One(self.batches.bytes(run.span)),
            },
            Sending::Backlog(slot) => {
                let key = self.hot[slot as usize].backlog as usize;
                Transmit {
                    client: self.id(slot),
                    bytes: Outgoing::Many(Pieces {
                        backlog: &self.backlogs[key].backlog,
                        batches: &self.batches,
                    }),
                }
            }
        })
    }

    fn next_ready(&mut self) -> Option<Sending> {
        while let Some(&slot) = self.ready.front() {
            let hot = self.hot[slot as usize];
            if hot.is(READY) && hot.backlog != NO_BACKLOG {
                return Some(Sending::Backlog(slot));
            }
            self.ready.pop_front();
            self.hot[slot as usize].flags &= !READY;
        }
        None
    }

    /// Walks passes to the next client that is owed something and whose socket takes it.
    fn next_of_pass(&mut self, now: Tick) -> Option<Sending> {
        let mut budget = DELIVERIES_MAX;
        while let Some((key, cursor)) = self.fanout.pass() {
            let newest = self.fanout.newest(key);
            let is_alone = self.fanout.is_alone(key);
            let audience = self.audience(key);
            let mut cursor = cursor.min(u32::try_from(audience).unwrap_or(u32::MAX));
            while let Some(below) = cursor.checked_sub(1) {
                let slot = if key == EVERYONE {
                    below
                } else {
                    self.index.subscribers(key)[below as usize]
                };
                let hot = self.hot[slot as usize];
                if hot.seen >= newest || !hot.is(OPEN) {
                    cursor = below;
                    continue;
                }
                let run = if is_alone {
                    self.fanout
                        .run_before(key, hot.seen, u64::MAX, &self.batches)
                } else {
                    self.next_run(slot)
                };
                let Some(run) = run else {
                    debug_assert!(false, "a client behind its channel is owed something");
                    cursor = below;
                    continue;
                };
                if hot.backlog == NO_BACKLOG && run.last >= newest {
                    self.fanout.advance(below);
                    return Some(Sending::Direct(slot, run));
                }
                // It has a backlog already, or is owed several ranges: they gather, for one write.
                self.deliver(slot, now);
                cursor = below;
                budget -= 1;
                if budget == 0 {
                    // Many are behind; the turn goes on, and this pass with the next one.
                    self.fanout.advance(cursor);
                    return None;
                }
            }
            self.fanout.advance(0);
            let since = self.fanout.finish(audience, &mut self.batches);
            if let Some(since) = since.filter(|_| key != EVERYONE) {
                self.metrics.fan_out_latency.observe(self.clock - since);
            }
        }
        None
    }

    fn audience(&self, key: ChannelKey) -> usize {
        if key == EVERYONE {
            self.hot.len()
        } else {
            self.index.subscribers(key).len()
        }
    }

    /// The next range of frames the client is owed, over all its channels.
    fn next_run(&self, slot: u32) -> Option<Run> {
        let seen = self.hot[slot as usize].seen;
        self.fanout
            .next_run(seen, self.subscribed_and_pending(slot), &self.batches)
    }

    /// Channels of the client, among them all that may owe it something: the smaller of its own
    /// and the pending ones is walked, where looking those up among its own is cheap.
    fn subscribed_and_pending(&self, slot: u32) -> impl Iterator<Item = ChannelKey> {
        let links = self.index.subscriptions(slot);
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

    pub(super) fn handle_transmitted(&mut self, written: Written, now: Tick) {
        match self.sending.take() {
            Some(Sending::Direct(slot, run)) => {
                self.hot[slot as usize].seen = run.last;
                let bytes = match written {
                    Written::All => run.span.bytes(),
                    Written::Full(bytes) => {
                        let mut rest = run.span;
                        rest.start += u32::try_from(bytes).expect("no more than was lent");
                        self.push_span(slot, rest);
                        let key = self.hot[slot as usize].backlog as usize;
                        self.backlogs[key].progressed = Some(now);
                        self.hot[slot as usize].flags |= BLOCKED;
                        bytes
                    }
                };
                self.metrics.bytes_written += bytes as u64;
            }
            Some(Sending::Backlog(slot)) => self.note_progress(slot, written, now),
            None => debug_assert!(false, "nothing was being transmitted"),
        }
    }

    /// Bytes of a backlog went out: it shrinks, moves to the end of the queue, or is done.
    fn note_progress(&mut self, slot: u32, written: Written, now: Tick) {
        let was_paused = self.is_paused(self.id(slot));
        let key = self.hot[slot as usize].backlog as usize;
        let Stalled {
            backlog,
            progressed,
            ..
        } = &mut self.backlogs[key];
        let bytes = match written {
            Written::Full(bytes) => bytes,
            Written::All => backlog.head_bytes(SLICES_MAX),
        };
        if bytes > 0 || progressed.is_none() {
            *progressed = Some(now);
        }
        self.metrics.bytes_written += bytes as u64;
        backlog.consume(bytes, &mut self.batches);
        let is_empty = backlog.is_empty();
        self.ready.pop_front();
        let hot = &mut self.hot[slot as usize];
        hot.flags &= !READY;
        if is_empty {
            self.backlogs.remove(key);
            hot.backlog = NO_BACKLOG;
            if matches!(self.clients[slot as usize].phase, Phase::Flushing) {
                self.clients[slot as usize].phase = Phase::Lingering;
                self.disconnects
                    .push_back((self.id(slot), Disconnect::Shutdown));
            }
        } else if matches!(written, Written::Full(_)) {
            hot.flags |= BLOCKED;
        } else {
            self.mark_ready(slot);
        }
        if was_paused && !self.is_paused(self.id(slot)) {
            self.resumed.push_back(self.id(slot));
        }
    }

    /// Moves everything the client's channels owe it to its backlog: afterwards it has seen all.
    pub(super) fn deliver(&mut self, slot: u32, now: Tick) {
        let mut owing = std::mem::take(&mut self.owing);
        owing.clear();
        let seen = self.hot[slot as usize].seen;
        for key in self.subscribed_and_pending(slot).chain([EVERYONE]) {
            if let Some(first) = self.fanout.first_after(key, seen, &self.batches) {
                owing.push(Reverse((first, key)));
            }
        }
        while let Some(Reverse((_, key))) = owing.pop() {
            let seen = self.hot[slot as usize].seen;
            let bound = owing.peek().map_or(u64::MAX, |&Reverse((first, _))| first);
            let run = self.fanout.run_before(key, seen, bound, &self.batches);
            let Some(run) = run else { continue };
            self.push_run(slot, run, now);
            if !self.is_open(slot) {
                break;
            }
            if let Some(first) = self.fanout.first_after(key, run.last, &self.batches) {
                owing.push(Reverse((first, key)));
            }
        }
        self.owing = owing;
        self.hot[slot as usize].seen = self.fanout.sequence();
    }

    fn push_run(&mut self, slot: u32, run: Run, now: Tick) {
        self.hot[slot as usize].seen = run.last;
        let bytes = self.push_span(slot, run.span);
        self.mark_ready(slot);
        if bytes > self.limits.client_queue_bytes_max && self.is_open(slot) {
            self.close(slot, CloseReason::SlowConsumer, now);
        }
    }

    /// Appends shared bytes to the client's backlog; says how much that holds now.
    fn push_span(&mut self, slot: u32, span: Span) -> usize {
        let key = self.backlog_key(slot);
        let backlog = &mut self.backlogs[key].backlog;
        backlog.push_span(span, &mut self.batches);
        backlog.bytes()
    }

    pub(super) fn mark_ready(&mut self, slot: u32) {
        let hot = &mut self.hot[slot as usize];
        if hot.flags & (READY | BLOCKED | DEAD) == 0 && hot.backlog != NO_BACKLOG {
            hot.flags |= READY;
            self.ready.push_back(slot);
        }
    }
}

/// So many pending channels are looked up in a client's own.
const FEW: usize = 4;
/// Backlogs added to without a write in between.
const DELIVERIES_MAX: u32 = 1_024;
/// Slices lent for one write: more than a backlog usually has.
pub const SLICES_MAX: usize = 16;
