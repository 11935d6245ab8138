//! Contract, section 5: `--admin-addr`.

use std::net::SocketAddr;

use crate::{
    client::Client,
    harness::{Bridge, NO_POSTGRES},
    metrics::value,
    raw::{Raw, Response, upgrade_request},
};

/// A bridge with an admin address, and the address.
pub fn bridge(arguments: &[&str]) -> (Bridge, SocketAddr) {
    let arguments = [&["--admin-addr", "127.0.0.1:0"], arguments].concat();
    let bridge = Bridge::serve(NO_POSTGRES, &arguments);
    let line = bridge.wait_for_log("health and metrics are at http://");
    let address = line.rsplit("http://").next().unwrap();
    (bridge, address.trim().parse().unwrap())
}

/// Plain HTTP.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    let mut raw = Raw::open(address);
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes());
    raw.response("GET")
}

#[test]
fn health_and_metrics_move_to_the_admin_address() {
    let (bridge, admin) = bridge(&[]);
    for (path, status) in [("/healthz", 200), ("/readyz", 503), ("/metrics", 200)] {
        assert_eq!(get(admin, path).status, status, "{path}");
        assert_eq!(bridge.get(path).status, 404, "{path}");
    }
    assert_eq!(bridge.get("/").status, 426);
    assert_eq!(get(admin, "/").status, 404);
    let mut raw = Raw::open(admin);
    raw.write(upgrade_request(admin, "/ws", "").as_bytes());
    assert_eq!(raw.response("GET").status, 404);
}

#[test]
fn the_admin_address_answers_when_clients_have_no_room() {
    let (bridge, admin) = bridge(&["--max-clients", "1"]);
    let _client = Client::connect(bridge.address);
    let _waiting: Vec<_> = (0..40).map(|_| Raw::open(bridge.address)).collect();
    let page = get(admin, "/metrics").body;
    assert_eq!(
        value(&page, "alle_clients{state=\"open\"}"),
        Some(1.0),
        "{page}"
    );
}

#[test]
fn heads_have_the_same_limits_there() {
    let (_bridge, admin) = bridge(&[]);
    let mut raw = Raw::open(admin);
    let field = "x".repeat(9_000);
    raw.write(format!("GET / HTTP/1.1\r\nHost: {admin}\r\nX: {field}\r\n\r\n").as_bytes());
    assert_eq!(raw.response("GET").status, 431);
    let mut raw = Raw::open(admin);
    raw.write(b"nonsense\r\n\r\n");
    assert_eq!(raw.response("GET").status, 400);
}
