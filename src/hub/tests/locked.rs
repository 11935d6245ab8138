//! A publishing session that waits for somebody else's lock is not dead.

use std::time::Duration;

use serde_json::json;

use super::{proof::readiness, server::message, world::World};
use crate::backend::Role;

const PUBLISH: &str = r#"{"type":"notify","channel":"a","payload":"p","id":"1"}"#;
const LISTENING: usize = 0;
const PUBLISHING: usize = 1;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn locked() -> World {
    let mut world = World::connected();
    world.is_locked = true;
    world
}

#[test]
fn a_publish_waits_for_the_lock_and_is_answered_once_it_is_free() {
    let mut world = locked();
    let ann = world.client();
    world.send(ann, PUBLISH);
    world.pass(seconds(30));
    world.send_pong(ann);
    world.pass(seconds(29));
    assert_eq!(world.texts(ann), [""; 0]);
    world.unlock();
    assert_eq!(world.types(ann), ["notified"]);
    assert_eq!(world.given_up, [0, 0]);
}

#[test]
fn after_60_s_without_an_answer_the_publishing_session_alone_is_given_up() {
    let mut world = locked();
    let ann = world.client();
    world.send(ann, PUBLISH);
    world.pass(seconds(30));
    world.send_pong(ann);
    world.pass(seconds(29));
    assert_eq!(world.given_up, [0, 0]);
    world.pass(seconds(1));
    assert_eq!(world.given_up, [0, 1]);
    assert_eq!(world.cancelled, [0, 1]);
    let answer = &world.messages(ann)[0];
    assert_eq!(answer["code"], json!("unknown_outcome"));
}

#[test]
fn where_it_goes_another_way_it_is_given_up_as_usual() {
    let mut world = World::with_another_way();
    world.is_locked = true;
    world.pass(seconds(24));
    assert_eq!(world.given_up, [0, 0]);
    world.pass(seconds(1));
    assert_eq!(world.given_up, [0, 1]);
    world.pass(seconds(6));
    assert!(readiness(&mut world).starts_with("HTTP/1.1 503"));
}

#[test]
fn a_listening_session_that_is_silent_takes_the_publishing_one_with_it() {
    let mut world = World::connected();
    world.hold_backend = true;
    world.pass(seconds(25));
    assert_eq!(world.given_up, [1, 1]);
}

/// A session that never ends counts as one of ours, and so does the one in its place.
#[test]
fn no_second_session_is_given_up_before_the_first_has_ended() {
    let mut world = locked();
    world.hold_leaving = true;
    world.pass(seconds(600));
    assert_eq!(world.given_up, [0, 1]);
    world.given_up_ends(Role::Publishing);
    world.pass(seconds(10));
    assert_eq!(world.given_up, [0, 2]);
}

#[test]
fn a_session_that_does_not_end_is_cancelled_again_after_5_s_and_each_30_s() {
    let mut world = locked();
    world.hold_leaving = true;
    world.pass(seconds(60));
    for (passed, cancelled) in [(0, 1), (4, 1), (1, 2), (29, 2), (1, 3), (30, 4)] {
        world.pass(seconds(passed));
        assert_eq!(world.cancelled[PUBLISHING], cancelled);
    }
    world.given_up_ends(Role::Publishing);
    world.unlock();
    world.pass(seconds(60));
    assert_eq!(world.cancelled, [0, 4]);
}

/// Nothing is left of such a session that could be cancelled.
#[test]
fn a_session_whose_connection_ended_is_replaced_at_once() {
    let mut world = locked();
    world.hold_leaving = true;
    world.pass(seconds(61));
    assert_eq!(world.given_up, [0, 1]);
    world.sessions_end();
    world.is_locked = false;
    world.pass(seconds(1));
    assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
    assert_eq!(world.given_up, [0, 1]);
}

/// A relay that loses what passes may keep the connection of such a session for ever.
#[test]
fn a_session_is_not_waited_for_once_the_one_in_its_place_works() {
    let mut world = World::connected();
    world.hold_leaving = true;
    for round in 1..=3 {
        world.hold_backend = true;
        world.pass(seconds(26));
        assert_eq!(world.given_up, [round; 2]);
        world.hold_backend = false;
        world.reconnect();
        assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(world.cancelled, [3; 2]);
}

#[test]
fn readiness_ends_when_no_publish_commits_within_two_heartbeats() {
    let mut world = locked();
    world.pass(seconds(29));
    assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
    world.pass(seconds(2));
    let ready = readiness(&mut world);
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("lock for NOTIFY"), "{ready}");

    // A new session commits no publish either.
    world.pass(seconds(31));
    assert_eq!(world.given_up, [0, 1]);
    assert!(readiness(&mut world).starts_with("HTTP/1.1 503"));
    world.unlock();
    assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
}

#[test]
fn notices_are_no_life_for_ever() {
    let mut world = World::connected();
    let ann = world.client();
    world.hold_backend = true;
    for second in 0..60 {
        assert_eq!(world.given_up[LISTENING], 0, "after {second} s");
        for role in Role::PAIR {
            world.backend_says(role, &message(b'N', b"SNOTICE\0C00000\0Mhello\0\0"));
        }
        world.send_pong(ann);
        world.pass(seconds(1));
    }
    assert_eq!(world.given_up, [1, 1]);
}
