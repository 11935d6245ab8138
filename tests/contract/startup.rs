//! Contract, section 1: how `alle serve` starts, or says why it does not.

use std::{
    io::{self, Read},
    net::TcpListener,
    sync::mpsc::channel,
    thread,
};

use crate::{
    harness::{Bridge, Database, NO_POSTGRES, PATIENCE},
    program::{Program, alle_with, run},
};

#[test]
fn serve_is_the_default_command() {
    let database = Database::create();
    let mut command = alle_with(&["-w", "127.0.0.1:0", "-p", &database.url()]);
    command.arg("-l").arg("info");
    let bridge = Bridge::run(command);
    bridge.wait_until_ready();
    bridge.client().subscribe("c");
}

#[test]
fn variables_of_the_environment_are_read() {
    let database = Database::create();
    let mut command = alle_with(&[]);
    command
        .env("POSTGRES_URL", database.url())
        .env("WS_BIND_ADDR", "127.0.0.1:0")
        .env("LISTEN_CHANNELS", "one,two")
        .env("RUST_LOG", "alle=debug,info");
    let bridge = Bridge::run(command);
    bridge.wait_until_ready();
    bridge.client().subscribe("c");
}

#[test]
fn a_flag_wins_over_its_variable() {
    let database = Database::create();
    let mut command = alle_with(&["serve", "-p", &database.url(), "-w", "127.0.0.1:0"]);
    command
        .env("POSTGRES_URL", NO_POSTGRES)
        .env("WS_BIND_ADDR", "not an address");
    let bridge = Bridge::run(command);
    bridge.wait_until_ready();
}

#[test]
fn an_empty_variable_is_none() {
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES]);
    command.env("LISTEN_CHANNELS", "").env("POSTGRES_URL", "");
    assert_eq!(Bridge::run(command).get("/healthz").status, 200);
}

#[test]
fn meaningless_settings_are_wrong_usage() {
    for arguments in [
        &["serve", "-p", "mysql://localhost/x"][..],
        &["serve", "-p", "postgresql://localhost:port/x"],
        &["serve", "-p", "postgresql://localhost/%zz"],
        &["serve", "-w", "nonsense"],
        &["serve", "-w", "127.0.0.1:99999"],
        &["serve", "-w", "127.0.0.1"],
        &["serve", "-c", &"x".repeat(64)],
        &["serve", "--allow-orgin", "x"],
        &["serve", "--frobnicate"],
        &["serve", "argument"],
    ] {
        let mut arguments = arguments.to_vec();
        // If one of them were accepted, it would disturb nothing else.
        if !arguments.contains(&"-w") {
            arguments.extend(["-w", "127.0.0.1:0"]);
        }
        if !arguments.contains(&"-p") {
            arguments.extend(["-p", NO_POSTGRES]);
        }
        let program = Program::start(alle_with(&arguments));
        assert_eq!(program.exit_code(), Some(2), "{arguments:?}");
        let stderr = program.stderr.rest().join("\n");
        assert!(stderr.contains("Usage: alle"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_malformed_url_is_not_shown_with_its_password() {
    let url = "postgresql://ann:very-secret@host:port/x";
    let (code, stdout, stderr) = run(alle_with(&["serve", "-w", "127.0.0.1:0", "-p", url]));
    assert_eq!(code, Some(2));
    assert!(!(stdout + &stderr).contains("very-secret"), "{stderr}");
}

#[test]
fn an_address_in_use_is_a_failure_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(alle_with(&["serve", "-w", &address, "-p", NO_POSTGRES]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&address), "{stderr}");
}

#[test]
fn nothing_is_written_to_stdout() {
    let program = Program::start(alle_with(&[
        "serve",
        "-w",
        "127.0.0.1:0",
        "-p",
        NO_POSTGRES,
    ]));
    while !program
        .stderr
        .next()
        .contains("listening on ws://127.0.0.1:")
    {}
    program.signal("TERM");
    assert_eq!(program.exit_code(), Some(0));
    assert_eq!(program.stdout.rest(), Vec::<String>::new());
}

#[test]
fn an_address_of_other_machines_is_taken_and_warned_of() {
    let bridge = Bridge::run(alle_with(&["serve", "-w", "0.0.0.0:0", "-p", NO_POSTGRES]));
    bridge.wait_for_log("WARN");
}

#[test]
fn a_server_that_is_down_is_logged_once_not_at_each_attempt() {
    // A proxy in front of it, which accepts a session and disconnects: it counts them.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let (sender, attempts) = channel();
    thread::spawn(move || {
        for mut session in proxy.incoming().map_while(Result::ok) {
            let mut length = [0; 4];
            session.read_exact(&mut length)?;
            let rest = u64::from(u32::from_be_bytes(length)) - 4;
            io::copy(&mut session.take(rest), &mut io::sink())?;
            sender.send(()).map_err(io::Error::other)?;
        }
        io::Result::Ok(())
    });
    let url = format!("postgresql://postgres@{address}/nobody?sslmode=disable");
    let bridge = Bridge::serve(&url, &[]);
    for _four_of_each_session in 0..8 {
        attempts.recv_timeout(PATIENCE).unwrap();
    }
    let log = bridge.log();
    let complaints = log.lines().filter(|line| line.contains("WARN"));
    assert_eq!(complaints.count(), 2, "once for each session: {log}");
}
