//! [`WebSocketServer`]: the bridge's client side alone, fed by the program around it.
//!
//! Knows nothing of PostgreSQL: notifications come in through a receiver, and requests of clients
//! go out through another.

#![expect(
    clippy::disallowed_types,
    reason = "a listener of the program is taken here, and passed on to the reactor"
)]

use std::{fmt, net::TcpListener};

use crate::{
    access::{
        Access, intent::Intent, origins::OriginPolicy, proxies::TrustedProxies, visitor::Visitor,
    },
    config::Limits,
    error::BridgeError,
    front_door::FrontDoor,
    handle::Handle,
    hub::{Hub, Settings, custom_protocol::RawMessage},
    id::ClientId,
    operation::Operation,
    process,
    queue::{
        lifecycle::LifecycleEvents,
        notifications::Notifications,
        requests::{self, IncomingRequests, RequestSender},
    },
    reactor::Program,
    running::{self, RunningBridge, Started},
    startup,
    tickets::{AdmissionTicket, AuthorizationTicket},
};

/// A WebSocket server that speaks the bridge's protocol and delivers the notifications of a
/// program.
///
/// Together with a [`PostgresListener`](crate::PostgresListener) it makes a custom bridge, with the
/// program's own steps in between:
///
/// ```no_run
/// use alle::{Incoming, PostgresListener, WebSocketServer};
///
/// let (pg_listener, notification_rx) =
///     PostgresListener::connect("postgresql://localhost/postgres", 1000).wait()?;
/// let (ws_server, incoming_rx) = WebSocketServer::new("127.0.0.1:8080");
/// std::thread::spawn(move || {
///     for request in incoming_rx {
///         let call = match &request {
///             Incoming::Subscribe(channel) => pg_listener.listen(channel.as_str()),
///             Incoming::Unsubscribe(channel) => pg_listener.unlisten(channel.as_str()),
///             Incoming::Notify(channel, payload) => {
///                 pg_listener.notify(channel.as_str(), payload.as_str())
///             }
///             // New in this version of alle.
///             _ => continue,
///         };
///         if let Err(error) = call.wait() {
///             eprintln!("{request:?}: {error}");
///         }
///     }
/// });
/// ws_server.start(notification_rx).wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The server answers its clients itself: `subscribed` at once, which promises only that
/// notifications handed to the server from then on are delivered, and `notified` when the request
/// waits to be received. The rules of [`IncomingRequests`] for requests that no thread receives
/// keep its memory bounded. [`Received::Gap`](crate::Received::Gap) reaches the subscribers of the
/// channel as a `gap`, [`Received::Overflow`](crate::Received::Overflow) those of every channel.
/// When the listener ends, the server continues.
pub struct WebSocketServer {
    bind_addr: String,
    front_door: FrontDoor,
    limits: Limits,
    allow_origins: Vec<String>,
    allow_hosts: Vec<String>,
    proxies: TrustedProxies,
    requests: RequestSender,
}

impl WebSocketServer {
    /// Nothing happens before [`Self::start`] or [`Self::spawn`]. `bind_addr` is `HOST:PORT`; port 0 picks a free
    /// port, which [`Handle::local_addr`] returns.
    pub fn new(bind_addr: impl Into<String>) -> (Self, IncomingRequests) {
        let (sender, incoming) = requests::channel();
        let server = Self {
            bind_addr: bind_addr.into(),
            front_door: FrontDoor::default(),
            limits: Limits::default(),
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            proxies: TrustedProxies::default(),
            requests: sender,
        };
        (server, incoming)
    }

