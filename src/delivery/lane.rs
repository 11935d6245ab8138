//! Readers of one encoding, and the frames on their way to them.
//!
//! A notification is encoded once for each lane that has subscribers, and each client reads the frames
//! of one lane. Knows neither what the encoding is nor why there are two.

use super::{
    fanout::Fanout,
    index::Index,
    merge::Merge,
    recipient::{OWED, SECOND_LANE},
    recovery::Recoveries,
};

/// How many lanes there are.
pub const LANES: usize = 2;

/// The links of each lane's clients.
pub type Indexes = [Index; LANES];

/// One of the lanes.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) fanout: Fanout,
    /// What one client is owed.
    pub(super) merge: Merge,
    pub(super) recoveries: Recoveries,
    /// The length of the first of our own frames in some bytes.
    pub(super) frame_bytes: FrameBytes,
}

/// Measures the first of our own frames in some bytes.
pub type FrameBytes = fn(&[u8]) -> usize;

impl Lane {
    pub(super) fn new(frame_bytes: FrameBytes) -> Self {
        Self {
            fanout: Fanout::default(),
            merge: Merge::default(),
            recoveries: Recoveries::default(),
            frame_bytes,
        }
    }
}

/// The flags of a client that takes part in fan-outs of the lane.
pub(super) fn owed(lane: usize) -> u32 {
    if lane == 0 { OWED } else { OWED | SECOND_LANE }
}

/// The flags by which [`owed`] is told.
pub(super) const OWED_MASK: u32 = OWED | SECOND_LANE;
