//! Tables for the decoder: the messages of a stream, whole and cut at every place.

#[path = "../../fuzz/bodies/ws/seen.rs"]
mod seen;

use self::seen::Seen;
use super::{
    close::{CloseReason, ProtocolViolation},
    decoder::{Decoder, Input},
};

const MAX: usize = 1000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The inputs decoded from a stream, and the error that ended it.
type Story = (Vec<Seen>, Option<CloseReason>);

/// Decodes a stream that comes in `pieces`, up to a close frame or an error.
fn decode_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    message_bytes_max: usize,
) -> Story {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_owned();
        let mut consumed = 0;
        loop {
            match decoder.decode(&mut piece[consumed..], message_bytes_max) {
                Ok((bytes, Some(input))) => {
                    consumed += bytes;
                    seen.push(Seen::from(input));
                    if let Input::Close(_) = input {
                        return (seen, None);
                    }
                }
                Ok((bytes, None)) => {
                    assert_eq!(consumed + bytes, piece.len());
                    break;
                }
                Err(reason) => {
                    assert!(decoder.held_bytes() <= message_bytes_max + 256);
                    return (seen, Some(reason));
                }
            }
            assert!(decoder.held_bytes() <= message_bytes_max + 256);
        }
    }
    (seen, None)
}

/// A masked frame with the shortest length there is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..65536 => {
            out.push(0xfe);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend_from_slice(&u64::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    out
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

/// Checks that the stream has the same inputs whole, byte by byte, and cut in two at every place.
#[track_caller]
fn check(stream: &[u8], seen: &[Seen], error: Option<CloseReason>) {
    let expected = (seen.to_vec(), error);
    assert_eq!(decode_pieces([stream], MAX), expected, "whole: {stream:x?}");
    assert_eq!(
        decode_pieces(stream.chunks(1), MAX),
        expected,
        "by bytes: {stream:x?}"
    );
    for at in 0..=stream.len() {
        let (head, tail) = stream.split_at(at);
        assert_eq!(
            decode_pieces([head, tail], MAX),
            expected,
            "cut at {at}: {stream:x?}"
        );
    }
}

#[test]
fn an_idle_decoder_is_a_null_pointer() {
    assert_eq!(size_of::<Decoder>(), 8);
    assert!(Decoder::default().is_idle());
    assert_eq!(Decoder::default().held_bytes(), 0);
}

#[test]
fn the_examples_of_rfc_6455_5_7() {
    let masked = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    check(&masked, &[text("Hello")], None);
    let stream = [frame(0x01, b"Hel"), frame(0x80, b"lo")].concat();
    check(&stream, &[text("Hello")], None);
    check(
        &frame(0x89, b"Hello"),
        &[Seen::Ping(b"Hello".to_vec())],
        None,
    );
    check(&frame(0x8a, b"Hello"), &[Seen::Pong], None);
    check(&frame(0x82, &[7; 256]), &[Seen::Binary(vec![7; 256])], None);
}

#[test]
fn messages_of_every_length_form() {
    for len in [0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 999, 1000] {
        let payload = "x".repeat(len);
        check(&frame(0x81, payload.as_bytes()), &[text(&payload)], None);
    }
}

#[test]
fn control_frames_are_delivered_between_the_fragments() {
    let stream = [
        frame(0x01, b"a"),
        frame(0x89, b"1"),
        frame(0x00, b""),
        frame(0x8a, b"2"),
        frame(0x00, b"b"),
        frame(0x89, b""),
        frame(0x80, b"c"),
        frame(0x81, b"next"),
    ]
    .concat();
    let ping = |payload: &[u8]| Seen::Ping(payload.to_vec());
    check(
        &stream,
        &[ping(b"1"), Seen::Pong, ping(b""), text("abc"), text("next")],
        None,
    );
    let stream = [frame(0x02, b"\xff"), frame(0x88, b""), frame(0x80, b"")].concat();
    check(&stream, &[Seen::Close(None)], None);
}

#[test]
fn close_frames() {
    let close = |code: u16, reason: &[u8]| frame(0x88, &[&code.to_be_bytes(), reason].concat());
    let seen = |code, reason: &str| [Seen::Close(Some((code, reason.to_owned())))];
    check(&frame(0x88, b""), &[Seen::Close(None)], None);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
    ] {
        check(&close(code, b"bye"), &seen(code, "bye"), None);
    }
    let reason = "é".repeat(61);
    check(&close(1000, reason.as_bytes()), &seen(1000, &reason), None);
    let violation = |violation| Some(CloseReason::Protocol(violation));
    check(
        &frame(0x88, b"\x03"),
        &[],
        violation(ProtocolViolation::CloseTruncated),
    );
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        check(
            &close(code, b""),
            &[],
            violation(ProtocolViolation::CloseCodeInvalid),
        );
    }
    check(
        &close(1000, b"\xff"),
        &[],
        Some(CloseReason::InvalidPayload),
    );
    check(
        &close(1000, b"\xc3"),
        &[],
        Some(CloseReason::InvalidPayload),
    );
}

