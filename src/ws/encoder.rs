//! Finished server frames: a payload behind its RFC 6455 header, in one buffer.
//!
//! Server frames are never masked or fragmented here (RFC 6455, 5.1 and 5.4). Knows nothing of
//! their recipients.

/// Appends one text frame around the payload that `write` appends.
pub fn append_text_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES_MAX]);
    write(out);
    let payload_bytes = out.len() - start - HEADER_BYTES_MAX;
    let (header, header_bytes) = header(OPCODE_TEXT, payload_bytes);
    // The header's length depends on the payload's: the payload moves behind the header's end.
    let payload_start = start + HEADER_BYTES_MAX;
    out.copy_within(payload_start.., start + header_bytes);
    out.truncate(start + header_bytes + payload_bytes);
    out[start..start + header_bytes].copy_from_slice(&header[..header_bytes]);
}

/// Appends a text message.
pub fn append_text(text: &str, out: &mut Vec<u8>) {
    append(OPCODE_TEXT, text.as_bytes(), out);
}

/// Appends a text message whose bytes are UTF-8.
pub fn append_text_bytes(text: &[u8], out: &mut Vec<u8>) {
    append(OPCODE_TEXT, text, out);
}

/// Appends a binary message.
pub fn append_binary(payload: &[u8], out: &mut Vec<u8>) {
    append(OPCODE_BINARY, payload, out);
}

/// Appends a ping without a payload.
pub fn append_ping(out: &mut Vec<u8>) {
    append(OPCODE_PING, &[], out);
}

/// Appends the pong to a ping; `payload` is the ping's, at most 125 bytes (RFC 6455, 5.5.3).
pub fn append_pong(payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= 125, "RFC 6455, 5.5");
    append(OPCODE_PONG, payload, out);
}

/// The length of the first frame in `bytes`, which are our own frames.
pub fn frame_bytes(bytes: &[u8]) -> usize {
    match bytes[1] {
        126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        127 => {
            let length = bytes[2..10]
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            10 + length
        }
        short => 2 + usize::from(short),
    }
}

/// The payload of a frame, which is one of our own.
pub fn payload(frame: &[u8]) -> &[u8] {
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        _ => &frame[2..],
    }
}

fn append(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let (header, header_bytes) = header(opcode, payload.len());
    out.extend_from_slice(&header[..header_bytes]);
    out.extend_from_slice(payload);
}

/// The header of a final, unmasked frame and its length (RFC 6455, 5.2).
fn header(opcode: u8, payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = FIN | opcode;
    if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
        header[1] = short;
        (header, 2)
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        header[1] = 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        (header, 10)
    }
}

pub(crate) const HEADER_BYTES_MAX: usize = 10;
const FIN: u8 = 0x80;
const OPCODE_TEXT: u8 = 0x1;
const OPCODE_BINARY: u8 = 0x2;
const OPCODE_PING: u8 = 0x9;
const OPCODE_PONG: u8 = 0xA;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_shortest_length_form() {
        for (payload_bytes, header_bytes) in [
            (0, 2),
            (125, 2),
            (126, 4),
            (65_535, 4),
            (65_536, 10),
            (100_000, 10),
        ] {
            let (header, bytes) = header(OPCODE_TEXT, payload_bytes);
            assert_eq!(bytes, header_bytes, "{payload_bytes}");
            let mut frame = header[..bytes].to_vec();
            frame.resize(bytes + payload_bytes, b'x');
            assert_eq!(frame_bytes(&frame), frame.len());
        }
    }
}
