//! Which bytes each client is owed, and what of them waits for its socket.
//!
//! Puts `fanout`, `batch`, `backlog` and `history` together. Knows a client by its slot and a
//! channel by its key; neither what frames say, nor what a client may do, nor when it is closed:
//! a client that is owed too much is marked, and whoever owns the clients closes it.
//!
//! The rule that keeps every client's order: what its channels owe it is moved to its backlog
//! ([`Delivery::deliver`]) *before* its subscriptions change and *before* an answer is queued.

pub mod backlog;
pub mod batch;
pub mod fanout;
pub mod history;
pub mod index;
pub mod inspect;
pub mod lane;
mod merge;
pub mod outgoing;
mod recipient;
mod recovery;
mod transmit;

use std::{cmp::Reverse, collections::VecDeque, time::Duration};

use slab::Slab;

pub use self::recovery::Recovered;
use self::{
    backlog::Backlog,
    batch::{Batches, Span},
    fanout::{EVERYONE, Run},
    history::History,
    lane::{FrameBytes, Indexes, LANES, Lane, owed},
    outgoing::Sending,
    recipient::{BLOCKED, NO_BACKLOG, OVERFLOWED, OWED, READY, Recipient},
    transmit::MOVES_MAX,
};
use crate::{
    channel::ChannelKey,
    id::{Clock, Tick, elapsed},
};

/// What is on its way to all clients.
///
/// A connection is [attached](Self::attach), takes part in fan-outs from [`Self::begin`] to
/// [`Self::end`], and is [detached](Self::detach). Bytes leave by [`Self::poll_transmit`]. Once a
/// turn, [`Self::end_slice`] and [`Self::poll_overflowed`].
#[derive(Debug)]
pub struct Delivery {
    /// By slot: what a fan-out touches of a client.
    recipients: Vec<Recipient>,
    lanes: [Lane; LANES],
    /// Whose passes went first the last time, where both lanes have some.
    is_second_lane_first: bool,
    batches: Batches,
    outbound: Slab<Outbound>,
    history: History,
    /// Clients with a backlog and a socket that takes bytes, and some that are not so any more:
    /// [`READY`] tells.
    ready: VecDeque<u32>,
    ready_first: bool,
    /// So much may be moved to backlogs in this slice still: see [`transmit`].
    moves_left: usize,
    /// What is lent to be written.
    sending: Option<Sending>,
    /// Clients to be closed for what they are owed; some are closed already.
    overflowed: VecDeque<u32>,
    /// A backlog that refers to more overflows.
    queue_bytes_max: usize,
    /// Memory of backlogs that is their clients' own.
    owned_bytes: usize,
    tick: Tick,
    micros: u64,
}

/// The outbound queue of a client whose socket did not take everything at once.
#[derive(Debug)]
struct Outbound {
    backlog: Backlog,
    slot: u32,
    /// When its socket last took something, or refused the first of it; `None` while nothing was
    /// written: what it waits for is us.
    progressed_at: Option<Tick>,
}

impl Delivery {
    /// A backlog may refer to `queue_bytes_max`; `history` keeps frames for clients that come back.
    /// `frame_bytes` measures the frames of each lane.
    pub fn new(queue_bytes_max: usize, history: History, frame_bytes: [FrameBytes; LANES]) -> Self {
        Self {
            recipients: Vec::new(),
            lanes: frame_bytes.map(Lane::new),
            is_second_lane_first: false,
            batches: Batches::default(),
            outbound: Slab::new(),
            history,
            ready: VecDeque::new(),
            ready_first: false,
            moves_left: MOVES_MAX,
            sending: None,
            overflowed: VecDeque::new(),
            queue_bytes_max,
            owned_bytes: 0,
            tick: 0,
            micros: 0,
        }
    }

    /// The time of the turn.
    pub fn set_time(&mut self, clock: &Clock) {
        self.tick = clock.tick();
        self.micros = clock.micros();
    }

    // ---- connections

    /// A connection takes the slot; it is owed nothing yet.
    pub fn attach(&mut self, slot: u32) {
        if self.recipients.len() <= slot as usize {
            self.recipients.push(Recipient::default());
        }
        debug_assert_eq!(self.recipients[slot as usize].flags, 0, "a vacant slot");
    }

    /// Bytes of the connection's own, a whole HTTP head: nothing was said before it, and it is never
    /// cut. From now on the connection takes part in fan-outs of the lane; nothing notified before is
    /// owed.
    pub fn begin(&mut self, slot: u32, lane: usize, head: impl FnOnce(&mut Vec<u8>)) {
        self.join(slot, lane);
        self.push_head(slot, lane, head);
    }

