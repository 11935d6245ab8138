//! Who guesses tokens: how many wrong ones each address may present.
//!
//! An address has [`WRONG_TOKENS_MAX`] at once and one more each second; past that its tokens are
//! not looked at. Where a right one came from, none is refused unseen for a while: behind a proxy
//! everybody has one address, and a guesser there must not keep out the others. Knows no tokens.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::address_limit::host;

/// The addresses from which tokens came.
#[derive(Debug)]
pub(super) struct Guessing {
    /// At most [`HOSTS_MAX`]; nothing walks it in order.
    hosts: HashMap<IpAddr, Host>,
    /// Not made room in again before then.
    full_until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Host {
    /// When its wrong tokens will be forgotten, one each [`FORGET_TIME`].
    forgotten_at: Instant,
    /// Until then it is known for a right one.
    trusted_until: Instant,
}

impl Guessing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            hosts: HashMap::new(),
            full_until: now,
        }
    }

    /// Whether a token from there is not to be looked at now.
    pub(super) fn is_refused(&self, peer: Option<IpAddr>, now: Instant) -> bool {
        let known = peer.and_then(|peer| self.hosts.get(&host(peer)));
        known.is_some_and(|it| {
            it.trusted_until <= now && it.forgotten_at + FORGET_TIME > now + FORGET_ALL_TIME
        })
    }

    /// A token from there was nobody's.
    pub(super) fn note_wrong(&mut self, peer: Option<IpAddr>, now: Instant) {
        if let Some(host) = self.entry(peer, now) {
            host.forgotten_at = host.forgotten_at.max(now) + FORGET_TIME;
            // Behind one address there may be many guessers; a day of them is forgotten as fast.
            host.forgotten_at = host.forgotten_at.min(now + FORGET_ALL_TIME);
        }
    }

    /// A token from there was somebody's.
    pub(super) fn note_right(&mut self, peer: Option<IpAddr>, now: Instant) {
        if let Some(host) = self.entry(peer, now) {
            host.trusted_until = now + TRUST_TIME;
        }
    }

    /// What is known of the address; none where there are too many that guess to know all.
    fn entry(&mut self, peer: Option<IpAddr>, now: Instant) -> Option<&mut Host> {
        let address = host(peer?);
        if !self.hosts.contains_key(&address) && self.hosts.len() >= HOSTS_MAX {
            self.make_room(now);
            if self.hosts.len() >= HOSTS_MAX {
                return None;
            }
        }
        Some(self.hosts.entry(address).or_insert(Host {
            forgotten_at: now,
            trusted_until: now,
        }))
    }

    /// Forgets those of whom there is nothing to know, else those who only were right: at most
    /// once in a while, for it looks at all of them.
    fn make_room(&mut self, now: Instant) {
        if now < self.full_until {
            return;
        }
        self.full_until = now + FORGET_TIME;
        self.hosts
            .retain(|_, it| it.forgotten_at > now || it.trusted_until > now);
        if self.hosts.len() >= HOSTS_MAX {
            self.hosts.retain(|_, it| it.forgotten_at > now);
        }
    }
}

/// Wrong tokens of one address at once.
pub(super) const WRONG_TOKENS_MAX: u32 = 20;
/// After this, one of them is forgotten.
const FORGET_TIME: Duration = Duration::from_secs(1);
/// After this, all of them are.
const FORGET_ALL_TIME: Duration = Duration::from_secs(WRONG_TOKENS_MAX as u64);
/// For so long after a right token an address is trusted: longer than connections last.
const TRUST_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Addresses that are known.
const HOSTS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn peer(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.into()))
    }

    #[test]
    fn an_address_has_20_wrong_tokens_and_one_more_each_second() {
        let mut now = start();
        let mut guessing = Guessing::new(now);
        for count in 0..WRONG_TOKENS_MAX {
            assert!(!guessing.is_refused(peer(1), now), "{count}");
            guessing.note_wrong(peer(1), now);
        }
        assert!(guessing.is_refused(peer(1), now));
        assert!(!guessing.is_refused(peer(2), now), "another one");
        assert!(!guessing.is_refused(None, now), "nobody knows whence");
        now += FORGET_TIME;
        assert!(!guessing.is_refused(peer(1), now));
        guessing.note_wrong(peer(1), now);
        assert!(guessing.is_refused(peer(1), now));
    }

    #[test]
    fn where_a_right_one_came_from_none_is_refused_unseen() {
        let now = start();
        let mut guessing = Guessing::new(now);
        guessing.note_right(peer(1), now);
        for _ in 0..100 * WRONG_TOKENS_MAX {
            guessing.note_wrong(peer(1), now);
        }
        assert!(!guessing.is_refused(peer(1), now));
        let later = now + TRUST_TIME;
        assert!(!guessing.is_refused(peer(1), later), "they are forgotten");
        for _ in 0..WRONG_TOKENS_MAX {
            guessing.note_wrong(peer(1), later);
        }
        assert!(guessing.is_refused(peer(1), later), "so is the right one");
    }

    #[test]
    fn guessers_of_many_addresses_cost_a_bounded_memory() {
        let mut now = start();
        let mut guessing = Guessing::new(now);
        for number in 0..2 * u32::try_from(HOSTS_MAX).unwrap() {
            guessing.note_wrong(peer(number), now);
        }
        assert_eq!(guessing.hosts.len(), HOSTS_MAX);
        now += FORGET_TIME;
        let newcomer = peer(u32::MAX);
        guessing.note_right(newcomer, now);
        assert_eq!(
            guessing.hosts.len(),
            1,
            "there was nothing more to know of the others"
        );
    }
}
