//! Contract, section 3: many clients publish at once. However their publishes are grouped into
//! transactions, each is acknowledged once, delivered once, and in its client's order.

use std::{collections::HashMap, thread};

use serde_json::{Value, json};

use crate::{
    client::Client,
    harness::{Bridge, Database, NO_POSTGRES, bridge_and_database, wait_until},
};

const CLIENTS: usize = 50;
const PUBLISHES: usize = 100;

/// All clients publish everything without waiting, then read the answers; `payload` gives the
/// payload of a publish by its client and number. Returns the answers, by client and number, and the
/// payloads of the so many notifications that `subscriber` reads meanwhile.
fn publish_all(
    bridge: &Bridge,
    subscriber: &mut Client,
    count: usize,
    payload: impl Fn(usize, usize) -> String + Sync,
) -> (Vec<Vec<Value>>, Vec<String>) {
    let publish = |number_of_client: usize| {
        let mut client = bridge.client();
        let payload = &payload;
        let messages: Vec<_> = (0..PUBLISHES)
            .map(|number| {
                let payload = payload(number_of_client, number);
                json!({"type": "notify", "channel": "c", "payload": payload, "id": number})
            })
            .collect();
        client.send_all(&messages);
        let answers: Vec<_> = (0..PUBLISHES).map(|_| client.next()).collect();
        client.expect_silence();
        answers
    };
    thread::scope(|scope| {
        let publish = &publish;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || publish(number)))
            .collect();
        let payloads = payloads(subscriber, count);
        let answers = clients.into_iter().map(|it| it.join().unwrap());
        (answers.collect(), payloads)
    })
}

fn subscriber(bridge: &Bridge) -> Client {
    let mut client = bridge.client();
    client.subscribe("c");
    client
}

/// The payloads of the next `count` notifications.
fn payloads(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.payload()).collect()
}

/// A `search_path` may put functions of the same names before PostgreSQL's (CVE-2018-1058).
#[test]
fn functions_of_the_same_name_in_the_search_path_are_not_called() {
    let database = Database::create();
    let mut sql = database.sql();
    sql.run("CREATE SCHEMA app");
    for function in [
        "pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'",
        "pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "pg_backend_pid() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT ''on''::text'",
        "pg_notification_queue_usage() RETURNS float8 LANGUAGE sql AS 'SELECT 1.0::float8'",
    ] {
        sql.run(&format!("CREATE FUNCTION app.{function}"));
    }
    sql.run(&format!(
        "ALTER DATABASE \"{}\" SET search_path = app, pg_catalog",
        database.name
    ));
    let bridge = Bridge::start(&database.url());
    let mut subscriber = subscriber(&bridge);
    assert_eq!(bridge.client().notify("c", "heard")["type"], "notified");
    assert_eq!(payloads(&mut subscriber, 1), ["heard"]);
}

/// Without its operator, the bridge would not lift the time-out that ends idle sessions.
#[test]
fn operators_of_the_same_name_in_the_search_path_are_not_called() {
    let database = Database::create();
    let mut sql = database.sql();
    let version: u32 = sql.one("SHOW server_version_num").parse().unwrap();
    if version < 140_000 {
        return; // There is no such time-out.
    }
    sql.run(&format!(
        "CREATE SCHEMA app;
         CREATE FUNCTION app.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR app.= (LEFTARG = text, RIGHTARG = text, FUNCTION = app.never);
         ALTER DATABASE \"{0}\" SET search_path = app, pg_catalog;
         ALTER DATABASE \"{0}\" SET idle_session_timeout = '1s'",
        database.name
    ));
    let sessions = format!(
        "SELECT pid FROM pg_stat_activity
         WHERE datname = '{}' AND application_name LIKE 'alle%' ORDER BY pid",
        database.name
    );
    let bridge = Bridge::start(&database.url());
    let ours = sql.run(&sessions);
    assert_eq!(ours.len(), 2, "{ours:?}");
    let _later = database.sql();
    let others = "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend'
         AND application_name NOT LIKE 'alle%' AND pid <> pg_backend_pid()";
    wait_until("an idle session that began later is ended", || {
        sql.run(others).is_empty()
    });
    assert_eq!(sql.run(&sessions), ours);
    assert_eq!(bridge.client().notify("c", "heard")["type"], "notified");
}

