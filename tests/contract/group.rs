//! Bridges of a group: each takes over the clients of the others where they left off.
//!
//! Once or a few times each in `cargo test`; `ALLE_GROUP_ROUNDS` says how often, and with it the
//! crowds are as large as those of a busy site.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::atomic::Ordering::SeqCst};

use alle::internals::sandbox::{self, Sandbox, StopMode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    crowd::Crowd,
    harness::{Bridge, Database, wait_until},
    program::{Program, alle_with},
    sql::Sql,
};

/// How often something happens, and to how many clients on how many channels.
fn scale() -> (usize, usize, usize) {
    let rounds = std::env::var("ALLE_GROUP_ROUNDS");
    rounds.map_or((3, 40, 12), |rounds| (rounds.parse().unwrap(), 500, 100))
}

fn in_group(url: &str, arguments: &[&str]) -> Bridge {
    Bridge::start_with(url, &[&["--group", "g"], arguments].concat())
}

/// One for a crowd, which on a busy machine may be away for longer than the 64 notifications that
/// are kept by default, or a channel is kept.
fn in_patient_group(url: &str, arguments: &[&str]) -> Bridge {
    let patient = ["--history", "100000", "--unlisten-delay", "600"];
    in_group(url, &[&patient, arguments].concat())
}

/// A file with a secret.
fn key_file(secret: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    (directory, path)
}

/// The answer of a bridge to a client with a position.
#[track_caller]
fn come_to(bridge: &Bridge, channel: &str, position: &Value) -> Value {
    come_and_hear(bridge, channel, position, 0).0
}

/// The same, and the payloads that follow it: as many as there are to come, some of which may not
/// have reached this bridge yet, and those that came as well.
#[track_caller]
fn come_and_hear(
    bridge: &Bridge,
    channel: &str,
    position: &Value,
    count: usize,
) -> (Value, Vec<String>) {
    let mut client = bridge.client();
    client.send(&json!({"type": "subscribe", "channel": channel, "id": 1,
        "since": {"epoch": position["epoch"], "seq": position["seq"]}}));
    let answer = client.expect_answer(1);
    let mut payloads: Vec<_> = (0..count).map(|_| client.payload()).collect();
    let more = client.said_so_far().into_iter();
    payloads.extend(more.map(|it| it["payload"].as_str().unwrap().to_owned()));
    (answer, payloads)
}