    /// From now on the connection takes part in fan-outs of the lane; nothing notified before is owed.
    pub fn join(&mut self, slot: u32, lane: usize) {
        let sequence = self.lanes[lane].fanout.sequence();
        let recipient = &mut self.recipients[slot as usize];
        recipient.seen = sequence;
        recipient.flags |= owed(lane);
    }

    /// Bytes of the connection's own, a whole HTTP head, which are never cut. The frames behind it are
    /// those of the lane, whether it takes part in fan-outs or not yet.
    pub fn push_head(&mut self, slot: u32, lane: usize, head: impl FnOnce(&mut Vec<u8>)) {
        self.recipients[slot as usize].flags |= owed(lane) & !OWED;
        let outbound = self.outbound_mut(slot);
        let before = outbound.backlog.owned_bytes();
        outbound.backlog.push_head(head);
        let after = outbound.backlog.owned_bytes();
        self.owned_bytes += after - before;
        self.mark_ready(slot);
    }

    /// The connection is owed nothing more than its backlog holds; of that, where it is to be `cut`,
    /// only the rest of a frame begun is left.
    pub fn end(&mut self, slot: u32, cut: bool) {
        self.recipients[slot as usize].flags &= !(OWED | OVERFLOWED);
        if cut {
            self.cut(slot);
        }
    }

    /// The connection is gone, and its slot is free for another.
    pub fn detach(&mut self, slot: u32) {
        let recipient = &mut self.recipients[slot as usize];
        if let Some(key) = recipient.backlog_key() {
            let mut outbound = self.outbound.remove(key);
            self.owned_bytes -= outbound.backlog.owned_bytes();
            outbound.backlog.clear(&mut self.batches);
        }
        *recipient = Recipient::default();
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, slot: u32) {
        self.recipients[slot as usize].flags &= !BLOCKED;
        self.mark_ready(slot);
    }

    /// A client that is owed more than it may be, each once: it gets nothing more until
    /// [`Self::end`].
    pub fn poll_overflowed(&mut self) -> Option<u32> {
        loop {
            let slot = self.overflowed.pop_front()?;
            if self.has_overflowed(slot) {
                return Some(slot);
            }
        }
    }

    /// Whether [`Self::poll_overflowed`] may have one.
    pub fn has_any_overflowed(&self) -> bool {
        !self.overflowed.is_empty()
    }

    /// Whether the client is owed more than it may be.
    pub fn has_overflowed(&self, slot: u32) -> bool {
        self.recipients[slot as usize].is(OVERFLOWED)
    }

    /// Whether the client takes part in fan-outs.
    pub fn is_owed(&self, slot: u32) -> bool {
        self.recipients[slot as usize].is(OWED)
    }

    // ---- what waits for one client

    /// What waits for the client's socket, where anything does.
    pub fn backlog(&self, slot: u32) -> Option<&Backlog> {
        let key = self.recipients[slot as usize].backlog_key()?;
        Some(&self.outbound[key].backlog)
    }

    /// For how long the client's socket has taken nothing of what waits for it; no time if it takes
    /// more, or was not tried yet.
    pub fn standstill(&self, slot: u32) -> Option<Duration> {
        let recipient = self.recipients[slot as usize];
        let outbound = &self.outbound[recipient.backlog_key()?];
        let refused_at = outbound.progressed_at.filter(|_| recipient.is(BLOCKED));
        Some(refused_at.map_or(Duration::ZERO, |at| elapsed(at, self.tick)))
    }

    /// Takes a small rest that has come to a standstill out of its large batch.
    pub fn copy_out_small(&mut self, slot: u32) {
        let is_still = self.standstill(slot).is_some_and(|it| it >= COPY_OUT_AFTER);
        if let Some(key) = self.recipients[slot as usize]
            .backlog_key()
            .filter(|_| is_still)
        {
            let backlog = &mut self.outbound[key].backlog;
            self.owned_bytes -= backlog.owned_bytes();
            backlog.copy_out_small(&mut self.batches);
            self.owned_bytes += backlog.owned_bytes();
        }
    }

