//! Connections there is no room for: each is told so, and none of them stays.
//!
//! A connection that is closed unread is a reset to its peer. So its head is read, it gets 503
//! with `Retry-After`, and a moment to take it.

use std::{net::IpAddr, time::Duration};

use super::{
    deadlines::elapsed,
    eviction::EvictionClass,
    http::Answer,
    parts::{Disconnect, EXCESS, Hub},
};
use crate::id::{ClientId, Tick};

impl Hub {
    /// A socket was accepted. If that makes too many unfinished handshakes, the oldest of them is
    /// refused, and if there is no room, the most dispensable goes: who connects and says nothing
    /// keeps nobody out.
    pub(super) fn handle_client_connected(
        &mut self,
        address: Option<IpAddr>,
        now: Tick,
    ) -> ClientId {
        if self.handshaking >= self.limits.handshakes_max {
            self.refuse_oldest_handshake(now);
        }
        if !self.has_room() {
            self.make_room(now);
        }
        let id = self.handle_connected(0, now);
        self.addresses.note(id.slot, address);
        self.note(id, EvictionClass::Unfinished, now);
        id
    }

    /// Connections that are not at the admin address.
    pub(super) fn client_count(&self) -> usize {
        self.clients.len() - self.dead.len() - self.admin_count
    }

    /// Whether there is room as it is.
    pub(super) fn has_room(&self) -> bool {
        let max = self.limits.clients_max.unwrap_or(usize::MAX);
        self.client_count() < max.saturating_add(REFUSED_MAX)
    }

    /// Who goes first where there is no room: the oldest that has not said what it wants, then the
    /// oldest that has its answer. Nobody who came to that in this very tick: its head, or its end,
    /// may be here already.
    pub(super) fn dispensable(&mut self, now: Tick) -> Option<ClientId> {
        [EvictionClass::Unfinished, EvictionClass::Ending]
            .into_iter()
            .find_map(|crowd| {
                let (id, _) = self.oldest(crowd)?;
                (self.clients[id.slot as usize].since != now).then_some(id)
            })
    }

    /// A socket was accepted though nothing is left for it.
    pub(super) fn handle_excess(&mut self, now: Tick) -> ClientId {
        self.metrics.connections_excess += 1;
        let id = self.handle_connected(EXCESS, now);
        self.note(id, EvictionClass::Refused, now);
        self.note(id, EvictionClass::Unfinished, now);
        id
    }

    /// Lets go of those that were refused a moment ago.
    pub(super) fn end_refused(&mut self, now: Tick) {
        while let Some((id, since)) = self.oldest(EvictionClass::Refused) {
            if elapsed(since, now) < REFUSAL_TIMEOUT {
                return;
            }
            self.drop_client(id.slot, Disconnect::Drop);
        }
    }

    /// It has no moment to be told: its descriptor is wanted now.
    fn make_room(&mut self, now: Tick) {
        let Some(id) = self.dispensable(now) else {
            return;
        };
        if self.is_in(id, EvictionClass::Unfinished) {
            self.metrics.handshakes_crowded_out += 1;
            self.drop_client(id.slot, Disconnect::Drop);
        } else {
            self.drop_ending(id.slot);
        }
    }

    fn refuse_oldest_handshake(&mut self, now: Tick) {
        let Some((oldest, _)) = self.oldest(EvictionClass::Unfinished) else {
            return;
        };
        self.metrics.handshakes_crowded_out += 1;
        let answer = Answer::no_room("too many unfinished handshakes\n");
        self.hang_up_with(oldest.slot, &answer, now);
        self.note(oldest, EvictionClass::Refused, now);
    }
}

/// Connections beyond the most clients: their heads are read and answered.
pub(super) const REFUSED_MAX: usize = 32;
/// For a refused connection in all: to send its head, and to take the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
