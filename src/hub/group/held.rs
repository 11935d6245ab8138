//! Notifications that are delivered late: they came while their channel was held back, or a peer filled
//! them in.
//!
//! Does not know what they wait for.

use std::collections::VecDeque;

use crate::channel::ChannelKey;

/// All of them, in the order in which they are delivered.
#[derive(Debug, Default)]
pub(super) struct Held {
    queue: VecDeque<Replayed>,
    /// Of those in the queue.
    bytes: usize,
}

/// A notification that is delivered late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Replayed {
    pub(in crate::hub) key: ChannelKey,
    /// As PostgreSQL sent it, or as a peer kept it.
    pub(in crate::hub) payload: Vec<u8>,
    /// A peer kept it, having replaced bytes in it.
    pub(in crate::hub) is_lossy: bool,
}

impl Held {
    /// A notification came.
    pub(super) fn push(&mut self, key: ChannelKey, payload: &[u8]) {
        let replayed = Replayed {
            key,
            payload: payload.to_vec(),
            is_lossy: false,
        };
        self.bytes += replayed.bytes();
        self.queue.push_back(replayed);
    }

    /// These came before all others.
    pub(super) fn prepend(&mut self, before: impl Iterator<Item = Replayed>) {
        let behind = std::mem::take(&mut self.queue);
        self.queue = before.collect();
        self.bytes += self.queue.iter().map(Replayed::bytes).sum::<usize>();
        self.queue.extend(behind);
    }

    /// The first one.
    pub(super) fn pop(&mut self) -> Option<Replayed> {
        let replayed = self.queue.pop_front()?;
        self.bytes -= replayed.bytes();
        Some(replayed)
    }

    /// The channel is known no longer.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        self.queue.retain(|replayed| replayed.key != key);
        self.bytes = self.queue.iter().map(Replayed::bytes).sum();
    }

    /// None is delivered.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What they cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether they cost more than they may.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > HELD_BYTES_MAX
    }
}

impl Replayed {
    /// What it costs while it is kept.
    pub(in crate::hub) fn bytes(&self) -> usize {
        self.payload.len() + REPLAYED_BYTES
    }
}

/// Notifications held back while peers are asked.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a notification costs beside its payload.
const REPLAYED_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const B: ChannelKey = ChannelKey(1);

    #[test]
    fn what_was_filled_in_comes_first_and_a_channel_that_is_gone_not_at_all() {
        let mut held = Held::default();
        held.push(A, b"2");
        held.push(B, b"3");
        held.prepend(
            [Replayed {
                key: A,
                payload: b"1".to_vec(),
                is_lossy: true,
            }]
            .into_iter(),
        );
        held.forget(B);
        let payloads: Vec<_> = std::iter::from_fn(|| held.pop())
            .map(|it| it.payload)
            .collect();
        assert_eq!(payloads, [b"1", b"2"]);
        assert!(held.is_empty() && held.bytes == 0);
    }

    #[test]
    fn so_many_bytes_are_held_and_no_more() {
        let mut held = Held::default();
        let payload = vec![0; HELD_BYTES_MAX / 2 - REPLAYED_BYTES];
        held.push(A, &payload);
        held.push(A, &payload);
        assert!(!held.is_over());
        held.push(A, b"");
        assert!(held.is_over());
        held.clear();
        assert!(!held.is_over() && held.is_empty());
    }
}
