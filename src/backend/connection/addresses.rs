//! The addresses of one server: which took the connection, and which did so to no end.
//!
//! An address that took a connection and came to nothing is passed over as long as the name has
//! others, and connected to last from then on. Knows no time; the order otherwise is `race`'s.

use std::net::SocketAddr;

use crate::race::ADDRESSES_MAX;

/// The addresses of the server that a route leads to.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Where the connection leads; `None` for a Unix socket, and before one is made.
    taken: Option<SocketAddr>,
    /// Others of the same name had not failed when it was made.
    has_others: bool,
    /// Took a connection of this round, and came to nothing.
    tried: Vec<SocketAddr>,
    /// Came to nothing, in whichever round, and not to a session since.
    mute: Vec<SocketAddr>,
    /// The most that one look-up found.
    found_max: usize,
}

impl Addresses {
    /// Those to be connected to, the more promising ones first.
    pub(super) fn line_up(&mut self, found: &[SocketAddr]) -> Vec<SocketAddr> {
        self.found_max = self.found_max.max(found.len().min(ADDRESSES_MAX));
        let untried = found.iter().copied().filter(|it| !self.tried.contains(it));
        let mut line: Vec<_> = untried.collect();
        line.sort_by_key(|it| self.mute.contains(it));
        line
    }

    /// The address took the connection, before `others` of the same name did.
    pub(super) fn handle_taken(&mut self, address: SocketAddr, others: &[SocketAddr]) {
        self.taken = Some(address);
        self.has_others = !others.is_empty();
    }

    /// No connection is made any more.
    pub(super) fn handle_ended(&mut self) {
        self.taken = None;
        self.has_others = false;
    }

    /// The session that the connection was for is up.
    pub(super) fn handle_up(&mut self) {
        self.tried.clear();
        self.mute.retain(|it| Some(*it) != self.taken);
    }

    /// Another server follows, or the round is over.
    pub(super) fn leave(&mut self) {
        self.handle_ended();
        self.tried.clear();
    }

    /// The address that took the connection came to nothing. Returns whether the name has another
    /// one that may do.
    pub(super) fn pass_over(&mut self) -> bool {
        let Some(address) = self.taken else {
            return false;
        };
        if !self.mute.contains(&address) {
            if self.mute.len() == ADDRESSES_MAX {
                self.mute.remove(0);
            }
            self.mute.push(address);
        }
        let is_another_left = self.has_others && self.tried.len() < ADDRESSES_MAX;
        if is_another_left {
            self.tried.push(address);
        }
        self.handle_ended();
        is_another_left
    }

    /// Where the connection leads.
    pub(super) fn taken(&self) -> Option<SocketAddr> {
        self.taken
    }

    /// The most addresses that a server of this connection had; at least one.
    pub(super) fn found_max(&self) -> u32 {
        u32::try_from(self.found_max.max(1)).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 5432))
    }

    #[test]
    fn a_mute_address_is_passed_over_and_comes_last_in_later_rounds() {
        let all = [address(1), address(2)];
        let mut addresses = Addresses::default();
        assert_eq!(addresses.line_up(&all), all);
        addresses.handle_taken(address(1), &all[1..]);
        assert!(addresses.pass_over() && addresses.taken().is_none());
        assert_eq!(addresses.line_up(&all), [address(2)]);
        addresses.handle_taken(address(2), &[]);
        assert!(!addresses.pass_over(), "no other is left");
        addresses.leave();
        addresses.handle_taken(address(2), &all[..1]);
        addresses.handle_up();
        assert_eq!(addresses.line_up(&all), [address(2), address(1)]);
        addresses.handle_taken(address(1), &[]);
        addresses.handle_up();
        assert_eq!(addresses.line_up(&all), all, "it came to a session");
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded() {
        let mut addresses = Addresses::default();
        for last in 0..=u8::MAX {
            addresses.handle_taken(address(last), &[address(0)]);
            let is_another_tried = addresses.pass_over();
            assert_eq!(is_another_tried, usize::from(last) < ADDRESSES_MAX);
        }
        assert_eq!(addresses.mute.len(), ADDRESSES_MAX);
        assert_eq!(addresses.tried.len(), ADDRESSES_MAX);
    }
}
