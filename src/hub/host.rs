//! What the process around the hub tells of itself, for the metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::metrics::{Gauges, Process};

/// Where the numbers come from.
#[derive(Debug)]
pub(super) struct Host {
    log_lines_dropped: Arc<AtomicU64>,
    process: Option<fn() -> Process>,
}

impl Host {
    pub(super) fn new(log_lines_dropped: Arc<AtomicU64>, process: Option<fn() -> Process>) -> Self {
        Self {
            log_lines_dropped,
            process,
        }
    }

    /// Its numbers.
    pub(super) fn fill(&self, gauges: &mut Gauges) {
        gauges.log_lines_dropped = self.log_lines_dropped.load(Ordering::Relaxed);
        if let Some(process) = self.process {
            process().fill(gauges);
        }
    }
}
