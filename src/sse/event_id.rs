//! The id of an event: one position in the order in which PostgreSQL committed.
//!
//! The epoch and the number of a notification on its channel name its place in the order of all
//! channels. An event that is no notification lies behind one, and may say how far: the place itself
//! stands behind the number, and means something to the bridge that gave the epoch its name. Refuses
//! to know which epochs there are.

use std::io::Write as _;

/// A position, as it is written in an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId<'a> {
    /// The name of an unbroken stretch of one channel's notifications.
    pub epoch: &'a str,
    /// The number of the last notification of that channel before the position.
    pub seq: u64,
    /// The place in the order of all channels, where the position is behind that notification.
    pub place: Option<u64>,
}

impl<'a> EventId<'a> {
    /// Reads an id; `None` if it cannot be one of ours.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let epoch = parts.next()?;
        let is_epoch = (1..=EPOCH_BYTES_MAX).contains(&epoch.len())
            && epoch.bytes().all(|it| it.is_ascii_alphanumeric());
        let seq = number(parts.next()?)?;
        let place = match parts.next() {
            Some(place) => Some(number(place)?),
            None => None,
        };
        (is_epoch && parts.next().is_none()).then_some(Self { epoch, seq, place })
    }

    /// Appends the id.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let Self { epoch, seq, place } = self;
        let written = match place {
            Some(place) => write!(out, "{epoch}:{seq}:{place}"),
            None => write!(out, "{epoch}:{seq}"),
        };
        written.expect("a Vec takes every write");
    }
}

/// Digits alone: what `parse` takes besides, no id of ours has.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The longest epoch.
const EPOCH_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for (text, expected) in [
            ("5eed1:42", Some(("5eed1", 42, None))),
            ("5eed1:0:7", Some(("5eed1", 0, Some(7)))),
            ("5eed1", None),
            ("5eed1:", None),
            (":1", None),
            ("5eed1:-1", None),
            ("5eed1:+1", None),
            ("5eed1:1:", None),
            ("5eed1:1:2:3", None),
            ("5 eed:1", None),
            ("5eed1:18446744073709551616", None),
            ("", None),
        ] {
            let id = EventId::parse(text);
            let parts = id.map(|id| (id.epoch, id.seq, id.place));
            assert_eq!(parts, expected, "{text}");
            if let Some(id) = id {
                let mut out = Vec::new();
                id.append_to(&mut out);
                assert_eq!(out, text.as_bytes());
            }
        }
        let longest = format!("{}:1", "a".repeat(64));
        assert!(EventId::parse(&longest).is_some());
        assert!(EventId::parse(&format!("a{longest}")).is_none());
    }
}
