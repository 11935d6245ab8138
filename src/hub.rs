//! The hub: every decision of the bridge, without a socket, a clock or a random number.
//!
//! Composes parts, each with private state: who is connected ([`clients`]), which channels are
//! wanted and held ([`channels`]), which bytes are owed to whom ([`Delivery`]), what is published
//! ([`publishing`]). A part answers with a value and does not know the hub; only the hub acts. Its
//! reactions are sorted by what they react to: [`input`], [`requests`], [`publishes`],
//! [`admission`] and [`closing`] to clients, [`listening`] to PostgreSQL, [`feed`] to a program.

mod action;
mod address_limit;
mod addressing;
mod admission;
mod answer;
mod answering;
mod asking;
mod authorization;
mod beginning;
mod broadcast;
mod channels;
mod clients;
mod closing;
mod complaints;
mod consulting;
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
pub mod feed;
pub mod group;
mod guessing;
mod host;
mod identity_limit;
mod identity_rate;
mod input;
mod inquiries;
mod judge;
pub mod lifecycle;
mod links;
mod listening;
pub mod load;
mod log;
mod membership;
mod opening;
mod page;
mod pending;
mod phase;
mod position;
mod postgres;
mod publishes;
mod publishing;
mod rate_limit;
mod reaping;
mod reply;
mod requests;
mod retries;
mod room;
mod settings;
mod shares;
mod shutdown;
mod site;
mod subprotocol;
#[cfg(test)]
mod tests;
mod token_refusal;
mod unlisten_delay;
mod unparsed;
mod upstream;
mod view;
pub mod work;

use std::{
    collections::VecDeque,
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
    broadcast::Broadcast,
    channels::Channels,
    clients::Clients,
    custom_protocol::{Arrival, CustomProtocol},
    deadlines::Deadlines,
    encode::Transport,
    endpoints::EndpointsBySlot,
    host::Host,
    lifecycle::Lifecycle,
    log::Log,
    membership::Membership,
    opening::Openings,
    postgres::Postgres,
    publishing::Publishing,
    reaping::Reaping,
    retries::Retries,
    room::Room,
    shutdown::Shutdown,
    site::Site,
    unlisten_delay::UnlistenDelay,
    unparsed::Unparsed,
    upstream::Upstream,
    view::View,
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
    metrics::Metrics,
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
    retries: Retries,
    host: Host,
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
    log: Log,
    lifecycle: Lifecycle,
    deadlines: Deadlines,
    reaping: Reaping,
    answering: Answering,
    asking: Asking,
    unparsed: Unparsed,
    work: Work,
    shutdown: Shutdown,
    /// Where the program speaks a protocol of its own with the clients.
    custom_protocol: Option<CustomProtocol>,
    /// Where the bridge is one of several.
    membership: Membership,
    metrics: Metrics,
    actions: VecDeque<Action>,
    broadcast: Broadcast,
}

impl Hub {
    /// A bridge to PostgreSQL.
    pub fn new(settings: Settings, configs: impl Into<Configs>, now: Instant) -> Self {
        let group = settings.group.clone();
        let control = group.as_ref().map(|group| group.control.clone());
        let backend = Backend::new(configs, settings.backend_seed, now)
            .with_control(control)
            .with_function(settings.function.clone());
        let mut hub = Self::start(settings, Upstream::Postgres(Box::new(backend)), now);
        if let Some(group) = group {
            hub.channels.set_grouped();
            hub.membership = Membership::new(group);
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
        Self {
            authorization: Authorization::new(settings.access, &limits, now),
            site: Site::new(
                settings.page,
                settings.admin_origins,
                limits.message_bytes_max,
            ),
            room: Room::new(&limits),
            host: Host::new(settings.log_lines_dropped, settings.process),
            clock: Clock::new(now),
            clients: Clients::default(),
            channels,
            delivery: Delivery::new(
                limits.client_queue_bytes_max,
                History::new(limits.history_frames_max, limits.history_bytes_max),
                Transport::FRAME_BYTES,
            ),
            publishing: Publishing::default(),
            openings: Openings::default(),
            retries: Retries::new(settings.epoch_seed),
            postgres: Postgres::default(),
            upstream,
            endpoints: EndpointsBySlot::new(settings.proxies),
            log: Log::default(),
            lifecycle: Lifecycle::new(settings.tells_lifecycle),
            deadlines: Deadlines::new(now),
            reaping: Reaping::default(),
            answering: Answering::default(),
            asking: Asking::default(),
            unparsed: Unparsed::default(),
            work: Work::default(),
            shutdown: Shutdown::new(settings.epoch_seed),
            custom_protocol: None,
            membership: Membership::default(),
            metrics: Metrics::default(),
            actions: VecDeque::new(),
            broadcast: Broadcast::default(),
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
        self.upstream.backend_mut()
    }

    /// Whether PostgreSQL is not to be read for now: our own fan-out is behind, and what waits
    /// in the server's queue holds nobody up.
    pub fn is_backend_paused(&self) -> bool {
        self.delivery.unsent_bytes() > self.limits.unsent_bytes_max
    }

    /// Whether the end has begun, slowly or soon.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.has_begun()
    }

    /// Whether [`Self::stop`] was called, or draining came to its end: no connection is taken any
    /// more but at the admin address.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_stopping()
    }

