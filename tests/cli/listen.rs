//! `alle listen` against a bridge whose messages the test chooses.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    mock_bridge::{MockBridge, MockClient},
    program::{Lines, Program, alle},
};

/// Word for word as in the README.
pub const TRANSCRIPT: &str = "\
Connecting to WebSocket: URL
Listening on channels: orders, alerts

Commands:
  sub <channel>    - Subscribe to a channel
  unsub <channel>  - Unsubscribe from a channel
  list             - List subscribed channels
  help             - Show this help
  quit / exit      - Exit the program

Press Ctrl+C to stop

✓ Subscribing to channel 'orders'
✓ Subscribing to channel 'alerts'

Waiting for notifications...
";

fn listen(bridge: &MockBridge, words: &str) -> Program {
    Program::start(alle(&format!("listen --ws-url {} {words}", bridge.url())))
}

/// A program that waits for notifications of `orders`, and the bridge's end of it.
fn listening(bridge: &MockBridge, options: &str) -> (Program, MockClient) {
    let program = listen(bridge, &format!("orders {options}"));
    let mut client = bridge.accept();
    client.confirm("orders");
    wait_for_start(&program.stderr);
    (program, client)
}

fn wait_for_start(talk: &Lines) {
    talk.until("Waiting for notifications...");
    assert_eq!(talk.next(), "");
}

fn notification(channel: &str, payload: &str) -> String {
    json!({"type": "notification", "channel": channel, "payload": payload}).to_string()
}

fn answer(request: &Value) -> String {
    json!({"type": format!("{}d", request["type"].as_str().unwrap()),
        "channel": request["channel"], "id": request["id"]})
    .to_string()
}

#[test]
fn it_shows_the_transcript_and_waits_only_after_all_is_confirmed() {
    let bridge = MockBridge::start();
    let program = listen(&bridge, "orders,alerts");
    let mut client = bridge.accept();
    client.confirm("alerts");
    let second = client.hear();
    let before = program.stderr.until("✓ Subscribing to channel 'alerts'");
    client.say(&notification("alerts", "early"));
    assert_eq!(program.stdout.next(), "[alerts] early");
    client.say(&answer(&second));
    let after = program.stderr.until("Waiting for notifications...");
    let shown = format!("{}\n{}\n", before.join("\n"), after.join("\n"));
    assert_eq!(shown.replace(&bridge.url(), "URL"), TRANSCRIPT);
    client.say(&notification(
        "orders",
        r#"{"id": 123, "status": "pending"}"#,
    ));
    client.say(&notification("alerts", "System maintenance in 5 minutes"));
    assert_eq!(
        program.stdout.next(),
        r#"[orders] {"id": 123, "status": "pending"}"#
    );
    assert_eq!(
        program.stdout.next(),
        "[alerts] System maintenance in 5 minutes"
    );
}

#[test]
fn commands_on_stdin_are_answered_when_the_bridge_confirmed_them() {
    let bridge = MockBridge::start();
    let mut program = listen(&bridge, "orders alerts");
    let mut client = bridge.accept();
    client.confirm("alerts");
    client.confirm("orders");
    wait_for_start(&program.stderr);
    program.type_line("sub notifications");
    let request = client.hear();
    assert_eq!(
        (&request["type"], &request["channel"]),
        (&json!("subscribe"), &json!("notifications"))
    );
    program.type_line("list");
    assert_eq!(program.stderr.next(), "Subscribed channels:");
    assert_eq!(program.stderr.next(), "  - alerts");
    assert_eq!(
        program.stderr.next(),
        "  - notifications (not confirmed yet)"
    );
    assert_eq!(program.stderr.next(), "  - orders");
    client.say(&answer(&request));
    assert_eq!(
        program.stderr.next(),
        "✓ Subscribed to channel 'notifications'"
    );
    program.type_line("unsub alerts");
    let request = client.hear();
    client.say(&answer(&request));
    assert_eq!(
        program.stderr.next(),
        "✓ Unsubscribed from channel 'alerts'"
    );
    program.type_line("list");
    assert_eq!(program.stderr.until("  - orders").len(), 3);
    program.type_line("help");
    assert_eq!(program.stderr.next(), "Commands:");
    program
        .stderr
        .until("  clear            - Clear the screen");
    program.type_line("frobnicate");
    assert_eq!(
        program.stderr.next(),
        "Unknown command 'frobnicate', help shows them all"
    );
    program.type_line("quit");
    assert_eq!(program.stderr.rest(), ["Exiting..."]);
    assert_eq!(program.exit_code(), Some(0));
    assert!(
        program.stdout.rest().is_empty(),
        "only notifications go there"
    );
}

