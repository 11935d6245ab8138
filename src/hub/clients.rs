//! All connections: where each stands, and how many stand where.
//!
//! Owns their records, their names and the counts. Knows neither channels nor what is owed to
//! anybody; what a change of phase entails is the hub's to do.

mod credentials;
mod shell_bytes;

use std::{ops::Range, time::Duration};

use slab::Slab;

pub(super) use self::credentials::Ending;
use self::shell_bytes::ShellBytes;
pub(super) use super::phase::Phase;
use super::{encode::Transport, exchange::Exchange};
use crate::{
    id::{ClientId, Tick, elapsed},
    ws::decoder::Decoder,
};

/// Every connection, by slot.
///
/// A connection is [inserted](Self::insert), goes through its [phases](Phase), is
/// [removed](Self::remove), and its slot is [freed](Self::free) at the end of a turn.
#[derive(Debug, Default)]
pub(super) struct Clients {
    records: Slab<Client>,
    /// By slot, vacant ones included: the generation of the connection that has it or will.
    generations: Vec<u32>,
    /// By slot: when the deadlines of its connection are to be looked at. Apart from the records, so
    /// that to find that nothing is due takes none of them.
    looks: Vec<Tick>,
    /// Connections on which messages flow.
    open: usize,
    /// Those of them that read events.
    streams: usize,
    /// Connections that have not said what they want, without those at the admin address.
    unfinished: usize,
    /// Connections at the admin address.
    admin: usize,
    /// Connections that are removed and whose slots are not free yet.
    removed: usize,
    /// Memory of heads and messages that are not complete.
    partial_bytes: usize,
    /// What the shell keeps for clients.
    shell: ShellBytes,
}

/// The record of one connection.
#[derive(Debug)]
struct Client {
    phase: Phase,
    kind: Kind,
    /// How messages reach it, once they flow.
    transport: Transport,
    /// Its input waits until the hub says so.
    is_held: bool,
    /// It knows that its token comes to its end.
    is_end_told: bool,
    decoder: Decoder,
    /// When bytes last came.
    last_input: Tick,
    /// When `phase` began, or the ping went out.
    phase_began: Tick,
    /// When the message began that is not complete; of no meaning if there is none.
    message_began: Tick,
}

/// Which way a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the address of clients.
    Client,
    /// There too, though no descriptor was left for it: whatever it asks, it gets 503.
    Excess,
    /// To the admin address: it is never a client.
    Admin,
}

impl Client {
    /// Memory of what it has not completed: its head, or a message.
    fn partial_bytes(&self) -> usize {
        let head = match &self.phase {
            Phase::Handshake(head) => head.as_ref().map_or(0, |head| head.len()),
            Phase::Http(exchange) => exchange.held_bytes(),
            Phase::Unauthenticated { .. }
            | Phase::Open { .. }
            | Phase::Closing
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Removed => 0,
        };
        head + self.decoder.held_bytes()
    }

    /// Whether it has not said what it wants, or nothing more: it keeps nobody out.
    fn is_unfinished(&self) -> bool {
        self.kind != Kind::Admin && self.phase.is_unfinished()
    }

    fn is_stream(&self) -> bool {
        self.phase.is_open() && self.transport == Transport::EventStream
    }
}

impl Clients {
    /// A socket was accepted.
    pub(super) fn insert(&mut self, kind: Kind, now: Tick) -> ClientId {
        let slot = self.records.insert(Client {
            phase: Phase::Handshake(None),
            kind,
            transport: Transport::default(),
            is_held: false,
            is_end_told: false,
            decoder: Decoder::default(),
            last_input: now,
            phase_began: now,
            message_began: now,
        });
        if self.generations.len() <= slot {
            self.generations.push(0);
            self.looks.push(now);
        }
        self.looks[slot] = now;
        match kind {
            Kind::Client | Kind::Excess => self.unfinished += 1,
            Kind::Admin => self.admin += 1,
        }
        self.id(u32::try_from(slot).expect("sockets are fewer than 2^32"))
    }

    /// The name of the connection in the slot.
    pub(super) fn id(&self, slot: u32) -> ClientId {
        ClientId {
            slot,
            generation: self.generations[slot as usize],
        }
    }

