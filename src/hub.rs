//! The hub: every decision of the bridge, without a socket, a clock or a random number.
//!
//! Composes parts, each with private state: who is connected ([`clients`]), which channels are
//! wanted and held ([`channels`]), which bytes are owed to whom ([`Delivery`]), what is published
//! ([`publishing`]). A part answers with a value and does not know the hub; only the hub acts. Its
//! reactions are sorted by what they react to: [`input`], [`requests`], [`exchanges`],
//! [`admission`], [`closing`] and [`stopping`] to clients, [`listening`] to PostgreSQL.

mod action;
mod address_limit;
mod addressing;
mod admission;
mod answer;
mod answering;
mod asking;
mod authorization;
mod channels;
mod clients;
mod closing;
pub mod custom_protocol;
mod deadlines;
#[doc(hidden)]
pub mod drive;
pub mod encode;
mod endpoints;
mod epoch;
mod error_status;
mod eviction;
mod exchange;
mod exchanges;
pub mod feed;
mod gauges;
pub mod group;
mod grouping;
mod guessing;
mod identity_limit;
mod identity_rate;
mod input;
mod inspect;
mod links;
mod listening;
mod opening;
mod page;
mod pending;
mod phase;
mod position;
mod postgres;
mod program;
mod publish;
mod publishing;
mod rate_limit;
mod reaping;
mod refusals;
mod reply;
mod requests;
mod room;
mod settings;
mod shares;
mod shutdown;
mod site;
mod stopping;
mod streams;
mod subprotocol;
mod telling;
#[cfg(test)]
mod tests;
mod token_refusal;
mod unlisten_delay;
mod unparsed;
pub mod work;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

pub use self::{
    action::{Action, Disconnect},
    endpoints::Endpoints,
    page::Page,
    settings::Settings,
};
use self::{
    answering::Answering,
    asking::Asking,
    authorization::Authorization,
    channels::Channels,
    clients::Clients,
    custom_protocol::{Arrival, CustomProtocol, RawMessage},
    deadlines::Deadlines,
    encode::Transport,
    endpoints::EndpointsBySlot,
    group::Group,
    grouping::Presence,
    opening::Openings,
    postgres::Postgres,
    publishing::Publishing,
    reaping::Reaping,
    refusals::Refusals,
    room::Room,
    shutdown::Shutdown,
    site::Site,
    subprotocol::ForeignOffers,
    unlisten_delay::UnlistenDelay,
    unparsed::Unparsed,
    work::Work,
};
use crate::{
    backend::{Backend, Configs},
    channel::LengthUnit,
    config::Limits,
    delivery::{
        Delivery,
        history::History,
        outgoing::{Transmit, Written},
    },
    id::{ClientId, Clock},
    metrics::{Metrics, Process},
    random::Random,
};

/// The whole bridge as a state machine.
///
/// A turn begins with [`Self::begin_turn`], which tells the time. After any `handle_*`:
/// [`Self::poll_action`] until `None`, the backend's bytes where there is one, and
/// [`Self::poll_transmit`] as far as the slice goes, each lent range answered by
/// [`Self::handle_transmitted`]. Once a turn, when nothing walks, [`Self::end_turn`]. Then wait
/// until [`Self::poll_timeout`].
///
/// `handle_*` return nothing: no peer can fail the server.
#[derive(Debug)]
pub struct Hub {
    limits: Limits,
    authorization: Authorization,
    site: Site,
    room: Room,
    /// Clients see what follows from it.
    seed: u64,
    /// When readers of events come back.
    random: Random,
    foreign_offers: ForeignOffers,
    log_lines_dropped: Arc<AtomicU64>,
    process: Option<fn() -> Process>,
    clock: Clock,
    clients: Clients,
    channels: Channels,
    delivery: Delivery,
    publishing: Publishing,
    /// Event streams that wait for PostgreSQL.
    openings: Openings,
    postgres: Postgres,
    upstream: Upstream,
    endpoints: EndpointsBySlot,
    refusals: Refusals,
    deadlines: Deadlines,
    reaping: Reaping,
    answering: Answering,
    asking: Asking,
    unparsed: Unparsed,
    /// Clients whose input goes on in the next turn.
    stopped: Vec<ClientId>,
    /// A step of a stop goes on with the client in this slot.
    stop_from: u32,
    work: Work,
    shutdown: Shutdown,
    /// Where the program speaks a protocol of its own with the clients.
    custom_protocol: Option<CustomProtocol>,
    /// Where the bridge is one of several.
    group: Option<Box<Group>>,
    /// What the group wants to know of PostgreSQL, and is not asked yet.
    presence: Option<Presence>,
    metrics: Metrics,
    actions: VecDeque<Action>,
    /// One frame on its way into a batch.
    scratch: Vec<u8>,
    /// One event on its way into a batch.
    event: Vec<u8>,
}

