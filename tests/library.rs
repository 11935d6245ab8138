//! The library as a program uses it, against a real PostgreSQL.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests and what they share: they wait for what they expect, with a time-out"
)]

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{RecvTimeoutError, TryRecvError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use alle::{
    Bridge, BridgeConfig, BridgeError, Handle, Incoming, IncomingRequests, ListenerError,
    Notifications, PostgresListener, Received, SessionError, WebSocketServer,
    internals::sandbox::{Sandbox, StopMode, shared},
};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use deserted::Deserted;
use patient::Patient;

#[path = "support/deserted.rs"]
#[expect(dead_code, reason = "the playground's tests need the rest")]
mod deserted;
#[path = "support/patient.rs"]
mod patient;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A database of its own, and a listener connected to it.
struct Fixture {
    database: String,
    listener: PostgresListener,
    notifications: Notifications,
}

impl Fixture {
    fn new(capacity: usize) -> Self {
        let database = shared().create_database().unwrap();
        let url = shared().url_for(&database);
        let (listener, notifications) = PostgresListener::connect(&url, capacity).wait().unwrap();
        Self {
            database,
            listener,
            notifications,
        }
    }

    fn psql(&self, sql: &str) -> String {
        shared().psql(&self.database, sql).unwrap()
    }

    /// Ends the session of this name; the bridge names two.
    fn terminate(&self, application_name: &str) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{}' AND application_name = '{application_name}';",
            self.database
        );
        assert_eq!(self.psql(&sql), "t\n");
    }

    #[track_caller]
    fn expect(&self, channel: &str, payload: &str) {
        expect(&self.notifications, channel, payload);
    }
}

#[track_caller]
fn expect(notifications: &Notifications, channel: &str, payload: &str) {
    match notifications.recv_timeout(TIMEOUT) {
        Ok(Received::Notification(it)) => {
            assert_eq!((it.channel.as_str(), &*it.payload), (channel, payload));
        }
        other => panic!("not [{channel}] {payload}: {other:?}"),
    }
}

#[track_caller]
fn expect_gap(notifications: &Notifications, channel: &str) {
    match notifications.recv_timeout(TIMEOUT) {
        Ok(Received::Gap(it)) => assert_eq!(it.as_str(), channel),
        other => panic!("not a gap of {channel}: {other:?}"),
    }
}

/// Repeats `condition` until it holds; each call takes time by itself.
#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true");
        thread::yield_now();
    }
}

#[test]
fn notifications_arrive_in_order() {
    let it = Fixture::new(1_000);
    it.listener.listen("my_channel").wait().unwrap();
    it.listener
        .notify("my_channel", "Hello from Rust!")
        .wait()
        .unwrap();
    it.psql("NOTIFY my_channel, 'and from SQL'; NOTIFY other, 'unheard'; NOTIFY my_channel;");
    it.expect("my_channel", "Hello from Rust!");
    it.expect("my_channel", "and from SQL");
    it.expect("my_channel", "");
    for number in 0..500 {
        it.listener
            .notify("my_channel", &number.to_string())
            .wait()
            .unwrap();
    }
    for number in 0..500 {
        it.expect("my_channel", &number.to_string());
    }
    assert_eq!(it.notifications.try_recv(), Err(TryRecvError::Empty));
}

/// Notifications that another session commits right after `listen` returned are received.
#[test]
fn listen_returns_after_postgres_confirmed_it() {
    let it = Fixture::new(1_000);
    let url = shared().url_for(&it.database);
    let (other, _notifications) = PostgresListener::connect(&url, 1).wait().unwrap();
    for number in 0..200 {
        let channel = format!("channel {number}");
        it.listener.listen(&channel).wait().unwrap();
        other.notify(&channel, "now").wait().unwrap();
        it.expect(&channel, "now");
    }
}

#[test]
fn unlisten_ends_it_and_names_are_exact() {
    let it = Fixture::new(1_000);
    for name in ["Orders", "orders", "a \"b\"; --", "🐘", "x.y"] {
        it.listener.listen(name).wait().unwrap();
        it.listener.listen(name).wait().unwrap();
        it.listener.notify(name, name).wait().unwrap();
        it.expect(name, name);
    }
    it.listener.unlisten("orders").wait().unwrap();
    it.listener.unlisten("orders").wait().unwrap();
    it.listener.unlisten("never listened to").wait().unwrap();
    it.listener.notify("orders", "unheard").wait().unwrap();
    it.listener.notify("Orders", "heard").wait().unwrap();
    it.expect("Orders", "heard");
    it.listener.listen("orders").wait().unwrap();
    it.listener.notify("orders", "heard again").wait().unwrap();
    it.expect("orders", "heard again");
}

