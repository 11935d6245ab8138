//! The envelope of a message: who sent it, which one it is, and the proof of both.
//!
//! A message is bound to what its sender cannot choose or repeat: the PID of its backend, which
//! PostgreSQL stamps on the notification, the start of the server, the sender's random id and a
//! counter that only rises. With a key the proof is HMAC-SHA-256 over all of them, the version and
//! the channel; without one there is no secret, and nothing but the PID tells a bridge from others.
//! Refuses to know the peers: whether id, PID and counter fit is `peers`' question.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    encoding::{BridgeId, Malformed, Reader, Writer},
    wire::Message,
};
use crate::channel::{Channel, Payload};

/// The secret of a group.
#[derive(Clone)]
pub struct GroupKey(Box<[u8]>);

impl GroupKey {
    /// The shortest, in bytes: as long as the proof made with it.
    pub const BYTES_MIN: usize = 32;

    /// Takes these bytes, unless they are too few.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::BYTES_MIN).then(|| Self(bytes.into()))
    }
}

impl std::fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GroupKey(..)")
    }
}

/// Seals and opens the messages of one group.
#[derive(Debug)]
pub(super) struct Seal {
    channel: Channel,
    key: Option<GroupKey>,
}

/// What an envelope says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: BridgeId,
    /// Of the sender's backend.
    pub(super) pid: i32,
    /// Counts the messages of `id`.
    pub(super) counter: u64,
    /// When the sender's PostgreSQL was started.
    pub(super) server_start: i64,
}

/// Why a message is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Another version of the protocol.
    Version,
    /// Not a message.
    Malformed,
    /// The proof does not fit.
    Forged,
}

impl Seal {
    pub(super) fn new(channel: Channel, key: Option<GroupKey>) -> Self {
        Self { channel, key }
    }

    /// The control channel.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether there is a secret.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The payload of the message.
    pub(super) fn seal(&self, header: Header, message: &Message) -> Payload {
        let mut body = Vec::new();
        let mut out = Writer(&mut body);
        out.word(header.id.0);
        out.number(header.counter);
        out.word(u64::from_be_bytes(header.server_start.to_be_bytes()));
        message.append_to(&mut body);
        if let Some(mac) = self.mac(header.pid, &body) {
            body.extend_from_slice(&mac.finalize().into_bytes());
        }
        let text = format!("{VERSION} {}", STANDARD_NO_PAD.encode(&body));
        debug_assert!(text.len() <= TEXT_BYTES_MAX, "{}: {message:?}", text.len());
        Payload::new(&text).expect("ASCII, and no part is longer than BODY_BYTES_MAX")
    }

    /// The message in the payload of a notification that PostgreSQL says is of this backend;
    /// `Ok((_, None))` for one of a kind that is not known here.
    pub(super) fn open(
        &self,
        pid: i32,
        payload: &[u8],
    ) -> Result<(Header, Option<Message>), Unreadable> {
        let space = payload.iter().position(|&byte| byte == b' ');
        let (version, text) = payload.split_at(space.ok_or(Unreadable::Malformed)?);
        if version != VERSION.as_bytes() {
            let is_version = !version.is_empty() && version.iter().all(u8::is_ascii_digit);
            return Err(if is_version {
                Unreadable::Version
            } else {
                Unreadable::Malformed
            });
        }
        let bytes = STANDARD_NO_PAD.decode(&text[1..]);
        let mut body = bytes.map_err(|_| Unreadable::Malformed)?;
        if self.has_key() {
            let end = body.len().checked_sub(MAC_BYTES);
            let proof = body.split_off(end.ok_or(Unreadable::Forged)?);
            let mac = self.mac(pid, &body);
            if mac.is_none_or(|mac| mac.verify_slice(&proof).is_err()) {
                return Err(Unreadable::Forged);
            }
        }
        parse(pid, &body).map_err(|Malformed| Unreadable::Malformed)
    }

