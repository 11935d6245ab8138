//! What always holds in the hub, for tests.

use super::{Hub, clients::Phase, encode::Transport};

impl Hub {
    /// The parts agree with each other, and nothing is kept for nobody. What holds within a part,
    /// that part checks itself.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.clients.check_invariants();
        self.channels.check_invariants();
        self.unparsed.check_invariants();
        self.delivery.check_invariants();
        if let Some(group) = &self.group {
            group.check_invariants();
        }
        self.publishing
            .check_invariants(|client| self.is_current(client));
        self.openings.check_invariants(|slot| {
            let is_open = self.clients.is_open(slot);
            is_open && self.clients.transport(slot) == Transport::EventStream
        });
        self.room.check_invariants(&self.clients);
        if self.clients.is_empty() {
            assert_eq!(self.channels.links().count(), 0);
            self.delivery.check_vacant();
        }
        for slot in self.clients.slots() {
            let is_open = self.clients.phase(slot).is_some_and(Phase::is_open);
            assert!(is_open || !self.delivery.is_owed(slot), "{slot}");
        }
    }
}
