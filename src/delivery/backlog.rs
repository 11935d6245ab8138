//! The bytes still owed to a client, in order, after its socket was full.
//!
//! References into shared batches beside the few bytes of this client alone (answers, pongs, the
//! close frame). Knows the boundaries of frames; refuses to know their content and the limit of a
//! slow client.

use std::{collections::VecDeque, io::IoSlice};

use super::{
    batch::{Batches, Span},
    lane::FrameBytes,
};

/// The queue of one client.
#[derive(Debug, Default)]
pub struct Backlog {
    items: VecDeque<Item>,
    /// The sum of the bytes of `items`.
    bytes: usize,
    /// The part of it that is in shared batches.
    shared_bytes: usize,
    /// Memory of the items that are this client's own, in bytes.
    owned_bytes: usize,
}

#[derive(Debug)]
enum Item {
    Shared(Span),
    /// Bytes of this client alone, the first `sent` of them gone: `head` bytes that belong
    /// together, such as an HTTP head or the rest of a frame, and whole frames behind them.
    Owned {
        bytes: Vec<u8>,
        head: usize,
        sent: usize,
    },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Shared(span) => span.bytes(),
            Self::Owned { bytes, sent, .. } => bytes.len() - sent,
        }
    }

    fn owned_bytes(&self) -> usize {
        match self {
            Self::Shared(_) => 0,
            Self::Owned { bytes, .. } => bytes.len(),
        }
    }
}

impl Backlog {
    /// Bytes still to send, shared ones counted in full.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory of this client alone, in bytes: answers to its requests that it does not read.
    pub fn owned_bytes(&self) -> usize {
        self.owned_bytes
    }

    /// Bytes still to send that are held in shared batches.
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// Whether everything went out.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends shared bytes; bytes that adjoin the last reference extend it.
    pub fn push_span(&mut self, span: Span, batches: &mut Batches) {
        if span.bytes() == 0 {
            return;
        }
        self.bytes += span.bytes();
        self.shared_bytes += span.bytes();
        if let Some(Item::Shared(last)) = self.items.back_mut()
            && last.batch == span.batch
            && last.end == span.start
        {
            last.end = span.end;
            return;
        }
        batches.retain(span.batch);
        self.items.push_back(Item::Shared(span));
    }

