//! Contract, section 5: tokens by cookie, which a browser adds by itself, from the outside.

use std::fs;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    harness::{Bridge, Database},
    program::{alle_with, run},
    raw::{Raw, Response, upgrade_request},
};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The token counts.
    In,
    /// No token came: a WebSocket may bring one in a message.
    Nobody,
    /// The token is wrong, which a WebSocket is told by 4001.
    Wrong,
    /// The same in an answer to the upgrade.
    Status(u16),
}

fn bridge(arguments: &[&str]) -> (NamedTempFile, Database, Bridge) {
    let tokens = NamedTempFile::new().unwrap();
    fs::write(
        tokens.path(),
        "of-ann-0123456789\nof-bob-0123456789 publish=\n",
    )
    .unwrap();
    let database = Database::create();
    let path = tokens.path().to_str().unwrap();
    let common = ["--token-file", path, "--token-cookie", "t"];
    let bridge = Bridge::start_with(&database.url(), &[&common[..], arguments].concat());
    (tokens, database, bridge)
}

fn websocket(bridge: &Bridge, fields: &str) -> Fate {
    let mut raw = Raw::open(bridge.address);
    raw.write(upgrade_request(bridge.address, "/ws", fields).as_bytes());
    let status = raw.response("GET").status;
    if status != 101 {
        return Fate::Status(status);
    }
    raw.send(0x81, br#"{"type":"ping"}"#);
    let (first, payload) = raw.frame();
    if first == 0x88 {
        assert_eq!(payload[..2], 4001_u16.to_be_bytes());
        assert_eq!(payload[2..], *b"token refused");
        return Fate::Wrong;
    }
    let answer: Value = serde_json::from_slice(&payload).unwrap();
    match (&answer["type"], &answer["code"]) {
        (kind, _) if kind == "pong" => Fate::In,
        (_, code) if code == "unauthorized" => Fate::Nobody,
        _ => panic!("{answer}"),
    }
}

fn ask(bridge: &Bridge, method: &str, path: &str, fields: &str) -> Response {
    let mut raw = Raw::open(bridge.address);
    let host = bridge.address;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{fields}\r\n");
    raw.write(request.as_bytes());
    raw.response(method)
}

/// The same request as an upgrade, to publish and for events; the error that came last.
#[track_caller]
fn assert_fate(bridge: &Bridge, fields: &str, expected: Fate) -> String {
    assert_eq!(websocket(bridge, fields), expected, "upgrade: {fields}");
    let expected = match expected {
        Fate::In => 200,
        Fate::Nobody | Fate::Wrong => 401,
        Fate::Status(status) => status,
    };
    let requests = [("POST", "/publish/a"), ("GET", "/sse?channel=a")];
    let answers = requests.map(|(method, path)| {
        let answer = ask(bridge, method, path, fields);
        assert_eq!(answer.status, expected, "{method} {path}: {fields}");
        answer.body
    });
    answers[1].clone()
}

#[test]
fn a_cookie_counts_for_pages_of_ours_and_for_those_that_are_allowed() {
    let (_tokens, _database, bridge) = bridge(&["--allow-origin", "https://app.example"]);
    let host = bridge.address;
    for (origin, expected) in [
        (format!("Origin: http://{host}"), Fate::In),
        ("Origin: https://app.example".to_owned(), Fate::In),
        ("Origin: https://evil.example".to_owned(), Fate::Status(403)),
        (
            format!("Origin: http://127.0.0.1:{}", host.port() ^ 1),
            Fate::Status(403),
        ),
        ("Origin: null".to_owned(), Fate::Status(403)),
        ("Sec-Fetch-Site: same-origin".to_owned(), Fate::In),
        ("Sec-Fetch-Site: none".to_owned(), Fate::In),
        ("Sec-Fetch-Site: same-site".to_owned(), Fate::Status(403)),
        ("Sec-Fetch-Site: cross-site".to_owned(), Fate::Status(403)),
        // Two of them say nothing, and neither does none.
        (
            "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: none".to_owned(),
            Fate::Status(403),
        ),
        ("X-Requested-With: x".to_owned(), Fate::Status(403)),
        // Where there is an origin it decides.
        (
            "Origin: https://evil.example\r\nSec-Fetch-Site: same-origin".to_owned(),
            Fate::Status(403),
        ),
    ] {
        let fields = format!("Cookie: t=of-ann-0123456789\r\n{origin}\r\n");
        let error = assert_fate(&bridge, &fields, expected);
        let is_named = origin.starts_with("Origin") || expected == Fate::In;
        let text = "counts only with an Origin";
        assert_eq!(error.contains(text), !is_named, "{error}");
    }
    assert!(!bridge.log().contains("of-ann"), "no token is in the log");
}

/// Without a list of origins a token in a header is nobody else's page; a cookie may be.
#[test]
fn without_a_list_of_origins_a_foreign_page_is_refused_for_its_cookie_alone() {
    let (_tokens, _database, bridge) = bridge(&[]);
    let foreign = "Origin: https://evil.example\r\n";
    let bearer = format!("Authorization: Bearer of-ann-0123456789\r\n{foreign}");
    assert_fate(&bridge, &bearer, Fate::In);
    let both = format!("{bearer}Cookie: t=of-ann-0123456789\r\n");
    assert_fate(&bridge, &both, Fate::In);
    assert_fate(&bridge, foreign, Fate::Nobody);
    let cookie = format!("Cookie: t=of-ann-0123456789\r\n{foreign}");
    assert_fate(&bridge, &cookie, Fate::Status(403));
    // A wrong one tells a foreign page as little.
    let wrong = format!("Cookie: t=wrong\r\n{foreign}");
    assert_fate(&bridge, &wrong, Fate::Status(403));
}

#[test]
fn a_header_goes_before_a_subprotocol_and_that_before_a_cookie() {
    let (_tokens, _database, bridge) = bridge(&[]);
    let own = format!("Origin: http://{}\r\n", bridge.address);
    let header = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let offer = |token: &str| format!("Sec-WebSocket-Protocol: alle, alle.bearer.{token}\r\n");
    let cookie = |token: &str| format!("Cookie: t={token}\r\n");
    let (right, wrong) = ("of-ann-0123456789", "wrong");
    for (fields, expected) in [
        (header(right) + &offer(wrong) + &cookie(wrong), Fate::In),
        (
            header(wrong) + &offer(right) + &cookie(right),
            Fate::Status(401),
        ),
        (offer(right) + &cookie(wrong), Fate::In),
        (offer(wrong) + &cookie(right), Fate::Wrong),
        (cookie(right), Fate::In),
        (cookie(wrong), Fate::Wrong),
    ] {
        let fields = fields + &own;
        assert_eq!(websocket(&bridge, &fields), expected, "{fields}");
    }
    // Only an upgrade has subprotocols, so elsewhere none hides the cookie.
    let foreign = "Origin: https://evil.example\r\n";
    let fields = offer(right) + &cookie(right) + foreign;
    let answer = ask(&bridge, "GET", "/sse?channel=a", &fields);
    assert_eq!(answer.status, 403);
}

#[test]
fn a_cookie_that_cannot_be_told_is_a_wrong_token() {
    let (_tokens, _database, bridge) = bridge(&[]);
    let own = format!("Origin: http://{}\r\n", bridge.address);
    let right = "t=of-ann-0123456789";
    let longest = format!("t={}", "x".repeat(4_096));
    let too_long = format!("t={}", "x".repeat(4_097));
    for (cookies, expected, text) in [
        (right.to_owned(), Fate::In, ""),
        (format!("a=b; {right}; c=d"), Fate::In, ""),
        (format!("T={}", &right[2..]), Fate::Nobody, ""),
        ("t=".to_owned(), Fate::Nobody, ""),
        (format!("{right}; {right}"), Fate::Wrong, "stands twice"),
        (
            format!("{right}\r\nCookie: {right}"),
            Fate::Wrong,
            "stands twice",
        ),
        (
            "t=a b".to_owned(),
            Fate::Wrong,
            "cookie of the token is malformed",
        ),
        (too_long, Fate::Wrong, "cookie of the token is over 4 KiB"),
        (longest, Fate::Wrong, "the token is wrong"),
    ] {
        let fields = format!("Cookie: {cookies}\r\n{own}");
        let error = assert_fate(&bridge, &fields, expected);
        assert!(error.contains(text), "{fields}: {error}");
    }
}

/// A page may see the answer to a request with cookies only where the cookie counts.
#[test]
fn cors_lets_cookies_through_for_the_same_origins() {
    let (_tokens, _database, bridge) = bridge(&[]);
    let own = format!("http://{}", bridge.address);
    let field = "access-control-allow-credentials";
    for method in ["OPTIONS", "GET"] {
        for (origin, expected) in [(own.as_str(), Some("true")), ("https://evil.example", None)] {
            let fields = format!("Origin: {origin}\r\n");
            let answer = bridge.request(method, "/sse?channel=a", &fields);
            assert_eq!(answer.header(field), expected, "{method} {answer:?}");
        }
    }
    let database = Database::create();
    let without = Bridge::start(&database.url());
    let fields = format!("Origin: http://{}\r\n", without.address);
    let answer = without.request("OPTIONS", "/sse", &fields);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some(&*format!("http://{}", without.address))
    );
    assert_eq!(answer.header(field), None);
}

#[test]
fn a_cookie_for_every_page_of_the_world_is_wrong_usage() {
    let (tokens, _database, _bridge) = bridge(&[]);
    let file = tokens.path().to_str().unwrap();
    for (options, words) in [
        (&["--token-cookie", "t"][..], "no tokens"),
        (
            &["--token-file", file, "--token-cookie", ""],
            "cannot name a cookie",
        ),
        (
            &["--token-file", file, "--token-cookie", "a;b"],
            "cannot name a cookie",
        ),
        (
            &[
                "--token-file",
                file,
                "--token-cookie",
                "t",
                "--allow-origin",
                "*",
            ],
            "--allow-origin '*'",
        ),
        (
            &[
                "--token-file",
                file,
                "--token-cookie",
                "t",
                "--allow-origin",
                "https://a.example,null",
            ],
            "--allow-origin 'null'",
        ),
    ] {
        let arguments = [&["serve", "-w", "127.0.0.1:0"][..], options].concat();
        let (code, _, stderr) = run(alle_with(&arguments));
        assert_eq!(code, Some(2), "{options:?}: {stderr}");
        assert!(stderr.contains(words), "{options:?}: {stderr}");
    }
}
