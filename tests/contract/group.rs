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
    relay::{Fate, Relay},
    sql::Sql,
};

/// How often something happens, and to how many clients on how many channels.
pub fn scale() -> (usize, usize, usize) {
    let rounds = std::env::var("ALLE_GROUP_ROUNDS");
    rounds.map_or((3, 40, 12), |rounds| (rounds.parse().unwrap(), 500, 100))
}

/// Whether it is a run of many rounds.
fn is_measured() -> bool {
    std::env::var_os("ALLE_GROUP_ROUNDS").is_some()
}

pub fn in_group(url: &str, arguments: &[&str]) -> Bridge {
    Bridge::start_with(url, &[&["--group", "g"], arguments].concat())
}

/// One for a crowd, which on a busy machine may be away for longer than the 64 notifications that
/// are kept by default, or a channel is kept.
pub fn in_patient_group(url: &str, arguments: &[&str]) -> Bridge {
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
pub fn come_to(bridge: &Bridge, channel: &str, position: &Value) -> Value {
    come_and_hear(bridge, channel, position, 0).0
}

/// The position is one of another bridge, and the bridge knows it: on a busy machine it is ready before
/// its peers have answered.
#[track_caller]
pub fn wait_until_known(bridge: &Bridge, channel: &str, position: &Value) {
    wait_until("the position is known there", || {
        come_to(bridge, channel, position)["recovered"] == true
    });
}

/// The same as [`come_to`], and the payloads that follow it: as many as there are to come, some of which may not
/// have reached this bridge yet, and those that came as well.
#[track_caller]
pub fn come_and_hear(
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

pub fn metric(bridge: &Bridge, name: &str) -> u64 {
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
    wait_until_known(&two, "c", &last);
    let (answer, heard) = come_and_hear(&two, "c", &last, 2);
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_ne!(answer["epoch"], subscribed["epoch"], "its own");
    assert_eq!(heard, ["4", "5"]);
    // And back again, also when the first one is gone.
    let position = json!({"epoch": answer["epoch"], "seq": answer["seq"]});
    wait_until_known(&one, "c", &position);
    let (answer, heard) = come_and_hear(&one, "c", &position, 2);
    assert_eq!((&answer["recovered"], heard.len()), (&json!(true), 2));
    drop(one);
    let three = in_group(&database.url(), &[]);
    sql.notify("c", "6");
    let last = json!({"epoch": subscribed["epoch"], "seq": 5});
    wait_until_known(&three, "c", &last);
    let (answer, heard) = come_and_hear(&three, "c", &last, 1);
    assert_eq!(answer["recovered"], true, "a generation later");
    assert_eq!(heard, ["6"]);
}

#[test]
fn the_log_says_how_many_bridges_there_are() {
    let database = Database::create();
    let one = in_group(&database.url(), &[]);
    let two = in_group(&database.url(), &[]);
    one.wait_for_log("bridges of the group, with this one: 2");
    two.signal("TERM");
    one.wait_for_log("bridges of the group, with this one: 1");
    two.wait_for_log("INFO alle::bridge: stopped");
}

#[test]
fn a_position_that_no_bridge_gave_is_not_recovered() {
    let database = Database::create();
    let one = in_group(&database.url(), &["-c", "c"]);
    let two = in_group(&database.url(), &[]);
    let mut client = one.client();
    let subscribed = client.subscribe("c");
    wait_until_known(&two, "c", &subscribed);
    for position in [
        json!({"epoch": "nobody's", "seq": 0}),
        json!({"epoch": "00000000000000011", "seq": 0}),
        json!({"epoch": subscribed["epoch"], "seq": 1}),
        json!({"epoch": subscribed["epoch"], "seq": u64::MAX}),
    ] {
        let answer = come_to(&two, "c", &position);
        assert_eq!(answer["recovered"], false, "{position}");
    }
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
    wait_until_known(&two, "c", &position);
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

/// What the doctor finds of the group, and its exit status.
fn doctor(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = alle_with(&["doctor", "-p", url, "--group", "g"]);
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let group: Vec<_> = text
        .lines()
        .skip_while(|line| !line.contains("  group  "))
        .collect();
    (output.status.code(), group.join("\n"))
}

/// Which of its bridges are there, whether they answer, and the likely reason if one does not.
#[test]
fn the_doctor_calls_the_roll_of_a_group() {
    let database = Database::create();
    let url = database.url();
    let (_directory, key) = key_file("a secret of more than thirty-two bytes, by all means");
    let key = ["--group-key-file", key.to_str().unwrap()];
    let (_directory, other_key) = key_file("another secret of more than thirty-two bytes, really");
    let other_key = ["--group-key-file", other_key.to_str().unwrap()];
    let (status, text) = doctor(&url, &key);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("no other one answers"), "{text}");

    let bridges = [in_group(&url, &key), in_group(&url, &key)];
    wait_until("they have met", || {
        bridges.iter().all(|it| metric(it, "alle_group_peers") == 1)
    });
    let before = bridges.each_ref().map(refused);
    let (status, text) = doctor(&url, &key);
    assert_eq!(status, Some(0), "{text}");
    for part in [
        "\"g\": its channel \"alle group g\" is heard; messages are sealed with the key",
        "2 that answer, in version 1 of the protocol: backend ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(bridges.each_ref().map(refused), before);
    for arguments in [&other_key[..], &[]] {
        let (status, text) = doctor(&url, arguments);
        assert_eq!(status, Some(1), "{text}");
        for part in [
            "no other one answers",
            "2 that are there and do not answer: backend ",
            "-> give each bridge of the group the same --group-key-file",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    // It was a visitor: nobody reckons with it, nor waits for it.
    let three = in_group(&url, &key);
    wait_until("the third one has met two", || {
        metric(&three, "alle_group_peers") == 2
    });
    assert_eq!(metric(&bridges[0], "alle_group_peers"), 2);
    let (_, messages) = doctor(&url, &["--group-key-file", "/nowhere"]);
    assert_eq!(messages, "");
}

#[track_caller]
pub fn nothing_was_lost(crowd: Crowd) {
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
pub fn report(text: &str) {
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

#[test]
fn after_a_restart_of_postgresql_no_position_holds() {
    let server = Sandbox::start().unwrap();
    let one = in_group(&server.url(), &["-c", "c"]);
    let two = in_group(&server.url(), &["-c", "c"]);
    let mut client = one.client();
    let position = client.subscribe("c");
    wait_until_known(&two, "c", &position);
    server.stop(StopMode::Fast).unwrap();
    server.restart().unwrap();
    client.expect_type("gap");
    two.wait_until_ready();
    one.wait_until_ready();
    for bridge in [&one, &two] {
        assert_eq!(come_to(bridge, "c", &position)["recovered"], false);
    }
}

/// The database as it is reached through the relay.
fn through(relay: &Relay, database: &Database) -> String {
    let port = format!(":{}/", sandbox::shared().port());
    let direct = database.url();
    let url = direct.replacen(&port, &format!(":{}/", relay.port()), 1);
    assert_ne!(url, direct);
    url
}

/// The backend of the listening session that is harmed; none while there is none.
fn harmed(sql: &mut Sql) -> Vec<String> {
    sql.run(
        "SELECT pid FROM pg_stat_activity
         WHERE application_name = 'harmed' AND datname = current_database()",
    )
}

/// The listening session of one of two bridges is harmed while clients of both hear all.
fn a_listening_session_is_lost(relay: &Relay, rounds: usize, harm: impl Fn(&mut Sql)) -> u64 {
    let (_, clients, channels) = scale();
    let database = Database::create();
    let direct = database.url();
    let url = format!("{}?application_name=harmed", through(relay, &database));
    let publish = ["--pg-publish-url", &direct];
    let one = in_patient_group(&url, &publish);
    let two = in_patient_group(&direct, &[]);
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    crowd.go_to(&[one.address, two.address]);
    crowd.wait_until_all_hear();
    wait_until("each mirrors all", || {
        [&one, &two]
            .iter()
            .all(|it| metric(it, "alle_channels_listened") == channels as u64)
    });
    let mut sql = database.sql();
    for round in 0..rounds {
        let before = harmed(&mut sql);
        harm(&mut sql);
        wait_until("another session has gone on with every channel", || {
            let resumed = metric(&one, "alle_group_channels_resumed_total");
            harmed(&mut sql) != before && resumed == ((round + 1) * channels) as u64
        });
        crowd.wait_until_all_hear();
    }
    let filled = metric(&one, "alle_group_notifications_filled_total");
    report(&format!("{filled} notifications were filled in"));
    let crowd = crowd.finish();
    let seen = crowd.seen();
    report(&format!("{seen:?}"));
    for count in [&seen.missed, &seen.twice, &seen.reloaded, &seen.gaps] {
        assert_eq!(count.load(SeqCst), 0, "{seen:?}");
    }
    assert_eq!(seen.connects.load(SeqCst), clients as u64, "{seen:?}");
    filled
}

fn terminate(sql: &mut Sql) {
    let terminated = sql.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'harmed' AND datname = current_database()",
    );
    assert_eq!(terminated.len(), 1);
}

#[test]
fn a_listening_session_that_is_terminated_costs_nobody_anything() {
    let relay = Relay::start(sandbox::shared().port());
    a_listening_session_is_lost(&relay, scale().0, terminate);
}

#[test]
fn a_listening_session_that_is_reset_costs_nobody_anything() {
    let relay = Relay::start(sandbox::shared().port());
    a_listening_session_is_lost(&relay, scale().0, |_| relay.harm(Fate::Reset));
}

/// PostgreSQL cannot be reached for a while, so that there is something to be filled in.
#[test]
fn a_listening_session_that_stays_away_for_a_while_costs_nobody_anything() {
    let relay = Relay::start(sandbox::shared().port());
    let filled = a_listening_session_is_lost(&relay, scale().0, |sql| {
        let refused = relay.refused();
        relay.shut();
        wait_until("the bridge tries again", || relay.refused() > refused + 1);
        sql.run("SELECT 1");
        relay.open();
    });
    assert!(filled > 0);
}

/// It is the heartbeat that finds out, after half a minute, so once in `cargo test`.
#[test]
fn a_listening_session_in_a_black_hole_costs_nobody_anything() {
    let relay = Relay::start(sandbox::shared().port());
    let rounds = if is_measured() { scale().0.min(5) } else { 1 };
    let harm = |_: &mut Sql| relay.harm(Fate::BlackHole);
    let filled = a_listening_session_is_lost(&relay, rounds, harm);
    assert!(filled > 0);
}

/// With nobody who heard on, a gap is told, and by every bridge.
#[test]
fn both_listening_sessions_are_lost_at_once_and_everybody_is_told() {
    let (rounds, ..) = scale();
    let database = Database::create();
    let relay = Relay::start(sandbox::shared().port());
    let url = through(&relay, &database);
    let start = || in_group(&url, &["--pg-publish-url", &database.url(), "-c", "c"]);
    let group = [start(), start()];
    let mut clients = group.each_ref().map(|bridge| {
        let mut client = bridge.client();
        client.subscribe("c");
        client
    });
    for _ in 0..rounds {
        let refused = relay.refused();
        relay.shut();
        wait_until("a bridge tries again", || relay.refused() > refused);
        relay.open();
        for client in &mut clients {
            let gap = client.expect_type("gap");
            assert_eq!((&gap["channel"], &gap["seq"]), (&json!("c"), &json!(0)));
        }
        for bridge in &group {
            bridge.wait_until_ready();
        }
    }
}