#[test]
fn several_threads_listen_and_notify_at_once() {
    fn is_shareable<T: Send + Sync>() {}
    is_shareable::<PostgresListener>();
    is_shareable::<Notifications>();
    let it = Fixture::new(10_000);
    thread::scope(|scope| {
        for thread in 0..4 {
            let listener = &it.listener;
            scope.spawn(move || {
                for number in 0..50 {
                    let channel = format!("{thread} {}", number % 5);
                    listener.listen(&channel).wait().unwrap();
                    listener
                        .notify(&channel, &number.to_string())
                        .wait()
                        .unwrap();
                    if number >= 45 {
                        listener.unlisten(&channel).wait().unwrap();
                    }
                }
            });
        }
    });
    let received: Vec<_> = std::iter::from_fn(|| it.notifications.try_recv().ok()).collect();
    let mut next = [0; 4];
    for received in received {
        let Received::Notification(notification) = received else {
            panic!("{received:?}");
        };
        let thread: usize = notification.channel.as_str()[..1].parse().unwrap();
        let number: u32 = notification.payload.parse().unwrap();
        assert!(number >= next[thread], "in the order of its thread");
        next[thread] = number + 1;
    }
    assert!(next.iter().all(|&next| next >= 45), "{next:?}");
}

#[test]
fn a_full_queue_shows_what_it_dropped_and_goes_on() {
    let it = Fixture::new(3);
    it.listener.listen("c").wait().unwrap();
    it.listener.listen("end").wait().unwrap();
    for number in 0..10 {
        it.listener.notify("c", &number.to_string()).wait().unwrap();
    }
    // The listening session answers it, behind all notifications it had to deliver.
    it.listener.listen("barrier").wait().unwrap();
    for number in 0..3 {
        it.expect("c", &number.to_string());
    }
    it.listener.notify("end", "").wait().unwrap();
    assert_eq!(it.notifications.recv().wait(), Some(Received::Overflow));
    it.expect("end", "");
}