    /// Of the clients that take part in fan-outs, the `count` that refer to most shared bytes, those
    /// with most first.
    pub fn slowest(&self, count: usize) -> Vec<u32> {
        let owed = self
            .outbound
            .iter()
            .map(|(_, it)| (it.backlog.shared_bytes(), it.slot))
            .filter(|&(bytes, slot)| bytes > 0 && self.recipients[slot as usize].is(OWED));
        let mut slowest: Vec<_> = owed.collect();
        if slowest.len() > count {
            slowest.select_nth_unstable_by_key(count, |&(bytes, _)| Reverse(bytes));
            slowest.truncate(count);
        }
        slowest.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        slowest.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Queues bytes of the client's own.
    pub fn push(&mut self, slot: u32, write: impl FnOnce(&mut Vec<u8>)) {
        if self.has_overflowed(slot) {
            return;
        }
        let Outbound { backlog, .. } = self.outbound_mut(slot);
        let before = backlog.owned_bytes();
        backlog.push_owned(write);
        let (bytes, owned_bytes) = (backlog.bytes(), backlog.owned_bytes());
        self.owned_bytes += owned_bytes - before;
        self.mark_ready(slot);
        self.mark_overflow(slot, bytes);
    }

    /// Moves everything that the client's channels owe it to its backlog: afterwards it has seen all.
    pub fn deliver(&mut self, slot: u32, indexes: &Indexes) {
        let it = self.recipients[slot as usize];
        if it.is(OWED) && it.seen < self.lanes[it.lane()].fanout.sequence() {
            self.merge_owed(slot, indexes);
            self.push_owed(slot);
        }
    }

    fn merge_owed(&mut self, slot: u32, indexes: &Indexes) {
        let recipient = self.recipients[slot as usize];
        let links = indexes[recipient.lane()].subscriptions(slot);
        let Lane { merge, fanout, .. } = &mut self.lanes[recipient.lane()];
        merge.merge(recipient.seen, links, fanout, &self.batches);
    }

    /// Moves what was merged to the client's backlog.
    fn push_owed(&mut self, slot: u32) {
        let lane = self.recipients[slot as usize].lane();
        let merge = std::mem::take(&mut self.lanes[lane].merge);
        for &run in merge.runs() {
            self.push_run(slot, run);
        }
        self.lanes[lane].merge = merge;
        self.recipients[slot as usize].seen = self.lanes[lane].fanout.sequence();
    }

    fn push_run(&mut self, slot: u32, run: Run) {
        let recipient = &mut self.recipients[slot as usize];
        recipient.seen = run.last;
        if recipient.is(OVERFLOWED) {
            return;
        }
        let bytes = self.push_span(slot, run.span);
        self.mark_ready(slot);
        self.mark_overflow(slot, bytes);
    }

    /// Appends shared bytes to the client's backlog; says how much that refers to now.
    fn push_span(&mut self, slot: u32, span: Span) -> usize {
        let key = self.outbound_key(slot);
        let backlog = &mut self.outbound[key].backlog;
        backlog.push_span(span, &mut self.batches);
        backlog.bytes()
    }

    /// A client that is owed too much takes part in no fan-out any more, and what waits for it behind
    /// the frame begun is dropped: whatever it is told next is that.
    fn mark_overflow(&mut self, slot: u32, bytes: usize) {
        let recipient = &mut self.recipients[slot as usize];
        if bytes > self.queue_bytes_max && recipient.is(OWED) {
            recipient.flags = recipient.flags & !OWED | OVERFLOWED;
            self.overflowed.push_back(slot);
            self.cut(slot);
        }
    }

    /// Only the rest of a frame begun is left of the client's backlog.
    fn cut(&mut self, slot: u32) {
        let Some(key) = self.recipients[slot as usize].backlog_key() else {
            return;
        };
        let frame_bytes = self.lanes[self.recipients[slot as usize].lane()].frame_bytes;
        let backlog = &mut self.outbound[key].backlog;
        self.owned_bytes -= backlog.owned_bytes();
        backlog.cut_at_frame(&mut self.batches, frame_bytes);
        self.owned_bytes += backlog.owned_bytes();
        if backlog.is_empty() {
            self.outbound.remove(key);
            self.recipients[slot as usize].backlog = NO_BACKLOG;
        }
    }

    fn mark_ready(&mut self, slot: u32) {
        let recipient = &mut self.recipients[slot as usize];
        if recipient.flags & (READY | BLOCKED) == 0 && recipient.backlog != NO_BACKLOG {
            recipient.flags |= READY;
            self.ready.push_back(slot);
        }
    }

    fn outbound_mut(&mut self, slot: u32) -> &mut Outbound {
        let key = self.outbound_key(slot);
        &mut self.outbound[key]
    }

    /// The key of the client's outbound queue, made now if it had none.
    fn outbound_key(&mut self, slot: u32) -> usize {
        let recipient = &mut self.recipients[slot as usize];
        if recipient.backlog == NO_BACKLOG {
            let key = self.outbound.insert(Outbound {
                backlog: Backlog::default(),
                slot,
                progressed_at: None,
            });
            recipient.backlog = u32::try_from(key).expect("no more backlogs than clients");
        }
        recipient.backlog as usize
    }

    // ---- channels

    /// A frame for all `audience` subscribers of the channel in the lane.
    pub fn append(&mut self, key: ChannelKey, lane: usize, audience: usize, frame: &[u8]) {
        if audience > 0 {
            let fanout = &mut self.lanes[lane].fanout;
            fanout.append(key, audience, frame, self.micros, &mut self.batches);
        }
    }

    /// A frame for everybody in the lane.
    pub fn broadcast(&mut self, lane: usize, frame: &[u8]) {
        self.append(EVERYONE, lane, self.recipients.len(), frame);
    }

    /// Whether frames are kept for clients that come back.
    pub fn has_history(&self) -> bool {
        self.history.is_on()
    }

    /// Keeps the text of notification `seq`, the next one of its channel, at its place in the order of
    /// all channels.
    pub fn keep(&mut self, key: ChannelKey, seq: u64, place: u64, text: &[u8]) {
        if self.history.is_on() {
            self.history.push(key, seq, place, text);
        }
    }

    /// The first notification of the channel that is kept, from this number on.
    pub fn kept_from(&self, key: ChannelKey, seq: u64) -> Option<history::Kept<'_>> {
        self.history.kept_from(key, seq)
    }

