//! Contract, section 4: an attempt that fails says how far it got.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use serde_json::json;

use crate::{
    harness::{Bridge, Database, wait_until},
    program::{alle_with, run},
};

/// A server that takes any number of connections, says `greeting` to the request for TLS or the
/// StartupMessage of each, and then nothing. Its port.
fn mute_after(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut request = [0; 8];
                connection.read_exact(&mut request)?;
                connection.write_all(greeting)?;
                // Until the other end gives up.
                std::io::copy(&mut connection, &mut std::io::sink())
            });
        }
    });
    port
}

/// Within them a busy machine gets as far as the server lets it.
const SECONDS: u32 = 5;

/// What `alle doctor` finds out about it, and what it proposes.
fn diagnosis(greeting: &'static [u8], mode: &str) -> String {
    let port = mute_after(greeting);
    let url =
        format!("postgresql://u:p@localhost:{port}/x?sslmode={mode}&connect_timeout={SECONDS}");
    let (code, stdout, _) = run(alle_with(&["doctor", "-p", &url]));
    assert_eq!(code, Some(1), "{stdout}");
    stdout
}

#[test]
fn an_attempt_that_fails_says_which_address_it_was_and_how_far_it_got() {
    let cases: [(&[u8], &str, &str, &str); 5] = [
        (
            b"",
            "disable",
            "accepted, and nothing was answered within 5 s",
            "a proxy or pooler without a server",
        ),
        (
            b"S",
            "require",
            "the TLS handshake was not finished within 5 s",
            "the server's load",
        ),
        (
            b"R\0\0\0\x08\0\0\0\x03",
            "disable",
            "the authentication was not finished within 5 s",
            "the server's log",
        ),
        (
            b"R\0\0\0\x08\0\0\0\0",
            "disable",
            "the authentication passed, and no session began within 5 s",
            "no server connection to give",
        ),
        (
            b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I",
            "disable",
            "the first query of the session was not answered within 5 s",
            "a pooler that has no server connection to give",
        ),
    ];
    thread::scope(|scope| {
        let cases = cases
            .into_iter()
            .filter(|(_, mode, ..)| cfg!(feature = "tls") || *mode == "disable");
        for (greeting, mode, reached, remedy) in cases {
            scope.spawn(move || {
                let text = diagnosis(greeting, mode);
                let line = text.lines().find(|line| line.contains("BAD")).unwrap();
                assert!(line.contains(" (127.0.0.1): "), "{text}");
                assert!(text.contains(reached), "{text}");
                assert!(text.contains(remedy), "{text}");
            });
        }
    });
}

/// A port of which the queue is full: the kernel drops each further SYN.
fn black_hole() -> (TcpListener, Vec<TcpStream>, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&loopback.into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let brief = std::time::Duration::from_millis(100);
    let queue = std::iter::from_fn(|| TcpStream::connect_timeout(&address, brief).ok());
    let queue = queue.collect();
    (listener, queue, address.port())
}

#[test]
fn an_address_that_does_not_answer_is_told_from_one_that_is_mute() {
    let (_hole, _queue, port) = black_hole();
    let url = format!("postgresql://u@127.0.0.1:{port}/x?connect_timeout=2");
    let (code, text, _) = run(alle_with(&["doctor", "-p", &url]));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("connection failed: no answer within 2 s"),
        "{text}"
    );
    assert!(text.contains("the firewalls in between"), "{text}");
}

/// Hosts of a list have their turns, whatever keeps the first one.
#[test]
fn a_host_that_does_not_answer_gives_its_turn_to_the_next() {
    let database = Database::create();
    let good = database.sql().one("SELECT current_setting('port')");
    let (_hole, _queue, hole) = black_hole();
    let mute = mute_after(b"");
    let url = format!(
        "host=127.0.0.1,127.0.0.1,127.0.0.1 port={hole},{mute},{good} user=postgres dbname={} \
         connect_timeout=2 sslmode=disable",
        database.name
    );
    let bridge = Bridge::start(&url);
    assert_eq!(bridge.client().notify("c", "p")["type"], "notified");
}

/// PostgreSQL takes the connections of a bridge that has just begun, and takes its time: nothing
/// has failed.
#[test]
fn a_publish_of_the_first_moment_waits_for_the_first_session() {
    let database = Database::create();
    let good = database.sql().one("SELECT current_setting('port')");
    // Each connection to it is led on once it is told so.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!(
        "postgresql://postgres@127.0.0.1:{port}/{}?sslmode=disable&connect_timeout=60",
        database.name
    );
    let bridge = Bridge::serve(&url, &[]);
    let mut client = bridge.client();
    client.send(&json!({"type": "notify", "channel": "c", "payload": "early", "id": 1}));
    let held = [(); 2].map(|()| listener.accept().unwrap().0);
    client.expect_silence();
    for from in held {
        let to = TcpStream::connect(("127.0.0.1", good.parse().unwrap())).unwrap();
        for (mut from, mut to) in [
            (from.try_clone().unwrap(), to.try_clone().unwrap()),
            (to, from),
        ] {
            thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    }
    assert_eq!(client.expect_answer(1)["type"], "notified");
    client.expect_silence();
}

#[test]
fn a_probe_that_is_refused_takes_readiness_away_until_one_is_heard() {
    let database = Database::create();
    let mut sql = database.sql();
    let url = database.url();
    let bridge = Bridge::start(&url);
    let mut client = bridge.client();
    // As when the queue is full, of which the filling takes gigabytes.
    sql.run(
        "ALTER FUNCTION pg_catalog.pg_notify RENAME TO pg_notify_as_ever;
         CREATE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'too many notifications' USING ERRCODE = '54000'; END $$",
    );
    assert_eq!(client.notify("c", "p")["sqlstate"], "54000");
    let why = "PostgreSQL refuses to notify: ERROR 54000: too many notifications";
    wait_until("the probe is refused", || {
        bridge.get("/readyz").body.contains(why)
    });
    assert_eq!(bridge.get("/readyz").status, 503);
    assert!(
        bridge
            .get("/metrics")
            .body
            .contains("alle_postgres_proved 0")
    );
    bridge.wait_for_log(why);
    let (code, text, _) = run(alle_with(&["doctor", "-p", &url]));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("refuses to notify") && text.contains("pg_stat_activity"),
        "{text}"
    );
    sql.run(
        "DROP FUNCTION pg_catalog.pg_notify(text, text);
         ALTER FUNCTION pg_catalog.pg_notify_as_ever RENAME TO pg_notify",
    );
    bridge.wait_until_ready();
}

/// The privilege is one for the function; the command NOTIFY needs none.
#[test]
fn a_role_that_may_not_call_the_function_publishes_all_the_same() {
    let database = Database::create();
    let mut sql = database.sql();
    let role = format!("{}_role", database.name);
    sql.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let bridge = Bridge::start(&url);
    let mut subscriber = bridge.client();
    let mut publisher = bridge.client();
    subscriber.subscribe("c");
    sql.run("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM public");
    let payload = |n: usize| format!("{n}: it's a \\ \"test\", é");
    let publish = |n| json!({"type": "notify", "channel": "c", "payload": payload(n)});
    publisher.send_all(&(0..100).map(publish).collect::<Vec<_>>());
    for n in 0..100 {
        assert_eq!(subscriber.payload(), payload(n));
    }
    publisher.expect_silence();
    assert_eq!(bridge.get("/readyz").status, 200);
    // Also from the beginning.
    Bridge::start(&url).wait_until_ready();
}
