//! Contract, section 5: plain HTTP on the WebSocket port, and the permission to upgrade.

use crate::{
    harness::{AT_ONCE, Bridge, NO_POSTGRES, bridge_and_database},
    raw::{Raw, Response, upgrade_request},
};

fn bridge() -> Bridge {
    Bridge::serve(NO_POSTGRES, &[])
}

/// The answer to a handshake with more header lines.
#[track_caller]
fn upgrade(bridge: &Bridge, headers: &str) -> Response {
    let request = upgrade_request(bridge.address, "/ws", headers);
    answer(bridge, request.as_bytes())
}

/// The answer to these bytes.
#[track_caller]
fn answer(bridge: &Bridge, bytes: &[u8]) -> Response {
    let mut raw = Raw::open(bridge.address);
    raw.write(bytes);
    raw.response("GET")
}

#[test]
fn healthz_is_200_also_without_postgres() {
    assert_eq!(bridge().get("/healthz").status, 200);
}

#[test]
fn readyz_is_200_with_postgres() {
    let (bridge, _) = bridge_and_database();
    assert_eq!(bridge.get("/readyz").status, 200);
}

#[test]
fn readyz_is_503_without_postgres_and_says_why() {
    let response = bridge().get("/readyz");
    assert_eq!(response.status, 503);
    assert!(response.body.contains("PostgreSQL"), "{}", response.body);
}

#[test]
fn a_query_does_not_change_the_path() {
    let bridge = bridge();
    assert_eq!(bridge.get("/healthz?verbose=1").status, 200);
    let request = upgrade_request(bridge.address, "/ws?client=7", "");
    assert_eq!(answer(&bridge, request.as_bytes()).status, 101);
}

#[test]
fn the_root_without_an_upgrade_is_426() {
    let bridge = bridge();
    for path in ["/", "/ws"] {
        assert_eq!(bridge.get(path).status, 426, "{path}");
    }
}

#[test]
fn the_root_is_the_playground_where_it_is_asked_for() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--playground"]);
    let response = bridge.get("/");
    assert_eq!(response.status, 200);
    assert!(
        response
            .header("Content-Type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(response.body.to_lowercase().contains("<!doctype html>"));
    assert_eq!(bridge.get("/ws").status, 426);
    assert_eq!(upgrade(&bridge, "").status, 101);
}

#[test]
fn head_is_get_without_the_body() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--playground"]);
    for path in ["/healthz", "/readyz", "/", "/ws", "/nowhere"] {
        let get = bridge.get(path);
        let mut raw = Raw::open(bridge.address);
        let host = bridge.address;
        raw.write(format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let head = raw.response("HEAD");
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.header("Content-Length"),
            get.header("Content-Length"),
            "{path}"
        );
        raw.expect_end();
    }
}

#[test]
fn other_methods_are_405_and_named() {
    let bridge = bridge();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB"] {
        for (path, fields) in [
            ("/", "Content-Length: 0\r\n"),
            ("/ws", "Content-Length: 0\r\n"),
            ("/healthz", "Content-Length: 0\r\n"),
            ("/readyz", "Content-Length: 0\r\n"),
            ("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ] {
            let response = bridge.request(method, path, fields);
            assert_eq!(response.status, 405, "{method} {path} {fields}");
            // RFC 9110, 15.5.6: it MUST say which are allowed.
            let allow = response.header("Allow").expect("405 has Allow");
            assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
        }
    }
}

#[test]
fn unknown_paths_are_404() {
    let bridge = bridge();
    for path in [
        "/nowhere",
        "/ws/",
        "/wss",
        "//",
        "/healthz/",
        "/WS",
        "/%77s",
        "/index.html",
    ] {
        assert_eq!(bridge.get(path).status, 404, "{path}");
        for method in ["HEAD", "POST", "OPTIONS", "PUT", "FROB"] {
            let response = bridge.request(method, path, "Content-Length: 0\r\n");
            assert_eq!(response.status, 404, "{method} {path}");
            assert_eq!(response.header("Allow"), None, "{method} {path}");
        }
    }
}

#[test]
fn an_upgrade_elsewhere_is_404() {
    let bridge = bridge();
    let request = upgrade_request(bridge.address, "/elsewhere", "");
    assert_eq!(answer(&bridge, request.as_bytes()).status, 404);
}

