//! Bytes on their way to the backend, and how far they got.
//!
//! Counts positions in the whole stream, so that a request can be told to have left or not. Knows
//! no message and no socket.

use bytes::BytesMut;

/// What is queued and not yet written, in one contiguous piece.
#[derive(Default)]
pub(super) struct Outbox {
    /// Everything queued since it was last empty or cut.
    bytes: BytesMut,
    /// How many of `bytes` are written; below `bytes.len()` unless both are zero.
    written: usize,
    /// How many bytes were ever reported as written.
    written_total: u64,
}

impl Outbox {
    /// Where the next message goes.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// The position in the stream of the next byte to be queued.
    pub(super) fn position(&self) -> u64 {
        self.written_total + widened(self.waiting().len())
    }

    /// Where in the tail the byte at `position` is, which is not written yet.
    pub(super) fn index(&self, position: u64) -> usize {
        debug_assert!(!self.has_written(position), "it is there");
        let behind = self.position().saturating_sub(position);
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        self.bytes.len().saturating_sub(behind)
    }

    /// Whether the byte at `position` was written.
    pub(super) fn has_written(&self, position: u64) -> bool {
        position < self.written_total
    }

    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Takes note of `bytes` more written; what is not there cannot have been.
    pub(super) fn handle_written(&mut self, bytes: usize) {
        let waiting = self.waiting().len();
        debug_assert!(bytes <= waiting, "{bytes} bytes written of {waiting}");
        let bytes = bytes.min(waiting);
        self.written += bytes;
        self.written_total += widened(bytes);
        if bytes == waiting {
            self.clear();
        } else if self.written >= OUTBOX_BYTES_KEPT && self.written >= waiting - bytes {
            // At least as much was written as is copied: constant cost a byte.
            self.bytes = BytesMut::from(self.waiting());
            self.written = 0;
        }
    }

    /// Forgets what is not written yet.
    pub(super) fn clear(&mut self) {
        self.written = 0;
        self.bytes.clear();
        if self.bytes.capacity() > OUTBOX_BYTES_KEPT {
            self.bytes = BytesMut::new();
        }
    }
}

fn widened(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("no buffer is longer than 2^64 bytes")
}

/// The memory an empty outbox may keep: some hundred small requests.
const OUTBOX_BYTES_KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a stream in steps of every size and compares what was offered with what was queued.
    #[test]
    fn every_byte_is_offered_once_and_in_order_for_every_short_write() {
        let stream: Vec<u8> = (0..=250).cycle().take(1_000).collect();
        for step in 1..100 {
            let mut outbox = Outbox::default();
            let mut written = Vec::new();
            for piece in stream.chunks(70) {
                outbox.tail().extend_from_slice(piece);
                let bytes = step.min(outbox.waiting().len());
                written.extend_from_slice(&outbox.waiting()[..bytes]);
                outbox.handle_written(bytes);
                let position = u64::try_from(written.len()).unwrap();
                assert!(!outbox.has_written(position));
                assert!(outbox.has_written(position - 1));
            }
            written.extend_from_slice(outbox.waiting());
            assert_eq!(written, stream);
            assert_eq!(outbox.position(), 1_000);
        }
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let mut outbox = Outbox::default();
        outbox
            .tail()
            .extend_from_slice(&[7; 10 * OUTBOX_BYTES_KEPT]);
        outbox.handle_written(6 * OUTBOX_BYTES_KEPT);
        assert_eq!(outbox.waiting(), [7; 4 * OUTBOX_BYTES_KEPT]);
        assert!(outbox.bytes.capacity() < 6 * OUTBOX_BYTES_KEPT);
        outbox.handle_written(4 * OUTBOX_BYTES_KEPT);
        assert!(outbox.bytes.capacity() <= OUTBOX_BYTES_KEPT);
    }
}
