//! The far end of a client's socket: checks the server's bytes against the contract.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::wire::{frame, take_frame},
    Script, channel,
};

/// A client from its own point of view.
#[derive(Default)]
pub struct Peer {
    /// The socket took fewer bytes than it was given.
    pub is_full: bool,
    stage: Stage,
    inbox: Vec<u8>,
    /// By channel subscribed to: the epoch and the last seq.
    subscriptions: BTreeMap<String, (String, u64)>,
}

#[derive(Default, PartialEq, Debug)]
enum Stage {
    #[default]
    Head,
    /// An HTTP response other than an upgrade: whatever follows is its body.
    Response,
    Frames,
    /// A close frame arrived.
    Closed,
    /// The server sends nothing more.
    Shutdown,
}

impl Peer {
    pub fn receive(&mut self, bytes: &[u8]) {
        assert!(
            !matches!(self.stage, Stage::Closed | Stage::Shutdown),
            "nothing follows the end"
        );
        self.inbox.extend_from_slice(bytes);
        if self.stage == Stage::Head {
            self.take_head();
        }
        while self.stage == Stage::Frames && self.take_frame() {}
        assert!(
            self.stage != Stage::Closed || self.inbox.is_empty(),
            "nothing follows the end"
        );
    }

    pub fn handle_shutdown(&mut self) {
        match self.stage {
            Stage::Response => {}
            Stage::Closed => assert!(self.inbox.is_empty()),
            Stage::Head | Stage::Frames | Stage::Shutdown => {
                panic!("an end without a close frame, in {:?}", self.stage)
            }
        }
        self.stage = Stage::Shutdown;
    }

    fn take_head(&mut self) {
        let end = self.inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end else { return };
        let head: Vec<u8> = self.inbox.drain(..end + 4).collect();
        let head = std::str::from_utf8(&head).expect("a head is ASCII");
        if head.starts_with("HTTP/1.1 101 ") {
            assert!(head.contains(ACCEPT), "{head}");
            self.stage = Stage::Frames;
        } else {
            assert!(head.starts_with("HTTP/1.1 "), "{head}");
            self.stage = Stage::Response;
        }
    }

    /// Takes a frame of a server from the inbox, if one is complete.
    fn take_frame(&mut self) -> bool {
        let Some((first, payload)) = take_frame(&mut self.inbox) else {
            return false;
        };
        match first {
            0x81 => self.take_message(&payload),
            0x88 => self.stage = Stage::Closed,
            _ => {}
        }
        true
    }

    /// Nothing is missing, nothing arrives twice, nothing arrives without a subscription.
    fn take_message(&mut self, payload: &[u8]) {
        let message: Value = serde_json::from_slice(payload).expect("a message is JSON");
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        let kind = text("type").expect("a message has a type");
        let channel = text("channel");
        let position = text("epoch").zip(message["seq"].as_u64());
        match (kind.as_str(), channel) {
            ("subscribed", Some(channel)) => {
                let position = position.expect("subscribed says where it begins");
                let before = self.subscriptions.insert(channel, position.clone());
                assert!(before.is_none_or(|before| before == position), "{message}");
            }
            ("gap", Some(channel)) => {
                let position = position.expect("a gap says where it ends");
                let before = self.subscriptions.insert(channel, position.clone());
                let (epoch, _) = before.expect("a gap is told to subscribers");
                assert_ne!(epoch, position.0, "a gap begins another epoch");
            }
            ("notification", Some(channel)) => {
                let subscription = self.subscriptions.get_mut(&channel);
                let (_, seq) = subscription.expect("notifications are for subscribers");
                *seq += 1;
                assert_eq!(message["seq"].as_u64(), Some(*seq), "complete and in order");
            }
            ("unsubscribed", Some(channel)) => drop(self.subscriptions.remove(&channel)),
            ("notified", Some(_)) => assert!(!message["id"].is_null()),
            ("error", _) => assert!(message["code"].is_string() && message["message"].is_string()),
            ("status", None) => assert!(message["postgres"].is_string()),
            ("pong" | "authenticated", None) => {}
            _ => panic!("no such message: {message}"),
        }
    }
}

/// A message of a client, or bytes that look like one.
pub(super) fn message(script: &mut Script<'_>) -> Vec<u8> {
    let (kind, name) = (script.byte(), channel(script.byte()));
    let id = script.byte();
    let text = match kind % 8 {
        0..=2 => format!(r#"{{"type":"subscribe","channel":"{name}","id":{id}}}"#),
        3 => format!(r#"{{"type":"unsubscribe","channel":"{name}","id":"{id}"}}"#),
        4 => format!(r#"{{"type":"unsubscribe","channel":"{name}"}}"#),
        5 | 6 => {
            let payload = "y".repeat(usize::from(id));
            format!(r#"{{"type":"notify","channel":"{name}","payload":"{payload}","id":{id}}}"#)
        }
        _ if id % 4 == 1 => format!(r#"{{"type":"auth","token":"{name}","id":{id}}}"#),
        _ if id.is_multiple_of(2) => r#"{"type":"ping"}"#.to_owned(),
        _ => format!(r#"{{"type":"{name}"}}"#),
    };
    frame(0x81, text.as_bytes())
}

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
