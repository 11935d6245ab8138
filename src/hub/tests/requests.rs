//! Publishes over HTTP: answers in order, and connections that are kept.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    responses::{post, responses, statuses},
    world::World,
};
use crate::{
    access::{Access, globs::Globs, origins::OriginPolicy, tokens::Tokens},
    config::Limits,
    hub::Settings,
};

/// The status and the error code of the one response to a request.
fn verdict(world: &mut World, request: &str) -> (u16, Value) {
    let client = world.connect();
    world.input(client, request.as_bytes());
    world.postgres_answers_all();
    let [(status, _, body)] = &responses(world, client)[..] else {
        panic!("one response to {request}");
    };
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    (*status, body["code"].clone())
}

#[test]
fn a_publish_is_answered_after_its_commit_and_the_connection_stays() {
    let mut world = World::connected();
    let ann = world.connect();
    world.input(ann, post("orders", "", "hello").as_bytes());
    assert_eq!(world.take_text(ann), "", "it is not committed yet");
    world.postgres_answers_all();
    let [(status, head, body)] = &responses(&mut world, ann)[..] else {
        panic!("one response");
    };
    assert_eq!(*status, 200);
    assert!(head.contains("\r\nContent-Type: application/json\r\n"));
    assert!(head.contains("\r\nConnection: keep-alive\r\n"));
    assert_eq!(body, r#"{"type":"notified","channel":"orders"}"#);
    world.input(ann, post("orders", "Connection: close\r\n", "").as_bytes());
    world.postgres_answers_all();
    let [(status, head, _)] = &responses(&mut world, ann)[..] else {
        panic!("one response");
    };
    assert_eq!(*status, 200);
    assert!(head.contains("\r\nConnection: close\r\n"));
}

#[test]
fn the_channel_is_one_segment_decoded_once() {
    let longest = "x".repeat(63);
    let too_long = "x".repeat(64);
    let mut world = World::connected();
    for (segment, expected) in [
        ("orders", (200, Value::Null)),
        ("a%2Fb", (200, Value::Null)),
        ("a+b", (200, Value::Null)),
        ("caf%C3%A9", (200, Value::Null)),
        ("%22%3B--", (200, Value::Null)),
        (&longest, (200, Value::Null)),
        (&too_long, (400, json!("bad_channel"))),
        ("", (400, json!("bad_channel"))),
        ("a%00b", (400, json!("bad_channel"))),
        ("%FF", (400, json!("bad_channel"))),
        ("%", (400, json!("bad_channel"))),
        ("%2g", (400, json!("bad_channel"))),
        ("a/b", (404, Value::Null)),
    ] {
        let found = verdict(&mut world, &post(segment, "", "x"));
        assert_eq!(found, expected, "{segment}");
    }
    let ann = world.connect();
    world.input(ann, post("a%252Fb", "", "x").as_bytes());
    world.postgres_answers_all();
    let [(_, _, body)] = &responses(&mut world, ann)[..] else {
        panic!("one response");
    };
    assert!(body.contains(r#""a%2Fb""#), "{body}");
}

#[test]
fn a_body_is_the_payload_as_it_is() {
    let mut world = World::connected();
    let largest = "x".repeat(7_999);
    let too_large = "x".repeat(8_000);
    for (body, expected) in [
        ("", (200, Value::Null)),
        ("{\"a\":1}\r\n", (200, Value::Null)),
        (&largest, (200, Value::Null)),
        (&too_large, (413, json!("payload_too_large"))),
        ("a\0b", (400, json!("bad_message"))),
    ] {
        let found = verdict(&mut world, &post("orders", "", body));
        assert_eq!(found, expected, "{} bytes", body.len());
    }
    let client = world.connect();
    let head = b"POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n\xff";
    world.input(client, head);
    assert_eq!(statuses(&mut world, client), [400]);
}

#[test]
fn a_body_over_64_kib_is_refused_before_it_is_read() {
    for (bytes, is_last) in [(65_536, false), (65_537, true)] {
        let mut world = World::connected();
        let client = world.connect();
        let request = post("orders", "", &"x".repeat(bytes));
        world.input(client, request.as_bytes());
        let [(status, head, body)] = &responses(&mut world, client)[..] else {
            panic!("one response");
        };
        assert_eq!(*status, 413);
        assert!(body.contains("\"limit\":7999"), "{body}");
        assert_eq!(head.contains("\r\nConnection: close"), is_last, "{bytes}");
    }
    let mut world = World::connected();
    let client = world.connect();
    world.input(
        client,
        b"POST /publish/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    world.input(client, chunk.as_bytes());
    assert_eq!(world.take_text(client), "");
    world.input(client, chunk.as_bytes());
    world.input(client, b"1\r\n");
    assert_eq!(world.take_text(client), "", "65,536 bytes are no reason");
    world.input(client, b"x\r\n0\r\n\r\n");
    assert_eq!(statuses(&mut world, client), [413]);
    assert_eq!(world.hub.owned_bytes(), 0);
}

#[test]
fn pipelined_publishes_are_answered_in_order() {
    let mut world = World::connected();
    let ann = world.connect();
    let requests = [
        post("a", "", "1"),
        post("", "", "2"),
        post("b", "", "3"),
        "OPTIONS /publish/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        post("c", "", "4"),
    ];
    world.input(ann, requests.concat().as_bytes());
    assert_eq!(world.take_text(ann), "", "the first is not committed yet");
    world.postgres_answers_all();
    assert_eq!(statuses(&mut world, ann), [200, 400, 200, 204, 200]);
}

#[test]
fn a_stream_of_requests_is_the_same_in_any_pieces() {
    let chunked = "POST /publish/b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
                   \r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: z\r\n\r\n";
    let requests = post("a", "", "hello") + chunked + &post("c", "", "");
    for piece in [1, 2, 3, 5, 7, 50] {
        let mut world = World::connected();
        let bob = world.subscriber("b");
        let ann = world.connect();
        for piece in requests.as_bytes().chunks(piece) {
            world.input(ann, piece);
        }
        world.postgres_answers_all();
        assert_eq!(statuses(&mut world, ann), [200, 200, 200], "{piece}");
        world.notify("b", "abc");
        assert_eq!(world.types(bob), ["notification"]);
    }
}

#[test]
fn at_most_16_requests_of_a_connection_are_unanswered() {
    let mut world = World::connected();
    let ann = world.connect();
    let requests: String = (0..20).map(|n| post("a", "", &n.to_string())).collect();
    world.input(ann, requests.as_bytes());
    assert_eq!(world.hub.metrics().publishes, 16);
    assert!(world.hub.is_paused(ann));
    world.postgres_answers_all();
    assert_eq!(statuses(&mut world, ann).len(), 20);
    assert!(!world.hub.is_paused(ann));
}

#[test]
fn the_go_ahead_is_given_where_it_is_asked_for() {
    let mut world = World::connected();
    let ann = world.connect();
    let fields = "Expect: 100-continue\r\n";
    let request = post("a", fields, "hello");
    let (head, body) = request.split_at(request.len() - 5);
    world.input(ann, head.as_bytes());
    assert_eq!(world.take_text(ann), "HTTP/1.1 100 Continue\r\n\r\n");
    world.input(ann, body.as_bytes());
    world.postgres_answers_all();
    assert_eq!(statuses(&mut world, ann), [200]);
    // Its body is here already.
    world.input(ann, request.as_bytes());
    world.postgres_answers_all();
    assert_eq!(statuses(&mut world, ann), [200]);
    // It need not send the body, so that nobody knows what would follow.
    world.input(ann, post("", fields, "x").as_bytes());
    let [(status, head, _)] = &responses(&mut world, ann)[..] else {
        panic!("one response");
    };
    assert_eq!(*status, 400);
    assert!(head.contains("\r\nConnection: close\r\n"));
}

#[test]
fn what_postgres_answers_has_its_status() {
    for (sqlstate, status) in [("22023", 502), ("54000", 503)] {
        let mut world = World::connected();
        let client = world.connect();
        world.input(client, post("a", "", "x").as_bytes());
        world.publish_is_refused(sqlstate, "no");
        let [(found, _, body)] = &responses(&mut world, client)[..] else {
            panic!("one response");
        };
        assert_eq!(*found, status, "{sqlstate}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "postgres_error");
        assert_eq!(body["sqlstate"], sqlstate);
    }
    let mut world = World::connected();
    let client = world.connect();
    world.input(client, post("a", "", "x").as_bytes());
    world.postgres_dies();
    assert_eq!(statuses(&mut world, client), [504]);
    world.input(client, post("a", "", "x").as_bytes());
    let [(status, head, _)] = &responses(&mut world, client)[..] else {
        panic!("one response");
    };
    assert_eq!(*status, 503);
    assert!(head.contains("\r\nRetry-After: 1\r\n"));
}

#[test]
fn a_token_and_the_permissions_are_judged_for_each_request() {
    let mut access = Access {
        tokens: Some(Tokens::parse("ann publish=a*").unwrap()),
        ..Access::default()
    };
    access.everybody.publish = Globs::parse("*");
    let mut world = World::with_settings(Settings {
        access,
        ..Settings::default()
    });
    let client = world.connect();
    for (channel, fields, status, challenge) in [
        ("a", "", 401, Some("Bearer")),
        (
            "a",
            "Authorization: Bearer eve\r\n",
            401,
            Some("Bearer error=\"invalid_token\""),
        ),
        ("b", "Authorization: Bearer ann\r\n", 403, None),
        ("a", "Authorization: Bearer ann\r\n", 200, None),
    ] {
        world.input(client, post(channel, fields, "x").as_bytes());
        world.postgres_answers_all();
        let [(found, head, _)] = &responses(&mut world, client)[..] else {
            panic!("one response");
        };
        assert_eq!(*found, status, "{fields}");
        let found = head
            .lines()
            .find_map(|line| line.strip_prefix("WWW-Authenticate: "));
        assert_eq!(found, challenge, "{fields}");
    }
}

#[test]
fn a_page_of_an_allowed_origin_may_see_every_answer() {
    let mut world = World::with_settings(Settings {
        access: Access {
            origins: OriginPolicy {
                allow_origins: vec!["https://app.example".to_owned()],
                ..OriginPolicy::default()
            },
            ..Access::default()
        },
        ..Settings::default()
    });
    let preflight = |origin: &str| {
        format!("OPTIONS /publish/a HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n")
    };
    let allowed = "Origin: https://app.example\r\n";
    for (request, status, is_seen) in [
        (preflight("https://app.example"), 204, true),
        (preflight("https://evil.example"), 403, false),
        (preflight("null"), 403, false),
        (post("a", allowed, "x"), 200, true),
        (post("", allowed, "x"), 400, true),
        (post("a", allowed, &"x".repeat(8_000)), 413, true),
        (
            post("a", allowed, "x").replacen("POST", "PUT", 1),
            405,
            true,
        ),
        (
            post("a", "Origin: https://evil.example\r\n", "x"),
            403,
            false,
        ),
        (post("a", "", "x"), 200, false),
        (
            format!("GET /sse HTTP/1.1\r\nHost: localhost\r\n{allowed}\r\n"),
            400,
            true,
        ),
    ] {
        let client = world.connect();
        world.input(client, request.as_bytes());
        world.postgres_answers_all();
        let [(found, head, _)] = &responses(&mut world, client)[..] else {
            panic!("one response to {request}");
        };
        assert_eq!(*found, status, "{request}");
        let field = "\r\nAccess-Control-Allow-Origin: https://app.example\r\n";
        assert_eq!(head.contains(field), is_seen, "{request}");
        assert!(!head.contains("Allow-Origin: *") && !head.contains("Credentials"));
        assert!(
            format!("{head}\r\n").contains("\r\nVary: Origin\r\n"),
            "{head}"
        );
        if status == 204 {
            for field in [
                "Access-Control-Allow-Methods: POST, OPTIONS",
                "Access-Control-Allow-Headers: authorization, content-type, last-event-id",
                "Access-Control-Max-Age: 600",
            ] {
                assert!(head.contains(field), "{field}");
            }
            assert!(!head.contains("Content-Length"), "{head}");
        }
    }
}

#[test]
fn an_idle_connection_is_kept_for_a_minute_and_keeps_nobody_out() {
    let mut world = World::with_limits(Limits {
        handshakes_max: 2,
        ..Limits::default()
    });
    let ann = world.connect();
    world.input(ann, post("a", "", "x").as_bytes());
    world.postgres_answers_all();
    world.pass(Duration::from_secs(59));
    assert!(world.is_connected(ann));
    world.input(ann, post("a", "", "x").as_bytes());
    world.postgres_answers_all();
    world.pass(Duration::from_secs(59));
    assert!(world.is_connected(ann));
    world.pass(Duration::from_secs(3));
    assert!(!world.is_connected(ann));
    // The oldest unfinished one goes where there are too many.
    let bob = world.connect();
    world.input(bob, post("a", "", "x").as_bytes());
    world.postgres_answers_all();
    world.pass(Duration::from_millis(5));
    world.connect();
    world.connect();
    world.settle();
    assert!(!world.is_connected(bob));
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_408() {
    let mut world = World::connected();
    let ann = world.connect();
    let request = post("a", "", "hello");
    world.input(ann, &request.as_bytes()[..request.len() - 1]);
    world.pass(Duration::from_secs(29));
    assert_eq!(world.take_text(ann), "");
    world.pass(Duration::from_secs(3));
    assert_eq!(statuses(&mut world, ann), [408]);
}

#[test]
fn hanging_up_cancels_nothing() {
    let mut world = World::connected();
    let ann = world.connect();
    world.input(ann, post("a", "", "x").as_bytes());
    world.disconnect(ann);
    world.postgres_answers_all();
    assert_eq!(world.hub.metrics().publishes, 1);
}

#[test]
fn a_kept_connection_may_become_a_stream_once_its_answers_are_out() {
    let mut world = World::connected();
    let ann = world.connect();
    let events = "GET /sse?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    world.input(ann, (post("a", "", "x") + events).as_bytes());
    assert_eq!(world.take_text(ann), "");
    world.postgres_answers_all();
    let text = world.take_text(ann);
    let (first, second) = text.split_at(text.find("}HTTP/1.1 200 OK").unwrap() + 1);
    assert!(first.ends_with(r#"{"type":"notified","channel":"a"}"#));
    assert!(second.contains("text/event-stream"), "{second}");
    world.postgres_answers_all();
    world.notify("a", "hello");
    assert!(world.take_text(ann).contains("hello"));
}

#[test]
fn a_stop_waits_for_what_is_awaited_and_for_nothing_else() {
    let mut world = World::connected();
    let (ann, bob) = (world.connect(), world.connect());
    world.input(ann, post("a", "", "x").as_bytes());
    world.postgres_answers_all();
    world.input(bob, post("a", "", "x").as_bytes());
    world.hub.stop();
    world.settle();
    assert!(!world.is_connected(ann) && world.is_connected(bob));
    world.postgres_answers_all();
    assert_eq!(statuses(&mut world, bob), [200]);
    world.pass(Duration::from_secs(6));
    assert!(world.is_stopped());
}

/// The shell asks at each end of input, and again when it is told to.
#[test]
fn a_client_that_has_said_all_stays_for_its_answers_and_no_longer() {
    let mut world = World::connected();
    let ann = world.connect();
    assert!(!world.hub.handle_client_finished(ann));
    let unfinished = "POST /publish/a HTTP/1.1\r\nHost: localhost\r\n";
    world.input(ann, (post("a", "", "x") + unfinished).as_bytes());
    assert!(world.hub.handle_client_finished(ann));
    world.settle();
    world.resumed.clear();
    world.postgres_answers_all();
    assert_eq!(statuses(&mut world, ann), [200]);
    assert_eq!(world.resumed, [ann]);
    assert!(!world.hub.handle_client_finished(ann));
    // One that is idle has nothing to wait for, nor has one that reads messages.
    let bob = world.connect();
    world.input(bob, post("a", "", "x").as_bytes());
    world.postgres_answers_all();
    assert!(!world.hub.handle_client_finished(bob));
    let eve = world.client();
    assert!(!world.hub.handle_client_finished(eve));
    world.pass(Duration::from_secs(7));
    world.pass(Duration::from_secs(7));
    assert!(!world.is_connected(ann), "we waited 5 s for its end");
}