fn metric(bridge: &Bridge, name: &str) -> u64 {
    let page = bridge.get("/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

fn refused(bridge: &Bridge) -> u64 {
    metric(bridge, "alle_group_messages_total{kind=\"refused\"}")
}

#[test]
fn a_client_goes_on_at_another_bridge_where_it_left_off() {
    let database = Database::create();
    let one = in_group(&database.url(), &[]);
    let mut client = one.client();
    let subscribed = client.subscribe("c");
    let mut sql = database.sql();
    sql.notify("c", "1");
    assert_eq!(client.payload(), "1");
    let two = in_group(&database.url(), &[]);
    for number in 2..=5 {
        sql.notify("c", &number.to_string());
        assert_eq!(client.payload(), number.to_string());
    }
    let last = json!({"epoch": subscribed["epoch"], "seq": 3});
    let (answer, heard) = come_and_hear(&two, "c", &last, 2);
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_ne!(answer["epoch"], subscribed["epoch"], "its own");
    assert_eq!(heard, ["4", "5"]);
    // And back again, also when the first one is gone.
    let position = json!({"epoch": answer["epoch"], "seq": answer["seq"]});
    let (answer, heard) = come_and_hear(&one, "c", &position, 2);
    assert_eq!((&answer["recovered"], heard.len()), (&json!(true), 2));
    drop(one);
    let three = in_group(&database.url(), &[]);
    sql.notify("c", "6");
    let last = json!({"epoch": subscribed["epoch"], "seq": 5});
    let (answer, heard) = come_and_hear(&three, "c", &last, 1);
    assert_eq!(answer["recovered"], true, "a generation later");
    assert_eq!(heard, ["6"]);
}

#[test]
fn a_position_that_no_bridge_gave_is_not_recovered() {
    let database = Database::create();
    let one = in_group(&database.url(), &["-c", "c"]);
    let two = in_group(&database.url(), &[]);
    let mut client = one.client();
    let subscribed = client.subscribe("c");
    for position in [
        json!({"epoch": "nobody's", "seq": 0}),
        json!({"epoch": "00000000000000011", "seq": 0}),
        json!({"epoch": subscribed["epoch"], "seq": 1}),
        json!({"epoch": subscribed["epoch"], "seq": u64::MAX}),
    ] {
        let answer = come_to(&two, "c", &position);
        assert_eq!(answer["recovered"], false, "{position}");
    }
    let answer = come_to(&two, "c", &subscribed);
    assert_eq!(answer["recovered"], true);
}

#[test]
fn no_client_comes_near_the_channel_of_a_group() {
    let database = Database::create();
    for bridge in [
        in_group(&database.url(), &[]),
        Bridge::start(&database.url()),
    ] {
        let mut client = bridge.client();
        for message in [
            json!({"type": "subscribe", "channel": "alle group g"}),
            json!({"type": "notify", "channel": "alle group other", "payload": "x"}),
        ] {
            let answer = client.ask(&message);
            assert_eq!(answer["code"], "forbidden", "{answer}");
        }
        assert_eq!(client.subscribe("alle groups")["type"], "subscribed");
        let publish = "/publish/alle%20group%20g";
        let response = bridge.request("POST", publish, "Content-Length: 0\r\n");
        assert_eq!(response.status, 403);
        assert_eq!(bridge.get("/sse?channel=alle%20group%20g").status, 403);
    }
    let program = Program::start(alle_with(&["serve", "-c", "alle group g"]));
    assert_eq!(program.exit_code(), Some(2));
}

#[test]
fn a_group_and_its_key_are_checked_at_the_start() {
    let (_directory, short) = key_file("short");
    let short = short.to_str().unwrap();
    let long = "x".repeat(53);
    for arguments in [
        &["--group", ""][..],
        &["--group", &long],
        &["--group", "g", "--group-key-file", short],
        &["--group-key-file", short],
    ] {
        let arguments = [&["serve", "-w", "127.0.0.1:0"], arguments].concat();
        let program = Program::start(alle_with(&arguments));
        assert_eq!(program.exit_code(), Some(2), "{arguments:?}");
    }
}

/// Forged by SQL of the same role, and recorded and sent again: nothing changes, and it is counted.
#[test]
fn forged_and_repeated_messages_change_nothing() {
    let database = Database::create();
    let (_directory, key) = key_file("a secret of more than thirty-two bytes, by all means");
    let key = ["--group-key-file", key.to_str().unwrap()];
    let mut spy = database.sql();
    spy.run("LISTEN \"alle group g\"");
    let one = in_group(&database.url(), &[&key[..], &["-c", "c"]].concat());
    let two = in_group(&database.url(), &key);
    let mut client = one.client();
    let position = client.subscribe("c");
    assert_eq!(come_to(&two, "c", &position)["recovered"], true);
    spy.run("SELECT 1");
    let recorded = spy.heard();
    assert!(recorded.len() >= 4, "{recorded:?}");
    let before = (refused(&one), refused(&two));
    let mut sql = database.sql();
    let forged = ["1 AAAA", "1 ", "7 x", "anything"].map(str::to_owned);
    let messages: Vec<_> = recorded.iter().map(|(_, it)| it.clone()).collect();
    for payload in forged.iter().chain(&messages) {
        sql.notify("alle group g", payload);
    }
    let count = (forged.len() + messages.len()) as u64;
    wait_until("all are refused and counted", || {
        (refused(&one), refused(&two)) == (before.0 + count, before.1 + count)
    });
    sql.notify("c", "1");
    assert_eq!(client.payload(), "1");
    let (answer, heard) = come_and_hear(&two, "c", &position, 1);
    assert_eq!(
        (&answer["recovered"], &heard[..]),
        (&json!(true), &["1".to_owned()][..])
    );
    assert_eq!(metric(&two, "alle_group_peers"), 1);
}

#[test]
fn without_a_key_a_bridge_of_another_role_is_not_believed() {
    let server = Sandbox::start().unwrap();
    let mut sql = Sql::connect(server.port(), "postgres");
    sql.run("CREATE ROLE other LOGIN");
    let other = server.url().replacen("postgres@", "other@", 1);
    assert_ne!(other, server.url());
    let one = in_group(&server.url(), &["-c", "c"]);
    let mut client = one.client();
    let position = client.subscribe("c");
    let two = in_group(&other, &["-c", "c"]);
    assert_eq!(come_to(&two, "c", &position)["recovered"], false);
    assert_eq!(
        (
            metric(&one, "alle_group_peers"),
            metric(&two, "alle_group_peers")
        ),
        (0, 0)
    );
}

#[track_caller]
fn nothing_was_lost(crowd: Crowd) {
    let crowd = crowd.finish();
    let seen = crowd.seen();
    report(&format!("{seen:?}"));
    assert_eq!(seen.missed.load(SeqCst), 0, "{seen:?}");
    assert_eq!(seen.twice.load(SeqCst), 0, "{seen:?}");
    assert_eq!(seen.reloaded.load(SeqCst), 0, "{seen:?}");
    assert_eq!(seen.gaps.load(SeqCst), 0, "{seen:?}");
    assert!(seen.recovered.load(SeqCst) > 0);
}

#[expect(
    clippy::print_stdout,
    reason = "a run of many rounds is there to be read"
)]
fn report(text: &str) {
    println!("{text}");
}

