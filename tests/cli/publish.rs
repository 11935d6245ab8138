//! `alle publish` against a bridge whose messages the test chooses.

use std::{
    fs,
    io::{Read, Write},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    deserted::Deserted,
    mock_bridge::MockBridge,
    program::{Program, alle, alle_with, closed_pipe},
};

fn publish(bridge: &MockBridge, channel: &str, payload: &str) -> Program {
    Program::start(alle_with(&[
        "publish",
        "--ws-url",
        &bridge.url(),
        channel,
        payload,
    ]))
}

#[test]
fn success_is_said_only_after_the_answer_with_our_id() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "orders", r#"{"id": 123}"#);
    let mut client = bridge.accept();
    let heard = client.hear();
    let id = &heard["id"];
    assert_eq!(
        heard,
        json!({"type": "notify", "channel": "orders", "payload": "{\"id\": 123}", "id": id})
    );
    assert_eq!(
        program.stdout.next(),
        format!("Connecting to WebSocket: {}", bridge.url())
    );
    assert_eq!(
        program.stdout.next(),
        r#"Publishing to channel 'orders': {"id": 123}"#
    );
    for not_ours in [
        r#"{"type":"status","postgres":"down"}"#,
        r#"{"type":"notification","channel":"orders","payload":"x"}"#,
        r#"{"type":"notified","channel":"orders","id":"another"}"#,
        r#"{"type":"error","message":"not yours","id":999}"#,
        r#"{"type":"something new"}"#,
    ] {
        client.say(not_ours);
    }
    client.say(&format!(
        r#"{{"type":"notified","channel":"orders","id":{id}}}"#
    ));
    assert_eq!(program.stdout.rest(), ["✓ Notification sent successfully"]);
    assert_eq!(program.exit_code(), Some(0));
    assert!(program.stderr.rest().is_empty());
}

/// A scheme is the same in capitals (RFC 3986, 3.1).
#[test]
fn a_url_in_capitals_is_connected_to_and_shown_as_typed() {
    let bridge = MockBridge::start();
    let url = bridge.url().replace("ws://", "WS://");
    let program = Program::start(alle_with(&["publish", "-w", &url, "c", "p"]));
    assert_eq!(
        program.stdout.next(),
        format!("Connecting to WebSocket: {url}")
    );
    assert_eq!(bridge.accept().hear()["payload"], "p");
}

#[test]
fn an_error_is_1_with_its_text() {
    for (id, message) in [
        (true, "PostgreSQL is down"),
        (false, "channel name is empty"),
    ] {
        let bridge = MockBridge::start();
        let program = publish(&bridge, "a", "b");
        let mut client = bridge.accept();
        let heard = client.hear();
        let id = if id {
            format!(r#","id":{}"#, heard["id"])
        } else {
            String::new()
        };
        client.say(&format!(r#"{{"type":"error","message":"{message}"{id}}}"#));
        assert_eq!(program.exit_code(), Some(1));
        assert_eq!(program.stderr.rest(), [format!("alle: {message}")]);
        assert_eq!(program.stdout.rest().len(), 2, "no success");
    }
}

/// By Ctrl-Z, and later by `fg`.
#[test]
fn a_publisher_that_was_stopped_and_continued_still_gets_the_answer() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "a", "b");
    let mut client = bridge.accept();
    let id = client.hear()["id"].clone();
    for _ in 0..20 {
        program.signal("STOP");
        program.wait_until_stopped();
        program.signal("CONT");
    }
    client.say(&format!(r#"{{"type":"notified","channel":"a","id":{id}}}"#));
    assert_eq!(program.exit_code(), Some(0), "{:?}", program.stderr.rest());
}

#[test]
fn a_close_before_the_answer_is_3_and_the_outcome_unknown() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "a", "b");
    let mut client = bridge.accept();
    client.hear();
    client.close(1001, "going away");
    assert_eq!(program.exit_code(), Some(3));
    assert_eq!(
        program.stderr.rest(),
        [
            "alle: closed by the server (1001 going away); it may have been committed: do not repeat \
             it blindly"
        ]
    );
}

#[test]
fn a_lost_connection_is_3() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "a", "b");
    let mut client = bridge.accept();
    client.hear();
    drop(client);
    assert_eq!(program.exit_code(), Some(3));
    assert!(program.stderr.next().contains("connection lost"));
}

#[test]
fn silence_is_3_after_10_seconds() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "a", "b");
    let client = bridge.accept();
    assert_eq!(program.exit_code(), Some(3));
    assert!(program.stderr.next().starts_with("alle: no answer in 10 s"));
    client.wait_for_end();
}

/// A script may try again after 1: nothing was published. After 3 it must look first.
#[test]
fn an_outcome_that_nobody_knows_is_3() {
    for (code, status) in [
        ("unknown_outcome", 3),
        ("postgres_down", 1),
        ("forbidden", 1),
    ] {
        let bridge = MockBridge::start();
        let program = publish(&bridge, "a", "b");
        let mut client = bridge.accept();
        let id = client.hear()["id"].clone();
        client.say(
            &json!({"type": "error", "code": code, "message": "so it is", "id": id}).to_string(),
        );
        assert_eq!(program.exit_code(), Some(status), "{code}");
        assert!(program.stderr.next().contains("so it is"));
    }
}

