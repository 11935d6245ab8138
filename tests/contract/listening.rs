//! Contract, section 3: our sessions as PostgreSQL sees them, read from its own log and its own
//! views.

use serde_json::json;

use crate::{
    harness::{Bridge, Database, bridge_and_database, logged_by_postgres, wait_until},
    sql::Sql,
};

/// A database whose statements are logged, a bridge on it, and a channel no other test uses.
fn logged(channel: &str) -> (Bridge, Database, String) {
    let database = Database::create();
    database.log_statements();
    let bridge = Bridge::start(&database.url());
    let channel = format!("{channel} {}", database.name);
    (bridge, database, channel)
}

/// The space distinguishes it from `UNLISTEN`.
fn listens(channel: &str) -> usize {
    logged_by_postgres(&format!(" LISTEN \"{channel}\""))
}

fn unlistens(channel: &str) -> usize {
    logged_by_postgres(&format!("UNLISTEN \"{channel}\""))
}

/// The names of our sessions, sorted; autovacuum may be there as well.
fn sessions(sql: &mut Sql) -> Vec<String> {
    sql.run(
        "SELECT application_name FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND backend_type = 'client backend' ORDER BY 1",
    )
}

#[test]
fn there_is_one_listening_and_one_publishing_session_however_many_clients() {
    let (bridge, database) = bridge_and_database();
    let mut sql = database.sql();
    let mut clients: Vec<_> = (0..50).map(|_| bridge.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("shared");
        client.subscribe(&format!("own {n}"));
        assert_eq!(client.notify("shared", "p")["type"], "notified");
    }
    assert_eq!(sessions(&mut sql), ["alle", "alle publish"]);
}

#[test]
fn a_name_in_the_connection_string_names_both_sessions() {
    let database = Database::create();
    let bridge = Bridge::start(&format!("{}?application_name=my%20shop", database.url()));
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "p")["type"], "notified");
    assert_eq!(sessions(&mut database.sql()), ["my shop", "my shop"]);
}

#[test]
fn only_the_first_subscriber_listens() {
    let (bridge, _database, channel) = logged("first");
    let mut clients: Vec<_> = (0..5).map(|_| bridge.client()).collect();
    for client in &mut clients {
        client.subscribe(&channel);
        client.subscribe(&channel);
    }
    assert_eq!(listens(&channel), 1);
}

#[test]
fn only_the_last_unsubscribe_unlistens() {
    let (bridge, database, channel) = logged("last");
    let (mut first, mut last) = (bridge.client(), bridge.client());
    first.subscribe(&channel);
    last.subscribe(&channel);
    first.unsubscribe(&channel);
    first.unsubscribe(&channel);
    database.sql().notify(&channel, "still heard");
    assert_eq!(last.payload(), "still heard");
    assert_eq!(unlistens(&channel), 0);
    last.unsubscribe(&channel);
    wait_until("UNLISTEN", || unlistens(&channel) == 1);
}

#[test]
fn a_client_that_closes_unlistens() {
    let (bridge, _database, channel) = logged("close");
    let mut client = bridge.client();
    client.subscribe(&channel);
    client.close();
    wait_until("UNLISTEN", || unlistens(&channel) == 1);
}

#[test]
fn a_client_gone_without_a_word_unlistens() {
    let (bridge, _database, channel) = logged("gone");
    let mut client = bridge.client();
    client.subscribe(&channel);
    drop(client);
    wait_until("UNLISTEN", || unlistens(&channel) == 1);
}

#[test]
fn a_client_that_breaks_the_protocol_unlistens() {
    let (bridge, _database, channel) = logged("broken");
    let mut client = bridge.client();
    client.subscribe(&channel);
    client.send_text(&"x".repeat(65_537));
    wait_until("UNLISTEN", || unlistens(&channel) == 1);
}

#[test]
fn a_client_gone_before_listen_is_confirmed_leaves_nothing_listened_to() {
    let (bridge, database, channel) = logged("early");
    for _ in 0..20 {
        let mut client = bridge.client();
        client.send(&json!({"type": "subscribe", "channel": channel}));
        drop(client);
    }
    // Behind every statement of the bridge for those clients.
    let mut fence = bridge.client();
    fence.subscribe("fence");
    wait_until("as many UNLISTEN as LISTEN", || {
        unlistens(&channel) == listens(&channel)
    });
    database.sql().notify(&channel, "nobody listens");
    fence.expect_silence();
}

#[test]
fn channels_of_the_command_line_are_listened_to_from_the_start_and_never_unlistened() {
    let database = Database::create();
    database.log_statements();
    let channel = format!("start_{}", database.name);
    let bridge = Bridge::start_with(&database.url(), &["-c", &format!("other,{channel}")]);
    assert_eq!(listens(&channel), 1);
    let mut client = bridge.client();
    client.subscribe(&channel);
    client.unsubscribe(&channel);
    let fence = format!("fence_{}", database.name);
    client.subscribe(&fence);
    client.unsubscribe(&fence);
    wait_until("the fence's UNLISTEN", || unlistens(&fence) == 1);
    assert_eq!((listens(&channel), unlistens(&channel)), (1, 0));
}

#[test]
fn many_channels_come_and_go_without_a_trace() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    for n in 0..200 {
        client.subscribe(&format!("c{n}"));
        client.unsubscribe(&format!("c{n}"));
    }
    client.subscribe("kept");
    sql.notify("c7", "never");
    sql.notify("kept", "heard");
    assert_eq!(client.payload(), "heard");
}

/// Ten thousand channels: a reconnect loses none, and tells each of its subscribers.
#[test]
fn ten_thousand_channels_are_listened_to_again() {
    const CLIENTS: usize = 10;
    const CHANNELS_A_CLIENT: usize = 1_000;
    let (bridge, database) = bridge_and_database();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| bridge.client()).collect();
    let name = |client: usize, channel: usize| format!("c {client} {channel}");
    for number in 0..CLIENTS {
        let (earlier, client) = clients.split_at_mut(number);
        let messages: Vec<_> = (0..CHANNELS_A_CLIENT)
            .map(|channel| json!({"type": "subscribe", "channel": name(number, channel)}))
            .collect();
        client[0].send_all(&messages);
        for _ in 0..CHANNELS_A_CLIENT {
            client[0].expect_type("subscribed");
        }
        // On a busy machine this takes so long that they are pinged.
        for client in earlier {
            client.expect_silence();
        }
    }
    let mut sql = database.sql();
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'alle' AND datname = current_database()";
    assert_eq!(sql.run(terminate), ["t"]);
    for client in &mut clients {
        let down = client.next();
        assert_eq!(down, json!({"type": "status", "postgres": "down"}));
        for _ in 0..CHANNELS_A_CLIENT {
            assert_eq!(client.next()["type"], "gap");
        }
        assert_eq!(client.next(), json!({"type": "status", "postgres": "up"}));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let last = name(number, CHANNELS_A_CLIENT - 1);
        sql.run(&format!("NOTIFY \"{last}\", 'heard'"));
        assert_eq!(client.payload(), "heard");
    }
}

/// Whoever hears of a channel must not be able to write what the bridge takes for proof.
#[test]
fn the_probe_does_not_follow_from_an_epoch() {
    let database = Database::create();
    database.log_statements();
    let bridge = Bridge::start(&database.url());
    let subscribed = bridge.client().subscribe("c");
    let epoch = subscribed["epoch"].as_str().unwrap();
    let shown = format!("alle probe {}", &epoch[..16]);
    assert!(logged_by_postgres("alle probe ") > 0);
    assert_eq!(logged_by_postgres(&shown), 0, "{shown}");
}
