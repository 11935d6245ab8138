//! The assertions of a fuzzer about HTTP.

use alle::internals::http::{
    reader::{Event, Reader},
    request::{self, HEAD_BYTES_MAX},
    response::Status,
};

/// A head has the same result at whatever length it is first seen, and its parts lie inside it.
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
    // A result never changes. Every cut of a short head is tried, some of a long one.
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

/// A stream of requests, their bodies included, is read the same in any pieces, and the memory held
/// stays bounded.
pub fn request_stream(data: &[u8]) {
    let whole = story(data, data.len().max(1));
    for piece in [1, 2, 3, 7, 64, 1_000] {
        assert_eq!(story(data, piece), whole, "in pieces of {piece}");
    }
}

/// Each request as it was read, and how the stream ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    /// The head, the body, and whether it is complete.
    requests: Vec<(String, Vec<u8>, bool)>,
    error: Option<Status>,
}

fn story(data: &[u8], piece: usize) -> Story {
    let (mut reader, mut story) = (Reader::default(), Story::default());
    for piece in data.chunks(piece) {
        let mut at = 0;
        loop {
            let (consumed, event) = match reader.read(&piece[at..]) {
                Ok(read) => read,
                Err(status) => {
                    story.error = Some(status);
                    return story;
                }
            };
            at += consumed;
            match event {
                Some(Event::Head(request)) => {
                    let head = format!("{:?} {} {:?}", request.method, request.path, request.body);
                    story.requests.push((head, Vec::new(), false));
                }
                Some(Event::Data(bytes)) => {
                    assert!(!bytes.is_empty());
                    let (_, body, is_complete) = story.requests.last_mut().expect("a head first");
                    assert!(!*is_complete);
                    body.extend_from_slice(bytes);
                }
                Some(Event::End) => story.requests.last_mut().expect("a head first").2 = true,
                None => break,
            }
        }
        assert_eq!(at, piece.len(), "everything is read that can be");
        assert!(reader.held_bytes() <= HEAD_BYTES_MAX);
    }
    story
}
