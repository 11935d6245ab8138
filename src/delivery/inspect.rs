//! How much is on its way, and what always holds: for gauges and for tests.

use super::{Delivery, recipient::NO_BACKLOG};

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Clients that did not take everything at once.
    pub backlogs: usize,
    /// Bytes that their backlogs refer to; shared ones count for each.
    pub backlog_bytes: usize,
    /// Memory of all batches in use, each counted once.
    pub retained_bytes: usize,
    /// Bytes of frames not yet passed to all.
    pub unsent_bytes: usize,
    /// Bytes of frames kept for clients that come back.
    pub history_bytes: usize,
}

impl Delivery {
    /// How much there is.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            backlogs: self.outbound.len(),
            backlog_bytes: self.outbound.iter().map(|(_, it)| it.backlog.bytes()).sum(),
            retained_bytes: self.batches.retained_bytes(),
            unsent_bytes: self.unsent_bytes(),
            history_bytes: self.history.bytes(),
        }
    }

    /// Passes and backlogs agree with each other, and each backlog is somebody's.
    pub fn check_invariants(&self) {
        for lane in &self.lanes {
            lane.fanout.check_invariants(&self.batches);
        }
        self.history.check_invariants();
        for (key, outbound) in &self.outbound {
            outbound.backlog.check_invariants();
            let recipient = &self.recipients[outbound.slot as usize];
            assert_eq!(recipient.backlog_key(), Some(key));
        }
        let owned = self.outbound.iter().map(|(_, it)| it.backlog.owned_bytes());
        assert_eq!(self.owned_bytes, owned.sum::<usize>());
        let with_backlog = self.recipients.iter().filter(|it| it.backlog != NO_BACKLOG);
        assert_eq!(with_backlog.count(), self.outbound.len());
    }

    /// No connection is attached: nothing is kept for any.
    pub fn check_vacant(&self) {
        assert_eq!(self.outbound.len(), 0);
        // A `status` to clients that are all gone lies there until its pass is walked.
        let is_kept = self.lanes.iter().any(|lane| !lane.recoveries.is_empty());
        assert!(self.batches.count() == 0 || is_kept || self.has_transmit());
    }
}
