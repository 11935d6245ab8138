//! Somebody is asked about each client: it waits for the answer, and nobody else does.

use std::time::Duration;

use super::{frames::masked, world::World};
use crate::{
    access::{
        Access, Permissions,
        globs::Globs,
        question::Ruling,
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
    let questions = world.program.questions.iter().rev();
    let question = *questions.clone().find(|it| it.client == client).unwrap();
    world.hub.handle_ruling(question, Ruling::Visit(verdict));
    world.settle();
}

#[test]
fn a_client_waits_for_the_answer_about_it_and_loses_nothing_meanwhile() {
    let mut world = world();
    let client = visitor(&mut world, r#"{"type":"ping"}"#);
    let asked: Vec<(ClientId, Visitor)> = std::mem::take(&mut world.program.asked);
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
    assert!(world.program.asked.is_empty(), "one question a client");
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

/// A request that is no upgrade.
fn request(world: &mut World, head: &str) -> ClientId {
    let client = world.connect();
    world.input(client, head.as_bytes());
    client
}

fn events(channel: &str) -> String {
    format!("GET /sse?channel={channel} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn publish(channel: &str, payload: &str) -> String {
    let bytes = payload.len();
    format!(
        "POST /publish/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n\
         {payload}"
    )
}

fn permit(subscribe: &str, publish: &str) -> Verdict {
    Verdict::Admit(Permissions {
        subscribe: Globs::parse(subscribe),
        publish: Globs::parse(publish),
    })
}

#[test]
fn a_reader_of_events_is_asked_about_and_has_the_permissions_of_the_answer() {
    for (channel, status) in [("ab", "200"), ("b", "403")] {
        let mut world = world();
        let client = request(&mut world, &events(channel));
        let (asked, visitor) = world.program.asked.pop().unwrap();
        assert_eq!((asked, visitor.query("channel")), (client, Some(channel)));
        assert_eq!(world.received(client), "");
        answer(&mut world, client, permit("a*", ""));
        world.postgres_answers_all();
        let received = world.received(client);
        let head = format!("HTTP/1.1 {status} ");
        assert!(received.starts_with(&head), "{received}");
        let is_in = status == "200";
        assert_eq!(received.contains(r#""type":"subscribed""#), is_in);
        let grants = world.hub.authorization.access().grant_count();
        assert_eq!(grants, usize::from(is_in));
        world.disconnect(client);
        assert_eq!(world.hub.authorization.access().grant_count(), 0);
    }
}

/// In a pipeline too: what is asked behind the first one waits, and is asked about by itself.
#[test]
fn each_publish_of_a_connection_is_asked_about_by_itself() {
    let mut world = world();
    let pipeline = [publish("ab", "1"), publish("b", "2"), events("ab")].concat();
    let client = request(&mut world, &pipeline);
    for (path, permission, statuses) in [
        ("/publish/ab", permit("", "a*"), &["200"][..]),
        ("/publish/b", permit("", "a*"), &["200", "403"]),
        ("/sse?channel=ab", permit("a*", ""), &["200", "403", "200"]),
    ] {
        world.settle();
        let (asked, visitor) = world.program.asked.pop().expect("asked about");
        assert_eq!((asked, &*visitor.target), (client, path));
        assert!(world.program.asked.is_empty() && world.hub.is_paused(client));
        answer(&mut world, client, permission);
        world.postgres_answers_all();
        world.settle();
        let received = world.received(client);
        let told = received.split("HTTP/1.1 ").skip(1);
        let told: Vec<_> = told.map(|it| &it[..3]).collect();
        assert_eq!(told, statuses, "{received}");
    }
    assert_eq!(world.hub.authorization.access().grant_count(), 1);
}

#[test]
fn a_reader_of_whom_nobody_can_tell_comes_again_and_a_publisher_is_told_so() {
    let mut world = world();
    let client = request(&mut world, &events("a"));
    answer(&mut world, client, Verdict::Unavailable("no\nw".to_owned()));
    let received = world.received(client);
    assert!(received.starts_with("HTTP/1.1 200 ") && received.contains("retry: "));
    assert!(
        received.contains("event: status") && received.contains(r"no\nw"),
        "{received}"
    );
    let client = request(&mut world, &publish("a", "1"));
    answer(
        &mut world,
        client,
        Verdict::Unavailable("not now".to_owned()),
    );
    let received = world.received(client);
    assert!(
        received.starts_with("HTTP/1.1 503 ") && received.contains("not now"),
        "{received}"
    );
    // A later request on the connection is asked about again, and for 10 s.
    world.input(client, publish("a", "2").as_bytes());
    assert_eq!(world.program.asked.last().unwrap().0, client);
    world.pass(Duration::from_secs(11));
    let received = world.received(client);
    assert_eq!(received.matches("HTTP/1.1 503 ").count(), 2, "{received}");
    assert!(received.contains("in time"), "{received}");
}

#[test]
fn a_page_of_another_origin_is_refused_before_anybody_is_asked() {
    let mut world = world();
    let client = world.connect();
    let head = HEAD.replace("Cookie", "Origin: https://evil.example\r\nCookie");
    world.input(client, head.as_bytes());
    assert!(world.received(client).starts_with("HTTP/1.1 403 "));
    assert!(world.program.asked.is_empty());
}
