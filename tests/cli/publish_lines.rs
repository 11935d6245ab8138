//! `alle publish --lines` against a bridge whose messages the test chooses.

use std::{fs, io::Write, thread};

use serde_json::{Value, json};

use super::{
    mock_bridge::{MockBridge, MockClient},
    program::{self, Program, alle},
    terminal::Terminal,
};

/// A program that was given `lines`, and the bridge's end of it.
fn publishing(bridge: &MockBridge, lines: &[u8]) -> (Program, MockClient) {
    let words = format!("publish -w {} --lines c", bridge.url());
    let mut program = Program::start(alle(&words));
    let mut stdin = program.stdin.take().unwrap();
    // It may stop reading before the end.
    let _ = stdin.write_all(lines);
    let client = bridge.accept();
    (program, client)
}

/// Hears the notification of `payload`; returns its id.
#[track_caller]
fn hear(client: &mut MockClient, payload: &str) -> Value {
    let heard = client.hear();
    let id = heard["id"].clone();
    let expected = json!({"type": "notify", "channel": "c", "payload": payload, "id": id});
    assert_eq!(heard, expected);
    id
}

fn take(client: &mut MockClient, id: &Value) {
    client.say(&json!({"type": "notified", "channel": "c", "id": id}).to_string());
}

fn refuse(client: &mut MockClient, id: &Value, code: &str) {
    client
        .say(&json!({"type": "error", "code": code, "id": id, "message": "so it is"}).to_string());
}

#[test]
fn each_line_is_a_notification_in_order_and_the_rate_is_said() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"one\r\n\nthree\nlast");
    let first = hear(&mut client, "one");
    take(&mut client, &first);
    // Behind the first, several are on their way.
    let ids = ["", "three", "last"].map(|payload| hear(&mut client, payload));
    for id in &ids {
        take(&mut client, id);
    }
    assert_eq!(program.exit_code(), Some(0));
    let shown = program.stdout.rest();
    assert_eq!(shown[1], "Publishing to channel 'c': lines of stdin");
    assert!(
        shown[2].starts_with("✓ 4 notifications sent in "),
        "{shown:?}"
    );
    assert!(shown[2].ends_with(" a second)"), "{shown:?}");
    assert!(program.stderr.rest().is_empty());
}

#[test]
fn it_stops_at_the_first_refused_line_and_says_which() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\nb\nc\n");
    let first = hear(&mut client, "a");
    take(&mut client, &first);
    let ids = ["b", "c"].map(|payload| hear(&mut client, payload));
    refuse(&mut client, &ids[0], "postgres_down");
    take(&mut client, &ids[1]);
    assert_eq!(program.exit_code(), Some(1));
    let expected = "alle: line 2: so it is (the line before it was sent, already on their way behind it, \
                    and sent, were line 3)";
    assert_eq!(program.stderr.rest(), [expected]);
    assert_eq!(program.stdout.rest().len(), 2, "no success");
}

/// A bridge that refuses all of them is not given a second one.
#[test]
fn nothing_goes_behind_a_first_line_that_is_refused() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\nb\n");
    let id = hear(&mut client, "a");
    refuse(&mut client, &id, "forbidden");
    assert_eq!(program.exit_code(), Some(1));
    let expected = "alle: line 1: so it is (no line was sent before it, none behind it was)";
    assert_eq!(program.stderr.rest(), [expected]);
}

/// What is too long for PostgreSQL is refused by the bridge, and the lines around it are not mixed
/// up in it.
#[test]
fn a_line_that_may_be_refused_for_its_length_travels_alone() {
    let bridge = MockBridge::start();
    let long = "x".repeat(8_000);
    let (program, mut client) = publishing(&bridge, format!("a\nb\n{long}\nd\n").as_bytes());
    for payload in ["a", "b"] {
        let id = hear(&mut client, payload);
        take(&mut client, &id);
    }
    let id = hear(&mut client, &long);
    refuse(&mut client, &id, "payload_too_large");
    assert_eq!(program.exit_code(), Some(1));
    let expected = "alle: line 3: so it is (the 2 lines before it were sent, none behind it was)";
    assert_eq!(program.stderr.rest(), [expected]);
}

#[test]
fn a_line_that_is_no_text_is_named_and_not_sent() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\n\xff\nc\n");
    let id = hear(&mut client, "a");
    take(&mut client, &id);
    assert_eq!(program.exit_code(), Some(1));
    let expected = "alle: line 2: it is not valid UTF-8 (the line before it was sent)";
    assert_eq!(program.stderr.rest(), [expected]);
}

/// After 3 a script must look before it repeats them.
#[test]
fn lines_without_an_answer_are_3() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\nb\nc\n");
    let id = hear(&mut client, "a");
    take(&mut client, &id);
    hear(&mut client, "b");
    hear(&mut client, "c");
    client.close(1001, "going away");
    assert_eq!(program.exit_code(), Some(3));
    let expected = "alle: lines 2 to 3: closed by the server (1001 going away); they may have been \
                    committed: do not repeat them blindly (the line before them was sent, none behind \
                    them was)";
    assert_eq!(program.stderr.rest(), [expected]);
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\n");
    let id = hear(&mut client, "a");
    refuse(&mut client, &id, "unknown_outcome");
    assert_eq!(program.exit_code(), Some(3));
    let expected = "alle: line 1: so it is; it may have been committed: do not repeat it blindly \
                    (no line was sent before it, none behind it was)";
    assert_eq!(program.stderr.rest(), [expected]);
}

