//! Contract, section 3: the recipients, the time and the order of deliveries.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use alle::internals::sandbox::{self, SAMPLE_SQL};
use serde_json::{Value, json};

use crate::{
    client::Client,
    harness::{Bridge, Database, PATIENCE, bridge_and_database},
    raw::{Raw, TEXT, texts},
};

#[test]
fn every_notify_after_subscribed_is_delivered() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    for round in 0..300 {
        let channel = format!("round {round}");
        client.subscribe(&channel);
        sql.notify(&channel, "at once");
        let notification = client.next();
        assert_eq!(notification["channel"], channel, "{notification}");
        client.unsubscribe(&channel);
    }
}

#[test]
fn a_subscriber_that_joins_a_listen_in_flight_misses_nothing_after_its_own_subscribed() {
    let (bridge, database) = bridge_and_database();
    thread::scope(|scope| {
        for n in 0..8 {
            let (bridge, database) = (&bridge, &database);
            scope.spawn(move || {
                let mut sql = database.sql();
                for round in 0..25 {
                    let (mut client, payload) = (bridge.client(), format!("{n} {round}"));
                    client.subscribe("shared");
                    sql.notify("shared", &payload);
                    client.expect(|message| message["payload"] == payload);
                }
            });
        }
    });
}

#[test]
fn flapping_subscriptions_never_lose_the_listen() {
    let (bridge, database) = bridge_and_database();
    thread::scope(|scope| {
        for n in 0..2 {
            let (bridge, database) = (&bridge, &database);
            scope.spawn(move || {
                let (mut client, mut sql) = (bridge.client(), database.sql());
                for round in 0..300 {
                    let payload = format!("{n} {round}");
                    client.subscribe("flapping");
                    sql.notify("flapping", &payload);
                    client.expect(|message| message["payload"] == payload);
                    client.unsubscribe("flapping");
                }
            });
        }
    });
}

#[test]
fn nothing_of_a_channel_arrives_after_unsubscribed() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("kept");
    for round in 0..50 {
        client.subscribe("gone");
        sql.run("NOTIFY gone, 'before'");
        client.send(&json!({"type": "unsubscribe", "channel": "gone"}));
        sql.run("NOTIFY gone, 'after'; NOTIFY kept, 'fence'");
        client.expect_type("unsubscribed");
        loop {
            let message = client.next();
            if message["channel"] == "kept" {
                break;
            }
            // Notifications read before `unsubscribed` precede it in the queue, too.
            assert_eq!(message["channel"], "gone", "{round}: {message}");
        }
    }
}

#[test]
fn after_unsubscribed_the_next_message_is_of_another_channel() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut other, mut sql) = (bridge.client(), bridge.client(), database.sql());
    client.subscribe("kept");
    client.subscribe("gone");
    other.subscribe("gone");
    client.unsubscribe("gone");
    sql.run("NOTIFY gone, 'a'; NOTIFY kept, 'b'");
    assert_eq!(client.next()["payload"], "b");
    assert_eq!(other.payload(), "a");
}

#[test]
fn subscribing_twice_is_one_subscription() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    let first = client.subscribe("c");
    assert_eq!(client.subscribe("c"), first);
    sql.run("NOTIFY c, 'once'");
    assert_eq!(client.payload(), "once");
    client.unsubscribe("c");
    client.subscribe("fence");
    sql.run("NOTIFY c, 'never'; NOTIFY fence, 'last'");
    assert_eq!(client.payload(), "last");
    client.expect_silence();
}

/// Each unsubscribe may overtake the LISTEN before it, or not: both are right, in the order sent.
#[test]
fn pipelined_requests_for_one_channel_are_answered_in_the_order_asked() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    for round in 0..200 {
        let request = |kind, id| json!({"type": kind, "channel": "c", "id": id});
        client.send_all(&[
            request("subscribe", 1),
            request("unsubscribe", 2),
            request("subscribe", 3),
            request("subscribe", 4),
            request("unsubscribe", 5),
            request("subscribe", 6),
        ]);
        for id in 1..=6 {
            let answer = client.next();
            assert_eq!(answer["id"], id, "{round}: {answer}");
            match id {
                2 | 5 => assert_eq!(answer["type"], "unsubscribed"),
                6 => assert_eq!(answer["type"], "subscribed"),
                _ if answer["type"] == "subscribed" => {}
                _ => assert_eq!(answer["code"], "cancelled"),
            }
        }
        sql.notify("c", &round.to_string());
        assert_eq!(client.payload(), round.to_string());
        client.unsubscribe("c");
    }
    client.expect_silence();
}

