//! The two addresses of each connection: whence it comes, and to which address of ours.
//!
//! Knows neither what is allowed at an address nor how many come from one.

use std::net::IpAddr;

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

/// The addresses of all connections.
#[derive(Debug, Default)]
pub(super) struct EndpointsBySlot(Vec<Entry>);

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    peer: Option<IpAddr>,
    is_to_loopback: bool,
}

impl EndpointsBySlot {
    /// A new connection has these.
    pub(super) fn note(&mut self, slot: u32, endpoints: Endpoints) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, Entry::default());
        }
        self.0[slot] = Entry {
            peer: endpoints.peer.map(|it| it.to_canonical()),
            is_to_loopback: endpoints
                .local
                .is_some_and(|it| it.to_canonical().is_loopback()),
        };
    }

    /// Whence the connection comes.
    pub(super) fn peer(&self, slot: u32) -> Option<IpAddr> {
        self.0.get(slot as usize).and_then(|it| it.peer)
    }

    /// Whether it came to a loopback address.
    pub(super) fn is_to_loopback(&self, slot: u32) -> bool {
        self.0
            .get(slot as usize)
            .is_some_and(|it| it.is_to_loopback)
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
