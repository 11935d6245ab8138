//! Tables for the head of a request: each head is parsed at every length at which it may arrive.

use proptest::{prelude::*, test_runner::Config};
use tungstenite::{client::IntoClientRequest, handshake::client::generate_request};

use super::{
    request::{HEAD_BYTES_MAX, HEADERS_MAX, Method, Request, Upgrade, parse},
    response::Status,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
const CONNECTION: (&str, &str) = ("Connection", "Upgrade");
const KEY_FIELD: (&str, &str) = ("Sec-WebSocket-Key", KEY);
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");

/// The result for the whole input, after a check that every shorter input gives the same result or
/// asks for more bytes.
#[track_caller]
fn parse_cut(input: &[u8]) -> Result<Option<Request<'_>>, Status> {
    let mut verdict = Ok(None);
    for end in 0..=input.len() {
        let cut = parse(&input[..end]);
        assert!(
            verdict == Ok(None) || verdict == cut,
            "{verdict:?}, and at {end} {cut:?}"
        );
        verdict = cut;
    }
    verdict
}

#[track_caller]
fn accepted(head: &str) -> Request<'_> {
    let request = parse_cut(head.as_bytes()).unwrap().unwrap();
    assert_eq!(request.head_bytes, head.len());
    request
}

fn handshake(fields: &[(&str, &str)]) -> String {
    let mut head = "GET /ws HTTP/1.1\r\nHost: localhost:8080\r\n".to_owned();
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

#[test]
fn the_opening_handshake_of_rfc_6455_1_3_and_the_frame_behind_it() {
    let head = "GET /chat HTTP/1.1\r\n\
                Host: server.example.com\r\n\
                Upgrade: websocket\r\n\
                Connection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Origin: http://example.com\r\n\
                Sec-WebSocket-Protocol: chat, superchat\r\n\
                Sec-WebSocket-Version: 13\r\n\r\n";
    let expected = Request {
        if_none_match: None,
        method: Method::Get,
        path: "/chat",
        host: Some("server.example.com"),
        origin: Some("http://example.com"),
        bearer: None,
        upgrade: Upgrade::WebSocket { key: KEY },
        head_bytes: head.len(),
    };
    assert_eq!(accepted(head), expected);
    let with_input = [head.as_bytes(), b"\x81\x80\0\0\0\0 GET \0 \xff"].concat();
    assert_eq!(parse_cut(&with_input), Ok(Some(expected)));
}

#[test]
fn a_bearer_s_token_is_read_and_other_credentials_are_not() {
    for (field, expected) in [
        (
            "Authorization: Bearer abc.DEF-1_~+/==",
            Some("abc.DEF-1_~+/=="),
        ),
        ("authorization: bEARER   a", Some("a")),
        ("Authorization: Bearer a b", Some("a b")),
        ("Authorization: Bearer", Some("")),
        ("Authorization: Bearer ", Some("")),
        ("Authorization: Bearera", None),
        ("Authorization: Basic YTpi", None),
        ("Authorization:", None),
        ("X-Authorization: Bearer a", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(accepted(&head).bearer, expected, "{field}");
    }
    for fields in [
        "Authorization: Bearer a\r\nAuthorization: Bearer b",
        "Authorization: Bearer \u{e9}",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(
            parse_cut(head.as_bytes()),
            Err(Status::BadRequest),
            "{fields}"
        );
    }
}

#[test]
fn the_handshake_of_tungstenite_s_client() {
    let request = "ws://127.0.0.1:8080/ws?token=1"
        .into_client_request()
        .unwrap();
    let (head, key) = generate_request(request).unwrap();
    let request = parse_cut(&head).unwrap().unwrap();
    assert_eq!(request.upgrade, Upgrade::WebSocket { key: &key });
    assert_eq!(
        (request.path, request.host),
        ("/ws", Some("127.0.0.1:8080"))
    );
}

/// As a proxy makes it that does not pass on the fields of its own connection.
#[test]
fn a_handshake_without_its_upgrade_is_told_by_its_key() {
    for (fields, expected) in [
        (&[CONNECTION, KEY_FIELD, VERSION][..], Upgrade::Dropped),
        (&[("Connection", "close"), KEY_FIELD], Upgrade::Dropped),
        (&[CONNECTION, VERSION], Upgrade::None),
        (&[("Upgrade", "h2c"), KEY_FIELD], Upgrade::None),
    ] {
        let head = handshake(fields);
        let request = parse_cut(head.as_bytes()).unwrap().unwrap();
        assert_eq!(request.upgrade, expected, "{fields:?}");
    }
}

/// A valid handshake with the named fields in place of its own.
#[test]
fn handshakes() {
    let websocket = Upgrade::WebSocket { key: KEY };
    let with = |changed: &[(&'static str, &'static str)]| {
        let mut fields = vec![UPGRADE, CONNECTION, KEY_FIELD, VERSION];
        fields.retain(|(name, _)| changed.iter().all(|(other, _)| name != other));
        fields.extend_from_slice(changed);
        fields.retain(|(_, value)| *value != "(left out)");
        handshake(&fields)
    };
    for (changed, expected) in [
        (&[][..], websocket),
        (&[("Connection", "keep-alive, uPGRADE")], websocket),
        (
            &[("Connection", "keep-alive"), ("Connection", "upgrade")],
            websocket,
        ),
        (&[("Upgrade", "h2c , WebSocket")], websocket),
        (
            &[("sec-websocket-extensions", "permessage-deflate")],
            websocket,
        ),
        (&[("Content-Length", "0")], websocket),
        (&[("Upgrade", "h2c")], Upgrade::None),
        (&[("Upgrade", "websockets")], Upgrade::None),
        (
            &[("Sec-WebSocket-Version", "(left out)")],
            Upgrade::WrongVersion,
        ),
        (&[("Sec-WebSocket-Version", "8")], Upgrade::WrongVersion),
        (&[("Sec-WebSocket-Version", "013")], Upgrade::WrongVersion),
        (&[("Sec-WebSocket-Version", "13, 8")], Upgrade::WrongVersion),
        (&[VERSION, VERSION], Upgrade::Malformed),
        (&[("Connection", "(left out)")], Upgrade::Malformed),
        (&[("Connection", "close")], Upgrade::Malformed),
        (&[("Connection", "upgraded")], Upgrade::Malformed),
        (&[("Sec-WebSocket-Key", "(left out)")], Upgrade::Malformed),
        (&[("Sec-WebSocket-Key", "")], Upgrade::Malformed),
        (&[KEY_FIELD, KEY_FIELD], Upgrade::Malformed),
        (
            &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=")],
            Upgrade::Malformed,
        ),
        (
            &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ===")],
            Upgrade::Malformed,
        ),
        (
            &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWUg")],
            Upgrade::Malformed,
        ),
        (
            &[("Sec-WebSocket-Key", "dGhlIHNhbXBs-SBub25jZQ==")],
            Upgrade::Malformed,
        ),
        (&[("Content-Length", "1")], Upgrade::Malformed),
        (&[("Transfer-Encoding", "chunked")], Upgrade::Malformed),
    ] {
        assert_eq!(accepted(&with(changed)).upgrade, expected, "{changed:?}");
    }
    for method in ["POST", "HEAD", "get"] {
        let head = with(&[]).replacen("GET", method, 1);
        assert_eq!(accepted(&head).upgrade, Upgrade::Malformed, "{method}");
    }
    let head = with(&[]).replacen("HTTP/1.1", "HTTP/1.0", 1);
    assert_eq!(accepted(&head).upgrade, Upgrade::Malformed);
}

#[test]
fn plain_requests() {
    for (target, path, host) in [
        ("/", "/", "a"),
        ("/healthz?x=1", "/healthz", "a"),
        ("/?/ws", "/", "a"),
        ("//b/ws", "//b/ws", "a"),
        ("/%77s", "/%77s", "a"),
        ("/http://b/", "/http://b/", "a"),
        ("http://b:80/ws?x", "/ws", "b:80"),
        ("HTTPS://b?x", "/", "b"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = accepted(&head);
        assert_eq!((request.path, request.host), (path, Some(host)), "{target}");
        assert_eq!(request.upgrade, Upgrade::None);
    }
    for (line, method, path) in [
        ("HEAD /readyz", Method::Head, "/readyz"),
        ("POST /x", Method::Other, "/x"),
        ("OPTIONS *", Method::Other, "*"),
        ("CONNECT b:443", Method::Other, "b:443"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = accepted(&head);
        assert_eq!((request.method, request.path), (method, path), "{line}");
    }
    let request = accepted("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!((request.method, request.host), (Method::Get, None));
    // RFC 9112, 2.2: an empty line before, and lines that end in LF alone.
    assert_eq!(accepted("\r\nGET / HTTP/1.1\nHost:\n\n").host, Some(""));
}

/// The bytes behind the head are WebSocket input.
#[test]
fn a_handshake_has_no_body() {
    let websocket = Upgrade::WebSocket { key: KEY };
    for (fields, expected) in [
        ("", Ok(websocket)),
        ("Content-Length: 0\r\n", Ok(websocket)),
        ("Content-Length: 00\r\n", Ok(websocket)),
        ("Content-Length: 10\r\n", Ok(Upgrade::Malformed)),
        (
            "Content-Length: 99999999999999999999999999\r\n",
            Ok(Upgrade::Malformed),
        ),
        ("Transfer-Encoding: chunked\r\n", Ok(Upgrade::Malformed)),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            Ok(Upgrade::Malformed),
        ),
        ("Content-Length: \r\n", Err(Status::BadRequest)),
        ("Content-Length: -1\r\n", Err(Status::BadRequest)),
        ("Content-Length: 0, 0\r\n", Err(Status::BadRequest)),
        (
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            Err(Status::BadRequest),
        ),
    ] {
        let head = handshake(&[UPGRADE, CONNECTION, KEY_FIELD, VERSION]);
        let head = head.replacen("Upgrade", &format!("{fields}Upgrade"), 1);
        let upgrade = parse_cut(head.as_bytes()).map(|request| request.unwrap().upgrade);
        assert_eq!(upgrade, expected, "{fields}");
    }
}

#[test]
fn input_that_is_not_http_is_a_bad_request() {
    let heads: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost@evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n",
        b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: a\r\nOrigin: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0",
    ];
    for head in heads {
        let shown = String::from_utf8_lossy(head);
        assert_eq!(parse_cut(head), Err(Status::BadRequest), "{shown}");
    }
}

#[test]
fn a_head_is_limited_whatever_lies_behind_it() {
    for (head_bytes, fits) in [
        (HEAD_BYTES_MAX - 1, true),
        (HEAD_BYTES_MAX, true),
        (HEAD_BYTES_MAX + 1, false),
    ] {
        let empty = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        let value = "x".repeat(head_bytes - empty.len());
        let head = empty.replace("X: ", &format!("X: {value}"));
        assert_eq!(head.len(), head_bytes);
        for behind in ["", "more"] {
            let input = format!("{head}{behind}");
            let result = parse(input.as_bytes()).map(|request| request.unwrap().head_bytes);
            let expected = if fits {
                Ok(head_bytes)
            } else {
                Err(Status::HeaderFieldsTooLarge)
            };
            assert_eq!(result, expected);
        }
    }
    let endless = [b"GET /", &[b'x'; HEAD_BYTES_MAX][..]].concat();
    assert_eq!(parse(&endless[..HEAD_BYTES_MAX - 1]), Ok(None));
    assert_eq!(
        parse(&endless[..HEAD_BYTES_MAX]),
        Err(Status::HeaderFieldsTooLarge)
    );
    assert_eq!(parse(&endless), Err(Status::HeaderFieldsTooLarge));
}

#[test]
fn header_fields_are_limited_in_number() {
    for (fields, expected) in [
        (HEADERS_MAX - 1, None),
        (HEADERS_MAX, None),
        (HEADERS_MAX + 1, Some(Status::HeaderFieldsTooLarge)),
    ] {
        let others = "X: y\r\n".repeat(fields - 1);
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{others}\r\n");
        assert_eq!(parse_cut(head.as_bytes()).err(), expected, "{fields}");
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    /// A valid head with some bytes replaced: the verdict is the same in whatever pieces it
    /// arrives.
    #[test]
    fn no_head_says_two_things(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut head = handshake(&[UPGRADE, CONNECTION, KEY_FIELD, VERSION]).into_bytes();
        for (index, byte) in changes {
            let index = index.index(head.len());
            head[index] = byte;
        }
        let _ = parse_cut(&head);
    }
}
