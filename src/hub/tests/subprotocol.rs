//! Subprotocols that a client offers with its handshake, a token among them.

use super::world::World;
use crate::{
    access::{Access, tokens::Tokens},
    hub::Settings,
    id::ClientId,
};

fn world_with_token() -> World {
    let access = Access {
        tokens: Some(Tokens::parse("ann").unwrap()),
        ..Access::default()
    };
    World::with_settings(Settings {
        access,
        ..Settings::default()
    })
}

/// The head of the answer to a handshake that offers these, and the client.
fn offer(world: &mut World, protocols: &str) -> (ClientId, String) {
    let client = world.connect();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {protocols}\r\n"
    );
    world.input(client, head.as_bytes());
    (client, world.take_head(client))
}

#[test]
fn one_of_ours_is_chosen_where_it_is_offered() {
    let mut world = World::connected();
    for (offered, chosen) in [
        ("", None),
        ("Sec-WebSocket-Protocol: alle.v1\r\n", Some("alle.v1")),
        ("Sec-WebSocket-Protocol: alle\r\n", Some("alle")),
        ("Sec-WebSocket-Protocol: alle, alle.v1\r\n", Some("alle.v1")),
        (
            "Sec-WebSocket-Protocol: x\r\nsec-websocket-protocol: alle\r\n",
            Some("alle"),
        ),
        ("Sec-WebSocket-Protocol: graphql-ws\r\n", None),
        ("Sec-WebSocket-Protocol: ,\r\n", None),
    ] {
        let (client, head) = offer(&mut world, offered);
        assert!(head.starts_with("HTTP/1.1 101 "), "{offered}: {head}");
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        assert_eq!(line, chosen, "{offered}");
        world.send(client, r#"{"type":"ping"}"#);
        assert_eq!(world.types(client), ["pong"], "{offered}");
    }
}

#[test]
fn a_token_comes_as_a_subprotocol_and_is_not_echoed() {
    for offered in ["alle.v1, alle.bearer.ann", "alle.bearer64.YW5u, alle.v1"] {
        let mut world = world_with_token();
        let (client, head) = offer(
            &mut world,
            &format!("Sec-WebSocket-Protocol: {offered}\r\n"),
        );
        assert!(head.contains("\r\nSec-WebSocket-Protocol: alle.v1\r\n"));
        assert!(!head.contains("bearer"));
        world.send(client, r#"{"type":"ping"}"#);
        assert_eq!(world.types(client), ["pong"], "{offered}");
    }
}

#[test]
fn a_wrong_token_by_subprotocol_is_closed_behind_the_handshake() {
    let mut world = world_with_token();
    let (client, head) = offer(
        &mut world,
        "Sec-WebSocket-Protocol: alle.v1, alle.bearer.eve\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 101 "));
    assert_eq!(world.frames_and_close(client).1, Some(4001));
    assert_eq!(world.hub.metrics().closes.count("token_refused"), 1);
}

#[test]
fn a_wrong_token_in_the_header_is_401_whatever_is_offered() {
    let mut world = world_with_token();
    let (_, head) = offer(
        &mut world,
        "Authorization: Bearer eve\r\nSec-WebSocket-Protocol: alle.v1, alle.bearer.ann\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(head.contains("\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\n"));
}

#[test]
fn a_token_is_nothing_where_none_is_required() {
    let mut world = World::connected();
    let (client, head) = offer(
        &mut world,
        "Sec-WebSocket-Protocol: alle, alle.bearer.x\r\n",
    );
    assert!(head.contains("\r\nSec-WebSocket-Protocol: alle\r\n"));
    assert_eq!(world.frames_and_close(client).1, None);
}
