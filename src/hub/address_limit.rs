//! Clients by the address they come from.
//!
//! Counts only where there is a limit; without one it holds nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

/// The open clients of each address.
#[derive(Debug, Default)]
pub(super) struct AddressLimit {
    clients_max: Option<usize>,
    /// None of them zero.
    open: BTreeMap<IpAddr, usize>,
    /// By slot; empty without a limit.
    of_client: Vec<Option<IpAddr>>,
}

impl AddressLimit {
    pub(super) fn new(clients_max: Option<usize>) -> Self {
        Self {
            clients_max,
            ..Self::default()
        }
    }

    /// A new client comes from this address.
    pub(super) fn note(&mut self, slot: u32, address: Option<IpAddr>) {
        if self.clients_max.is_none() {
            return;
        }
        let slot = slot as usize;
        if self.of_client.len() <= slot {
            self.of_client.resize(slot + 1, None);
        }
        self.of_client[slot] = address.map(host);
    }

    /// Whether no client more may open from where this one comes.
    pub(super) fn is_full(&self, slot: u32) -> bool {
        let open = self.of(slot).and_then(|address| self.open.get(&address));
        self.clients_max
            .is_some_and(|max| open.copied().unwrap_or(0) >= max)
    }

    /// The client is open.
    pub(super) fn insert(&mut self, slot: u32) {
        if let Some(address) = self.of(slot) {
            *self.open.entry(address).or_default() += 1;
        }
    }

    /// The client is not open any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(address) = self.of(slot) else {
            return;
        };
        let open = self.open.get_mut(&address).expect("it was counted");
        *open -= 1;
        if *open == 0 {
            self.open.remove(&address);
        }
    }

    fn of(&self, slot: u32) -> Option<IpAddr> {
        self.of_client.get(slot as usize).copied().flatten()
    }

    /// No more clients are counted than are open.
    pub(super) fn check_invariants(&self, open_clients: usize) {
        assert!(self.open.values().all(|&open| open > 0));
        assert!(self.open.values().sum::<usize>() <= open_clients);
    }
}

/// What one host has: an IPv4 address, or all of an IPv6 network of 64 bits (RFC 4291, 2.5.1).
pub(super) fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_ipv4_address_or_a_network_of_64_bits() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("::1", "::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(host(address).to_string(), expected, "{address}");
        }
    }

    #[test]
    fn each_address_has_its_own_count_and_an_unknown_one_none() {
        let mut addresses = AddressLimit::new(Some(2));
        let [ann, bob] = ["192.0.2.1", "192.0.2.2"].map(|it| Some(it.parse().unwrap()));
        for (slot, address) in (0..).zip([ann, ann, ann, bob, None]) {
            addresses.note(slot, address);
        }
        for (slot, is_full) in [(0, false), (1, false), (2, true), (3, false), (4, false)] {
            assert_eq!(addresses.is_full(slot), is_full, "{slot}");
            if !is_full {
                addresses.insert(slot);
            }
        }
        addresses.remove(0);
        assert!(!addresses.is_full(2));
        for slot in [1, 3, 4] {
            addresses.remove(slot);
        }
        assert!(addresses.open.is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_held() {
        let mut addresses = AddressLimit::new(None);
        addresses.note(7, Some("192.0.2.1".parse().unwrap()));
        addresses.insert(7);
        assert!(!addresses.is_full(7));
        assert!(addresses.open.is_empty() && addresses.of_client.is_empty());
        addresses.remove(7);
    }
}
