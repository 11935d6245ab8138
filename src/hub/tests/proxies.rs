//! Proxies that are trusted say for whom they speak, and nobody else does.

use std::time::Duration;

use super::world::World;
use crate::{
    access::proxies::TrustedProxies,
    config::Limits,
    hub::{Endpoints, Settings},
    id::ClientId,
};

const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "203.0.113.9";

fn settings(proxy_protocol: bool) -> Settings {
    Settings {
        limits: Limits {
            address_clients_max: Some(1),
            ..Limits::default()
        },
        proxies: TrustedProxies {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            proxy_protocol,
            ..TrustedProxies::default()
        },
        ..Settings::default()
    }
}

fn from(address: &str) -> Endpoints {
    Endpoints::from_peer(address.parse().unwrap())
}

fn head(fields: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// Behind this preamble, in pieces of so many bytes; the status of the answer, if there is one.
fn upgrade(
    world: &mut World,
    address: &str,
    (preamble, piece): (&[u8], usize),
    fields: &str,
) -> Option<(ClientId, String)> {
    let bytes = [preamble, head(fields).as_bytes()].concat();
    let client = world.connect_by_proxy(from(address), &bytes, piece)?;
    if !world.is_connected(client) {
        return None;
    }
    let status = world
        .received(client)
        .get(9..12)
        .unwrap_or_default()
        .to_owned();
    Some((client, status))
}

#[test]
fn the_limit_of_an_address_counts_clients_and_not_their_proxy() {
    let mut world = World::with_settings(settings(false));
    let mut ask = |address, client: &str| {
        let fields = match client {
            "" => String::new(),
            client => format!("X-Forwarded-For: {client}\r\n"),
        };
        world.upgrade(Some(address), &fields).1
    };
    for (address, client, status) in [
        (PROXY, "192.0.2.1", "101"),
        (PROXY, "192.0.2.1", "429"),
        ("10.0.0.2", "192.0.2.1", "429"),
        (PROXY, "192.0.2.7, 192.0.2.1", "429"),
        (PROXY, "192.0.2.2", "101"),
        (PROXY, "192.0.2.2, 10.0.0.3", "429"),
        // Nobody knows how many they stand for.
        (PROXY, "", "101"),
        (PROXY, "", "101"),
        (PROXY, "unknown", "101"),
        // The same client without a proxy is the same client.
        ("192.0.2.2", "", "429"),
        (STRANGER, "192.0.2.3", "101"),
        (STRANGER, "192.0.2.4", "429"),
        (STRANGER, "10.0.0.1", "429"),
        (PROXY, "192.0.2.3", "101"),
    ] {
        assert_eq!(ask(address, client), status, "{address} for {client:?}");
    }
}

#[test]
fn a_client_behind_a_proxy_gives_its_place_back() {
    let mut world = World::with_settings(settings(false));
    let fields = "X-Forwarded-For: 192.0.2.1\r\n";
    let (client, _) = world.upgrade(Some(PROXY), fields);
    assert_eq!(world.upgrade(Some(PROXY), fields).1, "429");
    world.disconnect(client);
    assert_eq!(world.upgrade(Some(PROXY), fields).1, "101");
    world.hub.check_invariants();
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    let head = [0x20 | command, family, length[0], length[1]];
    [b"\r\n\r\n\0\r\nQUIT\n", &head[..], block].concat()
}

#[test]
fn a_preamble_names_the_client_in_whatever_pieces_it_comes() {
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec();
    let block = [192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2, 0x04, 0, 1, 9];
    for preamble in [line, binary(1, 0x11, &block)] {
        for piece in [1, 2, 7, 40, 10_000] {
            let mut world = World::with_settings(settings(true));
            let mut ask = |preamble: &[u8]| {
                let asked = upgrade(&mut world, PROXY, (preamble, piece), "");
                asked.unwrap().1
            };
            assert_eq!(ask(&preamble), "101");
            assert_eq!(ask(&preamble), "429");
            assert_eq!(ask(b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n"), "101");
            // For itself, a proxy may ask as often as it likes.
            for own in [
                &binary(0, 0, b"")[..],
                b"PROXY UNKNOWN\r\n",
                &binary(1, 0, b""),
            ] {
                assert_eq!(ask(own), "101");
                assert_eq!(ask(own), "101");
            }
            assert_eq!(world.hub.metrics().preambles_refused, 0);
        }
    }
}

#[test]
fn a_connection_without_a_sound_preamble_is_let_go_unheard() {
    let sound = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n";
    for piece in [1, 7, 10_000] {
        let mut world = World::with_settings(settings(true));
        let too_long = binary(1, 0x11, &[0; 536 - 16 + 1]);
        for (address, preamble) in [
            (STRANGER, &sound[..]),
            (STRANGER, b""),
            (PROXY, b""),
            (PROXY, b"PROXY TCP4 192.0.2.1\r\n"),
            (PROXY, &too_long),
            (PROXY, b"\x16\x03\x01"),
        ] {
            let before = world.hub.metrics().preambles_refused;
            let asked = upgrade(&mut world, address, (preamble, piece), "");
            assert_eq!(asked, None, "{address} {}", preamble.escape_ascii());
            assert_eq!(world.hub.metrics().preambles_refused, before + 1);
        }
        assert_eq!(world.hub.client_count(), 0);
        // What every proxy may say, an operator need not.
        let operator = world.connect_admin();
        world.input(
            operator,
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        assert!(world.received(operator).starts_with("HTTP/1.1 "));
    }
}

#[test]
fn a_preamble_has_the_ten_seconds_of_every_handshake_and_its_bytes_are_counted() {
    let mut world = World::with_settings(settings(true));
    let mute = world.connect_by_proxy(from(PROXY), b"", 1).unwrap();
    let slow = world.connect_by_proxy(from(PROXY), b"PROXY TC", 3).unwrap();
    assert_eq!(world.hub.owned_bytes(), 8);
    world.pass(Duration::from_millis(9_500));
    assert!(world.is_connected(mute) && world.is_connected(slow));
    world.pass(Duration::from_millis(1_500));
    assert!(!world.is_connected(mute) && !world.is_connected(slow));
    assert_eq!(world.hub.metrics().handshakes_timed_out, 2);
    assert_eq!(world.hub.owned_bytes(), 0);
}

/// A proxy that passes the bytes on, in front of it one that speaks HTTP.
#[test]
fn the_header_of_a_proxy_that_a_preamble_names_is_read() {
    let mut world = World::with_settings(settings(true));
    let mut ask = |source: &str, client: &str| {
        let preamble = format!("PROXY TCP4 {source} 10.0.0.1 4711 443\r\n");
        let fields = format!("X-Forwarded-For: {client}\r\n");
        let asked = upgrade(&mut world, PROXY, (preamble.as_bytes(), 10_000), &fields);
        asked.unwrap().1
    };
    assert_eq!(ask("10.0.0.9", "192.0.2.1"), "101");
    assert_eq!(ask("10.0.0.9", "192.0.2.1"), "429");
    assert_eq!(ask("10.0.0.9", "192.0.2.2"), "101");
    assert_eq!(ask(STRANGER, "192.0.2.3"), "101");
    assert_eq!(ask(STRANGER, "192.0.2.4"), "429");
}

/// The rule about names on this machine goes by the real socket, and whatever a proxy says of the
/// scheme and of the host decides nothing.
#[test]
fn what_a_proxy_says_makes_no_foreign_page_and_no_foreign_name_a_friend() {
    for (proxy_protocol, preamble) in [
        (false, &b""[..]),
        (true, b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"),
    ] {
        let mut world = World::with_settings(settings(proxy_protocol));
        for (name, origin, status) in [
            ("evil.example", None, "403"),
            ("localhost", None, "101"),
            ("localhost", Some("http://evil.example"), "403"),
        ] {
            let endpoints = Endpoints {
                local: Some("127.0.0.1".parse().unwrap()),
                ..from(PROXY)
            };
            let origin = origin.map_or(String::new(), |it| format!("Origin: {it}\r\n"));
            let fields = format!(
                "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: localhost\r\n\
                 X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.1;host=localhost\r\n{origin}"
            );
            let head = head(&fields).replace("Host: localhost", &format!("Host: {name}"));
            let bytes = [preamble, head.as_bytes()].concat();
            let client = world.connect_by_proxy(endpoints, &bytes, 10_000).unwrap();
            let received = world.received(client);
            assert_eq!(&received[9..12], status, "{name} {origin}: {received}");
            world.disconnect(client);
        }
    }
}

#[test]
fn a_handshake_that_lost_something_on_its_way_is_told_what_to_do() {
    let mut world = World::with_settings(settings(false));
    let whole = head("");
    for (lost, by, status, advice) in [
        (
            "Upgrade: websocket\r\n",
            "",
            "426",
            "proxy_set_header Upgrade $http_upgrade",
        ),
        (
            "Connection: Upgrade\r\n",
            "",
            "400",
            "proxy_set_header Connection",
        ),
        ("HTTP/1.1", "HTTP/1.0", "426", "proxy_http_version 1.1"),
    ] {
        let client = world.connect();
        world.input(client, whole.replace(lost, by).as_bytes());
        let received = world.received(client);
        assert_eq!(&received[9..12], status, "{received}");
        assert!(received.contains(advice), "{received}");
    }
}
