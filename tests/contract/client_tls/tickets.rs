//! A client that comes again with a ticket: at one bridge, and at any worker of a service.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use rustls::{ClientConfig, HandshakeKind, version};

use super::secured::Secured;
use crate::{client::wire::Wire, harness::wait_until, metrics::value, workers};

#[test]
fn a_ticket_makes_the_next_handshake_cheap() {
    let secured = Secured::start_without_postgres(&[]);
    for version in [&version::TLS12, &version::TLS13] {
        let config = Arc::new(secured.files.config_of(&[version]));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let Wire::Tls(mut tls) = secured.wire(&config).unwrap() else {
                unreachable!()
            };
            assert_eq!(tls.conn.handshake_kind(), Some(expected), "{version:?}");
            // Under TLS 1.3 the ticket comes behind the handshake.
            tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .unwrap();
            tls.read_to_end(&mut Vec::new()).unwrap();
        }
    }
    let page = secured.admin("/metrics");
    for (outcome, count) in [("full", 2), ("resumed", 2), ("failed", 0)] {
        let line = format!("alle_tls_handshakes_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(page.contains(&line), "{line}{page}");
    }
}

/// A client of WebSocket that stays, and how its handshake went.
fn come(secured: &Secured, config: &Arc<ClientConfig>) -> (HandshakeKind, impl Read + use<>) {
    let mut tls = secured.websocket(config);
    // Under TLS 1.3 the ticket comes behind the handshake; the answer to a ping is behind it.
    tls.write_all(&crate::raw::frame(0x81, br#"{"type":"ping"}"#))
        .unwrap();
    let mut said = Vec::new();
    while !said.ends_with(br#"{"type":"pong"}"#) {
        let mut byte = [0];
        tls.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    (tls.conn.handshake_kind().unwrap(), tls)
}

fn of_worker(secured: &Secured, name: &str, number: usize) -> Option<f64> {
    let page = secured.admin("/metrics");
    value(&page, &format!("alle_worker_{name}{{worker=\"{number}\"}}"))
}

/// A ticket of one worker counts at each of them, and at the successors of all.
#[test]
fn a_ticket_of_one_worker_counts_at_any() {
    let secured = Secured::start_without_postgres(&["--workers", "2"]);
    let versions = [&version::TLS12, &version::TLS13];
    let configs = versions.map(|version| Arc::new(secured.files.config_of(&[version])));
    for config in &configs {
        assert_eq!(come(&secured, config).0, HandshakeKind::Full);
    }
    let crowd = |config| {
        let mut crowd = Vec::new();
        wait_until("each worker has clients of it", || {
            let (kind, client) = come(&secured, config);
            assert_eq!(kind, HandshakeKind::Resumed);
            crowd.push(client);
            (1..=2).all(|it| of_worker(&secured, "clients", it) >= Some(1.0))
        });
    };
    configs.iter().for_each(crowd);
    for number in 1..=2 {
        let process = of_worker(&secured, "process_id", number).unwrap();
        let id = format!("{process:.0}").parse().unwrap();
        workers::signal(id, "KILL");
        wait_until("another one is there", || {
            let successor = of_worker(&secured, "process_id", number);
            successor.is_some_and(|it| it != process)
        });
    }
    configs.iter().for_each(crowd);
}
