//! TLS towards clients: everything as in clear text, and what is TLS's own.

#[path = "client_tls/certificates_of_clients.rs"]
mod certificates_of_clients;
#[path = "client_tls/ending.rs"]
mod ending;
#[path = "client_tls/pairs.rs"]
mod pairs;
#[path = "client_tls/records.rs"]
mod records;
#[path = "client_tls/refused.rs"]
mod refused;
#[path = "client_tls/renewal.rs"]
mod renewal;
#[path = "client_tls/secured.rs"]
pub mod secured;
#[path = "client_tls/tickets.rs"]
mod tickets;

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::Arc,
};

use alle::internals::sandbox::{Sandbox, StopMode};
use rustls::{ProtocolVersion, version};
use serde_json::{Value, json};
use tungstenite::Message;

use self::secured::Secured;
use crate::{
    client::{End, wire::Wire},
    harness::{Database, wait_until},
    program::{alle_with, run},
    raw::{Raw, frame, upgrade_request},
    slow_reader::with_small_buffer,
};

#[test]
fn a_client_speaks_wss_as_it_speaks_ws() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let mut client = secured.client();
    assert_eq!(client.subscribe("a")["seq"], 0);
    assert_eq!(client.notify("a", "to itself")["type"], "notified");
    assert_eq!(client.payload(), "to itself");
    database.sql().run("NOTIFY a, 'of another'");
    assert_eq!(client.payload(), "of another");
    client.close();
}

/// TLS is the workers', whichever a client meets; the parent speaks to operators in clear text.
#[test]
fn workers_speak_tls_as_one_bridge_does() {
    let database = Database::create();
    let files = secured::Files::new();
    files.sign_for("localhost", &["localhost"], 2001, 2091);
    let secured = Secured::serve(files, &database.url(), &["--workers", "2"]);
    let mut clients: Vec<_> = (0..8).map(|_| secured.client()).collect();
    for client in &mut clients {
        client.subscribe("a");
    }
    database.sql().run("NOTIFY a, 'to all'");
    for client in &mut clients {
        assert_eq!(client.payload(), "to all");
    }
    let page = secured.admin("/metrics");
    // The beginning of 2091, and not twice as late.
    let line = "alle_tls_certificate_expiry_seconds 3818448000\n";
    assert!(page.contains(line), "{page}");
}

/// The proxy's preamble is in front of TLS, in one piece with its first record or byte by byte.
#[test]
fn a_preamble_comes_before_tls_and_its_client_is_known() {
    let arguments = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
    let secured = Secured::start_without_postgres(&arguments);
    let preamble = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n";
    let by_bytes = secured.by_single_bytes();
    for mut stream in [
        TcpStream::connect(secured.bridge.address).unwrap(),
        by_bytes,
    ] {
        stream.write_all(preamble).unwrap();
        let name = "localhost".try_into().unwrap();
        let connection = rustls::ClientConnection::new(secured.files.shared_config(), name);
        let mut tls = rustls::StreamOwned::new(connection.unwrap(), stream);
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n";
        tls.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    secured.bridge.wait_for_log("refused 192.0.2.1 with 403: ");
    let mut raw = Raw::open(secured.bridge.address);
    raw.write(&[preamble, &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..]].concat());
    let answer = raw.response("GET");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("use wss://"), "{answer:?}");
    let (address, certificate) = (
        secured.bridge.address.to_string(),
        secured.files.name("ca.pem"),
    );
    let bridge = ["health", "-w", &address, "--tls-cert", &certificate];
    let health = alle_with(&[&bridge[..], &arguments].concat());
    let (code, _, stderr) = run(health);
    // Health is at the admin address.
    assert_eq!((code, stderr.contains("404")), (Some(1), true), "{stderr}");
}

