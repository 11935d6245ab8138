//! All clients, what they are subscribed to, and what leaves for them in which order.
//!
//! Owns the records of clients and puts `index`, `fanout`, `batch` and `backlog` together. Knows
//! nothing of PostgreSQL's wire, of sockets or of clocks: time comes in as [`Tick`]s.
//!
//! The rule that keeps every client's order: whatever is pending for a client is moved to its
//! backlog (`deliver`) *before* its subscriptions change and *before* an answer is queued to it.

use std::{collections::VecDeque, io::IoSlice};

use slab::Slab;

use crate::{
    backlog::Backlog,
    batch::{Batches, Span},
    bridge::listening::Listening,
    channel::{Channel, ChannelKey, Payload},
    config::Limits,
    fanout::{EVERYONE, Fanout, Run},
    frame,
    index::Index,
    message::{RequestId, ServerMessage},
    metrics::Metrics,
    ws::{
        access::Access,
        close::{self, CloseReason},
        decoder::Decoder,
    },
};

/// Milliseconds since the start; wraps after 49 days, so only differences mean something.
pub type Tick = u32;

/// A client, for as long as it lives: a slot used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// Its place in every table of clients.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u16,
}

/// All clients and channels.
#[derive(Debug)]
pub struct Hub {
    pub(super) limits: Limits,
    pub(super) access: Access,
    /// The page at `GET /`, where there is one.
    pub(super) page: Option<&'static str>,
    pub(super) clients: Slab<Client>,
    /// By slot, beside `clients`: what a fan-out touches.
    pub(super) hot: Vec<Hot>,
    pub(super) index: Index,
    pub(super) fanout: Fanout,
    pub(super) batches: Batches,
    pub(super) backlogs: Slab<Stalled>,
    pub(super) listening: Listening,
    /// Publishes awaiting their outcome; the key is the ticket.
    pub(super) publishes: Slab<Publish>,
    pub(super) publish_bytes: usize,
    /// For whoever talks to PostgreSQL, in order.
    pub(super) commands: VecDeque<Command>,
    pub(super) metrics: Metrics,
    /// No client is taken any more; those there are being closed.
    pub(super) stopping: bool,
    /// Clients with a backlog and a socket that takes bytes; each once.
    ready: VecDeque<u32>,
    ready_first: bool,
    sending: Option<Sending>,
    disconnects: VecDeque<(ClientId, Disconnect)>,
    /// Clients to be read again after a pause.
    pub(super) resumed: VecDeque<ClientId>,
    /// Clients whose links are to be cut at the end of the turn.
    leaving: Vec<u32>,
    /// Clients whose slots are to be freed at the end of the turn.
    dead: Vec<u32>,
    /// One frame on its way into a batch.
    pub(super) scratch: Vec<u8>,
}

/// What a fan-out reads and writes per client: 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hot {
    /// The client was given every frame of its channels up to this one.
    pub(super) seen: u64,
    /// Its key in `Hub::backlogs`, or [`NO_BACKLOG`].
    backlog: u32,
    generation: u16,
    flags: u16,
}

impl Hot {
    fn is(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// What is rarely touched of a client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) phase: Phase,
    pub(super) decoder: Decoder,
    /// When bytes last came.
    pub(super) heard: Tick,
    /// When `phase` began, or the ping went out.
    pub(super) since: Tick,
    /// Channels whose LISTEN this client awaits, each once.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 24 in every client's record"
    )]
    pub(super) waiting: Option<Box<Vec<ChannelKey>>>,
    /// Subscribes not yet answered.
    pub(super) subscribes_waiting: u16,
    /// Publishes not yet answered.
    pub(super) publishes_waiting: u16,
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// The HTTP head is incomplete; what came of it so far.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 24 in every client's record"
    )]
    Handshake(Option<Box<Vec<u8>>>),
    /// Messages flow.
    Open {
        /// A ping is unanswered.
        pinged: bool,
    },
    /// Our close frame is queued or sent; the peer's is awaited.
    Closing,
    /// The last bytes are queued; when they are out, we shut down.
    Flushing,
    /// All is sent and shut down; the peer's end is awaited, so that no reset overtakes the bytes.
    Lingering,
}

