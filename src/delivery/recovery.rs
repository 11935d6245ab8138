//! Kept notifications on their way to clients that come back, encoded frames as live ones are: held
//! once, however many clients get them.
//!
//! Each channel has its own batches, in which a frame is marked with its place in the order of all
//! channels. They are kept for a moment, because a crowd that lost its network comes back at once.
//! Knows no client and no encoding.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use super::{
    batch::{BatchId, Batches, Span},
    history::{History, Kept},
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

/// What is kept of a channel behind one place, up to another.
#[derive(Debug)]
struct Recovery {
    before: u64,
    last: u64,
    batches: Vec<BatchId>,
    used_at: Tick,
}

/// Frames of one channel on their way to a client: those of the batches behind a place. They stay
/// where they are until the end of the turn at least.
#[derive(Debug, Default)]
pub struct Recovered {
    batches: Vec<BatchId>,
    before: u64,
    bytes: usize,
}

impl Recovered {
    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Recoveries {
    /// What is kept of the channel behind the place; `None` if something of it is missing. `frame`
    /// appends the frame of a notification, given its number and its text.
    pub(super) fn provide(
        &mut self,
        key: ChannelKey,
        place: u64,
        history: &History,
        batches: &mut Batches,
        now: Tick,
        frame: impl Fn(u64, &[u8], &mut Vec<u8>),
    ) -> Option<Recovered> {
        let (before, missed) = history.after(key, place)?;
        if missed.count() == 0 {
            return Some(Recovered {
                batches: Vec::new(),
                before,
                bytes: 0,
            });
        }
        let recovery = self.by_channel.entry(key).or_insert_with(|| Recovery {
            before,
            last: before,
            batches: Vec::new(),
            used_at: now,
        });
        recovery.used_at = now;
        if before < recovery.before || recovery.last < before {
            recovery.release(batches);
            recovery.before = before;
            recovery.last = before;
        }
        let mut bytes = Vec::new();
        for Kept { seq, place, text } in history.after(key, recovery.last)?.1 {
            bytes.clear();
            frame(seq, text, &mut bytes);
            recovery.last = place;
            match recovery.batches.last() {
                Some(&last) if batches.has_room(last, &bytes) => {
                    batches.append(last, place, &bytes);
                }
                _ => recovery.batches.push(batches.open(place, &bytes)),
            }
        }
        let wanted = recovery.batches.iter().copied();
        let wanted = wanted.filter(|&batch| batches.last_sequence(batch) > before);
        let spans = wanted
            .clone()
            .filter_map(|batch| batches.span_between(batch, before, u64::MAX));
        Some(Recovered {
            bytes: spans.map(|(span, _)| span.bytes()).sum(),
            batches: wanted.collect(),
            before,
        })
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

/// What was recovered of several channels as ranges, in the order of their places.
pub(super) fn merge(channels: &[Recovered], batches: &Batches) -> Vec<Span> {
    // The place of the next frame, its channel, and the position of its batch there.
    let next_of = |channel: usize, at: usize, seen: u64| {
        let batches_of = channels[channel].batches.iter().enumerate().skip(at);
        let mut places = batches_of
            .filter_map(|(at, &batch)| Some((batches.first_after(batch, seen)?, channel, at)));
        places.next().map(Reverse)
    };
    let mut next: BinaryHeap<_> = (0..channels.len())
        .filter_map(|channel| next_of(channel, 0, channels[channel].before))
        .collect();
    let mut spans: Vec<Span> = Vec::new();
    while let Some(Reverse((place, channel, at))) = next.pop() {
        let bound = next.peek().map_or(u64::MAX, |&Reverse((other, ..))| other);
        let batch = channels[channel].batches[at];
        let Some((span, last)) = batches.span_between(batch, place - 1, bound) else {
            debug_assert!(false, "the frame at its place is there");
            continue;
        };
        spans.push(span);
        next.extend(next_of(channel, at, last));
    }
    spans
}

/// From the last client that came back to the channel.
const KEPT_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(3);
    const B: ChannelKey = ChannelKey(4);

    fn text(missed: &[Recovered], batches: &Batches) -> String {
        let spans = merge(missed, batches);
        let bytes = spans.iter().flat_map(|&span| batches.bytes(span));
        String::from_utf8(bytes.copied().collect()).unwrap()
    }

    fn plain(_: u64, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
    }

    #[test]
    fn a_second_recovery_of_a_channel_frames_only_what_came_since() {
        let (mut history, mut batches) = (History::new(64, 10_000), Batches::default());
        let mut recoveries = Recoveries::default();
        for seq in 1..=5 {
            history.push(A, seq, seq, seq.to_string().as_bytes());
        }
        let ask = |recoveries: &mut Recoveries, history: &History, batches: &mut Batches, place| {
            let missed = recoveries.provide(A, place, history, batches, 0, plain)?;
            let found = text(&[missed], batches);
            Some(found)
        };
        for (place, expected) in [(3, "45"), (4, "5"), (5, ""), (1, "2345"), (2, "345")] {
            let found = ask(&mut recoveries, &history, &mut batches, place);
            assert_eq!(found.as_deref(), Some(expected), "{place}");
            assert_eq!(batches.count(), 1);
        }
        history.push(A, 6, 6, b"6");
        let found = ask(&mut recoveries, &history, &mut batches, 4);
        assert_eq!(found.as_deref(), Some("56"));
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
            history.push(A, seq, seq, &[b'x'; 2_000]);
        }
        let missed = recoveries
            .provide(A, 0, &history, &mut batches, 0, plain)
            .unwrap();
        assert!(missed.batches.len() > 1);
        assert_eq!(missed.bytes(), 200_000);
        assert_eq!(text(&[missed], &batches).len(), 200_000);
        recoveries.clear(&mut batches);
        assert_eq!(batches.count(), 0);
    }

    #[test]
    fn what_was_missed_of_several_channels_comes_in_the_order_of_all() {
        let (mut history, mut batches) = (History::new(64, 10_000), Batches::default());
        let mut recoveries = Recoveries::default();
        let mut seqs = [0, 0];
        for (place, channel) in (1..).zip([0, 1, 1, 0, 0, 0, 1, 0, 1, 1]) {
            seqs[channel] += 1;
            history.push(
                [A, B][channel],
                seqs[channel],
                place,
                place.to_string().as_bytes(),
            );
        }
        for (place, expected) in [(0, "12345678910"), (3, "45678910"), (6, "78910"), (10, "")] {
            let missed = [A, B].map(|key| {
                let missed = recoveries.provide(key, place, &history, &mut batches, 0, plain);
                missed.unwrap()
            });
            assert_eq!(text(&missed, &batches), expected, "{place}");
        }
        recoveries.clear(&mut batches);
    }
}
