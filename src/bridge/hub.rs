//! All clients, what they are subscribed to, and what leaves for them in which order.
//!
//! Owns the records of clients and puts `index`, `fanout`, `batch` and `backlog` together. Knows
//! nothing of PostgreSQL's wire, of sockets or of clocks: time comes in as `Tick`s.
//!
//! The rule that keeps every client's order: whatever is pending for a client is moved to its
//! backlog (`deliver`) *before* its subscriptions change and *before* an answer is queued to it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    ops::Range,
};

use slab::Slab;

use crate::{
    access::{Access, pages::Pages, tokens::Holder},
    backlog::Backlog,
    batch::Batches,
    bridge::{
        addresses::Addresses,
        command::Command,
        crowds::{Crowd, Crowds},
        leaving::Leaving,
        listening::Listening,
        rates::Rates,
        raw::Arrivals,
        transmit::Sending,
    },
    channel::{Channel, ChannelKey},
    config::Limits,
    fanout::{EVERYONE, Fanout},
    frame,
    history::History,
    index::Index,
    message::{RequestId, ServerMessage, Since},
    metrics::Metrics,
    ws::{close::CloseReason, decoder::Decoder},
};

/// Milliseconds since the start; wraps after 49 days, so only differences mean something.
pub(super) type Tick = u32;

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
pub(super) struct Hub {
    pub(super) limits: Limits,
    pub(super) access: Access,
    /// Who may use the admin address, where there is one: health and metrics are only there then.
    pub(super) admin_pages: Option<Pages>,
    /// Connections to it.
    pub(super) admin_count: usize,
    /// The page at `GET /`, where there is one.
    pub(super) page: Option<&'static str>,
    pub(super) clients: Slab<Client>,
    /// Clients with their handshake behind them and no close begun.
    pub(super) open_clients: usize,
    pub(super) addresses: Addresses,
    pub(super) rates: Rates,
    /// Clients whose handshake is unfinished.
    pub(super) handshaking: usize,
    pub(super) crowds: Crowds,
    /// By slot, beside `clients`: what a fan-out touches.
    pub(super) hot: Vec<Hot>,
    pub(super) index: Index,
    pub(super) fanout: Fanout,
    pub(super) batches: Batches,
    pub(super) backlogs: Slab<Stalled>,
    pub(super) listening: Listening,
    pub(super) history: History,
    /// Publishes awaiting their outcome; the key is the ticket.
    pub(super) publishes: Slab<Publish>,
    pub(super) publish_bytes: usize,
    /// For whoever talks to PostgreSQL, in order.
    pub(super) commands: VecDeque<Command>,
    /// Where the program speaks a protocol of its own with the clients.
    pub(super) arrivals: Option<Arrivals>,
    pub(super) metrics: Metrics,
    /// The time of the turn in microseconds: for metrics, finer than a tick.
    pub(super) clock: u64,
    /// How far the bridge's end has come, once it has begun.
    pub(super) leaving: Option<Leaving>,
    /// Clients with a backlog and a socket that takes bytes, and some that left: [`READY`] tells.
    pub(super) ready: VecDeque<u32>,
    pub(super) ready_first: bool,
    pub(super) sending: Option<Sending>,
    pub(super) disconnects: VecDeque<(ClientId, Disconnect)>,
    /// Clients to be read again after a pause.
    pub(super) resumed: VecDeque<ClientId>,
    /// Clients whose links are to be cut at the end of the turn.
    pub(super) to_unlink: Vec<u32>,
    /// Clients whose slots are to be freed at the end of the turn.
    pub(super) dead: Vec<u32>,
    /// Channels that owe a client something, by the first frame owed: `deliver`'s own.
    pub(super) owing: BinaryHeap<Reverse<(u64, ChannelKey)>>,
    /// One frame on its way into a batch.
    pub(super) scratch: Vec<u8>,
}

/// What a fan-out reads and writes per client: 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hot {
    /// The client was given every frame of its channels up to this one.
    pub(super) seen: u64,
    /// Its key in `Hub::backlogs`, or [`NO_BACKLOG`].
    pub(super) backlog: u32,
    pub(super) generation: u16,
    pub(super) flags: u16,
}