#[test]
fn after_a_lost_connection_each_channel_has_a_gap_and_is_heard_again() {
    let it = Fixture::new(1_000);
    for channel in ["a", "b", "dropped"] {
        it.listener.listen(channel).wait().unwrap();
    }
    it.listener.unlisten("dropped").wait().unwrap();
    it.listener.notify("a", "before").wait().unwrap();
    it.expect("a", "before");
    it.terminate("alle");
    let mut gaps = [(); 2].map(|()| it.notifications.recv_timeout(TIMEOUT).unwrap());
    gaps.sort_by_key(|gap| format!("{gap:?}"));
    let names = gaps.map(|gap| match gap {
        Received::Gap(channel) => channel.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(names, ["a", "b"]);
    it.psql("NOTIFY b, 'after'; NOTIFY a, 'after';");
    it.expect("b", "after");
    it.expect("a", "after");
}

#[test]
fn a_lost_publishing_session_comes_back_and_hearing_goes_on() {
    let it = Fixture::new(1_000);
    it.listener.listen("a").wait().unwrap();
    it.terminate("alle publish");
    it.psql("NOTIFY a, 'meanwhile';");
    it.expect("a", "meanwhile");
    wait_until(|| match it.listener.notify("a", "again").wait() {
        Ok(()) => true,
        Err(ListenerError::PostgresDown | ListenerError::UnknownOutcome) => false,
        Err(other) => panic!("{other}"),
    });
    it.expect("a", "again");
}

#[test]
fn while_postgres_is_down_calls_say_so_and_afterwards_it_goes_on() {
    let sandbox = Sandbox::start().unwrap();
    let (listener, notifications) = PostgresListener::connect(&sandbox.unix_url("postgres"), 9)
        .wait()
        .unwrap();
    listener.listen("a").wait().unwrap();
    listener.listen("b").wait().unwrap();
    sandbox.stop(StopMode::Fast).unwrap();
    wait_until(|| {
        matches!(
            listener.notify("a", "").wait(),
            Err(ListenerError::PostgresDown)
        )
    });
    wait_until(|| {
        matches!(
            listener.listen("new").wait(),
            Err(ListenerError::PostgresDown)
        )
    });
    listener.unlisten("b").wait().unwrap();
    sandbox.start_again().unwrap();
    expect_gap(&notifications, "a");
    for channel in ["b", "new", "a"] {
        sandbox
            .psql("postgres", &format!("NOTIFY {channel};"))
            .unwrap();
    }
    expect(&notifications, "a", "");
}

#[test]
fn dropping_the_listener_ends_its_sessions_and_the_receiver() {
    let Fixture {
        database,
        listener,
        notifications,
    } = Fixture::new(9);
    let sessions = || {
        // Autovacuum may be there as well.
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = '{database}' AND backend_type = 'client backend';"
        );
        shared().psql("postgres", &sql).unwrap()
    };
    assert_eq!(sessions(), "2\n");
    listener.listen("a").wait().unwrap();
    listener.notify("a", "last words").wait().unwrap();
    let waited = notifications.recv_timeout(TIMEOUT);
    assert!(waited.is_ok());
    assert_eq!(
        notifications.recv_timeout(Duration::from_millis(1)),
        Err(RecvTimeoutError::Timeout)
    );
    drop(listener);
    assert_eq!(notifications.recv().wait(), None);
    assert_eq!(
        notifications.recv_timeout(TIMEOUT),
        Err(RecvTimeoutError::Disconnected)
    );
    wait_until(|| sessions() == "0\n");
    let log = fs::read_to_string(shared().log_file()).unwrap();
    let lost = log
        .lines()
        .any(|line| line.contains("connection to client lost"));
    assert!(!lost, "Terminate was sent");
}

#[test]
fn publishing_goes_on_when_nobody_receives() {
    let Fixture {
        listener,
        notifications,
        ..
    } = Fixture::new(1);
    drop(notifications);
    listener.listen("a").wait().unwrap();
    listener.notify("a", "").wait().unwrap();
    listener.unlisten("a").wait().unwrap();
}

#[test]
fn arguments_are_checked_before_postgres_sees_them() {
    let it = Fixture::new(1);
    let long = "x".repeat(64);
    for channel in ["", "a\0b", &long] {
        let [listen, unlisten, notify] = [
            it.listener.listen(channel).wait(),
            it.listener.unlisten(channel).wait(),
            it.listener.notify(channel, "").wait(),
        ];
        for result in [listen, unlisten, notify] {
            assert!(
                matches!(result, Err(ListenerError::Channel(_))),
                "{result:?}"
            );
        }
    }
    for payload in ["\0".to_owned(), "x".repeat(8_000)] {
        let result = it.listener.notify("c", &payload).wait();
        assert!(
            matches!(result, Err(ListenerError::Payload(_))),
            "{result:?}"
        );
    }
    it.listener.notify("c", &"x".repeat(7_999)).wait().unwrap();
}

#[test]
fn connect_says_why_it_failed() {
    let connect = |url: &str| {
        PostgresListener::connect(url, 1)
            .wait()
            .map(drop)
            .unwrap_err()
    };
    let error = connect("mysql://localhost");
    assert!(matches!(error, ListenerError::Url(_)), "{error}");

    let error = connect(&shared().url_for("no such database"));
    assert!(is_refused(&error, "3D000"), "{error}");

    let nobody = Deserted::hold();
    let error = connect(&format!("postgres://ann@{}/x", nobody.address()));
    assert!(
        is_connection(&error, std::io::ErrorKind::ConnectionRefused),
        "{error}"
    );
}

#[test]
fn connect_gives_up_on_a_server_that_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ann@{}/x", silent.local_addr().unwrap());
    let begun = Instant::now();
    let error = PostgresListener::connect(&url, 1)
        .wait()
        .map(drop)
        .unwrap_err();
    assert!(
        is_connection(&error, std::io::ErrorKind::TimedOut),
        "{error}"
    );
    assert!(begun.elapsed() < TIMEOUT);
}

