//! The command line from a user's point of view: the real program, its streams and its exit status.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests are a shell: they open sockets; what is not there fails the test"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "cli/at_a_terminal.rs"]
mod at_a_terminal;
#[path = "support/deserted.rs"]
#[expect(dead_code, reason = "the playground's tests need the rest")]
mod deserted;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/listen.rs"]
mod listen;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "support/mock_bridge.rs"]
mod mock_bridge;
#[path = "support/patient.rs"]
mod patient;
#[path = "support/program.rs"]
mod program;
#[path = "cli/publish.rs"]
mod publish;
#[path = "cli/publish_lines.rs"]
mod publish_lines;
#[path = "support/terminal.rs"]
mod terminal;
#[path = "cli/under_tmux.rs"]
mod under_tmux;
#[path = "cli/variables.rs"]
mod variables;
#[cfg(not(feature = "tls"))]
#[path = "cli/without_tls.rs"]
mod without_tls;

use std::{
    fs::File,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use deserted::Deserted;
use program::{PATIENCE, Program, alle, closed_pipe, run};

/// Looks now and then until `holds`.
#[track_caller]
fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came");
        thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn help_is_on_stdout_and_a_success() {
    for (words, expected) in [
        ("help", "Usage: alle [OPTIONS] [COMMAND]"),
        ("-h", "Usage: alle [OPTIONS] [COMMAND]"),
        ("help serve", "Usage: alle [serve] [OPTIONS]"),
        ("serve --help", "Usage: alle [serve] [OPTIONS]"),
        ("-h listen", "Usage: alle listen [OPTIONS] [CHANNELS]..."),
        (
            "help publish",
            "Usage: alle publish [OPTIONS] CHANNEL PAYLOAD",
        ),
        ("demo -h", "Usage: alle demo [OPTIONS]"),
    ] {
        let (code, stdout, stderr) = run(alle(words));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{words}");
        assert!(
            stdout.lines().any(|line| line == expected),
            "{words}: {stdout}"
        );
    }
    assert_eq!(run(alle("help listen")), run(alle("listen -h")));
    let (code, stdout, stderr) = run(alle("listen -V"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let version = concat!("alle ", env!("CARGO_PKG_VERSION"), " (");
    let built = stdout.strip_prefix(version).expect("the version is named");
    let compiler = built.contains("rustc 1.");
    let tls = if cfg!(feature = "tls") {
        ", with TLS)\n"
    } else {
        ", without TLS)\n"
    };
    assert!(compiler && built.ends_with(tls), "{stdout}");
}

#[test]
fn help_names_every_variable_and_default() {
    for (topic, words) in [
        (
            "",
            "POSTGRES_URL RUST_LOG postgresql://localhost/postgres alle=info,info",
        ),
        (
            "serve",
            "POSTGRES_URL WS_BIND_ADDR LISTEN_CHANNELS RUST_LOG 127.0.0.1:8080",
        ),
        ("listen", "WS_URL ALLE_TOKEN RUST_LOG ws://127.0.0.1:8080"),
        ("publish", "WS_URL ALLE_TOKEN RUST_LOG ws://127.0.0.1:8080"),
        ("demo", "WS_BIND_ADDR RUST_LOG 127.0.0.1:8080"),
    ] {
        let (_, stdout, _) = run(alle(&format!("help {topic}")));
        for word in words.split(' ') {
            assert!(stdout.contains(word), "help {topic} without {word}");
        }
    }
}

#[test]
fn wrong_usage_is_2_with_the_usage_line_and_the_nearest_option() {
    for (words, reason, usage) in [
        (
            "--bogus-thing",
            "alle: unknown option '--bogus-thing'",
            "Usage: alle [OPTIONS] [COMMAND]",
        ),
        (
            "serve --ws-bind-adr x",
            "alle: unknown option '--ws-bind-adr'; did you mean '--ws-bind-addr'?",
            "Usage: alle [serve] [OPTIONS]",
        ),
        (
            "pubish a b",
            "alle: unknown command 'pubish'; did you mean 'publish'?",
            "Usage: alle [OPTIONS] [COMMAND]",
        ),
        (
            "publish a",
            "alle: publish needs a PAYLOAD after the CHANNEL ('-' reads it from stdin)",
            "Usage: alle publish [OPTIONS] CHANNEL PAYLOAD",
        ),
        (
            "listen -w http://x",
            "alle: WebSocket URL 'http://x' must begin with ws:// or wss://; did you mean 'ws://x'?",
            "Usage: alle listen [OPTIONS] [CHANNELS]...",
        ),
        (
            "listen -w ws://u:secret@x",
            "alle: a WebSocket URL with a user or password is not supported",
            "Usage: alle listen [OPTIONS] [CHANNELS]...",
        ),
        (
            "publish a b --token-file /nowhere/token",
            "alle: token file /nowhere/token: No such file or directory (os error 2)",
            "Usage: alle publish [OPTIONS] CHANNEL PAYLOAD",
        ),
        (
            "listen --token-file /dev/null",
            "alle: token file /dev/null: there is no token in it",
            "Usage: alle listen [OPTIONS] [CHANNELS]...",
        ),
        (
            "publish a b --token-file=",
            "alle: --token-file takes the path of a file, not ''",
            "Usage: alle publish [OPTIONS] CHANNEL PAYLOAD",
        ),
        (
            "serve --token-file /nowhere --allow-origin=",
            "alle: --allow-origin takes what browsers send, as https://HOST[:PORT], or '*', not ''",
            "Usage: alle [serve] [OPTIONS]",
        ),
        (
            "serve --token-file=",
            "alle: --token-file takes the path of a file, not ''",
            "Usage: alle [serve] [OPTIONS]",
        ),
    ] {
        let (code, stdout, stderr) = run(alle(words));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{words}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines[..2], [reason, usage], "{words}");
    }
}

#[test]
fn settings_that_prevent_a_start_are_2() {
    for words in [
        "serve -p nonsense",
        "serve -w nonsense",
        "-w 127.0.0.1:99999",
    ] {
        let (code, _, stderr) = run(alle(words));
        assert_eq!(code, Some(2), "{words}: {stderr}");
        let is_named = stderr.contains("PostgreSQL URL:") || stderr.contains("is not HOST:PORT");
        assert!(is_named, "{words}: {stderr}");
        assert!(
            stderr.contains("Usage: alle [serve] [OPTIONS]"),
            "{words}: {stderr}"
        );
    }
    let mut command = alle("");
    command.env("WS_BIND_ADDR", "nonsense");
    assert_eq!(run(command).0, Some(2));
    let mut command = alle("listen");
    command.env("RUST_LOG", "alle=loud");
    assert_eq!(run(command).0, Some(2));
}

#[test]
fn a_flag_wins_over_its_variable_and_a_variable_over_the_default() {
    let nobody = [(); 2].map(|()| Deserted::hold());
    let [flag, variable] = nobody
        .each_ref()
        .map(|port| format!("ws://{}", port.address()));
    let mut command = alle(&format!("publish -w {flag} a b"));
    command.env("WS_URL", &variable);
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, Some(1));
    assert_eq!(stdout, format!("Connecting to WebSocket: {flag}\n"));
    assert!(
        stderr.contains(&format!("cannot connect to {flag}: connection refused")),
        "{stderr}"
    );
    let mut command = alle("publish a b");
    command.env("WS_URL", &variable);
    assert_eq!(
        run(command).1,
        format!("Connecting to WebSocket: {variable}\n")
    );
}

#[test]
fn a_reader_that_is_gone_is_no_error_and_a_full_disk_is_one() {
    let status = alle("help")
        .stdout(closed_pipe())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = alle("help")
        .stdout(full)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn listen_without_a_bridge_says_so_and_is_1() {
    let nobody = Deserted::hold();
    let url = format!("ws://{}", nobody.address());
    let program = Program::start(alle(&format!("listen -w {url}")));
    assert_eq!(program.exit_code(), Some(1));
    assert_eq!(
        program.stderr.rest(),
        [
            format!("Connecting to WebSocket: {url}"),
            format!(
                "alle: cannot connect to {url}: connection refused (is `alle serve` running there?)"
            ),
        ]
    );
}
