//! A bridge inside of a program, which is asked about clients, publishes, and asks how it goes.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests and what they share: they wait for what they expect, with a time-out"
)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use alle::{
    AdmissionTicket, AuthorizationTicket, Bridge, BridgeConfig, ClientId, Decision, Globs, Intent,
    LifecycleEvent, LifecycleEvents, Permissions, PublishError, RawMessage, RunningBridge,
    SendError, Verdict, Visitor, WebSocketServer, internals::sandbox::shared,
};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use patient::Patient;

#[path = "support/patient.rs"]
mod patient;

const TIMEOUT: Duration = Duration::from_secs(60);

fn bridge() -> Bridge {
    let database = shared().create_database().unwrap();
    Bridge::new(BridgeConfig::new(
        shared().url_for(&database),
        "127.0.0.1:0",
    ))
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true");
        thread::yield_now();
    }
}

fn ready(running: &RunningBridge) {
    wait_until(|| running.handle().readiness().wait().is_ok());
}

fn stream(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

struct Client(WebSocket<Patient>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let url = format!("ws://{address}/");
        Self(
            tungstenite::client(url, Patient(stream(address)))
                .unwrap()
                .0,
        )
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().expect("a message") {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] != "status" {
                    return message;
                }
            }
        }
    }

    #[track_caller]
    fn subscribe(&mut self, channel: &str) {
        self.say(&json!({"type": "subscribe", "channel": channel}));
        assert_eq!(self.hear()["type"], "subscribed");
    }

    #[track_caller]
    fn expect(&mut self, channel: &str, payload: &str) {
        let message = self.hear();
        assert_eq!(message["type"], "notification", "{message}");
        assert_eq!(message["channel"], channel);
        assert_eq!(message["payload"], payload);
    }
}

/// The status of the answer to an upgrade with these fields.
fn status(address: SocketAddr, fields: &str) -> String {
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    status_of(address, &head)
}

