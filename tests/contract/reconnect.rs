//! Contract, section 4: PostgreSQL is lost and comes back, and every client is told.

use std::time::Instant;

use alle::internals::sandbox::{Sandbox, StopMode};
use serde_json::{Value, json};

use crate::{
    client::Client,
    harness::{AT_ONCE, Bridge, Database, bridge_and_database, wait_until},
    sql::Sql,
};

/// A server of its own, since it will be harmed, and a bridge on it.
fn bridge_and_server() -> (Bridge, Sandbox) {
    let server = Sandbox::start().unwrap();
    (Bridge::start(&server.url()), server)
}

fn sql(server: &Sandbox) -> Sql {
    Sql::connect(server.port(), "postgres")
}

fn status(postgres: &str) -> Value {
    json!({"type": "status", "postgres": postgres})
}

/// `down`, then a gap with a new epoch for each of `subscribed`, then `up`.
#[track_caller]
fn expect_outage(client: &mut Client, subscribed: &[Value]) -> Vec<Value> {
    assert_eq!(client.next(), status("down"));
    expect_return(client, subscribed)
}

#[track_caller]
fn expect_return(client: &mut Client, subscribed: &[Value]) -> Vec<Value> {
    let mut gaps: Vec<Value> = subscribed.iter().map(|_| client.next()).collect();
    let by_channel = |message: &Value| message["channel"].as_str().unwrap().to_owned();
    gaps.sort_by_key(by_channel);
    for (gap, before) in gaps.iter().zip(subscribed) {
        let (channel, epoch) = (&before["channel"], &gap["epoch"]);
        assert_eq!(
            *gap,
            json!({
                "type": "gap", "channel": channel, "epoch": epoch, "seq": 0,
                "reason": "postgres_reconnect"
            })
        );
        assert!(epoch.is_string() && *epoch != before["epoch"], "{gap}");
    }
    assert_eq!(client.next(), status("up"));
    gaps
}

fn survives(harm: impl FnOnce(&Sandbox)) {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    let subscribed = ["a", "b"].map(|channel| client.subscribe(channel));
    let mut bystander = bridge.client();
    harm(&server);
    server.start_again().unwrap();
    let gaps = expect_outage(&mut client, &subscribed);
    assert_eq!(bystander.next(), status("down"));
    assert_eq!(bystander.next(), status("up"));
    sql(&server).run("NOTIFY a, 'heard again'; NOTIFY b, 'too'");
    for (channel, payload) in [("a", "heard again"), ("b", "too")] {
        assert_eq!(
            client.next(),
            json!({"type": "notification", "channel": channel, "payload": payload, "seq": 1})
        );
    }
    let late = bystander.subscribe("a");
    assert_eq!(
        (&late["epoch"], &late["seq"]),
        (&gaps[0]["epoch"], &json!(1))
    );
    wait_until("publishing works", || {
        client.notify("b", "ours")["type"] == "notified"
    });
    assert_eq!(client.payload(), "ours");
}

#[test]
fn clients_survive_a_fast_restart_and_hear_of_the_gap() {
    survives(|server| server.stop(StopMode::Fast).unwrap());
}

#[test]
fn clients_survive_an_immediate_shutdown_and_hear_of_the_gap() {
    survives(|server| server.stop(StopMode::Immediate).unwrap());
}

#[test]
fn clients_survive_a_killed_server_and_hear_of_the_gap() {
    survives(|server| server.kill9().unwrap());
}

