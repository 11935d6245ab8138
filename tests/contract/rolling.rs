//! Rolling restarts of a group, by the recipes of docs/scaling.md: on several machines, on one machine
//! under socket activation, and behind haproxy.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
};

use alle::internals::sandbox;

use crate::{
    admin,
    crowd::Crowd,
    group::{
        come_and_hear, come_to, in_group, in_patient_group, metric, nothing_was_lost, scale,
        wait_until_known,
    },
    harness::{Bridge, Database, wait_until},
    program::alle_with,
    proxies::proxy::{Kind, Proxy},
    service::{ACTIVATE, activated},
};

/// What was published before a bridge was started is found there, though the one that heard it is gone.
#[test]
fn a_successor_takes_over_what_its_predecessor_kept() {
    let database = Database::create();
    let mut first = in_group(&database.url(), &[]);
    let mut client = first.client();
    let position = client.subscribe("c");
    client.subscribe("quiet");
    let mut sql = database.sql();
    let payloads = ["1".to_owned(), "x".repeat(7_999), "3".to_owned()];
    for payload in &payloads {
        sql.notify("c", payload);
        assert_eq!(client.payload(), *payload);
    }
    let second = in_group(&database.url(), &[]);
    assert_eq!(metric(&second, "alle_group_notifications_filled_total"), 3);
    first.signal("TERM");
    assert_eq!(first.wait_for_exit().0, Some(0));
    sql.notify("c", "4");
    let (answer, replayed) = come_and_hear(&second, "c", &position, 4);
    assert_eq!(answer["recovered"], true, "{answer}");
    assert!(replayed.starts_with(&payloads) && replayed.len() == 4);
}

/// Each bridge of two is replaced, its successor first, as in a rolling restart: the clients that the
/// old one sends away go on at the others. A client of a channel on which nothing happens is among
/// them.
#[test]
fn a_rolling_restart_costs_nobody_anything() {
    let (rounds, clients, channels) = scale();
    let database = Database::create();
    let start = || in_patient_group(&database.url(), &["--drain", "3"]);
    let mut group = vec![start(), start()];
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    let addresses = |group: &[Bridge]| group.iter().map(|it| it.address).collect::<Vec<_>>();
    crowd.go_to(&addresses(&group));
    crowd.wait_until_all_hear();
    let mut idle = group[0].client().subscribe("idle");
    for _ in 0..rounds {
        let mut old = group.remove(0);
        group.push(start());
        crowd.go_to(&addresses(&group));
        old.signal("TERM");
        assert_eq!(old.wait_for_exit().0, Some(0));
        crowd.wait_until_all_hear();
        for bridge in &group {
            wait_until_known(bridge, "idle", &idle);
            let answer = come_to(bridge, "idle", &idle);
            assert_eq!(answer["recovered"], true, "{answer}");
            idle = answer;
        }
    }
    nothing_was_lost(crowd);
}

/// An upgrade: bridges of another version are replaced by ours, one after the other, and the last one is
/// killed.
#[test]
#[ignore = "needs the program of another version: make group BINARY=PATH"]
fn bridges_of_another_version_are_replaced_and_nobody_misses_anything() {
    let (_, clients, channels) = scale();
    let database = Database::create();
    let binary = std::env::var("ALLE_GROUP_BINARY").unwrap();
    let start_other = || {
        let mut command = Command::new(&binary);
        command.args(["serve", "-w", "127.0.0.1:0", "-p", &database.url()]);
        command.args(["--group", "g", "--drain", "3"]);
        let bridge = Bridge::run(command);
        bridge.wait_until_ready();
        bridge
    };
    let mut group = vec![start_other(), start_other()];
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    let addresses = |group: &[Bridge]| group.iter().map(|it| it.address).collect::<Vec<_>>();
    crowd.go_to(&addresses(&group));
    crowd.wait_until_all_hear();
    for _ in 0..2 {
        let mut old = group.remove(0);
        group.push(in_group(&database.url(), &[]));
        crowd.go_to(&addresses(&group));
        old.signal("TERM");
        assert_eq!(old.wait_for_exit().0, Some(0));
        crowd.wait_until_all_hear();
    }
    group.push(start_other());
    crowd.go_to(&addresses(&group[1..]));
    drop(group.remove(0));
    crowd.wait_until_all_hear();
    nothing_was_lost(crowd);
}