    /// Whether it is stopping and nothing is left to wait for.
    pub fn is_stopped(&self) -> bool {
        let (clients, publishes) = (self.clients.count(), self.publishing.count());
        let is_over = self.shutdown.is_over(clients, publishes, self.clock.now());
        is_over && self.membership.has_left()
    }

    /// Memory that is the own of all clients; bounded by [`Limits::owned_bytes_max`].
    pub fn owned_bytes(&self) -> usize {
        self.view().owned_bytes()
    }

    /// The parts agree with each other, and nothing is kept for nobody.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.view().check_invariants();
    }

    fn view(&self) -> View<'_> {
        View {
            limits: &self.limits,
            asking: &self.asking,
            authorization: &self.authorization,
            clients: &self.clients,
            channels: &self.channels,
            delivery: &self.delivery,
            publishing: &self.publishing,
            openings: &self.openings,
            unparsed: &self.unparsed,
            room: &self.room,
            postgres: &self.postgres,
            membership: &self.membership,
            host: &self.host,
        }
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
        self.authorization.has_dates()
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
        let told = |hub: &mut Self| hub.lifecycle.poll().map(Action::Tell);
        if let Some(action) = self.actions.pop_front().or_else(|| told(self)) {
            return Some(action);
        }
        // What ended a client's messages is carried out when those before it are answered.
        while let Some(arrival) = self.custom_protocol.as_mut().and_then(CustomProtocol::pop) {
            match arrival {
                Arrival::Message(client, message) => return Some(Action::Message(client, message)),
                Arrival::End(client, reason, code) if self.is_current(client) => {
                    self.finish_messages(client.slot, reason, code);
                }
                Arrival::End(..) => {}
            }
        }
        let action = self.actions.pop_front().or_else(|| told(self));
        action.or_else(|| self.backend()?.poll_order().map(Action::Backend))
    }

    /// When [`Self::handle_timeout`] is wanted; `None` while nothing can fall due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let behind = self.work.is_behind().then_some(self.clock.now());
        let deadlines = (!self.clients.is_empty()).then_some(self.deadlines.due());
        let backend = self.upstream.backend().map(Backend::poll_timeout);
        [
            behind,
            deadlines,
            backend,
            self.channels.poll_timeout(),
            self.shutdown.poll_timeout(),
            self.log.poll_timeout(),
            self.membership.poll_timeout(),
            self.postgres.poll_timeout(),
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
        self.membership.handle_timeout(now);
        self.tell_withheld(now);
        self.forward_commands();
        self.advance_shutdown();
        self.log.handle_timeout(now);
    }

    /// Ends the slice of the pass under way, and the turn: links of clients that ended are cut, and
    /// slots are freed. Nothing may be lent now.
    pub fn end_turn(&mut self) {
        self.metrics.slices += u64::from(self.delivery.end_slice());
        self.recheck();
        self.go_on_with_answered();
        if self.shutdown.is_behind() {
            self.advance_shutdown();
        }
        self.answer_waiting();
        self.close_overflowed();
        let is_still_slow = self.close_slowest() | self.close_costliest();
        self.reap();
        self.tell_gaps(Work::is_spent);
        let is_behind = is_still_slow
            || self.authorization.is_behind()
            || !self.answering.is_empty()
            || !self.reaping.is_empty()
            || self.channels.is_behind()
            || self.shutdown.is_behind()
            || self.membership.is_replaying()
            || self.delivery.has_any_overflowed();
        self.work.end_turn(is_behind);
        self.resume_stopped();
        self.forward_commands();
        self.note_state();
    }
}
