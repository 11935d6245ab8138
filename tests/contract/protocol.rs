//! Contract, section 2: every message and every error, with its answer.

use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::harness::{AT_ONCE, Bridge, NO_POSTGRES, bridge_and_database};

#[test]
fn subscribed_names_the_channel_its_epoch_and_seq_0() {
    let (bridge, _) = bridge_and_database();
    let answer = bridge
        .client()
        .ask(&json!({"type": "subscribe", "channel": "orders"}));
    let epoch = answer["epoch"].as_str().unwrap();
    assert!(epoch.len() >= 11, "64 bits take 11 characters: {epoch}");
    assert_eq!(
        answer,
        json!({"type": "subscribed", "channel": "orders", "epoch": epoch, "seq": 0})
    );
}

#[test]
fn unsubscribed_names_the_channel_also_of_one_never_subscribed() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    client.subscribe("orders");
    for channel in ["orders", "orders", "never"] {
        assert_eq!(
            client.ask(&json!({"type": "unsubscribe", "channel": channel})),
            json!({"type": "unsubscribed", "channel": channel})
        );
    }
    client.expect_silence();
}

#[test]
fn a_notification_has_channel_payload_and_seq_and_nothing_else() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("orders");
    for seq in 1..=3 {
        sql.notify("orders", "hello");
        assert_eq!(
            client.next(),
            json!({"type": "notification", "channel": "orders", "payload": "hello", "seq": seq})
        );
    }
}

#[test]
fn notify_with_an_id_is_answered_notified() {
    let (bridge, _) = bridge_and_database();
    let message = json!({"type": "notify", "channel": "orders", "payload": "p", "id": 7});
    assert_eq!(
        bridge.client().ask(&message),
        json!({"type": "notified", "channel": "orders", "id": 7})
    );
}

#[test]
fn notify_without_an_id_is_silent() {
    let (bridge, _) = bridge_and_database();
    let (mut publisher, mut listener) = (bridge.client(), bridge.client());
    listener.subscribe("orders");
    publisher.send(&json!({"type": "notify", "channel": "orders", "payload": "silent"}));
    assert_eq!(listener.payload(), "silent");
    publisher.expect_silence();
}

#[test]
fn notify_without_an_id_is_answered_when_it_fails() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    let answer = client.ask(&json!({"type": "notify", "channel": "", "payload": "p"}));
    assert_eq!(answer["code"], "bad_channel");
    assert_eq!(answer.get("id"), None);
}

#[test]
fn ping_is_answered_pong() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = bridge.client();
    client.expect_type("status");
    assert_eq!(
        client.ask(&json!({"type": "ping"})),
        json!({"type": "pong"})
    );
}

#[test]
fn an_id_comes_back_as_it_was_in_every_answer() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    for id in [
        json!("a"),
        json!(""),
        json!("\u{1F980}\"\\\n"),
        json!(0),
        json!(-1),
        json!(9_007_199_254_740_993_i64),
        json!(i64::MIN),
        json!(i64::MAX),
    ] {
        for (request, expected) in [
            (json!({"type": "subscribe", "channel": "c"}), "subscribed"),
            (json!({"type": "subscribe", "channel": "c"}), "subscribed"),
            (
                json!({"type": "unsubscribe", "channel": "c"}),
                "unsubscribed",
            ),
            (
                json!({"type": "notify", "channel": "c", "payload": ""}),
                "notified",
            ),
            (json!({"type": "ping"}), "pong"),
            (json!({"type": "subscribe", "channel": ""}), "error"),
            (json!({"type": "subscribe"}), "error"),
            (json!({"type": "frobnicate"}), "error"),
        ] {
            let mut request = request;
            request["id"] = id.clone();
            let answer = client.ask(&request);
            assert_eq!(answer["type"], expected, "{request}");
            assert_eq!(answer["id"], id, "{request}");
        }
    }
}

#[test]
fn without_an_id_no_answer_has_one() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    for request in [
        json!({"type": "subscribe", "channel": "c"}),
        json!({"type": "unsubscribe", "channel": "c"}),
        json!({"type": "ping"}),
        json!({"type": "frobnicate"}),
        json!({"type": "subscribe", "channel": ""}),
    ] {
        assert_eq!(client.ask(&request).get("id"), None, "{request}");
    }
}

/// The error's fields besides its message, which must be words.
#[track_caller]
fn error_fields(mut answer: Value) -> Value {
    assert_eq!(answer["type"], "error", "{answer}");
    let fields = answer.as_object_mut().unwrap();
    fields.remove("type");
    let message = fields.remove("message").expect("an error has a message");
    assert!(message.as_str().unwrap().contains(' '), "{message}");
    answer
}

