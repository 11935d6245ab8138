//! A transaction holds the lock for NOTIFY, because it waits for a standby that is gone: no publish
//! commits, and the bridge takes no more sessions than it needs.

use std::thread;

use alle::internals::sandbox::Sandbox;

use crate::{
    harness::{Bridge, wait_until},
    sql::Sql,
};

const PUBLISHERS: &str = "SELECT pid FROM pg_stat_activity WHERE application_name = 'alle publish'";
/// An autovacuum worker waits for the standby as well, and holds nothing up.
const HOLDER: &str = "SELECT pid FROM pg_stat_activity \
                      WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'";

fn with_standby(sql: &mut Sql, name: &str) {
    sql.run(&format!(
        "ALTER SYSTEM SET synchronous_standby_names = '{name}'"
    ));
    sql.run("SELECT pg_reload_conf()");
    let setting = "SELECT current_setting('synchronous_standby_names')";
    wait_until("the setting is read", || sql.one(setting) == name);
}

/// A transaction that notifies, and never commits until there is no standby to be waited for.
fn hold_lock(server: &Sandbox, sql: &mut Sql) -> (thread::JoinHandle<()>, String) {
    with_standby(sql, "ghost");
    let mut holder = Sql::connect(server.port(), "postgres");
    let commit = thread::spawn(move || {
        holder.run("BEGIN; CREATE TABLE held (); NOTIFY other; COMMIT");
    });
    wait_until("the commit waits", || sql.run(HOLDER).len() == 1);
    let pid = sql.one(HOLDER);
    (commit, pid)
}

/// The publishing session goes by another name, so that it is given up after 25 s.
#[test]
fn the_holder_is_named_and_a_session_that_is_given_up_leaves_the_server() {
    let server = Sandbox::start().unwrap();
    let mut sql = Sql::connect(server.port(), "postgres");
    let url = server.url();
    let publish_url = url.replacen("127.0.0.1", "localhost", 1);
    assert_ne!(url, publish_url);
    let bridge = Bridge::start_with(&url, &["--pg-publish-url", &publish_url]);
    let publisher = sql.one(PUBLISHERS);
    let (commit, holder) = hold_lock(&server, &mut sql);

    let reason = format!("process {holder} of PostgreSQL holds the lock for NOTIFY");
    wait_until("/readyz names the holder", || {
        let ready = bridge.get("/readyz");
        ready.status == 503 && ready.body.contains(&reason)
    });
    wait_until("another session publishes", || {
        let publishers = sql.run(PUBLISHERS);
        assert!(publishers.len() <= 2, "{publishers:?}");
        publishers.len() == 1 && publishers[0] != publisher
    });

    with_standby(&mut sql, "");
    commit.join().unwrap();
    bridge.wait_until_ready();
    let answer = bridge.client().notify("a", "p");
    assert_eq!(answer["type"], "notified");
}
