//! Workers that are killed, that hang or cannot start, and a parent that is killed: what clients, the log,
//! `/readyz` and the exit status say of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use alle::internals::sandbox::{self, Sandbox};

use crate::{
    client::End,
    crowd::Crowd,
    group::{nothing_was_lost, scale},
    harness::{Bridge, Database, NO_POSTGRES, wait_until, wrapped},
    raw::{Raw, upgrade_request},
    workers::{KEEPS_ALL, Workers, is_alive, signal},
};

/// One worker after the other is killed under load, while clients hear all: at most so often in ten
/// seconds that none is given up.
#[test]
fn a_worker_is_killed_and_nobody_misses_anything() {
    let (rounds, clients, channels) = scale();
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &KEEPS_ALL);
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    crowd.go_to(&[workers.parent.address]);
    crowd.wait_until_all_hear();
    wait_until("each mirrors all", || {
        workers.sample("alle_channels_listened") == channels as f64
    });
    for round in 0..rounds {
        let victim = 1 + round % 2;
        wait_until("it was not killed too often lately", || {
            workers.of_worker("tries", victim) <= Some(3.0)
        });
        let process = workers.process(victim);
        signal(process, "KILL");
        wait_until("it is started again", || workers.process(victim) != process);
        workers.wait_until_ready();
        crowd.wait_until_all_hear();
    }
    let restarts = |it| workers.of_worker("restarts_total", it).unwrap();
    assert_eq!(restarts(1) + restarts(2), rounds as f64);
    assert_eq!(crowd.seen().refused.load(SeqCst), 0, "{:?}", crowd.seen());
    nothing_was_lost(crowd);
}

/// What was counted stays counted: a sum that falls would be taken for a restart of all.
#[test]
fn counters_do_not_fall_when_a_worker_ends() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &[]);
    let mut clients = workers.clients(12);
    for client in &mut clients {
        client.subscribe("c");
    }
    clients[0].notify("c", "p");
    wait_until("all is counted", || {
        workers.sample("alle_deliveries_total") == 12.0
    });
    let victim = workers.process(1);
    signal(victim, "KILL");
    wait_until("it is started again", || {
        let process = workers.of_worker("process_id", 1);
        process.is_some_and(|it| it != f64::from(victim))
    });
    assert_eq!(workers.sample("alle_deliveries_total"), 12.0);
}

#[test]
fn a_parent_that_is_killed_ends_its_workers() {
    let database = Database::create();
    let mut workers = Workers::start(2, &database.url(), &[]);
    let processes = workers.processes();
    let mut clients = workers.clients(12);
    workers.parent.signal("KILL");
    for client in &mut clients {
        assert!(matches!(client.end(), End::Closed(1001, _)));
    }
    drop(clients);
    assert_eq!(workers.parent.wait_for_exit().0, None);
    wait_until("the workers have ended", || {
        !processes.iter().copied().any(is_alive)
    });
    // Their port is free.
    let address = workers.parent.address;
    assert!(std::net::TcpListener::bind(address).is_ok());
}

/// The file that every start reads is gone: a worker that is killed does not come back, and in the end
/// neither does the other one.
#[test]
fn a_worker_that_cannot_start_is_given_up_and_with_the_last_one_everything_ends() {
    let database = Database::create();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    fs::write(&file, "n0tTheRealOne-7f3a91c2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let tokens = file.to_str().unwrap();
    let mut workers = Workers::start(2, &database.url(), &["--token-file", tokens]);
    let address = workers.parent.address;
    fs::remove_file(&file).unwrap();
    signal(workers.process(1), "KILL");
    wait_until("it is given up", || {
        let ready = workers.get("/readyz");
        ready.status == 503 && ready.body.contains("worker 1: was given up")
    });
    let log = workers
        .parent
        .wait_for_log("it is given up, and its socket closed");
    assert!(log.contains("worker 1"), "{log}");
    workers.parent.wait_for_log("token file");
    assert_eq!(workers.of_worker("ready", 2), Some(1.0));
    assert_eq!(workers.of_worker("tries", 1), Some(5.0));
    // Its socket gets no connection any more, so each client is served.
    for _ in 0..24 {
        let mut raw = Raw::open(address);
        let field = "Authorization: Bearer n0tTheRealOne-7f3a91c2\r\n";
        raw.write(upgrade_request(address, "/ws", field).as_bytes());
        assert_eq!(raw.response("GET").status, 101);
    }
    // A renewal brings it back: the file is there again.
    fs::write(&file, "n0tTheRealOne-7f3a91c2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    workers.parent.signal("USR2");
    workers.parent.wait_for_log("every worker is renewed");
    workers.wait_until_ready();
    // Its socket is another one, and gets its part again.
    let mut crowd = Vec::new();
    wait_until("it has clients", || {
        let field = "Authorization: Bearer n0tTheRealOne-7f3a91c2\r\n";
        let mut raw = Raw::open(address);
        raw.write(upgrade_request(address, "/ws", field).as_bytes());
        assert_eq!(raw.response("GET").status, 101);
        crowd.push(raw);
        workers.of_worker("clients", 1) >= Some(1.0)
    });
    drop(crowd);
    fs::remove_file(&file).unwrap();
    for number in 1..=2 {
        signal(workers.process(number), "KILL");
    }
    assert_eq!(workers.parent.wait_for_exit().0, Some(1));
    workers.parent.wait_for_log("every worker was given up");
}

/// A worker that hangs is seen soon, and killed after fifteen seconds; the others serve meanwhile.
#[test]
fn a_worker_that_hangs_is_seen_and_replaced() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &[]);
    let hung = workers.process(2);
    signal(hung, "STOP");
    wait_until("it is seen", || {
        let ready = workers.get("/readyz");
        ready.status == 503 && ready.body.starts_with("worker 2: does not answer")
    });
    assert_eq!(workers.of_worker("ready", 1), Some(1.0));
    let line = workers
        .parent
        .wait_for_log("does not answer, and is killed");
    assert!(
        line.contains(&format!("worker 2 (process {hung})")),
        "{line}"
    );
    wait_until("another one serves", || workers.process(2) != hung);
    workers.wait_until_ready();
    workers.clients(12);
}

