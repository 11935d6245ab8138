//! Encoded frames, held once for all their recipients.
//!
//! A batch is a contiguous run of finished frames, counted by reference and reused. A [`Span`]
//! names bytes of one. Knows nothing of channels, clients and the content of frames.

use slab::Slab;

/// A batch that has at least one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId(u32);

/// The bytes `start..end` of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The batch.
    pub batch: BatchId,
    /// The first byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Span {
    /// How many bytes it names.
    pub fn bytes(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// All batches of the process, with the few empty ones kept for reuse.
#[derive(Debug, Default)]
pub struct Batches {
    batches: Slab<Batch>,
    pool: Vec<Batch>,
    /// Capacity of the batches in use, in bytes.
    retained_bytes: usize,
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// In order; never empty once opened; the last one ends with `bytes`.
    frames: Vec<Mark>,
    /// Owners; zero only in the pool.
    references: u32,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: u64,
    end: u32,
}

impl Batches {
    /// A batch of one frame, owned once by the caller.
    pub fn open(&mut self, sequence: u64, frame: &[u8]) -> BatchId {
        let mut batch = self.pool.pop().unwrap_or_default();
        batch.references = 1;
        self.retained_bytes += batch.bytes.capacity();
        let key = self.batches.insert(batch);
        let id = BatchId(u32::try_from(key).expect("fewer than 2^32 batches fit in memory"));
        self.append(id, sequence, frame);
        id
    }

    /// Whether `frame` may join the batch.
    pub fn has_room(&self, id: BatchId, frame: &[u8]) -> bool {
        self.at(id).bytes.len() + frame.len() <= BATCH_BYTES_MAX
    }

    /// Appends a frame; `sequence` is larger than those before.
    pub fn append(&mut self, id: BatchId, sequence: u64, frame: &[u8]) {
        let batch = &mut self.batches[id.0 as usize];
        debug_assert!(
            batch
                .frames
                .last()
                .is_none_or(|last| last.sequence < sequence)
        );
        let capacity_before = batch.bytes.capacity();
        batch.bytes.extend_from_slice(frame);
        self.retained_bytes += batch.bytes.capacity() - capacity_before;
        let end = u32::try_from(batch.bytes.len()).expect("a batch is far shorter than 4 GiB");
        batch.frames.push(Mark { sequence, end });
    }

    /// The sequence of the batch's last frame.
    pub fn last_sequence(&self, id: BatchId) -> u64 {
        self.at(id).frames.last().map_or(0, |mark| mark.sequence)
    }

    /// The sequence of the first frame behind `seen`.
    pub fn first_after(&self, id: BatchId, seen: u64) -> Option<u64> {
        let frames = &self.at(id).frames;
        frames
            .get(position_after(frames, seen))
            .map(|mark| mark.sequence)
    }

    /// The frames with `seen < sequence < bound`, and the sequence of the last of them.
    pub fn span_between(&self, id: BatchId, seen: u64, bound: u64) -> Option<(Span, u64)> {
        let frames = &self.at(id).frames;
        let first = position_after(frames, seen);
        let behind = if frames.last().is_some_and(|last| last.sequence < bound) {
            frames.len()
        } else {
            frames.partition_point(|mark| mark.sequence < bound)
        };
        if first >= behind {
            return None;
        }
        let start = first.checked_sub(1).map_or(0, |before| frames[before].end);
        let last = frames[behind - 1];
        Some((
            Span {
                batch: id,
                start,
                end: last.end,
            },
            last.sequence,
        ))
    }

    /// The bytes of a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.at(span.batch).bytes[span.start as usize..span.end as usize]
    }

    /// The end of the frame around `offset`; `offset` itself at a frame boundary.
    pub fn frame_end(&self, id: BatchId, offset: u32) -> u32 {
        if self.frame_begin(id, offset) == offset {
            return offset;
        }
        let frames = &self.at(id).frames;
        frames[frames.partition_point(|mark| mark.end <= offset)].end
    }

    /// The beginning of the frame around `offset`.
    pub fn frame_begin(&self, id: BatchId, offset: u32) -> u32 {
        let frames = &self.at(id).frames;
        let next = frames.partition_point(|mark| mark.end <= offset);
        next.checked_sub(1).map_or(0, |before| frames[before].end)
    }

    /// One more owner.
    pub fn retain(&mut self, id: BatchId) {
        self.batches[id.0 as usize].references += 1;
    }

    /// One owner less; the last one gives the batch back.
    pub fn release(&mut self, id: BatchId) {
        let batch = &mut self.batches[id.0 as usize];
        batch.references -= 1;
        if batch.references > 0 {
            return;
        }
        let mut batch = self.batches.remove(id.0 as usize);
        self.retained_bytes -= batch.bytes.capacity();
        if self.pool.len() < POOLED_MAX && batch.bytes.capacity() <= BATCH_BYTES_MAX {
            batch.bytes.clear();
            batch.frames.clear();
            self.pool.push(batch);
        }
    }

    /// Frees unused capacity of a batch that will get no frame for long.
    pub fn shrink(&mut self, id: BatchId) {
        let batch = &mut self.batches[id.0 as usize];
        let capacity_before = batch.bytes.capacity();
        batch.bytes.shrink_to_fit();
        batch.frames.shrink_to_fit();
        self.retained_bytes -= capacity_before - batch.bytes.capacity();
    }

    /// How many bytes the whole batch holds.
    pub fn batch_bytes(&self, id: BatchId) -> usize {
        self.at(id).bytes.len()
    }

    /// The number of owners.
    pub fn references(&self, id: BatchId) -> u32 {
        self.at(id).references
    }

    /// Memory held by batches in use, in bytes.
    pub fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    /// Batches in use.
    pub fn count(&self) -> usize {
        self.batches.len()
    }

    fn at(&self, id: BatchId) -> &Batch {
        &self.batches[id.0 as usize]
    }
}

