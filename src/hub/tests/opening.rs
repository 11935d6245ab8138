//! A session that is being opened has not failed: publishes wait for it, and no client is told.

use std::time::Duration;

use serde_json::json;

use super::world::World;
use crate::backend::Role;

const DOWN: &str = r#"{"type":"status","postgres":"down"}"#;
const NOTIFY: &str = r#"{"type":"notify","channel":"a","payload":"p","id":1}"#;

#[test]
fn in_the_first_seconds_of_a_process_publishes_wait_and_no_status_is_told() {
    let mut world = World::begun();
    let ann = world.client();
    world.send(ann, NOTIFY);
    assert_eq!(world.texts(ann), [""; 0]);
    Role::PAIR
        .into_iter()
        .for_each(|role| world.let_connect(role));
    world.postgres_answers_all();
    let notified = json!({"type": "notified", "channel": "a", "id": 1});
    assert_eq!(world.messages(ann), [notified]);
}

#[test]
fn a_first_attempt_that_fails_is_told_and_ends_what_waited() {
    let mut world = World::begun();
    let ann = world.client();
    world.send(ann, NOTIFY);
    world.refuse_connections = true;
    Role::PAIR
        .into_iter()
        .for_each(|role| world.let_connect(role));
    let told = world.messages(ann);
    let mut kinds: Vec<_> = told.iter().map(|it| it["type"].clone()).collect();
    kinds.sort_by_key(ToString::to_string);
    assert_eq!(kinds, ["error", "status"], "{told:?}");
    let error = told.iter().find(|it| it["type"] == "error").unwrap();
    assert_eq!(error["code"], "postgres_down");
    world.send(ann, NOTIFY);
    assert_eq!(world.messages(ann)[0]["code"], "postgres_down");
}

#[test]
fn a_first_attempt_that_hangs_is_waited_for_only_so_long() {
    let mut world = World::begun();
    let ann = world.client();
    world.send(ann, NOTIFY);
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.texts(ann), [""; 0]);
    world.pass(Duration::from_millis(1));
    let told = world.texts(ann);
    assert!(told.contains(&DOWN.to_owned()), "{told:?}");
    assert_eq!(told.len(), 2, "the publish has its answer: {told:?}");
    let bob = world.client();
    assert_eq!(world.texts(bob), [DOWN]);
}

/// Both sessions are lost, and the listening one comes back first.
#[test]
fn a_publish_right_after_status_up_waits_for_the_publishing_session() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.postgres_dies();
    world.pass(Duration::from_secs(30));
    assert_eq!(world.texts(ann), [DOWN]);
    world.refuse_connections = false;
    world.hold_connections = [false, true];
    world.pass(Duration::from_secs(2));
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["gap", "status"]);
    world.send(ann, NOTIFY);
    assert_eq!(world.texts(ann), [""; 0], "the publish waits");
    world.let_connect(Role::Publishing);
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["notified"]);
}

#[test]
fn a_session_that_gets_through_lets_the_other_one_try_at_once() {
    let mut world = World::connected();
    for _ in 0..20 {
        world.postgres_dies();
        world.pass(Duration::from_secs(30));
        world.refuse_connections = false;
        let is_up = |world: &mut World, role| world.hub.backend().unwrap().is_up(role);
        while !Role::PAIR.into_iter().any(|role| is_up(&mut world, role)) {
            world.pass(Duration::from_millis(1));
        }
        world.pass(Duration::from_millis(1));
        assert!(Role::PAIR.into_iter().all(|role| is_up(&mut world, role)));
    }
}