/// The backlog of one client, and when it last moved.
#[derive(Debug)]
pub(super) struct Stalled {
    pub(super) backlog: Backlog,
    pub(super) slot: u32,
    pub(super) progressed: Tick,
}

/// A publish awaiting its outcome.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) client: ClientId,
    pub(super) id: Option<RequestId>,
    pub(super) channel: Channel,
    pub(super) bytes: usize,
}

/// What is asked of PostgreSQL.
#[derive(Debug)]
pub enum Command {
    /// Hear the channel.
    Listen(ChannelKey, Channel),
    /// Hear it no more.
    Unlisten(ChannelKey, Channel),
    /// Notify it; the number names the publish in its outcome.
    Notify(u32, Channel, Payload),
}

#[derive(Clone, Copy, Debug)]
enum Sending {
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
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one system call"
)]
pub enum Outgoing<'a> {
    /// Contiguous.
    One(&'a [u8]),
    /// The first so many slices of the array, in order.
    Many([IoSlice<'a>; SLICES_MAX], usize),
}

/// What became of lent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All went.
    All,
    /// So many went; the socket takes no more until it says so.
    Full(usize),
}

/// How a socket is to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Send nothing more, keep reading.
    Shutdown,
    /// Forget it.
    Drop,
}

impl Hub {
    pub(super) fn new(limits: Limits, access: Access, page: Option<&'static str>) -> Self {
        Self {
            limits,
            access,
            page,
            clients: Slab::new(),
            hot: Vec::new(),
            index: Index::default(),
            fanout: Fanout::default(),
            batches: Batches::default(),
            backlogs: Slab::new(),
            listening: Listening::default(),
            publishes: Slab::new(),
            publish_bytes: 0,
            commands: VecDeque::new(),
            metrics: Metrics::default(),
            stopping: false,
            ready: VecDeque::new(),
            ready_first: false,
            sending: None,
            disconnects: VecDeque::new(),
            resumed: VecDeque::new(),
            leaving: Vec::new(),
            dead: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn handle_connected(&mut self, now: Tick) -> ClientId {
        self.metrics.connections += 1;
        let slot = self.clients.insert(Client {
            phase: Phase::Handshake(None),
            decoder: Decoder::default(),
            heard: now,
            since: now,
            waiting: None,
            subscribes_waiting: 0,
            publishes_waiting: 0,
        });
        if self.hot.len() <= slot {
            self.hot.push(Hot {
                seen: 0,
                backlog: NO_BACKLOG,
                generation: 0,
                flags: 0,
            });
        }
        let generation = self.hot[slot].generation;
        ClientId {
            slot: u32::try_from(slot).expect("sockets are fewer than 2^32"),
            generation,
        }
    }

    /// The socket is gone.
    pub(super) fn handle_closed(&mut self, id: ClientId) {
        if self.is_alive(id) {
            self.bury(id.slot);
        }
    }

    /// The socket takes bytes again.
    pub(super) fn handle_writable(&mut self, id: ClientId) {
        if self.is_alive(id) && self.hot[id.slot as usize].is(BLOCKED) {
            self.hot[id.slot as usize].flags &= !BLOCKED;
            self.mark_ready(id.slot);
        }
    }

    /// Whose turn it is to be written to, and what. Each must be answered by
    /// [`Self::handle_transmitted`] before the next.
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        debug_assert!(self.sending.is_none(), "the last transmit was not answered");
        self.ready_first = !self.ready_first;
        let sending = if self.ready_first {
            self.next_ready().or_else(|| self.next_of_pass())
        } else {
            self.next_of_pass().or_else(|| self.next_ready())
        }?;
        self.sending = Some(sending);
        Some(match sending {
            Sending::Direct(slot, run) => Transmit {
                client: self.id(slot),
                bytes: Outgoing::One(self.batches.bytes(run.span)),
            },
            Sending::Backlog(slot) => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let key = self.hot[slot as usize].backlog as usize;
                let count = self.backlogs[key]
                    .backlog
                    .slices(&self.batches, &mut slices);
                Transmit {
                    client: self.id(slot),
                    bytes: Outgoing::Many(slices, count),
                }
            }
        })
    }

