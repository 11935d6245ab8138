//! The core: every decision of the bridge, without a socket, a clock or a random number.
//!
//! [`Core`] joins the [hub](parts) (clients and channels) to an upstream: PostgreSQL's two sessions
//! ([`backend`](crate::backend)), or the [`feed`] of a program that brings its own notifications.

mod address_limit;
mod admin;
mod admission;
mod authorization;
mod by_age;
mod closing;
pub mod custom_protocol;
mod deadlines;
pub mod encode;
mod eviction;
pub mod feed;
mod gauges;
mod http;
mod input;
mod invariants;
mod listen_retry;
mod listening;
pub mod parts;
mod publishing;
mod rate_limit;
mod shutdown;
#[cfg(test)]
mod tests;
pub mod transmit;
mod unlisten_delay;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use self::{
    custom_protocol::CustomProtocol,
    feed::Feed,
    parts::{Disconnect, Hub},
    shutdown::Shutdown,
    transmit::{Transmit, Written},
};
use crate::{
    access::{Access, origins::OriginPolicy, tokens::Tokens},
    backend::{
        Backend, Configs, Event, Role,
        command::{Command, Published},
    },
    channel::{Channel, LengthUnit},
    config::Limits,
    id::{ClientId, Tick},
    metrics::Metrics,
};

/// The whole bridge as a state machine.
///
/// After any `handle_*`: [`Core::poll_disconnect`] and [`Core::poll_resumed`] until `None`, the
/// backend's orders and bytes where there is one, and [`Core::poll_transmit`] as far as the slice
/// goes, each lent range answered by [`Core::handle_transmitted`]. Once a turn, when nothing
/// walks, [`Core::end_turn`]. Then wait until [`Core::poll_timeout`].
///
/// `handle_*` return nothing: no peer can fail the server.
#[derive(Debug)]
pub struct Core {
    hub: Hub,
    upstream: Upstream,
    started: Instant,
    /// The last time a tick was asked for, and the tick.
    tick_at: (Instant, Tick),
    sweep_at: Instant,
    sweep_cursor: usize,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value a process")]
enum Upstream {
    Postgres(Backend),
    Feed(Feed),
}

/// Who may connect, what they see, and what they may cost.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What each peer may cost.
    pub limits: Limits,
    /// Who is let in, and may do what.
    pub access: Access,
    /// Which pages may talk to the admin address, where there is one.
    pub admin_pages: Option<OriginPolicy>,
    /// The page at `GET /`.
    pub page: Option<&'static str>,
    /// Listened to from the start.
    pub channels: Vec<Channel>,
    /// For how long a channel stays listened to after its last subscriber left.
    pub unlisten_delay: Duration,
    /// Random: the first half of every epoch, and the jitter of reconnects.
    pub seed: u64,
}

impl Core {
    /// A bridge to PostgreSQL.
    pub fn new(settings: Settings, configs: impl Into<Configs>, now: Instant) -> Self {
        let backend = Backend::new(configs, settings.seed, now);
        Self::start(settings, Upstream::Postgres(backend), now)
    }

    /// A server that is fed by the program around it.
    pub fn with_feed(settings: Settings, now: Instant) -> Self {
        let mut core = Self::start(settings, Upstream::Feed(Feed::default()), now);
        core.hub.handle_listening_up(LengthUnit::Utf8);
        core.hub.handle_publishing(true);
        core.hub.handle_proved(true);
        core
    }

    /// A server whose clients speak a protocol of the program's own with it, by
    /// [`Self::poll_message`] and [`Self::handle_reply`].
    pub fn with_messages(settings: Settings, now: Instant) -> Self {
        let mut core = Self::with_feed(settings, now);
        core.hub.arrivals = Some(CustomProtocol::default());
        core
    }

    fn start(settings: Settings, upstream: Upstream, now: Instant) -> Self {
        let mut hub = Hub::new(
            settings.limits,
            settings.access,
            settings.admin_pages,
            settings.page,
        );
        hub.listening.epoch_seed = settings.seed;
        hub.listening.unlisten_delay = settings.unlisten_delay;
        for channel in settings.channels {
            hub.pin(channel);
        }
        Self {
            hub,
            upstream,
            started: now,
            tick_at: (now, 0),
            sweep_at: now + deadlines::STEP,
            sweep_cursor: 0,
        }
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.hub.metrics
    }

    /// Clients, whatever they are doing.
    pub fn client_count(&self) -> usize {
        self.hub.client_count()
    }

    /// Bytes kept for clients that come back.
    pub fn history_bytes(&self) -> usize {
        self.hub.history.bytes()
    }

