//! What holds of the channels between two turns.

use super::Channels;
use crate::backend::interest::Interest;

impl Channels {
    /// What is wanted is what somebody has a use for.
    pub(in super::super) fn check_invariants(&self) {
        self.interests.check_invariants();
        self.links.check_invariants();
        self.pending.check_invariants();
        self.kept.check_invariants();
        let payers = self.interests.keys().filter_map(|key| self.payer(key));
        self.shares.check_invariants(payers);
        let mut pinned = 0;
        for key in self.interests.keys() {
            let state = self.state(key);
            let (is_used, is_kept) = (self.is_used(key), self.kept.contains(key));
            assert!(!(is_used && is_kept), "{key:?}");
            let is_wanted = self.interests.interest(key).is_wanted();
            let is_own = is_used || is_kept;
            assert_eq!(is_wanted, is_own || self.mirroring.contains(key), "{key:?}");
            self.mirroring.check_invariants(key, is_own);
            pinned += usize::from(state.is_pinned);
            let is_idle = self.interests.interest(key) == Interest::Idle;
            assert!(!is_idle || state.is_maybe_idle, "{key:?}");
        }
        assert!(self.interests.wanted_count() <= pinned.max(self.channels_max));
    }
}