#[test]
fn malformed_requests_are_400() {
    let bridge = bridge();
    for request in [
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ] {
        assert_eq!(
            answer(&bridge, request.as_bytes()).status,
            400,
            "{request:?}"
        );
    }
}

#[test]
fn a_request_of_http_1_1_without_host_is_400() {
    // RFC 9112, 3.2.
    assert_eq!(
        answer(&bridge(), b"GET /healthz HTTP/1.1\r\n\r\n").status,
        400
    );
}

#[test]
fn a_handshake_without_a_proper_key_is_400() {
    let bridge = bridge();
    let request = upgrade_request(bridge.address, "/ws", "");
    for key in [
        "",
        "c2hvcnQ=",
        "not base64 at all!!!!!!!",
        "dGhlIHNhbXBsZSBub25jZQ",
    ] {
        let request = request.replace("dGhlIHNhbXBsZSBub25jZQ==", key);
        assert_eq!(answer(&bridge, request.as_bytes()).status, 400, "{key:?}");
    }
    let without = request.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    assert_eq!(answer(&bridge, without.as_bytes()).status, 400);
}

/// Limit - 1, limit, limit + 1, by the length of one header field.
#[test]
fn a_head_over_8_kib_is_431() {
    let bridge = bridge();
    let host = bridge.address;
    for (length, status) in [(8_191, 200), (8_192, 200), (8_193, 431), (20_000, 431)] {
        let start = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: ");
        let filling = "x".repeat(length - start.len() - 4);
        let request = format!("{start}{filling}\r\n\r\n");
        assert_eq!(request.len(), length);
        assert_eq!(
            answer(&bridge, request.as_bytes()).status,
            status,
            "{length}"
        );
    }
}

#[test]
fn a_head_that_never_ends_is_431() {
    assert_eq!(answer(&bridge(), &[b'x'; 8_193]).status, 431);
}