    /// Accepts clients from this socket instead of binding the address. It may be bound only, or
    /// listen already, and is made non-blocking.
    #[must_use]
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.front_door.set_listener(listener);
        self
    }

    /// Asks the program about each client that wants to come in:
    /// [`Bridge::with_admission`](crate::Bridge::with_admission).
    #[must_use]
    pub fn with_admission(
        mut self,
        admission: impl FnMut(Visitor, AdmissionTicket) + Send + 'static,
    ) -> Self {
        self.front_door.set_admission(admission);
        self
    }

    /// Asks the program about each subscribe and each publish:
    /// [`Bridge::with_authorization`](crate::Bridge::with_authorization). Messages in a protocol of the
    /// program's own are none.
    #[must_use]
    pub fn with_authorization(
        mut self,
        authorization: impl FnMut(ClientId, Intent, AuthorizationTicket) + Send + 'static,
    ) -> Self {
        self.front_door.set_authorization(authorization);
        self
    }

    /// Tells the program of clients as they come and go, with the names of clients for
    /// [`Handle::send_to`]: [`Bridge::with_lifecycle`](crate::Bridge::with_lifecycle).
    #[must_use]
    pub fn with_lifecycle(mut self, capacity: usize) -> (Self, LifecycleEvents) {
        let events = self.front_door.set_lifecycle(capacity);
        (self, events)
    }

    /// Allows pages of these origins to connect, beside the server's own; `*` allows all.
    #[must_use]
    pub fn with_allow_origins<O: Into<String>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Self {
        self.allow_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Allows requests for these hosts on a loopback address, beside localhost.
    #[must_use]
    pub fn with_allow_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.allow_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Believes these proxies when they say for whom they speak.
    #[must_use]
    pub fn with_trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A handle that stops the server, and returns its address, from another thread.
    pub fn handle(&self) -> Handle {
        self.front_door.handle()
    }

    /// Serves until stopped by [`Handle::stop`].
    ///
    /// By [`.wait()`](Operation::wait) it serves on the thread that waits. Awaited, it serves on a
    /// thread of its own; to drop the operation stops the server, and blocks nobody. Nothing happens
    /// before either.
    ///
    /// # Errors
    ///
    /// [`BridgeError::Address`] and [`BridgeError::Bind`] if the address cannot be resolved or
    /// bound, [`BridgeError::Io`] if the operating system refuses another resource,
    /// [`BridgeError::Ended`] if a thread of its own panicked. No client can cause an error.
    pub fn start(self, notifications: Notifications) -> Operation<Result<(), BridgeError>> {
        self.serve(|requests| Program::Feed(notifications, requests))
    }

    /// Starts, and serves on a thread of its own until the [`RunningBridge`] is dropped. Returns as
    /// soon as clients can connect.
    ///
    /// # Errors
    ///
    /// As those of [`Self::start`].
    pub fn spawn(self, notifications: Notifications) -> Result<RunningBridge, BridgeError> {
        let started = self.begin(|requests| Program::Feed(notifications, requests))?;
        RunningBridge::spawn(started)
    }

    /// Starts without a source of notifications but [`Handle::deliver`], and serves on a thread of
    /// its own until the [`RunningBridge`] is dropped.
    ///
    /// ```no_run
    /// let (server, _requests) = alle::WebSocketServer::new("127.0.0.1:8080");
    /// let server = server.spawn_alone()?;
    /// server.handle().deliver("news", "to every subscriber").wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As those of [`Self::start`].
    pub fn spawn_alone(self) -> Result<RunningBridge, BridgeError> {
        self.spawn(Notifications::none())
    }

    /// Serves clients, like [`Self::start`], in a protocol of the program's own
    /// instead of the bridge's: `on_message` is called with each message, in the order of its
    /// client, and its return value is sent to that client. The [`IncomingRequests`] stay empty.
    ///
    /// ```no_run
    /// let (server, _) = alle::WebSocketServer::new("127.0.0.1:8080");
    /// server.serve_messages(Some).wait()?; // an echo
    /// # Ok::<(), alle::BridgeError>(())
    /// ```
    ///
    /// The server answers pings, closes and violations of RFC 6455 itself. `on_message` runs on the
    /// thread that serves all clients and must not block. A client that does not read its replies
    /// is not read either. A message over [`Limits::message_bytes_max`] closes the connection with
    /// 1009, a message beyond [`Limits::client_rate_max`] with 1008, a reply that exceeds
    /// [`Limits::client_queue_bytes_max`] with 4008. The counters of the bridge's messages stay at
    /// zero.
    ///
    /// # Errors
    ///
    /// As those of [`Self::start`].
    pub fn serve_messages(
        self,
        mut on_message: impl FnMut(RawMessage) -> Option<RawMessage> + Send + 'static,
    ) -> Operation<Result<(), BridgeError>> {
        self.serve(|_| Program::Messages(Box::new(move |_, message| on_message(message))))
    }

    /// Serves as [`Self::serve_messages`] does, on a thread of its own until the [`RunningBridge`] is
    /// dropped, and tells whose each message is: [`Handle::send_to`] takes that name.
    ///
    /// ```no_run
    /// use alle::{RawMessage, WebSocketServer};
    ///
    /// let (server, _) = WebSocketServer::new("127.0.0.1:8080");
    /// let (server, events) = server.with_lifecycle(1_000);
    /// let server = server.spawn_messages(|client, message| {
    ///     println!("{client} says {message:?}");
    ///     None // no reply now
    /// })?;
    /// for event in &events {
    ///     if let alle::LifecycleEvent::Connected { client, .. } = event {
    ///         let welcome = RawMessage::Text("welcome".to_owned());
    ///         let waiting_bytes = server.handle().send_to(client, welcome).wait()?;
    ///         println!("{waiting_bytes} bytes wait for {client}");
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As those of [`Self::start`].
    pub fn spawn_messages(
        self,
        on_message: impl FnMut(ClientId, RawMessage) -> Option<RawMessage> + Send + 'static,
    ) -> Result<RunningBridge, BridgeError> {
        RunningBridge::spawn(self.begin(|_| Program::Messages(Box::new(on_message)))?)
    }

    fn serve(
        self,
        program: impl FnOnce(RequestSender) -> Program + Send + 'static,
    ) -> Operation<Result<(), BridgeError>> {
        let serving = running::serve(self.handle(), move || self.begin(program)?.run());
        Operation::unbegun(serving)
    }

    /// All that can fail.
    fn begin(
        mut self,
        program: impl FnOnce(RequestSender) -> Program,
    ) -> Result<Started, BridgeError> {
        if self.proxies.is_futile() {
            return Err(BridgeError::NoTrustedProxy);
        }
        let program = program(self.requests);
        let own = self.front_door.take_listener().map_err(BridgeError::Io)?;
        let listener = match own {
            Some(listener) => listener,
            None => startup::listen(&self.bind_addr)?,
        };
        let address = listener.local_addr().map_err(BridgeError::Io)?;
        let mut limits = self.limits;
        // Called in any case, since it raises the limit of open files.
        let clients_max = startup::clients_max();
        limits.clients_max.get_or_insert(clients_max);
        let mut access = Access {
            origins: OriginPolicy {
                allow_origins: self.allow_origins,
                allow_hosts: self.allow_hosts,
                allow_local_origins: false,
            },
            ..Access::default()
        };
        self.front_door.complete(&mut access);
        let settings = Settings {
            limits,
            access,
            tells_lifecycle: self.front_door.tells_lifecycle(),
            proxies: self.proxies,
            epoch_seed: startup::seed().map_err(BridgeError::Io)?,
            process: Some(process::figures),
            ..Settings::default()
        };
        let now = startup::now();
        let hub = match &program {
            Program::Feed(..) => Hub::with_feed(settings, now),
            Program::Messages(_) => Hub::with_messages(settings, now),
        };
        let opened = self.front_door.open(hub, listener);
        let (mut reactor, owner) = opened.map_err(BridgeError::Io)?;
        reactor.set_program(program);
        tracing::info!(target: "alle::bridge", "listening on ws://{address}");
        Ok(Started {
            reactor,
            address,
            admin_address: None,
            is_secured: false,
            owner,
        })
    }
}

impl fmt::Debug for WebSocketServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketServer")
            .field("bind_addr", &self.bind_addr)
            .finish_non_exhaustive()
    }
}
