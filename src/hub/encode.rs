//! Server messages as bytes on the wire: the one place where the JSON protocol meets a transport.

use crate::{message::ServerMessage, ws::encoder};

/// Appends `message` as one WebSocket text frame.
pub fn append_message(message: &ServerMessage<'_>, out: &mut Vec<u8>) {
    encoder::append_text_with(out, |out| message.append_to(out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::encoder::frame_bytes;

    #[test]
    fn a_message_becomes_one_frame_behind_what_was_there() {
        for payload_bytes in [0, 60, 61, 62, 63, 64, 7_999] {
            let mut out = b"before".to_vec();
            let payload = "x".repeat(payload_bytes);
            let message = ServerMessage::Notification {
                channel: "orders",
                payload: &payload,
                seq: 9,
                lossy: false,
            };
            append_message(&message, &mut out);
            let mut json = Vec::new();
            message.append_to(&mut json);
            assert_eq!(&out[..6], b"before");
            let frame = &out[6..];
            assert_eq!(frame[0], 0x81);
            assert_eq!(frame_bytes(frame), frame.len());
            assert!(frame.ends_with(&json));
        }
    }

    #[test]
    fn the_longest_notification_fits_a_16_bit_length() {
        // Every byte of a control character takes six in JSON.
        let message = ServerMessage::Notification {
            channel: &"\u{1}".repeat(63),
            payload: &"\u{1}".repeat(7_999),
            seq: u64::MAX,
            lossy: true,
        };
        let mut out = Vec::new();
        append_message(&message, &mut out);
        assert!(out.len() < 64 * 1024, "{}", out.len());
    }
}
