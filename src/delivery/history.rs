//! The last notifications of each channel, for clients that come back.
//!
//! A ring of finished frames per channel, bounded in number per channel and in bytes over all: the
//! oldest of all goes first. A frame is copied here once per notification, never per client. Knows
//! no client and no epoch: the owner clears a ring when the channel's numbers begin anew.

use std::collections::VecDeque;

use crate::channel::ChannelKey;

/// The rings of all channels.
#[derive(Debug)]
pub struct History {
    /// Frames kept per channel; 0 keeps none.
    frames_max: usize,
    /// Bytes kept over all channels.
    bytes_max: usize,
    /// By channel; grown on first use.
    rings: Vec<VecDeque<Entry>>,
    /// Every kept frame by age, and some that are dropped: see [`Self::forget_gone`].
    ages: VecDeque<(u64, ChannelKey)>,
    /// Counts the frames ever kept.
    age: u64,
    frames: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    age: u64,
    frame: Box<[u8]>,
}

impl History {
    /// Keeps `frames_max` frames a channel, and `bytes_max` bytes in all.
    pub fn new(frames_max: usize, bytes_max: usize) -> Self {
        Self {
            frames_max,
            bytes_max,
            rings: Vec::new(),
            ages: VecDeque::new(),
            age: 0,
            frames: 0,
            bytes: 0,
        }
    }

    /// Whether frames are kept at all.
    pub fn is_on(&self) -> bool {
        self.frames_max > 0 && self.bytes_max > 0
    }

    /// Bytes of the frames kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the frame of notification `seq`, the next one of its channel.
    pub fn push(&mut self, key: ChannelKey, seq: u64, frame: &[u8]) {
        if !self.is_on() || frame.len() > self.bytes_max {
            // A frame that cannot be kept leaves a hole: the frames before it are useless.
            self.clear(key);
            return;
        }
        if self.rings.len() <= key.index() {
            self.rings.resize_with(key.index() + 1, VecDeque::new);
        }
        debug_assert!(
            self.rings[key.index()]
                .back()
                .is_none_or(|last| last.seq + 1 == seq)
        );
        self.age += 1;
        let age = self.age;
        self.frames += 1;
        self.bytes += frame.len();
        self.rings[key.index()].push_back(Entry {
            seq,
            age,
            frame: frame.into(),
        });
        self.ages.push_back((age, key));
        if self.rings[key.index()].len() > self.frames_max {
            self.drop_oldest(key);
        }
        while self.bytes > self.bytes_max {
            let Some((age, key)) = self.ages.pop_front() else {
                break;
            };
            if self.is_oldest_of(key, age) {
                self.drop_oldest(key);
            }
        }
        self.forget_gone();
    }

    /// The frames behind `seq`, if none of them is missing; `current` is the channel's last number.
    pub fn since(
        &self,
        key: ChannelKey,
        seq: u64,
        current: u64,
    ) -> Option<impl Iterator<Item = &[u8]>> {
        let missing = usize::try_from(current.checked_sub(seq)?).ok()?;
        let ring = self.rings.get(key.index());
        let kept = ring.map_or(0, VecDeque::len);
        let first = kept.checked_sub(missing)?;
        Some(
            ring.into_iter()
                .flat_map(move |ring| ring.range(first..))
                .map(|it| &*it.frame),
        )
    }

    /// Drops the channel's ring.
    pub fn clear(&mut self, key: ChannelKey) {
        let Some(ring) = self.rings.get_mut(key.index()) else {
            return;
        };
        self.frames -= ring.len();
        self.bytes -= ring.iter().map(|entry| entry.frame.len()).sum::<usize>();
        *ring = VecDeque::new();
        self.forget_gone();
    }

    fn drop_oldest(&mut self, key: ChannelKey) {
        if let Some(entry) = self.rings[key.index()].pop_front() {
            self.frames -= 1;
            self.bytes -= entry.frame.len();
        }
    }

    fn is_oldest_of(&self, key: ChannelKey, age: u64) -> bool {
        self.rings[key.index()]
            .front()
            .is_some_and(|entry| entry.age == age)
    }

