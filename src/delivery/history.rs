//! The last notifications of each channel, for clients that come back.
//!
//! A ring of texts per channel, bounded in number per channel and in bytes over all: the oldest of
//! all goes first. A text is copied here once per notification, never per client, and framed when
//! somebody comes back for it. Knows no client and no epoch: the owner clears a ring when the channel's
//! numbers begin anew.

use std::collections::VecDeque;

use crate::channel::ChannelKey;

/// The rings of all channels.
#[derive(Debug)]
pub struct History {
    /// Texts kept per channel; 0 keeps none.
    frames_max: usize,
    /// Bytes kept over all channels.
    bytes_max: usize,
    /// By channel; grown on first use.
    rings: Vec<Ring>,
    /// Every kept text by its place, and some that are dropped: see [`Self::forget_gone`].
    places: VecDeque<(u64, ChannelKey)>,
    frames: usize,
    bytes: usize,
}

/// The last notifications of one channel.
#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// The place of the last one that went; 0 if none did.
    gone: u64,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    /// In the order of all channels.
    place: u64,
    text: Box<[u8]>,
}

/// A notification that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Its number in its channel's epoch.
    pub seq: u64,
    /// Its place in the order of all channels.
    pub place: u64,
    /// What was kept of it.
    pub text: &'a [u8],
}

impl History {
    /// Keeps `frames_max` texts a channel, and `bytes_max` bytes in all.
    pub fn new(frames_max: usize, bytes_max: usize) -> Self {
        Self {
            frames_max,
            bytes_max,
            rings: Vec::new(),
            places: VecDeque::new(),
            frames: 0,
            bytes: 0,
        }
    }

    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.frames_max > 0 && self.bytes_max > 0
    }

    /// Bytes of the texts kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the text of notification `seq`, the next one of its channel; `place` is larger than that of
    /// any before, of whatever channel.
    pub fn push(&mut self, key: ChannelKey, seq: u64, place: u64, text: &[u8]) {
        if !self.is_on() {
            return;
        }
        if self.rings.len() <= key.index() {
            self.rings.resize_with(key.index() + 1, Ring::default);
        }
        if text.len() > self.bytes_max {
            // A text that cannot be kept leaves a hole: those before it are useless.
            self.clear(key);
            self.rings[key.index()].gone = place;
            return;
        }
        self.frames += 1;
        self.bytes += text.len();
        let entries = &mut self.rings[key.index()].entries;
        debug_assert!(
            entries
                .back()
                .is_none_or(|last| last.seq + 1 == seq && last.place < place)
        );
        entries.push_back(Entry {
            seq,
            place,
            text: text.into(),
        });
        let is_full = entries.len() > self.frames_max;
        self.places.push_back((place, key));
        if is_full {
            self.drop_oldest(key);
        }
        while self.bytes > self.bytes_max {
            let Some((place, key)) = self.places.pop_front() else {
                break;
            };
            if self.is_oldest_of(key, place) {
                self.drop_oldest(key);
            }
        }
        self.forget_gone();
    }

    /// The first notification of the channel that is kept, from this number on.
    pub fn kept_from(&self, key: ChannelKey, seq: u64) -> Option<Kept<'_>> {
        let entries = &self.rings.get(key.index())?.entries;
        let first = entries.front()?.seq;
        let entry = entries.get(usize::try_from(seq.saturating_sub(first)).ok()?)?;
        Some(Kept {
            seq: entry.seq,
            place: entry.place,
            text: &entry.text,
        })
    }

    /// The place of notification `seq` of the channel, where that is kept or was the last to go.
    pub fn place_of(&self, key: ChannelKey, seq: u64) -> Option<u64> {
        let ring = self.rings.get(key.index())?;
        let first = ring.entries.front()?;
        if first.seq.checked_sub(1) == Some(seq) {
            return Some(ring.gone);
        }
        let at = usize::try_from(seq.checked_sub(first.seq)?).ok()?;
        ring.entries.get(at).map(|entry| entry.place)
    }

    /// The notifications of the channel behind that place, and the place of the one before them. `None`
    /// if one is missing.
    pub fn after(
        &self,
        key: ChannelKey,
        place: u64,
    ) -> Option<(u64, impl Iterator<Item = Kept<'_>>)> {
        let ring = self.rings.get(key.index());
        let gone = ring.map_or(0, |ring| ring.gone);
        if place < gone {
            return None;
        }
        let entries = ring.map(|ring| &ring.entries);
        let first = entries.map_or(0, |it| it.partition_point(|entry| entry.place <= place));
        let before = first
            .checked_sub(1)
            .and_then(|before| entries?.get(before))
            .map_or(gone, |entry| entry.place);
        let behind = entries.into_iter().flat_map(move |it| it.range(first..));
        let kept = behind.map(|it| Kept {
            seq: it.seq,
            place: it.place,
            text: &it.text,
        });
        Some((before, kept))
    }

    /// Drops the channel's ring.
    pub fn clear(&mut self, key: ChannelKey) {
        let Some(ring) = self.rings.get_mut(key.index()) else {
            return;
        };
        let Ring { entries, .. } = std::mem::take(ring);
        self.frames -= entries.len();
        self.bytes -= entries.iter().map(|entry| entry.text.len()).sum::<usize>();
        self.forget_gone();
    }

    fn drop_oldest(&mut self, key: ChannelKey) {
        let ring = &mut self.rings[key.index()];
        if let Some(entry) = ring.entries.pop_front() {
            ring.gone = entry.place;
            self.frames -= 1;
            self.bytes -= entry.text.len();
        }
    }

    fn is_oldest_of(&self, key: ChannelKey, place: u64) -> bool {
        let oldest = self.rings[key.index()].entries.front();
        oldest.is_some_and(|entry| entry.place == place)
    }

    /// A ring that is full or cleared drops texts without a search in `places`. Once more than half of
    /// the entries there are stale, they are removed: a constant cost per notification.
    fn forget_gone(&mut self) {
        if self.places.len() > 2 * self.frames + PLACES_SLACK {
            let rings = &self.rings;
            self.places.retain(|&(place, key)| {
                let oldest = rings[key.index()].entries.front();
                oldest.is_some_and(|oldest| oldest.place <= place)
            });
        }
    }

    /// The counts are those of the rings, and the numbers of each ring have no hole.
    pub fn check_invariants(&self) {
        let entries = self.rings.iter().flat_map(|ring| &ring.entries);
        assert_eq!(self.frames, entries.clone().count());
        assert_eq!(
            self.bytes,
            entries.map(|entry| entry.text.len()).sum::<usize>()
        );
        assert!(self.bytes <= self.bytes_max);
        for Ring { entries, gone } in &self.rings {
            assert!(entries.len() <= self.frames_max);
            let seqs: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
            assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            let places: Vec<_> = entries.iter().map(|entry| entry.place).collect();
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(places.first().is_none_or(|first| gone < first));
        }
        assert!(self.places.len() <= 2 * self.frames + PLACES_SLACK + 1);
    }
}