    /// Whether the connection of this name is not removed.
    pub(super) fn is_current(&self, id: ClientId) -> bool {
        self.generations.get(id.slot as usize) == Some(&id.generation)
    }

    /// Every slot that a connection has or had.
    pub(super) fn slots(&self) -> Range<u32> {
        0..u32::try_from(self.generations.len()).expect("slots are u32")
    }

    /// Where the connection in the slot stands; `None` for a vacant one, and for one that is removed.
    pub(super) fn phase(&self, slot: u32) -> Option<&Phase> {
        let client = self.records.get(slot as usize)?;
        (!matches!(client.phase, Phase::Removed)).then_some(&client.phase)
    }

    /// Which way the connection came.
    pub(super) fn kind(&self, slot: u32) -> Kind {
        self.records[slot as usize].kind
    }

    /// Whether messages flow.
    pub(super) fn is_open(&self, slot: u32) -> bool {
        self.phase(slot).is_some_and(Phase::is_open)
    }

    /// Connections on which messages flow.
    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    /// How many of those read events.
    pub(super) fn stream_count(&self) -> usize {
        self.streams
    }

    /// How messages reach the client.
    pub(super) fn transport(&self, slot: u32) -> Transport {
        self.records[slot as usize].transport
    }

    /// Connections that have not said what they want, or not what they want next, without those at the
    /// admin address.
    pub(super) fn unfinished_count(&self) -> usize {
        self.unfinished
    }

    /// Connections at the admin address.
    pub(super) fn admin_count(&self) -> usize {
        self.admin
    }

    /// Connections that are not at the admin address.
    pub(super) fn count(&self) -> usize {
        self.records.len() - self.removed - self.admin
    }

    /// Whether no connection has a slot.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    // ---- what is noted of one

    /// When bytes last came.
    pub(super) fn last_input(&self, slot: u32) -> Tick {
        self.records[slot as usize].last_input
    }

    /// When the phase began, or the ping went out.
    pub(super) fn phase_began(&self, slot: u32) -> Tick {
        self.records[slot as usize].phase_began
    }

    /// Bytes came, or their absence is ours.
    pub(super) fn note_input(&mut self, slot: u32, now: Tick) {
        let client = &mut self.records[slot as usize];
        client.last_input = now;
        if let Phase::Open { pinged, .. } = &mut client.phase {
            *pinged = false;
        }
    }

    /// A ping goes out.
    pub(super) fn note_ping(&mut self, slot: u32, now: Tick) {
        let client = &mut self.records[slot as usize];
        client.phase_began = now;
        let is_answered = client.transport == Transport::WebSocket;
        if let Phase::Open { pinged, .. } = &mut client.phase {
            *pinged = is_answered;
        }
    }

    /// The client's silence is ours: a ping that is out counts from now on.
    pub(super) fn excuse(&mut self, slot: u32, now: Tick) {
        let client = &mut self.records[slot as usize];
        client.last_input = now;
        client.phase_began = now;
        client.message_began = now;
    }

    /// When the message began that the client has not completed, if there is one.
    pub(super) fn message_began(&self, slot: u32) -> Option<Tick> {
        let client = &self.records[slot as usize];
        let is_begun = match &client.phase {
            Phase::Http(exchange) => exchange.is_inside_request(),
            Phase::Handshake(_)
            | Phase::Unauthenticated { .. }
            | Phase::Open { .. }
            | Phase::Closing
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Removed => client.decoder.held_bytes() > 0,
        };
        is_begun.then_some(client.message_began)
    }

    /// Memory of what the client has not completed, and of what the shell keeps for it.
    pub(super) fn partial_bytes_of(&self, slot: u32) -> usize {
        let record = self.records.get(slot as usize);
        record.map_or(0, Client::partial_bytes) + self.shell.bytes_of(slot)
    }

    /// The shell keeps so many bytes for the client. Those of one that is only let go are gone soon: to
    /// count them would close others for it.
    pub(super) fn note_shell_bytes(&mut self, slot: u32, bytes: usize) {
        let is_let_go = matches!(self.phase(slot), Some(Phase::Flushing | Phase::Lingering));
        self.shell.note(slot, if is_let_go { 0 } else { bytes });
    }

