//! Where one backend message ends and the next begins (PostgreSQL, "Message Formats").
//!
//! Owns the bytes received and not yet used up, bounded by the longest message allowed. Knows the
//! bodies of none but NotificationResponse, which has to survive bytes that are not UTF-8.

use std::ops::Range;

use super::{error::ProtocolError, text::text_until_nul};

/// Splits the backend's bytes into messages, without copying them out.
///
/// Call order: [`push`](Self::push), then [`next`](Self::next) until it says `None`. After an
/// error every further `next` says the same error.
#[derive(Debug, Default)]
pub struct Codec {
    /// What was received; the used-up part in front is cut off when it outgrows the rest.
    inbox: Vec<u8>,
    /// How many bytes of `inbox` are used up; never more than there are.
    used: usize,
}

/// One complete message, its length checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawMessage<'a> {
    /// The byte that names its type.
    pub tag: u8,
    /// What follows the length.
    pub body: &'a [u8],
}

/// A message found in the inbox; good until the next `push` or `split`.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) tag: u8,
    pub(super) body: Range<usize>,
}

/// The longest message taken, in bytes, counted as the protocol does: the length field with the
/// body. A notification needs 8 KiB; the rest is room for what an extension may say in a notice.
pub const BACKEND_MESSAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;

impl Codec {
    /// Takes bytes as they came.
    pub fn push(&mut self, input: &[u8]) {
        self.cut();
        self.inbox.extend_from_slice(input);
    }

    /// The next complete message; `None` if more bytes are needed.
    #[expect(
        clippy::should_implement_trait,
        reason = "the message borrows from the codec"
    )]
    pub fn next(&mut self) -> Result<Option<RawMessage<'_>>, ProtocolError> {
        let span = self.split()?;
        Ok(span.map(|Span { tag, body }| RawMessage {
            tag,
            body: self.bytes(body),
        }))
    }

    /// Like [`next`](Self::next), for a caller who has to look before he can decide to borrow.
    ///
    /// The length is judged before anything waits for it or makes room for it.
    pub(super) fn split(&mut self) -> Result<Option<Span>, ProtocolError> {
        let Some(&[tag, a, b, c, d]) = self.inbox[self.used..].first_chunk() else {
            self.cut();
            return Ok(None);
        };
        let bytes = u32::from_be_bytes([a, b, c, d]);
        if !(LENGTH_BYTES..=BACKEND_MESSAGE_BYTES_MAX).contains(&bytes) {
            return Err(ProtocolError::Length { tag, bytes });
        }
        let bytes = usize::try_from(bytes).expect("16 MiB fit in memory");
        let end = self.used + 1 + bytes;
        if end > self.inbox.len() {
            self.cut();
            return Ok(None);
        }
        let body = self.used + HEADER_BYTES..end;
        self.used = end;
        Ok(Some(Span { tag, body }))
    }

    /// What is not used up yet, however it is cut.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.inbox[self.used..]
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.inbox[range]
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Drops what is used up once it outweighs what has to be moved (so each byte moves at most
    /// once on average), and gives back the memory of a big message.
    fn cut(&mut self) {
        let waiting = self.inbox.len() - self.used;
        if self.used < waiting {
            return;
        }
        self.inbox.drain(..self.used);
        self.used = 0;
        if self.inbox.capacity() > INBOX_BYTES_KEPT && waiting <= INBOX_BYTES_KEPT / 4 {
            self.inbox.shrink_to(INBOX_BYTES_KEPT);
        }
    }
}

/// What the body of a NotificationResponse says, in raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawNotification<'a> {
    /// The server's process that notified.
    pub process_id: u32,
    /// The channel.
    pub channel: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Takes the body of a NotificationResponse apart.
///
/// By hand, because postgres-protocol lends them as `&str` only and a SQL_ASCII database sends
/// whatever it was given.
pub fn split_notification(body: &[u8]) -> Option<RawNotification<'_>> {
    let (process_id, body) = body.split_first_chunk()?;
    let (channel, body) = text_until_nul(body)?;
    let (payload, rest) = text_until_nul(body)?;
    rest.is_empty().then_some(RawNotification {
        process_id: u32::from_be_bytes(*process_id),
        channel,
        payload,
    })
}

