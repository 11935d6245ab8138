//! Connections there is no room for hear of it, and do not stay.

use std::time::Duration;

use super::world::World;
use crate::{bridge::hub::ClientId, config::Limits};

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

fn crowded_out(world: &World) -> u64 {
    world.core.metrics().handshakes_crowded_out
}

#[test]
fn of_too_many_unfinished_handshakes_the_oldest_gets_503() {
    let mut world = world(3);
    let there = [(); 3].map(|()| unfinished(&mut world));
    assert_eq!(crowded_out(&world), 0, "at the limit");
    let late = unfinished(&mut world);
    assert_eq!(crowded_out(&world), 1, "one over it");
    let told = world.received(there[0]);
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(
        told.contains("Retry-After: ") && told.contains("unfinished"),
        "{told}"
    );
    for younger in [there[1], there[2], late] {
        assert_eq!(world.received(younger), "");
    }
    assert_eq!(world.core.hub.gauges().clients_handshake, 3);
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
        assert_eq!(crowded_out(&world), 0, "round {round}");
        for client in [one, other, open] {
            world.hang_up(client);
        }
    }
    assert!(world.core.hub.unfinished.len() <= 6, "nor are they kept");
    // The oldest that is unfinished, not the oldest that came.
    let first = world.client();
    let there = [(); 3].map(|()| unfinished(&mut world));
    unfinished(&mut world);
    assert_eq!(
        (world.received(first).as_str(), crowded_out(&world)),
        ("", 1)
    );
    assert!(world.received(there[0]).starts_with("HTTP/1.1 503 "));
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
    assert_eq!(world.core.metrics().connections_excess, 1);
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
    assert_eq!(world.core.metrics().handshakes_timed_out, 1);
}
