//! What the process around the hub tells of itself, for the metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::metrics::Process;

/// Where its numbers come from.
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

    /// Lines that the program's log dropped.
    pub(super) fn log_lines_dropped(&self) -> u64 {
        self.log_lines_dropped.load(Ordering::Relaxed)
    }

    /// What the operating system counts for the process.
    pub(super) fn process(&self) -> Process {
        self.process.map(|process| process()).unwrap_or_default()
    }
}
