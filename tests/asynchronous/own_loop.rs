//! The example of a loop of one's own, as a program.

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::{client, patient::Patient, started};

fn say(client: &mut WebSocket<Patient>, message: &Value) {
    client.send(Message::text(message.to_string())).unwrap();
}

/// The next message of one of these types.
#[track_caller]
fn hear(client: &mut WebSocket<Patient>, types: &[&str]) -> Value {
    loop {
        if let Message::Text(text) = client.read().expect("a message") {
            let message: Value = serde_json::from_str(&text).unwrap();
            if types.iter().any(|it| message["type"] == *it) {
                return message;
            }
        }
    }
}

/// More is published than fits into a socket, so that each of the loop's ways is taken.
#[test]
fn the_example_of_a_loop_of_ones_own_serves_its_clients() {
    let (_program, address) = started("own_loop");
    let mut reader = client(address);
    let mut publisher = client(address);
    say(&mut reader, &json!({"type": "subscribe", "channel": "a"}));
    hear(&mut reader, &["subscribed"]);
    let payload = "x".repeat(7_000);
    for number in 1..=COUNT {
        let message = json!({"type": "notify", "channel": "a", "payload": payload, "id": number});
        say(&mut publisher, &message);
    }
    for number in 1..=COUNT {
        let answer = hear(&mut publisher, &["notified", "error"]);
        assert_eq!(answer["id"], number, "{answer}");
    }
    for number in 1..=COUNT {
        let heard = hear(&mut reader, &["notification", "gap"]);
        assert_eq!(heard["seq"], number, "{}", heard["type"]);
        assert_eq!(heard["payload"], payload);
    }
    drop(reader);
    say(
        &mut publisher,
        &json!({"type": "subscribe", "channel": "a"}),
    );
    let subscribed = hear(&mut publisher, &["subscribed"]);
    assert_eq!(subscribed["channel"], "a");
}

/// Of 7 KB each: more than two sockets hold.
const COUNT: u32 = 1_000;
