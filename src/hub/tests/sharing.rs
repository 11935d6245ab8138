//! Channels when all their places are taken, and when clients leave them.

use std::time::Duration;

use serde_json::json;

use super::{frames::masked, world::World};
use crate::{config::Limits, hub::Settings, id::ClientId};

fn limited(channels_max: usize, subscriptions_max: usize) -> World {
    World::with_limits(Limits {
        channels_max,
        subscriptions_max,
        ..Limits::default()
    })
}

/// Subscribes to as many of these channels as it may; how many those are.
fn subscribe_all(world: &mut World, client: ClientId, prefix: &str, channels: usize) -> usize {
    let mut subscribed = 0;
    for channel in 0..channels {
        let channel = format!("{prefix}{channel}");
        let subscribe = json!({"type": "subscribe", "channel": channel});
        world.send(client, &subscribe.to_string());
        world.postgres_answers_all();
        match &world.messages(client)[..] {
            [it] if it["type"] == "subscribed" => subscribed += 1,
            [it] => assert_eq!(it["code"], "too_many_channels"),
            other => panic!("{other:?}"),
        }
    }
    subscribed
}

#[test]
fn clients_with_fewer_channels_of_their_own_get_the_last_places() {
    let mut world = limited(20, 20);
    let (ann, bob, cat) = (world.client(), world.client(), world.client());
    assert_eq!(subscribe_all(&mut world, ann, "a", 20), 13);
    assert_eq!(subscribe_all(&mut world, bob, "b", 20), 4);
    assert_eq!(subscribe_all(&mut world, cat, "c", 20), 1);
    world.send(ann, r#"{"type":"subscribe","channel":"a13"}"#);
    let refused = world.messages(ann);
    let text = "the bridge may listen to 20 channels, and the 2 that are left are for clients with \
                fewer of their own";
    assert_eq!(refused[0]["message"], text);
    // It is in use already.
    world.send(ann, r#"{"type":"subscribe","channel":"b0"}"#);
    assert_eq!(world.types(ann), ["subscribed"]);
    for channel in ["d", "e"] {
        let newcomer = world.client();
        assert_eq!(subscribe_all(&mut world, newcomer, channel, 2), 1);
    }
    let late = world.client();
    world.send(late, r#"{"type":"subscribe","channel":"late"}"#);
    let refused = world.messages(late);
    let text = "the bridge may listen to 20 channels, and each of them is in use";
    assert_eq!(refused[0]["message"], text);
}

/// With the defaults, a hundred times as many: 10 clients with 1,000 channels each.
#[test]
fn while_half_of_the_places_are_left_each_client_has_what_it_may() {
    let mut world = limited(200, 10);
    for client in 0..10 {
        let ann = world.client();
        let subscribed = subscribe_all(&mut world, ann, &format!("{client}-"), 10);
        assert_eq!(subscribed, 10, "{client}");
    }
    let bob = world.client();
    assert_eq!(subscribe_all(&mut world, bob, "last", 10), 9);
}

/// One pays, whoever of them it is: what they share is charged once.
#[test]
fn clients_that_share_their_channels_have_no_more_of_them() {
    let mut world = limited(20, 20);
    let (ann, bob) = (world.client(), world.client());
    assert_eq!(subscribe_all(&mut world, ann, "a", 20), 13);
    assert_eq!(subscribe_all(&mut world, bob, "a", 13), 13);
    world.disconnect(ann);
    assert_eq!(subscribe_all(&mut world, bob, "b", 7), 0, "it pays now");
    let cat = world.client();
    assert_eq!(subscribe_all(&mut world, cat, "c", 20), 4);
}

/// Their LISTENs wait in the order of clients, not in the order asked.
#[test]
fn a_newcomer_is_listened_for_before_all_that_others_asked_for() {
    let mut world = World::connected();
    let (ann, bob) = (world.client(), world.client());
    for channel in 0..600 {
        let subscribe = json!({"type": "subscribe", "channel": format!("a{channel}")});
        world.send(ann, &subscribe.to_string());
    }
    world.send(bob, r#"{"type":"subscribe","channel":"b"}"#);
    world.postgres_answers_all();
    let asked = world.postgres_asked();
    let at = asked.iter().position(|it| it == r#"LISTEN "b""#);
    assert!(at.is_some_and(|at| at <= WINDOW + 1), "{at:?}");
    assert_eq!(asked.len(), 601);
}

/// Commands on their way to PostgreSQL at a time.
const WINDOW: usize = 256;

#[test]
fn a_place_of_a_channel_without_subscribers_is_a_place_that_is_left() {
    let mut world = World::with_settings(Settings {
        limits: Limits {
            channels_max: 4,
            ..Limits::default()
        },
        unlisten_delay: Some(Duration::from_secs(10)),
        ..Settings::default()
    });
    let (ann, bob) = (world.client(), world.client());
    assert_eq!(subscribe_all(&mut world, ann, "a", 4), 4);
    assert_eq!(subscribe_all(&mut world, bob, "b", 1), 0);
    world.disconnect(ann);
    world.postgres_asked();
    assert_eq!(subscribe_all(&mut world, bob, "a", 2), 2, "they were kept");
    assert_eq!(world.postgres_asked(), [""; 0]);
    assert_eq!(subscribe_all(&mut world, bob, "b", 2), 2);
    let asked = world.postgres_asked();
    let unlistens = asked.iter().filter(|it| it.starts_with("UNLISTEN"));
    assert_eq!(unlistens.count(), 2, "{asked:?}");
    let dan = world.client();
    assert_eq!(subscribe_all(&mut world, dan, "d", 1), 0);
}

/// Ends a client; what PostgreSQL is asked within a second.
fn asked_after(end: impl FnOnce(&mut World, ClientId)) -> Vec<String> {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.postgres_asked();
    end(&mut world, ann);
    world.pass(Duration::from_secs(1));
    world.postgres_asked()
}

fn close_frame(code: &[u8]) -> Vec<u8> {
    masked(0x88, code)
}

#[test]
fn a_client_that_said_it_is_done_is_unlistened_at_once() {
    for code in [&b""[..], b"\x03\xe8", b"\x03\xe8bye"] {
        let asked = asked_after(|world, ann| world.input(ann, &close_frame(code)));
        assert_eq!(asked, [r#"UNLISTEN "a""#], "{code:?}");
    }
    let unsubscribe = r#"{"type":"unsubscribe","channel":"a"}"#;
    let asked = asked_after(|world, ann| world.send(ann, unsubscribe));
    assert_eq!(asked, [r#"UNLISTEN "a""#]);
}

#[test]
fn a_client_that_ends_in_any_other_way_may_come_back_within_10_s() {
    let ends: [fn(&mut World, ClientId); 5] = [
        |world, ann| world.disconnect(ann),
        |world, ann| world.input(ann, &close_frame(b"\x03\xe9")),
        |world, ann| world.input(ann, &close_frame(b"\x0b\xb8")),
        // We close it: it broke RFC 6455.
        |world, ann| world.input(ann, b"\x81\x00"),
        |world, ann| {
            world.stall(ann, 0);
            world.notify("a", "p");
            world.pass(Duration::from_secs(12));
            world.disconnect(ann);
        },
    ];
    for end in ends {
        assert_eq!(asked_after(end), [""; 0]);
    }
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.postgres_asked();
    world.disconnect(ann);
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.postgres_asked(), [""; 0]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.postgres_asked(), [r#"UNLISTEN "a""#]);
}

/// Somebody else's unsubscribe takes nothing from a client that may come back.
#[test]
fn a_lost_client_finds_its_channel_though_the_last_subscriber_was_done() {
    let mut world = World::connected();
    let (ann, bob) = (world.subscriber("a"), world.subscriber("a"));
    world.postgres_asked();
    world.disconnect(ann);
    world.pass(Duration::from_secs(4));
    world.input(bob, &close_frame(b""));
    world.pass(Duration::from_millis(5_999));
    assert_eq!(world.postgres_asked(), [""; 0]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.postgres_asked(), [r#"UNLISTEN "a""#]);
}

#[test]
fn a_delay_that_was_asked_for_is_that_of_every_end() {
    for (seconds, end) in [
        (0, b"".as_slice()),
        (0, b"\x03\xe9"),
        (3, b""),
        (3, b"\x03\xe9"),
    ] {
        let mut world = World::with_unlisten_delay(Duration::from_secs(seconds));
        let ann = world.subscriber("a");
        world.postgres_asked();
        world.input(ann, &close_frame(end));
        if seconds > 0 {
            world.pass(Duration::from_millis(2_999));
            assert_eq!(world.postgres_asked(), [""; 0], "{end:?}");
            world.pass(Duration::from_millis(1));
        }
        assert_eq!(world.postgres_asked(), [r#"UNLISTEN "a""#], "{end:?}");
    }
}

#[test]
fn the_longest_delay_is_for_ever() {
    let mut world = World::with_unlisten_delay(Duration::MAX);
    let ann = world.subscriber("a");
    world.postgres_asked();
    world.disconnect(ann);
    world.pass(Duration::from_secs(10_000));
    assert_eq!(world.postgres_asked(), [""; 0]);
}

#[test]
fn used_and_kept_channels_are_counted() {
    let mut world = World::connected();
    let (ann, _bob) = (world.subscriber("a"), world.subscriber("b"));
    world.disconnect(ann);
    let gauges = world.hub.gauges();
    assert_eq!((gauges.channels_used, gauges.channels_kept), (1, 1));
}