#[test]
fn malformed_messages_are_answered_bad_message_and_the_connection_stays() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = bridge.client();
    client.expect_type("status");
    let deep = "[".repeat(30_000);
    for text in [
        "",
        "hello",
        "{",
        "null",
        "1",
        "\"subscribe\"",
        "[]",
        "{}",
        r#"{"type":1}"#,
        r#"{"type":null}"#,
        r#"{"type":"ping"} x"#,
        r#"{"type":"ping"}{"type":"ping"}"#,
        r#"{"channel":"c"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","channel":1}"#,
        r#"{"type":"subscribe","channel":null}"#,
        r#"{"type":"subscribe","channel":["c"]}"#,
        r#"{"type":"unsubscribe"}"#,
        r#"{"type":"notify","channel":"c"}"#,
        r#"{"type":"notify","payload":"p"}"#,
        r#"{"type":"notify","channel":"c","payload":{"a":1}}"#,
        r#"{"type":"notify","channel":"c","payload":1}"#,
        r#"{"type":"notify","channel":"c","payload":"\ud800"}"#,
        r#"{"type":"ping","id":1.5}"#,
        r#"{"type":"ping","id":true}"#,
        r#"{"type":"ping","id":[1]}"#,
        r#"{"type":"ping","id":{}}"#,
        &deep,
    ] {
        client.send_text(text);
        let answer = client.next();
        let shown: String = text.chars().take(80).collect();
        assert_eq!(answer["code"], "bad_message", "{shown}: {answer}");
        error_fields(answer);
    }
    client.expect_silence();
}

#[test]
fn a_bad_message_has_its_channel_and_id_where_there_is_one() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    let answer = client.ask(&json!({"type": "notify", "channel": "c", "id": 3}));
    assert_eq!(
        error_fields(answer),
        json!({"code": "bad_message", "channel": "c", "id": 3})
    );
}

#[test]
fn an_unknown_type_is_answered_unknown_type_and_the_connection_stays() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    for kind in ["frobnicate", "", "SUBSCRIBE", "notification", "subscribed"] {
        let answer = client.ask(&json!({"type": kind, "id": "x"}));
        assert_eq!(answer["code"], "unknown_type", "{kind:?}: {answer}");
        assert_eq!(answer["id"], "x");
    }
    client.expect_silence();
}

#[test]
fn auth_is_an_unknown_type_where_no_token_is_asked_for() {
    let (bridge, _) = bridge_and_database();
    let answer = bridge
        .client()
        .ask(&json!({"type": "auth", "token": "secret"}));
    assert_eq!(error_fields(answer), json!({"code": "unknown_type"}));
}

#[test]
fn a_binary_frame_is_answered_bad_message_and_the_connection_stays() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    for bytes in [&b""[..], b"\xff\0", br#"{"type":"ping"}"#] {
        client.send_frame(Message::binary(bytes.to_vec()));
        assert_eq!(error_fields(client.next()), json!({"code": "bad_message"}));
    }
    client.expect_silence();
}

#[test]
fn unknown_fields_are_ignored() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    let request =
        json!({"type": "subscribe", "channel": "c", "colour": "red", "deep": [{"a": []}]});
    assert_eq!(client.ask(&request)["type"], "subscribed");
    client.send_text("  \n{ \"channel\" : \"\\u0063\",\t\"type\" : \"unsubscribe\" }\r\n ");
    assert_eq!(
        client.next(),
        json!({"type": "unsubscribed", "channel": "c"})
    );
}

#[test]
fn bad_channels_are_refused_by_name_in_every_request() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    let long = "x".repeat(64);
    let emoji = "\u{1F980}".repeat(16);
    for channel in ["", "a\0b", "\0", &long, &emoji] {
        for kind in ["subscribe", "unsubscribe", "notify"] {
            let request = json!({"type": kind, "channel": channel, "payload": "p", "id": 1});
            assert_eq!(
                error_fields(client.ask(&request)),
                json!({"code": "bad_channel", "channel": channel, "id": 1}),
            );
        }
    }
    client.expect_silence();
}

#[test]
fn a_payload_of_7_999_bytes_is_delivered() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    client.subscribe("c");
    let crab = "\u{1F980}".repeat(1_999) + "abc";
    for payload in [
        "x".repeat(7_998),
        "x".repeat(7_999),
        "é".repeat(3_999) + "a",
        crab,
    ] {
        assert_eq!(client.notify("c", &payload)["type"], "notified");
        assert_eq!(client.payload(), payload);
    }
}

