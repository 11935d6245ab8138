//! Who has a place, and who goes first where there is none.
//!
//! Counts clients against their limits, in all and by address, and knows the most dispensable
//! connection. Closes nobody: it names the connection, and the hub acts.

use super::{
    address_limit::AddressLimit,
    clients::{Clients, Kind, Phase},
    eviction::{Eviction, EvictionClass},
};
use crate::{
    config::Limits,
    http::response::Status,
    id::{ClientId, Tick},
};
use std::net::IpAddr;

/// The places that there are.
///
/// A connection is [noted](Self::note_address) when it comes, and takes a place from
/// [`Self::open`] to [`Self::close`].
#[derive(Debug)]
pub(super) struct Room {
    clients_max: usize,
    address_limit: AddressLimit,
    eviction: Eviction,
}

impl Room {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            clients_max: limits.clients_max.unwrap_or(usize::MAX),
            address_limit: AddressLimit::new(limits.address_clients_max),
            eviction: Eviction::default(),
        }
    }

    /// A connection comes from this address, or the client on it, as far as that counts.
    pub(super) fn note_address(&mut self, slot: u32, peer: Option<IpAddr>) {
        self.address_limit.note(slot, peer);
    }

    /// The client has a place from now on.
    pub(super) fn open(&mut self, slot: u32) {
        self.address_limit.insert(slot);
    }

    /// The client has none any more.
    pub(super) fn close(&mut self, slot: u32) {
        self.address_limit.remove(slot);
    }

    /// Whether another connection may be accepted: beyond the clients there is room for a few that
    /// are answered with 503.
    pub(super) fn is_left(&self, clients: &Clients) -> bool {
        clients.count() < self.clients_max.saturating_add(REFUSED_MAX)
    }

    /// Why a connection cannot become a client's, if so.
    pub(super) fn find_lack(
        &mut self,
        slot: u32,
        clients: &Clients,
    ) -> Option<(Status, &'static str)> {
        let class = EvictionClass::Unauthenticated;
        if self.is_full(clients) && self.oldest(class, clients).is_none() {
            Some((
                Status::ServiceUnavailable,
                "too many clients (--max-clients)",
            ))
        } else if self.address_limit.is_full(slot) {
            let reason = "too many clients from this address (--max-clients-per-address)";
            Some((Status::TooManyRequests, reason))
        } else {
            None
        }
    }

    /// Who goes for another client, where as many are open as may be: clients without a token keep
    /// nobody out.
    pub(super) fn find_weakest(&mut self, clients: &Clients) -> Option<ClientId> {
        if !self.is_full(clients) {
            return None;
        }
        let oldest = self.oldest(EvictionClass::Unauthenticated, clients);
        oldest.map(|(id, _)| id)
    }

    fn is_full(&self, clients: &Clients) -> bool {
        clients.open_count() >= self.clients_max
    }

    /// The connection that goes first where there is no room: the oldest that has not said what it
    /// wants, then the oldest that has its answer. A connection that came to that in this very tick
    /// stays: its head, or its end, may be here already.
    pub(super) fn find_dispensable(&mut self, clients: &Clients, now: Tick) -> Option<ClientId> {
        [EvictionClass::Unfinished, EvictionClass::Ending]
            .into_iter()
            .find_map(|class| {
                let (id, _) = self.oldest(class, clients)?;
                (clients.phase_began(id.slot) != now).then_some(id)
            })
    }

    /// Notes that the connection came into the class now, if it is in it.
    pub(super) fn note(&mut self, class: EvictionClass, slot: u32, clients: &Clients, now: Tick) {
        let id = clients.id(slot);
        if is_in(clients, id, class, now) {
            self.eviction
                .note(class, id, now, |id, at| is_in(clients, id, class, at));
        }
    }

    /// The connection that is longest in the class, and since when.
    pub(super) fn oldest(
        &mut self,
        class: EvictionClass,
        clients: &Clients,
    ) -> Option<(ClientId, Tick)> {
        self.eviction
            .oldest(class, |id, at| is_in(clients, id, class, at))
    }

    /// No more clients are counted than are open.
    pub(super) fn check_invariants(&self, clients: &Clients) {
        self.address_limit.check_invariants(clients.open_count());
    }
}

/// Whether a connection that was noted then, or is to be, is in the class.
fn is_in(clients: &Clients, id: ClientId, class: EvictionClass, noted_at: Tick) -> bool {
    let phase = clients.phase(id.slot).filter(|_| clients.is_current(id));
    let Some(phase) = phase else {
        return false;
    };
    match class {
        // A connection that is noted there stays until its end.
        EvictionClass::Admin | EvictionClass::Refused => true,
        // One that asks again comes into it anew.
        EvictionClass::Unfinished => {
            phase.is_unfinished() && clients.phase_began(id.slot) == noted_at
        }
        EvictionClass::Unauthenticated => matches!(phase, Phase::Unauthenticated { .. }),
        EvictionClass::Ending => phase.is_ending() && clients.kind(id.slot) != Kind::Admin,
    }
}

/// Connections beyond the most clients: their heads are read and answered.
pub(super) const REFUSED_MAX: usize = 32;