/// The index of the first frame behind `seen`; most readers have seen none of the batch.
fn position_after(frames: &[Mark], seen: u64) -> usize {
    if frames.first().is_some_and(|mark| mark.sequence > seen) {
        return 0;
    }
    frames.partition_point(|mark| mark.sequence <= seen)
}

/// A frame that would make a batch larger than this does not join it.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;
/// Empty batches kept for reuse.
const POOLED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_of_three() -> (Batches, BatchId) {
        let mut batches = Batches::default();
        let id = batches.open(10, b"one");
        batches.append(id, 12, b"three");
        batches.append(id, 20, b"20");
        (batches, id)
    }

    #[test]
    fn a_span_holds_the_frames_between_two_sequences() {
        let (batches, id) = batch_of_three();
        let check = |seen, bound, expect: &[u8], last| match batches.span_between(id, seen, bound) {
            Some((span, sequence)) => {
                assert_eq!(
                    (batches.bytes(span), sequence),
                    (expect, last),
                    "{seen}..{bound}"
                );
            }
            None => assert!(expect.is_empty(), "{seen}..{bound}"),
        };
        check(0, u64::MAX, b"onethree20", 20);
        check(9, 20, b"onethree", 12);
        check(10, 21, b"three20", 20);
        check(11, 12, b"", 0);
        check(12, u64::MAX, b"20", 20);
        check(20, u64::MAX, b"", 0);
        assert_eq!(batches.first_after(id, 10), Some(12));
        assert_eq!(batches.first_after(id, 20), None);
    }

    #[test]
    fn a_frame_begun_ends_at_its_mark() {
        let (batches, id) = batch_of_three();
        let ends: Vec<_> = (0..10)
            .map(|offset| batches.frame_end(id, offset))
            .collect();
        assert_eq!(ends, [0, 3, 3, 3, 8, 8, 8, 8, 8, 10]);
        assert_eq!(batches.frame_end(id, 10), 10);
    }

    #[test]
    fn the_last_owner_gives_the_batch_back() {
        let (mut batches, id) = batch_of_three();
        batches.retain(id);
        batches.release(id);
        assert_eq!(batches.count(), 1);
        assert!(batches.retained_bytes() >= 10);
        batches.release(id);
        assert_eq!((batches.count(), batches.retained_bytes()), (0, 0));
        let again = batches.open(1, b"x");
        assert_eq!(
            batches
                .span_between(again, 0, 2)
                .map(|(span, _)| span.bytes()),
            Some(1)
        );
    }

    #[test]
    fn a_batch_takes_frames_up_to_64_kib() {
        let mut batches = Batches::default();
        let id = batches.open(1, &vec![0; BATCH_BYTES_MAX - 10]);
        for (bytes, room) in [(9, true), (10, true), (11, false)] {
            assert_eq!(batches.has_room(id, &vec![0; bytes]), room, "{bytes}");
        }
    }
}
