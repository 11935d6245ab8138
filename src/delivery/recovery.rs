//! Frames of the history on their way to clients that come back, encoded frames as live ones are:
//! held once, however many clients get them.
//!
//! Each channel has its own batches, in which a frame is marked with the number of its notification.
//! They are kept for a moment, because a crowd that lost its network comes back at once. Knows no
//! client.

use std::{collections::HashMap, time::Duration};

use super::{
    batch::{BatchId, Batches, Span},
    history::History,
};
use crate::{
    channel::ChannelKey,
    id::{Tick, elapsed},
};

/// The batches of all channels that somebody came back to.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    by_channel: HashMap<ChannelKey, Recovery>,
}

/// The notifications `first..=last` of a channel.
#[derive(Debug)]
struct Recovery {
    first: u64,
    last: u64,
    batches: Vec<BatchId>,
    used_at: Tick,
}

/// Frames of the history on their way to a client.
#[derive(Debug)]
pub struct Recovered(pub(super) Vec<Span>);

impl Recovered {
    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|span| span.bytes()).sum()
    }
}

impl Recoveries {
    /// The frames behind notification `seq` of the channel, up to `current`, its last; `None` if one
    /// of them is missing.
    pub(super) fn provide(
        &mut self,
        key: ChannelKey,
        seq: u64,
        current: u64,
        history: &History,
        batches: &mut Batches,
        now: Tick,
    ) -> Option<Recovered> {
        let _missed = history.since(key, seq, current)?;
        if seq == current {
            return Some(Recovered(Vec::new()));
        }
        let recovery = self.by_channel.entry(key).or_insert_with(|| Recovery {
            first: seq + 1,
            last: seq,
            batches: Vec::new(),
            used_at: now,
        });
        recovery.used_at = now;
        if seq + 1 < recovery.first || recovery.last < seq {
            recovery.release(batches);
            recovery.first = seq + 1;
            recovery.last = seq;
        }
        for frame in history.since(key, recovery.last, current)? {
            recovery.last += 1;
            match recovery.batches.last() {
                Some(&last) if batches.has_room(last, frame) => {
                    batches.append(last, recovery.last, frame);
                }
                _ => recovery.batches.push(batches.open(recovery.last, frame)),
            }
        }
        let spans = recovery.batches.iter();
        let spans = spans.filter_map(|&batch| batches.span_between(batch, seq, u64::MAX));
        Some(Recovered(spans.map(|(span, _)| span).collect()))
    }

    /// Lets go of what was not asked for in the last moment.
    pub(super) fn expire(&mut self, now: Tick, batches: &mut Batches) {
        self.by_channel.retain(|_, recovery| {
            let is_kept = elapsed(recovery.used_at, now) < KEPT_FOR;
            if !is_kept {
                recovery.release(batches);
            }
            is_kept
        });
    }

    /// The channel's notifications are counted anew.
    pub(super) fn forget(&mut self, key: ChannelKey, batches: &mut Batches) {
        if let Some(mut recovery) = self.by_channel.remove(&key) {
            recovery.release(batches);
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self, batches: &mut Batches) {
        for (_, mut recovery) in self.by_channel.drain() {
            recovery.release(batches);
        }
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }
}

impl Recovery {
    fn release(&mut self, batches: &mut Batches) {
        for batch in self.batches.drain(..) {
            batches.release(batch);
        }
    }
}

/// From the last client that came back to the channel.
const KEPT_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(3);

    fn text(missed: &Recovered, batches: &Batches) -> String {
        let bytes = missed.0.iter().flat_map(|&span| batches.bytes(span));
        String::from_utf8(bytes.copied().collect()).unwrap()
    }

    #[test]
    fn a_second_recovery_of_a_channel_copies_only_what_came_since() {
        let (mut history, mut batches) = (History::new(64, 10_000), Batches::default());
        let mut recoveries = Recoveries::default();
        for seq in 1..=5 {
            history.push(A, seq, seq.to_string().as_bytes());
        }
        let ask =
            |recoveries: &mut Recoveries, history: &History, batches: &mut Batches, seq, last| {
                let spans = recoveries.provide(A, seq, last, history, batches, 0)?;
                Some(text(&spans, batches))
            };
        for (seq, expected) in [(3, "45"), (4, "5"), (5, ""), (1, "2345"), (2, "345")] {
            let found = ask(&mut recoveries, &history, &mut batches, seq, 5);
            assert_eq!(found.as_deref(), Some(expected), "{seq}");
            assert_eq!(batches.count(), 1);
        }
        history.push(A, 6, b"6");
        let found = ask(&mut recoveries, &history, &mut batches, 4, 6);
        assert_eq!(found.as_deref(), Some("56"));
        assert_eq!(ask(&mut recoveries, &history, &mut batches, 7, 6), None);
        assert_eq!(batches.count(), 1);
        recoveries.expire(999, &mut batches);
        assert!(!recoveries.is_empty());
        recoveries.expire(1_000, &mut batches);
        assert!(recoveries.is_empty());
        assert_eq!(batches.count(), 0);
    }

    #[test]
    fn what_fills_a_batch_goes_on_in_another() {
        let (mut history, mut batches) = (History::new(100, 1_000_000), Batches::default());
        let mut recoveries = Recoveries::default();
        for seq in 1..=100 {
            history.push(A, seq, &[b'x'; 2_000]);
        }
        let missed = recoveries
            .provide(A, 0, 100, &history, &mut batches, 0)
            .unwrap();
        assert!(missed.0.len() > 1);
        assert_eq!(missed.bytes(), 200_000);
        recoveries.clear(&mut batches);
        assert_eq!(batches.count(), 0);
    }
}
