//! Server messages as bytes on the wire: the one place where the JSON protocol meets a transport.

use crate::{
    delivery::lane::{FrameBytes, LANES},
    message::ServerMessage,
    sse::{self, event_id::EventId},
    ws,
};

/// How messages reach a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// As text frames of a WebSocket.
    #[default]
    WebSocket,
    /// As Server-Sent Events.
    EventStream,
}

impl Transport {
    /// Both, by lane.
    pub const ALL: [Self; LANES] = [Self::WebSocket, Self::EventStream];

    /// What measures the frames of each lane.
    pub const FRAME_BYTES: [FrameBytes; LANES] =
        [ws::encoder::frame_bytes, sse::encoder::event_bytes];

    /// The lane in which frames of this transport are delivered.
    pub fn lane(self) -> usize {
        self as usize
    }

    /// Appends `message` as one frame; an event has the id, if there is one.
    pub fn append(self, message: &ServerMessage<'_>, id: Option<&EventId<'_>>, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket => append_message(message, out),
            Self::EventStream => {
                let mut text = Vec::new();
                message.append_to(&mut text);
                let append_id = |out: &mut Vec<u8>| {
                    if let Some(id) = id {
                        id.append_to(out);
                    }
                };
                sse::encoder::append_event(message.event_name(), append_id, &text, out);
            }
        }
    }

    /// Appends a notification whose JSON is `text` as one frame.
    pub fn append_notification(self, text: &[u8], id: &EventId<'_>, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket => ws::encoder::append_text_bytes(text, out),
            Self::EventStream => {
                sse::encoder::append_event(None, |out| id.append_to(out), text, out);
            }
        }
    }
}

/// Appends `message` as one WebSocket text frame.
pub fn append_message(message: &ServerMessage<'_>, out: &mut Vec<u8>) {
    ws::encoder::append_text_with(out, |out| message.append_to(out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::encoder::{frame_bytes, payload};

    #[test]
    fn a_message_becomes_one_frame_behind_what_was_there() {
        for payload_bytes in [0, 60, 61, 62, 63, 64, 7_999] {
            let mut out = b"before".to_vec();
            let text = "x".repeat(payload_bytes);
            let message = ServerMessage::Notification {
                channel: "orders",
                payload: &text,
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
            assert_eq!(payload(frame), json);
            let id = EventId {
                epoch: "e",
                seq: 9,
                place: None,
            };
            let mut again = Vec::new();
            Transport::WebSocket.append_notification(&json, &id, &mut again);
            assert_eq!(again, frame);
            let mut event = Vec::new();
            Transport::EventStream.append(&message, Some(&id), &mut event);
            let expected = format!("id: e:9\ndata: {}\n\n", str::from_utf8(&json).unwrap());
            assert_eq!(String::from_utf8(event).unwrap(), expected);
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