#[test]
fn another_websocket_version_is_426_and_told_the_right_one() {
    let bridge = bridge();
    for version in ["8", "12", "14", "0", "13, 8"] {
        let request = upgrade_request(bridge.address, "/ws", "")
            .replace("Version: 13", &format!("Version: {version}"));
        let response = answer(&bridge, request.as_bytes());
        assert_eq!(response.status, 426, "{version}");
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn a_foreign_origin_is_403_and_the_option_is_named() {
    let bridge = bridge();
    for origin in [
        "https://evil.example",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "null",
        "http://localhost.evil.example",
    ] {
        let response = upgrade(&bridge, &format!("Origin: {origin}\r\n"));
        assert_eq!(response.status, 403, "{origin}");
        assert!(
            response.body.contains("--allow-origin"),
            "{}",
            response.body
        );
    }
    bridge.wait_for_log("--allow-origin");
    // What the option does not take is not advised.
    let response = upgrade(&bridge, "Origin: \r\n");
    assert_eq!(response.status, 403);
    assert!(
        !response.body.contains("--allow-origin"),
        "{}",
        response.body
    );
}

#[test]
fn our_own_origin_and_none_at_all_may_upgrade() {
    let bridge = bridge();
    let own = format!("Origin: http://{}\r\n", bridge.address);
    for headers in ["", &own] {
        assert_eq!(upgrade(&bridge, headers).status, 101, "{headers}");
    }
}

#[test]
fn allowed_origins_may_upgrade_and_others_still_may_not() {
    let bridge = Bridge::serve(
        NO_POSTGRES,
        &[
            "--allow-origin",
            "https://app.example,https://b.example:8443",
        ],
    );
    for (origin, status) in [
        ("https://app.example", 101),
        ("https://b.example:8443", 101),
        ("http://app.example", 403),
        ("https://b.example", 403),
        ("https://app.example.evil", 403),
        ("https://sub.app.example", 403),
    ] {
        let response = upgrade(&bridge, &format!("Origin: {origin}\r\n"));
        assert_eq!(response.status, status, "{origin}");
    }
}

#[track_caller]
fn upgrade_for_host(bridge: &Bridge, host: &str) -> Response {
    let request = upgrade_request(bridge.address, "/ws", "").replace(
        &format!("Host: {}", bridge.address),
        &format!("Host: {host}"),
    );
    answer(bridge, request.as_bytes())
}

#[test]
fn a_name_that_was_rebound_to_the_loopback_is_403_and_the_option_is_named() {
    let bridge = bridge();
    for host in [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "10.0.0.1",
    ] {
        let response = upgrade_for_host(&bridge, host);
        assert_eq!(response.status, 403, "{host}");
        assert!(response.body.contains("--allow-host"), "{}", response.body);
    }
    bridge.wait_for_log("--allow-host");
}

#[test]
fn every_name_of_the_loopback_may_upgrade() {
    let bridge = bridge();
    for host in [
        "localhost",
        "localhost:1",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1:9",
        "[::1]",
        "[::1]:9",
    ] {
        assert_eq!(upgrade_for_host(&bridge, host).status, 101, "{host}");
    }
}

#[test]
fn allowed_hosts_may_upgrade_and_others_still_may_not() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--allow-host", "bridge.example"]);
    for (host, status) in [
        ("bridge.example", 101),
        ("bridge.example:443", 101),
        ("other.example", 403),
    ] {
        assert_eq!(upgrade_for_host(&bridge, host).status, status, "{host}");
    }
}

/// On every address of this machine, reached at the loopback's.
#[test]
fn a_wildcard_bind_judges_by_the_address_that_was_reached() {
    let bridge = Bridge::serve(NO_POSTGRES, &["-w", "0.0.0.0:0"]);
    for (host, status) in [("localhost", 101), ("evil.example", 403)] {
        assert_eq!(upgrade_for_host(&bridge, host).status, status, "{host}");
    }
}

#[test]
fn hosts_that_are_named_hold_on_a_wildcard_bind_too() {
    let arguments = ["-w", "0.0.0.0:0", "--allow-host", "bridge.example"];
    let bridge = Bridge::serve(NO_POSTGRES, &arguments);
    for (host, status) in [("bridge.example:443", 101), ("evil.example", 403)] {
        assert_eq!(upgrade_for_host(&bridge, host).status, status, "{host}");
    }
}

#[test]
fn a_native_client_names_us_as_its_origin() {
    let bridge = bridge();
    for (origin, status) in [
        (format!("ws://{}", bridge.address), 101),
        (format!("wss://{}", bridge.address), 101),
        ("ws://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
    ] {
        let origin_field = format!("Origin: {origin}\r\n");
        let request = upgrade_request(bridge.address, "/ws", &origin_field);
        assert_eq!(
            answer(&bridge, request.as_bytes()).status,
            status,
            "{origin}"
        );
    }
}

/// Whoever logs in elsewhere may bring cookies that are too large.
#[test]
fn a_head_that_is_too_large_is_in_the_log() {
    let bridge = bridge();
    let cookies = format!("Cookie: sso={}\r\n", "x".repeat(9_000));
    let request = upgrade_request(bridge.address, "/ws", &cookies);
    let response = answer(&bridge, request.as_bytes());
    assert_eq!(response.status, 431);
    assert!(response.body.contains("8 KiB"), "{}", response.body);
    bridge.wait_for_log("with 431: the head of the request");
}

#[test]
fn a_handshake_that_lost_its_upgrade_names_the_proxy() {
    let bridge = bridge();
    let request = upgrade_request(bridge.address, "/ws", "")
        .replace("Upgrade: websocket\r\n", "")
        .replace("Connection: Upgrade", "Connection: close");
    let response = answer(&bridge, request.as_bytes());
    assert_eq!(response.status, 426);
    assert!(
        response.body.contains("proxy_set_header Upgrade"),
        "{}",
        response.body
    );
    bridge.wait_for_log("proxy");
}

#[test]
fn a_page_of_another_host_cannot_read_the_playground_either() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--playground"]);
    let request = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(answer(&bridge, request).status, 403);
}

#[test]
fn half_a_head_and_a_disconnect_end_the_connection() {
    let bridge = bridge();
    for bytes in [&b"GET /he"[..], b"GET /healthz HTTP/1.1\r\nHost:", b""] {
        let mut raw = Raw::open(bridge.address);
        raw.write(bytes);
        raw.finish();
        // A 400 would be as good as nothing.
        while raw.read_some() {}
    }
    assert_eq!(bridge.get("/healthz").status, 200);
}

#[test]
fn a_handshake_not_done_in_10_s_is_closed() {
    let bridge = bridge();
    let start = std::time::Instant::now();
    let mut raw = Raw::open(bridge.address);
    raw.write(b"GET /ws HTTP/1.1\r\nHost:");
    while raw.read_some() {}
    let waited = start.elapsed();
    assert!(waited > AT_ONCE, "{waited:?}");
}