#[test]
fn a_notification_arrives_only_after_its_commit() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("c");
    sql.run("BEGIN");
    sql.run("NOTIFY c, 'uncommitted'");
    assert_eq!(client.notify("c", "committed")["type"], "notified");
    assert_eq!(client.payload(), "committed");
    client.expect_silence();
    sql.run("COMMIT");
    assert_eq!(client.payload(), "uncommitted");
}

#[test]
fn notifications_of_a_rolled_back_transaction_are_never_delivered() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("c");
    sql.run("BEGIN");
    sql.run("NOTIFY c, 'lost'");
    sql.run("ROLLBACK");
    sql.run("NOTIFY c, 'kept'");
    assert_eq!(client.payload(), "kept");
    client.expect_silence();
}

#[test]
fn notified_means_committed() {
    let (bridge, database) = bridge_and_database();
    let mut client = bridge.client();
    let mut sql = database.sql();
    for round in 0..100 {
        let payload = round.to_string();
        sql.run("LISTEN c");
        assert_eq!(client.notify("c", &payload)["type"], "notified");
        // The server sends committed notifications ahead of the answer to the next query.
        sql.run("SELECT 1");
        assert_eq!(sql.heard(), [("c".to_owned(), payload)]);
    }
}

#[test]
fn a_publisher_hears_its_own_notification() {
    let (bridge, _) = bridge_and_database();
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "mine")["type"], "notified");
    assert_eq!(client.payload(), "mine");
    client.expect_silence();
}

#[test]
fn equal_payloads_are_as_many_notifications() {
    let (bridge, _) = bridge_and_database();
    let (mut publisher, mut listener) = (bridge.client(), bridge.client());
    listener.subscribe("c");
    let equal = json!({"type": "notify", "channel": "c", "payload": "same"});
    publisher.send_all(&vec![equal; 300]);
    for seq in 1..=300 {
        let notification = listener.next();
        assert_eq!(notification["seq"], seq);
        assert_eq!(notification["payload"], "same");
    }
    listener.expect_silence();
}

#[test]
fn publishes_of_one_client_are_committed_in_the_order_sent() {
    let (bridge, _) = bridge_and_database();
    let (mut publisher, mut listener) = (bridge.client(), bridge.client());
    listener.subscribe("even");
    listener.subscribe("odd");
    let channel = |n: usize| if n.is_multiple_of(2) { "even" } else { "odd" };
    let notify = |n| json!({"type": "notify", "channel": channel(n), "payload": n.to_string()});
    publisher.send_all(&(0..2_000).map(notify).collect::<Vec<_>>());
    for n in 0..2_000 {
        let notification = listener.next();
        assert_eq!(notification["payload"], n.to_string());
        assert_eq!(notification["channel"], channel(n));
    }
}

#[test]
fn payloads_of_any_text_arrive_as_they_were() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("c");
    for payload in [
        "",
        " ",
        "é ß 漢字 \u{1F980}\u{200D}\u{1F468}",
        "\u{FEFF}bom",
        "\u{FFFD}\u{10FFFF}\u{7F}\u{80}\u{2028}",
        "\"quoted\" \\ back / slash '; DROP TABLE t; --",
        "line\nbreak\r\ttab\u{1}\u{1f}\u{8}\u{c}",
        r#"{"json":"inside"}"#,
        "$1 $$ %s {}",
    ] {
        sql.notify("c", payload);
        let notification = client.next();
        assert_eq!(notification["payload"], payload);
        assert_eq!(notification.get("lossy"), None);
        assert_eq!(client.notify("c", payload)["type"], "notified");
        assert_eq!(client.payload(), payload);
    }
}

#[test]
fn channel_names_are_exact_and_never_inject() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    sql.run("CREATE TABLE t (a int)");
    let crabs = "\u{1F980}".repeat(15) + "abc";
    let names = [
        "orders",
        "Orders",
        "ORDERS",
        "a\"b",
        "\"",
        "\"\"",
        "x; DROP TABLE t",
        "x\"; DROP TABLE t; --",
        "'",
        " ",
        " a b ",
        "a.b.c",
        "*",
        "select",
        "é",
        "e\u{301}",
        "\n\t\u{1}",
        "\\",
        "$1",
        &crabs,
        &"x".repeat(63),
    ];
    for name in names {
        client.subscribe(name);
    }
    for name in names {
        sql.notify(name, name);
        let notification = client.next();
        assert_eq!(
            (&notification["channel"], &notification["payload"]),
            (&json!(name), &json!(name))
        );
        assert_eq!(client.notify(name, "by us")["type"], "notified");
        assert_eq!(client.expect_type("notification")["channel"], name);
    }
    for name in names {
        client.unsubscribe(name);
    }
    client.expect_silence();
    assert_eq!(sql.one("SELECT count(*) FROM t"), "0", "the table is there");
}

