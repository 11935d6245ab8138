//! The hub's output as its far ends parse it: strictly. The simulation parses with it too.

/// Takes a frame of a server out of what a client received, if one is whole (RFC 6455, 5.2): its
/// first byte and its payload.
pub fn take_frame(inbox: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, ..] = inbox[..] else {
        return None;
    };
    assert!(
        matches!(first, 0x81 | 0x88 | 0x89 | 0x8a),
        "no server sends {first:#x}"
    );
    assert!(second & 0x80 == 0, "a server does not mask");
    let (length, header_bytes) = match (second, inbox.get(2..4)) {
        (126, None) => return None,
        (126, Some(length)) => (usize::from(length[0]) << 8 | usize::from(length[1]), 4),
        (127, _) => panic!("no message is that long"),
        (short, _) => (usize::from(short), 2),
    };
    assert!(length > 125 || header_bytes == 2, "the shortest form");
    assert!(length <= 125 || first == 0x81, "a control frame is short");
    if inbox.len() < header_bytes + length {
        return None;
    }
    let frame: Vec<u8> = inbox.drain(..header_bytes + length).collect();
    Some((first, frame[header_bytes..].to_vec()))
}

/// The two parameters of a Bind without formats for them.
pub fn bound(body: &[u8]) -> (String, String) {
    let (head, mut rest) = body.split_at(6);
    assert_eq!(head, [0, 0, 0, 0, 0, 2], "two parameters, both text");
    let mut parameter = || {
        let (length, behind) = rest.split_first_chunk().expect("a length");
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("short");
        let (value, behind) = behind.split_at(length);
        rest = behind;
        text(value)
    };
    (parameter(), parameter())
}

/// A text from PostgreSQL's frontend.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("we are asked in UTF-8")
}

/// A client's frame, masked, with the shortest form of its length.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    let long = u64::try_from(payload.len()).expect("a length is 64 bits at most");
    if let Ok(short @ ..=125) = u8::try_from(long) {
        frame.push(0x80 | short);
    } else if let Ok(medium) = u16::try_from(long) {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&medium.to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend_from_slice(&long.to_be_bytes());
    }
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// The opening handshake of RFC 6455, 1.2.
pub fn upgrade_head() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec()
}
