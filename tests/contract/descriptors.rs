//! Contract, section 6: no descriptor is left. Clients are served, new connections are told.

use std::{fs, time::Instant};

use alle::internals::sandbox::{Sandbox, StopMode};

use crate::{
    client::Client,
    harness::{AT_ONCE, Bridge, Database, NO_POSTGRES, wait_until, wrapped},
    metrics::sample,
    raw::{Raw, upgrade_request},
};

/// A bridge that may open 64 files, without an option that says so.
fn starved_bridge(database: &Database) -> Bridge {
    starved_bridge_on(&database.url())
}

fn starved_bridge_on(postgres_url: &str) -> Bridge {
    let arguments = [
        "serve",
        "-w",
        "127.0.0.1:0",
        "-p",
        postgres_url,
        "--max-clients",
        "1000",
    ];
    let bridge = Bridge::run(wrapped("ulimit -n 64; exec \"$0\" \"$@\"", &arguments));
    bridge.wait_until_ready();
    bridge
}

/// A connection that asks for an upgrade.
fn asking(bridge: &Bridge) -> Raw {
    let mut raw = Raw::open(bridge.address);
    raw.write(upgrade_request(bridge.address, "/ws", "").as_bytes());
    raw
}

/// Takes every descriptor; returns the connections that hold them.
fn fill(bridge: &Bridge) -> Vec<Raw> {
    let mut open = Vec::new();
    loop {
        let mut raw = asking(bridge);
        match raw.response("GET").status {
            101 => open.push(raw),
            503 => return open,
            status => panic!("{status}"),
        }
    }
}

#[test]
fn two_hundred_connections_on_64_descriptors() {
    let database = Database::create();
    let bridge = starved_bridge(&database);
    let mut ann = bridge.client();
    ann.subscribe("c");
    let (began, cpu_before) = (Instant::now(), bridge.cpu_seconds());
    let (mut open, mut refused) = (Vec::new(), 0);
    let waiting: Vec<_> = (0..200).map(|_| asking(&bridge)).collect();
    for mut raw in waiting {
        let response = raw.response("GET");
        if response.status == 101 {
            open.push(raw);
        } else {
            assert_eq!(response.status, 503, "{response:?}");
            assert!(response.header("Retry-After").is_some(), "{response:?}");
            refused += 1;
        }
    }
    assert!((30..64).contains(&open.len()), "{} of 200", open.len());
    assert_eq!(open.len() + refused, 200, "each of them was told");
    database.sql().notify("c", "served");
    assert_eq!(ann.payload(), "served");
    let (took, cpu) = (began.elapsed(), bridge.cpu_seconds() - cpu_before);
    assert!(
        cpu < 0.3 + took.as_secs_f64() / 4.0,
        "{cpu} s of CPU in {took:?}"
    );
    // They leave, and there is room again, even for health and metrics.
    drop(open);
    wait_until("a client is taken again", || {
        asking(&bridge).response("GET").status == 101
    });
    bridge.client().subscribe("c");
    bridge.wait_until_ready();
    let told = sample(
        &bridge,
        "alle_connections_dropped_total{reason=\"descriptors\"}",
    );
    assert!(told >= refused as f64, "{told} of {refused} counted");
    assert!(sample(&bridge, "alle_turns_total") < 10_000.0);
}

/// A silent connection has the last descriptor for a second; the loop does not spin meanwhile, and
/// the next connection has its turn.
#[test]
fn silent_connections_on_the_last_descriptor_do_not_stay() {
    let database = Database::create();
    let bridge = starved_bridge(&database);
    let _open = fill(&bridge);
    let (began, cpu_before) = (Instant::now(), bridge.cpu_seconds());
    let mut silent: Vec<_> = (0..3).map(|_| Raw::open(bridge.address)).collect();
    assert_eq!(asking(&bridge).response("GET").status, 503);
    for raw in &mut silent {
        raw.expect_end();
    }
    let (took, cpu) = (began.elapsed(), bridge.cpu_seconds() - cpu_before);
    assert!(
        took.as_secs_f64() > 2.5,
        "each of them had its second: {took:?}"
    );
    assert!(cpu < took.as_secs_f64() / 4.0, "{cpu} s of CPU in {took:?}");
}

#[test]
fn a_shortage_is_logged_once() {
    let database = Database::create();
    let bridge = starved_bridge(&database);
    let _open = fill(&bridge);
    for _ in 0..5 {
        assert_eq!(asking(&bridge).response("GET").status, 503);
    }
    let complaint = bridge.wait_for_log("cannot accept connections for now");
    assert!(complaint.contains("Too many open files"), "{complaint}");
    assert_eq!(bridge.log().matches("cannot accept").count(), 1);
}

/// A silent connection keeps its place only until another one needs it.
#[test]
fn mute_connections_beyond_the_most_clients_keep_nobody_out() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--max-clients", "3"]);
    let _open: Vec<_> = (0..3).map(|_| Client::connect(bridge.address)).collect();
    let mut mute: Vec<_> = (0..32).map(|_| Raw::open(bridge.address)).collect();
    let began = Instant::now();
    assert_eq!(asking(&bridge).response("GET").status, 503);
    assert_eq!(bridge.get("/healthz").status, 200);
    let took = began.elapsed();
    assert!(took < AT_ONCE, "they waited {took:?}");
    let name = "alle_connections_dropped_total{reason=\"handshakes_full\"}";
    assert!(sample(&bridge, name) >= 1.0);
    mute[0].expect_end();
}

/// By default this many files allow one client: the other 63 are for everything else.
#[test]
fn the_default_number_of_clients_follows_from_the_limit_of_open_files() {
    let database = Database::create();
    let url = database.url();
    let arguments = ["serve", "-w", "127.0.0.1:0", "-p", &url];
    let bridge = Bridge::run(wrapped("ulimit -n 67; exec \"$0\" \"$@\"", &arguments));
    let _three: Vec<_> = (0..3).map(|_| Client::connect(bridge.address)).collect();
    assert_eq!(asking(&bridge).response("GET").status, 503);
    bridge.wait_until_ready();
}

/// The descriptors of lost sessions are others' at once; and a bridge without its sessions is of no
/// use to any client.
#[test]
fn both_sessions_come_back_however_many_clients_want_their_descriptors() {
    let server = Sandbox::start().unwrap();
    let bridge = starved_bridge_on(&server.url());
    let mut ann = bridge.client();
    ann.subscribe("c");
    let _open = fill(&bridge);
    server.stop(StopMode::Fast).unwrap();
    let status = ann.expect_type("status");
    assert_eq!(status["postgres"], "down");
    let taken = fill(&bridge);
    assert!(!taken.is_empty(), "those of the sessions");
    let _silent = Raw::open(bridge.address);
    server.start_again().unwrap();
    ann.expect_type("gap");
    let status = ann.expect_type("status");
    assert_eq!(status["postgres"], "up");
    wait_until("it publishes again", || {
        ann.notify("c", "p")["type"] == "notified"
    });
    // Both sessions have some that are reserved; others are open for a moment.
    wait_until("clients have none of those that are reserved", || {
        fs::read_dir(bridge.proc("fd")).unwrap().count() <= 64 - 16 + 2
    });
}
