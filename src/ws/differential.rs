//! The decoder against tungstenite's server on the same streams: sound, mutated and random, in
//! pieces of any length.
//!
//! Both must deliver the same inputs and end with the same close code. Where they may differ, and
//! why, is said in [`agree`] and nowhere else.

use std::io::{self, Cursor, Read, Write};

use proptest::{collection::vec, prelude::*, sample::Index, test_runner::Config};
use tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig},
};

use super::{
    close::{CloseReason, ProtocolViolation},
    decoder_tests::{Seen, Story, decode_pieces, frame},
};

/// Small, so that generated messages often cross it; above what a control frame may carry, since
/// tungstenite applies it to those as well.
const MAX: usize = 200;

/// What tungstenite makes of a stream: its messages, and the close code it would fail with.
fn oracle(stream: &[u8]) -> (Vec<Seen>, Option<u16>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(64)
        .max_message_size(Some(MAX))
        .max_frame_size(Some(MAX));
    let socket = Socket(Cursor::new(stream.to_owned()));
    let mut websocket = WebSocket::from_raw_socket(socket, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match websocket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(_)) => Seen::Binary,
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Seen::Pong,
            Ok(Message::Close(close)) => {
                let close = close.map(|close| (u16::from(close.code), close.reason.to_string()));
                if close == Some((1002, "Protocol violation".to_owned())) {
                    // How it says that it does not like the code.
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

/// Reads a stream, swallows the answers.
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

/// Whether our story of a stream and tungstenite's are the same, or differ for a known reason.
fn agree((ours, error): &Story, (theirs, code): &(Vec<Seen>, Option<u16>)) -> bool {
    // It takes a control frame whose length is written longer than needed; we know at the second
    // byte that it cannot have been written so (RFC 6455, 5.2 and 5.5).
    if *error == Some(CloseReason::Protocol(ProtocolViolation::ControlTooLong)) {
        return theirs.starts_with(ours);
    }
    // It does not know 1014, which was registered later.
    if let Some(Seen::Close(Some((1014, _)))) = ours.last() {
        return *theirs == ours[..ours.len() - 1] && *code == Some(1002);
    }
    if ours != theirs {
        return false;
    }
    match (error.map(CloseReason::code), *code) {
        (ours, theirs) if ours == theirs => true,
        // We fail at the first bad byte, it fails when the frame is complete.
        (Some(_), None) => true,
        // At one header, it looks at the length before it looks at the bits.
        (Some(1002), Some(1009)) => true,
        (_, _) => false,
    }
}

fn check(stream: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
    let ours = decode_pieces(pieces, MAX);
    prop_assert_eq!(&ours, &decode_pieces([stream], MAX), "whole and cut differ");
    let theirs = oracle(stream);
    prop_assert!(
        agree(&ours, &theirs),
        "ours {:?}\ntheirs {:?}\nof {:x?}",
        ours,
        theirs,
        stream
    );
    Ok(())
}

/// A text with characters of every length, not longer than the limit.
fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![any::<char>(), prop::char::range(' ', '~')],
        0..50,
    )
    .prop_map(|chars| chars.into_iter().collect::<String>().into_bytes())
}

/// A control frame that breaks no rule.
fn control() -> impl Strategy<Value = Vec<u8>> {
    (
        prop_oneof![Just(0x89), Just(0x8a)],
        vec(any::<u8>(), 0..126),
    )
        .prop_map(|(first, payload)| frame(first, &payload))
}

/// A text or binary message in fragments, cut anywhere, with control frames between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let cuts = vec((any::<Index>(), prop::option::of(control())), 0..4);
    (any::<bool>(), text(), cuts).prop_map(|(is_text, payload, mut cuts)| {
        cuts.sort_by_key(|(cut, _)| cut.index(payload.len() + 1));
        let mut out = Vec::new();
        let mut opcode = if is_text { 0x01 } else { 0x02 };
        let mut begin = 0;
        for (cut, control) in cuts {
            let end = cut.index(payload.len() + 1);
            out.extend(frame(opcode, &payload[begin..end]));
            out.extend(control.unwrap_or_default());
            (opcode, begin) = (0x00, end);
        }
        out.extend(frame(0x80 | opcode, &payload[begin..]));
        out
    })
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![990..1020_u16, 2990..3010_u16, 4990..5010_u16, any::<u16>()];
    let reason = vec(prop::char::range(' ', 'ÿ'), 0..60)
        .prop_map(|chars| chars.into_iter().collect::<String>());
    prop_oneof![
        Just(frame(0x88, b"")),
        (code, reason).prop_map(|(code, reason)| {
            frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
        }),
    ]
}

/// Messages, control frames, and mostly a close at the end.
fn sound_stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![4 => message(), 1 => control()];
    (vec(part, 0..6), prop::option::of(close())).prop_map(|(parts, close)| {
        let mut out = parts.concat();
        out.extend(close.unwrap_or_default());
        out
    })
}

/// One frame in which anything may be wrong: bits, opcode, mask, the form and truth of the length.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![text(), vec(any::<u8>(), 0..8), vec(any::<u8>(), 0..2 * MAX)];
    let length_form = prop_oneof![6 => Just(0_usize), 1 => Just(2), 1 => Just(8)];
    let is_masked = prop_oneof![9 => Just(true), 1 => Just(false)];
    (first, payload, length_form, is_masked).prop_map(|(first, payload, length_form, is_masked)| {
        let mut out = frame(first, &payload);
        if length_form > 0 {
            let length = u64::try_from(payload.len()).unwrap().to_be_bytes();
            out.truncate(1);
            out.push(0x80 | if length_form == 2 { 126 } else { 127 });
            out.extend_from_slice(&length[8 - length_form..]);
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&payload);
        }
        if !is_masked {
            out[1] &= 0x7f;
        }
        out
    })
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 1024, ..Config::default() })]

    #[test]
    fn sound_streams(stream in sound_stream(), cuts in cuts()) {
        check(&stream, &cuts)?;
        // With every frame complete and masked there is no room for another order of checks.
        let (seen, error) = decode_pieces([&stream[..]], MAX);
        if !matches!(seen.last(), Some(Seen::Close(Some((1014, _))))) {
            prop_assert_eq!((seen, error.map(CloseReason::code)), oracle(&stream));
        }
    }

    #[test]
    fn sound_streams_with_some_bytes_replaced(
        mut stream in sound_stream(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in cuts(),
    ) {
        if !stream.is_empty() {
            for (index, byte) in changes {
                let index = index.index(stream.len());
                stream[index] = byte;
            }
        }
        check(&stream, &cuts)?;
    }

    #[test]
    fn streams_of_any_frames(frames in vec(any_frame(), 0..8), cuts in cuts()) {
        check(&frames.concat(), &cuts)?;
    }

    #[test]
    fn random_bytes(stream in vec(any::<u8>(), 0..64), cuts in cuts()) {
        check(&stream, &cuts)?;
    }
}