#[test]
fn unequal_publishes_of_many_clients_are_each_delivered_once_and_in_their_client_s_order() {
    let (bridge, _database) = bridge_and_database();
    let mut subscriber = subscriber(&bridge);
    let by_number = |client, number| format!("{client} {number}");
    let (answers, payloads) = publish_all(&bridge, &mut subscriber, CLIENTS * PUBLISHES, by_number);
    for answers in answers {
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer["type"], "notified");
            assert_eq!(answer["id"], number);
        }
    }
    let mut next = HashMap::new();
    for payload in payloads {
        let (client, number) = payload.split_once(' ').unwrap();
        let expected = next.entry(client.to_owned()).or_insert(0);
        assert_eq!(number, expected.to_string(), "client {client}");
        *expected += 1;
    }
    subscriber.expect_silence();
}

#[test]
fn equal_publishes_of_many_clients_are_as_many_notifications() {
    let (bridge, _database) = bridge_and_database();
    let mut subscriber = subscriber(&bridge);
    let few = |_, number: usize| (number % 3).to_string();
    let (answers, payloads) = publish_all(&bridge, &mut subscriber, CLIENTS * PUBLISHES, few);
    let committed = answers.iter().flatten();
    let committed = committed.filter(|answer| answer["type"] == "notified");
    assert_eq!(committed.count(), CLIENTS * PUBLISHES);
    let mut counts = HashMap::new();
    for payload in payloads {
        *counts.entry(payload).or_insert(0) += 1;
    }
    let of = |number| (0..PUBLISHES).filter(|it| it % 3 == number).count() * CLIENTS;
    for number in 0..3 {
        assert_eq!(counts[&number.to_string()], of(number));
    }
    subscriber.expect_silence();
}

/// PostgreSQL is made to refuse payloads that end in 7: wherever one stands in a transaction, it
/// alone is refused, and no other of that transaction is lost, doubled or out of order.
#[test]
fn a_publish_that_postgresql_refuses_harms_no_other() {
    let database = Database::create();
    database.sql().run(
        "ALTER FUNCTION pg_catalog.pg_notify RENAME TO pg_notify_as_ever;
         CREATE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void
         LANGUAGE plpgsql AS $$ BEGIN
             IF $2 LIKE '%7' THEN RAISE 'no sevens' USING ERRCODE = '22000'; END IF;
             PERFORM pg_catalog.pg_notify_as_ever($1, $2);
         END $$",
    );
    let bridge = Bridge::start(&database.url());
    let mut subscriber = subscriber(&bridge);
    let by_number = |client, number| format!("{client} {number}");
    let accepted = CLIENTS * PUBLISHES * 9 / 10;
    let (answers, payloads) = publish_all(&bridge, &mut subscriber, accepted, by_number);
    for answers in answers {
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer["id"], number);
            let refused = number % 10 == 7;
            let expected = if refused { "error" } else { "notified" };
            assert_eq!(answer["type"], expected, "{answer}");
            if refused {
                assert_eq!(answer["code"], "postgres_error");
                assert_eq!(answer["sqlstate"], "22000");
                assert_eq!(answer["message"], "no sevens");
            }
        }
    }
    let mut last: HashMap<String, usize> = HashMap::new();
    for payload in payloads {
        let (client, number) = payload.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        let before = last.insert(client.to_owned(), number);
        assert!(before < Some(number), "{client}: {number} after {before:?}");
    }
    subscriber.expect_silence();
}

#[test]
fn a_bridge_that_only_listens_is_ready_without_a_publishing_session() {
    let database = Database::create();
    let elsewhere = ["--pg-publish-url", NO_POSTGRES];
    let bridge = Bridge::serve(&database.url(), &elsewhere);
    let reason = "the publishing session is not connected";
    wait_until("a channel is heard", || {
        let ready = bridge.get("/readyz");
        ready.status == 503 && ready.body.contains(reason)
    });
    let bridge = Bridge::start_with(
        &database.url(),
        &[&elsewhere[..], &["--allow-publish", ""]].concat(),
    );
    let mut client = bridge.client();
    client.subscribe("a");
    database.sql().notify("a", "from PostgreSQL");
    assert_eq!(client.payload(), "from PostgreSQL");
}