/// The values in the body of a DataRow, empty where they are null.
pub(super) fn columns(body: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = body.split_first_chunk()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (bytes, behind) = rest.split_first_chunk()?;
        // Null is -1.
        let bytes = usize::try_from(i32::from_be_bytes(*bytes)).unwrap_or(0);
        let (column, behind) = behind.split_at_checked(bytes)?;
        columns.push(column);
        rest = behind;
    }
    rest.is_empty().then_some(columns)
}

/// The length counts itself.
const LENGTH_BYTES: u32 = 4;

/// Tag and length.
const HEADER_BYTES: usize = 5;

/// The memory an inbox may keep: some reads of 64 KiB, so that a busy session never reallocates.
const INBOX_BYTES_KEPT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let bytes = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &bytes.to_be_bytes(), body].concat()
    }

    #[test]
    fn a_row_is_taken_apart_or_refused() {
        for (body, expected) in [
            (&b"\0\0"[..], Some(&[][..])),
            (b"\0\x01\0\0\0\x02on", Some(&[&b"on"[..]])),
            (b"\0\x02\xff\xff\xff\xff\0\0\0\0", Some(&[b"", b""])),
            (b"", None),
            (b"\0\x01\0\0\0\x03on", None),
            (b"\0\x02\0\0\0\x02on", None),
            (b"\0\x01\0\0\0\x01on", None),
            (b"\xff\xff\x7f\xff\xff\xff", None),
        ] {
            assert_eq!(columns(body).as_deref(), expected, "{body:?}");
        }
    }

    #[test]
    fn messages_come_out_whole_for_any_chunking() {
        let sent: Vec<(u8, Vec<u8>)> = (0..40)
            .map(|size| (b'a' + size % 26, vec![size; usize::from(size) * 7]))
            .collect();
        let stream: Vec<u8> = sent
            .iter()
            .flat_map(|(tag, body)| message(*tag, body))
            .collect();
        for chunk in (1..300).chain([stream.len()]) {
            let mut codec = Codec::default();
            let mut seen = Vec::new();
            for input in stream.chunks(chunk) {
                codec.push(input);
                while let Some(RawMessage { tag, body }) = codec.next().unwrap() {
                    seen.push((tag, body.to_vec()));
                }
                assert!(
                    codec.inbox.len() < 2 * (300 + chunk),
                    "used-up bytes do not pile up"
                );
            }
            assert_eq!(seen, sent);
        }
    }

    #[test]
    fn lengths_are_judged_at_five_bytes() {
        for (bytes, allowed) in [
            (0, false),
            (3, false),
            (4, true),
            (BACKEND_MESSAGE_BYTES_MAX - 1, true),
            (BACKEND_MESSAGE_BYTES_MAX, true),
            (BACKEND_MESSAGE_BYTES_MAX + 1, false),
            (1 << 30, false),
            (u32::MAX, false),
        ] {
            let mut codec = Codec::default();
            codec.push(b"D");
            codec.push(&bytes.to_be_bytes());
            let expected = Err(ProtocolError::Length { tag: b'D', bytes });
            for _ in 0..2 {
                assert_eq!(codec.next().is_ok(), allowed, "{bytes}");
                assert!(allowed || codec.next() == expected);
            }
            assert!(codec.inbox.capacity() < 64, "nothing is reserved ahead");
        }
    }

    #[test]
    fn the_memory_of_a_big_message_is_given_back() {
        let mut codec = Codec::default();
        codec.push(&message(b'D', &vec![0; 8 << 20]));
        assert_eq!(codec.next().unwrap().unwrap().body.len(), 8 << 20);
        assert_eq!(codec.next(), Ok(None));
        assert!(codec.inbox.capacity() <= INBOX_BYTES_KEPT);
    }

    #[test]
    fn a_notification_may_hold_any_bytes_but_nul() {
        let split = |body| {
            let raw = split_notification(body)?;
            Some((raw.process_id, raw.channel, raw.payload))
        };
        assert_eq!(
            split(&b"\0\0\0\x07c\0p\0"[..]),
            Some((7, &b"c"[..], &b"p"[..]))
        );
        assert_eq!(
            split(b"\0\x01\0\0c\xff\0\0"),
            Some((65_536, &b"c\xff"[..], &b""[..]))
        );
        for body in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\x07",
            b"\0\0\0\x07c\0p",
            b"\0\0\0\x07c\0p\0x",
        ] {
            assert_eq!(split(body), None, "{body:?}");
        }
    }
}