#[test]
fn while_postgres_is_down_every_request_has_its_answer() {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    let subscribed = client.subscribe("before");
    server.stop(StopMode::Immediate).unwrap();
    assert_eq!(client.next(), status("down"));
    wait_until("the publishing session's end is noticed", || {
        client.notify("c", "p")["code"] == "postgres_down"
    });
    assert_eq!(bridge.get("/readyz").status, 503);
    assert_eq!(bridge.get("/healthz").status, 200);

    let mut newcomer = bridge.client();
    assert_eq!(newcomer.next(), status("down"));
    newcomer.send(&json!({"type": "subscribe", "channel": "pending", "id": 1}));
    newcomer.send(&json!({"type": "subscribe", "channel": "before", "id": 2}));
    newcomer.send(&json!({"type": "unsubscribe", "channel": "never", "id": 3}));
    assert_eq!(
        newcomer.next(),
        json!({"type": "unsubscribed", "channel": "never", "id": 3})
    );
    newcomer.expect_silence();

    server.start_again().unwrap();
    let gaps = expect_return(&mut client, &[subscribed]);
    let (pending, before) = (newcomer.expect_answer(1), newcomer.expect_answer(2));
    assert_eq!(
        (&pending["type"], &pending["seq"]),
        (&json!("subscribed"), &json!(0))
    );
    assert_eq!(before["type"], "subscribed");
    assert_eq!(before["epoch"], gaps[0]["epoch"], "the same LISTEN");
    assert_eq!(
        newcomer.next(),
        status("up"),
        "a subscribe that waited has no gap"
    );
    newcomer.expect_silence();
    bridge.wait_until_ready();
    sql(&server).run("NOTIFY pending, 'heard'");
    assert_eq!(newcomer.payload(), "heard");
}

#[test]
fn a_channel_unsubscribed_while_postgres_was_down_has_no_gap() {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    client.subscribe("left");
    let kept = client.subscribe("kept");
    server.stop(StopMode::Immediate).unwrap();
    assert_eq!(client.next(), status("down"));
    client.unsubscribe("left");
    server.start_again().unwrap();
    expect_return(&mut client, &[kept]);
    sql(&server).run("NOTIFY \"left\", 'never'; NOTIFY kept, 'heard'");
    assert_eq!(client.payload(), "heard");
    client.expect_silence();
}

#[test]
fn a_second_outage_makes_another_gap_with_another_epoch() {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    let mut last = vec![client.subscribe("c")];
    let mut epochs = vec![last[0]["epoch"].clone()];
    for _ in 0..2 {
        server.stop(StopMode::Immediate).unwrap();
        server.start_again().unwrap();
        last = expect_outage(&mut client, &last);
        assert!(!epochs.contains(&last[0]["epoch"]));
        epochs.push(last[0]["epoch"].clone());
    }
}

#[test]
fn postgres_that_is_down_at_the_start_is_joined_later() {
    let server = Sandbox::start().unwrap();
    server.stop(StopMode::Fast).unwrap();
    let bridge = Bridge::serve(&server.url(), &[]);
    let mut client = bridge.client();
    assert_eq!(client.next(), status("down"));
    client.send(&json!({"type": "subscribe", "channel": "c"}));
    client.expect_silence();
    server.start_again().unwrap();
    assert_eq!(client.next()["type"], "subscribed");
    assert_eq!(client.next(), status("up"));
    sql(&server).run("NOTIFY c, 'heard'");
    assert_eq!(client.payload(), "heard");
}

#[test]
fn a_publish_in_flight_when_postgres_is_killed_has_an_unknown_outcome() {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    // Its answer never arrives, and it is in the socket.
    server.pause().unwrap();
    client.send(&json!({"type": "notify", "channel": "c", "payload": "p", "id": 1}));
    client.expect_silence();
    server.kill9().unwrap();
    let answer = client.expect_answer(1);
    assert_eq!(answer["code"], "unknown_outcome", "{answer}");
    assert_eq!(
        (&answer["type"], &answer["channel"]),
        (&json!("error"), &json!("c"))
    );
}

#[test]
fn an_unsubscribe_is_answered_at_once_while_postgres_hangs() {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    client.subscribe("confirmed");
    server.pause().unwrap();
    client.send(&json!({"type": "subscribe", "channel": "c", "id": 1}));
    client.send(&json!({"type": "unsubscribe", "channel": "c", "id": 2}));
    client.send(&json!({"type": "unsubscribe", "channel": "confirmed", "id": 3}));
    assert_eq!(client.expect_answer(1)["code"], "cancelled");
    assert_eq!(client.expect_answer(2)["type"], "unsubscribed");
    assert_eq!(client.expect_answer(3)["type"], "unsubscribed");
    client.send(&json!({"type": "subscribe", "channel": "c", "id": 4}));
    client.expect_silence();
    server.resume().unwrap();
    assert_eq!(client.expect_answer(4)["type"], "subscribed");
    sql(&server).run("NOTIFY c, 'heard'");
    assert_eq!(client.payload(), "heard");
}