#[test]
fn a_bad_name_gets_the_bridges_error_and_it_goes_on() {
    let bridge = MockBridge::start();
    let (mut program, mut client) = listening(&bridge, "");
    program.type_line(&format!("sub {}", "x".repeat(64)));
    let id = client.hear()["id"].clone();
    client.say(
        &json!({"type": "error", "code": "bad_channel", "id": id, "message": "too long"})
            .to_string(),
    );
    let name = "x".repeat(64);
    assert_eq!(
        program.stderr.next(),
        format!("✗ Channel '{name}' was refused and is off the list: too long")
    );
    program.type_line("list");
    assert_eq!(program.stderr.next(), "Subscribed channels:");
    assert_eq!(program.stderr.next(), "  - orders");
}

#[test]
fn gap_and_status_are_said_beside_the_notifications() {
    let bridge = MockBridge::start();
    let (program, mut client) = listening(&bridge, "");
    client.say(r#"{"type":"status","postgres":"down"}"#);
    client.say(
        r#"{"type":"gap","channel":"orders","epoch":"F","seq":0,"reason":"postgres_reconnect"}"#,
    );
    client.say(r#"{"type":"status","postgres":"up"}"#);
    assert_eq!(
        program.stderr.next(),
        "! PostgreSQL is down, the bridge keeps trying"
    );
    assert_eq!(
        program.stderr.next(),
        "! possible gap on channel 'orders': notifications may have been missed while PostgreSQL \
         was away"
    );
    assert_eq!(program.stderr.next(), "✓ PostgreSQL is back");
}

#[test]
fn a_payload_stays_on_one_line_and_otherwise_as_it_is() {
    let bridge = MockBridge::start();
    let (program, mut client) = listening(&bridge, "");
    client.say(&notification("orders", "a\r\nb\\n \x1b[31m é"));
    assert_eq!(program.stdout.next(), "[orders] a\\r\\nb\\n \x1b[31m é");
}

#[test]
fn a_burst_of_10_000_arrives_whole_and_in_order_and_commands_get_their_turn() {
    let bridge = MockBridge::start();
    let (mut program, mut client) = listening(&bridge, "");
    program.type_line("list");
    for number in 0..10_000 {
        client.say(&notification("orders", &number.to_string()));
    }
    for number in 0..10_000 {
        assert_eq!(program.stdout.next(), format!("[orders] {number}"));
    }
    assert_eq!(program.stderr.next(), "Subscribed channels:");
}

#[test]
fn json_is_one_object_a_line_exactly_as_sent() {
    let bridge = MockBridge::start();
    let (program, mut client) = listening(&bridge, "--json");
    let first: Value = serde_json::from_str(&program.stdout.next()).unwrap();
    assert_eq!(
        (&first["type"], &first["channel"]),
        (&json!("subscribed"), &json!("orders"))
    );
    client
        .say("{\"type\":\"notification\",\n \"channel\":\"orders\",\"payload\":\"a\\nb\",\"x\":1}");
    assert_eq!(
        program.stdout.next(),
        r#"{"type":"notification",  "channel":"orders","payload":"a\nb","x":1}"#
    );
}

#[test]
fn a_lost_connection_is_opened_again_where_it_was() {
    let bridge = MockBridge::start();
    let (program, mut client) = listening(&bridge, "");
    client.say(r#"{"type":"notification","channel":"orders","payload":"p","seq":1}"#);
    assert_eq!(program.stdout.next(), "[orders] p");
    client.close(1001, "going away");
    let mut client = bridge.accept();
    let heard = client.hear();
    assert_eq!(heard["since"], json!({"epoch": "E", "seq": 1}));
    assert_eq!(
        program.stderr.next(),
        "! Connection lost: closed by the server (1001 going away); reconnecting..."
    );
    client.say(&format!(
        r#"{{"type":"subscribed","channel":"orders","id":{},"epoch":"N","seq":9,"recovered":false}}"#,
        heard["id"]
    ));
    assert_eq!(
        program.stderr.next(),
        "! possible gap on channel 'orders': notifications may have been missed while the \
         connection was lost"
    );
    assert_eq!(
        program.stderr.next(),
        "✓ Connected again, and subscribed to the same channels"
    );
    drop(client);
    assert_eq!(
        bridge.accept().hear()["since"],
        json!({"epoch": "N", "seq": 9})
    );
}

/// A token that is replaced in its file is presented by the next connection; where the file says
/// nothing, the one before it.
#[test]
fn a_token_is_read_again_for_each_connection() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "the-first-token\n").unwrap();
    let path = file.to_str().unwrap();
    let bridge = MockBridge::start();
    let program = listen(&bridge, &format!("orders --token-file {path}"));
    let (mut client, token) = bridge.accept_with_token();
    assert_eq!(token.as_deref(), Some("the-first-token"));
    client.confirm("orders");
    wait_for_start(&program.stderr);
    fs::write(&file, "the-second-token\n").unwrap();
    client.close(4001, "token removed");
    let (mut client, token) = bridge.accept_with_token();
    assert_eq!(token.as_deref(), Some("the-second-token"));
    client.confirm("orders");
    program
        .stderr
        .until("✓ Connected again, and subscribed to the same channels");
    fs::remove_file(&file).unwrap();
    client.close(1001, "going away");
    let (mut client, token) = bridge.accept_with_token();
    assert_eq!(token.as_deref(), Some("the-second-token"));
    client.confirm("orders");
    program.stderr.until(&format!(
        "! token file {path}: No such file or directory (os error 2); the token before is presented"
    ));
}

#[test]
fn no_reconnect_is_1_instead() {
    let bridge = MockBridge::start();
    let (program, client) = listening(&bridge, "--no-reconnect");
    client.close(4008, "slow consumer");
    assert_eq!(program.exit_code(), Some(1));
    let expected = format!(
        "alle: connection to {} lost: closed by the server (4008 slow consumer)",
        bridge.url()
    );
    assert_eq!(program.stderr.rest(), [expected]);
}

#[test]
fn ctrl_c_and_sigterm_end_it_with_0() {
    for signal in ["INT", "TERM"] {
        let bridge = MockBridge::start();
        let (program, client) = listening(&bridge, "");
        program.signal(signal);
        assert_eq!(program.exit_code(), Some(0), "{signal}");
        client.wait_for_end();
    }
}

#[test]
fn the_end_of_stdin_leaves_it_listening_and_the_end_of_stdout_ends_it_with_0() {
    let bridge = MockBridge::start();
    let mut command = alle(&format!("listen -w {} orders", bridge.url()));
    let mut head = Command::new("head");
    head.args(["-n", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut head = head.spawn().unwrap();
    let stdout = head.stdin.take().unwrap();
    command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Closes our own copy of the pipe's end.
    drop(command);
    let mut client = bridge.accept();
    client.confirm("orders");
    client.say(&notification("orders", "one"));
    assert_eq!(
        head.wait_with_output().unwrap().stdout,
        b"[orders] one
"
    );
    client.say(&notification("orders", "two"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_channels_it_says_so() {
    let bridge = MockBridge::start();
    let program = listen(&bridge, "");
    let _client = bridge.accept();
    program.stderr.next();
    assert_eq!(
        program.stderr.next(),
        "Listening on channels: none yet (try: sub <channel>)"
    );
    let rest = program.stderr.until("Waiting for notifications...");
    assert_eq!(
        rest[rest.len() - 3..],
        ["Press Ctrl+C to stop", "", "Waiting for notifications..."]
    );
}

/// It used to say that it had subscribed to the same channels, and to hear nothing for ever.
#[test]
fn without_a_person_it_ends_with_1_when_no_channel_is_left() {
    let bridge = MockBridge::start();
    let program = listen(&bridge, "orders alerts");
    let mut client = bridge.accept();
    for channel in ["alerts", "orders"] {
        let id = client.hear()["id"].clone();
        client.say(
            &json!({"type": "error", "code": "forbidden", "id": id, "message": "not yours"})
                .to_string(),
        );
        program.stderr.until(&format!(
            "✗ Channel '{channel}' was refused and is off the list: not yours"
        ));
    }
    assert_eq!(program.exit_code(), Some(1));
    let expected = "alle: no channel is left to listen to: the bridge refused each of them";
    assert_eq!(program.stderr.rest(), [expected]);
}

#[test]
fn a_channel_refused_on_the_way_back_is_told_and_the_others_stay() {
    let bridge = MockBridge::start();
    let program = listen(&bridge, "orders alerts");
    let mut client = bridge.accept();
    client.confirm("alerts");
    client.confirm("orders");
    wait_for_start(&program.stderr);
    client.close(1012, "restart");
    let mut client = bridge.accept();
    let id = client.hear()["id"].clone();
    client.say(
        &json!({"type": "error", "code": "forbidden", "id": id, "message": "not yours"})
            .to_string(),
    );
    client.confirm("orders");
    program
        .stderr
        .until("✗ Channel 'alerts' was refused and is off the list: not yours");
    program
        .stderr
        .until("✓ Connected again, and subscribed to the channels that are left");
}

/// Its other clients have come back as well, and it lets in so many a second.
#[test]
fn a_channel_refused_for_now_is_asked_for_until_it_is_confirmed() {
    let bridge = MockBridge::start();
    let (program, client) = listening(&bridge, "");
    client.close(1012, "restart");
    let mut client = bridge.accept();
    for _ in 0..3 {
        let asked = client.hear();
        assert_eq!(asked["since"], json!({"epoch": "E", "seq": 0}));
        let error = json!({"type": "error", "code": "rate_limited", "id": asked["id"],
            "channel": "orders", "message": "too many messages in a second"});
        client.say(&error.to_string());
    }
    client.confirm("orders");
    client.say(&notification("orders", "heard"));
    assert_eq!(program.stdout.next(), "[orders] heard");
    let told = program
        .stderr
        .until("✓ Connected again, and subscribed to the same channels");
    let delayed = "! channel 'orders' is refused for now, and asked for again: too many messages in a \
                   second";
    let delayed = told.iter().filter(|it| *it == delayed).count();
    assert_eq!(delayed, 1, "{told:?}");
}

#[test]
fn quiet_says_only_what_is_heard_and_what_went_wrong() {
    let bridge = MockBridge::start();
    let mut program = listen(&bridge, "orders --quiet");
    let mut client = bridge.accept();
    client.confirm("orders");
    program.type_line("sub other");
    client.confirm("other");
    client.say(&notification("orders", "p"));
    assert_eq!(program.stdout.next(), "[orders] p");
    client.say(r#"{"type":"gap","channel":"orders","epoch":"F","seq":0}"#);
    assert!(
        program
            .stderr
            .next()
            .starts_with("! possible gap on channel")
    );
    program.type_line("quit");
    assert!(program.stderr.rest().is_empty());
}

#[test]
fn timestamps_stand_before_notifications() {
    let bridge = MockBridge::start();
    let (program, mut client) = listening(&bridge, "--timestamps");
    client.say(&notification("orders", "p"));
    let line = program.stdout.next();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest, "[orders] p");
    let shape: String = time
        .chars()
        .map(|it| if it.is_ascii_digit() { '0' } else { it })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

/// Its end would be run as a command of its own.
#[test]
fn a_line_that_is_too_long_is_refused_whole() {
    let bridge = MockBridge::start();
    let (mut program, _client) = listening(&bridge, "");
    program.type_line(&format!("{} quit", "x".repeat(64 * 1024)));
    assert_eq!(
        program.stderr.next(),
        "Error: the line is too long for a command"
    );
    program.type_line("list");
    assert_eq!(program.stderr.next(), "Subscribed channels:");
}