/// Where notifications come from, and where publishes go.
#[derive(Debug)]
enum Upstream {
    /// PostgreSQL.
    Postgres(Box<Backend>),
    /// The program around us.
    Program,
    /// PostgreSQL, and its events are being handled.
    Busy,
}

impl Hub {
    /// A bridge to PostgreSQL.
    pub fn new(settings: Settings, configs: impl Into<Configs>, now: Instant) -> Self {
        let group = settings.group.clone();
        let control = group.as_ref().map(|group| group.control.clone());
        let backend = Backend::new(configs, settings.backend_seed, now).with_control(control);
        let mut hub = Self::start(settings, Upstream::Postgres(Box::new(backend)), now);
        if let Some(group) = group {
            hub.channels.set_grouped();
            hub.group = Some(Box::new(Group::new(group)));
        }
        hub
    }

    /// A server that is fed by the program around it.
    pub fn with_feed(mut settings: Settings, now: Instant) -> Self {
        // The program is told at once, unless it wants otherwise.
        settings.unlisten_delay.get_or_insert(Duration::ZERO);
        let mut hub = Self::start(settings, Upstream::Program, now);
        hub.handle_listening_up(LengthUnit::Utf8);
        hub.handle_publishing(true);
        hub.postgres.is_proved = true;
        hub
    }

    /// A server whose clients speak a protocol of the program's own with it, by
    /// [`Action::Message`] and [`Self::handle_reply`].
    pub fn with_messages(settings: Settings, now: Instant) -> Self {
        let mut hub = Self::with_feed(settings, now);
        hub.custom_protocol = Some(CustomProtocol::default());
        hub.site.close_channels();
        hub
    }

    fn start(settings: Settings, upstream: Upstream, now: Instant) -> Self {
        let limits = settings.limits;
        let mut channels = Channels::new(
            limits.channels_max,
            UnlistenDelay::new(settings.unlisten_delay),
            settings.epoch_seed,
        );
        for channel in settings.channels {
            channels.pin(channel);
        }
        let history = History::new(limits.history_frames_max, limits.history_bytes_max);
        Self {
            authorization: Authorization::new(settings.access, &limits, now),
            site: Site::new(
                settings.page,
                settings.admin_origins,
                limits.message_bytes_max,
            ),
            room: Room::new(&limits),
            seed: settings.epoch_seed,
            log_lines_dropped: settings.log_lines_dropped,
            process: settings.process,
            clock: Clock::new(now),
            clients: Clients::default(),
            channels,
            delivery: Delivery::new(
                limits.client_queue_bytes_max,
                history,
                Transport::FRAME_BYTES,
            ),
            publishing: Publishing::default(),
            openings: Openings::default(),
            random: Random::new(settings.epoch_seed),
            foreign_offers: ForeignOffers::default(),
            postgres: Postgres::default(),
            upstream,
            endpoints: EndpointsBySlot::default(),
            refusals: Refusals::default(),
            deadlines: Deadlines::new(now),
            reaping: Reaping::default(),
            answering: Answering::default(),
            asking: Asking::default(),
            unparsed: Unparsed::default(),
            stopped: Vec::new(),
            stop_from: 0,
            work: Work::default(),
            shutdown: Shutdown::No,
            custom_protocol: None,
            group: None,
            presence: None,
            metrics: Metrics::default(),
            actions: VecDeque::new(),
            scratch: Vec::new(),
            event: Vec::new(),
            limits,
        }
    }

    // ---- what there is

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Connections that are not at the admin address.
    pub fn client_count(&self) -> usize {
        self.clients.count()
    }

    /// Channels that anybody wants, or wanted a short while ago.
    pub fn channel_count(&self) -> usize {
        self.channels.interests().len()
    }

    /// Bytes kept for clients that come back.
    pub fn history_bytes(&self) -> usize {
        self.delivery.sizes().history_bytes
    }

    /// The name of the client in a slot, as [`Transmit::slot`] has it.
    pub fn client_at(&self, slot: u32) -> ClientId {
        self.clients.id(slot)
    }

    /// Units of [`work`] in the turn before.
    pub fn last_units(&self) -> usize {
        self.work.last_units()
    }

    /// Whether the client of this name still lives.
    pub fn is_current(&self, client: ClientId) -> bool {
        self.clients.is_current(client)
    }

    /// Whether messages of the client of this name are heard.
    pub fn is_open(&self, client: ClientId) -> bool {
        self.is_current(client) && self.clients.is_open(client.slot)
    }

    /// The two sessions, unless a program feeds us.
    pub fn backend(&mut self) -> Option<&mut Backend> {
        match &mut self.upstream {
            Upstream::Postgres(backend) => Some(backend),
            Upstream::Program | Upstream::Busy => None,
        }
    }

