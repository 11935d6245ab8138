//! The library in programs with an async runtime: Tokio, and smol.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests and what they share: they wait for what they expect, with a time-out"
)]
#![allow(unreachable_pub, reason = "a test binary has no public interface")]

use std::{
    error::Error,
    future::{Future, poll_fn},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::pin,
    process::Command,
    sync::mpsc::{self, Sender},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use alle::{
    Bridge, BridgeConfig, BridgeError, Handle, ListenerError, Notifications, PostgresListener,
    Received, RunningBridge, WebSocketServer,
    internals::sandbox::{Sandbox, shared},
};
use smol::{future::FutureExt as _, stream::StreamExt as _};
use tungstenite::{Message, WebSocket};

use example::example;
use patient::Patient;
use program::{Program, environment::clean};

#[path = "asynchronous/chat.rs"]
mod chat;
#[path = "support/example.rs"]
mod example;
#[path = "asynchronous/own_loop.rs"]
mod own_loop;
#[path = "support/patient.rs"]
mod patient;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the tests of the program need the rest")]
mod program;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What a test awaits, in each of the two runtimes.
fn in_tokio_and_smol<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(test());
    drop(tokio);
    smol::block_on(test());
}

fn database() -> String {
    let database = shared().create_database().unwrap();
    shared().url_for(&database)
}

async fn connect(capacity: usize) -> (PostgresListener, Notifications) {
    PostgresListener::connect(&database(), capacity)
        .await
        .unwrap()
}

/// An example that serves, and where.
fn started(name: &str) -> (Program, SocketAddr) {
    let mut command = Command::new(example(name));
    clean(&mut command);
    command.arg("127.0.0.1:0");
    let program = Program::start(command);
    let listening = program.stdout.next();
    let address = listening.trim_start_matches("listening on ws://");
    let address = address.parse().expect("an address");
    (program, address)
}

fn payload(received: Option<Received>) -> String {
    match received {
        Some(Received::Notification(it)) => it.payload,
        other => panic!("not a notification: {other:?}"),
    }
}

fn client(address: SocketAddr) -> WebSocket<Patient> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let url = format!("ws://{address}/");
    tungstenite::client(url, Patient(stream)).unwrap().0
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true");
        thread::yield_now();
    }
}

// ---- the examples of the README and of docs/library.md, word for word but for the addresses

#[rustfmt::skip]
async fn first_example(
    postgres_url: String,
    ws_bind_addr: String,
    started: Sender<Handle>,
) -> Result<(), Box<dyn Error>> {
    let config = BridgeConfig::new(
        postgres_url,
        ws_bind_addr,
    )
    .with_channels(vec!["channel1".to_string(), "channel2".to_string()]);

    let bridge = Bridge::new(config);
    started.send(bridge.handle())?;
    bridge.run().await?;
    Ok(())
}

#[rustfmt::skip]
async fn second_example(
    postgres_url: &str,
    ws_bind_addr: String,
    started: Sender<Handle>,
) -> Result<(), Box<dyn Error>> {
    // Connect to PostgreSQL
    let (pg_listener, notification_rx) =
        PostgresListener::connect(postgres_url, 1000).await?;

    // Listen to channels
    pg_listener.listen("my_channel").await?;

    // Send a notification
    pg_listener.notify("my_channel", "Hello from Rust!").await?;

    // Create WebSocket server
    let (ws_server, incoming_rx) = WebSocketServer::new(ws_bind_addr);

    // Start the server
    started.send(ws_server.handle())?;
    ws_server.start(notification_rx).await?;
    drop(incoming_rx);
    Ok(())
}

#[test]
fn the_examples_are_those_of_the_docs() {
    let readme = include_str!("../README.md");
    let (_, library) = readme.split_once("\n## The library\n").unwrap();
    let here = include_str!("asynchronous.rs");
    let mut here = here.lines().map(str::trim);
    let first = |page: &'static str| page.split("```rust,no_run\n").nth(1).unwrap();
    for block in [first(library), first(include_str!("../docs/library.md"))] {
        let (block, _) = block.split_once("```").unwrap();
        assert!(block.contains(".await?"), "{block}");
        let (_, body) = block.split_once("dyn std::error::Error>> {\n").unwrap();
        for line in body.lines().map(str::trim) {
            let is_address = line.contains("postgresql://") || line.contains("127.0.0.1");
            let is_here = is_address || here.any(|it| it == line);
            assert!(is_here, "not executed: {line}");
        }
    }
}