/// Fewer stale places than this are not worth a walk.
const PLACES_SLACK: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const B: ChannelKey = ChannelKey(5);

    /// The texts behind a place.
    fn after(history: &History, key: ChannelKey, place: u64) -> Option<String> {
        let (_, texts) = history.after(key, place)?;
        Some(
            texts
                .map(|it| String::from_utf8_lossy(it.text).into_owned())
                .collect(),
        )
    }

    #[test]
    fn a_client_gets_every_text_behind_its_place_or_none() {
        let mut history = History::new(3, 1_000);
        for (seq, text) in (1..=5).zip(["1", "2", "3", "4", "5"]) {
            history.push(A, seq, 10 * seq, text.as_bytes());
            history.check_invariants();
        }
        for (place, expected) in [
            (51, Some("")),
            (50, Some("")),
            (49, Some("5")),
            (40, Some("5")),
            (39, Some("45")),
            (20, Some("345")),
            (19, None),
        ] {
            assert_eq!(after(&history, A, place).as_deref(), expected, "{place}");
        }
        for (seq, place) in [
            (1, None),
            (2, Some(20)),
            (3, Some(30)),
            (5, Some(50)),
            (6, None),
            (u64::MAX, None),
        ] {
            assert_eq!(history.place_of(A, seq), place, "{seq}");
        }
        for (from, seq) in [(0, 3), (3, 3), (5, 5)] {
            let kept = history.kept_from(A, from).unwrap();
            assert_eq!((kept.seq, kept.place), (seq, 10 * seq));
        }
        assert!(history.kept_from(A, 6).is_none());
        assert!(history.kept_from(B, 0).is_none());
        assert_eq!(history.after(A, 44).unwrap().0, 40);
        assert_eq!(history.after(A, 20).unwrap().0, 20);
        assert_eq!(after(&history, B, 0).as_deref(), Some(""));
        assert_eq!(history.place_of(B, 0), None);
    }

    #[test]
    fn the_oldest_of_all_goes_first() {
        let mut history = History::new(10, 4);
        for (place, (key, seq)) in (1..).zip([(A, 1), (B, 1), (A, 2), (B, 2)]) {
            history.push(key, seq, place, b"x");
        }
        history.push(B, 3, 5, b"x");
        assert_eq!(after(&history, A, 0), None);
        assert_eq!(after(&history, A, 1).as_deref(), Some("x"));
        history.push(B, 4, 6, b"xxxx");
        assert_eq!(after(&history, B, 5).as_deref(), Some("xxxx"));
        assert_eq!(after(&history, A, 1), None);
        history.push(B, 5, 7, b"xxxxx");
        assert_eq!(
            history.bytes(),
            0,
            "too large to keep, and those before it are useless"
        );
        assert_eq!(after(&history, B, 6), None);
        assert_eq!(after(&history, B, 7).as_deref(), Some(""));
        history.check_invariants();
    }

    #[test]
    fn a_busy_channel_beside_a_quiet_one_leaves_no_trail() {
        let mut history = History::new(2, 1_000_000);
        history.push(B, 1, 1, b"quiet");
        for seq in 1..=10_000 {
            history.push(A, seq, 1 + seq, b"busy");
        }
        history.check_invariants();
        assert_eq!(after(&history, B, 0).as_deref(), Some("quiet"));
        history.clear(B);
        history.clear(A);
        history.check_invariants();
        assert_eq!(history.bytes(), 0);
    }

    #[test]
    fn a_history_that_is_off_keeps_nothing() {
        for (frames_max, bytes_max) in [(0, 100), (100, 0)] {
            let mut history = History::new(frames_max, bytes_max);
            history.push(A, 1, 1, b"x");
            assert!(!history.is_on());
            assert_eq!(history.bytes(), 0);
        }
    }
}