    /// Whether PostgreSQL is not to be read for now: our own fan-out is behind, and what waits
    /// in the server's queue holds nobody up.
    pub fn is_backend_paused(&self) -> bool {
        self.delivery.unsent_bytes() > self.limits.unsent_bytes_max
    }

    // ---- the turn

    /// A turn begins: the time until the next one, and whether an event began it.
    pub fn begin_turn(&mut self, now: Instant, is_woken: bool) {
        self.set_time(now);
        self.metrics.turns += 1;
        self.metrics.wakeups += u64::from(is_woken);
    }

    /// The turn before took so long, without its wait.
    pub fn handle_turn_time(&mut self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.metrics.turn_time.observe(microseconds);
    }

    /// Whether [`Self::set_since_1970`] is wanted at the beginning of each turn: tokens have dates.
    pub fn wants_since_1970(&self) -> bool {
        self.authorization.access().jwt.is_some()
    }

    /// The time of the world, since 1970.
    pub fn set_since_1970(&mut self, since_1970: Duration) {
        self.clock.set_since_1970(since_1970);
    }

    /// The time, until it is told again.
    pub fn set_time(&mut self, now: Instant) {
        self.clock.set(now);
        self.delivery.set_time(&self.clock);
    }

    /// What is to be written next, and to whom.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.delivery
            .poll_transmit(self.channels.links().indexes(), &mut self.metrics)
    }

    /// What became of it.
    pub fn handle_transmitted(&mut self, written: Written) {
        let backlog_of = self.delivery.handle_transmitted(written, &mut self.metrics);
        if let Some(slot) = backlog_of {
            self.handle_backlog_moved(slot);
        }
    }

    /// Whether [`Self::poll_transmit`] has something.
    pub fn has_transmit(&self) -> bool {
        self.delivery.has_transmit()
    }

    /// What the shell is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.custom_protocol.is_some() {
            if let Some((client, message)) = self.poll_message() {
                return Some(Action::Message(client, message));
            }
            return self.actions.pop_front();
        }
        self.backend()?.poll_order().map(Action::Backend)
    }

    /// The next message for the program. What ended a client's messages is carried out when those
    /// before it are answered.
    fn poll_message(&mut self) -> Option<(ClientId, RawMessage)> {
        loop {
            match self.custom_protocol.as_mut()?.pop()? {
                Arrival::Message(client, message) => return Some((client, message)),
                Arrival::End(client, reason, code) if self.is_current(client) => {
                    self.finish_messages(client.slot, reason, code);
                }
                Arrival::End(..) => {}
            }
        }
    }

    /// When [`Self::handle_timeout`] is wanted; `None` while nothing can fall due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let behind = self.work.is_behind().then_some(self.clock.now());
        let deadlines = (!self.clients.is_empty()).then_some(self.deadlines.due());
        let backend = match &self.upstream {
            Upstream::Postgres(backend) => Some(backend.poll_timeout()),
            Upstream::Program | Upstream::Busy => None,
        };
        let channels = self.channels.poll_timeout();
        let shutdown = self.shutdown.poll_timeout();
        let refusals = self.refusals.poll_timeout();
        let group = self.group.as_ref().and_then(|group| group.poll_timeout());
        [
            behind, deadlines, backend, channels, shutdown, refusals, group,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The time has come for whatever was due.
    pub fn handle_timeout(&mut self) {
        let now = self.clock.now();
        let is_unread = self.is_backend_paused();
        if let Some(backend) = self.backend() {
            if is_unread {
                backend.handle_unread(now);
            }
            backend.handle_timeout(now);
        }
        self.handle_backend();
        self.sweep();
        self.channels.handle_timeout(now);
        self.end_kept();
        if let Some(group) = &mut self.group {
            group.handle_timeout(now);
        }
        self.forward_commands();
        self.advance_shutdown();
        self.refusals.handle_timeout(now);
    }

    /// Ends the slice of the pass under way, and the turn: links of clients that ended are cut, and
    /// slots are freed. Nothing may be lent now.
    pub fn end_turn(&mut self) {
        self.metrics.slices += u64::from(self.delivery.end_slice());
        self.recheck();
        if self.stop_from > 0 {
            self.advance_shutdown();
        }
        self.answer_waiting();
        self.close_overflowed();
        let is_still_slow = self.close_slowest() | self.close_costliest();
        self.reap();
        let is_behind = is_still_slow
            || self.authorization.is_rechecking()
            || !self.answering.is_empty()
            || !self.reaping.is_empty()
            || self.stop_from > 0
            || self.delivery.has_any_overflowed();
        self.work.end_turn(is_behind);
        for client in self.stopped.drain(..) {
            if self.clients.is_current(client) && self.clients.hold(client.slot, false) {
                self.actions.push_back(Action::Resume(client));
            }
        }
        self.forward_commands();
    }
}
