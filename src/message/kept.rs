//! A notification as it is kept for clients that come back, read again for another bridge.

use serde::Deserialize;

/// The payload of a notification in the form that clients get, and whether bytes of it were replaced.
pub fn kept_payload(text: &[u8]) -> Option<(String, bool)> {
    let kept: Kept = serde_json::from_slice(text).ok()?;
    Some((kept.payload, kept.lossy))
}

#[derive(Deserialize)]
struct Kept {
    payload: String,
    #[serde(default)]
    lossy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ServerMessage;

    #[test]
    fn a_notification_is_read_back_as_it_was_kept() {
        for (payload, lossy) in [("", false), ("\"\u{0}\u{1f600}\u{fffd}", true)] {
            let message = ServerMessage::Notification {
                channel: "c",
                payload,
                seq: 7,
                lossy,
            };
            let mut text = Vec::new();
            message.append_to(&mut text);
            assert_eq!(kept_payload(&text), Some((payload.to_owned(), lossy)));
        }
        assert_eq!(kept_payload(b"{}"), None);
    }
}
