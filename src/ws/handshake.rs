//! Opening handshakes: the rules of RFC 6455, 4.2, for the fields of a request, and the answer.
//!
//! Knows neither who may connect nor which subprotocol is spoken.

use std::str;

use tungstenite::handshake::derive_accept_key;

use crate::http::{
    body::Framing,
    fields::Fields,
    request::{Method, Request},
};

/// The part of a request that asks for an upgrade to WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade<'a> {
    /// No upgrade.
    None,
    /// A valid opening handshake, without a body.
    WebSocket {
        /// `Sec-WebSocket-Key`, to be answered by [`switching_protocols`].
        key: &'a str,
    },
    /// A handshake without a version, or with another than 13, to be answered with 426.
    WrongVersion,
    /// A handshake that breaks another rule of RFC 6455, 4.2.1, to be answered with 400.
    Malformed,
    /// One whose `Upgrade` was lost on the way: nothing else has a `Sec-WebSocket-Key`.
    Dropped,
    /// One without `Connection: Upgrade`, and otherwise sound, to be answered with 400.
    Unconnected,
    /// One in HTTP/1.0, whose `Upgrade` is to be ignored (RFC 9110, 7.8).
    Http10,
}

impl<'a> Upgrade<'a> {
    /// The upgrade that the request asks for, if it does.
    pub fn of(request: &Request<'a>) -> Self {
        let fields = &request.fields;
        if !fields.has_token("Upgrade", "websocket") {
            return if fields.has("Sec-WebSocket-Key") && !fields.has("Upgrade") {
                Self::Dropped
            } else {
                Self::None
            };
        }
        let is_get = request.method == Method::Get;
        if is_get && !request.is_http_1_1 && fields.has("Sec-WebSocket-Key") {
            Self::Http10
        } else if is_get && request.is_http_1_1 && request.body == Framing::None {
            Self::read(fields)
        } else {
            Self::Malformed
        }
    }

    /// RFC 6455, 4.2.1, items 4 to 6.
    fn read(fields: &Fields<'a>) -> Self {
        match fields.single("Sec-WebSocket-Version") {
            Ok(Some("13")) => {}
            Ok(Some(_) | None) => return Self::WrongVersion,
            Err(_) => return Self::Malformed,
        }
        match fields.single("Sec-WebSocket-Key") {
            Ok(Some(key)) if is_key(key) => {
                if fields.has_token("Connection", "upgrade") {
                    Self::WebSocket { key }
                } else {
                    Self::Unconnected
                }
            }
            Ok(Some(_) | None) | Err(_) => Self::Malformed,
        }
    }
}

/// The subprotocols that the request offers, in its order of preference (RFC 6455, 11.3.4).
pub fn offered_protocols<'a>(fields: &Fields<'a>) -> impl Iterator<Item = &'a str> {
    fields
        .tokens("Sec-WebSocket-Protocol")
        .filter_map(|offered| str::from_utf8(offered).ok())
        .filter(|offered| !offered.is_empty())
}

/// Accepts an opening handshake (RFC 6455, 4.2.2), with one of the subprotocols offered or without
/// any. Extensions are declined by their absence.
pub fn switching_protocols(key: &str, protocol: Option<&str>, out: &mut Vec<u8>) {
    for part in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        "Sec-WebSocket-Accept: ",
        &derive_accept_key(key.as_bytes()),
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Base64 of 16 bytes: 22 characters and two of padding.
fn is_key(key: &str) -> bool {
    key.len() == 24
        && key.strip_suffix("==").is_some_and(|key| {
            key.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
        })
}