#[test]
fn connect_says_that_the_password_is_wrong_or_missing() {
    let sandbox = Sandbox::start().unwrap();
    sandbox
        .psql(
            "postgres",
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE ann LOGIN PASSWORD 'right';",
        )
        .unwrap();
    let access = sandbox.data_dir().join("pg_hba.conf");
    fs::write(
        access,
        "host all ann 127.0.0.1/32 scram-sha-256\nlocal all all trust\n",
    )
    .unwrap();
    sandbox
        .psql("postgres", "SELECT pg_reload_conf();")
        .unwrap();
    let connect = |login: &str| {
        let url = format!("postgres://{login}@127.0.0.1:{}/postgres", sandbox.port());
        PostgresListener::connect(&url, 1).wait().map(drop)
    };
    // The server reloads in its own time.
    let mut wrong = None;
    wait_until(|| {
        wrong = connect("ann:wrong").err();
        wrong.is_some()
    });
    let wrong = wrong.unwrap();
    assert!(is_refused(&wrong, "28P01"), "{wrong}");
    assert!(!wrong.to_string().contains("ann:wrong"));
    let missing = connect("ann").unwrap_err();
    assert!(
        matches!(&missing, ListenerError::Session { error, .. }
            if matches!(**error, SessionError::Authentication(_))),
        "{missing}"
    );
    connect("ann:right").unwrap();
}

fn is_refused(error: &ListenerError, sqlstate: &str) -> bool {
    matches!(error, ListenerError::Session { error, .. }
        if matches!(&**error, SessionError::Server(error) if error.sqlstate == sqlstate))
}

fn is_connection(error: &ListenerError, kind: std::io::ErrorKind) -> bool {
    matches!(error, ListenerError::Connection { error, .. } if error.kind() == kind)
}

/// A WebSocket server that runs in a thread, stopped at the end.
struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<Result<(), BridgeError>>>,
}

impl Running {
    fn start(
        handle: Handle,
        run: impl FnOnce() -> Result<(), BridgeError> + Send + 'static,
    ) -> Self {
        let thread = thread::spawn(run);
        let address = handle.local_addr().expect("it listens");
        Self {
            address,
            handle,
            thread: Some(thread),
        }
    }

    fn serve(notifications: Notifications) -> (Self, IncomingRequests) {
        let (server, incoming) = WebSocketServer::new("127.0.0.1:0");
        let running = Self::start(server.handle(), move || server.start(notifications).wait());
        (running, incoming)
    }

    fn stop(mut self) -> Result<(), BridgeError> {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(thread::panicking() || matches!(result, Ok(Ok(()))));
        }
    }
}