/// Of so many bridges, one after the other is killed and replaced, while clients hear all.
fn kills(bridges: usize) {
    let (rounds, clients, channels) = scale();
    let database = Database::create();
    let mut group: Vec<_> = (0..bridges)
        .map(|_| in_patient_group(&database.url(), &[]))
        .collect();
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    let addresses = |group: &[Bridge]| group.iter().map(|it| it.address).collect::<Vec<_>>();
    crowd.go_to(&addresses(&group));
    crowd.wait_until_all_hear();
    wait_until("each mirrors all", || {
        group
            .iter()
            .all(|it| metric(it, "alle_channels_listened") == channels as u64)
    });
    for round in 0..rounds {
        let at = round % bridges;
        let victim = group.remove(at);
        crowd.go_to(&addresses(&group));
        drop(victim);
        crowd.wait_until_all_hear();
        group.insert(at, in_patient_group(&database.url(), &[]));
        crowd.go_to(&addresses(&group));
        crowd.wait_until_all_hear();
    }
    nothing_was_lost(crowd);
}

#[test]
fn one_of_two_bridges_is_killed_and_nobody_misses_anything() {
    kills(2);
}

#[test]
fn one_of_three_bridges_is_killed_and_nobody_misses_anything() {
    kills(3);
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
            let answer = come_to(bridge, "idle", &idle);
            assert_eq!(answer["recovered"], true, "{answer}");
            idle = answer;
        }
    }
    nothing_was_lost(crowd);
}

#[test]
fn after_a_restart_of_postgresql_no_position_holds() {
    let server = Sandbox::start().unwrap();
    let one = in_group(&server.url(), &["-c", "c"]);
    let two = in_group(&server.url(), &["-c", "c"]);
    let mut client = one.client();
    let position = client.subscribe("c");
    assert_eq!(come_to(&two, "c", &position)["recovered"], true);
    server.stop(StopMode::Fast).unwrap();
    server.restart().unwrap();
    client.expect_type("gap");
    two.wait_until_ready();
    one.wait_until_ready();
    for bridge in [&one, &two] {
        assert_eq!(come_to(bridge, "c", &position)["recovered"], false);
    }
}