/// The whole service is stopped, as by a debugger, a frozen container or a machine that sleeps: nobody
/// answered meanwhile, and nobody is killed for it.
#[test]
fn silence_while_everything_was_stopped_is_forgiven() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &[]);
    let processes = workers.processes();
    let all = |name| processes.iter().for_each(|it| signal(*it, name));
    all("STOP");
    wait_until("they are asked, and do not answer", || {
        workers.get("/readyz").status == 503
    });
    workers.parent.signal("STOP");
    let began = Instant::now();
    // With the silence before, as long as would be the end of a worker that hangs.
    wait_until("it is too long for a worker that hangs", || {
        began.elapsed() > Duration::from_millis(12_500)
    });
    workers.parent.signal("CONT");
    // The parent alone goes on, and has looked at all of them.
    assert_eq!(workers.get("/healthz").status, 200);
    all("CONT");
    workers.wait_until_ready();
    assert_eq!(workers.processes(), processes);
    let log = workers.parent.log();
    assert!(!log.contains("does not answer"), "{log}");
}

/// PostgreSQL hangs: a worker that is not ready lets clients wait at its socket, but not for ever.
#[test]
fn clients_wait_until_a_worker_is_ready_or_has_been_long_enough() {
    let server = Sandbox::start().unwrap();
    let workers = Workers::start(2, &server.url(), &[]);
    server.pause().unwrap();
    let began = Instant::now();
    let address = workers.parent.address;
    for number in 1..=workers.count {
        let process = workers.process(number);
        signal(process, "KILL");
        wait_until("another one is started", || {
            workers.process(number) != process
        });
    }
    let mut waiting: Vec<_> = (0..16)
        .map(|_| {
            let mut raw = Raw::open(address);
            raw.write(upgrade_request(address, "/ws", "").as_bytes());
            raw
        })
        .collect();
    for raw in &mut waiting {
        assert_eq!(raw.response("GET").status, 101);
    }
    assert!(
        began.elapsed() >= Duration::from_secs(4),
        "nobody came in before"
    );
    assert_eq!(workers.get("/readyz").status, 503);
    server.resume().unwrap();
    workers.wait_until_ready();
}

#[test]
fn a_worker_that_hangs_at_the_end_is_killed_and_the_status_says_so() {
    let database = Database::create();
    let mut workers = Workers::start(2, &database.url(), &[]);
    let hung = workers.process(1);
    signal(hung, "STOP");
    workers.parent.signal("TERM");
    let (status, took) = workers.parent.wait_for_exit();
    assert_eq!(status, Some(1));
    assert!(took >= Duration::from_secs(5), "{took:?}");
    workers
        .parent
        .wait_for_log("did not stop in time, and is killed");
    wait_until("it has ended", || !is_alive(hung));
}

/// Whoever asks twice does not wait for it, and has nobody left behind.
#[test]
fn a_second_signal_ends_a_worker_that_hangs() {
    let database = Database::create();
    let mut workers = Workers::start(2, &database.url(), &[]);
    let processes = workers.processes();
    signal(processes[0], "STOP");
    workers.end_by_two_signals(&processes);
}

/// Neither sockets nor pipes: said in words, and nothing is left running.
#[test]
fn without_descriptors_for_its_workers_a_parent_does_not_start() {
    let arguments = ["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES];
    let several = ["--admin-addr", "127.0.0.1:0", "--workers", "8"];
    let arguments = [&arguments[..], &several].concat();
    let script = "ulimit -n 14; exec \"$0\" \"$@\"";
    let mut parent = Bridge::spawn(wrapped(script, &arguments));
    assert_eq!(parent.wait_for_exit().0, Some(1));
    parent.wait_for_log("Too many open files");
}

/// Workers with few descriptors tell those that have no place; the parent answers all the same.
#[test]
fn few_descriptors_are_told_to_clients_and_not_to_operators() {
    let database = Database::create();
    let mut command = wrapped("ulimit -n 64; exec \"$0\" \"$@\"", &["serve"]);
    command.args(["--max-clients", "1000"]);
    let workers = Workers::run(2, command, &database.url(), &[]);
    workers.wait_until_ready();
    let address = workers.parent.address;
    let asking = || {
        let mut raw = Raw::open(address);
        raw.write(upgrade_request(address, "/ws", "").as_bytes());
        raw
    };
    let waiting: Vec<_> = (0..200).map(|_| asking()).collect();
    let statuses: Vec<_> = waiting
        .into_iter()
        .map(|mut raw| (raw.response("GET").status, raw))
        .collect();
    let open = statuses.iter().filter(|(status, _)| *status == 101).count();
    let refused = statuses.iter().filter(|(status, _)| *status == 503).count();
    assert_eq!(open + refused, 200, "each of them was told");
    assert!((60..128).contains(&open), "{open}");
    assert_eq!(workers.get("/readyz").status, 200);
    assert_eq!(workers.get("/healthz").status, 200);
}
