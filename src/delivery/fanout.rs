//! Frames waiting to be passed to a channel's subscribers, and whose turn it is.
//!
//! Each channel with unsent frames has one *pass*: a walk over its dense array of subscribers,
//! from the end to the start, so that a swap-remove moves only clients already served. Frames
//! that arrive meanwhile join the batch and gather in the next pass: load batches, no timer does.
//! Passes advance in slices. Each begins with the smallest remaining pass, so that a small channel
//! never waits for a large one; behind a slice that the oldest had no part in comes one that begins
//! with the oldest, so that a large one never waits for ever.
//!
//! Every frame has a global sequence number. A client remembers the last one it was given; what
//! it still has to get of its channels is everything behind that, merged by sequence, which
//! keeps PostgreSQL's commit order across channels. Knows no socket, no JSON and no client.

use std::collections::VecDeque;

use super::batch::{BatchId, Batches, Span};
use crate::channel::ChannelKey;

/// The stream whose audience is every open client: `status` goes there.
pub const EVERYONE: ChannelKey = ChannelKey(u32::MAX);

/// Unsent frames of all channels.
#[derive(Debug, Default)]
pub struct Fanout {
    /// By channel; grown on first use.
    streams: Vec<Stream>,
    everyone: Stream,
    /// Channels with unsent frames, dense; each stream knows its place. Never holds [`EVERYONE`].
    pending: Vec<ChannelKey>,
    /// Passes waiting for their slice, by the power of two of what remains, and some that are over.
    queues: [VecDeque<(u64, ChannelKey)>; SIZE_CLASSES],
    /// How many of those are over.
    queued_over: usize,
    current: Option<(u64, ChannelKey)>,
    /// Whether the oldest pass goes first, since it had no part in the last slice.
    oldest_next: bool,
    /// Whether the oldest pass had a part in this slice.
    oldest_served: bool,
    /// The last sequence number given to a frame.
    sequence: u64,
    passes_started: u64,
    /// Counts the changes of what is unsent.
    revision: u64,
    /// Bytes of frames not yet passed to all.
    unsent_bytes: usize,
}

#[derive(Debug, Default)]
struct Stream {
    /// Batches with frames not yet passed to all, in order. Empty when there is no pass.
    batches: VecDeque<BatchId>,
    /// The sequence of the newest frame.
    last_sequence: u64,
    pass: Option<Pass>,
    /// When the first frame behind the pass came; meaningless while there is none.
    gathering_since: u64,
    /// The place in `Fanout::pending`; meaningless without a pass.
    pending_at: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    /// So many were started by then: its own number.
    started: u64,
    /// Subscribers below this index are still to be served.
    cursor: u32,
    /// Everybody served so far has every frame up to this one.
    until: u64,
    /// When its oldest frame came.
    since: u64,
}

/// A contiguous range of frames of one channel that a client is to get next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The bytes.
    pub span: Span,
    /// The sequence of the last frame of it.
    pub last: u64,
}

impl Fanout {
    /// The last sequence given: a client that joins now has missed nothing behind it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Another one after each change of what is unsent.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Channels with unsent frames, without [`EVERYONE`].
    pub fn pending(&self) -> &[ChannelKey] {
        &self.pending
    }

