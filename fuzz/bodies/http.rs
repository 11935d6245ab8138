//! The assertions of a fuzzer about HTTP.

use std::net::IpAddr;

use alle::internals::http::{
    forwarded::{by_forwarded, by_x_forwarded_for},
    proxy_protocol::{self, PREAMBLE_BYTES_MAX},
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

/// A preamble has the same result at whatever length it is first seen; and whatever a stranger wrote in a
/// header, the entry that a proxy appends names the client.
pub fn proxy_words(data: &[u8]) {
    let mut said = Ok(None);
    for end in 0..=data.len().min(PREAMBLE_BYTES_MAX + 1) {
        let now = proxy_protocol::parse(&data[..end]);
        assert!(
            said == Ok(None) || said == now,
            "{said:?}, and at {end} {now:?}"
        );
        said = now;
    }
    if let Ok(Some(preamble)) = proxy_protocol::parse(data) {
        assert!(preamble.bytes <= data.len().min(PREAMBLE_BYTES_MAX));
    }
    assert!(data.len() < PREAMBLE_BYTES_MAX || proxy_protocol::parse(data) != Ok(None));
    for (appended, client) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("for=\"[2001:db8::1]:4711\";proto=https", "2001:db8::1"),
        ("by=_x;for=\"192.0.2.1:_p\"", "192.0.2.1"),
    ] {
        let client = Some(client.parse().expect("an address"));
        for (begin, end) in [("", ", "), ("", "\r\nForwarded: "), ("10.0.0.1, ", ",,")] {
            let found = client_of("Forwarded", data, (begin, end), appended);
            assert!(found.is_none() || found == client, "{found:?}");
        }
    }
    for appended in ["192.0.2.1", "192.0.2.1:4711, 10.0.0.7"] {
        let client = Some("192.0.2.1".parse().expect("an address"));
        for (begin, end) in [("", ", "), ("", "\r\nX-Forwarded-For: ")] {
            let found = client_of("X-Forwarded-For", data, (begin, end), appended);
            assert!(found.is_none() || found == client, "{found:?}");
        }
    }
}

/// The client by such a header, if the head has a form.
fn client_of(
    name: &str,
    data: &[u8],
    (begin, end): (&str, &str),
    appended: &str,
) -> Option<IpAddr> {
    let before = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: {begin}");
    let behind = format!("{end}{appended}\r\n\r\n");
    // A line of its own would be what a proxy passes on as it came.
    let data = data.split(|it| b"\r\n".contains(it)).next()?;
    let head = [before.as_bytes(), data, behind.as_bytes()].concat();
    let request = request::parse(&head).ok()??;
    let is_believed = |address: IpAddr| matches!(address, IpAddr::V4(it) if it.octets()[0] == 10);
    let peer = "10.0.0.1".parse().expect("an address");
    Some(match name {
        "Forwarded" => by_forwarded(&request.fields, peer, is_believed),
        _ => by_x_forwarded_for(&request.fields, peer, is_believed),
    })
}