struct Client(WebSocket<Patient>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}/"), Patient(stream)).unwrap();
        Self(socket)
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message that is not a `status`, which depends on timing.
    #[track_caller]
    fn hear(&mut self) -> Value {
        loop {
            match self.0.read().expect("a message") {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "status" {
                        return message;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, expected: &[(&str, &str)]) {
        let message = self.hear();
        for (field, value) in expected {
            assert_eq!(message[field], *value, "{message}");
        }
    }

    #[track_caller]
    fn subscribe(&mut self, channel: &str) {
        self.say(&json!({"type": "subscribe", "channel": channel}));
        self.expect(&[("type", "subscribed"), ("channel", channel)]);
    }

    #[track_caller]
    fn expect_close(&mut self, code: u16) {
        loop {
            match self.0.read() {
                Ok(Message::Close(Some(frame))) => {
                    assert_eq!(u16::from(frame.code), code);
                    return;
                }
                Ok(Message::Text(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The user's own two halves, put together by a thread that listens for the clients.
#[test]
fn listener_and_server_make_a_bridge() {
    let it = Fixture::new(1_000);
    let (running, incoming) = Running::serve(it.notifications);
    let listener = it.listener;
    let between = thread::spawn(move || {
        for request in &incoming {
            match request {
                Incoming::Subscribe(channel) => listener.listen(channel.as_str()).wait(),
                Incoming::Unsubscribe(channel) => listener.unlisten(channel.as_str()).wait(),
                Incoming::Notify(channel, payload) => {
                    listener.notify(channel.as_str(), payload.as_str()).wait()
                }
                other => panic!("{other:?}"),
            }
            .unwrap();
        }
    });
    let [mut one, mut other] = [(); 2].map(|()| Client::connect(running.address));
    one.subscribe("news");
    other.subscribe("news");
    one.say(&json!({"type": "notify", "channel": "news", "payload": "hello", "id": 1}));
    one.expect(&[("type", "notified"), ("channel", "news")]);
    for client in [&mut one, &mut other] {
        client.expect(&[
            ("type", "notification"),
            ("channel", "news"),
            ("payload", "hello"),
        ]);
    }
    shared()
        .psql(&it.database, "NOTIFY news, 'from SQL';")
        .unwrap();
    for client in [&mut one, &mut other] {
        client.expect(&[("type", "notification"), ("payload", "from SQL")]);
    }
    running.stop().unwrap();
    one.expect_close(1001);
    between.join().unwrap();
}

#[test]
fn the_first_subscriber_and_the_last_are_told_of() {
    let it = Fixture::new(1);
    let (running, incoming) = Running::serve(it.notifications);
    let [mut one, mut other] = [(); 2].map(|()| Client::connect(running.address));
    one.subscribe("a");
    other.subscribe("a");
    let next = || incoming.recv_timeout(TIMEOUT).unwrap();
    assert!(matches!(next(), Incoming::Subscribe(channel) if channel.as_str() == "a"));
    one.say(&json!({"type": "unsubscribe", "channel": "a"}));
    one.expect(&[("type", "unsubscribed")]);
    assert_eq!(incoming.try_recv(), Err(TryRecvError::Empty));
    drop(other);
    assert!(matches!(next(), Incoming::Unsubscribe(channel) if channel.as_str() == "a"));
    running.stop().unwrap();
    assert_eq!(incoming.recv().wait(), None);
}

/// The user's plain example: `incoming` is never read.
#[test]
fn a_server_works_when_nobody_takes_its_requests() {
    let it = Fixture::new(1_000);
    it.listener.listen("a").wait().unwrap();
    let (running, incoming) = Running::serve(it.notifications);
    let mut client = Client::connect(running.address);
    client.subscribe("a");
    it.listener.notify("a", "1").wait().unwrap();
    client.expect(&[("type", "notification"), ("payload", "1")]);

    let notify = json!({"type": "notify", "channel": "a", "payload": "", "id": "n"});
    for _ in 0..IncomingRequests::PUBLISHES_MAX {
        client.say(&notify);
        client.expect(&[("type", "notified")]);
    }
    client.say(&notify);
    client.expect(&[("type", "error"), ("code", "rate_limited"), ("id", "n")]);
    drop(incoming);
    client.say(&notify);
    client.expect(&[("type", "error"), ("code", "postgres_down"), ("id", "n")]);
    client.subscribe("b");
    it.listener.notify("a", "2").wait().unwrap();
    client.expect(&[("type", "notification"), ("payload", "2")]);
}

#[test]
fn a_gap_of_the_listener_reaches_the_channel_s_subscribers() {
    let it = Fixture::new(1_000);
    it.listener.listen("a").wait().unwrap();
    it.listener.listen("b").wait().unwrap();
    let database = it.database.clone();
    let (running, _incoming) = Running::serve(it.notifications);
    let mut client = Client::connect(running.address);
    client.subscribe("a");
    let terminated = shared().psql(
        &database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'alle';",
    );
    assert_eq!(terminated.unwrap(), "t\n");
    client.expect(&[
        ("type", "gap"),
        ("channel", "a"),
        ("reason", "postgres_reconnect"),
    ]);
    wait_until(|| it.listener.listen("a").wait().is_ok());
    it.listener.notify("a", "after").wait().unwrap();
    client.expect(&[("type", "notification"), ("payload", "after")]);
}

#[test]
fn a_server_outlives_its_listener() {
    let it = Fixture::new(1);
    let (running, _incoming) = Running::serve(it.notifications);
    let mut client = Client::connect(running.address);
    drop(it.listener);
    client.subscribe("a");
}

#[test]
fn a_bridge_runs_in_a_thread_and_is_stopped() {
    let database = shared().create_database().unwrap();
    let config = BridgeConfig::new(shared().url_for(&database), "127.0.0.1:0".to_string())
        .with_channels(vec!["pinned".to_string()]);
    let bridge = Bridge::new(config);
    let running = Running::start(bridge.handle(), move || bridge.run().wait());
    let mut client = Client::connect(running.address);
    client.subscribe("pinned");
    client.subscribe("other");
    shared()
        .psql(&database, "NOTIFY other, 'x'; NOTIFY pinned;")
        .unwrap();
    client.expect(&[("type", "notification"), ("channel", "other")]);
    client.expect(&[("type", "notification"), ("channel", "pinned")]);
    let handle = running.handle.clone();
    running.stop().unwrap();
    client.expect_close(1001);
    assert_eq!(handle.local_addr(), None);
}

#[test]
fn stop_before_run_ends_it_at_once() {
    let bridge = Bridge::new(BridgeConfig::new(shared().url(), "127.0.0.1:0"));
    bridge.handle().stop();
    bridge.run().wait().unwrap();

    let it = Fixture::new(1);
    let (server, _incoming) = WebSocketServer::new("127.0.0.1:0");
    server.handle().stop();
    server.start(it.notifications).wait().unwrap();
}

#[test]
fn nobody_waits_for_the_address_of_a_server_that_never_starts() {
    let (server, _incoming) = WebSocketServer::new("127.0.0.1:0");
    let handle = server.handle();
    let waiting = thread::spawn(move || handle.local_addr());
    drop(server);
    assert_eq!(waiting.join().unwrap(), None);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupied.local_addr().unwrap().to_string();
    let start = |address: &str| {
        let (server, incoming) = WebSocketServer::new(address);
        let handle = server.handle();
        let it = Fixture::new(1);
        let error = server.start(it.notifications).wait().unwrap_err();
        assert_eq!(handle.local_addr(), None);
        assert_eq!(incoming.recv().wait(), None);
        error
    };
    assert!(matches!(start("nonsense"), BridgeError::Address(..)));
    assert!(matches!(start(&taken), BridgeError::Bind(..)));
    drop(occupied);
}

// ---- a bridge on a thread of its own

fn bridge() -> Bridge {
    let database = shared().create_database().unwrap();
    Bridge::new(BridgeConfig::new(
        shared().url_for(&database),
        "127.0.0.1:0",
    ))
}

#[test]
fn a_spawned_bridge_has_its_address_and_ends_with_its_owner() {
    let running = bridge().spawn().unwrap();
    let address = running.local_addr();
    assert_ne!(address.port(), 0);
    assert_eq!(running.ws_url(), format!("ws://{address}"));
    assert_eq!(running.admin_addr(), None);
    let handle = running.handle();
    assert_eq!(handle.local_addr(), Some(address));
    let mut client = Client::connect(address);
    client.subscribe("a");
    drop(running);
    client.expect_close(1001);
    drop(client);
    wait_until(|| handle.local_addr().is_none());
}

#[test]
fn a_stopped_bridge_leaves_its_address_to_the_next() {
    // The port is anybody's then, and a test beside this one may be faster.
    let mut tries = 0..10;
    let is_left = tries.any(|_| {
        let running = bridge().spawn().unwrap();
        let address = running.local_addr();
        Client::connect(address).subscribe("a");
        running.stop().wait().unwrap();
        TcpListener::bind(address).is_ok()
    });
    assert!(is_left);
}

#[test]
fn a_bridge_that_is_waited_for_ends_by_its_handle() {
    let running = bridge().spawn().unwrap();
    let handle = running.handle();
    let waiting = thread::spawn(move || running.wait());
    handle.stop();
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_drained_bridge_serves_its_clients_before_it_ends() {
    let running = bridge().spawn().unwrap();
    let address = running.local_addr();
    let mut client = Client::connect(address);
    client.subscribe("a");
    let drained = running.drain(Duration::from_millis(1));
    client.expect_close(1001);
    drop(client);
    drained.wait().unwrap();
}

#[test]
fn a_bridge_takes_listeners_of_the_program() {
    let [clients, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [address, admin_address] = [&clients, &admin].map(|it| it.local_addr().unwrap());
    let bridge = bridge().with_listener(clients).with_admin_listener(admin);
    let running = bridge.spawn().unwrap();
    assert_eq!(running.local_addr(), address);
    assert_eq!(running.admin_addr(), Some(admin_address));
    Client::connect(address).subscribe("a");
    running.stop().wait().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let it = Fixture::new(1);
    let (server, _incoming) = WebSocketServer::new("not used");
    let running = server.with_listener(listener).spawn(it.notifications);
    Client::connect(address).subscribe("a");
    running.unwrap().stop().wait().unwrap();
}
