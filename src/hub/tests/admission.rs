//! Connections there is no room for hear of it, and do not stay.

use std::time::Duration;

use super::world::World;
use crate::{config::Limits, hub::room::REFUSED_MAX, id::ClientId};

const HALF_A_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n";

fn world(handshakes_max: usize) -> World {
    World::with_limits(Limits {
        handshakes_max,
        ..Limits::default()
    })
}

fn unfinished(world: &mut World) -> ClientId {
    let client = world.connect();
    world.input(client, HALF_A_HEAD);
    client
}

fn evicted(world: &World) -> u64 {
    world.hub.metrics().handshakes_evicted
}

#[test]
fn of_too_many_unfinished_handshakes_the_oldest_gets_503() {
    let mut world = world(3);
    let there = [(); 3].map(|()| unfinished(&mut world));
    assert_eq!(evicted(&world), 0, "at the limit");
    let late = unfinished(&mut world);
    assert_eq!(evicted(&world), 1, "one over it");
    let told = world.received(there[0]);
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(
        told.contains("Retry-After: ") && told.contains("unfinished"),
        "{told}"
    );
    for younger in [there[1], there[2], late] {
        assert_eq!(world.received(younger), "");
    }
    assert_eq!(world.hub.gauges().clients_handshake, 3);
    world.pass(Duration::from_millis(1_250));
    assert!(!world.is_connected(there[0]), "told, and gone in a second");
    assert!(world.is_connected(there[1]));
}

#[test]
fn handshakes_that_finished_or_ended_make_room() {
    let mut world = world(3);
    for round in 0..20 {
        let (one, other) = (unfinished(&mut world), unfinished(&mut world));
        let open = world.client();
        assert_eq!(evicted(&world), 0, "round {round}");
        for client in [one, other, open] {
            world.disconnect(client);
        }
    }
    // The oldest that is unfinished, not the oldest that came.
    let first = world.client();
    let there = [(); 3].map(|()| unfinished(&mut world));
    unfinished(&mut world);
    assert_eq!((world.received(first).as_str(), evicted(&world)), ("", 1));
    assert!(world.received(there[0]).starts_with("HTTP/1.1 503 "));
}

/// Two clients, and as many mute connections as there is room for beyond them.
fn full() -> (World, Vec<ClientId>) {
    let mut world = World::with_limits(Limits {
        clients_max: Some(2),
        ..Limits::default()
    });
    world.client();
    world.client();
    let mute = (0..REFUSED_MAX).map(|_| unfinished(&mut world)).collect();
    (world, mute)
}

#[test]
fn mute_connections_keep_nobody_out() {
    let (mut world, mute) = full();
    assert!(!world.hub.has_room(), "they have just come");
    world.pass(Duration::from_millis(1));
    assert!(world.hub.has_room());
    assert_eq!(evicted(&world), 0, "at the limit");
    assert_eq!(world.upgrade(None, "").1, "503");
    assert!(!world.is_connected(mute[0]) && world.is_connected(mute[1]));
    assert_eq!(evicted(&world), 1, "one over it");
    let probe = world.connect();
    world.input(probe, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(world.received(probe).starts_with("HTTP/1.1 200 "));
    assert!(!world.is_connected(mute[1]) && world.is_connected(mute[2]));
    assert_eq!(world.hub.client_count(), 2 + REFUSED_MAX);
}

#[test]
fn when_nobody_is_mute_the_oldest_that_was_answered_makes_room() {
    let (mut world, mute) = full();
    for client in mute {
        world.disconnect(client);
    }
    let (first, status) = world.upgrade(None, "");
    assert_eq!(status, "503");
    let (second, _) = world.upgrade(None, "");
    for _ in 2..REFUSED_MAX {
        world.upgrade(None, "");
    }
    assert!(!world.hub.has_room(), "they have just been answered");
    world.pass(Duration::from_millis(1));
    assert!(world.hub.has_room());
    assert!(world.is_connected(first), "nobody came");
    assert_eq!(world.upgrade(None, "").1, "503");
    assert!(!world.is_connected(first) && world.is_connected(second));
}

#[test]
fn one_for_whom_no_descriptor_is_left_gets_503_whatever_it_asks() {
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ] {
        let mut world = World::connected();
        let excess = world.connect_excess();
        let (begin, end) = request.split_at(10);
        world.input(excess, begin.as_bytes());
        assert_eq!(world.received(excess), "", "its head is read first");
        world.input(excess, end.as_bytes());
        let told = world.received(excess);
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("Retry-After: "));
        assert!(world.is_connected(excess), "it may take its answer");
        world.pass(Duration::from_millis(1_250));
        assert!(!world.is_connected(excess));
    }
}

#[test]
fn one_for_whom_no_descriptor_is_left_has_a_second_to_ask() {
    let mut world = World::connected();
    let excess = world.connect_excess();
    world.input(excess, HALF_A_HEAD);
    world.pass(Duration::from_millis(900));
    assert!(world.is_connected(excess));
    world.pass(Duration::from_millis(350));
    assert!(!world.is_connected(excess));
    assert_eq!(world.hub.metrics().connections_excess, 1);
    // Its place belongs to another by now.
    let ann = world.client();
    world.pass(Duration::from_secs(5));
    assert!(world.is_connected(ann));
}

#[test]
fn handshakes_that_take_too_long_are_counted() {
    let mut world = World::connected();
    unfinished(&mut world);
    world.pass(Duration::from_secs(12));
    assert_eq!(world.hub.metrics().handshakes_timed_out, 1);
}