impl Hot {
    pub(super) fn is(self, flag: u16) -> bool {
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
    pub(super) subscribes_waiting: u32,
    /// Publishes not yet answered.
    pub(super) publishes_waiting: u32,
    /// Unlike its id, never used again.
    pub(super) serial: u64,
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
    /// Messages flow, but it has not said who it is: nothing but that is listened to.
    Guest {
        /// Wrong tokens so far.
        failures: u8,
    },
    /// Messages flow.
    Open {
        /// A ping is unanswered.
        pinged: bool,
        /// Wrong tokens so far.
        failures: u8,
        /// Whose token it came in with; `None` where none is required.
        holder: Option<Holder>,
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
    /// When the socket took some of it last, or refused the first of it; `None` while nothing of it
    /// was written: what it waits for is us.
    pub(super) progressed: Option<Tick>,
}

/// A subscribe awaiting its answer.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) id: Option<RequestId>,
    pub(super) since: Option<Since>,
}

/// A publish awaiting its outcome.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) client: ClientId,
    /// The client's: ids come again after enough connections.
    pub(super) serial: u64,
    pub(super) id: Option<RequestId>,
    pub(super) channel: Channel,
    pub(super) bytes: usize,
    /// When it was taken, in microseconds.
    pub(super) since: u64,
}

/// How a socket is to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Send nothing more, keep reading.
    Shutdown,
    /// Forget it.
    Drop,
    /// Forget it so that the peer sees that not all was sent.
    Reset,
}

impl Hub {
    pub(super) fn new(
        limits: Limits,
        access: Access,
        admin_pages: Option<Pages>,
        page: Option<&'static str>,
    ) -> Self {
        Self {
            history: History::new(limits.history_frames_max, limits.history_bytes_max),
            addresses: Addresses::new(limits.address_clients_max),
            rates: Rates::new(limits.client_rate_max),
            limits,
            access,
            admin_pages,
            admin_count: 0,
            page,
            clients: Slab::new(),
            open_clients: 0,
            handshaking: 0,
            crowds: Crowds::default(),
            hot: Vec::new(),
            index: Index::default(),
            fanout: Fanout::default(),
            batches: Batches::default(),
            backlogs: Slab::new(),
            listening: Listening::default(),
            publishes: Slab::new(),
            publish_bytes: 0,
            commands: VecDeque::new(),
            arrivals: None,
            metrics: Metrics::default(),
            clock: 0,
            leaving: None,
            ready: VecDeque::new(),
            ready_first: false,
            sending: None,
            disconnects: VecDeque::new(),
            resumed: VecDeque::new(),
            to_unlink: Vec::new(),
            dead: Vec::new(),
            owing: BinaryHeap::new(),
            scratch: Vec::new(),
        }
    }

    /// A socket was accepted; `flags` say where.
    pub(super) fn handle_connected(&mut self, flags: u16, now: Tick) -> ClientId {
        self.metrics.connections += 1;
        self.handshaking += usize::from(flags & ADMIN == 0);
        let slot = self.clients.insert(Client {
            phase: Phase::Handshake(None),
            decoder: Decoder::default(),
            heard: now,
            since: now,
            waiting: None,
            subscribes_waiting: 0,
            publishes_waiting: 0,
            serial: self.metrics.connections,
        });
        if self.hot.len() <= slot {
            self.hot.push(Hot {
                seen: 0,
                backlog: NO_BACKLOG,
                generation: 0,
                flags: 0,
            });
        }
        self.rates.fill(slot, now);
        self.hot[slot].flags = flags;
        let generation = self.hot[slot].generation;
        ClientId {
            slot: u32::try_from(slot).expect("sockets are fewer than 2^32"),
            generation,
        }
    }

    /// The socket takes bytes again.
    pub(super) fn handle_writable(&mut self, id: ClientId) {
        if self.is_alive(id) && self.hot[id.slot as usize].is(BLOCKED) {
            self.hot[id.slot as usize].flags &= !BLOCKED;
            self.mark_ready(id.slot);
        }
    }

    pub(super) fn end_slice(&mut self) {
        let was_under_way = self.fanout.end_slice();
        self.metrics.slices += u64::from(was_under_way);
    }

    pub(super) fn poll_disconnect(&mut self) -> Option<(ClientId, Disconnect)> {
        self.disconnects.pop_front()
    }