/// Before the request nobody can know its id, and another channel is not ours.
#[test]
fn an_answer_to_something_else_is_no_success() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "a", "b");
    let mut client = bridge.accept();
    for id in ["0", "1", "null", "\"1\"", "\"a\"", "\"publish\""] {
        client.say(&format!(r#"{{"type":"notified","channel":"a","id":{id}}}"#));
    }
    client.say(r#"{"type":"notified","channel":"a"}"#);
    let id = client.hear()["id"].clone();
    client.say(&format!(r#"{{"type":"notified","channel":"b","id":{id}}}"#));
    client.close(1000, "");
    assert_eq!(program.exit_code(), Some(3));
    assert_eq!(program.stdout.rest().len(), 2, "no success");
}

/// Whatever the peer gives now and then, it has 10 s for all of it.
#[test]
fn a_handshake_that_drips_is_1_after_10_seconds() {
    let bridge = MockBridge::start();
    let began = Instant::now();
    let program = publish(&bridge, "a", "b");
    let mut stream = bridge.accept_tcp();
    let dripping = thread::spawn(move || {
        let bytes = b"HTTP/1.1 101 Switching Protocols\r\nX: ".iter();
        for byte in bytes.chain(std::iter::repeat(&b'y')) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::park_timeout(Duration::from_millis(500));
        }
    });
    assert_eq!(program.exit_code(), Some(1));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    let error = program.stderr.next();
    assert!(error.ends_with("did not answer in time"), "{error}");
    dripping.join().unwrap();
}

/// It may lead to several machines.
#[test]
fn what_a_name_led_to_is_named() {
    let nobody = Deserted::hold();
    let port = nobody.address().port();
    let url = format!("ws://localhost:{port}");
    let program = Program::start(alle_with(&["publish", "-w", &url, "a", "b"]));
    assert_eq!(program.exit_code(), Some(1));
    let error = program.stderr.next();
    assert!(
        error.contains(&format!("127.0.0.1:{port}: connection refused")),
        "{error}"
    );
}

#[test]
fn a_refused_handshake_is_1_with_the_servers_words() {
    let bridge = MockBridge::start();
    let program = publish(&bridge, "a", "b");
    let mut stream = bridge.accept_tcp();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\nuse --allow-host x";
    stream.write_all(answer.as_bytes()).unwrap();
    assert_eq!(program.exit_code(), Some(1));
    let expected = format!(
        "alle: cannot connect to {}: the server answered 403 Forbidden: use --allow-host x",
        bridge.url()
    );
    assert_eq!(program.stderr.rest(), [expected]);
}

#[test]
fn a_payload_comes_from_stdin_without_the_last_lines_end() {
    for (typed, payload) in [
        ("a\nb\n", "a\nb"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        ("", ""),
        ("a", "a"),
    ] {
        let bridge = MockBridge::start();
        let mut program = publish(&bridge, "c", "-");
        program
            .stdin
            .take()
            .unwrap()
            .write_all(typed.as_bytes())
            .unwrap();
        let mut client = bridge.accept();
        let heard = client.hear();
        assert_eq!(heard["payload"], payload);
        client.say(&format!(
            r#"{{"type":"notified","channel":"c","id":{}}}"#,
            heard["id"]
        ));
        assert_eq!(program.exit_code(), Some(0));
        let shown = format!(
            "Publishing to channel 'c': {}",
            payload.replace('\n', "\\n")
        );
        assert_eq!(program.stdout.until(&shown).len(), 2, "one line");
    }
}

#[test]
fn too_much_on_stdin_and_bytes_that_are_no_text_are_1() {
    let bridge = MockBridge::start();
    for typed in [vec![b'x'; 64 * 1024 + 1], vec![0xff]] {
        let mut program = publish(&bridge, "c", "-");
        // It may stop reading before the end.
        let _ = program.stdin.take().unwrap().write_all(&typed);
        assert_eq!(program.exit_code(), Some(1));
        assert!(program.stderr.next().contains("stdin"));
    }
}

#[test]
fn a_reader_that_is_gone_does_not_keep_it_from_sending() {
    let bridge = MockBridge::start();
    let url = bridge.url();
    let mut command = alle_with(&["publish", "-w", &url, "a", "b"]);
    let program = thread::spawn(move || {
        command
            .stdout(closed_pipe())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    });
    let mut client = bridge.accept();
    let id = client.hear()["id"].clone();
    client.say(&format!(r#"{{"type":"notified","channel":"a","id":{id}}}"#));
    let output = program.join().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

/// A script repeats what ended with 1.
#[test]
fn what_was_sent_and_could_not_be_told_is_3() {
    for words in ["publish orders p", "publish --lines orders"] {
        let bridge = MockBridge::start();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = alle(&format!("{words} -w {}", bridge.url()));
        command.stdin(Stdio::piped()).stdout(full);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"p\n").unwrap();
        let mut client = bridge.accept();
        let id = client.hear()["id"].clone();
        let answer = json!({"type": "notified", "channel": "orders", "id": id});
        client.say(&answer.to_string());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{words}: {stderr}");
        let expected = "alle: it was sent, do not repeat it; but cannot write to stdout: ";
        assert!(stderr.starts_with(expected), "{words}: {stderr}");
    }
}
