//! Clients by whose token let them in.
//!
//! Counts only where there is a limit; without one it holds nothing. A client whose token names
//! nobody, as one of the file does, is in no count.

use std::collections::HashMap;

/// The open clients of each identity.
#[derive(Debug, Default)]
pub(super) struct IdentityLimit {
    clients_max: Option<usize>,
    /// None of them zero; nothing walks it in order.
    open: HashMap<Box<str>, usize>,
}

impl IdentityLimit {
    pub(super) fn new(clients_max: Option<usize>) -> Self {
        Self {
            clients_max,
            open: HashMap::new(),
        }
    }

    /// Whether no client more may be of this identity.
    pub(super) fn is_full(&self, identity: Option<&str>) -> bool {
        let open = identity.and_then(|identity| self.open.get(identity));
        self.clients_max
            .is_some_and(|max| open.is_some_and(|&open| open >= max))
    }

    /// A client is of this identity from now on.
    pub(super) fn insert(&mut self, identity: Option<&str>) {
        let Some(identity) = identity.filter(|_| self.clients_max.is_some()) else {
            return;
        };
        match self.open.get_mut(identity) {
            Some(open) => *open += 1,
            None => {
                self.open.insert(identity.into(), 1);
            }
        }
    }

    /// A client is not of this identity any more.
    pub(super) fn remove(&mut self, identity: Option<&str>) {
        let Some(identity) = identity.filter(|_| self.clients_max.is_some()) else {
            return;
        };
        let open = self.open.get_mut(identity).expect("it was counted");
        *open -= 1;
        if *open == 0 {
            self.open.remove(identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_has_its_own_count_and_nobody_none() {
        let mut limit = IdentityLimit::new(Some(2));
        let (ann, bob) = (Some("ann"), Some("bob"));
        for (identity, is_full) in [(ann, false), (ann, false), (bob, false), (None, false)] {
            assert_eq!(limit.is_full(identity), is_full, "{identity:?}");
            limit.insert(identity);
        }
        assert!(limit.is_full(ann) && !limit.is_full(bob) && !limit.is_full(None));
        limit.remove(ann);
        assert!(!limit.is_full(ann));
        for identity in [ann, bob, None] {
            limit.remove(identity);
        }
        assert!(limit.open.is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_held() {
        let mut limit = IdentityLimit::new(None);
        limit.insert(Some("ann"));
        assert!(!limit.is_full(Some("ann")) && limit.open.is_empty());
        limit.remove(Some("ann"));
    }
}
