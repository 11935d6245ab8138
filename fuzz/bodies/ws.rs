//! The assertions of a fuzzer about bytes from a client. Compiled by cargo-fuzz and by ordinary
//! tests, which run it over the corpus.

mod seen;

use std::io::{self, Cursor, Read, Write};

use alle::internals::ws::{
    close::{CloseReason, ProtocolViolation},
    decoder::{Decoder, Input},
};
use tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig},
};

pub use self::seen::Seen;

/// A stream of frames gives the same messages in any pieces, and the same as tungstenite's; the
/// memory held stays bounded.
///
/// The input is the stream itself, so that a capture is a seed; how it is cut follows from its bytes.
pub fn client_frames(data: &[u8]) {
    for message_bytes_max in [20, 200, 64 * 1024] {
        let whole = story(data, |_| data.len(), message_bytes_max);
        for cut in [
            |_: u8| 1,
            |byte: u8| 1 + usize::from(byte) % 3,
            |byte: u8| usize::from(byte),
        ] {
            assert_eq!(story(data, cut, message_bytes_max), whole);
        }
        // It applies the limit to control frames as well.
        if message_bytes_max > 125 {
            let theirs = oracle(data, message_bytes_max);
            assert!(agree(&whole, &theirs), "ours {whole:?}, theirs {theirs:?}");
        }
    }
}

/// The inputs of a stream, up to a close frame or the reason of its failure.
pub fn story(
    data: &[u8],
    cut: impl Fn(u8) -> usize,
    message_bytes_max: usize,
) -> (Vec<Seen>, Option<CloseReason>) {
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    let mut begin = 0;
    while begin < data.len() {
        let end = data.len().min(begin + cut(data[begin]).max(1));
        let mut piece = data[begin..end].to_owned();
        begin = end;
        let mut consumed = 0;
        loop {
            let (bytes, input) = match decoder.decode(&mut piece[consumed..], message_bytes_max) {
                Ok(decoded) => decoded,
                Err(reason) => return (said, Some(reason)),
            };
            consumed += bytes;
            let Some(input) = input else { break };
            said.push(Seen::from(input));
            match input {
                Input::Text(text) => assert!(text.len() <= message_bytes_max),
                Input::Binary(payload) => assert!(payload.len() <= message_bytes_max),
                Input::Ping(payload) => assert!(payload.len() <= 125),
                Input::Pong => {}
                Input::Close(_) => return (said, None),
            }
            assert!(decoder.held_bytes() <= message_bytes_max + HELD_BESIDE_MESSAGE_BYTES);
        }
        assert_eq!(consumed, piece.len(), "all of the input is consumed");
        assert!(decoder.held_bytes() <= message_bytes_max + HELD_BESIDE_MESSAGE_BYTES);
    }
    (said, None)
}

/// The result of tungstenite for a stream: its messages, and the close code of its failure.
pub fn oracle(stream: &[u8], message_bytes_max: usize) -> (Vec<Seen>, Option<u16>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(64)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let socket = Socket(Cursor::new(stream.to_owned()));
    let mut websocket = WebSocket::from_raw_socket(socket, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match websocket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(payload)) => Seen::Binary(payload.to_vec()),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Seen::Pong,
            Ok(Message::Close(close)) => {
                let close = close.map(|close| (u16::from(close.code), close.reason.to_string()));
                if is_dislike(close.as_ref()) {
                    return (seen, Some(1002));
                }
                seen.push(Seen::Close(close));
                return (seen, None);
            }
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (seen, None);
            }
            Err(Error::Protocol(_)) => return (seen, Some(1002)),
            Err(Error::Utf8(_)) => return (seen, Some(1007)),
            Err(Error::Capacity(_)) => return (seen, Some(1009)),
            other => panic!("neither input nor verdict: {other:?}"),
        });
    }
}

/// tungstenite's way to refuse the code of a close frame.
fn is_dislike(close: Option<&(u16, String)>) -> bool {
    close.is_some_and(|(code, text)| *code == 1002 && text == "Protocol violation")
}

/// Reads from a stream, discards the answers.
struct Socket(Cursor<Vec<u8>>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether our result for a stream and tungstenite's are the same, or differ for a known reason.
/// This is the only place that lists the permitted differences and their reasons.
fn agree(
    (ours, error): &(Vec<Seen>, Option<CloseReason>),
    (theirs, code): &(Vec<Seen>, Option<u16>),
) -> bool {
    // It accepts a control frame whose length is in a longer form than needed; we refuse that at
    // the second byte, since no valid frame has it (RFC 6455, 5.2 and 5.5).
    if *error == Some(CloseReason::Protocol(ProtocolViolation::ControlTooLong)) {
        return theirs.starts_with(ours);
    }
    // It does not know 1014, which was registered later; and a peer may say what it says itself
    // when it dislikes a code.
    if let Some(Seen::Close(close)) = ours.last()
        && (close.as_ref().is_some_and(|(code, _)| *code == 1014) || is_dislike(close.as_ref()))
    {
        return *theirs == ours[..ours.len() - 1] && *code == Some(1002);
    }
    if ours != theirs {
        return false;
    }
    match (error.map(CloseReason::code), *code) {
        (ours, theirs) if ours == theirs => true,
        // We fail at the first bad byte, it fails when the frame is complete.
        (Some(_), None) => true,
        // Within one header, it checks the length before the bits.
        (Some(1002), Some(1009)) => true,
        (_, _) => false,
    }
}

/// A header or control frame, and the decoder's own bookkeeping.
const HELD_BESIDE_MESSAGE_BYTES: usize = 256;