/// Tells when a client was served, and stops the server then.
fn visit(started: mpsc::Receiver<Handle>, channel: &'static str) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let handle = started.recv_timeout(TIMEOUT).unwrap();
        let mut client = client(handle.local_addr().expect("it serves"));
        let subscribe = format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
        client.send(Message::text(subscribe)).unwrap();
        while !client
            .read()
            .unwrap()
            .to_text()
            .unwrap()
            .contains("subscribed")
        {}
        handle.stop();
        while client.read().is_ok() {}
    })
}

#[test]
fn the_first_example_of_the_readme_serves_until_it_is_stopped() {
    in_tokio_and_smol(async || {
        let (told, started) = mpsc::channel();
        let visitor = visit(started, "channel1");
        first_example(database(), "127.0.0.1:0".to_string(), told)
            .await
            .unwrap();
        visitor.join().unwrap();
    });
}

#[test]
fn the_second_example_of_the_readme_serves_until_it_is_stopped() {
    in_tokio_and_smol(async || {
        let (told, started) = mpsc::channel();
        let visitor = visit(started, "my_channel");
        second_example(&database(), "127.0.0.1:0".to_string(), told)
            .await
            .unwrap();
        visitor.join().unwrap();
    });
}

// ---- a program that fails

/// The port is taken, `main` returns that error, and the process is over, whichever way the bridge
/// runs in it.
#[test]
fn a_program_whose_own_work_fails_ends_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(example("tokio"));
    clean(&mut command);
    let taken = taken.local_addr().unwrap().to_string();
    command.args([&database(), "127.0.0.1:0", &taken]);
    let program = Program::start(command);
    let listening = program.stdout.next();
    assert!(listening.starts_with("listening on ws://"), "{listening}");
    assert_eq!(program.exit_code(), Some(1));
    let said = program.stderr.rest();
    assert!(said[0].contains("in use"), "{said:?}");
}

#[test]
fn a_runtime_that_ends_does_not_wait_for_the_bridge_in_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bridge = Bridge::new(BridgeConfig::new(database(), "127.0.0.1:0"));
    let handle = bridge.handle();
    let failed = runtime.block_on(async {
        tokio::spawn(bridge.run());
        let taken = handle
            .local_addr()
            .expect("another thread of the runtime began it");
        tokio::net::TcpListener::bind(taken).await
    });
    assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    // It would wait here for ever for a task that blocks.
    drop(runtime);
    wait_until(|| handle.local_addr().is_none());
}

// ---- dropping

/// A client that does not answer the close frame is waited for, up to five seconds: but not here.
#[test]
fn to_drop_a_bridge_stops_it_and_blocks_nobody() {
    in_tokio_and_smol(async || {
        let config = BridgeConfig::new(database(), "127.0.0.1:0");
        let bridge = Bridge::new(config).spawn().unwrap();
        let mut client = client(bridge.local_addr());
        let handle = bridge.handle();
        drop(bridge);
        assert!(handle.local_addr().is_some(), "it is still closing");
        let closed = loop {
            match client.read() {
                Ok(Message::Close(frame)) => break frame.unwrap().code,
                Ok(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(u16::from(closed), 1001);
        while client.read().is_ok() {}
        wait_until(|| handle.local_addr().is_none());
    });
}

#[test]
fn a_stopped_bridge_has_closed_everybody_when_that_is_awaited() {
    in_tokio_and_smol(async || {
        let config = BridgeConfig::new(database(), "127.0.0.1:0");
        let bridge = Bridge::new(config).spawn().unwrap();
        let handle = bridge.handle();
        let mut client = client(bridge.local_addr());
        let leaving = thread::spawn(move || while client.read().is_ok() {});
        bridge.stop().await.unwrap();
        assert_eq!(handle.local_addr(), None);
        leaving.join().unwrap();
    });
}

/// A future that is dropped half-way waits no longer; what it asked for happens.
#[test]
fn a_dropped_call_takes_nothing_back() {
    in_tokio_and_smol(async || {
        let (listener, notifications) = connect(10).await;
        listener.listen("a").await.unwrap();
        let mut half_way = pin!(listener.notify("a", "polled once"));
        // It may have come to its end by then: on a busy machine PostgreSQL is as fast as that.
        let polled = poll_fn(|context| Poll::Ready(half_way.as_mut().poll(context))).await;
        assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(()))));
        drop(listener.notify("a", "never polled"));
        assert_eq!(payload(notifications.recv().await), "polled once");
        assert_eq!(payload(notifications.recv().await), "never polled");
    });
}

