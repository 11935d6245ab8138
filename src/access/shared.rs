//! Grants that several clients share: each value is kept once.
//!
//! A grant lives as long as somebody holds it. What nobody holds any more is found a few at a time,
//! when another one comes: there are never more than twice as many as are held, and some.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use super::jwt::JwtGrant;

/// The grants that were handed out.
#[derive(Clone, Debug, Default)]
pub struct SharedGrants {
    /// Nothing walks it in order.
    known: HashSet<Arc<JwtGrant>>,
    /// The same ones, in the order in which they are looked at.
    round: VecDeque<Arc<JwtGrant>>,
}

impl SharedGrants {
    /// The one that is equal to this.
    pub(super) fn share(&mut self, grant: JwtGrant) -> Arc<JwtGrant> {
        for _ in 0..LOOKS {
            self.look();
        }
        if let Some(known) = self.known.get(&grant) {
            return Arc::clone(known);
        }
        let grant = Arc::new(grant);
        self.known.insert(Arc::clone(&grant));
        self.round.push_back(Arc::clone(&grant));
        grant
    }

    /// Looks whether anybody holds the next one.
    fn look(&mut self) {
        let Some(next) = self.round.pop_front() else {
            return;
        };
        if Arc::strong_count(&next) > HOLDERS_HERE {
            self.round.push_back(next);
        } else {
            self.known.remove(&next);
        }
    }

    #[cfg(all(test, feature = "tls"))]
    pub(crate) fn count(&self) -> usize {
        assert_eq!(self.known.len(), self.round.len());
        self.known.len()
    }
}

/// At each new one.
const LOOKS: usize = 2;
/// The set, and the round.
const HOLDERS_HERE: usize = 2;