    /// Whether any pass is unfinished.
    pub fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.everyone.pass.is_some()
    }

    /// Bytes of frames not yet passed to all.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// The sequence of the channel's newest frame that is not yet passed to all; 0 without one.
    pub fn newest(&self, key: ChannelKey) -> u64 {
        self.stream(key)
            .filter(|stream| stream.pass.is_some())
            .map_or(0, |it| it.last_sequence)
    }

    /// Appends a finished frame to the channel; starts a pass over `audience` subscribers if none
    /// is under way. `now` is of any clock; [`Self::finish`] gives it back.
    pub fn append(
        &mut self,
        key: ChannelKey,
        audience: usize,
        frame: &[u8],
        now: u64,
        batches: &mut Batches,
    ) {
        self.revision += 1;
        self.sequence += 1;
        let sequence = self.sequence;
        self.unsent_bytes += frame.len();
        if key != EVERYONE && self.streams.len() <= key.index() {
            self.streams.resize_with(key.index() + 1, Stream::default);
        }
        let started = self.passes_started + 1;
        let stream = self.stream_mut(key);
        if stream
            .pass
            .is_some_and(|it| it.until == stream.last_sequence)
        {
            stream.gathering_since = now;
        }
        stream.last_sequence = sequence;
        match stream.batches.back() {
            Some(&last) if batches.has_room(last, frame) => batches.append(last, sequence, frame),
            _ => stream.batches.push_back(batches.open(sequence, frame)),
        }
        if stream.pass.is_none() {
            let cursor = u32::try_from(audience).expect("slots of clients are u32");
            stream.pass = Some(Pass {
                started,
                cursor,
                until: sequence,
                since: now,
            });
            if key != EVERYONE {
                let pending_at = u32::try_from(self.pending.len()).expect("channels are u32");
                self.stream_mut(key).pending_at = pending_at;
                self.pending.push(key);
            }
            self.passes_started = started;
            self.enqueue((started, key), cursor);
        }
    }

    /// Whether `key` is the only one with unsent frames: then a subscriber's other channels owe it
    /// nothing and need no look.
    pub fn is_alone(&self, key: ChannelKey) -> bool {
        if key == EVERYONE {
            self.pending.is_empty()
        } else {
            self.pending.len() == 1 && self.everyone.pass.is_none()
        }
    }

    /// The sequence of the channel's first unsent frame behind `seen`.
    pub fn first_after(&self, key: ChannelKey, seen: u64, batches: &Batches) -> Option<u64> {
        let (sequence, _) = self.stream(key)?.first_after(seen, batches)?;
        Some(sequence)
    }

    /// The channel's frames behind `seen` and before `bound`, as far as they are contiguous.
    pub fn run_before(
        &self,
        key: ChannelKey,
        seen: u64,
        bound: u64,
        batches: &Batches,
    ) -> Option<Run> {
        let (_, batch) = self.stream(key)?.first_after(seen, batches)?;
        batches
            .span_between(batch, seen, bound)
            .map(|(span, last)| Run { span, last })
    }

    /// The pass whose slice it is, and its cursor.
    pub fn pass(&mut self) -> Option<(ChannelKey, u32)> {
        if self.current.is_none() {
            self.current = self.dequeue();
        }
        let (_, key) = self.current?;
        self.stream(key)?.pass.map(|pass| (key, pass.cursor))
    }

    /// Moves the cursor of the current pass down.
    pub fn advance(&mut self, cursor: u32) {
        let Some((_, key)) = self.current else { return };
        if let Some(pass) = &mut self.stream_mut(key).pass {
            debug_assert!(
                cursor <= pass.cursor,
                "a pass walks from the end to the start"
            );
            pass.cursor = cursor;
        }
    }

    /// The current pass has served everybody. Frames that came meanwhile begin the next one, over
    /// the `audience` of now. Says when the oldest frame of the pass came.
    pub fn finish(&mut self, audience: usize, batches: &mut Batches) -> Option<u64> {
        let (_, key) = self.current.take()?;
        let cursor = u32::try_from(audience).expect("slots of clients are u32");
        self.revision += 1;
        let started = self.passes_started + 1;
        let stream = self.stream_mut(key);
        let done = stream.pass?;
        let mut passed_bytes = 0;
        while let Some(&front) = stream.batches.front() {
            if batches.last_sequence(front) > done.until {
                break;
            }
            stream.batches.pop_front();
            passed_bytes += batches.batch_bytes(front);
            if batches.references(front) > 1 {
                batches.shrink(front);
            }
            batches.release(front);
        }
        let again = stream.last_sequence > done.until && cursor > 0;
        if again {
            stream.pass = Some(Pass {
                started,
                cursor,
                until: stream.last_sequence,
                since: stream.gathering_since,
            });
        }
        self.unsent_bytes -= passed_bytes;
        if again {
            self.passes_started = started;
            self.enqueue((started, key), cursor);
        } else {
            self.drop_stream(key, batches);
        }
        Some(done.since)
    }

    /// Ends a slice: another pass may take its turn. Whether one was under way.
    pub fn end_slice(&mut self) -> bool {
        self.oldest_next = !std::mem::take(&mut self.oldest_served) && self.has_work();
        let Some((started, key)) = self.current.take() else {
            return false;
        };
        let cursor = self
            .stream(key)
            .and_then(|stream| stream.pass)
            .map_or(0, |pass| pass.cursor);
        self.queues[size_class(cursor)].push_front((started, key));
        true
    }

    /// Drops whatever the channel still had: nobody is left to get it.
    pub fn forget(&mut self, key: ChannelKey, batches: &mut Batches) {
        if self.stream(key).is_none_or(|stream| stream.pass.is_none()) {
            return;
        }
        if self.current.is_some_and(|(_, current)| current == key) {
            self.current = None;
        } else {
            // A search for it would be one among all the passes.
            self.queued_over += 1;
        }
        self.drop_stream(key, batches);
        if !self.has_work() {
            self.queues.iter_mut().for_each(VecDeque::clear);
            self.queued_over = 0;
        }
    }

    /// Lets go of passes that are over, as far as nothing waits before them.
    #[cold]
    fn drop_over(&mut self) {
        for at in 0..SIZE_CLASSES {
            while let Some(&(started, key)) = self.queues[at].front() {
                let pass = self.stream(key).and_then(|stream| stream.pass);
                if pass.is_some_and(|pass| pass.started == started) {
                    break;
                }
                self.queues[at].pop_front();
                self.queued_over -= 1;
            }
        }
    }

    fn drop_stream(&mut self, key: ChannelKey, batches: &mut Batches) {
        self.revision += 1;
        let stream = self.stream_mut(key);
        stream.pass = None;
        let pending_at = stream.pending_at as usize;
        let mut dropped_bytes = 0;
        for batch in std::mem::take(&mut stream.batches) {
            dropped_bytes += batches.batch_bytes(batch);
            batches.release(batch);
        }
        self.unsent_bytes -= dropped_bytes;
        if key == EVERYONE {
            return;
        }
        self.pending.swap_remove(pending_at);
        if let Some(&moved) = self.pending.get(pending_at) {
            self.stream_mut(moved).pending_at =
                u32::try_from(pending_at).expect("channels are u32");
        }
    }

    fn enqueue(&mut self, entry: (u64, ChannelKey), remaining: u32) {
        self.queues[size_class(remaining)].push_back(entry);
    }

    // Once a slice, while `pass` is asked at each write: kept out of it.
    #[inline(never)]
    fn dequeue(&mut self) -> Option<(u64, ChannelKey)> {
        if self.queued_over > 0 {
            self.drop_over();
        }
        let fronts = self.queues.iter().map(VecDeque::front);
        let oldest = fronts
            .clone()
            .flatten()
            .map(|&(started, _)| started)
            .min()?;
        let is_next = |front: Option<&(u64, ChannelKey)>| {
            front.is_some_and(|&(started, _)| started == oldest || !self.oldest_next)
        };
        let class = fronts.clone().position(is_next)?;
        let next @ (started, _) = self.queues[class].pop_front()?;
        if started == oldest {
            (self.oldest_next, self.oldest_served) = (false, true);
        }
        Some(next)
    }

    fn stream(&self, key: ChannelKey) -> Option<&Stream> {
        if key == EVERYONE {
            Some(&self.everyone)
        } else {
            self.streams.get(key.index())
        }
    }

    fn stream_mut(&mut self, key: ChannelKey) -> &mut Stream {
        if key == EVERYONE {
            &mut self.everyone
        } else {
            &mut self.streams[key.index()]
        }
    }

    /// Pending channels know their place, and a stream has batches exactly while it has a pass.
    pub fn check_invariants(&self, batches: &Batches) {
        for (at, &key) in self.pending.iter().enumerate() {
            assert_eq!(self.streams[key.index()].pending_at as usize, at);
        }
        let mut unsent_bytes = 0;
        let mut passes = 0;
        for stream in self.streams.iter().chain([&self.everyone]) {
            assert_eq!(stream.pass.is_some(), !stream.batches.is_empty());
            passes += usize::from(stream.pass.is_some());
            unsent_bytes += stream
                .batches
                .iter()
                .map(|&batch| batches.batch_bytes(batch))
                .sum::<usize>();
        }
        assert_eq!(self.unsent_bytes, unsent_bytes);
        let queued = self.queues.iter().map(VecDeque::len).sum::<usize>();
        let current = usize::from(self.current.is_some());
        assert_eq!(queued + current, passes + self.queued_over);
        assert_eq!(self.has_work(), passes > 0);
    }
}

impl Stream {
    /// The first unsent frame behind `seen`, and its batch.
    fn first_after(&self, seen: u64, batches: &Batches) -> Option<(u64, BatchId)> {
        if self.last_sequence <= seen || self.pass.is_none() {
            return None;
        }
        self.batches.iter().find_map(|&batch| {
            batches
                .first_after(batch, seen)
                .map(|sequence| (sequence, batch))
        })
    }
}

/// The power of two that holds `remaining`; one slice or less is the smallest class.
fn size_class(remaining: u32) -> usize {
    let slices = remaining / SLICE_WRITES;
    (u32::BITS - slices.leading_zeros()) as usize
}

/// Writes in one slice of a pass.
pub const SLICE_WRITES: u32 = 64;
/// Enough for `u32::MAX / SLICE_WRITES`.
const SIZE_CLASSES: usize = 27;

#[cfg(test)]
mod tests;