#[test]
fn a_payload_of_8_000_bytes_is_too_large_and_the_connection_stays() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    for payload in ["x".repeat(8_000), "é".repeat(4_000), "x".repeat(60_000)] {
        assert_eq!(
            error_fields(client.notify("c", &payload)),
            json!({"code": "payload_too_large", "channel": "c", "id": "n", "limit": 7_999}),
        );
    }
    client.expect_silence();
    assert_eq!(client.notify("c", "small")["type"], "notified");
}

#[test]
fn a_payload_with_a_nul_is_a_bad_message() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    for payload in ["\0", "a\0b", "a\0"] {
        assert_eq!(
            error_fields(client.notify("c", payload)),
            json!({"code": "bad_message", "channel": "c", "id": "n"}),
        );
    }
    assert_eq!(client.notify("c", "no NUL")["type"], "notified");
}

#[test]
fn a_client_has_1_000_subscriptions_and_no_more() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    let subscribe = |n: usize| json!({"type": "subscribe", "channel": format!("c{n}"), "id": n});
    client.send_all(&(1..=1_000).map(subscribe).collect::<Vec<_>>());
    for n in 1..=1_000 {
        assert_eq!(client.expect_answer(n)["type"], "subscribed");
    }
    assert_eq!(
        error_fields(client.ask(&subscribe(1_001))),
        json!({"code": "too_many_subscriptions", "channel": "c1001", "id": 1_001}),
    );
    assert_eq!(
        client.ask(&subscribe(1))["type"],
        "subscribed",
        "it is no new one"
    );
    client.unsubscribe("c1");
    assert_eq!(client.ask(&subscribe(1_001))["type"], "subscribed");
}

#[test]
fn notify_while_postgres_is_down_is_answered_postgres_down() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = bridge.client();
    client.expect_type("status");
    assert_eq!(
        error_fields(client.notify("c", "p")),
        json!({"code": "postgres_down", "channel": "c", "id": "n"}),
    );
    client.send(&json!({"type": "notify", "channel": "c", "payload": "p"}));
    assert_eq!(
        error_fields(client.next()),
        json!({"code": "postgres_down", "channel": "c"}),
    );
}

#[test]
fn a_client_that_connects_while_postgres_is_down_is_told() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    assert_eq!(
        bridge.client().next(),
        json!({"type": "status", "postgres": "down"})
    );
}

#[test]
fn a_client_that_connects_while_postgres_is_up_is_told_nothing() {
    let (bridge, _) = bridge_and_database();
    bridge.client().expect_silence();
}

#[test]
fn an_unsubscribe_cancels_the_subscribe_that_postgres_has_not_confirmed() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = bridge.client();
    client.expect_type("status");
    client.send(&json!({"type": "subscribe", "channel": "c", "id": "first"}));
    client.send(&json!({"type": "unsubscribe", "channel": "c", "id": "second"}));
    assert_eq!(
        error_fields(client.next()),
        json!({"code": "cancelled", "channel": "c", "id": "first"})
    );
    assert_eq!(
        client.next(),
        json!({"type": "unsubscribed", "channel": "c", "id": "second"})
    );
    client.expect_silence();
}

#[test]
fn each_of_many_pipelined_requests_gets_exactly_one_answer() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    let requests: Vec<_> = (0..600)
        .map(|id| {
            let channel = format!("c{}", id % 7);
            match id % 5 {
                0 | 3 => json!({"type": "subscribe", "channel": channel, "id": id}),
                1 => json!({"type": "unsubscribe", "channel": channel, "id": id}),
                2 => json!({"type": "notify", "channel": channel, "payload": "p", "id": id}),
                _ => json!({"type": "frobnicate", "id": id}),
            }
        })
        .collect();
    client.send_all(&requests);
    for id in 0..600 {
        client.expect_answer(id);
    }
    assert_eq!(client.notify("last", "p")["type"], "notified");
    let answered_twice: Vec<_> = client
        .said_so_far()
        .into_iter()
        .filter(|message| message.get("id").is_some())
        .collect();
    assert_eq!(answered_twice, Vec::<Value>::new());
}

/// Far more than one read takes of a client, and no event announces the rest of it before the bridge
/// pings.
#[test]
fn input_that_arrived_while_the_bridge_was_stopped_is_read_to_its_end() {
    let (bridge, _database) = bridge_and_database();
    let mut client = bridge.client();
    bridge.signal("STOP");
    let ping = |id: usize| json!({"type": "ping", "id": format!("{id:0>100}")});
    // Less than a socket takes (tcp(7), tcp_rmem).
    client.send_all(&(0..600).map(ping).collect::<Vec<_>>());
    let began = Instant::now();
    bridge.signal("CONT");
    for id in 0..600 {
        assert_eq!(client.next()["id"], format!("{id:0>100}"));
    }
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}