/// The status that is answered to a request.
fn status_of(address: SocketAddr, head: &str) -> String {
    let mut stream = stream(address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_program_says_who_may_come_in_and_where_to() {
    let running = bridge()
        .with_admission(|visitor, ticket| {
            let subscribe = match visitor.field("Cookie") {
                None => return ticket.answer(Verdict::Unauthenticated("log in".to_owned())),
                Some("session=7") => Globs::parse("orders.*"),
                Some(_) => return ticket.answer(Verdict::Refuse("not you".to_owned())),
            };
            ticket.answer(Verdict::Admit(Permissions {
                subscribe,
                publish: Globs::parse(""),
            }));
        })
        .spawn()
        .unwrap();
    let address = running.local_addr();
    assert_eq!(status(address, ""), "401");
    assert_eq!(status(address, "Cookie: session=8\r\n"), "403");
    assert_eq!(status(address, "Cookie: session=7\r\n"), "101");
    for (method, target, fields, expected) in [
        ("GET", "/sse?channel=orders.new", "", "401"),
        (
            "GET",
            "/sse?channel=orders.new",
            "Cookie: session=7\r\n",
            "200",
        ),
        ("GET", "/sse?channel=other", "Cookie: session=7\r\n", "403"),
        (
            "POST",
            "/publish/orders.new",
            "Cookie: session=8\r\n",
            "403",
        ),
        (
            "POST",
            "/publish/orders.new",
            "Cookie: session=7\r\n",
            "403",
        ),
    ] {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n{fields}\r\n"
        );
        assert_eq!(
            status_of(address, &head),
            expected,
            "{method} {target} {fields}"
        );
    }
    running.stop().wait().unwrap();
}

/// Answers come when the test says so, from another thread, and in another order than the clients.
#[test]
fn a_client_waits_for_its_answer_and_no_other_does() {
    let (asked, questions) = mpsc::channel::<(Visitor, AdmissionTicket)>();
    let running = bridge()
        .with_admission(move |visitor, ticket| asked.send((visitor, ticket)).unwrap())
        .spawn()
        .unwrap();
    let address = running.local_addr();
    let waiting = thread::spawn(move || status(address, "X-Who: first\r\n"));
    let (first, ticket_of_first) = questions.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(first.field("x-who"), Some("first"));
    assert!(first.address.unwrap().is_loopback());

    let second = thread::spawn(move || {
        let mut client = Client::connect(address);
        client.subscribe("a");
    });
    let (_, ticket) = questions.recv_timeout(TIMEOUT).unwrap();
    ticket.answer(Verdict::Admit(Permissions::default()));
    second.join().unwrap();
    drop(ticket_of_first);
    assert_eq!(waiting.join().unwrap(), "503", "nobody has answered");
    running.stop().wait().unwrap();
}

#[test]
fn the_program_publishes_and_delivers_in_order() {
    let running = bridge().spawn().unwrap();
    ready(&running);
    let handle = running.handle();
    let mut client = Client::connect(running.local_addr());
    client.subscribe("a");
    let calls: Vec<_> = (0..100)
        .map(|number| handle.publish("a", &number.to_string()))
        .collect();
    for call in calls {
        call.wait().unwrap();
    }
    for number in 0..100 {
        client.expect("a", &number.to_string());
    }
    handle.deliver("a", "x".repeat(20_000)).wait().unwrap();
    client.expect("a", &"x".repeat(20_000));
    handle.deliver("nobody's", "").wait().unwrap();
    for (channel, payload) in [("", "p"), ("a", "\0")] {
        let refused = handle.publish(channel, payload).wait();
        let is_refused = matches!(
            refused,
            Err(PublishError::Channel(_) | PublishError::Payload(_))
        );
        assert!(is_refused, "{refused:?}");
    }
    for refused in [
        handle.publish("alle group g", "p").wait(),
        handle.deliver("alle group g", "p").wait(),
    ] {
        assert!(
            matches!(refused, Err(PublishError::Reserved)),
            "{refused:?}"
        );
    }
    running.stop().wait().unwrap();
    let late = handle.publish("a", "late").wait();
    assert!(matches!(late, Err(PublishError::Stopped)), "{late:?}");
}

#[test]
fn the_program_asks_how_it_goes() {
    let running = bridge().spawn().unwrap();
    let handle = running.handle();
    ready(&running);
    let _client = Client::connect(running.local_addr());
    let metrics = handle.metrics().wait().unwrap();
    assert!(
        metrics.contains("alle_clients{state=\"open\"} 1"),
        "{metrics}"
    );
    handle.reload().wait().unwrap();
    running.stop().wait().unwrap();
    assert_eq!(handle.metrics().wait(), None);
    assert!(handle.readiness().wait().is_err());
}

#[test]
fn reloaded_tokens_count_from_then_on() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-token-0123456789\n").unwrap();
    let database = shared().create_database().unwrap();
    let config =
        BridgeConfig::new(shared().url_for(&database), "127.0.0.1:0").with_token_file(file.path());
    let running = Bridge::new(config).spawn().unwrap();
    let address = running.local_addr();
    let with = |token: &str| status(address, &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(with("first-token-0123456789"), "101");
    std::fs::write(file.path(), "second-token-0123456789\n").unwrap();
    running.handle().reload().wait().unwrap();
    assert_eq!(with("first-token-0123456789"), "401");
    assert_eq!(with("second-token-0123456789"), "101");
    std::fs::write(file.path(), "").unwrap();
    assert!(running.handle().reload().wait().is_err());
    assert_eq!(with("second-token-0123456789"), "101");
    running.stop().wait().unwrap();
}

/// Without PostgreSQL, and without a thread that feeds it.
#[test]
fn a_server_alone_delivers_what_its_program_says() {
    let (server, _requests) = WebSocketServer::new("127.0.0.1:0");
    let running = server.spawn_alone().unwrap();
    let mut client = Client::connect(running.local_addr());
    client.subscribe("a");
    let handle = running.handle();
    handle.deliver("a", "hello").wait().unwrap();
    client.expect("a", "hello");
    let published = handle.publish("a", "hello").wait();
    assert!(matches!(published, Err(PublishError::PostgresDown)));
    running.stop().wait().unwrap();
}

/// The next event of this kind; those before it are of no interest.
#[track_caller]
fn await_event<T>(
    events: &LifecycleEvents,
    mut find: impl FnMut(&LifecycleEvent) -> Option<T>,
) -> T {
    loop {
        let event = events.recv_timeout(TIMEOUT).expect("an event");
        if let Some(found) = find(&event) {
            return found;
        }
    }
}

fn connected(event: &LifecycleEvent) -> Option<ClientId> {
    match event {
        LifecycleEvent::Connected { client, .. } => Some(*client),
        _ => None,
    }
}

/// Answers come from another thread, when the test says so.
#[test]
fn the_program_says_what_a_client_may_do_and_when() {
    let (asked, questions) = mpsc::channel::<(ClientId, Intent, AuthorizationTicket)>();
    let (bridge, events) = bridge()
        .with_authorization(move |client, intent, ticket| {
            asked.send((client, intent, ticket)).unwrap();
        })
        .with_lifecycle(1_000);
    let running = bridge.spawn().unwrap();
    ready(&running);
    let mut client = Client::connect(running.local_addr());
    let name = await_event(&events, connected);
    for text in [
        json!({"type": "subscribe", "channel": "a", "id": 1}),
        json!({"type": "subscribe", "channel": "secret", "id": 2}),
        json!({"type": "notify", "channel": "a", "payload": "p", "id": 3}),
        json!({"type": "subscribe", "channel": "dropped", "id": 4}),
    ] {
        client.say(&text);
    }
    for (channel, decision) in [
        ("a", Some(Decision::Allow)),
        ("secret", Some(Decision::Refuse("not yours".to_owned()))),
        ("a", Some(Decision::Allow)),
        ("dropped", None),
    ] {
        let (asked, intent, ticket) = questions.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(asked, name);
        assert_eq!(intent.channel().unwrap().as_str(), channel);
        match decision {
            Some(decision) => ticket.answer(decision),
            None => drop(ticket),
        }
    }
    let mut answers: Vec<_> = (0..5).map(|_| client.hear()).collect();
    answers.retain(|it| it["type"] != "notification");
    answers.sort_by_key(|it| it["id"].as_u64());
    let told: Vec<_> = answers
        .iter()
        .map(|it| (it["type"].as_str().unwrap(), it["code"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("subscribed", None),
            ("error", Some("forbidden")),
            ("notified", None),
            ("error", Some("forbidden"))
        ]
    );
    assert_eq!(answers[1]["message"], "not yours");
    running.stop().wait().unwrap();
}

#[test]
fn the_program_is_told_of_its_clients_and_of_the_bridge() {
    let (bridge, events) = bridge().with_lifecycle(1_000);
    let running = bridge.spawn().unwrap();
    await_event(&events, |it| (*it == LifecycleEvent::Ready).then_some(()));
    let mut client = Client::connect(running.local_addr());
    client.subscribe("a");
    client.0.close(None).unwrap();
    let told: Vec<_> = (0..3)
        .map(|_| events.recv_timeout(TIMEOUT).unwrap())
        .collect();
    let name = connected(&told[0]).unwrap();
    let expected = LifecycleEvent::Subscribed {
        client: name,
        channel: alle::Channel::new("a").unwrap(),
    };
    assert_eq!(told[1], expected);
    let closed = matches!(&told[2], LifecycleEvent::Closed { client, reason: "normal", .. }
        if *client == name);
    assert!(closed, "{told:?}");
    running.stop().wait().unwrap();
    // It ends with the bridge.
    assert!(
        events
            .iter()
            .all(|it| !matches!(it, LifecycleEvent::Omitted(_)))
    );
}

/// A reader that never reads delays nobody, and learns how much it has missed.
#[test]
fn a_program_that_does_not_read_is_told_how_much_it_missed() {
    let (server, _requests) = WebSocketServer::new("127.0.0.1:0");
    let (server, events) = server.with_lifecycle(4);
    let running = server.spawn_alone().unwrap();
    let mut client = Client::connect(running.local_addr());
    for number in 0..100 {
        client.subscribe(&number.to_string());
    }
    drop(client);
    running.stop().wait().unwrap();
    let told: Vec<_> = events.iter().collect();
    assert_eq!(told[..2], [LifecycleEvent::Up, LifecycleEvent::Ready]);
    let omitted = told[4..].iter().map(|it| match it {
        LifecycleEvent::Omitted(count) => *count,
        other => panic!("{other:?}"),
    });
    // 100 subscriptions, the end of the client, and that of readiness.
    assert_eq!(omitted.collect::<Vec<_>>(), [101], "{told:?}");
}

/// In a protocol of its own: the name of a client comes with its messages, and with the event that it
/// came.
#[test]
fn the_program_sends_to_one_client_and_learns_what_waits_for_it() {
    let (heard, messages) = mpsc::channel();
    let (server, _requests) = WebSocketServer::new("127.0.0.1:0");
    let (server, events) = server.with_lifecycle(100);
    let running = server
        .spawn_messages(move |client, message| {
            heard.send((client, message)).unwrap();
            None
        })
        .unwrap();
    let handle = running.handle();
    let [(ann, mut her), (bob, mut him)] = [(); 2].map(|()| {
        let client = Client::connect(running.local_addr());
        (await_event(&events, connected), client)
    });
    her.0.send(Message::text("who am I?")).unwrap();
    let (speaker, _) = messages.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(speaker, ann);
    let hello = |name: &str| RawMessage::Text(json!({"type": "hello", "name": name}).to_string());
    for (client, name) in [(ann, "ann"), (bob, "bob")] {
        let waiting = handle.send_to(client, hello(name)).wait().unwrap();
        assert!(waiting >= hello(name).bytes(), "{waiting}");
    }
    assert_eq!(her.hear()["name"], "ann");
    assert_eq!(him.hear()["name"], "bob");

    // It does not read: the queue takes 16 MiB, and what the system takes before.
    let megabyte = || RawMessage::Binary(vec![0; 1024 * 1024]);
    let refused = (0..1_000).find_map(|_| handle.send_to(bob, megabyte()).wait().err());
    let Some(SendError::Full { waiting_bytes }) = refused else {
        panic!("{refused:?}");
    };
    assert!(waiting_bytes > 15 * 1024 * 1024, "{waiting_bytes}");
    let load = handle.load().wait().unwrap();
    assert_eq!((load.clients, load.backlogs), (2, 1), "{load:?}");
    assert!(load.backlog_bytes > 15 * 1024 * 1024, "{load:?}");
    handle.send_to(ann, hello("again")).wait().unwrap();
    assert_eq!(her.hear()["name"], "again", "nobody else waits");

    drop(him);
    await_event(&events, |it| match it {
        LifecycleEvent::Closed { client, .. } if *client == bob => Some(()),
        _ => None,
    });
    assert_eq!(
        handle.send_to(bob, hello("bob")).wait(),
        Err(SendError::Gone)
    );
    drop(her);
    running.stop().wait().unwrap();
    assert_eq!(
        handle.send_to(ann, hello("ann")).wait(),
        Err(SendError::Stopped)
    );
    assert_eq!(handle.load().wait(), None);
}

#[test]
fn the_program_narrows_what_a_client_may() {
    let permit = |subscribe: &str| Permissions {
        subscribe: Globs::parse(subscribe),
        publish: Globs::parse(""),
    };
    let (told, names) = mpsc::channel();
    let running = bridge()
        .with_admission(move |visitor, ticket| {
            told.send(visitor.client).unwrap();
            ticket.answer(Verdict::Admit(permit("a,b")));
        })
        .spawn()
        .unwrap();
    let mut client = Client::connect(running.local_addr());
    let name = names.recv_timeout(TIMEOUT).unwrap();
    client.subscribe("a");
    let handle = running.handle();
    assert!(handle.set_permissions(name, permit("a")).wait());
    client.say(&json!({"type": "subscribe", "channel": "b"}));
    assert_eq!(client.hear()["code"], "forbidden");
    assert!(handle.set_permissions(name, permit("b")).wait());
    let closed = client.0.read().unwrap();
    let is_closed = matches!(&closed, Message::Close(Some(it)) if u16::from(it.code) == 4003);
    assert!(is_closed, "{closed:?}");
    assert!(!handle.set_permissions(name, permit("a")).wait());
    drop(client);
    running.stop().wait().unwrap();
}
