//! Connections that are let go before they speak TLS: nothing is said to them in clear text.

use std::io::Read;

use super::secured::Secured;
use crate::raw::Raw;

/// All bytes until the end.
fn rest(raw: &mut Raw) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _end = raw.stream.read_to_end(&mut rest);
    rest
}

/// So many are more than there is room for.
fn crowd(secured: &Secured, count: usize, said: &[u8]) -> Vec<Raw> {
    let connections = (0..count).map(|_| {
        let mut raw = Raw::open(secured.bridge.address);
        raw.write(said);
        raw
    });
    connections.collect()
}

/// Mute ones, such as owe their preamble or half of it, and such as have begun their hello.
#[test]
fn who_gives_way_before_tls_gets_no_byte() {
    let proxy = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
    let hello: &[u8] = b"\x16\x03\x01\x02\0\x01\0";
    let preamble = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n";
    let behind = [preamble, hello].concat();
    for (arguments, said) in [
        (&[][..], &b""[..]),
        (&[], hello),
        (&proxy, b""),
        (&proxy, &preamble[..9]),
        (&proxy, &behind),
    ] {
        let arguments = [arguments, &["--max-clients", "1"]].concat();
        let secured = Secured::start_without_postgres(&arguments);
        let mut crowd = crowd(&secured, 40, said);
        let first = rest(&mut crowd[0]);
        assert!(first.is_empty(), "{arguments:?}: {first:?}");
    }
}

/// The oldest of 4,096 handshakes is told of it in clear text alone.
#[test]
fn the_oldest_of_too_many_handshakes_gets_no_byte() {
    let secured = Secured::start_without_postgres(&[]);
    let mut crowd = crowd(&secured, 4_097, b"");
    let first = rest(&mut crowd[0]);
    assert!(first.is_empty(), "{first:?}");
    let page = secured.admin("/metrics");
    let line = "alle_connections_dropped_total{reason=\"handshakes_full\"} 1\n";
    assert!(page.contains(line), "{page}");
}