    /// Whether another connection may be accepted: beyond the clients there is room for a few
    /// that are answered with 503, and one of those goes for who comes. If not, ask again in a
    /// millisecond: all of them have just come.
    pub fn has_room(&mut self, now: Instant) -> bool {
        let tick = self.tick(now);
        self.hub.has_room() || self.hub.dispensable(tick).is_some()
    }

    /// The two sessions, unless a program feeds us.
    pub fn backend(&mut self) -> Option<&mut Backend> {
        match &mut self.upstream {
            Upstream::Postgres(backend) => Some(backend),
            Upstream::Feed(_) => None,
        }
    }

    /// The feed, if a program feeds us.
    pub fn feed(&mut self) -> Option<&mut Feed> {
        match &mut self.upstream {
            Upstream::Postgres(_) => None,
            Upstream::Feed(feed) => Some(feed),
        }
    }

    /// A socket was accepted; `address` is its peer's, where it has one.
    pub fn handle_connected(&mut self, address: Option<IpAddr>, now: Instant) -> ClientId {
        let tick = self.tick(now);
        self.hub.handle_client_connected(address, tick)
    }

    /// The tokens were read again: who came in with one that is no more, or uses a channel that
    /// its token does not leave it any more, is closed with 4001.
    pub fn handle_tokens(&mut self, tokens: Tokens, now: Instant) {
        let tick = self.tick(now);
        self.hub.handle_tokens(tokens, tick);
    }

    /// A turn begins; `is_woken` tells whether by an event.
    pub fn begin_turn(&mut self, is_woken: bool) {
        self.hub.metrics.turns += 1;
        self.hub.metrics.wakeups += u64::from(is_woken);
    }

    /// A socket was accepted though nothing is left for it: it is told so, within a second.
    pub fn handle_excess(&mut self, now: Instant) -> ClientId {
        let tick = self.tick(now);
        self.hub.handle_excess(tick)
    }

    /// A socket was accepted at the admin address: it takes HTTP only and is no client.
    pub fn handle_admin_connected(&mut self, now: Instant) -> ClientId {
        let tick = self.tick(now);
        self.hub.handle_admin_connected(tick)
    }

    /// Bytes came from a client; they are unmasked in place.
    pub fn handle_client_input(&mut self, client: ClientId, input: &mut [u8], now: Instant) {
        let tick = self.tick(now);
        self.hub.handle_input(client, input, tick);
        self.forward_commands(now);
    }

    /// A client's socket ended or failed; the reactor has let it go.
    pub fn handle_client_closed(&mut self, client: ClientId) {
        self.hub.handle_closed(client);
    }

    /// A client's socket takes bytes again.
    pub fn handle_client_writable(&mut self, client: ClientId) {
        self.hub.handle_writable(client);
    }

    /// Whether the client of this name still lives.
    pub fn is_current(&self, client: ClientId) -> bool {
        self.hub.is_alive(client)
    }

    /// Whether the client's socket is not to be read for now; [`Self::poll_resumed`] ends it.
    pub fn is_paused(&self, client: ClientId) -> bool {
        self.hub.is_paused(client)
    }

    /// Whether PostgreSQL is not to be read for now: our own fan-out is behind, and what waits
    /// in the server's queue holds nobody up.
    pub fn is_backend_paused(&self) -> bool {
        self.hub.fanout.unsent_bytes() > self.hub.limits.unsent_bytes_max
    }

    /// Handles whatever the sessions have to report; call after every `handle_*` of the backend.
    pub fn handle_backend(&mut self, now: Instant) {
        let tick = self.tick(now);
        if let Upstream::Postgres(backend) = &mut self.upstream {
            let hub = &mut self.hub;
            backend.drain_events(now, |event| match event {
                Event::Notification { channel, payload } => {
                    hub.handle_notification(channel, payload);
                }
                Event::Up(Role::Listening, measure) => hub.handle_listening_up(measure),
                Event::Down(Role::Listening) => hub.handle_listening_down(),
                Event::Up(Role::Publishing, _) => hub.handle_publishing(true),
                Event::Down(Role::Publishing) => hub.handle_publishing(false),
                Event::Proved(proved) => hub.handle_proved(proved),
                Event::Unfit(unfit) => hub.handle_unfit(unfit),
                Event::Committed(members) => hub.metrics.transaction_size.observe(members),
                Event::QueueUsage(usage) => hub.listening.queue_usage = usage,
                Event::Listened(key, result) => hub.handle_listened(key, result, tick),
                Event::Unlistened(key) => hub.handle_unlistened(key),
                Event::Published(number, published) => {
                    hub.handle_published(number, &published, tick);
                }
            });
        }
        self.forward_commands(now);
    }

