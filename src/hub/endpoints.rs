//! The two addresses of each connection: whence it comes, and to which address of ours.
//!
//! Whence a connection comes, a trusted proxy says: once, in a preamble, or with each request in a
//! header. To which address of ours it came, its socket alone says. Knows neither what is allowed at an
//! address nor how many come from one.

use std::{collections::HashSet, net::IpAddr};

use crate::{
    access::proxies::{ProxyHeader, TrustedProxies},
    http::{
        fields::Fields,
        forwarded::{by_forwarded, by_x_forwarded_for},
    },
};

/// The addresses of a connection; none where the socket has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// The peer's.
    pub peer: Option<IpAddr>,
    /// Ours: on a wildcard bind, the one that the peer came to.
    pub local: Option<IpAddr>,
}

impl Endpoints {
    /// Those of a peer at this address.
    pub fn from_peer(peer: IpAddr) -> Self {
        Self {
            peer: Some(peer),
            local: None,
        }
    }
}

/// The addresses of all connections, and those of the clients for whom trusted proxies speak.
#[derive(Debug, Default)]
pub(super) struct EndpointsBySlot {
    entries: Vec<Entry>,
    proxies: TrustedProxies,
    /// By slot: the client for whom a proxy asks, while a request of its is looked at or the connection is
    /// that of a client. Empty where no proxy is trusted.
    clients: Vec<Option<IpAddr>>,
    /// Connections whose preamble is not here yet.
    awaited: HashSet<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    peer: Option<IpAddr>,
    is_to_loopback: bool,
}

impl EndpointsBySlot {
    /// These proxies are believed.
    pub(super) fn new(proxies: TrustedProxies) -> Self {
        Self {
            proxies,
            ..Self::default()
        }
    }

    // ---- connections

    /// Whether a connection from there is taken at all.
    pub(super) fn take(&self, endpoints: Endpoints) -> bool {
        !self.proxies.proxy_protocol || self.is_trusted(endpoints.peer)
    }

    /// A new connection has these; `is_admin`: it is an operator's, and has no preamble.
    pub(super) fn note(&mut self, slot: u32, endpoints: Endpoints, is_admin: bool) {
        let at = slot as usize;
        if self.entries.len() <= at {
            self.entries.resize(at + 1, Entry::default());
            if !self.proxies.networks.is_empty() {
                self.clients.resize(at + 1, None);
            }
        }
        self.entries[at] = Entry {
            peer: endpoints.peer.map(|it| it.to_canonical()),
            is_to_loopback: endpoints
                .local
                .is_some_and(|it| it.to_canonical().is_loopback()),
        };
        self.forget_request(slot);
        if self.proxies.proxy_protocol && !is_admin {
            let is_new = self.awaited.insert(slot);
            debug_assert!(is_new, "the one before was forgotten");
        }
    }

    /// Whether a preamble is to come before everything else.
    pub(super) fn awaits_preamble(&self, slot: u32) -> bool {
        !self.awaited.is_empty() && self.awaited.contains(&slot)
    }

    /// The preamble is here, and names this client; `None`: the proxy speaks for itself.
    pub(super) fn note_preamble(&mut self, slot: u32, client: Option<IpAddr>) {
        self.awaited.remove(&slot);
        if let Some(client) = client {
            self.entries[slot as usize].peer = Some(client.to_canonical());
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if !self.awaited.is_empty() {
            self.awaited.remove(&slot);
        }
    }

    // ---- requests

    /// The next request is looked at: another client may ask by it.
    pub(super) fn note_request(&mut self, slot: u32, fields: &Fields<'_>) {
        let peer = self.entries.get(slot as usize).and_then(|it| it.peer);
        let Some(peer) = peer.filter(|&it| self.proxies.hold(it)) else {
            return;
        };
        let is_believed = |address| self.proxies.hold(address);
        let client = match self.proxies.header {
            ProxyHeader::XForwardedFor => by_x_forwarded_for(fields, peer, is_believed),
            ProxyHeader::Forwarded => by_forwarded(fields, peer, is_believed),
        };
        self.clients[slot as usize] = Some(client);
    }

    /// The connection is between two requests: nobody is known to ask.
    pub(super) fn forget_request(&mut self, slot: u32) {
        if let Some(client) = self.clients.get_mut(slot as usize) {
            *client = None;
        }
    }

    // ---- what is known

    /// The address of the client, as far as it is known.
    pub(super) fn peer(&self, slot: u32) -> Option<IpAddr> {
        let slot = slot as usize;
        let client = self.clients.get(slot).copied().flatten();
        client.or_else(|| self.entries.get(slot)?.peer)
    }

    /// The same, if it counts as one client's: that of a trusted proxy stands for any number.
    pub(super) fn limited(&self, slot: u32) -> Option<IpAddr> {
        let peer = self.peer(slot);
        peer.filter(|&it| !self.proxies.hold(it))
    }

    /// Whether the connection came to a loopback address: by its socket, whatever a proxy says.
    pub(super) fn is_to_loopback(&self, slot: u32) -> bool {
        self.entries
            .get(slot as usize)
            .is_some_and(|it| it.is_to_loopback)
    }

    fn is_trusted(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|it| self.proxies.hold(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_seen_through_an_ipv6_socket_too() {
        let mut endpoints = EndpointsBySlot::default();
        for (local, is_to_loopback) in [
            (Some("127.0.0.1"), true),
            (Some("127.9.9.9"), true),
            (Some("::1"), true),
            (Some("::ffff:127.0.0.1"), true),
            (Some("192.0.2.1"), false),
            (Some("::ffff:192.0.2.1"), false),
            (None, false),
        ] {
            let local_addr = local.map(|it| it.parse().unwrap());
            endpoints.note(
                3,
                Endpoints {
                    peer: Some("::ffff:192.0.2.7".parse().unwrap()),
                    local: local_addr,
                },
                false,
            );
            assert_eq!(endpoints.is_to_loopback(3), is_to_loopback, "{local:?}");
            assert_eq!(endpoints.peer(3), Some("192.0.2.7".parse().unwrap()));
        }
        assert_eq!(
            (endpoints.peer(9), endpoints.is_to_loopback(9)),
            (None, false)
        );
    }
}
