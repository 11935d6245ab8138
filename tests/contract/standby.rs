//! A primary and its standby: the bridge's choice between them, and its reaction when they change
//! places.

use std::{
    process::{Command, Stdio},
    sync::OnceLock,
    time::Instant,
};

use alle::internals::sandbox::Sandbox;

use crate::{
    harness::{AT_ONCE, Bridge, wait_until},
    program::alle_with,
    sql::Sql,
    witness::{Publisher, Witness},
};

/// A primary and its standby, which no test harms.
fn pair() -> &'static [Sandbox; 2] {
    static PAIR: OnceLock<[Sandbox; 2]> = OnceLock::new();
    PAIR.get_or_init(start_pair)
}

pub fn start_pair() -> [Sandbox; 2] {
    let primary = Sandbox::start().unwrap();
    let standby = primary.start_standby().unwrap();
    let mut sql = Sql::connect(primary.port(), "postgres");
    wait_until("the standby streams", || {
        sql.one("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
    });
    [primary, standby]
}

/// Both of them in this order.
pub fn url([first, second]: [&Sandbox; 2], parameters: &str) -> String {
    let (first, second) = (first.port(), second.port());
    format!("postgresql://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres{parameters}")
}

/// The port of the server that `psql` chooses.
#[track_caller]
fn psql_connects_to(url: &str) -> u16 {
    let output = Command::new(pair()[0].client("psql"))
        .args(["-X", "-A", "-t", "-w", "-c", "SELECT inet_server_port()"])
        .args(["-d", url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let port = String::from_utf8(output.stdout).unwrap();
    port.trim().parse().unwrap()
}

#[test]
fn the_primary_is_found_wherever_it_stands() {
    let [primary, standby] = pair();
    for order in [[primary, standby], [standby, primary]] {
        let attributes = [
            "",
            "?target_session_attrs=read-write",
            "?target_session_attrs=primary",
        ];
        for attributes in attributes {
            let bridge = Bridge::start(&url(order, attributes));
            let mut client = bridge.client();
            client.subscribe("found");
            assert_eq!(client.notify("found", attributes)["type"], "notified");
            assert_eq!(client.payload(), attributes);
        }
    }
}

/// LISTEN and NOTIFY are no writes.
#[test]
fn a_primary_that_is_read_only_will_do_among_several_hosts() {
    let primary = Sandbox::start().unwrap();
    let mut sql = Sql::connect(primary.port(), "postgres");
    sql.run("ALTER SYSTEM SET default_transaction_read_only = on");
    sql.run("SELECT pg_reload_conf()");
    let mut sql = Sql::connect(primary.port(), "postgres");
    wait_until("it is read-only", || {
        sql.one("SHOW default_transaction_read_only") == "on"
    });
    let bridge = Bridge::start(&url([&primary, &primary], ""));
    let mut client = bridge.client();
    client.subscribe("read-only");
    assert_eq!(client.notify("read-only", "x")["type"], "notified");
    assert_eq!(client.payload(), "x");
}

/// The bridge finds it, as psql does, and reports that it cannot listen there.
#[test]
fn a_bridge_that_asks_for_a_standby_is_told_that_it_cannot_listen_there() {
    let [primary, standby] = pair();
    for order in [[primary, standby], [standby, primary]] {
        for wanted in ["standby", "read-only"] {
            let url = url(order, &format!("?target_session_attrs={wanted}"));
            let port = psql_connects_to(&url);
            assert_eq!(port, standby.port(), "{wanted}");
            let bridge = Bridge::serve(&url, &[]);
            bridge.wait_for_log(&format!("127.0.0.1:{port} is a standby in recovery"));
            assert_eq!(bridge.get("/readyz").status, 503);
        }
    }
}

/// Where psql would accept the standby, the bridge goes on to the primary.
#[test]
fn a_bridge_that_takes_any_server_gets_the_one_where_it_can_listen() {
    let [primary, standby] = pair();
    for (order, best) in [
        ([primary, standby], standby),
        ([standby, primary], standby),
        ([primary, primary], primary),
    ] {
        for (wanted, by_psql) in [("any", order[0]), ("prefer-standby", best)] {
            let url = url(order, &format!("?target_session_attrs={wanted}"));
            assert_eq!(psql_connects_to(&url), by_psql.port(), "{wanted}");
            let bridge = Bridge::start(&url);
            let line = bridge.wait_for_log("listening session connected to PostgreSQL");
            assert!(line.ends_with(&format!(":{}", primary.port())), "{line}");
        }
    }
}

#[test]
fn without_a_server_of_the_kind_asked_for_it_says_so() {
    let [primary, standby] = pair();
    for (server, wanted, words) in [
        (standby, "read-write", "is not one that takes writes"),
        (standby, "primary", "is not a primary"),
        (primary, "standby", "is not a standby"),
        (primary, "read-only", "is not one that is read-only"),
    ] {
        let url = format!("{}?target_session_attrs={wanted}", server.url());
        let bridge = Bridge::serve(&url, &[]);
        let line = bridge.wait_for_log(words);
        assert!(line.contains(&server.port().to_string()), "{line}");
        assert_eq!(bridge.get("/readyz").status, 503);
    }
}

/// A standby cannot listen, whatever was asked for.
#[test]
fn a_standby_alone_is_not_ready_and_is_named() {
    let [_, standby] = pair();
    for arguments in [&["-c", "orders"][..], &[]] {
        let bridge = Bridge::serve(&standby.url(), arguments);
        let ready = || bridge.get("/readyz");
        wait_until("/readyz names the standby", || {
            ready().body.contains("standby")
        });
        assert_eq!(ready().status, 503);
    }
}

#[test]
fn the_doctor_names_the_standby_and_the_remedy() {
    let [_, standby] = pair();
    let output = alle_with(&["doctor", "-p", &standby.url()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let named = format!("127.0.0.1:{} is a standby in recovery", standby.port());
    assert!(text.contains(&named), "{text}");
    assert!(text.contains("-> name the primary"), "{text}");
}

/// The primary dies while a session publishes all the time, and the standby takes its place.
#[test]
fn the_bridge_follows_a_standby_that_is_promoted_under_load() {
    let [primary, standby] = start_pair();
    let bridge = Bridge::start(&url([&primary, &standby], ""));
    let publisher = Publisher::start(&[primary.port(), standby.port()]);
    let mut witness = Witness::subscribe(&bridge, &publisher);
    primary.kill9().unwrap();
    witness.hear_of_the_outage();
    standby.promote().unwrap();
    let back = Instant::now();
    witness.hear_of_the_return();
    let took = back.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    bridge.wait_until_ready();
    let mut client = bridge.client();
    client.subscribe("moved");
    assert_eq!(client.notify("moved", "here")["type"], "notified");
    assert_eq!(client.payload(), "here");
}