    /// Memory of heads and messages that are not complete, and of what the shell keeps, of all clients.
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial_bytes + self.shell.bytes()
    }

    /// Whether the input of the client waits until the hub says so, from now on. Returns what was
    /// so before.
    pub(super) fn hold(&mut self, slot: u32, is_held: bool) -> bool {
        std::mem::replace(&mut self.records[slot as usize].is_held, is_held)
    }

    /// Takes what came of the head so far.
    pub(super) fn take_head(&mut self, slot: u32) -> Option<Vec<u8>> {
        match &mut self.records[slot as usize].phase {
            Phase::Handshake(head) => {
                let head = head.take().map(|head| *head);
                self.partial_bytes -= head.as_ref().map_or(0, Vec::len);
                head
            }
            Phase::Http(_)
            | Phase::Unauthenticated { .. }
            | Phase::Open { .. }
            | Phase::Closing
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Removed => None,
        }
    }

    /// Keeps what came of the head so far.
    pub(super) fn keep_head(&mut self, slot: u32, head: Vec<u8>) {
        if let Phase::Handshake(kept) = &mut self.records[slot as usize].phase {
            self.partial_bytes += head.len();
            *kept = Some(Box::new(head));
        }
    }

    /// Takes what the connection asks and is answered; [`Self::keep_exchange`] gives it back. `None`
    /// if it is of another kind.
    pub(super) fn take_exchange(&mut self, slot: u32) -> Option<Exchange> {
        let client = self.records.get_mut(slot as usize)?;
        let (bytes, is_unfinished) = (client.partial_bytes(), client.is_unfinished());
        let Phase::Http(exchange) = &mut client.phase else {
            return None;
        };
        let exchange = std::mem::take(&mut **exchange);
        self.partial_bytes -= bytes;
        self.unfinished -= usize::from(is_unfinished);
        self.unfinished += usize::from(client.is_unfinished());
        Some(exchange)
    }

    /// Gives it back; `is_new` tells whether a request that it is inside of has only begun. Whether the
    /// connection has nothing to do from now on, and had before.
    pub(super) fn keep_exchange(
        &mut self,
        slot: u32,
        exchange: Exchange,
        was_idle: bool,
        is_new: bool,
        now: Tick,
    ) -> bool {
        let client = &mut self.records[slot as usize];
        self.unfinished -= usize::from(client.is_unfinished());
        let Phase::Http(kept) = &mut client.phase else {
            debug_assert!(false, "it was taken before");
            return false;
        };
        let comes_to_rest = exchange.is_idle() && !was_idle;
        **kept = exchange;
        if is_new {
            client.message_began = now;
        }
        if comes_to_rest {
            client.phase_began = now;
            self.looks[slot as usize] = now;
        }
        self.partial_bytes += client.partial_bytes();
        self.unfinished += usize::from(client.is_unfinished());
        comes_to_rest
    }

    /// The connection may ask for more once this is answered.
    pub(super) fn begin_exchange(&mut self, slot: u32, exchange: Exchange, now: Tick) {
        self.set_phase(slot, Phase::Http(Box::new(exchange)), now);
        self.records[slot as usize].message_began = now;
    }

    /// Takes the decoder of the connection's frames; [`Self::keep_decoder`] gives it back.
    pub(super) fn take_decoder(&mut self, slot: u32) -> Decoder {
        let decoder = std::mem::take(&mut self.records[slot as usize].decoder);
        self.partial_bytes -= decoder.held_bytes();
        decoder
    }

    /// Gives the decoder back; `is_new` tells whether a message that it holds has only begun.
    pub(super) fn keep_decoder(&mut self, slot: u32, decoder: Decoder, is_new: bool, now: Tick) {
        let client = &mut self.records[slot as usize];
        self.partial_bytes -= client.decoder.held_bytes();
        client.decoder = decoder;
        if is_new {
            client.message_began = now;
        }
        self.partial_bytes += client.decoder.held_bytes();
    }

    /// Nothing more is read of the client: a message that it has not completed is forgotten.
    pub(super) fn drop_partial(&mut self, slot: u32) {
        let client = &mut self.records[slot as usize];
        self.partial_bytes -= client.decoder.held_bytes();
        client.decoder = Decoder::default();
    }

    // ---- when its deadlines are looked at

    /// Whether a look is due.
    pub(super) fn is_look_due(&self, slot: u32, now: Tick) -> bool {
        elapsed(now, self.looks[slot as usize]).is_zero()
    }

    /// The next look is due after so long, or when its phase changes.
    pub(super) fn plan_look(&mut self, slot: u32, now: Tick, wait: Duration) {
        let wait = wait.min(LOOK_WAIT_MAX).as_millis();
        let wait = Tick::try_from(wait).expect("less than a tick holds");
        self.looks[slot as usize] = now.wrapping_add(wait);
    }

    // ---- phases

    /// Messages flow from now on.
    pub(super) fn open(&mut self, slot: u32, phase: Phase, transport: Transport, now: Tick) {
        debug_assert!(phase.is_open() && !self.is_open(slot));
        self.records[slot as usize].transport = transport;
        self.set_phase(slot, phase, now);
    }

    /// The connection is on its way out.
    pub(super) fn end(&mut self, slot: u32, phase: Phase, now: Tick) {
        debug_assert!(phase.is_ending());
        self.set_phase(slot, phase, now);
    }

    /// The socket is let go: the connection's name means nothing any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let client = &mut self.records[slot as usize];
        debug_assert!(!matches!(client.phase, Phase::Removed), "removed once");
        let began = client.phase_began;
        self.admin -= usize::from(client.kind == Kind::Admin);
        self.drop_partial(slot);
        self.shell.note(slot, 0);
        self.set_phase(slot, Phase::Removed, began);
        self.removed += 1;
        let generation = &mut self.generations[slot as usize];
        *generation = generation.wrapping_add(1);
    }

    /// Frees the slot of a connection that was removed.
    pub(super) fn free(&mut self, slot: u32) {
        let client = self.records.remove(slot as usize);
        debug_assert!(matches!(client.phase, Phase::Removed), "removed before");
        self.removed -= 1;
    }

    /// The client tried a wrong token; how many that makes. `None` if no messages flow.
    pub(super) fn count_failure(&mut self, slot: u32) -> Option<u8> {
        match &mut self.records[slot as usize].phase {
            Phase::Unauthenticated { failures } | Phase::Open { failures, .. } => {
                *failures = failures.saturating_add(1);
                Some(*failures)
            }
            Phase::Handshake(_)
            | Phase::Http(_)
            | Phase::Closing
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Removed => None,
        }
    }

    fn set_phase(&mut self, slot: u32, phase: Phase, now: Tick) {
        let client = &mut self.records[slot as usize];
        self.unfinished -= usize::from(client.is_unfinished());
        self.open -= usize::from(client.phase.is_open());
        self.streams -= usize::from(client.is_stream());
        self.partial_bytes -= client.partial_bytes();
        client.phase = phase;
        client.phase_began = now;
        self.unfinished += usize::from(client.is_unfinished());
        self.open += usize::from(client.phase.is_open());
        self.streams += usize::from(client.is_stream());
        self.partial_bytes += client.partial_bytes();
        self.looks[slot as usize] = now;
    }

    /// Counts are those of the records.
    pub(super) fn check_invariants(&self) {
        self.shell.check_invariants();
        let partial = self.records.iter().map(|(_, it)| it.partial_bytes());
        assert_eq!(self.partial_bytes, partial.sum::<usize>());
        let count = |is: fn(&Client) -> bool| self.records.iter().filter(|(_, it)| is(it)).count();
        assert_eq!(self.open, count(|it| it.phase.is_open()));
        let is_removed = |it: &Client| matches!(it.phase, Phase::Removed);
        assert_eq!(self.removed, count(is_removed));
        assert_eq!(
            self.admin,
            count(|it| it.kind == Kind::Admin && !matches!(it.phase, Phase::Removed))
        );
        assert_eq!(self.unfinished, count(Client::is_unfinished));
        assert_eq!(self.streams, count(Client::is_stream));
    }
}

/// Ticks wrap: a look is never further away than can be told from one that is overdue.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
