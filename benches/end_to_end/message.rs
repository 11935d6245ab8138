//! What is published: numbered messages of one length, in turn to each channel.
//!
//! Both ends agree here on names and payloads; knows no socket.

use alle::internals::{hub::encode::append_message, message::ServerMessage};

/// All messages of a run, counted from 0.
pub(crate) type Number = u64;

/// Which channels there are, and who hears them.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) count: u64,
    /// Every client hears all of them, rather than one.
    pub(crate) is_shared: bool,
}

impl Channels {
    /// Each client hears one of so many.
    pub(crate) fn split(count: u64) -> Self {
        Self {
            count,
            is_shared: false,
        }
    }

    /// Each client hears all of so many.
    pub(crate) fn shared(count: u64) -> Self {
        Self {
            count,
            is_shared: true,
        }
    }

    /// How far the messages of one client are apart.
    pub(crate) fn step(self) -> u64 {
        if self.is_shared { 1 } else { self.count }
    }

    /// How many channels a client hears.
    pub(crate) fn each(self) -> u64 {
        self.count / self.step()
    }

    /// The one that so many come before among those of a client.
    pub(crate) fn of_client(self, client: u64, before: u64) -> u64 {
        if self.is_shared {
            before
        } else {
            client % self.count
        }
    }
}

/// The channel a message is for.
pub(crate) fn channel_of(message: Number, channels: u64) -> u64 {
    message % channels
}

pub(crate) fn channel_name(channel: u64) -> String {
    format!("c{channel:05}")
}

/// 128 bytes, the number at their start.
pub(crate) fn payload(message: Number) -> String {
    format!("@{message:010};{FILLER}")
}

/// Reads a number from where its mark begins, if the payload is whole.
pub(crate) fn number_in(text: &[u8]) -> Option<Number> {
    let start = text.iter().position(|&byte| byte == b'@')?;
    let mark = text.get(start..start + PAYLOAD_BYTES)?;
    let (digits, rest) = mark[1..].split_at(10);
    let value = |number: Option<u64>, &digit: &u8| {
        digit
            .is_ascii_digit()
            .then(|| number.map(|number| number * 10 + u64::from(digit - b'0')))?
    };
    let number = digits.iter().fold(Some(0), value)?;
    (rest[0] == b';' && &rest[1..] == FILLER.as_bytes()).then_some(number)
}

/// Appends the frames in which the server sends them.
pub(crate) fn append_frames(
    messages: impl Iterator<Item = Number>,
    channels: u64,
    out: &mut Vec<u8>,
) {
    for message in messages {
        let notification = ServerMessage::Notification {
            channel: &channel_name(channel_of(message, channels)),
            payload: &payload(message),
            seq: message / channels + 1,
            lossy: false,
        };
        append_message(&notification, out);
    }
}

const PAYLOAD_BYTES: usize = 12 + FILLER.len();
const FILLER: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
