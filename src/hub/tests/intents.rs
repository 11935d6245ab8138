//! Somebody is asked about each thing that a client wants to do: it waits for the answer, what it says
//! behind that waits with it, and nobody else does.

use std::time::Duration;

use serde_json::json;

use super::{frames::masked, world::World};
use crate::{
    access::{
        Access, Permissions,
        globs::Globs,
        intent::{Decision, Intent},
        question::{QuestionId, Ruling},
        visitor::Verdict,
    },
    channel::Channel,
    config::Limits,
    hub::Settings,
    id::ClientId,
};

fn world_of(access: Access, limits: Limits) -> World {
    World::with_settings(Settings {
        limits,
        access: Access {
            asks_intents: true,
            ..access
        },
        ..Settings::default()
    })
}

fn world_with(limits: Limits) -> World {
    world_of(Access::default(), limits)
}

fn world() -> World {
    world_with(Limits::default())
}

fn subscribe_to(channels: &[&str]) -> Intent {
    Intent::Subscribe(
        channels
            .iter()
            .map(|it| Channel::new(it).unwrap())
            .collect(),
    )
}

/// The last question of the client.
fn question(world: &World, client: ClientId) -> QuestionId {
    let mut questions = world.program.questions.iter().rev();
    *questions.find(|it| it.client == client).expect("asked")
}

fn decide(world: &mut World, client: ClientId, decision: Decision) {
    let question = question(world, client);
    world.hub.handle_ruling(question, Ruling::Do(decision));
    world.settle();
}

fn refuse(text: &str) -> Decision {
    Decision::Refuse(text.to_owned())
}

const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"a","id":1}"#;