#[test]
fn a_trigger_notifies_of_each_inserted_row() {
    let (bridge, database) = bridge_and_database();
    sandbox::shared()
        .load_sql(&database.name, SAMPLE_SQL)
        .unwrap();
    let mut client = bridge.client();
    client.subscribe("orders");
    let insert = "INSERT INTO orders (customer_name, total, status) VALUES \
                  ('Test User', 99.99, 'pending')";
    database.sql().run(insert);
    let order: Value = serde_json::from_str(&client.payload()).unwrap();
    assert_eq!(
        order,
        json!({"id": 1, "customer_name": "Test User", "total": 99.99, "status": "pending"})
    );
}

#[test]
fn a_payload_that_is_no_utf_8_is_delivered_lossily_and_marked() {
    let database = Database::with_encoding("SQL_ASCII");
    let bridge = Bridge::start(&database.url());
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("c");
    sql.run("SET client_encoding = 'SQL_ASCII'");
    sql.run_bytes(b"NOTIFY c, 'a\xff\xc3b'").unwrap();
    assert_eq!(
        client.next(),
        json!({
            "type": "notification", "channel": "c", "seq": 1,
            "payload": "a\u{FFFD}\u{FFFD}b", "lossy": true
        })
    );
    sql.run("NOTIFY c, 'é'");
    let notification = client.next();
    assert_eq!(notification["payload"], "é");
    assert_eq!(notification.get("lossy"), None);
    assert_eq!(client.notify("c", "ü")["type"], "notified");
    assert_eq!(client.payload(), "ü");
}

#[test]
fn in_a_latin1_database_letters_of_latin1_pass_and_others_are_an_error() {
    let database = Database::with_encoding("LATIN1");
    let bridge = Bridge::start(&database.url());
    let mut client = bridge.client();
    client.subscribe("Grüße");
    assert_eq!(client.notify("Grüße", "é")["type"], "notified");
    assert_eq!(client.payload(), "é");
    let refused = client.notify("Grüße", "漢");
    assert_eq!(
        (&refused["code"], &refused["sqlstate"], &refused["channel"]),
        (&json!("postgres_error"), &json!("22P05"), &json!("Grüße"))
    );
    let told = refused["message"].as_str().unwrap();
    let expected = "the server's encoding lacks a character of the payload: ";
    assert!(told.starts_with(expected), "{told}");
    let refused = client.notify("漢", "漢");
    assert_eq!(refused["code"], "bad_channel", "{refused}");
    database.sql().run("NOTIFY \"Grüße\", 'ÿ'");
    assert_eq!(client.payload(), "ÿ");
    client.expect_silence();
}

/// The server would cut a long name with a mere notice, which this setting hides.
#[test]
fn a_name_that_the_encoding_of_the_database_does_not_keep_is_bad() {
    let database = Database::with_encoding("EUC_JP");
    let alter = format!(
        "ALTER DATABASE {} SET client_min_messages = error",
        database.name
    );
    database.sql().run(&alter);
    let bridge = Bridge::start(&database.url());
    let mut client = bridge.client();
    // U+00A6 becomes U+FFE4 there; 31 characters are 62 bytes there, and 32 are 64.
    let (long, longer) = ("あ".repeat(31), "あ".repeat(32));
    for (name, is_kept) in [
        ("A\u{a6}", false),
        ("A\u{ffe4}", true),
        ("\u{1f418}", false),
        ("It's 1 \\ 日本", true),
        (&long, true),
        (&longer, false),
        (&"x".repeat(63), true),
        (&"x".repeat(64), false),
    ] {
        let subscribe = json!({"type": "subscribe", "channel": name, "id": "s"});
        let answer = client.ask(&subscribe);
        if is_kept {
            assert_eq!(answer["type"], "subscribed", "{name}: {answer}");
            assert_eq!(client.notify(name, "p")["type"], "notified");
            assert_eq!(client.payload(), "p", "{name}");
        } else {
            assert_eq!(answer["code"], "bad_channel", "{name}: {answer}");
            assert_eq!(
                (&answer["channel"], &answer["id"]),
                (&json!(name), &json!("s"))
            );
            // Nobody could hear that.
            let answer = client.notify(name, "p");
            assert_eq!(answer["code"], "bad_channel", "{name}: {answer}");
        }
    }
    bridge.wait_until_ready();
}

#[test]
fn in_a_latin1_database_the_limit_counts_latin1_bytes() {
    let database = Database::create();
    let name = format!("{}_latin1", database.name);
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    database.sql().run(&create);
    let database = Database { name };
    let bridge = Bridge::start(&database.url());
    let mut client = bridge.client();
    client.subscribe("c");
    let payload = "é".repeat(7_999);
    let answer = client.notify("c", &payload);
    assert_eq!(answer["type"], "notified", "{answer}");
    assert_eq!(client.payload(), payload);
    let refused = client.notify("c", &"é".repeat(8_000));
    assert_eq!(refused["type"], "error");
    assert!(
        refused["code"] == "payload_too_large" || refused["sqlstate"] == "22023",
        "{refused}"
    );
}

