//! Contract, section 3: SIGTERM and SIGINT, at once and with `--drain`.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    net::TcpStream,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::OFlags,
    pty::{grantpt, ptsname, unlockpt},
};
use serde_json::json;
use tungstenite::Message;

use crate::{
    client::End,
    harness::{AT_ONCE, Bridge, Database, NO_POSTGRES, bridge_and_database, wait_until},
    program::alle_with,
    raw::Raw,
    slow_reader::{deaf_client, flood},
};

/// The time that a stop waits for silent clients. A stop that ended sooner did not wait for them.
const STOP: Duration = Duration::from_millis(4_500);

/// A stop that waits takes that long each time; a machine that is busy, now and then.
#[track_caller]
fn waits_for_nobody(stop: impl Fn() -> Duration) {
    let mut took = Vec::new();
    while took.iter().all(|it| *it >= STOP) {
        assert!(took.len() < 5, "{took:?}");
        took.push(stop());
    }
}

#[test]
fn sigterm_tells_every_client_1001_and_ends_with_0() {
    ends_in_order("TERM");
}

#[test]
fn sigint_tells_every_client_1001_and_ends_with_0() {
    ends_in_order("INT");
}

fn ends_in_order(signal: &str) {
    let (mut bridge, _) = bridge_and_database();
    let mut clients: Vec<_> = (0..20).map(|_| bridge.client()).collect();
    for client in &mut clients[..10] {
        client.subscribe("c");
    }
    bridge.signal(signal);
    for client in &mut clients {
        let End::Closed(code, reason) = client.end() else {
            panic!("no close frame");
        };
        assert_eq!(code, 1001, "{reason}");
    }
    drop(clients);
    let (code, waited) = bridge.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[test]
fn sigterm_ends_at_once_where_nobody_is_connected() {
    waits_for_nobody(|| {
        let (mut bridge, _) = bridge_and_database();
        let began = Instant::now();
        bridge.signal("TERM");
        assert_eq!(bridge.wait_for_exit().0, Some(0));
        began.elapsed()
    });
}

#[test]
fn sigterm_ends_without_postgres() {
    let mut bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = bridge.client();
    client.send(&json!({"type": "subscribe", "channel": "c"}));
    bridge.signal("TERM");
    assert!(matches!(client.end(), End::Closed(1001, _)));
    drop(client);
    let (code, waited) = bridge.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[test]
fn sigterm_ends_in_time_with_a_client_that_never_reads() {
    let (mut bridge, database) = bridge_and_database();
    let _deaf = deaf_client(&bridge, &["flood"]);
    flood(&bridge, &database, "flood", 500);
    bridge.signal("TERM");
    let (code, waited) = bridge.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[test]
fn sigterm_ends_in_time_with_a_client_that_never_answers_the_close() {
    let mut bridge = Bridge::serve(NO_POSTGRES, &[]);
    let _silent = Raw::upgraded(bridge.address);
    let _unfinished = Raw::open(bridge.address);
    bridge.signal("TERM");
    let (code, waited) = bridge.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    waits_for_nobody(|| {
        let (mut bridge, database) = bridge_and_database();
        let mut listener = bridge.client();
        let _deaf = deaf_client(&bridge, &["flood"]);
        flood(&bridge, &database, "flood", 500);
        let began = Instant::now();
        bridge.signal("TERM");
        // After it has acted on the first.
        assert!(matches!(listener.end(), End::Closed(1001, _)));
        bridge.signal("TERM");
        bridge.wait_for_exit();
        began.elapsed()
    });
}

#[test]
fn no_new_client_is_taken_while_it_ends() {
    let (mut bridge, database) = bridge_and_database();
    let mut listener = bridge.client();
    let deaf = deaf_client(&bridge, &["flood"]);
    flood(&bridge, &database, "flood", 500);
    bridge.signal("TERM");
    assert!(matches!(listener.end(), End::Closed(1001, _)));
    if let Ok(stream) = TcpStream::connect(bridge.address) {
        let mut raw = Raw::on(stream);
        let request = crate::raw::upgrade_request(bridge.address, "/ws", "");
        // A reset during our write is a refusal, too.
        if std::io::Write::write_all(&mut raw.stream, request.as_bytes()).is_ok() {
            assert_ne!(raw.status_or_end(), Some(101));
        }
    }
    drop((deaf, listener));
    assert_eq!(bridge.wait_for_exit().0, Some(0));
}

#[test]
fn a_client_gets_what_was_sent_to_it_before_the_close() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut witness) = (bridge.client(), bridge.client());
    client.subscribe("c");
    witness.subscribe("c");
    database
        .sql()
        .run("SELECT pg_notify('c', n::text) FROM generate_series(1, 1000) AS n");
    witness.expect(|message| message["payload"] == "1000");
    bridge.signal("TERM");
    for n in 1..=1_000 {
        assert_eq!(client.payload(), n.to_string());
    }
    assert!(matches!(client.end(), End::Closed(1001, _)));
}

/// The time of a drain, within which a busy machine answers what is asked meanwhile.
const DRAIN: Duration = Duration::from_secs(12);

#[test]
fn a_drain_serves_those_who_are_there_and_closes_them_one_by_one() {
    let database = Database::create();
    let mut bridge = Bridge::start_with(&database.url(), &["--drain", "12"]);
    let mut clients: Vec<_> = (0..20).map(|_| bridge.client()).collect();
    for client in &mut clients {
        client.subscribe("c");
    }
    let mut sql = database.sql();
    let began = Instant::now();
    let threads = clients.into_iter().map(|mut client| {
        thread::spawn(move || {
            let mut heard = 0;
            loop {
                if let Message::Close(frame) = client.frame() {
                    assert_eq!(u16::from(frame.unwrap().code), 1001);
                    return (heard, began.elapsed());
                }
                heard += 1;
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    bridge.signal("TERM");
    wait_until("it is not ready", || bridge.get("/readyz").status == 503);
    sql.notify("c", "still served");
    assert!(bridge.get("/readyz").body.contains("shutting down"));
    assert_eq!(bridge.get("/healthz").status, 200);
    assert_eq!(bridge.get("/metrics").status, 200);
    let mut raw = Raw::open(bridge.address);
    raw.write(crate::raw::upgrade_request(bridge.address, "/ws", "").as_bytes());
    let refusal = raw.response("GET");
    assert_eq!(refusal.status, 503);
    assert!(refusal.header("Retry-After").is_some());
    let ends: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    let heard: usize = ends.iter().map(|(heard, _)| heard).sum();
    assert!(heard > 0, "of 20 some heard what came meanwhile");
    let first = ends.iter().map(|end| end.1).min().unwrap();
    let last = ends.iter().map(|end| end.1).max().unwrap();
    assert!(last - first > DRAIN / 3, "from {first:?} to {last:?}");
    assert_eq!(bridge.wait_for_exit().0, Some(0));
    let took = began.elapsed();
    assert!(took >= DRAIN && took < DRAIN + AT_ONCE, "{took:?}");
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let mut bridge = Bridge::serve(NO_POSTGRES, &["--drain", "3600"]);
    let _client = bridge.client();
    bridge.signal("TERM");
    wait_until("it drains", || {
        bridge.get("/readyz").body.contains("shutting down")
    });
    bridge.signal("INT");
    bridge.wait_for_exit();
}

/// A closed terminal leaves no bridge behind; any other SIGHUP asks for a reload.
#[test]
fn a_terminal_that_is_closed_takes_its_bridge_along() {
    let open = |path: &OsStr| {
        let no_tty = OFlags::NOCTTY.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(no_tty);
        options.open(path).unwrap()
    };
    let terminal = open(OsStr::new("/dev/ptmx"));
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let stdin = open(OsStr::from_bytes(name.as_bytes()));
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES]);
    command.args(["--drain", "1"]);
    command.stdin(stdin).stdout(Stdio::null());
    let mut bridge = Bridge::run_as_it_is(command);
    bridge.signal("HUP");
    bridge.wait_for_log("SIGHUP: there is no token file");
    let closed = Instant::now();
    drop(terminal);
    bridge.signal("HUP");
    bridge.wait_for_log("stopping");
    // The shell sends SIGHUP, too: that is no second signal, and the drain continues to its end.
    bridge.signal("HUP");
    assert_eq!(bridge.wait_for_exit().0, Some(0));
    let took = closed.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
}