/// The answer of a transaction was lost: each line of it may have been committed, not the first alone.
#[test]
fn every_line_of_unknown_outcome_is_named() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\nb\nc\nd\n");
    let first = hear(&mut client, "a");
    take(&mut client, &first);
    let ids = ["b", "c", "d"].map(|payload| hear(&mut client, payload));
    for id in &ids {
        refuse(&mut client, id, "unknown_outcome");
    }
    assert_eq!(program.exit_code(), Some(3));
    let expected = "alle: lines 2 to 4: so it is; they may have been committed: do not repeat them blindly \
                    (the line before them was sent, none behind them was)";
    assert_eq!(program.stderr.rest(), [expected]);
}

/// A refusal ahead of them does not make the lines certain that were on their way.
#[test]
fn lines_behind_a_refused_one_whose_answers_are_lost_are_3() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\nb\nc\nd\n");
    let first = hear(&mut client, "a");
    take(&mut client, &first);
    let ids = ["b", "c", "d"].map(|payload| hear(&mut client, payload));
    refuse(&mut client, &ids[0], "postgres_error");
    take(&mut client, &ids[1]);
    client.close(1001, "going away");
    assert_eq!(program.exit_code(), Some(3));
    let expected = "alle: line 2: so it is; line 4: closed by the server (1001 going away); it may have been \
                    committed: do not repeat it blindly (the line before them was sent, already on \
                    their way behind line 2, and sent, were line 3)";
    assert_eq!(program.stderr.rest(), [expected]);
}

/// Nobody can answer a line that was not asked yet.
#[test]
fn an_early_answer_is_not_believed() {
    let bridge = MockBridge::start();
    let (program, mut client) = publishing(&bridge, b"a\n");
    for id in [json!(1), json!("1"), json!("-1"), json!(null)] {
        take(&mut client, &id);
    }
    let id = hear(&mut client, "a");
    let next = id.as_str().unwrap().replace("-1", "-2");
    take(&mut client, &json!(next));
    client.close(1000, "");
    assert_eq!(program.exit_code(), Some(3));
}

#[test]
fn ten_thousand_lines_keep_their_order() {
    let bridge = MockBridge::start();
    let words = format!("publish -w {} --lines c", bridge.url());
    let mut program = Program::start(alle(&words));
    let mut stdin = program.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let lines: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        stdin.write_all(lines.as_bytes()).unwrap();
    });
    let mut client = bridge.accept();
    for number in 0..10_000 {
        let id = hear(&mut client, &number.to_string());
        take(&mut client, &id);
    }
    writer.join().unwrap();
    assert_eq!(program.exit_code(), Some(0));
    let last = program.stdout.rest().pop().unwrap();
    assert!(last.starts_with("✓ 10000 notifications sent"), "{last}");
}

#[test]
fn a_person_sees_how_far_it_has_come() {
    let bridge = MockBridge::start();
    let file = std::env::temp_dir().join(format!("alle-lines-{}", std::process::id()));
    fs::write(&file, "a\nb\n").unwrap();
    let command = format!(
        "{} publish -w {} --lines c <{}",
        program::path(),
        bridge.url(),
        file.display()
    );
    let terminal = Terminal::start(&["sh", "-c", &command], &[("TERM", "xterm")], 80);
    let mut client = bridge.accept();
    let id = hear(&mut client, "a");
    take(&mut client, &id);
    let id = hear(&mut client, "b");
    terminal.until(|screen| screen.contains("[####################] 100 %  1 sent, "));
    take(&mut client, &id);
    terminal.until_exit(0);
    let screen = terminal.until(|_| true);
    assert!(!screen.contains('#'), "{screen}");
    fs::remove_file(&file).unwrap();
}

/// A reader that ran ahead would keep all of them.
#[test]
fn however_fast_stdin_is_little_of_it_is_kept() {
    const LINES: usize = 8_000;
    const LINE_BYTES: usize = 7_999;
    let bridge = MockBridge::start();
    let words = format!("publish -w {} --lines c", bridge.url());
    let mut program = Program::start(alle(&words));
    let mut stdin = program.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let mut line = "x".repeat(LINE_BYTES);
        line.push('\n');
        for _ in 0..LINES {
            stdin.write_all(line.as_bytes()).unwrap();
        }
        stdin
    });
    let mut client = bridge.accept();
    for _ in 0..LINES {
        let id = client.hear()["id"].clone();
        take(&mut client, &id);
    }
    // Its end has not come: the program is still there to be looked at.
    let stdin = writer.join().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let peak: usize = peak.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak < LINES * LINE_BYTES / 1_024 / 2, "{peak} kB");
    drop(stdin);
    assert_eq!(program.exit_code(), Some(0));
}