    /// Tells one client something, behind everything its channels still owe it.
    pub(super) fn answer(&mut self, slot: u32, message: &ServerMessage<'_>, now: Tick) {
        if !self.is_open(slot) {
            return;
        }
        self.deliver(slot, now);
        // It may have been closed for what it was owed.
        if self.is_open(slot) {
            self.push_own(slot, now, |out| frame::append_message(message, out));
        }
    }

    /// Tells everybody something.
    pub(super) fn broadcast(&mut self, message: &ServerMessage<'_>) {
        if self.clients.is_empty() {
            return;
        }
        self.scratch.clear();
        frame::append_message(message, &mut self.scratch);
        let (audience, now) = (self.hot.len(), self.clock);
        self.fanout
            .append(EVERYONE, audience, &self.scratch, now, &mut self.batches);
    }

    /// Tells every subscriber of the channel the frame in `scratch`.
    pub(super) fn fan_out_scratch(&mut self, key: ChannelKey) {
        let audience = self.index.subscribers(key).len();
        if audience > 0 {
            let now = self.clock;
            self.fanout
                .append(key, audience, &self.scratch, now, &mut self.batches);
        }
    }

    /// Messages may flow from now on, behind `head`; nothing notified before is owed.
    pub(super) fn open(
        &mut self,
        slot: u32,
        holder: Option<Holder>,
        now: Tick,
        head: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.is_full() {
            self.close_oldest_guest(now);
        }
        self.metrics.handshakes += 1;
        self.end_handshake(slot);
        let phase = self.phase_of(holder);
        let client = &mut self.clients[slot as usize];
        client.phase = phase;
        client.since = now;
        self.note(self.id(slot), Crowd::Guests, now);
        let hot = &mut self.hot[slot as usize];
        hot.flags |= OPEN;
        self.open_clients += 1;
        self.addresses.enter(slot);
        hot.seen = self.fanout.sequence();
        let key = self.backlog_key(slot);
        self.backlogs[key].backlog.push_head(head);
        self.mark_ready(slot);
    }

    /// The client's phase is about to change, or it to go.
    pub(super) fn end_handshake(&mut self, slot: u32) {
        let is_counted = !self.hot[slot as usize].is(ADMIN);
        if is_counted && matches!(self.clients[slot as usize].phase, Phase::Handshake(_)) {
            self.handshaking -= 1;
        }
    }

    /// Whether as many clients are open as may be.
    pub(super) fn is_full(&self) -> bool {
        let max = self.limits.clients_max;
        max.is_some_and(|max| self.open_clients >= max)
    }

    /// Every place that a connection has or had.
    pub(super) fn slots(&self) -> Range<u32> {
        0..u32::try_from(self.hot.len()).expect("slots are u32")
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

    /// Queues bytes of the client's own.
    pub(super) fn push_own(&mut self, slot: u32, now: Tick, write: impl FnOnce(&mut Vec<u8>)) {
        let key = self.backlog_key(slot);
        let backlog = &mut self.backlogs[key].backlog;
        backlog.push_owned(write);
        let bytes = backlog.bytes();
        self.mark_ready(slot);
        if bytes > self.limits.client_queue_bytes_max && self.is_open(slot) {
            self.close(slot, CloseReason::SlowConsumer, now);
        }
    }

    /// The key of the client's backlog, made now if it had none.
    pub(super) fn backlog_key(&mut self, slot: u32) -> usize {
        let hot = &mut self.hot[slot as usize];
        if hot.backlog == NO_BACKLOG {
            let stalled = Stalled {
                backlog: Backlog::default(),
                slot,
                progressed: None,
            };
            let key = self.backlogs.insert(stalled);
            hot.backlog = u32::try_from(key).expect("no more backlogs than clients");
        }
        hot.backlog as usize
    }
}

pub(super) const NO_BACKLOG: u32 = u32::MAX;

/// The opening handshake is done and no close has begun.
pub(super) const OPEN: u16 = 1;
/// In `Hub::ready`.
pub(super) const READY: u16 = 2;
/// The socket took less than it was given and has not said since that it takes more.
pub(super) const BLOCKED: u16 = 4;
/// In `Hub::dead`.
pub(super) const DEAD: u16 = 8;
/// It came to the admin address: never a client.
pub(super) const ADMIN: u16 = 16;
/// There is nothing left for it: whatever it asks, it gets 503.
pub(super) const EXCESS: u16 = 32;
