//! The admin address: what is answered there, and whom it keeps out.

use std::time::Duration;

use super::world::World;
use crate::{
    access::origins::OriginPolicy,
    config::Limits,
    hub::{Settings, admission::ADMIN_CONNECTIONS_MAX},
    id::ClientId,
};

/// A bridge whose admin address is a loopback one.
pub(super) fn world_with_admin() -> World {
    World::with_settings(Settings {
        admin_origins: Some(OriginPolicy::default()),
        ..Settings::default()
    })
}

fn ask(world: &mut World, client: ClientId, path: &str, host: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    world.input(client, request.as_bytes());
    let answer = world.received(client);
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn health_and_metrics_are_at_the_admin_address_alone() {
    let mut world = world_with_admin();
    for (path, here, there) in [
        ("/healthz", "200", "404"),
        ("/readyz", "200", "404"),
        ("/metrics", "200", "404"),
        ("/", "404", "426"),
        ("/ws", "404", "426"),
        ("/nowhere", "404", "404"),
    ] {
        let admin = world.connect_admin();
        assert_eq!(ask(&mut world, admin, path, "localhost"), here, "{path}");
        let client = world.connect();
        assert_eq!(ask(&mut world, client, path, "localhost"), there, "{path}");
    }
}

#[test]
fn what_is_not_there_is_not_there_for_any_method() {
    let mut world = world_with_admin();
    for method in ["GET", "POST", "OPTIONS", "PUT", "DELETE", "FROB"] {
        for (path, here, there) in [
            ("/nowhere", "404", "404"),
            ("/metrics", "405", "404"),
            ("/ws", "404", "405"),
            ("/publish/a/b", "404", "404"),
            // There is no page to load it.
            ("/alle.js", "404", "404"),
        ] {
            for (client, expected) in [(world.connect_admin(), here), (world.connect(), there)] {
                let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                world.input(client, request.as_bytes());
                let answer = world.received(client);
                let status = answer.split(' ').nth(1).unwrap_or_default();
                if method != "GET" || expected == "404" {
                    assert_eq!(status, expected, "{method} {path}");
                }
            }
        }
    }
}

#[test]
fn each_address_has_its_own_rule_of_hosts() {
    let mut world = world_with_admin();
    let admin = world.connect_admin();
    assert_eq!(ask(&mut world, admin, "/metrics", "evil.example"), "403");
    let client = world.connect();
    assert_eq!(ask(&mut world, client, "/", "app.example"), "426");
}

#[test]
fn nobody_upgrades_at_the_admin_address() {
    let mut world = world_with_admin();
    let admin = world.connect_admin();
    let upgrade = "/ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX: ";
    assert!(ask(&mut world, admin, upgrade, "localhost").starts_with("404"));
}

#[test]
fn a_seventeenth_connection_lets_the_oldest_go() {
    let mut world = world_with_admin();
    let mut there: Vec<_> = (1..ADMIN_CONNECTIONS_MAX)
        .map(|_| world.connect_admin())
        .collect();
    there.push(world.connect_admin());
    assert!(there.iter().all(|&id| world.is_connected(id)));
    assert_eq!(world.hub.metrics().admin_evicted, 0);
    let late = world.connect_admin();
    assert_eq!(world.hub.metrics().admin_evicted, 1);
    assert!(!world.is_connected(there[0]));
    assert!(there[1..].iter().all(|&id| world.is_connected(id)));
    assert_eq!(ask(&mut world, late, "/healthz", "localhost"), "200");
    // Who left by itself makes room.
    world.disconnect(there[5]);
    world.connect_admin();
    assert_eq!(world.hub.metrics().admin_evicted, 1);
}

#[test]
fn connections_to_the_admin_address_are_no_clients() {
    let mut world = world_with_admin();
    world.hub.limits = Limits {
        clients_max: Some(1),
        ..Limits::default()
    };
    let admin: Vec<_> = (0..10).map(|_| world.connect_admin()).collect();
    let _ann = world.client();
    assert_eq!(world.hub.client_count(), 1);
    let gauges = world.hub.gauges();
    assert_eq!((gauges.clients_handshake, gauges.clients_open), (0, 1));
    assert_eq!(gauges.clients_closing, 0);
    world.pass(Duration::from_secs(12));
    assert!(!world.is_connected(admin[0]), "a head has ten seconds");
}
