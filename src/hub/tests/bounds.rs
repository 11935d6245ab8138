//! What all clients together may make us keep, each bound at its edge.

use std::time::Duration;

use super::{frames::masked, world::World};
use crate::{config::Limits, hub::Settings, id::ClientId};

const PING: &str = r#"{"type":"ping"}"#;
const PONG_BYTES: usize = 17;

fn with_limits(limits: Limits) -> World {
    World::with_settings(Settings {
        limits,
        ..Settings::default()
    })
}

/// A client that reads nothing and has so many unread pongs.
fn mute(world: &mut World, pongs: usize) -> ClientId {
    let client = world.client();
    world.stall(client, 0);
    let pings: Vec<u8> = (0..pongs)
        .flat_map(|_| masked(0x81, PING.as_bytes()))
        .collect();
    world.input(client, &pings);
    client
}

#[test]
fn answers_of_all_clients_have_one_bound_and_the_costliest_client_goes() {
    for (bound, is_closed) in [
        (11 * PONG_BYTES - 1, true),
        (11 * PONG_BYTES, false),
        (11 * PONG_BYTES + 1, false),
    ] {
        let mut world = with_limits(Limits {
            owned_bytes_max: bound,
            ..Limits::default()
        });
        let small = mute(&mut world, 1);
        let large = mute(&mut world, 10);
        assert!(world.hub.owned_bytes() <= bound);
        for client in [small, large] {
            world.unstall(client);
        }
        assert_eq!(world.frames_and_close(small).1, None, "{bound}");
        let close = world.frames_and_close(large).1;
        assert_eq!(close, is_closed.then_some(1013), "{bound}");
    }
}

#[test]
fn input_that_is_not_complete_counts_as_well() {
    let mut world = with_limits(Limits {
        owned_bytes_max: 2_000,
        ..Limits::default()
    });
    let [ann, bob] = [(); 2].map(|()| world.client());
    let message = masked(0x81, &[b'x'; 1_900]);
    world.input(ann, &message[..200]);
    world.input(bob, &message[..1_500]);
    assert!(world.hub.owned_bytes() <= 2_000);
    assert!(world.is_connected(ann) && world.is_connected(bob));
    world.input(bob, &message[1_500..1_900]);
    world.input(ann, &message[200..400]);
    assert_eq!(world.frames_and_close(bob).1, Some(1013));
    assert_eq!(world.frames_and_close(ann).1, None);
    world.input(ann, &message[400..]);
    assert_eq!(world.types(ann), ["error"], "it goes on");
    assert_eq!(world.hub.owned_bytes(), 0);
}

#[test]
fn a_message_that_is_never_completed_has_a_deadline() {
    let mut world = World::connected();
    let ann = world.client();
    let message = masked(0x81, &[b'x'; 1_000]);
    world.input(ann, &message[..8]);
    for at in 8..10 {
        world.pass(Duration::from_secs(14));
        world.input(ann, &message[at..=at]);
    }
    assert_eq!(world.frames_and_close(ann).1, None);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.frames_and_close(ann).1, Some(1008));

    // A message begun is not one begun long ago.
    let bob = world.client();
    for _ in 0..10 {
        world.input(bob, &message[..8]);
        world.pass(Duration::from_secs(14));
        world.input(bob, &message[8..]);
    }
    assert_eq!(world.frames_and_close(bob).1, None);
}

#[test]
fn pings_and_pongs_between_fragments_give_a_message_no_more_time() {
    let (ping, pong, end) = (masked(0x89, b"p"), masked(0x8a, b""), masked(0x80, b"x"));
    for fragment in [&b""[..], b"x"] {
        for piece in [&ping, &pong] {
            let mut world = World::connected();
            let ann = world.client();
            world.input(ann, &masked(0x01, fragment));
            for _ in 0..2 {
                world.pass(Duration::from_secs(14));
                // In two pieces, as well.
                world.input(ann, &piece[..3]);
                world.input(ann, &piece[3..]);
            }
            assert_eq!(world.frames_and_close(ann).1, None);
            world.pass(Duration::from_secs(4));
            assert_eq!(world.frames_and_close(ann).1, Some(1008));

            // The next message has its own time, even where it begins with the end of such a one.
            let bob = world.client();
            let begin = masked(0x01, fragment);
            world.input(bob, &begin);
            for _ in 0..3 {
                world.pass(Duration::from_secs(20));
                world.input(bob, &[&piece[..], &end, &begin].concat());
            }
            assert_eq!(world.frames_and_close(bob).1, None);
        }
    }
}