#[test]
fn messages_before_a_violation_are_delivered() {
    let stream = [frame(0x81, b"ok"), vec![0x81, 0x00]].concat();
    let violation = CloseReason::Protocol(ProtocolViolation::Unmasked);
    check(&stream, &[text("ok")], Some(violation));
    let stream = [frame(0x01, b"a"), frame(0x89, b""), frame(0x81, b"b")].concat();
    let violation = CloseReason::Protocol(ProtocolViolation::ContinuationExpected);
    check(&stream, &[Seen::Ping(vec![])], Some(violation));
    // A complete message is over: nothing is left to continue.
    let stream = [frame(0x01, b"a"), frame(0x80, b""), frame(0x80, b"")].concat();
    let violation = CloseReason::Protocol(ProtocolViolation::ContinuationUnexpected);
    check(&stream, &[text("a")], Some(violation));
}

/// Characters cut at every byte, whole and in fragments.
#[test]
fn text_is_utf8_across_fragments() {
    let whole = "κόσμε €🐘\u{10ffff}\0";
    check(&frame(0x81, whole.as_bytes()), &[text(whole)], None);
    for at in 0..=whole.len() {
        let (head, tail) = whole.as_bytes().split_at(at);
        let stream = [frame(0x01, head), frame(0x89, b""), frame(0x80, tail)].concat();
        check(&stream, &[Seen::Ping(vec![]), text(whole)], None);
    }
}

/// Overlong forms, surrogates, beyond U+10FFFF, lone and missing continuation bytes.
#[test]
fn text_that_is_not_utf8_fails_at_the_first_impossible_byte() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"", b"\x80"),
        (b"", b"\xff"),
        (b"", b"\xc0"),
        (b"", b"\xf5"),
        (b"\xe0", b"\x80"),
        (b"\xed", b"\xa0"),
        (b"\xf0", b"\x80"),
        (b"\xf4", b"\x90"),
        (b"ab\xe2\x82", b"a"),
        (b"\xce\xba\xe1\xbd\xb9\xed", b"\xa0\x80edited"),
    ];
    let invalid = Some(CloseReason::InvalidPayload);
    for &(valid, bad) in cases {
        let payload = [valid, bad, &[b'x'; 50]].concat();
        check(&frame(0x81, &payload), &[], invalid);
        check(&frame(0x01, &payload), &[], invalid);
        // In an unfinished frame: the first bad byte is enough, the one before it is not.
        let header_bytes = frame(0x81, &payload).len() - payload.len();
        let unfinished = &frame(0x81, &payload)[..header_bytes + valid.len() + 1];
        check(unfinished, &[], invalid);
        check(&unfinished[..unfinished.len() - 1], &[], None);
    }
    // The frame is complete, and its last character is not.
    check(&frame(0x81, b"\xe2\x82"), &[], invalid);
    check(
        &[frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(),
        &[],
        invalid,
    );
}

#[test]
fn binary_messages_are_any_bytes_whole_or_in_fragments() {
    let payload: Vec<u8> = (0..=u8::MAX).collect();
    let whole = Seen::Binary(payload.clone());
    check(&frame(0x82, &payload), std::slice::from_ref(&whole), None);
    let (head, tail) = payload.split_at(100);
    let stream = [
        frame(0x02, head),
        frame(0x89, b""),
        frame(0x00, b""),
        frame(0x80, tail),
        frame(0x81, b"!"),
    ];
    check(
        &stream.concat(),
        &[Seen::Ping(vec![]), whole, text("!")],
        None,
    );
}