#[test]
fn tls_is_1_2_or_1_3_with_http_1_1_alone() {
    let secured = Secured::start_without_postgres(&[]);
    let alpn = |protocols: &[&str]| {
        let protocols = protocols.iter().map(|it| it.as_bytes().to_vec());
        protocols.collect::<Vec<_>>()
    };
    for (version, expected) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut config = secured.files.config_of(&[version]);
        config.alpn_protocols = alpn(&["h2", "http/1.1"]);
        let Wire::Tls(mut tls) = secured.wire(&Arc::new(config)).unwrap() else {
            unreachable!()
        };
        assert_eq!(tls.conn.protocol_version(), Some(expected));
        assert_eq!(tls.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        // An end without `close_notify` would be an error.
        let mut answer = String::new();
        tls.read_to_string(&mut answer).unwrap();
        // Health is at the admin address.
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let mut config = secured.files.config();
    config.alpn_protocols = alpn(&["h2"]);
    let error = secured.wire(&Arc::new(config)).err().unwrap();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
}

#[test]
fn a_request_in_clear_text_is_told_so_in_clear_text() {
    let secured = Secured::start_without_postgres(&[]);
    let address = secured.bridge.address;
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        upgrade_request(address, "/ws", ""),
        "POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".to_owned(),
    ] {
        let mut raw = Raw::open(address);
        raw.write(request.as_bytes());
        let response = raw.response("GET");
        assert_eq!(response.status, 400, "{response:?}");
        assert_eq!(response.body, "this port speaks TLS: use wss://\n");
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(raw.status_or_end(), None);
    }
    secured.client().close();
}

#[test]
fn what_is_neither_tls_nor_http_ends_the_connection() {
    let secured = Secured::start_without_postgres(&[]);
    for bytes in [
        &b"\x16\x03\x01\x00\x04nope"[..],
        b"\x80\x2e\x01\x00\x02",
        b"\0\0\0\0\0\0\0\0",
        b"\x17\x03\x03\x00\x01x",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let mut raw = Raw::open(secured.bridge.address);
        raw.write(bytes);
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _end = raw.stream.read_to_end(&mut rest);
        // At most an alert.
        assert!(rest.is_empty() || rest[0] == 0x15, "{rest:?}");
    }
    secured.client().close();
}

#[test]
fn a_handshake_and_frames_may_come_byte_by_byte() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let mut client = secured.client_on(secured.by_single_bytes());
    client.subscribe("a");
    let long = "x".repeat(3_000);
    assert_eq!(client.notify("a", &long)["type"], "notified");
    assert_eq!(client.payload(), long);
    client.close();
}

#[test]
fn events_and_publishes_go_over_https_by_curl() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let curl = |arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--cacert"])
            .arg(secured.files.path("ca.pem"));
        command.args(arguments).arg(secured.https(path));
        command
    };
    let mut events = curl(&["-N"], "/sse?channel=a")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl is installed");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    let mut wait_for = |text: &str| {
        while !lines
            .next()
            .expect("the stream goes on")
            .unwrap()
            .contains(text)
        {}
    };
    wait_for("subscribed");
    let posted = curl(&["--data-binary", "by curl"], "/publish/a")
        .output()
        .unwrap();
    let posted = String::from_utf8(posted.stdout).unwrap();
    assert!(posted.contains("notified"), "{posted}");
    wait_for("by curl");
    events.kill().unwrap();
    events.wait().unwrap();
}

/// Both closing handshakes, that of WebSocket and that of TLS.
#[test]
fn a_connection_ends_with_close_notify() {
    let secured = Secured::start_without_postgres(&[]);
    let mut tls = secured.websocket(&secured.files.shared_config());
    tls.write_all(&frame(0x88, &1000_u16.to_be_bytes()))
        .unwrap();
    // An end without `close_notify` would be an error.
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\x88\x02\x03\xe8"), "{rest:?}");
}

/// The client says no more, and reads on.
#[test]
fn an_answer_comes_after_the_clients_close_notify() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let Wire::Tls(mut tls) = secured.wire(&secured.files.shared_config()).unwrap() else {
        unreachable!()
    };
    tls.write_all(b"POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
        .unwrap();
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Records that a socket took in part go on where they stopped, and what is shared stays in order.
#[test]
fn a_reader_that_is_slow_gets_everything_in_order() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let mut slow = secured.client_on(with_small_buffer(&secured.bridge));
    slow.subscribe("flood");
    database.sql().run(
        "SELECT pg_notify('flood', rpad(n::text, 8 + n * 13 % 7000, '.'))
         FROM generate_series(1, 2000) AS n",
    );
    for n in 1..=2000 {
        let payload = slow.payload();
        assert_eq!(payload.trim_end_matches('.'), n.to_string());
        if n % 7 == 0 {
            slow.send(&json!({"type": "ping"}));
            slow.expect_type("pong");
        }
    }
}

