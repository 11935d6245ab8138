//! What the hub says in the log about strangers and clients, as often as they may make it.
//!
//! Puts together who was refused and who left; each bounds its own lines.

mod clients;
mod refusals;

use std::time::Instant;

pub(super) use self::{
    clients::{ClientLog, End},
    refusals::Refusals,
};

/// Both.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) refusals: Refusals,
    pub(super) clients: ClientLog,
}

impl Log {
    /// Says how many there were without a line.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.refusals.handle_timeout(now);
        self.clients.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [self.refusals.poll_timeout(), self.clients.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }
}