    /// The place of notification `seq` of the channel, where that is kept or was the last to go.
    pub fn place_of(&self, key: ChannelKey, seq: u64) -> Option<u64> {
        self.history.place_of(key, seq)
    }

    /// How many notifications of the channel are behind that place; `None` if one of them is missing.
    pub fn count_after(&self, key: ChannelKey, place: u64) -> Option<usize> {
        let (_, behind) = self.history.after(key, place)?;
        Some(behind.count())
    }

    /// The notifications of the channel behind that place, each framed by `frame`, which is given its
    /// number and text; `None` if one of them is missing, or if they are more than the client may be
    /// owed, `reserved` bytes being for it already.
    pub fn recover(
        &mut self,
        slot: u32,
        lane: usize,
        key: ChannelKey,
        place: u64,
        reserved: usize,
        frame: impl Fn(u64, &[u8], &mut Vec<u8>),
    ) -> Option<Recovered> {
        let (history, batches) = (&self.history, &mut self.batches);
        let recoveries = &mut self.lanes[lane].recoveries;
        let missed = recoveries.provide(key, place, history, batches, self.tick, frame)?;
        let bytes = missed.bytes();
        let waiting = reserved + self.backlog(slot).map_or(0, Backlog::bytes);
        // The rest is for what comes live while the client reads this.
        let is_room = bytes == 0 || waiting + bytes <= self.queue_bytes_max / 4 * 3;
        is_room.then_some(missed)
    }

    /// Queues what was recovered of several channels, or of one, in the order of all of them.
    pub fn push_recovered(&mut self, slot: u32, missed: &[Recovered]) {
        for span in recovery::merge(missed, &self.batches) {
            if self.has_overflowed(slot) {
                return;
            }
            let bytes = self.push_span(slot, span);
            self.mark_ready(slot);
            self.mark_overflow(slot, bytes);
        }
    }

    /// Lets go of recovered frames that nobody asked for in the last moment.
    pub fn expire_recoveries(&mut self) {
        for lane in &mut self.lanes {
            lane.recoveries.expire(self.tick, &mut self.batches);
        }
    }

    /// Lets go of recovered frames that no client refers to.
    pub fn clear_recoveries(&mut self) {
        for lane in &mut self.lanes {
            lane.recoveries.clear(&mut self.batches);
        }
    }

    /// The channel's notifications are counted anew.
    pub fn forget_history(&mut self, key: ChannelKey) {
        self.history.clear(key);
        for lane in &mut self.lanes {
            lane.recoveries.forget(key, &mut self.batches);
        }
    }

    /// Nobody is subscribed to the channel any more, and its key may come to name another.
    pub fn forget(&mut self, key: ChannelKey) {
        self.forget_history(key);
        for lane in &mut self.lanes {
            lane.fanout.forget(key, &mut self.batches);
        }
    }

    // ---- what there is

    /// Whether a pass is unfinished.
    pub fn has_work(&self) -> bool {
        self.lanes.iter().any(|lane| lane.fanout.has_work())
    }

    /// Bytes of frames not yet passed to all.
    pub fn unsent_bytes(&self) -> usize {
        let lanes = self.lanes.iter();
        lanes.map(|lane| lane.fanout.unsent_bytes()).sum()
    }

    /// Memory of backlogs that is their clients' own: answers that were not read, above all.
    pub fn owned_bytes(&self) -> usize {
        self.owned_bytes
    }

    /// Memory of all batches in use.
    pub fn retained_bytes(&self) -> usize {
        self.batches.retained_bytes()
    }
}

/// A backlog at a standstill for this long lets go of large batches.
const COPY_OUT_AFTER: Duration = Duration::from_secs(1);