    pub(super) fn handle_transmitted(&mut self, written: Written, now: Tick) {
        match self.sending.take() {
            Some(Sending::Direct(slot, run)) => {
                self.hot[slot as usize].seen = run.last;
                if let Written::Full(bytes) = written {
                    let mut rest = run.span;
                    rest.start += u32::try_from(bytes).expect("no more than was lent");
                    self.push_span(slot, rest, now);
                    self.hot[slot as usize].flags |= BLOCKED;
                }
            }
            Some(Sending::Backlog(slot)) => self.note_progress(slot, written, now),
            None => debug_assert!(false, "nothing was being transmitted"),
        }
    }

    /// Whether anything can be written now.
    pub(super) fn has_transmit(&self) -> bool {
        !self.ready.is_empty() || self.fanout.has_work()
    }

    pub(super) fn end_slice(&mut self) {
        self.fanout.end_slice();
    }

    pub(super) fn poll_disconnect(&mut self) -> Option<(ClientId, Disconnect)> {
        self.disconnects.pop_front()
    }

    /// Cuts the links of clients that left and frees their slots. Nothing walks now.
    pub(super) fn reap(&mut self, now: Tick) {
        while let Some(slot) = self.leaving.pop() {
            self.leave_channels(slot);
        }
        while let Some(slot) = self.dead.pop() {
            self.clients.remove(slot as usize);
            let hot = &mut self.hot[slot as usize];
            *hot = Hot {
                seen: 0,
                backlog: NO_BACKLOG,
                generation: hot.generation.wrapping_add(1),
                flags: 0,
            };
        }
        self.close_slowest(now);
    }

    /// Closes the slowest clients until what all of them refer to is within its bound.
    fn close_slowest(&mut self, now: Tick) {
        while self.batches.retained_bytes() > self.limits.retained_bytes_max {
            let open = self
                .backlogs
                .iter()
                .filter(|(_, stalled)| self.is_open(stalled.slot));
            let slowest = open.max_by_key(|(_, stalled)| stalled.backlog.bytes());
            let Some((_, slowest)) = slowest else { return };
            self.close(slowest.slot, CloseReason::SlowConsumer, now);
        }
    }

