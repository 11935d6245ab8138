//! Permissions that were given to one client, by whoever was asked about it.
//!
//! Owns them for as long as the client lives. Refuses to know who was asked: the program around the
//! bridge, or, one day, a function of the database.

use slab::Slab;

use super::{Permissions, tokens::TokenId};

/// All grants, each under an id that no token of a file has.
#[derive(Clone, Debug, Default)]
pub struct Grants(Slab<Permissions>);

impl Grants {
    /// One more; [`Self::release`] ends it.
    pub(super) fn insert(&mut self, permissions: Permissions) -> TokenId {
        TokenId::of_grant(self.0.insert(permissions))
    }

    /// The client is gone, or came to have other permissions. An id of another kind is left alone.
    pub(super) fn release(&mut self, id: TokenId) {
        if let Some(at) = id.grant() {
            self.0.try_remove(at);
        }
    }

    /// Other permissions under the same id. Whether it is of a grant.
    pub(super) fn replace(&mut self, id: TokenId, permissions: Permissions) -> bool {
        let granted = id.grant().and_then(|at| self.0.get_mut(at));
        granted.map(|it| *it = permissions).is_some()
    }

    /// The permissions, if the id is of a grant.
    pub(super) fn find(&self, id: TokenId) -> Option<&Permissions> {
        self.0.get(id.grant()?)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