    /// Appends an HTTP head, which is sent first and never cut.
    pub fn push_head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.is_empty(), "a head comes first");
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.bytes += bytes.len();
        self.owned_bytes += bytes.len();
        let head = bytes.len();
        self.items.push_back(Item::Owned {
            bytes,
            head,
            sent: 0,
        });
    }

    /// Appends whole frames of this client's own.
    pub fn push_owned(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Item::Owned { bytes, .. }) = self.items.back_mut()
            && bytes.len() < OWNED_BYTES_MAX
        {
            let before = bytes.len();
            write(bytes);
            self.bytes += bytes.len() - before;
            self.owned_bytes += bytes.len() - before;
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.bytes += bytes.len();
        self.owned_bytes += bytes.len();
        if !bytes.is_empty() {
            self.items.push_back(Item::Owned {
                bytes,
                head: 0,
                sent: 0,
            });
        }
    }

    /// Fills `slices` with the next bytes, in order; returns how many slices are filled.
    pub fn slices<'a>(&'a self, batches: &'a Batches, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (item, slice) in self.items.iter().zip(slices) {
            *slice = IoSlice::new(match item {
                Item::Shared(span) => batches.bytes(*span),
                Item::Owned { bytes, sent, .. } => &bytes[*sent..],
            });
            count += 1;
        }
        count
    }

    /// The number of bytes in the first `pieces` pieces.
    pub fn head_bytes(&self, pieces: usize) -> usize {
        self.items.iter().take(pieces).map(Item::bytes).sum()
    }

    /// Removes the first `sent` bytes, which the socket took.
    pub fn consume(&mut self, mut sent: usize, batches: &mut Batches) {
        debug_assert!(sent <= self.bytes, "more sent than there was");
        self.bytes -= sent;
        while let Some(item) = self.items.front_mut() {
            if item.bytes() > sent {
                match item {
                    Item::Shared(span) => {
                        span.start += u32::try_from(sent).expect("less than a batch");
                        self.shared_bytes -= sent;
                    }
                    Item::Owned { sent: gone, .. } => *gone += sent,
                }
                return;
            }
            sent -= item.bytes();
            match self.items.pop_front() {
                Some(Item::Shared(span)) => {
                    self.shared_bytes -= span.bytes();
                    batches.release(span.batch);
                }
                Some(Item::Owned { bytes, .. }) => self.owned_bytes -= bytes.len(),
                None => {}
            }
        }
    }

    /// Keeps the rest of a frame begun and drops what lies behind it, so that a close frame can
    /// follow at a frame boundary.
    pub fn cut_at_frame(&mut self, batches: &mut Batches, frame_bytes: FrameBytes) {
        let Some(first) = self.items.pop_front() else {
            return;
        };
        self.clear(batches);
        let rest = match first {
            Item::Shared(span) => {
                let end = batches.frame_end(span.batch, span.start);
                // A copy: a closing client must not hold a batch while it delays.
                let rest = batches.bytes(Span { end, ..span }).to_vec();
                batches.release(span.batch);
                if rest.is_empty() {
                    return;
                }
                Item::Owned {
                    head: rest.len(),
                    bytes: rest,
                    sent: 0,
                }
            }
            Item::Owned {
                mut bytes,
                head,
                sent,
            } => {
                let mut end = head;
                while end < sent {
                    end += frame_bytes(&bytes[end..]);
                }
                if end == sent {
                    return;
                }
                bytes.truncate(end);
                Item::Owned { bytes, head, sent }
            }
        };
        self.bytes = rest.bytes();
        self.owned_bytes = rest.owned_bytes();
        self.items.push_back(rest);
    }

    /// Copies shared bytes out of batches that are far larger than what is referred to: a small
    /// frame must not hold 64 KiB for as long as its reader sleeps.
    pub fn copy_out_small(&mut self, batches: &mut Batches) {
        if self.bytes > COPY_OUT_BYTES_MAX {
            return;
        }
        for item in &mut self.items {
            let Item::Shared(span) = *item else { continue };
            if batches.batch_bytes(span.batch) < COPY_OUT_RATIO * span.bytes() {
                continue;
            }
            // The copy begins at a frame boundary, so that `cut_at_frame` can walk it.
            let begin = batches.frame_begin(span.batch, span.start);
            let whole = Span {
                start: begin,
                ..span
            };
            let bytes = batches.bytes(whole).to_vec();
            self.shared_bytes -= span.bytes();
            self.owned_bytes += bytes.len();
            *item = Item::Owned {
                bytes,
                head: 0,
                sent: (span.start - begin) as usize,
            };
            batches.release(span.batch);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, batches: &mut Batches) {
        self.bytes = 0;
        self.shared_bytes = 0;
        self.owned_bytes = 0;
        for item in self.items.drain(..) {
            if let Item::Shared(span) = item {
                batches.release(span.batch);
            }
        }
    }

    /// `bytes` is the sum of the items, and no item is empty.
    pub fn check_invariants(&self) {
        assert_eq!(
            self.bytes,
            self.items.iter().map(Item::bytes).sum::<usize>()
        );
        assert!(self.items.iter().all(|item| item.bytes() > 0));
        let shared = self.items.iter().filter(|item| item.owned_bytes() == 0);
        assert_eq!(self.shared_bytes, shared.map(Item::bytes).sum::<usize>());
        let owned_bytes = self.items.iter().map(Item::owned_bytes).sum::<usize>();
        assert_eq!(self.owned_bytes, owned_bytes);
    }
}