    /// A ring that is full or cleared drops frames without a search in `ages`. Once more than half
    /// of the entries there are stale, they are removed: a constant cost per frame.
    fn forget_gone(&mut self) {
        if self.ages.len() > 2 * self.frames + AGES_SLACK {
            let rings = &self.rings;
            self.ages.retain(|&(age, key)| {
                rings[key.index()]
                    .front()
                    .is_some_and(|oldest| oldest.age <= age)
            });
        }
    }

    /// The counts are those of the rings, and the numbers of each ring have no hole.
    pub fn check_invariants(&self) {
        let entries = self.rings.iter().flatten();
        assert_eq!(self.frames, entries.clone().count());
        assert_eq!(
            self.bytes,
            entries.map(|entry| entry.frame.len()).sum::<usize>()
        );
        assert!(self.bytes <= self.bytes_max);
        for ring in &self.rings {
            assert!(ring.len() <= self.frames_max);
            let seqs: Vec<_> = ring.iter().map(|entry| entry.seq).collect();
            assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        }
        assert!(self.ages.len() <= 2 * self.frames + AGES_SLACK + 1);
    }
}

/// Fewer stale ages than this are not worth a walk.
const AGES_SLACK: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const B: ChannelKey = ChannelKey(5);

    fn since(history: &History, key: ChannelKey, seq: u64, current: u64) -> Option<String> {
        let frames = history.since(key, seq, current)?;
        Some(
            frames
                .map(|frame| String::from_utf8_lossy(frame).into_owned())
                .collect(),
        )
    }

    #[test]
    fn a_client_gets_every_frame_behind_its_position_or_none() {
        let mut history = History::new(3, 1_000);
        for (seq, frame) in (1..=5).zip(["1", "2", "3", "4", "5"]) {
            history.push(A, seq, frame.as_bytes());
            history.check_invariants();
        }
        assert_eq!(since(&history, A, 5, 5).as_deref(), Some(""));
        assert_eq!(since(&history, A, 4, 5).as_deref(), Some("5"));
        assert_eq!(
            since(&history, A, 2, 5).as_deref(),
            Some("345"),
            "the ring holds it just so"
        );
        assert_eq!(since(&history, A, 1, 5), None, "2 is gone");
        assert_eq!(since(&history, A, 6, 5), None, "from the future");
        assert_eq!(since(&history, B, 0, 0).as_deref(), Some(""));
        assert_eq!(since(&history, B, 0, 1), None);
    }

    #[test]
    fn the_oldest_of_all_goes_first() {
        let mut history = History::new(10, 4);
        for (key, seq) in [(A, 1), (B, 1), (A, 2), (B, 2)] {
            history.push(key, seq, b"x");
        }
        history.push(B, 3, b"x");
        assert_eq!(since(&history, A, 0, 2), None);
        assert_eq!(since(&history, A, 1, 2).as_deref(), Some("x"));
        history.push(B, 4, b"xxxx");
        assert_eq!(since(&history, B, 3, 4).as_deref(), Some("xxxx"));
        assert_eq!(since(&history, A, 1, 2), None);
        history.push(B, 5, b"xxxxx");
        assert_eq!(
            history.bytes(),
            0,
            "too large to keep, and the frames before it are useless"
        );
        history.check_invariants();
    }

    #[test]
    fn a_busy_channel_beside_a_quiet_one_leaves_no_trail() {
        let mut history = History::new(2, 1_000_000);
        history.push(B, 1, b"quiet");
        for seq in 1..=10_000 {
            history.push(A, seq, b"busy");
        }
        history.check_invariants();
        assert_eq!(since(&history, B, 0, 1).as_deref(), Some("quiet"));
        history.clear(B);
        history.clear(A);
        history.check_invariants();
        assert_eq!(history.bytes(), 0);
    }

    #[test]
    fn a_history_that_is_off_keeps_nothing() {
        for (frames_max, bytes_max) in [(0, 100), (100, 0)] {
            let mut history = History::new(frames_max, bytes_max);
            history.push(A, 1, b"x");
            assert!(!history.is_on());
            assert_eq!((since(&history, A, 0, 1), history.bytes()), (None, 0));
        }
    }
}
