//! Variables of the environment, with the real program.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use super::{
    mock_bridge::MockBridge,
    program::{Program, alle, run},
};

#[test]
fn a_wrong_variable_is_2_with_the_usage_line() {
    for (words, name, value, reason) in [
        (
            "serve",
            "ALLE_TOKEN_FILE",
            "",
            "--token-file takes the path of a file, not '' (from the variable ALLE_TOKEN_FILE)",
        ),
        (
            "",
            "ALLE_RETAINED",
            "256MB",
            "--retained takes bytes, as 65536, 64K, 16M or 1G, not '256MB' (from the variable \
             ALLE_RETAINED)",
        ),
        (
            "listen",
            "ALLE_JSON",
            "yes",
            "--json is set by true or 1, unset by false or 0, not 'yes' (from the variable \
             ALLE_JSON)",
        ),
        (
            "publish a b",
            "ALLE_TOKEN",
            "",
            "the variable ALLE_TOKEN is empty",
        ),
        (
            "listen",
            "WS_URL",
            "http://x",
            "WebSocket URL 'http://x' must begin with ws:// or wss://; did you mean 'ws://x'? (from the \
             variable WS_URL)",
        ),
    ] {
        let mut command = alle(words);
        command.env(name, value);
        let (code, stdout, stderr) = run(command);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{name}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines[0], format!("alle: {reason}"));
        assert!(lines[1].starts_with("Usage: alle "), "{stderr}");
    }
}

#[test]
fn a_variable_that_is_not_utf_8_is_2_and_named() {
    let mut command = alle("serve");
    command.env("ALLE_ADMIN_ADDR", OsString::from_vec(vec![b'x', 0xff]));
    let (code, _, stderr) = run(command);
    assert_eq!(code, Some(2));
    let first = stderr.lines().next().unwrap();
    assert_eq!(
        first,
        "alle: the variable ALLE_ADMIN_ADDR is not valid UTF-8"
    );
}

/// It is a line of the log, but for the command whose log is off: that one prints what it finds.
#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let warning = "unknown variable ALLE_CLIENT_QEUE; did you mean 'ALLE_CLIENT_QUEUE'?";
    let mut serve = alle("serve -w 127.0.0.1:0 -p postgresql://127.0.0.1:1/x");
    serve.env("ALLE_CLIENT_QEUE", "1M");
    let serve = Program::start(serve);
    let line = serve.stderr.next();
    assert!(line.contains(" WARN "), "{line}");
    assert!(line.ends_with(warning), "{line}");
    let mut doctor = alle("doctor -p postgresql://127.0.0.1:1/x");
    doctor.env("ALLE_CLIENT_QEUE", "1M");
    let (_, _, stderr) = run(doctor);
    let first = stderr.lines().next().unwrap();
    assert_eq!(first, format!("alle: warning: {warning}"));
}

#[test]
fn a_log_level_hides_the_warning_as_any_other() {
    for (level, is_shown) in [("warn", true), ("error", false)] {
        let bridge = MockBridge::start();
        let mut command = alle(&format!("publish orders x -l {level}"));
        command.env("WS_URL", bridge.url()).env("ALLE_XYZZY", "");
        let program = Program::start(command);
        answer_publish(&bridge, "x");
        assert_eq!(program.exit_code(), Some(0));
        let stderr = program.stderr.rest().concat();
        let shown = stderr.contains("unknown variable ALLE_XYZZY");
        assert_eq!(shown, is_shown, "{stderr}");
    }
}

fn answer_publish(bridge: &MockBridge, payload: &str) {
    let mut client = bridge.accept();
    let heard = client.hear();
    assert_eq!(heard["payload"], payload);
    let id = &heard["id"];
    client.say(&format!(
        r#"{{"type":"notified","channel":"orders","id":{id}}}"#
    ));
}

#[test]
fn the_variables_of_the_server_are_not_read_by_its_clients() {
    let bridge = MockBridge::start();
    let mut command = alle("publish orders -5");
    command
        .env("WS_URL", bridge.url())
        .env("POSTGRES_URL", OsString::from_vec(vec![0xff]))
        .env("ALLE_TOKEN_FILE", "/nowhere")
        .env("ALLE_RETAINED", "nonsense");
    let program = Program::start(command);
    answer_publish(&bridge, "-5");
    assert_eq!(program.exit_code(), Some(0));
    assert!(program.stderr.rest().is_empty());
}
