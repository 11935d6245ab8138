//! A listening session is up when it heard what the publishing one said, and not before.

use std::time::Duration;

use serde_json::json;

use super::world::World;
use crate::backend::Role;

const DOWN: &str = r#"{"type":"status","postgres":"down"}"#;
const NOTIFY: &str = r#"{"type":"notify","channel":"a","payload":"p","id":1}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"a"}"#;

pub(super) fn readiness(world: &mut World) -> String {
    let stranger = world.connect();
    world.input(stranger, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.received(stranger)
}

#[test]
fn who_hears_nothing_is_not_up_and_says_so() {
    let mut world = World::deaf();
    let ann = world.client();
    world.send(ann, SUBSCRIBE);
    world.pass(Duration::from_secs(20));
    world.postgres_answers_all();
    assert_eq!(world.texts(ann), [DOWN], "nothing is promised");
    let ready = readiness(&mut world);
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("do not come back"), "{ready}");

    world.is_deaf = false;
    world.pass(Duration::from_secs(5));
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["subscribed", "status"]);
    assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
}

#[test]
fn who_falls_deaf_is_found_out_within_a_heartbeat_and_its_timeout() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.is_deaf = true;
    world.pass(Duration::from_secs(26));
    assert_eq!(world.texts(ann), [DOWN]);
    world.is_deaf = false;
    world.pass(Duration::from_secs(5));
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["gap", "status"]);
}

#[test]
fn who_hears_stays_up_for_ever() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    for _ in 0..100 {
        world.pass(Duration::from_secs(20));
        world.send_pong(ann);
    }
    assert_eq!(world.texts(ann), [""; 0]);
}

#[test]
fn a_lost_transaction_status_is_mended_and_the_channel_asked_for_again() {
    let mut world = World::connected();
    let ann = world.client();
    world.send(ann, SUBSCRIBE);
    let before = world.postgres_measured(Role::Listening);
    world.postgres_refuses("58P01", "could not access status of transaction 563");
    assert_eq!(world.messages(ann)[0]["code"], json!("postgres_error"));
    assert_eq!(world.postgres_measured(Role::Listening), before + 1);
}

#[test]
fn readiness_tells_what_keeps_us_away_now() {
    let mut world = World::deaf();
    world.pass(Duration::from_secs(5));
    assert!(readiness(&mut world).contains("do not come back"));
    world.postgres_dies();
    world.pass(Duration::from_secs(5));
    assert!(readiness(&mut world).contains("PostgreSQL is not connected"));
}

#[test]
fn a_refused_probe_takes_the_proof_back_with_its_reason() {
    let mut world = World::connected();
    for (sqlstate, text, is_at_once) in [
        ("0A000", "no notifications today", false),
        ("54000", "too many notifications in the NOTIFY queue", true),
    ] {
        let ann = world.client();
        let measured = world.postgres_measured(Role::Publishing);
        world.refuses_to_notify = Some((sqlstate, text));
        world.send(ann, NOTIFY);
        assert_eq!(world.messages(ann)[0]["sqlstate"], sqlstate);
        world.settle();
        if !is_at_once {
            // That may be of this publish alone.
            assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
            world.pass(Duration::from_secs(16));
        }
        let is_queue_looked_at = world.postgres_measured(Role::Publishing) > measured;
        assert!(is_queue_looked_at, "{sqlstate}");
        let ready = readiness(&mut world);
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        let why = format!("PostgreSQL refuses to notify: ERROR {sqlstate}: {text}");
        assert!(ready.contains(&why), "{ready}");
        world.refuses_to_notify = None;
        world.pass(Duration::from_secs(20));
        assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
    }
}

/// PostgreSQL has no privilege for NOTIFY itself.
#[test]
fn where_the_function_may_not_be_called_the_command_is_sent() {
    let mut world = World::connected();
    let ann = world.client();
    let refusal = ("42501", "permission denied for function pg_notify");
    world.refuses_to_notify = Some(refusal);
    world.send(ann, NOTIFY);
    let asked = world.publisher_asked();
    assert_eq!(asked, [r#"NOTIFY "a", E'p'"#]);
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["notified"]);
    assert!(readiness(&mut world).starts_with("HTTP/1.1 200"));
}