#[test]
fn every_subscriber_of_a_channel_has_the_same_epoch_and_seq() {
    let (bridge, database) = bridge_and_database();
    let (mut early, mut late, mut sql) = (bridge.client(), bridge.client(), database.sql());
    let first = early.subscribe("c");
    sql.run("NOTIFY c, '1'; NOTIFY c, '2'");
    early.expect(|message| message["seq"] == 2);
    let second = late.subscribe("c");
    assert_eq!(second["epoch"], first["epoch"]);
    assert_eq!(second["seq"], 2);
    sql.run("NOTIFY c, '3'");
    assert_eq!(late.next()["seq"], 3);
}

#[test]
fn each_channel_and_each_listen_has_an_epoch_of_its_own() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    let mut epochs = vec![client.subscribe("other")["epoch"].clone()];
    for _ in 0..20 {
        let subscribed = client.subscribe("c");
        assert_eq!(subscribed["seq"], 0);
        assert!(!epochs.contains(&subscribed["epoch"]), "{subscribed}");
        epochs.push(subscribed["epoch"].clone());
        sql.run("NOTIFY c");
        assert_eq!(client.expect_type("notification")["seq"], 1);
        client.unsubscribe("c");
    }
}

const BURST: usize = 10_000;

/// 100 clients that keep reading; their input is compared as bytes, since it has a million
/// messages, and one client's as JSON.
#[test]
fn ten_thousand_notifications_of_one_transaction_reach_100_clients_once_and_in_order() {
    let (bridge, database) = bridge_and_database();
    let mut sql = database.sql();
    let mut clients: Vec<_> = (0..100).map(|_| Raw::upgraded(bridge.address)).collect();
    for client in &mut clients {
        for channel in ["even", "odd"] {
            let subscribe = json!({"type": "subscribe", "channel": channel}).to_string();
            client.send(TEXT, subscribe.as_bytes());
            assert!(client.text().contains("subscribed"));
        }
    }
    let burst: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.frames(BURST)))
            .collect();
        sql.run(&format!(
            "SELECT pg_notify(CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END, n::text)
             FROM generate_series(0, {}) AS n",
            BURST - 1
        ));
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    let one = texts(&burst[0]);
    let one = one.iter().map(|it| serde_json::from_slice(it).unwrap());
    let one: Vec<Value> = one.collect();
    assert_eq!(one.len(), BURST);
    for (n, notification) in one.iter().enumerate() {
        let channel = if n % 2 == 0 { "even" } else { "odd" };
        let (payload, seq) = (n.to_string(), n / 2 + 1);
        assert_eq!(
            *notification,
            json!({"type": "notification", "channel": channel, "payload": payload, "seq": seq})
        );
    }
    for (n, other) in burst.iter().enumerate() {
        assert!(*other == burst[0], "client {n} was told something else");
    }
    for client in &mut clients {
        client.send(TEXT, br#"{"type":"ping"}"#);
        assert_eq!(
            client.text(),
            r#"{"type":"pong"}"#,
            "nothing more, and still open"
        );
    }
}

#[test]
fn a_client_gone_without_a_word_does_not_disturb_the_others() {
    let (bridge, database) = bridge_and_database();
    let (mut stays, mut sql) = (bridge.client(), database.sql());
    stays.subscribe("c");
    for round in 0..50 {
        let mut goes = bridge.client();
        goes.subscribe("c");
        sql.notify("c", "while it goes");
        drop(goes);
        sql.notify("c", &round.to_string());
        assert_eq!(stays.payload(), "while it goes");
        assert_eq!(stays.payload(), round.to_string());
    }
}

/// `Connection: close`-less HTTP, half a head and garbage, between two notifications.
#[test]
fn strangers_do_not_disturb_the_clients() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("c");
    for bytes in [
        &b"\0\xff\x16\x03\x01"[..],
        b"GET / HT",
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stranger = TcpStream::connect(bridge.address).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(bytes).unwrap();
        stranger.shutdown(std::net::Shutdown::Write).unwrap();
        // A reset is an end as well.
        let _ = stranger.read_to_end(&mut Vec::new());
        sql.notify("c", "still here");
        assert_eq!(client.payload(), "still here");
    }
}

#[test]
fn a_client_may_upgrade_at_the_root_and_at_ws() {
    let (bridge, _) = bridge_and_database();
    for path in ["/", "/ws"] {
        Client::connect_to(bridge.address, path).subscribe("c");
    }
}
