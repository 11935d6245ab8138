//! Which address of a name is connected to next (RFC 8305, "Happy Eyeballs").
//!
//! Owns the order of the addresses, and when each is begun and given up. Knows no socket and no
//! reason for a failure; whoever opens the connections tells it the time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The addresses of one name, of which the first one that takes a connection wins.
///
/// Until the race [is over](Self::is_over) or won: close what [`Self::poll_expired`] returns, open
/// what [`Self::poll_start`] returns, report [`Self::handle_failed`] or [`Self::win`], and come
/// again at the [`Self::deadline`].
#[derive(Debug)]
pub struct Race {
    /// Not begun yet.
    waiting: VecDeque<SocketAddr>,
    /// Begun, in that order.
    running: Vec<Runner>,
    /// When the first address in `waiting` is begun, if no failure comes before.
    next_at: Instant,
    /// For each address, from its own beginning.
    timeout: Duration,
}

#[derive(Debug)]
struct Runner {
    address: SocketAddr,
    deadline: Instant,
}

impl Race {
    /// The first of the addresses is begun at once; repeated ones count once, and those beyond
    /// [`ADDRESSES_MAX`] not at all.
    pub fn new(
        addresses: impl IntoIterator<Item = SocketAddr>,
        timeout: Duration,
        now: Instant,
    ) -> Self {
        let mut waiting = Vec::new();
        for address in addresses {
            if waiting.len() < ADDRESSES_MAX && !waiting.contains(&address) {
                waiting.push(address);
            }
        }
        Self {
            waiting: interleaved(waiting),
            running: Vec::new(),
            next_at: now,
            timeout,
        }
    }

    /// The address to be connected to now, if its turn has come.
    pub fn poll_start(&mut self, now: Instant) -> Option<SocketAddr> {
        if now < self.next_at && !self.running.is_empty() {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.next_at = now + NEXT_AFTER;
        self.running.push(Runner {
            address,
            deadline: now + self.timeout,
        });
        Some(address)
    }

    /// An address whose time is up: it has failed.
    pub fn poll_expired(&mut self, now: Instant) -> Option<SocketAddr> {
        let expired = self.running.iter().position(|it| it.deadline <= now)?;
        Some(self.running.remove(expired).address)
    }

    /// The address takes no connection: the next one need not wait. Returns whether it was in the
    /// race.
    pub fn handle_failed(&mut self, address: SocketAddr, now: Instant) -> bool {
        let Some(at) = self.running.iter().position(|it| it.address == address) else {
            return false;
        };
        self.running.remove(at);
        self.next_at = now;
        true
    }

    /// The address took the connection. Returns its deadline, and the addresses that are left.
    pub fn win(&self, address: SocketAddr) -> Option<(Instant, Vec<SocketAddr>)> {
        let winner = self.running.iter().find(|it| it.address == address)?;
        let deadline = winner.deadline;
        let running = self.running.iter().map(|it| it.address);
        let others = running
            .chain(self.waiting.iter().copied())
            .filter(|&it| it != address);
        Some((deadline, others.collect()))
    }

    /// Whether every address has failed.
    pub fn is_over(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// When an address is begun or given up, unless the race is over.
    pub fn deadline(&self) -> Instant {
        let next = self.waiting.front().map(|_| self.next_at);
        let expiries = self.running.iter().map(|it| it.deadline);
        expiries.chain(next).min().unwrap_or(self.next_at)
    }
}

/// The families in turn, beginning with that of the first address, each in its own order (RFC
/// 8305, 4).
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_ipv6);
    let mut order = VecDeque::with_capacity(one.len() + other.len());
    while let Some(address) = one.pop_front() {
        order.push_back(address);
        std::mem::swap(&mut one, &mut other);
        if one.is_empty() {
            std::mem::swap(&mut one, &mut other);
        }
    }
    order
}

/// Of one name: each may be a socket at the same time.
pub const ADDRESSES_MAX: usize = 32;
/// The next address is tried beside those before it (RFC 8305, 5).
const NEXT_AFTER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn parse(text: &str) -> Vec<SocketAddr> {
        let addresses = text.split_whitespace();
        addresses.map(|it| it.parse().unwrap()).collect()
    }

    fn race(text: &str, now: Instant) -> Race {
        Race::new(parse(text), Duration::from_secs(5), now)
    }

    #[test]
    fn families_take_turns() {
        for (addresses, order) in [
            ("", ""),
            ("[::1]:1", "[::1]:1"),
            (
                "[::1]:1 [::2]:1 1.1.1.1:1 1.1.1.2:1",
                "[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1",
            ),
            (
                "1.1.1.1:1 1.1.1.2:1 1.1.1.3:1 [::1]:1",
                "1.1.1.1:1 [::1]:1 1.1.1.2:1 1.1.1.3:1",
            ),
            (
                "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1",
                "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1",
            ),
        ] {
            assert_eq!(interleaved(parse(addresses)), parse(order), "{addresses}");
        }
    }

    #[test]
    fn the_next_address_is_begun_after_a_quarter_of_a_second_or_a_failure() {
        let now = start();
        let mut race = race("1.1.1.1:1 1.1.1.2:1 1.1.1.3:1", now);
        let [one, two, three] = parse("1.1.1.1:1 1.1.1.2:1 1.1.1.3:1")[..] else {
            unreachable!()
        };
        assert_eq!(race.poll_start(now), Some(one));
        assert_eq!(race.poll_start(now), None);
        let then = now + NEXT_AFTER;
        assert_eq!(race.deadline(), then);
        assert_eq!(race.poll_start(then - Duration::from_nanos(1)), None);
        assert_eq!(race.poll_start(then), Some(two));
        assert!(race.handle_failed(one, then) && !race.handle_failed(one, then));
        assert_eq!(race.poll_start(then), Some(three));
        let deadline = then + Duration::from_secs(5);
        assert_eq!(race.deadline(), deadline);
        assert_eq!(race.win(three), Some((deadline, vec![two])));
    }

    #[test]
    fn each_address_has_its_own_time() {
        let now = start();
        let mut race = race("1.1.1.1:1 1.1.1.2:1", now);
        let [one, two] = parse("1.1.1.1:1 1.1.1.2:1")[..] else {
            unreachable!()
        };
        race.poll_start(now);
        race.poll_start(now + NEXT_AFTER);
        let first = now + Duration::from_secs(5);
        assert_eq!(race.poll_expired(first - Duration::from_nanos(1)), None);
        assert_eq!(race.poll_expired(first), Some(one));
        assert!(!race.is_over());
        assert_eq!(race.deadline(), first + NEXT_AFTER);
        assert_eq!(race.poll_expired(first + NEXT_AFTER), Some(two));
        assert!(race.is_over());
    }

    #[test]
    fn a_name_of_many_addresses_costs_a_bounded_number_of_sockets() {
        for (count, expected) in [
            (ADDRESSES_MAX - 1, ADDRESSES_MAX - 1),
            (ADDRESSES_MAX, ADDRESSES_MAX),
            (ADDRESSES_MAX + 1, ADDRESSES_MAX),
        ] {
            let ports = 1..=u16::try_from(count).unwrap();
            let addresses = ports.map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
            let twice = addresses.clone().chain(addresses);
            let race = Race::new(twice, Duration::from_secs(5), start());
            assert_eq!(race.waiting.len(), expected);
        }
    }
}