    /// A notification of the program that feeds us.
    pub fn handle_fed(&mut self, fed: &feed::Fed, now: Instant) {
        match fed {
            feed::Fed::Notification(channel, payload) => {
                self.hub
                    .handle_notification(channel.as_str().as_bytes(), payload.as_bytes());
            }
            feed::Fed::Gap(channel) => self.hub.handle_feed_gap(channel),
            feed::Fed::Overflow => self.hub.handle_overflow(),
        }
        self.forward_commands(now);
    }

    /// What the program that feeds us did with a publish.
    pub fn handle_taken(&mut self, ticket: u32, taken: feed::Taken, now: Instant) {
        let published = match taken {
            feed::Taken::Yes => Published::Committed,
            feed::Taken::Full => Published::Crowded,
            feed::Taken::Never => Published::NotSent,
        };
        let tick = self.tick(now);
        self.hub.handle_published(ticket, &published, tick);
    }

    /// What is to be written next, and to whom.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        let tick = self.tick(now);
        self.hub.poll_transmit(tick)
    }

    /// What became of it.
    pub fn handle_transmitted(&mut self, written: Written, now: Instant) {
        let tick = self.tick(now);
        self.hub.handle_transmitted(written, tick);
    }

    /// Whether [`Self::poll_transmit`] has something.
    pub fn has_transmit(&self) -> bool {
        self.hub.has_transmit()
    }

    /// A socket to let go.
    pub fn poll_disconnect(&mut self) -> Option<(ClientId, Disconnect)> {
        self.hub.poll_disconnect()
    }

    /// A client to read again.
    pub fn poll_resumed(&mut self) -> Option<ClientId> {
        self.hub.resumed.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted; `None` while nothing can fall due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_idle = self.hub.clients.is_empty() && !self.hub.listening.has_deadlines();
        let sweep = (!is_idle).then_some(self.sweep_at);
        let backend = match &self.upstream {
            Upstream::Postgres(backend) => Some(backend.poll_timeout()),
            Upstream::Feed(_) => None,
        };
        let leaving = self.hub.leaving.as_ref().map(Shutdown::poll_timeout);
        [sweep, backend, leaving].into_iter().flatten().min()
    }

    /// The time has come for whatever was due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_unread = self.is_backend_paused();
        if let Upstream::Postgres(backend) = &mut self.upstream {
            if is_unread {
                backend.handle_unread(now);
            }
            backend.handle_timeout(now);
        }
        self.handle_backend(now);
        if self.sweep_at <= now {
            let tick = self.tick(now);
            self.sweep_cursor = self.hub.sweep(self.sweep_cursor, tick);
            self.sweep_at = now + deadlines::STEP;
            self.hub.retry_refused(tick);
            self.hub.end_lingerings(tick);
            self.hub.end_refused(tick);
            self.forward_commands(now);
        }
        self.go_on_leaving(now);
    }

    /// Links, passes and backlogs agree with each other, and nothing is kept for nobody.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.hub.check_invariants();
    }

    /// Ends the slice of the pass under way, and the turn: those who left leave the index, and
    /// slots are freed. Nothing may be lent now.
    pub fn end_turn(&mut self, now: Instant) {
        self.hub.end_slice();
        let tick = self.tick(now);
        self.hub.reap(tick);
        self.forward_commands(now);
    }

    /// The tick of `now`. A turn has one time and thousands of calls: it is computed once.
    fn tick(&mut self, now: Instant) -> Tick {
        if self.tick_at.0 != now {
            let elapsed = now.saturating_duration_since(self.started);
            let milliseconds = elapsed.as_millis();
            let wrapped = Tick::try_from(milliseconds & u128::from(Tick::MAX)).expect("masked");
            // It never goes back: what came before is not younger than what comes now.
            let clock = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            self.hub.clock = self.hub.clock.max(clock);
            self.tick_at = (now, wrapped);
        }
        self.tick_at.1
    }

    /// Gives the hub's commands to the upstream, until neither has anything to say.
    fn forward_commands(&mut self, now: Instant) {
        let tick = self.tick(now);
        while let Some(command) = self.hub.commands.pop_front() {
            match &mut self.upstream {
                Upstream::Postgres(backend) => backend.push(command),
                Upstream::Feed(feed) => match command {
                    Command::Listen(key, channel) => {
                        feed.push(feed::Incoming::Subscribe(channel), None);
                        self.hub.handle_listened(key, Ok(()), tick);
                    }
                    Command::Unlisten(key, channel) => {
                        feed.push(feed::Incoming::Unsubscribe(channel), None);
                        self.hub.handle_unlistened(key);
                    }
                    Command::Notify(it) => {
                        let incoming = feed::Incoming::Notify(it.channel, it.payload);
                        feed.push(incoming, Some(it.number));
                    }
                },
            }
        }
    }
}