    /// Begins to close an open connection: what is behind the frame begun is dropped, the close
    /// frame follows it.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason, now: Tick) {
        self.note_close(slot, reason);
        self.leave(slot, Phase::Closing, now);
        self.push_own(slot, now, |out| {
            close::close_frame(reason.code(), reason.text(), out)
        });
    }

    /// Queues `write`'s bytes behind what the client still has to get, and hangs up behind them.
    pub(super) fn hang_up(&mut self, slot: u32, now: Tick, write: impl FnOnce(&mut Vec<u8>)) {
        self.leave(slot, Phase::Flushing, now);
        self.push_own(slot, now, write);
    }

    /// Tells one client something, behind everything its channels still owe it.
    pub(super) fn answer(&mut self, slot: u32, message: &ServerMessage<'_>, now: Tick) {
        if !self.is_open(slot) {
            return;
        }
        self.deliver(slot, now);
        self.push_own(slot, now, |out| frame::append_message(message, out));
    }

    /// Moves everything the client's channels owe it to its backlog: afterwards it has seen all.
    pub(super) fn deliver(&mut self, slot: u32, now: Tick) {
        while let Some(run) = self.next_run(slot) {
            self.push_run(slot, run, now);
            if !self.is_open(slot) {
                return;
            }
        }
        self.hot[slot as usize].seen = self.fanout.sequence();
    }

    /// Tells everybody something.
    pub(super) fn broadcast(&mut self, message: &ServerMessage<'_>) {
        if self.clients.is_empty() {
            return;
        }
        self.scratch.clear();
        frame::append_message(message, &mut self.scratch);
        self.fanout
            .append(EVERYONE, self.hot.len(), &self.scratch, &mut self.batches);
    }

    /// Tells every subscriber of the channel the frame in `scratch`.
    pub(super) fn fan_out_scratch(&mut self, key: ChannelKey) {
        let audience = self.index.subscribers(key).len();
        if audience > 0 {
            self.fanout
                .append(key, audience, &self.scratch, &mut self.batches);
        }
    }

    /// Messages may flow from now on; nothing sent before is owed.
    pub(super) fn open(&mut self, slot: u32) {
        self.metrics.handshakes += 1;
        self.clients[slot as usize].phase = Phase::Open { pinged: false };
        let hot = &mut self.hot[slot as usize];
        hot.flags |= OPEN;
        hot.seen = self.fanout.sequence();
    }

    /// The peer's close frame answers ours: what is queued still leaves, then we hang up.
    pub(super) fn finish_closing(&mut self, slot: u32, now: Tick) {
        let has_backlog = self.hot[slot as usize].backlog != NO_BACKLOG;
        let client = &mut self.clients[slot as usize];
        client.since = now;
        if has_backlog {
            client.phase = Phase::Flushing;
        } else {
            client.phase = Phase::Lingering;
            self.disconnects
                .push_back((self.id(slot), Disconnect::Shutdown));
        }
    }

    pub(super) fn is_open(&self, slot: u32) -> bool {
        self.hot[slot as usize].is(OPEN)
    }

    pub(super) fn is_alive(&self, id: ClientId) -> bool {
        self.hot
            .get(id.slot as usize)
            .is_some_and(|hot| hot.generation == id.generation)
            && self.clients.contains(id.slot as usize)
            && !self.hot[id.slot as usize].is(DEAD)
    }

    pub(super) fn id(&self, slot: u32) -> ClientId {
        ClientId {
            slot,
            generation: self.hot[slot as usize].generation,
        }
    }

    /// The key of the client's backlog, where it has one.
    pub(super) fn backlog_key_of(&self, slot: u32) -> Option<usize> {
        let key = self.hot[slot as usize].backlog;
        (key != NO_BACKLOG).then_some(key as usize)
    }

    /// Lets the socket go at once.
    pub(super) fn drop_client(&mut self, slot: u32) {
        self.disconnects
            .push_back((self.id(slot), Disconnect::Drop));
        self.bury(slot);
    }

    /// Queues bytes of the client's own.
    pub(super) fn push_own(&mut self, slot: u32, now: Tick, write: impl FnOnce(&mut Vec<u8>)) {
        let key = self.backlog_key(slot, now);
        let backlog = &mut self.backlogs[key].backlog;
        backlog.push_owned(write);
        let bytes = backlog.bytes();
        self.mark_ready(slot);
        if bytes > self.limits.client_queue_bytes_max && self.is_open(slot) {
            self.close(slot, CloseReason::SlowConsumer, now);
        }
    }

    fn next_ready(&mut self) -> Option<Sending> {
        while let Some(&slot) = self.ready.front() {
            let hot = self.hot[slot as usize];
            if hot.is(READY) && hot.backlog != NO_BACKLOG {
                return Some(Sending::Backlog(slot));
            }
            self.ready.pop_front();
        }
        None
    }

    /// Walks passes to the next client that is owed something and whose socket takes it.
    fn next_of_pass(&mut self) -> Option<Sending> {
        while let Some((key, cursor)) = self.fanout.pass() {
            let newest = self.fanout.newest(key);
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
                let Some(run) = self.next_run(slot) else {
                    debug_assert!(false, "a client behind its channel is owed something");
                    cursor = below;
                    continue;
                };
                if hot.backlog == NO_BACKLOG {
                    self.fanout.advance(cursor);
                    return Some(Sending::Direct(slot, run));
                }
                let progressed = self.backlogs[hot.backlog as usize].progressed;
                self.push_run(slot, run, progressed);
            }
            self.fanout.advance(0);
            self.fanout.finish(audience, &mut self.batches);
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
        let links = self.index.subscriptions(slot);
        let pending = self.fanout.pending();
        if pending.len() < links.len() {
            let keys = pending.iter().copied();
            let keys = keys.filter(|&key| links.iter().any(|link| link.channel() == key));
            self.fanout.next_run(seen, keys, &self.batches)
        } else {
            self.fanout
                .next_run(seen, links.iter().map(|link| link.channel()), &self.batches)
        }
    }

    fn push_run(&mut self, slot: u32, run: Run, now: Tick) {
        self.hot[slot as usize].seen = run.last;
        let bytes = self.push_span(slot, run.span, now);
        self.mark_ready(slot);
        if bytes > self.limits.client_queue_bytes_max && self.is_open(slot) {
            self.close(slot, CloseReason::SlowConsumer, now);
        }
    }

    /// Appends shared bytes to the client's backlog; says how much that holds now.
    fn push_span(&mut self, slot: u32, span: Span, now: Tick) -> usize {
        let key = self.backlog_key(slot, now);
        let backlog = &mut self.backlogs[key].backlog;
        backlog.push_span(span, &mut self.batches);
        backlog.bytes()
    }

    /// The key of the client's backlog, made now if it had none.
    fn backlog_key(&mut self, slot: u32, now: Tick) -> usize {
        let hot = &mut self.hot[slot as usize];
        if hot.backlog == NO_BACKLOG {
            let stalled = Stalled {
                backlog: Backlog::default(),
                slot,
                progressed: now,
            };
            let key = self.backlogs.insert(stalled);
            hot.backlog = u32::try_from(key).expect("no more backlogs than clients");
        }
        hot.backlog as usize
    }

    fn mark_ready(&mut self, slot: u32) {
        let hot = &mut self.hot[slot as usize];
        if hot.flags & (READY | BLOCKED | DEAD) == 0 && hot.backlog != NO_BACKLOG {
            hot.flags |= READY;
            self.ready.push_back(slot);
        }
    }

    /// Bytes of a backlog went out: it shrinks, moves to the end of the queue, or is done.
    fn note_progress(&mut self, slot: u32, written: Written, now: Tick) {
        let key = self.hot[slot as usize].backlog as usize;
        let Stalled {
            backlog,
            progressed,
            ..
        } = &mut self.backlogs[key];
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let bytes = match written {
            Written::Full(bytes) => bytes,
            Written::All => {
                let count = backlog.slices(&self.batches, &mut slices);
                slices[..count].iter().map(|slice| slice.len()).sum()
            }
        };
        if bytes > 0 {
            *progressed = now;
        }
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
    }

    /// The client takes no part any more: its links are cut at the end of the turn.
    fn leave(&mut self, slot: u32, phase: Phase, now: Tick) {
        let hot = &mut self.hot[slot as usize];
        if hot.is(OPEN) {
            hot.flags &= !OPEN;
            self.leaving.push(slot);
        }
        if let Some(stalled) = self.backlogs.get_mut(hot.backlog as usize) {
            stalled.backlog.cut_at_frame(&mut self.batches);
        }
        let client = &mut self.clients[slot as usize];
        client.phase = phase;
        client.since = now;
    }

    fn bury(&mut self, slot: u32) {
        let hot = &mut self.hot[slot as usize];
        if hot.is(OPEN) {
            self.leaving.push(slot);
        }
        if hot.backlog != NO_BACKLOG {
            let mut stalled = self.backlogs.remove(hot.backlog as usize);
            stalled.backlog.clear(&mut self.batches);
        }
        hot.backlog = NO_BACKLOG;
        hot.flags = DEAD;
        self.dead.push(slot);
    }

    fn note_close(&mut self, slot: u32, reason: CloseReason) {
        tracing::debug!(client = slot, reason = reason.label(), "closing");
        match reason {
            CloseReason::SlowConsumer => self.metrics.slow_consumers += 1,
            CloseReason::PingTimeout => self.metrics.ping_timeouts += 1,
            CloseReason::Normal | CloseReason::GoingAway => {}
            CloseReason::Protocol(_)
            | CloseReason::UnsupportedData
            | CloseReason::InvalidPayload
            | CloseReason::MessageTooBig => self.metrics.violations += 1,
        }
    }
}

/// Slices lent for one write: more than a backlog usually has.
pub const SLICES_MAX: usize = 16;

const NO_BACKLOG: u32 = u32::MAX;

/// The opening handshake is done and no close has begun.
const OPEN: u16 = 1;
/// In `Hub::ready`.
const READY: u16 = 2;
/// The socket took less than it was given and has not said since that it takes more.
const BLOCKED: u16 = 4;
/// In `Hub::dead`.
const DEAD: u16 = 8;
