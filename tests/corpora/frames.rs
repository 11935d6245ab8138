//! Streams of frames, sound, mutated and random: the decoder and tungstenite's server agree on them.

use alle::internals::ws::close::CloseReason;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::bodies::{
    echo::client_bytes,
    wire::frame,
    ws::{Seen, oracle, story},
};

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
            let length = u64::try_from(payload.len())
                .expect("a length is 64 bits at most")
                .to_be_bytes();
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn sound_streams(stream in sound_stream()) {
        client_bytes(&stream);
        // With every frame complete and masked there is no room for another order of checks.
        let (seen, error) = story(&stream, |_| stream.len(), MAX);
        if !matches!(seen.last(), Some(Seen::Close(Some((1014, _))))) {
            prop_assert_eq!((seen, error.map(CloseReason::code)), oracle(&stream, MAX));
        }
    }

    #[test]
    fn sound_streams_with_some_bytes_replaced(
        mut stream in sound_stream(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        if !stream.is_empty() {
            for (index, byte) in changes {
                let index = index.index(stream.len());
                stream[index] = byte;
            }
        }
        client_bytes(&stream);
    }

    #[test]
    fn streams_of_any_frames(frames in vec(any_frame(), 0..8)) {
        client_bytes(&frames.concat());
    }

    #[test]
    fn random_bytes(stream in vec(any::<u8>(), 0..400)) {
        client_bytes(&stream);
    }
}

/// One of the limits that `client_bytes` tries: small, so that generated messages often cross it.
const MAX: usize = 200;
