//! What the log says of clients.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tracing::{Dispatch, Level, subscriber::NoSubscriber};
use tracing_subscriber::fmt;

use super::world::World;
use crate::id::ClientId;

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `play` makes the hub say of clients at this level and above, line by line, from the level on.
fn logged(level: Level, play: impl FnOnce()) -> Vec<String> {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let subscriber = fmt()
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .with_writer({
            let written = Arc::clone(&written);
            move || Sink(Arc::clone(&written))
        })
        .finish();
    // While there is one subscriber alone, tracing asks that of whichever thread comes to a line first
    // whether anybody wants it, and other tests have none.
    LazyLock::force(&ANOTHER);
    tracing::subscriber::with_default(subscriber, play);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let lines = text.lines().filter(|it| it.contains("alle::client: "));
    lines.map(|line| line.trim().to_owned()).collect()
}

static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

fn come(world: &mut World, fields: &str) -> ClientId {
    let (client, status) = world.upgrade(Some("192.0.2.1"), fields);
    assert_eq!(status, "101");
    client
}

fn subscribe(world: &mut World, client: ClientId, channel: &str) {
    world.send(
        client,
        &format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
    );
    world.postgres_answers_all();
}

#[test]
fn a_client_has_one_line_at_its_end() {
    let lines = logged(Level::INFO, || {
        let mut world = World::connected();
        let client = come(&mut world, "User-Agent: curl/8 \"x\"\r\n");
        subscribe(&mut world, client, "a");
        subscribe(&mut world, client, "b");
        for _ in 0..3 {
            world.notify("a", "p");
        }
        world.notify("b", "p");
        world.send(client, r#"{"type":"unsubscribe","channel":"b"}"#);
        world.notify("b", "not heard");
        world.send(client, "no JSON");
        world.pass(Duration::from_millis(1_500));
        world.input(
            client,
            &super::frames::masked(0x88, &1000_u16.to_be_bytes()),
        );
        world.disconnect(client);
    });
    // In: 2 subscribes, an unsubscribe, and what is none. Out: 4 answers and 4 notifications.
    assert_eq!(
        lines,
        [r#"INFO alle::client: a client left address=192.0.2.1 user_agent="curl/8 \"x\"" code=1000 "#
            .to_owned()
            + r#"reason="normal" seconds=1.5 subscriptions=1 messages_in=4 messages_out=8"#]
    );
}

/// Another epoch, a second subscribe and a return to a channel do not change the count.
#[test]
fn notifications_are_counted_across_epochs_and_subscribes() {
    let lines = logged(Level::INFO, || {
        let mut world = World::connected();
        let first = come(&mut world, "");
        subscribe(&mut world, first, "a");
        for _ in 0..5 {
            world.notify("a", "not for the second");
        }
        let client = come(&mut world, "");
        subscribe(&mut world, client, "a");
        subscribe(&mut world, client, "a");
        world.notify("a", "1");
        world.postgres_dies();
        world.reconnect();
        world.postgres_answers_all();
        world.notify("a", "2");
        world.send(client, r#"{"type":"unsubscribe","channel":"a"}"#);
        world.notify("a", "not heard");
        subscribe(&mut world, client, "a");
        world.notify("a", "3");
        world.disconnect(client);
    });
    let line = lines
        .iter()
        .find(|it| it.contains("a client left"))
        .unwrap();
    assert!(
        line.contains(r#"reason="lost""#) && !line.contains("code="),
        "{line}"
    );
    // 3 notifications, and the answers to 3 subscribes and an unsubscribe.
    assert!(line.ends_with("messages_in=4 messages_out=7"), "{line}");
}

#[test]
fn a_storm_has_fifty_lines_a_second_and_the_rest_is_counted() {
    let lines = logged(Level::INFO, || {
        let mut world = World::connected();
        let clients: Vec<_> = (0..60).map(|_| come(&mut world, "")).collect();
        for client in clients {
            world.disconnect(client);
        }
        assert_eq!(world.hub.metrics().client_lines_omitted, 10);
        world.pass(Duration::from_secs(1));
    });
    assert_eq!(lines.len(), 51);
    assert_eq!(lines[50], "INFO alle::client: 10 more clients left since");
}

#[test]
fn who_comes_and_subscribes_and_each_refusal_is_a_line_at_debug() {
    let lines = logged(Level::DEBUG, || {
        let mut world = World::connected();
        let client = come(&mut world, "");
        subscribe(&mut world, client, "a");
        for _ in 0..2 {
            world.upgrade(Some("192.0.2.7"), "Origin: http://evil.example\r\n");
        }
    });
    for expected in [
        "DEBUG alle::client: a client came client=0 address=192.0.2.1 transport=WebSocket",
        "DEBUG alle::client: subscribed client=0 channel=\"a\"",
        "WARN alle::client: refused 192.0.2.7 with 403: ",
        "DEBUG alle::client: refused 192.0.2.7 with 403: ",
    ] {
        assert!(
            lines.iter().any(|it| it.starts_with(expected)),
            "{lines:#?}"
        );
    }
}

#[test]
fn where_the_log_takes_no_such_lines_nothing_is_remembered_or_counted() {
    let lines = logged(Level::WARN, || {
        let mut world = World::connected();
        for _ in 0..60 {
            let client = come(&mut world, "");
            world.disconnect(client);
        }
        assert_eq!(world.hub.metrics().client_lines_omitted, 0);
    });
    assert!(lines.is_empty(), "{lines:?}");
}