    fn mac(&self, pid: i32, body: &[u8]) -> Option<Hmac<Sha256>> {
        let GroupKey(key) = self.key.as_ref()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(VERSION.as_bytes());
        mac.update(&[0]);
        mac.update(self.channel.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(&pid.to_be_bytes());
        mac.update(body);
        Some(mac)
    }
}

fn parse(pid: i32, body: &[u8]) -> Result<(Header, Option<Message>), Malformed> {
    let mut input = Reader(body);
    let header = Header {
        id: BridgeId(input.word()?),
        pid,
        counter: input.number()?,
        server_start: i64::from_be_bytes(input.word()?.to_be_bytes()),
    };
    Ok((header, Message::parse(input.0)?))
}

/// The version of this protocol.
pub(super) const VERSION: &str = "1";
const MAC_BYTES: usize = 32;
/// The longest payload that a message becomes.
const TEXT_BYTES_MAX: usize = 7_600;
/// Entries of a message have so many bytes at most; the rest is for the envelope.
pub(super) const ENTRIES_BYTES_MAX: usize = 5_500;

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: Option<&[u8]>) -> Seal {
        let key = key.map(|key| GroupKey::new(key).unwrap());
        Seal::new(Channel::new("alle group g").unwrap(), key)
    }

    const HEADER: Header = Header {
        id: BridgeId(77),
        pid: 4_242,
        counter: 9,
        server_start: -5,
    };

    #[test]
    fn a_message_is_read_by_those_who_have_the_key() {
        for key in [None, Some(&[1; 32][..])] {
            let seal = seal(key);
            let payload = seal.seal(HEADER, &Message::Barrier);
            let opened = seal.open(HEADER.pid, payload.as_str().as_bytes());
            assert_eq!(opened, Ok((HEADER, Some(Message::Barrier))));
        }
    }

    #[test]
    fn a_message_of_another_key_pid_or_channel_is_forged() {
        let sealed = seal(Some(&[1; 32])).seal(HEADER, &Message::Hello);
        let payload = sealed.as_str().as_bytes();
        let other = Channel::new("alle group h").unwrap();
        let other = Seal::new(other, GroupKey::new(&[1; 32]));
        for (seal, pid) in [
            (&seal(Some(&[2; 32])), HEADER.pid),
            (&seal(Some(&[1; 32])), HEADER.pid + 1),
            (&other, HEADER.pid),
        ] {
            assert_eq!(seal.open(pid, payload), Err(Unreadable::Forged));
        }
        let open = seal(None).seal(HEADER, &Message::Hello);
        let keyed = seal(Some(&[1; 32]));
        let opened = keyed.open(HEADER.pid, open.as_str().as_bytes());
        assert_eq!(opened, Err(Unreadable::Forged));
    }

    #[test]
    fn no_byte_of_a_message_can_be_changed() {
        let seal = seal(Some(&[1; 32]));
        let payload = seal.seal(HEADER, &Message::Barrier);
        let payload = payload.as_str().as_bytes();
        for at in 0..payload.len() {
            let mut changed = payload.to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(seal.open(HEADER.pid, &changed).is_err(), "{at}");
        }
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        let seal = seal(None);
        assert_eq!(seal.open(1, b"2 whatever"), Err(Unreadable::Version));
        for nonsense in [&b""[..], b"hello", b" ", b"x 1", b"1 !", b"1 AAAA", b"1"] {
            let opened = seal.open(1, nonsense);
            assert_eq!(opened, Err(Unreadable::Malformed), "{nonsense:?}");
        }
    }

    #[test]
    fn a_short_key_is_none() {
        assert!(GroupKey::new(&[0; GroupKey::BYTES_MIN - 1]).is_none());
        assert!(GroupKey::new(&[0; GroupKey::BYTES_MIN]).is_some());
    }

    #[test]
    fn the_fullest_message_fits() {
        let seal = seal(Some(&[1; 32]));
        let name = Channel::new(&"x".repeat(Channel::BYTES_MAX)).unwrap();
        let entries = ENTRIES_BYTES_MAX / super::super::encoding::channel_bytes_max(&name);
        let header = Header {
            counter: u64::MAX,
            ..HEADER
        };
        let message = Message::Left {
            channels: vec![name; entries],
        };
        assert!(seal.seal(header, &message).as_str().len() <= TEXT_BYTES_MAX);
    }
}
