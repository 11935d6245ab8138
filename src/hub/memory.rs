//! What clients make us keep that is one client's own: answers it has not read, input that is not
//! complete, or not worked off.
//!
//! Counts, and closes nobody.

use super::{clients::Clients, unparsed::Unparsed};
use crate::delivery::Delivery;

/// The parts that keep it.
pub(super) struct OwnMemory<'a> {
    pub(super) clients: &'a Clients,
    pub(super) delivery: &'a Delivery,
    pub(super) unparsed: &'a Unparsed,
}

impl OwnMemory<'_> {
    /// Of all clients, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.delivery.owned_bytes() + self.clients.partial_bytes() + self.unparsed.bytes()
    }

    /// The open clients that cost most, at most so many.
    pub(super) fn costliest(&self, count: usize) -> Vec<u32> {
        let slots = self.clients.slots();
        let open = slots.filter(|&slot| self.clients.is_open(slot));
        let mut costliest: Vec<_> = open.map(|slot| (self.bytes_of(slot), slot)).collect();
        costliest.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        costliest.truncate(count);
        costliest.into_iter().map(|(_, slot)| slot).collect()
    }

    fn bytes_of(&self, slot: u32) -> usize {
        self.delivery.backlog(slot).map_or(0, |it| it.owned_bytes())
            + self.clients.partial_bytes_of(slot)
            + self.unparsed.bytes_of(slot)
    }
}