#[test]
fn to_drop_a_listener_finishes_its_calls_in_the_background() {
    let url = database();
    smol::block_on(async {
        let (hearing, notifications) = PostgresListener::connect(&url, 100).await.unwrap();
        hearing.listen("a").await.unwrap();
        let (speaking, unheard) = PostgresListener::connect(&url, 1).await.unwrap();
        for number in 0..50 {
            drop(speaking.notify("a", &number.to_string()));
        }
        drop(speaking);
        assert_eq!(unheard.recv().await, None);
        for number in 0..50 {
            assert_eq!(payload(notifications.recv().await), number.to_string());
        }
        hearing.close().await;
        assert_eq!(notifications.recv().await, None);
    });
}

/// The thread that connects looks at once whether anybody still wants the result.
#[test]
fn a_connect_that_is_dropped_leaves_no_session() {
    let database = shared().create_database().unwrap();
    drop(PostgresListener::connect(&shared().url_for(&database), 1));
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}';");
    wait_until(|| shared().psql("postgres", &sql).unwrap() == "0\n");
}

// ---- receiving

#[test]
fn notifications_are_a_stream_that_may_be_moved() {
    fn is_movable<T: Unpin + Send>() {}
    is_movable::<Notifications>();
    is_movable::<RunningBridge>();
    is_movable::<alle::Operation<()>>();
    in_tokio_and_smol(async || {
        let (listener, mut notifications) = connect(10).await;
        listener.listen("a").await.unwrap();
        let next = notifications.next();
        drop(listener.notify("a", "1"));
        assert_eq!(payload(next.await), "1");
        listener.notify("a", "2").await.unwrap();
        let mut payloads = Box::pin(notifications.map(Some).map(payload));
        assert_eq!(payloads.next().await.unwrap(), "2");
        listener.close().await;
        assert_eq!(payloads.next().await, None);
    });
}

#[test]
fn no_notification_is_lost_to_a_recv_that_is_dropped() {
    in_tokio_and_smol(async || {
        let (listener, notifications) = connect(1_000).await;
        listener.listen("a").await.unwrap();
        let received = async {
            for number in 0..200 {
                // One of two that wait is dropped each time.
                let two = notifications.recv().or(notifications.recv());
                assert_eq!(payload(two.await), number.to_string());
            }
        };
        let sent = async {
            for number in 0..200 {
                listener.notify("a", &number.to_string()).await.unwrap();
            }
        };
        smol::future::zip(received, sent).await;
    });
}

#[test]
fn the_sender_of_a_notification_is_known_by_its_process() {
    smol::block_on(async {
        let database = shared().create_database().unwrap();
        let url = shared().url_for(&database);
        let (listener, notifications) = PostgresListener::connect(&url, 9).await.unwrap();
        listener.listen("a").await.unwrap();
        let sql = "SELECT pg_backend_pid(); NOTIFY a;";
        let pid = shared().psql(&database, sql).unwrap();
        let Some(Received::Notification(it)) = notifications.recv().await else {
            panic!("no notification");
        };
        assert_eq!(it.process_id.to_string(), pid.trim());
    });
}

// ---- many calls at a time

#[test]
fn calls_go_out_in_their_order_without_waiting_for_each_other() {
    in_tokio_and_smol(async || {
        let (listener, notifications) = connect(1_000).await;
        listener.listen("a").await.unwrap();
        let numbers = (0..500).map(|number: i32| number.to_string());
        let calls: Vec<_> = numbers.map(|it| listener.notify("a", &it)).collect();
        for call in calls {
            call.await.unwrap();
        }
        for number in 0..500 {
            assert_eq!(payload(notifications.recv().await), number.to_string());
        }
    });
}

#[test]
fn unanswered_calls_are_bounded() {
    let sandbox = Sandbox::start().unwrap();
    let connect = PostgresListener::connect(&sandbox.unix_url("postgres"), 1);
    let (listener, _notifications) = connect.wait().unwrap();
    sandbox.pause().unwrap();
    let notify = || listener.notify("a", "");
    let calls: Vec<_> = (0..PostgresListener::CALLS_MAX).map(|_| notify()).collect();
    for _ in 0..2 {
        assert!(matches!(notify().wait(), Err(ListenerError::Crowded)));
    }
    sandbox.resume().unwrap();
    for call in calls {
        call.wait().unwrap();
    }
    notify().wait().unwrap();
}

// ---- errors

#[test]
fn what_cannot_start_says_why() {
    in_tokio_and_smol(async || {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken
            .local_addr()
            .map(|it| (taken, it.to_string()))
            .unwrap();
        let bridge = || Bridge::new(BridgeConfig::new("", &taken.1));
        assert!(matches!(bridge().run().await, Err(BridgeError::Bind(..))));
        assert!(matches!(bridge().spawn(), Err(BridgeError::Bind(..))));
        let error = PostgresListener::connect("mysql://x", 1).await.unwrap_err();
        assert!(matches!(error, ListenerError::Url(_)));
    });
}