/// Small answers share one allocation up to this size.
const OWNED_BYTES_MAX: usize = 16 * 1024;
/// A backlog larger than this keeps its references.
const COPY_OUT_BYTES_MAX: usize = 4 * 1024;
/// Copied out of batches at least this many times larger.
const COPY_OUT_RATIO: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{delivery::batch::BatchId, ws::encoder};

    fn collect(backlog: &Backlog, batches: &Batches) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = backlog.slices(batches, &mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    fn pong(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder::append_pong(text, &mut out);
        out
    }

    /// Two frames shared, an answer of two frames, another shared frame.
    fn mixed() -> (Batches, Backlog, Vec<u8>, BatchId) {
        let mut batches = Batches::default();
        let id = batches.open(1, &pong(b"first"));
        batches.append(id, 2, &pong(b"second"));
        batches.append(id, 3, &pong(b"third"));
        let mut backlog = Backlog::default();
        let (both, _) = batches.span_between(id, 0, 3).unwrap();
        backlog.push_span(both, &mut batches);
        backlog.push_owned(|out| out.extend(pong(b"a")));
        backlog.push_owned(|out| out.extend(pong(b"bb")));
        let (third, _) = batches.span_between(id, 2, 4).unwrap();
        backlog.push_span(third, &mut batches);
        let parts: [&[u8]; 5] = [b"first", b"second", b"a", b"bb", b"third"];
        let expect = parts.iter().flat_map(|text| pong(text)).collect();
        (batches, backlog, expect, id)
    }

    #[test]
    fn bytes_leave_in_order_for_every_short_write() {
        let total = mixed().2.len();
        for step in 1..=total {
            let (mut batches, mut backlog, expect, id) = mixed();
            let mut sent = Vec::new();
            while !backlog.is_empty() {
                backlog.check_invariants();
                let next = collect(&backlog, &batches);
                let step = step.min(next.len());
                sent.extend_from_slice(&next[..step]);
                backlog.consume(step, &mut batches);
            }
            assert_eq!(sent, expect, "{step}");
            assert_eq!(batches.references(id), 1);
        }
    }

    #[test]
    fn a_cut_ends_at_the_boundary_of_the_frame_begun() {
        let whole = mixed().2;
        let mut boundaries = vec![0];
        while *boundaries.last().unwrap() < whole.len() {
            let at = *boundaries.last().unwrap();
            boundaries.push(at + encoder::frame_bytes(&whole[at..]));
        }
        for sent in 0..=whole.len() {
            let (mut batches, mut backlog, expect, id) = mixed();
            backlog.consume(sent, &mut batches);
            backlog.cut_at_frame(&mut batches, encoder::frame_bytes);
            backlog.check_invariants();
            let end = *boundaries
                .iter()
                .find(|&&boundary| boundary >= sent)
                .unwrap();
            assert_eq!(collect(&backlog, &batches), &expect[sent..end], "{sent}");
            backlog.clear(&mut batches);
            assert_eq!(batches.references(id), 1);
        }
    }

    #[test]
    fn an_http_head_is_never_cut() {
        for sent in 0..=19 {
            let mut batches = Batches::default();
            let mut backlog = Backlog::default();
            backlog.push_head(|out| out.extend_from_slice(b"HTTP/1.1 101\r\n\r\n"));
            backlog.push_owned(|out| out.extend(pong(b"a")));
            backlog.consume(sent, &mut batches);
            backlog.cut_at_frame(&mut batches, encoder::frame_bytes);
            backlog.check_invariants();
            let expect = match sent {
                0..=16 => 16 - sent,
                17.. => usize::from(sent < 19) * (19 - sent),
            };
            assert_eq!(backlog.bytes(), expect, "{sent}");
        }
    }

    #[test]
    fn adjoining_references_become_one() {
        let (mut batches, _, _, id) = mixed();
        let before = batches.references(id);
        let mut backlog = Backlog::default();
        for seen in 0..3 {
            let (span, _) = batches.span_between(id, seen, seen + 2).unwrap();
            backlog.push_span(span, &mut batches);
        }
        assert_eq!(batches.references(id), before + 1);
        assert_eq!(backlog.items.len(), 1);
    }

    #[test]
    fn a_small_rest_does_not_hold_a_large_batch() {
        let mut batches = Batches::default();
        let id = batches.open(1, &pong(&[b'x'; 100]));
        for sequence in 2..200 {
            batches.append(id, sequence, &pong(&[b'x'; 100]));
        }
        let mut backlog = Backlog::default();
        let (mut last, _) = batches.span_between(id, 198, 200).unwrap();
        last.start += 50;
        backlog.push_span(last, &mut batches);
        let before = collect(&backlog, &batches);
        backlog.copy_out_small(&mut batches);
        assert_eq!(collect(&backlog, &batches), before);
        assert_eq!(batches.references(id), 1);
        backlog.cut_at_frame(&mut batches, encoder::frame_bytes);
        assert_eq!(
            collect(&backlog, &batches),
            before,
            "the frame begun is finished"
        );
        backlog.check_invariants();
    }
}
