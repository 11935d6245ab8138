//! What is counted, and what is not.

use std::time::Duration;

use super::world::World;
use crate::{config::Limits, ws::close};

fn closes(world: &World) -> Vec<(&'static str, u64)> {
    let closes = world.hub.metrics().closes.iter();
    closes.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn each_client_that_leaves_counts_once_by_why() {
    let limits = Limits {
        client_queue_bytes_max: 10_000,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let [gone, polite, wrong, _silent] = std::array::from_fn(|_| world.client());
    let slow = world.subscriber("a");
    world.disconnect(gone);
    assert_eq!(closes(&world), [(close::LOST_LABEL, 1)]);
    world.input(polite, b"\x88\x80\0\0\0\0");
    world.disconnect(polite);
    world.input(wrong, b"\xff\x80\0\0\0\0");
    world.disconnect(wrong);
    world.stall(slow, 0);
    for _ in 0..11 {
        world.notify("a", &"x".repeat(1_000));
    }
    world.disconnect(slow);
    world.pass(Duration::from_secs(50));
    let expected = [
        ("normal", 1),
        ("protocol_violation", 1),
        ("ping_timeout", 1),
        ("slow_consumer", 1),
        (close::LOST_LABEL, 1),
    ];
    assert_eq!(closes(&world), expected);
    assert_eq!(world.hub.metrics().handshakes, 5);
}

#[test]
fn a_client_closed_for_what_a_close_would_have_sent_it_counts_once() {
    let limits = Limits {
        client_queue_bytes_max: 10_000,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let ann = world.subscriber("a");
    world.hold_writes = true;
    for _ in 0..11 {
        world.notify("a", &"x".repeat(1_000));
    }
    world.stop();
    assert_eq!(closes(&world), [("slow_consumer", 1)]);
    world.hold_writes = false;
    assert_eq!(world.frames_and_close(ann).1, Some(4008));
}

#[test]
fn clients_are_counted_by_state() {
    let mut world = World::connected();
    let states = |world: &World| {
        let gauges = world.hub.gauges();
        (
            gauges.clients_handshake,
            gauges.clients_open,
            gauges.clients_closing,
        )
    };
    let ann = world.connect();
    let bob = world.client();
    assert_eq!(states(&world), (1, 1, 0));
    world.disconnect(ann);
    world.input(bob, b"\x88\x80\0\0\0\0");
    assert_eq!(states(&world), (0, 0, 1));
    world.disconnect(bob);
    assert_eq!(states(&world), (0, 0, 0));
}

#[test]
fn what_is_told_counts_once_for_each_who_is_told() {
    let mut world = World::connected();
    let (_ann, bob) = (world.subscriber("a"), world.subscriber("a"));
    world.notify("a", "1");
    world.disconnect(bob);
    world.notify("a", "2");
    world.postgres_dies();
    world.reconnect();
    world.postgres_answers_all();
    world.notify("nobody's", "3");
    let metrics = world.hub.metrics();
    assert_eq!(
        (metrics.deliveries, metrics.gaps, metrics.statuses),
        (3, 1, 2)
    );
    assert_eq!(
        (metrics.notifications, metrics.notifications_unrouted),
        (3, 1)
    );
    assert_eq!(
        (metrics.listening_connects, metrics.publishing_connects),
        (2, 2)
    );
}

#[test]
fn bytes_count_when_a_socket_takes_them() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    let before = world.hub.metrics().bytes_written;
    world.stall(ann, 5);
    world.notify("a", "0123456789");
    assert_eq!(world.hub.metrics().bytes_written, before + 5);
    let gauges = world.hub.gauges();
    assert_eq!(gauges.backlogs, 1);
    world.unstall(ann);
    let written = world.hub.metrics().bytes_written - before;
    assert_eq!(written, 5 + gauges.backlog_bytes as u64);
    assert_eq!(world.hub.gauges().backlog_bytes, 0);
}

#[test]
fn a_pass_takes_from_the_turn_that_read_to_the_one_that_served_the_last() {
    let mut world = World::connected();
    let _ann = world.subscriber("a");
    world.hold_writes = true;
    world.notify("a", "1");
    world.pass(Duration::from_millis(300));
    world.notify("a", "2");
    world.hold_writes = false;
    world.pass(Duration::from_millis(1));
    let latency = &world.hub.metrics().fan_out_latency;
    // The second pass, for the one that came meanwhile, found that it was sent with the first.
    assert_eq!((latency.count(), latency.sum()), (2, 300_000));
}

#[test]
fn errors_and_pages_count_by_what_was_said() {
    let mut world = World::connected();
    let ann = world.client();
    world.send(ann, "{");
    world.send(ann, r#"{"type":"subscribe","channel":""}"#);
    world.send(ann, r#"{"type":"subscribe","channel":"a"}"#);
    world.postgres_refuses("42501", "no");
    for request in [
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let bob = world.connect();
        world.input(bob, request.as_bytes());
    }
    let metrics = world.hub.metrics();
    let told: Vec<_> = metrics.errors.iter().filter(|it| it.1 > 0).collect();
    let expected = [
        ("bad_message", 1),
        ("bad_channel", 1),
        ("postgres_error", 1),
    ];
    assert_eq!(told, expected);
    let pages: Vec<_> = metrics
        .http_responses
        .iter()
        .filter(|it| it.1 > 0)
        .collect();
    assert_eq!(pages, [(200, 1), (400, 1)]);
}
