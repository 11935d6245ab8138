//! Somebody is asked about each client: it waits for the answer, and nobody else does.

use std::time::Duration;

use super::{frames::masked, world::World};
use crate::{
    access::{
        Access, Permissions,
        globs::Globs,
        visitor::{Verdict, Visitor},
    },
    hub::{Endpoints, Settings},
    id::ClientId,
};

const HEAD: &str = "GET /ws?who=ann HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nCookie: session=7\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn world() -> World {
    World::with_settings(Settings {
        access: Access {
            is_asked: true,
            ..Access::default()
        },
        ..Settings::default()
    })
}

/// A client that asks to come in, and says something without waiting for the answer.
fn visitor(world: &mut World, behind: &str) -> ClientId {
    let client = world.connect_from(Endpoints::from_peer("192.0.2.7".parse().unwrap()));
    let behind = masked(0x81, behind.as_bytes());
    world.input(client, &[HEAD.as_bytes(), &behind].concat());
    client
}

fn admit(subscribe: &str) -> Verdict {
    Verdict::Admit(Permissions {
        subscribe: Globs::parse(subscribe),
        publish: Globs::parse(""),
    })
}

fn answer(world: &mut World, client: ClientId, verdict: Verdict) {
    world.hub.handle_verdict(client, verdict);
    world.settle();
}

#[test]
fn a_client_waits_for_the_answer_about_it_and_loses_nothing_meanwhile() {
    let mut world = world();
    let client = visitor(&mut world, r#"{"type":"ping"}"#);
    let asked: Vec<(ClientId, Visitor)> = std::mem::take(&mut world.asked);
    assert_eq!(asked[0].0, client);
    let it = &asked[0].1;
    assert_eq!(it.address.unwrap().to_string(), "192.0.2.7");
    assert_eq!(it.query("who"), Some("ann"));
    assert_eq!(it.field("cookie"), Some("session=7"));
    assert!(world.hub.is_paused(client), "nothing more is read of it");
    assert_eq!(world.received(client), "");

    let more = masked(0x81, br#"{"type":"ping","id":2}"#);
    world.input(client, &more);
    answer(&mut world, client, admit("*"));
    let received = world.received(client);
    assert!(received.starts_with("HTTP/1.1 101 "), "{received}");
    assert_eq!(received.matches(r#""type":"pong""#).count(), 2);
    assert!(world.resumed.contains(&client) && !world.hub.is_paused(client));
    assert!(world.asked.is_empty(), "one question a client");
}

#[test]
fn the_permissions_of_the_answer_bind_the_client_and_end_with_it() {
    let mut world = world();
    let client = visitor(&mut world, r#"{"type":"subscribe","channel":"b"}"#);
    let other = visitor(&mut world, r#"{"type":"subscribe","channel":"b"}"#);
    answer(&mut world, client, admit("a*"));
    answer(&mut world, other, admit("b"));
    world.postgres_answers_all();
    assert!(world.received(client).contains(r#""code":"forbidden""#));
    assert!(world.received(other).contains(r#""type":"subscribed""#));
    assert_eq!(world.hub.authorization.access().grant_count(), 2);
    world.disconnect(client);
    assert_eq!(world.hub.authorization.access().grant_count(), 1);
    world.input(other, &masked(0x88, b""));
    assert_eq!(world.hub.authorization.access().grant_count(), 0);
}

#[test]
fn a_refusal_says_why_on_one_line() {
    for (verdict, status) in [
        (Verdict::Refuse("not\nyou".to_owned()), "403"),
        (Verdict::Unauthenticated("not\nyou".to_owned()), "401"),
        (Verdict::Unavailable("not\nyou".to_owned()), "503"),
    ] {
        let mut world = world();
        let client = visitor(&mut world, "");
        answer(&mut world, client, verdict);
        let received = world.received(client);
        assert!(
            received.starts_with(&format!("HTTP/1.1 {status} ")),
            "{received}"
        );
        assert!(received.ends_with("\r\n\r\nnot\\nyou\n"), "{received}");
        assert_eq!(world.hub.authorization.access().grant_count(), 0);
    }
}

#[test]
fn an_answer_that_comes_too_late_is_nobodys() {
    let mut world = world();
    let client = visitor(&mut world, "");
    world.disconnect(client);
    let next = visitor(&mut world, "");
    assert_eq!(next.slot, client.slot, "the slot is used again");
    answer(&mut world, client, admit("*"));
    assert_eq!(world.received(next), "");
    answer(&mut world, next, Verdict::Refuse("no".to_owned()));
    let told = world.received(next);
    assert!(told.starts_with("HTTP/1.1 403 "), "{told}");
    answer(&mut world, next, admit("*"));
    assert_eq!(world.received(next), told, "the first answer counts");
    assert_eq!(world.hub.authorization.access().grant_count(), 0);
}

#[test]
fn a_client_about_whom_nobody_answers_is_told_so_in_time() {
    let mut world = world();
    let client = visitor(&mut world, "");
    world.pass(Duration::from_millis(9_700));
    assert_eq!(world.received(client), "");
    world.pass(Duration::from_millis(600));
    let told = world.received(client);
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("in time"),
        "{told}"
    );
    answer(&mut world, client, admit("*"));
    assert_eq!(world.received(client), told);
}

#[test]
fn a_page_of_another_origin_is_refused_before_anybody_is_asked() {
    let mut world = world();
    let client = world.connect();
    let head = HEAD.replace("Cookie", "Origin: https://evil.example\r\nCookie");
    world.input(client, head.as_bytes());
    assert!(world.received(client).starts_with("HTTP/1.1 403 "));
    assert!(world.asked.is_empty());
}