/// Under load: each request is answered once, and every publish that was `notified` was committed.
#[test]
fn publishes_during_an_outage_are_never_met_with_silence() {
    let (bridge, server) = bridge_and_server();
    let mut client = bridge.client();
    let notify =
        |id: usize| json!({"type": "notify", "channel": "c", "payload": id.to_string(), "id": id});
    client.send_all(&(0..500).map(notify).collect::<Vec<_>>());
    client.expect_answer(100);
    server.kill9().unwrap();
    client.send_all(&(500..600).map(notify).collect::<Vec<_>>());
    for id in (0..600).filter(|id| *id != 100) {
        let answer = client.expect_answer(id);
        let code = answer["code"].as_str();
        assert!(
            answer["type"] == "notified"
                || matches!(code, Some("unknown_outcome" | "postgres_down")),
            "{answer}"
        );
    }
}

fn terminate(database: &Database, application_name: &str) -> usize {
    let terminate = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = '{application_name}'"
    );
    database.sql().run(&terminate).len()
}

#[test]
fn a_terminated_listening_backend_is_a_gap() {
    let (bridge, database) = bridge_and_database();
    let mut client = bridge.client();
    let subscribed = client.subscribe("c");
    let start = Instant::now();
    assert_eq!(terminate(&database, "alle"), 1);
    expect_outage(&mut client, &[subscribed]);
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    database.sql().notify("c", "heard again");
    assert_eq!(client.payload(), "heard again");
}

#[test]
fn a_terminated_publishing_backend_is_no_gap() {
    let (bridge, database) = bridge_and_database();
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "before")["type"], "notified");
    assert_eq!(client.payload(), "before");
    assert_eq!(terminate(&database, "alle publish"), 1);
    wait_until("publishing works again", || {
        client.notify("c", "after")["type"] == "notified"
    });
    let notification = client.expect_type("notification");
    assert_eq!(
        (&notification["payload"], &notification["seq"]),
        (&json!("after"), &json!(2))
    );
    let heard = client.said_so_far();
    assert!(
        heard.iter().all(|message| message["type"] == "error"),
        "{heard:?}"
    );
}

#[test]
fn thousands_of_channels_are_listened_to_again() {
    let (bridge, database) = bridge_and_database();
    let mut client = bridge.client();
    for n in 0..1_000 {
        client.send(&json!({"type": "subscribe", "channel": format!("c{n:03}"), "id": n}));
    }
    let mut subscribed: Vec<_> = (0..1_000).map(|n| client.expect_answer(n)).collect();
    for message in &mut subscribed {
        message.as_object_mut().unwrap().remove("id");
    }
    terminate(&database, "alle");
    expect_outage(&mut client, &subscribed);
    database
        .sql()
        .run("NOTIFY c000, 'first'; NOTIFY c999, 'last'");
    assert_eq!(client.payload(), "first");
    assert_eq!(client.payload(), "last");
}

/// The clients' view of an outage while a session publishes all the time: between `subscribed` or
/// `gap` and the next `gap`, nothing is missing.
#[test]
fn between_two_gaps_nothing_is_missing() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("c");
    let (mut published, mut gaps) = (0, 0);
    let mut heard: Option<u64> = Some(0);
    while gaps < 5 {
        for _ in 0..50 {
            published += 1;
            sql.notify("c", &published.to_string());
        }
        terminate(&database, "alle");
        loop {
            let message = client.next();
            match message["type"].as_str().unwrap() {
                "notification" => {
                    let n: u64 = message["payload"].as_str().unwrap().parse().unwrap();
                    assert!(
                        heard.is_none_or(|before| n == before + 1),
                        "{heard:?}: {message}"
                    );
                    heard = Some(n);
                }
                "gap" => {
                    (heard, gaps) = (None, gaps + 1);
                }
                _ if message == status("up") => break,
                _ => assert_eq!(message, status("down")),
            }
        }
    }
}
