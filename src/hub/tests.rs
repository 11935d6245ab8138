//! The hub against a PostgreSQL of a few lines and clients that are byte buffers.

mod admin;
mod admission;
mod asking;
mod authorization;
mod backend;
mod bounds;
mod feed;
mod frames;
mod intents;
#[cfg(feature = "tls")]
mod jwt;
mod lifecycle;
mod limits;
mod locked;
mod log;
mod metrics;
mod opening;
mod proof;
mod proxies;
mod reader;
mod requests;
mod responses;
mod sending;
mod server;
mod sharing;
mod shutdown;
mod smuggling;
mod stream_openings;
mod streams;
mod subprotocol;
mod work;
mod world;

use std::time::Duration;

use serde_json::json;

use self::world::World;

#[test]
fn subscribed_is_sent_only_after_listen_is_confirmed() {
    let mut world = World::connected();
    let ann = world.client();
    world.send(ann, r#"{"type":"subscribe","channel":"orders"}"#);
    assert_eq!(world.postgres_asked(), [r#"LISTEN "orders""#]);
    assert_eq!(world.texts(ann), [""; 0], "asked, not confirmed");
    world.postgres_completes();
    assert_eq!(
        world.texts(ann),
        [""; 0],
        "CommandComplete is not the commit"
    );
    world.postgres_is_ready();
    let [subscribed] = &world.messages(ann)[..] else {
        panic!("one answer")
    };
    assert_eq!(subscribed["type"], "subscribed");
    assert_eq!(subscribed["seq"], 0);
    assert!(subscribed["epoch"].as_str().unwrap().len() >= 16);
}

#[test]
fn a_second_subscriber_waits_for_the_same_listen() {
    let mut world = World::connected();
    let (ann, bob) = (world.client(), world.client());
    world.send(ann, r#"{"type":"subscribe","channel":"orders"}"#);
    world.send(bob, r#"{"type":"subscribe","channel":"orders","id":7}"#);
    assert_eq!(world.postgres_asked().len(), 1);
    assert_eq!(world.texts(bob), [""; 0]);
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["subscribed"]);
    let answers = world.messages(bob);
    assert_eq!(
        (&answers[0]["type"], &answers[0]["id"]),
        (&json!("subscribed"), &json!(7))
    );
    world.notify("orders", "x");
    assert_eq!(world.types(ann), ["notification"]);
    assert_eq!(world.types(bob), ["notification"]);
}

#[test]
fn a_notification_before_the_confirmation_is_not_delivered() {
    let mut world = World::connected();
    let ann = world.client();
    world.send(ann, r#"{"type":"subscribe","channel":"orders"}"#);
    world.postgres_completes();
    world.notify("orders", "early");
    world.postgres_is_ready();
    assert_eq!(world.types(ann), ["subscribed"]);
    world.notify("orders", "first");
    let messages = world.messages(ann);
    assert_eq!(
        (&messages[0]["payload"], &messages[0]["seq"]),
        (&json!("first"), &json!(1))
    );
}

#[test]
fn an_unsubscribe_that_overtakes_a_subscribe_cancels_it() {
    let mut world = World::connected();
    let ann = world.client();
    world.send(ann, r#"{"type":"subscribe","channel":"a","id":1}"#);
    world.send(ann, r#"{"type":"subscribe","channel":"a","id":2}"#);
    world.send(ann, r#"{"type":"unsubscribe","channel":"a","id":3}"#);
    let answers = world.messages(ann);
    let told: Vec<_> = answers
        .iter()
        .map(|it| (&it["type"], &it["code"], &it["id"]))
        .collect();
    let (error, cancelled, null) = (json!("error"), json!("cancelled"), json!(null));
    assert_eq!(
        told,
        [
            (&error, &cancelled, &json!(1)),
            (&error, &cancelled, &json!(2)),
            (&json!("unsubscribed"), &null, &json!(3)),
        ]
    );
    world.postgres_answers_all();
    assert_eq!(world.postgres_asked(), [r#"LISTEN "a""#, r#"UNLISTEN "a""#]);
    world.postgres_answers_all();
    assert_eq!(world.types(ann), [""; 0]);
    assert_eq!(world.channels(), 0);
}

#[test]
fn the_last_one_to_leave_unlistens() {
    let mut world = World::connected();
    let (ann, bob) = (world.subscriber("a"), world.subscriber("a"));
    world.postgres_asked();
    let unsubscribe = r#"{"type":"unsubscribe","channel":"a"}"#;
    world.send(ann, unsubscribe);
    assert_eq!(world.postgres_asked(), [""; 0]);
    world.send(bob, unsubscribe);
    assert_eq!(world.postgres_asked(), [r#"UNLISTEN "a""#]);
    world.postgres_answers_all();
    assert_eq!(world.channels(), 0);
}

#[test]
fn who_subscribes_while_unlisten_is_under_way_is_listened_to_anew() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.send(ann, r#"{"type":"unsubscribe","channel":"a"}"#);
    world.send(ann, r#"{"type":"subscribe","channel":"a"}"#);
    assert_eq!(world.types(ann), ["unsubscribed"]);
    world.postgres_answers_all();
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["subscribed"]);
    world.notify("a", "x");
    assert_eq!(world.types(ann), ["notification"]);
}

#[test]
fn an_answer_overtakes_no_frame_of_an_older_subscription() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    let bob = world.subscriber("b");
    world.hold_writes = true;
    world.notify("a", "1");
    world.send(ann, r#"{"type":"subscribe","channel":"b"}"#);
    world.notify("b", "2");
    world.notify("a", "3");
    world.send(ann, r#"{"type":"unsubscribe","channel":"a"}"#);
    world.notify("a", "lost on ann");
    world.notify("b", "4");
    world.hold_writes = false;
    let told: Vec<_> = world
        .messages(ann)
        .iter()
        .map(|it| format!("{} {}", it["type"], it["payload"]).replace('"', ""))
        .collect();
    let expect = [
        "notification 1",
        "subscribed null",
        "notification 2",
        "notification 3",
        "unsubscribed null",
        "notification 4",
    ];
    assert_eq!(told, expect);
    assert_eq!(world.types(bob), ["notification", "notification"]);
}

#[test]
fn a_reconnect_is_down_then_gaps_then_up() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.notify("a", "x");
    let before = world.messages(ann);
    assert_eq!(before.len(), 1);
    world.postgres_dies();
    assert_eq!(world.types(ann), ["status"]);
    let bob = world.client();
    assert_eq!(world.types(bob), ["status"]);
    world.send(bob, r#"{"type":"subscribe","channel":"a"}"#);
    world.send(bob, r#"{"type":"subscribe","channel":"b"}"#);
    world.reconnect();
    assert_eq!(world.texts(ann), [""; 0], "LISTEN is not confirmed yet");
    world.postgres_answers_all();
    let told = world.messages(ann);
    assert_eq!(told[0]["type"], "gap");
    assert_eq!(told[0]["reason"], "postgres_reconnect");
    assert_eq!(told[1], json!({"type":"status","postgres":"up"}));
    assert_eq!(world.types(bob), ["subscribed", "subscribed", "status"]);
    world.notify("a", "y");
    assert_eq!(world.messages(ann)[0]["seq"], 1);
}

#[test]
fn a_second_death_before_up_says_down_only_once() {
    let mut world = World::connected();
    let ann = world.client();
    for channel in ["a", "b"] {
        world.send(
            ann,
            &format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
        );
    }
    world.postgres_answers_all();
    world.texts(ann);
    world.postgres_dies();
    world.reconnect();
    world.postgres_answers_one();
    world.postgres_dies();
    world.reconnect();
    world.postgres_answers_all();
    let told = world.messages(ann);
    let types: Vec<_> = told.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["status", "gap", "gap", "gap", "status"]);
    let epochs: Vec<_> = told
        .iter()
        .filter(|it| it["type"] == "gap")
        .map(|it| &it["epoch"])
        .collect();
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2]);
}

#[test]
fn a_publish_ends_once_whatever_happens() {
    let mut world = World::connected();
    let ann = world.client();
    let notify = |id| format!(r#"{{"type":"notify","channel":"a","payload":"p","id":{id}}}"#);
    world.send(ann, &notify(1));
    assert_eq!(world.texts(ann), [""; 0]);
    world.postgres_answers_all();
    assert_eq!(
        world.messages(ann),
        [json!({"type":"notified","channel":"a","id":1})]
    );
    world.send(ann, &notify(2));
    world.hold_backend = true;
    world.send(ann, &notify(3));
    world.postgres_dies();
    world.hold_backend = false;
    let codes: Vec<_> = world
        .messages(ann)
        .iter()
        .map(|it| it["code"].clone())
        .collect();
    assert_eq!(
        codes,
        [
            json!(null),
            json!("unknown_outcome"),
            json!("postgres_down")
        ]
    );
    world.send(ann, &notify(4));
    assert_eq!(world.messages(ann)[0]["code"], "postgres_down");
}

#[test]
fn a_refused_listen_is_told_and_tried_again() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.postgres_dies();
    world.reconnect();
    world.postgres_refuses("XX000", "no");
    let told = world.messages(ann);
    let error = told.iter().find(|it| it["type"] == "error").expect("told");
    assert_eq!(
        (&error["code"], &error["sqlstate"]),
        (&json!("postgres_error"), &json!("XX000"))
    );
    world.postgres_asked();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.postgres_asked(), [r#"LISTEN "a""#]);
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["gap"]);
}

#[test]
fn everything_is_given_back_at_the_end() {
    let mut world = World::connected();
    let clients: Vec<_> = (0..50)
        .map(|n| world.subscriber(["a", "b", "c"][n % 3]))
        .collect();
    world.stall(clients[0], 3);
    for n in 0..100 {
        world.notify(["a", "b", "c"][n % 3], "payload");
    }
    for client in clients {
        world.disconnect(client);
    }
    world.pass(Duration::from_secs(10));
    world.postgres_answers_all();
    assert_eq!(world.channels(), 0);
    assert_eq!(world.hub.client_count(), 0);
    assert_eq!(world.hub.delivery.retained_bytes(), 0);
    assert_eq!(world.hub.delivery.sizes().backlogs, 0);
    assert!(!world.hub.has_transmit());
}
