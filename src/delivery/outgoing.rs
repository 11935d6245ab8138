//! Bytes on loan to a socket: what is to be written, and what became of it.

use std::io::IoSlice;

use super::{backlog::Backlog, batch::Batches, fanout::Run};

/// What was lent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sending {
    Backlog(u32),
    Direct(u32, Run),
    /// What was merged last.
    Gathered(u32),
}

/// Bytes lent to be written to one socket.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// The slot of the client whose socket it is for.
    pub slot: u32,
    /// What is to be written.
    pub bytes: Outgoing<'a>,
}

/// One piece, as nearly always, or several.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// Contiguous.
    One(&'a [u8]),
    /// What heads a backlog.
    Many(Pieces<'a>),
}

/// The pieces at the head of a backlog. A view: an array of slices in every [`Transmit`] would
/// cost the many more than it gives the few.
#[derive(Debug)]
pub struct Pieces<'a> {
    backlog: &'a Backlog,
    batches: &'a Batches,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(backlog: &'a Backlog, batches: &'a Batches) -> Self {
        Self { backlog, batches }
    }

    /// The first so many slices of the array are to be written, in order.
    pub fn slices(&self) -> ([IoSlice<'a>; SLICES_MAX], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.backlog.slices(self.batches, &mut slices);
        (slices, count)
    }
}

/// What became of lent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All went.
    All,
    /// So many went; the socket takes no more until it says so.
    Full(usize),
}

/// Slices lent for one write: more than a backlog usually has.
pub const SLICES_MAX: usize = 16;