/// All in one read: the client's messages are asked about, and answered, one after the other.
#[test]
fn what_a_client_wants_waits_for_the_answer_and_what_is_behind_waits_with_it() {
    let mut world = world();
    let (client, other) = (world.client(), world.client());
    let texts = [
        r#"{"type":"ping","id":0}"#,
        SUBSCRIBE,
        r#"{"type":"ping","id":2}"#,
        r#"{"type":"notify","channel":"b","payload":"p","id":3}"#,
        r#"{"type":"unsubscribe","channel":"a","id":4}"#,
    ];
    let frames: Vec<_> = texts.iter().map(|it| masked(0x81, it.as_bytes())).collect();
    world.input(client, &frames.concat());
    assert_eq!(world.program.wanted, [(client, subscribe_to(&["a"]))]);
    assert_eq!(world.messages(client), [json!({"type": "pong", "id": 0})]);
    assert!(world.hub.is_paused(client) && world.postgres_asked().is_empty());

    world.send(other, r#"{"type":"ping"}"#);
    assert_eq!(world.types(other), ["pong"]);
    decide(&mut world, client, Decision::Allow);
    assert_eq!(world.postgres_asked(), [r#"LISTEN "a""#]);
    let wanted = world.program.wanted.last();
    assert_eq!(
        wanted,
        Some(&(client, Intent::Notify(Channel::new("b").unwrap())))
    );
    assert_eq!(world.types(client), ["pong"]);
    world.postgres_answers_all();
    assert_eq!(world.types(client), ["subscribed"]);

    decide(&mut world, client, refuse("not \"b\""));
    let answers = world.messages(client);
    assert_eq!(
        answers[0],
        json!({
            "type": "error", "code": "forbidden", "message": "not \"b\"", "channel": "b", "id": 3
        })
    );
    assert_eq!(
        answers[1],
        json!({"type": "unsubscribed", "channel": "a", "id": 4})
    );
    assert!(!world.hub.is_paused(client) && world.hub.metrics().publishes == 0);
    assert_eq!(world.program.wanted.len(), 2, "nothing else is asked about");
}

#[test]
fn without_an_answer_in_time_the_client_is_refused_and_goes_on() {
    let mut world = world();
    let client = world.client();
    world.send(client, SUBSCRIBE);
    world.pass(Duration::from_millis(9_700));
    assert!(world.messages(client).is_empty());
    world.pass(Duration::from_millis(600));
    let answers = world.messages(client);
    assert_eq!(
        (&answers[0]["code"], &answers[0]["id"]),
        (&json!("forbidden"), &json!(1))
    );
    assert!(answers[0]["message"].as_str().unwrap().contains("in time"));
    world.send(client, r#"{"type":"ping"}"#);
    assert_eq!(world.types(client), ["pong"]);
    assert!(world.postgres_asked().is_empty());
}

/// A client that waits for long is neither pinged nor given up.
#[test]
fn the_wait_is_not_the_clients_silence() {
    let limits = Limits {
        handshake_timeout: Duration::from_secs(120),
        ..Limits::default()
    };
    let mut world = world_with(limits);
    let client = world.client();
    world.send(client, SUBSCRIBE);
    world.pass(Duration::from_secs(100));
    assert_eq!(world.pings(client), 0);
    decide(&mut world, client, Decision::Allow);
    world.postgres_answers_all();
    assert_eq!(world.types(client), ["subscribed"]);
}

#[test]
fn an_answer_that_comes_too_late_is_not_that_to_the_next_question() {
    let mut world = world();
    let client = world.client();
    world.send(client, SUBSCRIBE);
    let late = question(&world, client);
    world.pass(Duration::from_secs(11));
    assert_eq!(world.types(client), ["error"]);
    world.send(client, r#"{"type":"subscribe","channel":"secret"}"#);
    world.hub.handle_ruling(late, Ruling::Do(Decision::Allow));
    world.settle();
    assert!(world.hub.is_paused(client) && world.postgres_asked().is_empty());
    // Nor is an answer to another kind of question.
    let admit = Ruling::Visit(Verdict::Admit(Permissions::default()));
    world.hub.handle_ruling(question(&world, client), admit);
    world.settle();
    assert!(world.hub.is_paused(client) && world.postgres_asked().is_empty());
    decide(&mut world, client, refuse("no"));
    assert_eq!(world.types(client), ["error"]);
}

#[test]
fn a_client_that_leaves_takes_its_question_with_it() {
    for is_close in [true, false] {
        let mut world = world();
        let client = world.client();
        world.send(client, SUBSCRIBE);
        assert!(world.hub.waiting_bytes() > 0);
        if is_close {
            world.stop();
        } else {
            world.disconnect(client);
        }
        assert_eq!(world.hub.waiting_bytes(), 0);
        decide(&mut world, client, Decision::Allow);
        assert!(world.postgres_asked().is_empty());
    }
}

#[test]
fn what_the_permissions_forbid_is_not_asked_about() {
    let mut world = world_of(
        Access {
            everybody: Permissions {
                subscribe: Globs::parse("a"),
                publish: Globs::parse("a"),
            },
            ..Access::default()
        },
        Limits::default(),
    );
    let client = world.client();
    for verb in ["subscribe", "notify"] {
        world.send(
            client,
            &format!(r#"{{"type":"{verb}","channel":"b","payload":"p"}}"#),
        );
        assert_eq!(world.messages(client)[0]["code"], "forbidden");
    }
    assert!(world.program.wanted.is_empty());
}

#[test]
fn what_waits_is_counted_and_refused_at_its_bound() {
    let waiting = {
        let mut world = world();
        let client = world.client();
        world.send(client, SUBSCRIBE);
        world.hub.waiting_bytes()
    };
    for (waiting_bytes_max, is_asked) in [(waiting - 1, false), (waiting, true)] {
        let limits = Limits {
            waiting_bytes_max,
            ..Limits::default()
        };
        let mut world = world_with(limits);
        let client = world.client();
        world.send(client, SUBSCRIBE);
        assert_eq!(world.program.wanted.len(), usize::from(is_asked));
        if !is_asked {
            let refused = world.messages(client).remove(0);
            assert_eq!(
                (&refused["code"], &refused["id"]),
                (&json!("rate_limited"), &json!(1))
            );
        }
    }
}

// ---- over HTTP

fn request(world: &mut World, head: &str) -> ClientId {
    let client = world.connect();
    world.input(client, head.as_bytes());
    client
}

fn events(channels: &str) -> String {
    format!("GET /sse?{channels} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn publish(channel: &str) -> String {
    format!("POST /publish/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\np")
}

#[test]
fn a_stream_is_asked_about_once_for_all_of_its_channels() {
    for (decision, status, text) in [
        (Decision::Allow, "200", r#""type":"subscribed""#),
        (refuse("not you"), "403", "not you"),
        (Decision::Unavailable("later".to_owned()), "200", "later"),
    ] {
        let mut world = world();
        let client = request(&mut world, &events("channel=a&channel=b"));
        assert_eq!(world.program.wanted, [(client, subscribe_to(&["a", "b"]))]);
        assert_eq!(world.received(client), "");
        decide(&mut world, client, decision.clone());
        world.postgres_answers_all();
        let received = world.received(client);
        assert!(
            received.starts_with(&format!("HTTP/1.1 {status} ")),
            "{received}"
        );
        assert!(received.contains(text), "{received}");
        let is_in = decision == Decision::Allow;
        assert_eq!(received.contains(r#""type":"subscribed""#), is_in);
    }
}

/// First whether it may come in, then whether it may do this; both again for the next request.
#[test]
fn a_request_is_asked_about_by_both_questions() {
    let mut world = world_of(
        Access {
            is_asked: true,
            ..Access::default()
        },
        Limits::default(),
    );
    let client = request(
        &mut world,
        &[publish("a"), publish("b"), events("channel=a")].concat(),
    );
    for (asked, decision) in [
        (1, refuse("no")),
        (2, Decision::Allow),
        (3, Decision::Allow),
    ] {
        assert_eq!(
            (world.program.asked.len(), world.program.wanted.len()),
            (asked, asked - 1)
        );
        let admit = Ruling::Visit(Verdict::Admit(Permissions::default()));
        world.hub.handle_ruling(question(&world, client), admit);
        world.settle();
        assert_eq!(
            (world.program.asked.len(), world.program.wanted.len()),
            (asked, asked)
        );
        assert_eq!(world.program.asked[asked - 1].1.client, client);
        decide(&mut world, client, decision);
        world.postgres_answers_all();
        world.settle();
    }
    let received = world.received(client);
    let told = received.split("HTTP/1.1 ").skip(1);
    let told: Vec<_> = told.map(|it| &it[..3]).collect();
    assert_eq!(told, ["403", "200", "200"], "{received}");
    assert_eq!(world.hub.authorization.access().grant_count(), 1);
}

#[test]
fn a_publish_about_which_nobody_answers_is_told_so_in_time() {
    let mut world = world();
    let client = request(&mut world, &publish("a"));
    let late = question(&world, client);
    world.pass(Duration::from_secs(11));
    let received = world.received(client);
    assert!(received.starts_with("HTTP/1.1 503 "), "{received}");
    assert!(received.contains("in time"), "{received}");
    world.input(client, publish("b").as_bytes());
    world.hub.handle_ruling(late, Ruling::Do(Decision::Allow));
    world.settle();
    assert!(world.hub.is_paused(client), "that was to another question");
    decide(&mut world, client, Decision::Allow);
    assert_eq!(world.hub.metrics().publishes, 1);
}

/// The permissions count when it is done, not when it was asked.
#[test]
fn what_is_forbidden_meanwhile_is_not_done_for_an_answer() {
    let permit = |subscribe: &str| Permissions {
        subscribe: Globs::parse(subscribe),
        publish: Globs::parse(""),
    };
    let mut world = world_of(
        Access {
            is_asked: true,
            ..Access::default()
        },
        Limits::default(),
    );
    let client = world.connect();
    let head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.input(client, head.as_bytes());
    let admit = Ruling::Visit(Verdict::Admit(permit("a")));
    world.hub.handle_ruling(question(&world, client), admit);
    world.take_head(client);
    world.send(client, SUBSCRIBE);
    assert!(world.hub.set_permissions(client, permit("b")));
    decide(&mut world, client, Decision::Allow);
    assert_eq!(world.messages(client)[0]["code"], "forbidden");
    assert!(world.postgres_asked().is_empty());
}