#[test]
fn a_reader_that_stops_gets_a_prefix_and_the_close_frame() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &["--client-queue", "1M"]);
    let mut deaf = secured.client_on(with_small_buffer(&secured.bridge));
    let mut reader = secured.client();
    deaf.subscribe("flood");
    reader.subscribe("flood");
    let mut sql = database.sql();
    let is_closed = || {
        let page = secured.admin("/metrics");
        page.contains("alle_closes_total{reason=\"slow_consumer\"} 1\n")
    };
    // What the bridge has for it must be read within five seconds of its end.
    for first in (1..2_000).step_by(25) {
        let last = first + 24;
        sql.run(&format!(
            "SELECT pg_notify('flood', rpad(n::text, 7000, '.'))
             FROM generate_series({first}, {last}) AS n"
        ));
        for n in first..=last {
            assert_eq!(reader.payload().trim_end_matches('.'), n.to_string());
        }
        if is_closed() {
            break;
        }
    }
    let mut expected = 1;
    let mut frame = deaf.frame();
    while let Message::Text(text) = frame {
        let message: Value = serde_json::from_str(&text).unwrap();
        let payload = message["payload"].as_str().unwrap();
        assert_eq!(payload.trim_end_matches('.'), expected.to_string());
        expected += 1;
        frame = deaf.frame();
    }
    let is_close = matches!(&frame, Message::Close(Some(close)) if u16::from(close.code) == 4008);
    assert!(is_close, "{frame:?}");
    assert!(expected > 1, "it was served before");
}

/// What is encrypted and not taken counts, and goes with the client.
#[test]
fn what_a_socket_did_not_take_counts_as_owned() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let owned = || {
        let page = secured.admin("/metrics");
        let line = page
            .lines()
            .find(|it| it.starts_with("alle_owned_bytes "))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    let mut deaf = secured.client_on(with_small_buffer(&secured.bridge));
    deaf.subscribe("flood");
    assert_eq!(owned(), 0);
    database.sql().run(
        "SELECT pg_notify('flood', rpad(n::text, 7000, '.')) FROM generate_series(1, 1000) AS n",
    );
    wait_until("something waits", || owned() > 0);
    assert!(owned() <= 17 * 1024, "{}", owned());
    drop(deaf);
    wait_until("nothing waits", || owned() == 0);
}

#[test]
fn an_outage_of_postgres_is_told_over_tls() {
    let server = Sandbox::start().unwrap();
    let secured = Secured::start(&server.url(), &[]);
    let mut client = secured.client();
    client.subscribe("a");
    server.stop(StopMode::Immediate).unwrap();
    assert_eq!(client.next(), json!({"type": "status", "postgres": "down"}));
    server.start_again().unwrap();
    assert_eq!(client.next()["type"], "gap");
    assert_eq!(client.next(), json!({"type": "status", "postgres": "up"}));
    crate::sql::Sql::connect(server.port(), "postgres").run("NOTIFY a, 'heard again'");
    assert_eq!(client.payload(), "heard again");
}

#[test]
fn a_bridge_that_stops_closes_with_1001_and_one_that_is_killed_cuts() {
    for (signal, expected) in [
        ("TERM", End::Closed(1001, "server is going away".to_owned())),
        ("KILL", End::Lost),
    ] {
        let mut secured = Secured::start_without_postgres(&[]);
        let mut client = secured.client();
        client.send(&json!({"type": "ping"}));
        client.expect_type("pong");
        secured.bridge.signal(signal);
        assert_eq!(client.end(), expected);
        secured.bridge.wait_for_exit();
    }
}

/// The client changes its keys, and asks for new ones of ours.
#[test]
fn new_keys_may_be_asked_for_in_the_middle() {
    let secured = Secured::start_without_postgres(&[]);
    let Wire::Tls(mut tls) = secured.wire(&secured.files.shared_config()).unwrap() else {
        unreachable!()
    };
    tls.write_all(upgrade_request(secured.bridge.address, "/ws", "").as_bytes())
        .unwrap();
    for _ in 0..3 {
        tls.conn.refresh_traffic_keys().unwrap();
        tls.write_all(&frame(0x81, br#"{"type":"ping"}"#)).unwrap();
        let mut said = Vec::new();
        while !said.ends_with(br#"{"type":"pong"}"#) {
            let mut byte = [0];
            tls.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
    }
}

/// The admin address is as it was, unless it is to speak TLS, too.
#[test]
fn the_admin_address_speaks_tls_where_it_is_told_to() {
    let secured = Secured::start_without_postgres(&["--admin-tls"]);
    let admin = secured.admin_address();
    let mut raw = Raw::open(admin);
    raw.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw.response("GET").status, 400);
    let stream = TcpStream::connect(admin).unwrap();
    let config = secured.files.shared_config();
    let Wire::Tls(mut tls) = Wire::secured(stream, &config, "localhost").unwrap() else {
        unreachable!()
    };
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
