//! Tables for the head of a request: each head is parsed at every length at which it may arrive.

use proptest::{prelude::*, test_runner::Config};

use super::{
    body::Framing,
    request::{HEAD_BYTES_MAX, HEADERS_MAX, Method, Request, parse},
    response::Status,
};

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
    }
    for (line, method, path) in [
        ("HEAD /readyz", Method::Head, "/readyz"),
        ("POST /x", Method::Post, "/x"),
        ("OPTIONS *", Method::Options, "*"),
        ("PUT /x", Method::Other, "/x"),
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

/// RFC 9112, 6.3, and stricter: whoever reads the stream before us must come to the same end.
#[test]
fn a_body_has_one_length() {
    let bad = Err(Status::BadRequest);
    for (fields, expected) in [
        ("", Ok(Framing::None)),
        ("Content-Length: 0", Ok(Framing::None)),
        ("Content-Length: 5", Ok(Framing::Length(5))),
        ("Content-Length: 005", Ok(Framing::Length(5))),
        (
            "Content-Length: 99999999999999999999999",
            Ok(Framing::Length(u64::MAX)),
        ),
        ("transfer-encoding: Chunked", Ok(Framing::Chunked)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", bad),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", bad),
        ("Content-Length: 5\r\nContent-Length: 6", bad),
        ("Content-Length: 5\r\nContent-Length: 5", bad),
        ("Content-Length: 5, 5", bad),
        ("Content-Length: +5", bad),
        ("Content-Length: -5", bad),
        ("Content-Length: 0x5", bad),
        ("Content-Length: 5 5", bad),
        ("Content-Length:", bad),
        ("Content-Length : 5", bad),
        ("Content-Length: 5\r\n : x", bad),
        ("Transfer-Encoding: gzip, chunked", bad),
        ("Transfer-Encoding: chunked, chunked", bad),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            bad,
        ),
        ("Transfer-Encoding: identity", bad),
        ("Transfer-Encoding: xchunked", bad),
        ("Transfer-Encoding: \x0bchunked", bad),
        ("Transfer-Encoding:", bad),
        ("Transfer-Encoding : chunked", bad),
        ("Transfer-Encoding:\r\n chunked", bad),
        ("X: y\nContent-Length: 5", bad),
        ("Content-Length: 5\nX: y", bad),
    ] {
        let fields = if fields.is_empty() {
            String::new()
        } else {
            format!("{fields}\r\n")
        };
        let head = format!("POST /publish/a HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let body = parse_cut(head.as_bytes()).map(|request| request.unwrap().body);
        assert_eq!(body, expected, "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse_cut(old.as_bytes()), Err(Status::BadRequest));
}

#[test]
fn a_connection_persists_unless_either_version_says_otherwise() {
    for (version, field, expected) in [
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: x, Close", false),
        ("1.0", "X: y", false),
        ("1.0", "Connection: keep-alive", true),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(accepted(&head).is_persistent, expected, "{version} {field}");
    }
}

#[test]
fn a_query_is_apart_from_its_path() {
    for (target, path, query) in [
        ("/sse?channel=a?b&c", "/sse", "channel=a?b&c"),
        ("/sse?", "/sse", ""),
        ("/sse", "/sse", ""),
        ("http://b?x=1", "/", "x=1"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = accepted(&head);
        assert_eq!((request.path, request.query), (path, query), "{target}");
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
        let mut head = b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nContent-Length: 12\r\nOrigin: http://a\r\n\r\n"
            .to_vec();
        for (index, byte) in changes {
            let index = index.index(head.len());
            head[index] = byte;
        }
        let _ = parse_cut(&head);
    }
}
