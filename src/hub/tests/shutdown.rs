//! The end, slowly and soon.

use std::time::Duration;

use super::{admin::world_with_admin, world::World};
use crate::{config::BridgeConfig, id::ClientId};

const SPAN: Duration = Duration::from_secs(10);
const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn open(world: &World) -> usize {
    world.hub.clients.open_count()
}

fn ask(world: &mut World, request: &[u8]) -> (ClientId, String) {
    let client = world.connect();
    world.input(client, request);
    let told = world.received(client);
    (client, told)
}

#[test]
fn draining_clients_are_closed_one_by_one_over_the_whole_span() {
    let mut world = World::connected();
    let clients: Vec<_> = (0..100).map(|_| world.client()).collect();
    world.drain(SPAN);
    assert_eq!(open(&world), 100, "nobody leaves at once");
    let mut left = Vec::new();
    for _ in 0..10 {
        let before = open(&world);
        world.pass(SPAN / 10);
        left.push(before - open(&world));
    }
    assert_eq!(left.iter().sum::<usize>(), 100);
    let evenly = 2..=25;
    assert!(left.iter().all(|count| evenly.contains(count)), "{left:?}");
    assert_eq!(world.hub.metrics().closes.count("going_away"), 100);
    for client in clients {
        if world.is_connected(client) {
            world.disconnect(client);
        }
    }
    assert!(world.is_stopped());
}

#[test]
fn while_draining_who_is_there_is_served_and_nobody_is_taken() {
    let mut world = World::connected();
    // Who leaves when is up to chance; of so many some are there after a quarter of the time.
    let clients: Vec<_> = (0..20).map(|_| world.subscriber("a")).collect();
    world.drain(SPAN);
    world.pass(SPAN / 4);
    world.notify("a", "late");
    let served = clients.iter().filter(|&&client| {
        let (frames, close) = world.frames_and_close(client);
        close.is_none() && frames.iter().any(|frame| frame.contains("late"))
    });
    let served = served.count();
    assert_eq!(served, open(&world));
    assert!(served > 5);
    let (_, told) = ask(&mut world, UPGRADE);
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("Retry-After: "),
        "{told}"
    );
    for (path, status) in [("/healthz", "200"), ("/readyz", "503"), ("/metrics", "200")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (_, told) = ask(&mut world, request.as_bytes());
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {told}"
        );
    }
    assert!(!world.is_stopped());
}

#[test]
fn draining_lasts_its_span_also_without_clients() {
    let mut world = World::connected();
    world.drain(SPAN);
    world.pass(SPAN - Duration::from_millis(1));
    assert!(!world.is_stopped() && !world.hub.is_stopping());
    world.pass(Duration::from_millis(1));
    assert!(world.is_stopped());
}

#[test]
fn draining_lasts_a_day_at_most_however_long_is_asked() {
    let day = BridgeConfig::DRAIN_MAX;
    for span in [day, day + Duration::from_secs(1), Duration::MAX] {
        let mut world = World::connected();
        world.client();
        world.drain(span);
        let end = world.now + day;
        assert_eq!(world.hub.shutdown.drained_at(), Some(end), "{span:?}");
    }
}

#[test]
fn a_draining_client_hears_of_its_publish_before_it_leaves() {
    let mut world = World::connected();
    let ann = world.client();
    world.send(
        ann,
        r#"{"type":"notify","channel":"a","payload":"p","id":1}"#,
    );
    world.drain(SPAN);
    world.pass(SPAN - Duration::from_millis(1));
    assert_eq!(open(&world), 1, "it awaits its answer");
    world.postgres_answers_all();
    world.pass(Duration::from_millis(1));
    let (frames, close) = world.frames_and_close(ann);
    assert!(frames[0].contains("notified"));
    assert_eq!(close, Some(1001));
}

#[test]
fn a_publish_without_an_answer_two_seconds_after_a_stop_has_an_unknown_outcome() {
    let mut world = World::connected();
    let ann = world.client();
    for id in 1..=2 {
        world.send(
            ann,
            &format!(r#"{{"type":"notify","channel":"a","payload":"{id}","id":{id}}}"#),
        );
    }
    world.stop();
    world.pass(Duration::from_millis(1_999));
    assert_eq!(open(&world), 1, "it awaits its answers");
    world.pass(Duration::from_millis(1));
    let (frames, close) = world.frames_and_close(ann);
    assert_eq!(frames.len(), 2);
    for (frame, id) in frames.iter().zip(1..) {
        assert!(frame.contains("unknown_outcome"), "{frame}");
        assert!(frame.contains(&format!(r#""id":{id}"#)), "{frame}");
    }
    assert_eq!(close, Some(1001));
    world.postgres_answers_all();
    assert!(world.frames_and_close(ann).0.is_empty(), "one answer each");
}

#[test]
fn a_stop_ends_draining() {
    let mut world = World::connected();
    let clients: Vec<_> = (0..10).map(|_| world.client()).collect();
    world.drain(SPAN);
    world.stop();
    assert_eq!(open(&world), 0);
    for client in clients {
        world.disconnect(client);
    }
    assert!(world.is_stopped());
    world.drain(SPAN);
    assert!(world.is_stopped(), "there is no way back");
}

#[test]
fn a_head_under_way_at_a_stop_is_answered_or_has_a_second() {
    let mut world = World::connected();
    let (slow, silent) = (world.connect(), world.connect());
    world.input(slow, &UPGRADE[..20]);
    world.stop();
    assert!(!world.is_stopped());
    world.input(slow, &UPGRADE[20..]);
    let told = world.received(slow);
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("Retry-After: "),
        "{told}"
    );
    world.disconnect(slow);
    world.pass(Duration::from_millis(900));
    assert!(world.is_connected(silent));
    world.pass(Duration::from_millis(350));
    assert!(!world.is_connected(silent));
    assert!(world.is_stopped());
}

#[test]
fn the_admin_address_answers_to_the_end_and_does_not_delay_it() {
    let mut world = world_with_admin();
    let ann = world.client();
    world.stop();
    let admin = world.connect_admin();
    world.input(admin, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let told = world.received(admin);
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("shutting down"),
        "{told}"
    );
    world.connect_admin();
    world.disconnect(ann);
    assert!(world.is_stopped());
}