#[test]
fn subscribes_and_publishes_that_wait_have_one_bound() {
    let subscribe = r#"{"type":"subscribe","channel":"a"}"#;
    let publish = r#"{"type":"notify","channel":"a","payload":"p","id":1}"#;
    let cost = |texts: &[&str]| {
        let mut world = with_limits(Limits::default());
        world.hold_backend = true;
        let ann = world.client();
        for text in texts {
            world.send(ann, text);
        }
        world.hub.waiting_bytes()
    };
    let [one, both] = [cost(&[subscribe]), cost(&[subscribe, publish])];
    assert!(0 < one && one < both);
    for (bound, expected) in [(both - 1, "rate_limited"), (both, "none")] {
        let mut world = with_limits(Limits {
            waiting_bytes_max: bound,
            ..Limits::default()
        });
        world.hold_backend = true;
        let ann = world.client();
        world.send(ann, subscribe);
        world.send(ann, publish);
        let messages = world.messages(ann);
        let code = messages
            .first()
            .map_or("none", |it| it["code"].as_str().unwrap());
        assert_eq!(code, expected, "{bound} of {both}");
        if code == "none" {
            world.send(ann, subscribe);
            assert_eq!(world.messages(ann)[0]["code"], "rate_limited");
        }
    }
}

#[test]
fn an_epoch_longer_than_ours_is_not_kept() {
    let cost = |epoch_bytes: usize| {
        let mut world = World::connected();
        world.hold_backend = true;
        let ann = world.client();
        let epoch = "e".repeat(epoch_bytes);
        let since = format!(r#"{{"epoch":"{epoch}","seq":7}}"#);
        let text = format!(r#"{{"type":"subscribe","channel":"a","since":{since}}}"#);
        world.send(ann, &text);
        let waiting = world.hub.waiting_bytes();
        world.hold_backend = false;
        world.postgres_answers_all();
        assert_eq!(world.messages(ann)[0]["recovered"], false);
        waiting
    };
    let [without, with] = [cost(0), cost(64)];
    assert_eq!(cost(63), without + 63);
    assert_eq!(with, without + 64);
    for bytes in [65, 60_000] {
        assert_eq!(cost(bytes), without, "{bytes}");
    }
}

#[test]
fn frames_of_the_history_are_held_once_for_all_that_come_back() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    for _ in 0..64 {
        world.notify("a", &"x".repeat(1_000));
    }
    world.texts(ann);
    let epoch = {
        world.send(ann, r#"{"type":"subscribe","channel":"a"}"#);
        world.messages(ann)[0]["epoch"].as_str().unwrap().to_owned()
    };
    let since = format!(r#"{{"epoch":"{epoch}","seq":0}}"#);
    let text = format!(r#"{{"type":"subscribe","channel":"a","since":{since}}}"#);
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let client = world.client();
            world.stall(client, 0);
            for _ in 0..30 {
                world.send(client, &text);
            }
            client
        })
        .collect();
    let history = world.hub.history_bytes();
    let retained = world.hub.delivery.retained_bytes();
    assert!(retained < 4 * history, "{retained} for {history}");
    assert!(world.hub.owned_bytes() < 20 * 30 * 200);
    for client in crowd {
        world.unstall(client);
        assert_eq!(world.types(client).len(), 30 * 65);
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.hub.delivery.retained_bytes(), 0);
}

#[test]
fn a_client_that_could_not_take_the_history_is_told_so_and_stays() {
    let mut world = with_limits(Limits {
        client_queue_bytes_max: 100_000,
        ..Limits::default()
    });
    let ann = world.subscriber("a");
    for _ in 0..64 {
        world.notify("a", &"x".repeat(2_000));
    }
    world.texts(ann);
    world.send(ann, r#"{"type":"subscribe","channel":"a"}"#);
    let epoch = world.messages(ann)[0]["epoch"].as_str().unwrap().to_owned();
    for (seq, recovered) in [(0, false), (10, false), (40, true), (64, true)] {
        let bob = world.client();
        let since = format!(r#"{{"epoch":"{epoch}","seq":{seq}}}"#);
        let text = format!(r#"{{"type":"subscribe","channel":"a","since":{since}}}"#);
        world.send(bob, &text);
        let (texts, close) = world.frames_and_close(bob);
        assert_eq!(close, None);
        let answer: serde_json::Value = serde_json::from_str(&texts[0]).unwrap();
        assert_eq!(answer["recovered"], recovered, "{seq}");
        assert_eq!(texts.len(), if recovered { 65 - seq } else { 1 }, "{seq}");
    }
}
