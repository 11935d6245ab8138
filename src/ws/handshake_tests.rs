//! Tables for opening handshakes.

use tungstenite::{client::IntoClientRequest, handshake::client::generate_request};

use super::handshake::{Upgrade, offered_protocols, switching_protocols};
use crate::http::{request, response::Status};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
const CONNECTION: (&str, &str) = ("Connection", "Upgrade");
const KEY_FIELD: (&str, &str) = ("Sec-WebSocket-Key", KEY);
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");

#[track_caller]
fn upgrade(head: &str) -> Upgrade<'_> {
    Upgrade::of(&request::parse(head.as_bytes()).unwrap().unwrap())
}

fn handshake(fields: &[(&str, &str)]) -> String {
    let mut head = "GET /ws HTTP/1.1\r\nHost: localhost:8080\r\n".to_owned();
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

#[test]
fn the_answer_of_rfc_6455_1_3_with_a_subprotocol_and_without() {
    for (protocol, field) in [
        (None, ""),
        (Some("alle.v1"), "Sec-WebSocket-Protocol: alle.v1\r\n"),
    ] {
        let mut out = b"before".to_vec();
        switching_protocols("dGhlIHNhbXBsZSBub25jZQ==", protocol, &mut out);
        let expected = format!(
            "beforeHTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{field}\r\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
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
    let request = request::parse(head.as_bytes()).unwrap().unwrap();
    assert_eq!(
        (request.path, request.host, request.origin),
        (
            "/chat",
            Some("server.example.com"),
            Some("http://example.com")
        )
    );
    assert_eq!(Upgrade::of(&request), Upgrade::WebSocket { key: KEY });
    let offered: Vec<_> = offered_protocols(&request.fields).collect();
    assert_eq!(offered, ["chat", "superchat"]);
    let with_input = [head.as_bytes(), b"\x81\x80\0\0\0\0 GET \0 \xff"].concat();
    assert_eq!(request::parse(&with_input), Ok(Some(request)));
}

#[test]
fn the_handshake_of_tungstenite_s_client() {
    let request = "ws://127.0.0.1:8080/ws?token=1"
        .into_client_request()
        .unwrap();
    let (head, key) = generate_request(request).unwrap();
    let request = request::parse(&head).unwrap().unwrap();
    assert_eq!(Upgrade::of(&request), Upgrade::WebSocket { key: &key });
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
        assert_eq!(upgrade(&head), expected, "{fields:?}");
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
        (&[("Connection", "(left out)")], Upgrade::Unconnected),
        (&[("Connection", "close")], Upgrade::Unconnected),
        (&[("Connection", "upgraded")], Upgrade::Unconnected),
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
        assert_eq!(upgrade(&with(changed)), expected, "{changed:?}");
    }
    for method in ["POST", "HEAD", "get"] {
        let head = with(&[]).replacen("GET", method, 1);
        assert_eq!(upgrade(&head), Upgrade::Malformed, "{method}");
    }
    let head = with(&[]).replacen("HTTP/1.1", "HTTP/1.0", 1);
    assert_eq!(upgrade(&head), Upgrade::Http10);
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
            Err(Status::BadRequest),
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
        let upgrade = request::parse(head.as_bytes()).map(|request| Upgrade::of(&request.unwrap()));
        assert_eq!(upgrade, expected, "{fields}");
    }
}