/// A bridge that is passed the socket, and is ready.
fn on_one_socket(socket: &TcpListener, database: &Database) -> Bridge {
    let url = database.url();
    let arguments = [
        "serve",
        "-p",
        &url,
        "--group",
        "g",
        "--drain",
        "3",
        "--admin-addr",
        "127.0.0.1:0",
        "--history",
        "100000",
        "--unlisten-delay",
        "600",
    ];
    let bridge = activated(socket, ACTIVATE, &arguments);
    wait_until_ready(&bridge);
    bridge
}

/// Waits at the address of the bridge's health, and returns that.
fn wait_until_ready(bridge: &Bridge) -> SocketAddr {
    let line = bridge.wait_for_log("health and metrics are at http://");
    let health = line.rsplit("http://").next().unwrap();
    let health = health.trim().parse().unwrap();
    wait_until("the bridge is ready", || {
        admin::get(health, "/readyz").status == 200
    });
    health
}

/// One machine: systemd listens, and passes one socket to both while they overlap.
#[test]
fn a_rolling_restart_under_socket_activation_costs_nobody_anything() {
    let (rounds, clients, channels) = scale();
    let database = Database::create();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bridge = on_one_socket(&socket, &database);
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    crowd.go_to(&[socket.local_addr().unwrap()]);
    crowd.wait_until_all_hear();
    for _ in 0..rounds {
        let successor = on_one_socket(&socket, &database);
        bridge.signal("TERM");
        assert_eq!(bridge.wait_for_exit().0, Some(0));
        bridge = successor;
        crowd.wait_until_all_hear();
    }
    nothing_was_lost(crowd);
}

/// Several machines: each bridge is replaced at its own address, and clients know that of the proxy.
#[test]
#[ignore = "needs haproxy: make proxies"]
fn a_rolling_restart_behind_haproxy_costs_nobody_anything() {
    let (rounds, clients, channels) = scale();
    let database = Database::create();
    let url = database.url();
    let start = |address: &str, health: &str| {
        let mut command = alle_with(&["serve", "-w", address, "--admin-addr", health, "-p", &url]);
        command.args([
            "--allow-host",
            "app.example.com",
            "--group",
            "g",
            "--drain",
            "3",
        ]);
        let bridge = Bridge::run(command);
        let health = wait_until_ready(&bridge);
        (bridge, health)
    };
    let mut group = [
        start("127.0.0.1:0", "127.0.0.1:0"),
        start("127.0.0.1:0", "127.0.0.1:0"),
    ];
    let addresses = group
        .each_ref()
        .map(|(bridge, health)| (bridge.address, *health));
    let proxy = Proxy::start(Kind::Haproxy, Kind::Haproxy.configuration(), addresses);
    let (port, name) = (sandbox::shared().port(), &database.name);
    let live = Some("ws://app.example.com/live/ws");
    let crowd = Crowd::gather_behind(live, clients, channels, port, name);
    crowd.go_to(&[proxy.address]);
    crowd.wait_until_all_hear();
    for round in 0..rounds {
        let (bridge, health) = &mut group[round % 2];
        bridge.signal("TERM");
        assert_eq!(bridge.wait_for_exit().0, Some(0));
        let (address, health) = (bridge.address.to_string(), health.to_string());
        group[round % 2] = start(&address, &health);
        crowd.wait_until_all_hear();
    }
    nothing_was_lost(crowd);
}