#[test]
fn a_message_is_limited_at_the_header_that_exceeds_it() {
    for first in [0x81, 0x82] {
        let expected = if first == 0x81 {
            text(&"x".repeat(MAX))
        } else {
            Seen::Binary(vec![b'x'; MAX])
        };
        check(
            &frame(first, &[b'x'; MAX]),
            std::slice::from_ref(&expected),
            None,
        );
        assert_eq!(
            decode_pieces([&frame(first, &[b'x'; MAX - 1])[..]], MAX).1,
            None
        );
        let too_big = frame(first, &[b'x'; MAX + 1]);
        check(&too_big[..4], &[], Some(CloseReason::MessageTooBig));
        check(&too_big[..3], &[], None);
        let begun = frame(first & 0x0f, &[b'x'; MAX - 10]);
        check(
            &[&begun[..], &frame(0x80, &[b'x'; 10])].concat(),
            &[expected],
            None,
        );
        check(
            &[
                &begun[..],
                &frame(0x89, b""),
                &frame(0x80, &[b'x'; 11])[..2],
            ]
            .concat(),
            &[Seen::Ping(vec![])],
            Some(CloseReason::MessageTooBig),
        );
    }
    let huge = [
        0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
    ];
    check(&huge, &[], Some(CloseReason::MessageTooBig));
    let max = usize::MAX;
    assert_eq!(
        decode_pieces([&huge[..]], max),
        (vec![], None),
        "and nothing overflows"
    );
}

/// The payload lies in the caller's buffer, and the decoder keeps nothing.
#[test]
fn a_whole_frame_is_decoded_in_place() {
    let mut input = [
        frame(0x81, b"Hello"),
        frame(0x89, b"ping"),
        frame(0x8a, b""),
    ]
    .concat();
    let buffer = input.as_ptr_range();
    let mut decoder = Decoder::default();
    let (consumed, Some(Input::Text("Hello"))) = decoder.decode(&mut input, MAX).unwrap() else {
        panic!("a text");
    };
    assert!(decoder.is_idle());
    let (_, Some(Input::Ping(payload @ b"ping"))) =
        decoder.decode(&mut input[consumed..], MAX).unwrap()
    else {
        panic!("a ping");
    };
    assert!(buffer.contains(&payload.as_ptr()));
    assert!(decoder.is_idle());
}

#[test]
fn held_bytes_are_freed_by_the_call_after_their_delivery() {
    for whole in [
        frame(0x81, b"Hello"),
        frame(0x82, b"Hello"),
        frame(0x89, b"Hello"),
        frame(0x8a, b"Hello"),
    ] {
        for at in 1..whole.len() {
            let mut input = whole.clone();
            let (head, tail) = input.split_at_mut(at);
            let mut decoder = Decoder::default();
            assert_eq!(decoder.decode(head, MAX), Ok((at, None)));
            assert!(!decoder.is_idle());
            let (consumed, input) = decoder.decode(tail, MAX).unwrap();
            assert!(input.is_some());
            assert_eq!(consumed, tail.len());
            assert_eq!(decoder.decode(&mut [], MAX), Ok((0, None)));
            assert!(decoder.is_idle());
        }
    }
}

#[test]
fn memory_grows_with_the_bytes_that_came_and_not_with_those_announced() {
    let limit = 64 * 1024;
    for opcode in [0x01, 0x02] {
        let stream = frame(0x80 | opcode, &vec![b'x'; limit]);
        let mut decoder = Decoder::default();
        for (index, byte) in stream.iter().enumerate() {
            let mut byte = [*byte];
            let (_, input) = decoder.decode(&mut byte, limit).unwrap();
            assert_eq!(input.is_some(), index + 1 == stream.len());
            assert!(
                decoder.held_bytes() <= (256 + 64 + 2 * index).min(limit + 256),
                "{index}"
            );
        }
        // Fragments of one byte each: the same bound.
        let mut decoder = Decoder::default();
        for index in 0..limit {
            let mut fragment = frame(if index == 0 { opcode } else { 0x00 }, b"x");
            let bytes = fragment.len();
            assert_eq!(decoder.decode(&mut fragment, limit), Ok((bytes, None)));
            assert!(decoder.held_bytes() <= limit + 256);
        }
        assert_eq!(
            decoder.decode(&mut frame(0x80, b"x"), limit),
            Err(CloseReason::MessageTooBig)
        );
        assert!(decoder.is_idle());
    }
}
