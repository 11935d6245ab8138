//! [`Bridge`]: configuration in, a running reactor out.

#![expect(
    clippy::disallowed_types,
    reason = "a listener of the program is taken here, and passed on to the reactor"
)]

mod access;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use self::access::{access, credential_files, warn_of_unbounded};
use crate::{
    access::{intent::Intent, visitor::Visitor},
    channel::{Channel, is_reserved},
    config::{BridgeConfig, Limits},
    error::BridgeError,
    front_door::FrontDoor,
    group_config,
    handle::Handle,
    hub::{
        Hub, Page, Settings,
        group::{GroupKey, GroupSettings},
    },
    id::ClientId,
    operation::Operation,
    process,
    queue::lifecycle::LifecycleEvents,
    reactor::{Listener, Reactor, TlsSource},
    running::{self, RunningBridge, Started},
    startup,
    ticket_keys::SharedTicketKeys,
    tickets::{AdmissionTicket, AuthorizationTicket},
};

/// WebSocket clients on one side, PostgreSQL's LISTEN/NOTIFY on the other.
///
/// ```no_run
/// use alle::{Bridge, BridgeConfig};
///
/// let config = BridgeConfig::new("postgresql://localhost/postgres", "127.0.0.1:8080")
///     .with_channels(["channel1", "channel2"]);
/// let bridge = Bridge::new(config);
/// bridge.run().wait()?;
/// # Ok::<(), alle::BridgeError>(())
/// ```
///
/// [`run`](Self::run) is for a program that does nothing else: it serves on the thread that waits.
/// [`spawn`](Self::spawn) is for any other program, with an async runtime or without: the bridge
/// gets a thread of its own, and ends when the program does.
pub struct Bridge {
    config: BridgeConfig,
    front_door: FrontDoor,
    admin_listener: Option<TcpListener>,
    signals: bool,
    exits: bool,
    log_lines_dropped: Arc<AtomicU64>,
    managed: bool,
    worker: Option<AsWorker>,
}

/// One of several on one port, which has a parent.
struct AsWorker {
    /// What is to be said once is said by the first one.
    is_first: bool,
    /// The name and the secret of the group of these workers.
    group: Option<(String, Vec<u8>)>,
    /// Those of all workers.
    ticket_keys: SharedTicketKeys,
}

impl Bridge {
    /// Nothing happens before [`Self::run`] or [`Self::spawn`].
    pub fn new(config: BridgeConfig) -> Self {
        Self {
            config,
            front_door: FrontDoor::default(),
            admin_listener: None,
            signals: false,
            exits: false,
            log_lines_dropped: Arc::default(),
            managed: false,
            worker: None,
        }
    }

