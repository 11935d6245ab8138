//! PostgreSQL's queue of notifications is full, and stays so after what filled it is gone: until somebody
//! asks how full it is. The bridge does.
//!
//! From PostgreSQL 17 on, where the queue can be made small; before, it takes gigabytes.

use alle::internals::sandbox::Sandbox;

use crate::{
    harness::{Bridge, wait_until},
    sql::Sql,
};

/// A server with a queue of half a megabyte; none where that cannot be.
fn server() -> Option<Sandbox> {
    let server = Sandbox::start().unwrap();
    let mut sql = Sql::connect(server.port(), "postgres");
    let version: u32 = sql.one("SHOW server_version_num").parse().unwrap();
    if version < 170_000 {
        return None;
    }
    server
        .append_configuration("max_notify_queue_pages = 64\n")
        .unwrap();
    server.restart().unwrap();
    Some(server)
}

/// Fills the queue, since a session listens and stays in a transaction, and ends that.
fn fill(server: &Sandbox) {
    let connect = || Sql::connect(server.port(), "postgres");
    let (mut listener, mut publisher) = (connect(), connect());
    listener.run("LISTEN deaf");
    listener.run("BEGIN");
    listener.run("SELECT 1");
    let payload = "x".repeat(7_000);
    let mut count = 0;
    let refused = loop {
        if let Err(error) = publisher.try_notify("deaf", &format!("{count} {payload}")) {
            break error;
        }
        count += 1;
        assert!(count < 1_000, "the queue is small");
    };
    assert!(refused.to_string().contains("54000"), "{refused}");
    listener.run("COMMIT");
    // It has read everything by now.
    listener.run("UNLISTEN *");
}

fn is_full(server: &Sandbox) -> bool {
    let mut sql = Sql::connect(server.port(), "postgres");
    sql.try_notify("anything", "p").is_err()
}

#[test]
fn a_queue_that_stays_full_is_healed_by_a_bridge_that_comes() {
    let Some(server) = server() else { return };
    fill(&server);
    for _ in 0..3 {
        assert!(is_full(&server), "nobody has asked how full it is");
    }
    let bridge = Bridge::start_with(&server.url(), &["-c", "c"]);
    assert!(!is_full(&server));
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "p")["type"], "notified");
    assert_eq!(client.payload(), "p");
}

/// Nobody publishes through the bridge: its heartbeat alone asks.
#[test]
fn a_queue_that_stays_full_is_healed_by_the_heartbeat() {
    let Some(server) = server() else { return };
    let bridge = Bridge::start_with(&server.url(), &["-c", "c"]);
    let mut client = bridge.client();
    client.subscribe("c");
    fill(&server);
    wait_until("the queue has room again", || !is_full(&server));
    let mut sql = Sql::connect(server.port(), "postgres");
    sql.notify("c", "p");
    assert_eq!(client.payload(), "p");
    bridge.wait_until_ready();
}
