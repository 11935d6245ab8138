//! What a fuzzer asserts about bytes from a client. Compiled by cargo-fuzz and by ordinary tests,
//! which run it over the corpus.

use alle::ws::{
    close::CloseReason,
    decoder::{Decoder, Input},
    request::{self, HEAD_BYTES_MAX},
};

/// A stream of frames says the same in any pieces, and what is held stays bounded.
///
/// The input is the stream itself, so that a capture is a seed; how it is cut follows from its bytes.
pub fn client_bytes(data: &[u8]) {
    for message_bytes_max in [20, 64 * 1024] {
        let whole = story(data, |_| data.len(), message_bytes_max);
        for cut in [
            |_: u8| 1,
            |byte: u8| 1 + usize::from(byte) % 3,
            |byte: u8| usize::from(byte),
        ] {
            assert_eq!(story(data, cut, message_bytes_max), whole);
        }
    }
}

/// A head says the same at whatever length it is first seen, and what it says lies inside it.
pub fn request_head(data: &[u8]) {
    let whole = request::parse(data);
    match &whole {
        Ok(Some(request)) => {
            assert!(request.head_bytes <= data.len().min(HEAD_BYTES_MAX));
            assert!(!request.path.contains('?') && request.path.is_ascii());
            assert_eq!(request::parse(&data[..request.head_bytes]), whole);
            assert_eq!(request::parse(&data[..request.head_bytes - 1]), Ok(None));
        }
        Ok(None) => assert!(data.len() < HEAD_BYTES_MAX),
        Err(_) => {}
    }
    // Once said, for ever said. Every cut of a short head, some of a long one.
    let step = 1 + data.len() / 256;
    let mut said = Ok(None);
    for end in (0..=data.len()).step_by(step) {
        let now = request::parse(&data[..end]);
        assert!(
            said == Ok(None) || said == now,
            "{said:?}, and at {end} {now:?}"
        );
        said = now;
    }
    assert!(said == Ok(None) || said == whole);
}

/// What a stream comes to: each input in words, and the reason it failed for.
fn story(
    data: &[u8],
    cut: impl Fn(u8) -> usize,
    message_bytes_max: usize,
) -> (Vec<String>, Option<CloseReason>) {
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
            said.push(format!("{input:?}"));
            if let Input::Text(text) = input {
                assert!(text.len() <= message_bytes_max);
            }
            if let Input::Close(_) = input {
                return (said, None);
            }
            assert!(decoder.held_bytes() <= message_bytes_max + HELD_BESIDE_MESSAGE_BYTES);
        }
        assert_eq!(consumed, piece.len(), "all of the input is consumed");
        assert!(decoder.held_bytes() <= message_bytes_max + HELD_BESIDE_MESSAGE_BYTES);
    }
    (said, None)
}

/// A header or control frame, and the decoder's own bookkeeping.
const HELD_BESIDE_MESSAGE_BYTES: usize = 256;