    /// Accepts clients from this socket; [`BridgeConfig::ws_bind_addr`] means nothing then. It may
    /// be bound only, or listen already, and is made non-blocking.
    #[must_use]
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.front_door.set_listener(listener);
        self
    }

    /// Answers `/healthz`, `/readyz` and `/metrics` on this socket, and not beside the clients;
    /// [`BridgeConfig::admin_addr`] means nothing then.
    #[must_use]
    pub fn with_admin_listener(mut self, listener: TcpListener) -> Self {
        self.admin_listener = Some(listener);
        self
    }

    /// Asks the program about each client that wants to come in, in place of the token of its request:
    /// for an upgrade, for events (`/sse`), or to publish (`/publish/CHANNEL`), where each request of a
    /// connection is asked about by itself. [`Visitor::target`] tells which. The rules about `Origin` and
    /// `Host` hold before it. A reader of events whose answer is [`Verdict::Unavailable`](crate::Verdict)
    /// gets a stream that ends, and tries again, as it gets where there is no place.
    ///
    /// `admission` runs on the thread that serves all clients and must not block: what takes time it
    /// gives to somebody else, together with the ticket. The client waits meanwhile, the loop does
    /// not.
    ///
    /// ```no_run
    /// # use alle::{Bridge, BridgeConfig, Globs, Permissions, Verdict};
    /// # fn is_valid(_: &str) -> bool { true }
    /// # let bridge = Bridge::new(BridgeConfig::new("", "127.0.0.1:0"));
    /// let bridge = bridge.with_admission(|visitor, ticket| {
    ///     let cookie = visitor.field("Cookie").unwrap_or_default().to_owned();
    ///     std::thread::spawn(move || {
    ///         ticket.answer(if is_valid(&cookie) {
    ///             let subscribe = Globs::parse("orders.*");
    ///             Verdict::Admit(Permissions { subscribe, publish: Globs::parse("") })
    ///         } else {
    ///             Verdict::Unauthenticated("log in first".to_owned())
    ///         });
    ///     });
    /// });
    /// ```
    #[must_use]
    pub fn with_admission(
        mut self,
        admission: impl FnMut(Visitor, AdmissionTicket) + Send + 'static,
    ) -> Self {
        self.front_door.set_admission(admission);
        self
    }

    /// Asks the program about each subscribe and each publish that the bridge's permissions, and those
    /// of the client, allow: by a message, at `/sse` once for all channels of the stream, and at
    /// `/publish/CHANNEL`. An [`Intent`] that is refused is answered with `forbidden`.
    ///
    /// `authorization` runs on the thread that serves all clients and must not block: what takes time it
    /// gives to somebody else, together with the ticket. The client waits meanwhile, the loop does not.
    /// Nothing more is read of the client until then, so that its messages are answered in their order,
    /// and the program is asked one thing of each client at a time. A client that leaves takes its
    /// question with it. Without an answer within [`Limits::handshake_timeout`], or when the ticket is
    /// dropped, the answer is [`Decision::Unavailable`](crate::Decision).
    ///
    /// The [`ClientId`] is that of the client's [`Visitor`] and of its
    /// [`LifecycleEvent`](crate::LifecycleEvent)s. What is allowed once holds until the client
    /// unsubscribes.
    ///
    /// ```no_run
    /// # use alle::{Bridge, BridgeConfig, Decision};
    /// # let bridge = Bridge::new(BridgeConfig::new("", "127.0.0.1:0"));
    /// let bridge = bridge.with_authorization(|client, intent, ticket| {
    ///     std::thread::spawn(move || {
    ///         // The program's database says whether this client may do that.
    ///         println!("{client} wants {intent:?}");
    ///         ticket.answer(Decision::Allow);
    ///     });
    /// });
    /// ```
    #[must_use]
    pub fn with_authorization(
        mut self,
        authorization: impl FnMut(ClientId, Intent, AuthorizationTicket) + Send + 'static,
    ) -> Self {
        self.front_door.set_authorization(authorization);
        self
    }

    /// Tells the program of clients and of the bridge as they come and go. At most `capacity` events
    /// wait to be received: what does not fit is left out and counted, and the bridge waits for nobody.
    ///
    /// ```no_run
    /// # use alle::{Bridge, BridgeConfig, LifecycleEvent};
    /// # let bridge = Bridge::new(BridgeConfig::new("", "127.0.0.1:0"));
    /// let (bridge, events) = bridge.with_lifecycle(1_000);
    /// let bridge = bridge.spawn()?;
    /// for event in &events {
    ///     match event {
    ///         LifecycleEvent::Connected { client, address, .. } => println!("{client} {address:?}"),
    ///         LifecycleEvent::Closed { client, reason, .. } => println!("{client} left: {reason}"),
    ///         LifecycleEvent::Omitted(count) => println!("we were too slow for {count} events"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), alle::BridgeError>(())
    /// ```
    #[must_use]
    pub fn with_lifecycle(mut self, capacity: usize) -> (Self, LifecycleEvents) {
        let events = self.front_door.set_lifecycle(capacity);
        (self, events)
    }

    /// Stops on SIGINT and SIGTERM; a second one ends the bridge at once. With a token file, or
    /// [`Self::with_service_manager`], SIGHUP reads the file again, and ends the bridge only if
    /// the terminal of the process was closed.
    #[must_use]
    pub fn with_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// With [`Self::with_signals`], a second signal ends the process, with status 0 and without a
    /// word, whatever hangs: for a program that does nothing else.
    #[must_use]
    pub fn with_exit_on_second_signal(mut self) -> Self {
        self.exits = true;
        self
    }

    /// Tells `/metrics` how many lines the program's log dropped, where it drops some rather than
    /// wait for whoever reads them.
    #[must_use]
    pub fn with_log_lines_dropped(mut self, count: Arc<AtomicU64>) -> Self {
        self.log_lines_dropped = count;
        self
    }

    /// Uses the listening sockets that a service manager passes (systemd's socket activation), the
    /// one named `admin` for the admin address, and tells the manager when the bridge is ready and
    /// when it stops. Removes `LISTEN_FDS` and `LISTEN_PID` from the environment.
    #[must_use]
    pub fn with_service_manager(mut self) -> Self {
        self.managed = true;
        self
    }

    /// Is one of several on one port: it accepts clients when its parent says so, which answers for
    /// health and metrics as well, and belongs to this group, if none was configured. Tickets of TLS are
    /// made by these keys.
    #[must_use]
    pub(crate) fn with_parent(
        mut self,
        is_first: bool,
        group: Option<(String, Vec<u8>)>,
        ticket_keys: SharedTicketKeys,
    ) -> Self {
        self.worker = Some(AsWorker {
            is_first,
            group,
            ticket_keys,
        });
        self
    }

    /// A handle that stops the bridge, and returns its address, from another thread.
    pub fn handle(&self) -> Handle {
        self.front_door.handle()
    }

    /// Everything in the configuration that would keep the bridge from starting. Reads the files
    /// and asks for the addresses that it names; binds none, and connects to nothing.
    pub fn check(&self) -> Vec<BridgeError> {
        let postgres = startup::postgres_configs(&self.config).map_err(BridgeError::PostgresUrl);
        let mut faults: Vec<_> = postgres.err().into_iter().collect();
        faults.extend(self.channels().filter_map(Result::err));
        let of_addresses = startup::address_faults(&self.config, self.binds_both());
        faults.extend(of_addresses.into_iter().map(BridgeError::from));
        faults.extend(self.group().err());
        let function = startup::auth_function(&self.config);
        faults.extend(function.map_err(BridgeError::AuthFunction).err());
        faults.extend(self.tls().err());
        let mut files = credential_files(&self.config);
        faults.extend(access(&self.config, files.as_mut()).err());
        faults
    }

    /// Serves until stopped. A PostgreSQL that is down or refuses the bridge is retried without end.
    ///
    /// By [`.wait()`](Operation::wait) it serves on the thread that waits. Awaited, it serves on a
    /// thread of its own; to drop the operation stops the bridge, and blocks nobody. Nothing happens
    /// before either.
    ///
    /// # Errors
    ///
    /// Those of [`Self::spawn`], and [`BridgeError::Ended`] if a thread of its own panicked.
    pub fn run(self) -> Operation<Result<(), BridgeError>> {
        let serving = running::serve(self.handle(), move || self.start()?.run());
        Operation::unbegun(serving)
    }

    /// Starts, and serves on a thread of its own until the [`RunningBridge`] is dropped. Returns as
    /// soon as clients can connect.
    ///
    /// # Errors
    ///
    /// The bridge cannot start: [`BridgeError::PostgresUrl`], [`BridgeError::Channel`] and
    /// [`BridgeError::TokenFile`] if the configuration is wrong, [`BridgeError::OneAddress`],
    /// [`BridgeError::Address`] and
    /// [`BridgeError::Bind`] if the address cannot be resolved or bound, [`BridgeError::Passed`] by
    /// a service manager, [`BridgeError::Io`] if the operating system refuses another resource. No
    /// client and no PostgreSQL can cause an error.
    pub fn spawn(self) -> Result<RunningBridge, BridgeError> {
        RunningBridge::spawn(self.start()?)
    }

    /// All that can fail.
    fn start(mut self) -> Result<Started, BridgeError> {
        let postgres = startup::postgres_configs(&self.config).map_err(BridgeError::PostgresUrl)?;
        let channels = self.channels().collect::<Result<_, _>>()?;
        let group = self.group()?;
        let function = startup::auth_function(&self.config).map_err(BridgeError::AuthFunction)?;
        let tls = self.tls()?;
        let mut credential_files = credential_files(&self.config);
        let mut access = access(&self.config, credential_files.as_mut())?;
        self.front_door.complete(&mut access);
        // Last: a wrong configuration is told even where a port is taken.
        let (listener, admin) = self.listeners()?;
        let address = listener.local_addr().map_err(BridgeError::Io)?;
        let is_token_required = access.is_token_required();
        let is_guarded = is_token_required || access.is_asked;
        let speaks_for_all = self.speaks_for_all();
        if speaks_for_all {
            warn_of_unbounded(&self.config);
        }
        let admin_address = admin.as_ref().map(Listener::local_addr);
        let admin_address = admin_address.transpose().map_err(BridgeError::Io)?;
        let has_admin = admin_address.is_some() || self.worker.is_some();
        let admin_origins = has_admin.then(|| access.origins.clone());
        let settings = Settings {
            limits: self.limits(),
            access,
            tells_lifecycle: self.front_door.tells_lifecycle(),
            function,
            admin_origins,
            proxies: self.config.proxies.clone(),
            page: self.page(),
            channels,
            unlisten_delay: self.config.unlisten_delay,
            group,
            epoch_seed: startup::seed().map_err(BridgeError::Io)?,
            backend_seed: startup::seed().map_err(BridgeError::Io)?,
            log_lines_dropped: self.log_lines_dropped,
            process: Some(process::figures),
        };
        let hub = Hub::new(settings, postgres, startup::now());
        let opened = self.front_door.open(hub, listener);
        let (mut reactor, owner) = opened.map_err(BridgeError::Io)?;
        reactor.set_credential_files(credential_files);
        tls.map_or(Ok(()), |tls| reactor.set_tls(tls))
            .map_err(BridgeError::Io)?;
        if let Some(admin) = admin {
            reactor.set_admin(admin).map_err(BridgeError::Io)?;
        }
        if self.signals {
            // A service manager sends reloads too.
            let reloads = self.managed || is_token_required || self.config.tls.is_on();
            handle_signals(&mut reactor, self.config.drain, self.exits, reloads)
                .map_err(BridgeError::Io)?;
        }
        if self.worker.is_some() {
            reactor.hold_clients(true);
        } else {
            startup::announce(address, admin_address, &self.config.tls);
        }
        if speaks_for_all {
            warn_of_reach(address, is_guarded);
        }
        if let Some(service_manager) = self.managed.then(startup::service_manager).flatten() {
            reactor.set_service_manager(service_manager);
        }
        Ok(Started {
            reactor,
            address,
            admin_address,
            is_secured: self.config.tls.is_on(),
            owner,
        })
    }

    /// The channels that are listened to from the start.
    fn channels(&self) -> impl Iterator<Item = Result<Channel, BridgeError>> {
        self.config.channels.iter().map(|name| {
            let channel = Channel::new(name);
            let channel = channel.map_err(|error| BridgeError::Channel(name.clone(), error))?;
            if is_reserved(name) {
                return Err(BridgeError::ReservedChannel(name.clone()));
            }
            Ok(channel)
        })
    }

    /// The page at `/`, where it is wanted.
    fn page(&self) -> Option<Page> {
        let psql_url = self.config.playground_psql_url.as_deref();
        self.config.playground.then(|| Page::new(psql_url))
    }

    /// What each peer may cost, on this machine.
    fn limits(&self) -> Limits {
        let mut limits = self.config.limits.clone();
        // Called in any case, since it raises the limit of open files.
        let clients_max = startup::clients_max();
        limits.clients_max.get_or_insert(clients_max);
        limits
    }

    /// TLS with clients, where they are to speak it.
    fn tls(&self) -> Result<Option<TlsSource>, BridgeError> {
        let ticket_keys = self.worker.as_ref().map(|it| it.ticket_keys.clone());
        startup::tls(&self.config, ticket_keys).map_err(BridgeError::Tls)
    }

    /// Whether it is alone, or the first one.
    fn speaks_for_all(&self) -> bool {
        self.worker.as_ref().is_none_or(|it| it.is_first)
    }

    /// The group, where the bridge belongs to one: that of the configuration, else that of workers.
    fn group(&self) -> Result<Option<GroupSettings>, BridgeError> {
        let config = &self.config;
        let of_workers = self.worker.as_ref().and_then(|it| it.group.as_ref());
        match of_workers {
            Some((name, key)) if config.group.is_none() && config.group_key_file.is_none() => {
                group_config::of_workers(name, GroupKey::new(key), config).map(Some)
            }
            Some(_) | None => group_config::settings(config),
        }
    }

    /// Whether both listeners are as configured.
    fn binds_both(&self) -> bool {
        let is_one_given = self.front_door.has_listener() || self.admin_listener.is_some();
        let is_one_passed = self.managed && startup::are_sockets_passed() == Ok(true);
        !is_one_given && !is_one_passed
    }

    /// The listeners for clients and for the admin address: those of the program, else as passed,
    /// else as configured.
    fn listeners(&mut self) -> Result<(Listener, Option<Listener>), BridgeError> {
        let faults = self
            .binds_both()
            .then(|| startup::address_faults(&self.config, true));
        if let Some(fault) = faults.into_iter().flatten().next() {
            return Err(fault.into());
        }
        let passed = self
            .managed
            .then(|| startup::passed_listeners(1))
            .transpose();
        let mut passed = passed.map_err(BridgeError::Passed)?.unwrap_or_default();
        let own = self.front_door.take_listener().map_err(BridgeError::Io)?;
        let own_admin = self.admin_listener.take().map(Listener::from_std);
        let own_admin = own_admin.transpose().map_err(BridgeError::Io)?;
        let clients = match own.or_else(|| passed.clients.pop()) {
            Some(clients) => clients,
            None => startup::listen(&self.config.ws_bind_addr)?,
        };
        let admin = match (own_admin.or(passed.admin), &self.config.admin_addr) {
            (Some(admin), _) => Some(admin),
            (None, Some(address)) => Some(startup::listen(address)?),
            (None, None) => None,
        };
        Ok((clients, admin))
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn handle_signals(
    reactor: &mut Reactor,
    drain: Duration,
    exits: bool,
    reloads: bool,
) -> io::Result<()> {
    reactor.handle_signals(drain)?;
    if exits {
        reactor.exit_at_second_signal()?;
    }
    if reloads {
        reactor.handle_reloads()?;
    }
    Ok(())
}

/// Says in the log who can reach the bridge.
fn warn_of_reach(address: SocketAddr, is_token_required: bool) {
    if !address.ip().is_loopback() && !is_token_required {
        tracing::warn!(
            target: "alle::bridge",
            "{address} can be reached from other machines, and no token is required there: \
             see --token-file"
        );
    }
}
