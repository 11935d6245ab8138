//! What always holds between the hub's parts, for tests to ask after every step.
//!
//! What holds within a part, that part checks itself.

use super::parts::{ADMIN, DEAD, Hub, OPEN, Phase};

impl Hub {
    /// Links, passes and backlogs agree with each other, and nothing is kept for nobody.
    pub(super) fn check_invariants(&self) {
        self.index.check_invariants();
        self.fanout.check_invariants(&self.batches);
        self.history.check_invariants();
        for (_, stalled) in &self.backlogs {
            stalled.backlog.check_invariants();
        }
        let open = self.hot.iter().filter(|hot| hot.is(OPEN)).count();
        assert_eq!(self.open_clients, open);
        self.addresses.check_invariants(open);
        let alive = || {
            let clients = self.clients.iter().map(|(slot, it)| (self.hot[slot], it));
            clients.filter(|(hot, _)| !hot.is(DEAD))
        };
        let unfinished =
            alive().filter(|(hot, it)| !hot.is(ADMIN) && matches!(it.phase, Phase::Handshake(_)));
        assert_eq!(self.handshaking, unfinished.count());
        let admin = alive().filter(|(hot, _)| hot.is(ADMIN));
        assert_eq!(self.admin_count, admin.count());
        if self.clients.is_empty() {
            assert_eq!(self.index.link_count(), 0);
            assert_eq!(self.backlogs.len(), 0);
            // A `status` to clients that are all gone lies there until its pass is walked.
            assert!(self.batches.count() == 0 || self.has_transmit());
        }
    }
}
