//! The admin address: health and metrics where clients do not come.
//!
//! Knows who came there; what is answered is `http`'s.

use super::{
    eviction::EvictionClass,
    parts::{ADMIN, Disconnect, Hub},
};
use crate::id::{ClientId, Tick};

impl Hub {
    /// A socket was accepted at the admin address. Who leaves connections open there keeps nobody
    /// out: beyond the most of them the oldest is let go.
    pub(super) fn handle_admin_connected(&mut self, now: Tick) -> ClientId {
        if self.admin_count >= ADMIN_CONNECTIONS_MAX {
            if let Some((oldest, _)) = self.oldest(EvictionClass::Admin) {
                self.metrics.admin_crowded_out += 1;
                self.drop_client(oldest.slot, Disconnect::Drop);
            }
        }
        let id = self.handle_connected(ADMIN, now);
        self.admin_count += 1;
        self.note(id, EvictionClass::Admin, now);
        id
    }

    pub(super) fn is_admin(&self, slot: u32) -> bool {
        self.hot[slot as usize].is(ADMIN)
    }
}

/// Connections to the admin address at a time.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 16;
