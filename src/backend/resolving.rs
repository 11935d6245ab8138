//! What a session needs that takes its time: its settings, read anew, and the key of SCRAM.
//!
//! Each is ordered and comes back as a value; the files and threads behind it are the reactor's.
//! Where the attempt then leads is `route`'s.

use std::{net::SocketAddr, time::Instant};

use super::{Backend, FailureKind, Order, Role, connection::Step, failure::Unreached};
use crate::pg::{
    config::{Config, ConfigError, ConnectionString},
    session::{KeyDerivation, SaltedPassword},
};

/// The configurations of the two sessions, which are mostly the same.
#[derive(Clone, Debug)]
pub struct Configs {
    /// For the session that listens.
    pub listening: Config,
    /// For the session that publishes.
    pub publishing: Config,
}

impl From<Config> for Configs {
    fn from(config: Config) -> Self {
        Self {
            listening: config.clone(),
            publishing: config,
        }
    }
}

impl Backend {
    /// What [`Order::Resolve`] is about.
    pub fn connection_string(&self, role: Role) -> &ConnectionString {
        &self.config(role).connection_string
    }

    /// The settings, as they are now: a password or a certificate may be another one, and so may
    /// the server.
    pub fn handle_resolved(&mut self, role: Role, config: Config, now: Instant) {
        if !self.connection(role).is_resolving() {
            return;
        }
        let other = self.connections[role.other().index()].config();
        self.warned
            .handle_resolved(&config.warnings, &other.warnings);
        let random = self.random.bits();
        let connection = self.connection_mut(role);
        if connection.handle_resolved(config, random, now) {
            self.orders.push_back(Order::Connect(role));
        }
    }

    /// The settings make no sense any more: nothing is connected to.
    pub fn handle_unresolved(&mut self, role: Role, error: ConfigError, now: Instant) {
        if self.connection(role).is_resolving() {
            self.fail(role, FailureKind::Settings(error), now);
        }
    }

    /// The server is found at these addresses, of which [`Order::Open`] tells the ones to be
    /// connected to: their time begins.
    pub fn handle_located(&mut self, role: Role, addresses: &[SocketAddr], now: Instant) {
        self.connection_mut(role).handle_located(addresses, now);
        self.advance_race(role, now);
    }

    /// The address took no connection.
    pub fn handle_unopened(&mut self, role: Role, unreached: Unreached, now: Instant) {
        self.connection_mut(role).handle_unopened(unreached, now);
        self.advance_race(role, now);
    }

    /// The address took the connection, as the first of those that were opened. The others are to
    /// be closed; [`Self::handle_connected`] or [`Self::handle_secured`] follows.
    pub fn handle_opened(&mut self, role: Role, address: SocketAddr) {
        self.connection_mut(role).handle_opened(address);
    }

    /// The server agreed to TLS.
    pub fn handle_tls_begun(&mut self, role: Role) {
        self.connection_mut(role).handle_tls_begun();
    }

    /// Orders what the addresses of the server want now.
    pub(super) fn advance_race(&mut self, role: Role, now: Instant) {
        while let Some(step) = self.connection_mut(role).poll_race(now) {
            match step {
                Step::Open(address) => self.orders.push_back(Order::Open(role, address)),
                Step::Close(address) => self.orders.push_back(Order::Close(role, address)),
                Step::Over(kind) => self.fail(role, kind, now),
            }
        }
    }

    /// What [`Order::DeriveKey`] is about, once; `None` if the session is gone.
    pub fn take_key_derivation(&mut self, role: Role) -> Option<KeyDerivation> {
        self.connection_mut(role).take_key_derivation()
    }

    /// The key is derived: the session goes on.
    pub fn handle_key(&mut self, role: Role, key: &SaltedPassword) {
        if let Some(session) = self.connection_mut(role).session_mut() {
            session.handle_key(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;

    const ROLE: Role = Role::Listening;

    fn config(text: &str) -> Config {
        Config::parse(text, &|_| None).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test begins somewhere")]
    fn now() -> Instant {
        Instant::now()
    }

    /// A backend whose listening session begins its first round.
    fn begun(text: &str) -> (Backend, Instant) {
        let now = now();
        let mut backend = Backend::new(config(text), 7, now);
        backend.handle_timeout(now);
        assert_eq!(orders(&mut backend), [Order::Resolve(ROLE)]);
        (backend, now)
    }

    /// Those of the listening session.
    fn orders(backend: &mut Backend) -> Vec<Order> {
        let orders = std::iter::from_fn(|| backend.poll_order());
        let is_ours = |order: &Order| match order {
            Order::Resolve(role)
            | Order::Connect(role)
            | Order::Open(role, _)
            | Order::Close(role, _)
            | Order::DeriveKey(role)
            | Order::Leave(role)
            | Order::Cancel(role)
            | Order::Disconnect(role) => *role == ROLE,
        };
        orders.filter(is_ours).collect()
    }

    /// Until the next round begins, and how long that took.
    fn wait_for_round(backend: &mut Backend, mut now: Instant) -> Duration {
        let before = now;
        while !orders(backend).contains(&Order::Resolve(ROLE)) {
            now = backend.poll_timeout().max(now);
            backend.handle_timeout(now);
        }
        now - before
    }

    #[test]
    fn a_round_goes_where_the_settings_lead_by_then() {
        let (mut backend, now) = begun("postgres://u:old@one");
        backend.handle_resolved(ROLE, config("postgres://u:new@two,three"), now);
        assert_eq!(orders(&mut backend), [Order::Connect(ROLE)]);
        assert_eq!(backend.server(ROLE).to_string(), "two:5432");
        let password = backend.server(ROLE).password.as_ref();
        assert_eq!(password.unwrap().as_bytes(), b"new");
        backend.handle_lost(ROLE, "failed", now);
        // The same round goes on as it began.
        let next = [Order::Disconnect(ROLE), Order::Connect(ROLE)];
        assert_eq!(orders(&mut backend), next);
        assert_eq!(backend.server(ROLE).to_string(), "three:5432");
        backend.handle_lost(ROLE, "failed", now);
        assert!(wait_for_round(&mut backend, now) < Duration::from_secs(2));
        // One server fewer: what was tried before is not remembered by its number.
        backend.handle_resolved(ROLE, config("postgres://u@one"), now);
        assert_eq!(backend.server(ROLE).to_string(), "one:5432");
    }

    #[test]
    fn settings_that_make_no_sense_are_read_again_soon() {
        let (mut backend, now) = begun("postgres://u@db");
        let path = PathBuf::from("/services");
        let error = ConfigError::ServiceFileMissing { path };
        backend.handle_unresolved(ROLE, error.clone(), now);
        let failure = backend.failure(ROLE).unwrap();
        assert!(matches!(&failure.kind, FailureKind::Settings(found) if *found == error));
        assert_eq!(
            failure.to_string(),
            "PostgreSQL settings: service file \"/services\" not found"
        );
        assert!(wait_for_round(&mut backend, now) < Duration::from_secs(2));
    }

    /// Where only a person can help, the server is asked again as soon as the person has acted.
    #[test]
    fn settings_that_change_after_a_refusal_are_tried_at_once() {
        let (mut backend, now) = begun("postgres://u:old@db?sslmode=disable");
        let old = backend.config(ROLE).clone();
        backend.handle_resolved(ROLE, old.clone(), now);
        backend.handle_connected(ROLE);
        let body = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0";
        let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
        backend.handle_input(ROLE, &[&b"E"[..], &length, body].concat(), now);
        backend.drain_events(now, |_| {});
        let mut at = now;
        let mut looks = 0;
        loop {
            at += wait_for_round(&mut backend, at);
            backend.handle_resolved(ROLE, old.clone(), at);
            if orders(&mut backend).contains(&Order::Connect(ROLE)) {
                break;
            }
            looks += 1;
            assert!(backend.failure(ROLE).is_some(), "still refused");
        }
        let waited = at - now;
        assert!((15..=27).contains(&waited.as_secs()), "{waited:?}");
        assert_eq!(looks, waited.as_millis().div_ceil(2_000) - 1);

        backend.handle_connected(ROLE);
        backend.handle_input(ROLE, &[&b"E"[..], &length, body].concat(), at);
        backend.drain_events(at, |_| {});
        let look = wait_for_round(&mut backend, at);
        assert_eq!(look, Duration::from_secs(2));
        let new = config("postgres://u:new@db?sslmode=disable");
        backend.handle_resolved(ROLE, new, at + look);
        assert_eq!(orders(&mut backend), [Order::Connect(ROLE)]);
    }

    #[test]
    fn a_lookup_that_hangs_is_given_up_and_named() {
        let (mut backend, now) = begun("postgres://u@db?connect_timeout=3");
        let (before, after) = (Duration::from_millis(2_999), Duration::from_secs(3));
        backend.handle_timeout(now + before);
        assert!(orders(&mut backend).is_empty());
        backend.handle_timeout(now + after);
        assert_eq!(orders(&mut backend), [Order::Disconnect(ROLE)]);
        let hangs = |backend: &Backend| {
            let kind = &backend.failure(ROLE).unwrap().kind;
            matches!(kind, FailureKind::Settings(ConfigError::LookupHangs))
        };
        assert!(hangs(&backend));

        let (mut backend, now) = begun("postgres://u@db?connect_timeout=3");
        let found = backend.config(ROLE).clone();
        backend.handle_resolved(ROLE, found, now + before);
        backend.handle_timeout(now + before + after);
        assert!(hangs(&backend), "of a name or a certificate");
    }

    /// A look-up takes nothing of the time that a server has.
    #[test]
    fn the_time_of_an_address_begins_when_it_is_found() {
        let (mut backend, now) = begun("postgres://u@db?connect_timeout=3");
        let found = backend.config(ROLE).clone();
        backend.handle_resolved(ROLE, found, now);
        let located = now + Duration::from_secs(2);
        backend.handle_located(ROLE, &addresses(1), located);
        backend.handle_timeout(located + Duration::from_millis(2_999));
        assert!(backend.failure(ROLE).is_none());
        backend.handle_timeout(located + Duration::from_secs(3));
        let failure = backend.failure(ROLE).unwrap().to_string();
        let why = "connection failed: 10.0.0.1: no answer within 3 s";
        assert_eq!(failure, format!("PostgreSQL at db:5432: {why}"));
    }

    fn addresses(count: u8) -> Vec<SocketAddr> {
        let address = |last| SocketAddr::from(([10, 0, 0, last], 5432));
        (1..=count).map(address).collect()
    }

    /// A backend whose listening session has found its server at so many addresses.
    fn located(text: &str, count: u8) -> (Backend, Vec<SocketAddr>, Instant) {
        let (mut backend, now) = begun(text);
        let found = backend.config(ROLE).clone();
        backend.handle_resolved(ROLE, found, now);
        assert_eq!(orders(&mut backend), [Order::Connect(ROLE)]);
        let addresses = addresses(count);
        backend.handle_located(ROLE, &addresses, now);
        (backend, addresses, now)
    }

    #[test]
    fn an_address_that_does_not_answer_is_raced_by_the_next_one() {
        let (mut backend, all, now) = located("postgres://u@db", 2);
        assert_eq!(orders(&mut backend), [Order::Open(ROLE, all[0])]);
        let then = now + Duration::from_millis(250);
        assert!(backend.poll_timeout() <= then);
        backend.handle_timeout(then);
        assert_eq!(orders(&mut backend), [Order::Open(ROLE, all[1])]);
        backend.handle_opened(ROLE, all[1]);
        backend.handle_connected(ROLE);
        assert!(backend.session(ROLE).is_some());
        // The time of the address that took the connection, not of the one before it.
        backend.handle_timeout(now + Duration::from_secs(5));
        assert!(backend.session(ROLE).is_some());
        backend.handle_timeout(then + Duration::from_secs(5));
        assert!(backend.session(ROLE).is_none());
    }

    #[test]
    fn an_address_that_accepts_and_stays_mute_is_passed_over() {
        let (mut backend, all, now) = located("postgres://u@db,other?sslmode=disable", 2);
        backend.handle_opened(ROLE, all[0]);
        backend.handle_connected(ROLE);
        orders(&mut backend);
        let mut at = now + Duration::from_secs(5);
        backend.handle_timeout(at);
        let again = [Order::Disconnect(ROLE), Order::Connect(ROLE)];
        assert_eq!(orders(&mut backend), again);
        assert_eq!(backend.server(ROLE).to_string(), "db:5432", "the same name");
        backend.handle_located(ROLE, &all, at);
        assert_eq!(orders(&mut backend), [Order::Open(ROLE, all[1])]);
        let unreached = Unreached {
            address: all[1],
            kind: std::io::ErrorKind::ConnectionRefused,
            why: "refused".to_owned(),
        };
        backend.handle_unopened(ROLE, unreached, at);
        assert_eq!(orders(&mut backend), again);
        assert_eq!(backend.server(ROLE).to_string(), "other:5432", "in turn");
        backend.handle_lost(ROLE, "failed", at);
        at += wait_for_round(&mut backend, at);
        let found = backend.config(ROLE).clone();
        backend.handle_resolved(ROLE, found, at);
        orders(&mut backend);
        backend.handle_located(ROLE, &all, at);
        let last = [Order::Open(ROLE, all[1])];
        assert_eq!(
            orders(&mut backend),
            last,
            "the mute one comes last from now on"
        );
    }

    #[test]
    fn how_far_an_attempt_got_is_told() {
        let failure = |backend: &Backend| backend.failure(ROLE).unwrap().to_string();
        let at_db = "PostgreSQL at db:5432 (10.0.0.1): connection";
        let cases: [(&str, &[u8], &str); 4] = [
            (
                "disable",
                b"",
                "was accepted, and nothing was answered within 5 s",
            ),
            (
                "disable",
                b"R\0\0\0\x08\0\0\0\x03",
                "was accepted, and the authentication was not finished within 5 s",
            ),
            (
                "disable",
                b"R\0\0\0\x08\0\0\0\0",
                "was accepted and the authentication passed, and no session began within 5 s",
            ),
            (
                "disable",
                b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I",
                "was made, and the first query of the session was not answered within 5 s",
            ),
        ];
        for (mode, input, expected) in cases {
            let url = format!("postgres://u:p@db?sslmode={mode}");
            let (mut backend, all, now) = located(&url, 1);
            backend.handle_opened(ROLE, all[0]);
            backend.handle_secured(ROLE, None);
            backend.handle_input(ROLE, input, now);
            backend.drain_events(now, |_| {});
            backend.handle_timeout(now + Duration::from_secs(5));
            assert_eq!(failure(&backend), format!("{at_db} {expected}"));
        }
        let (mut backend, all, now) = located("postgres://u@db?sslmode=require", 1);
        backend.handle_opened(ROLE, all[0]);
        backend.handle_tls_begun(ROLE);
        backend.handle_lost(ROLE, "was closed by the server", now);
        let closed = format!("{at_db} was closed by the server during the TLS handshake");
        assert_eq!(failure(&backend), closed);
        let (mut backend, _, now) = located("postgres://u@db", 0);
        backend.handle_timeout(now);
        assert!(failure(&backend).ends_with("connection failed: the name has no address"));
    }

    /// A backend that was asked for a key of so many iterations.
    fn challenged(iterations: u32) -> (Backend, Instant) {
        let (mut backend, now) = begun("postgres://u:pw@db?connect_timeout=3&sslmode=disable");
        let found = backend.config(ROLE).clone();
        backend.handle_resolved(ROLE, found, now);
        backend.handle_connected(ROLE);
        let request = |code: u32, data: &[u8]| {
            let length = u32::try_from(8 + data.len()).unwrap();
            let head = [&b"R"[..], &length.to_be_bytes(), &code.to_be_bytes()].concat();
            [&head[..], data].concat()
        };
        backend.handle_input(ROLE, &request(10, b"SCRAM-SHA-256\0\0"), now);
        backend.drain_events(now, |_| {});
        let sent = String::from_utf8_lossy(backend.poll_transmit(ROLE).unwrap()).into_owned();
        let (_, nonce) = sent.split_once("n,,n=,r=").unwrap();
        let challenge = format!("r={nonce}more,s=c2FsdA==,i={iterations}");
        backend.handle_input(ROLE, &request(11, challenge.as_bytes()), now);
        backend.drain_events(now, |_| {});
        let orders = orders(&mut backend);
        assert_eq!(orders, [Order::Connect(ROLE), Order::DeriveKey(ROLE)]);
        (backend, now)
    }

    #[test]
    fn a_key_is_ordered_once_and_the_session_goes_on_with_it() {
        let (mut backend, now) = challenged(2);
        backend.drain_events(now, |_| {});
        assert_eq!(orders(&mut backend), []);
        let before = backend.poll_transmit(ROLE).map(<[u8]>::len);
        let derivation = backend.take_key_derivation(ROLE).unwrap();
        assert!(backend.take_key_derivation(ROLE).is_none());
        backend.handle_key(ROLE, &derivation.run(|| true).unwrap());
        assert!(backend.poll_transmit(ROLE).map(<[u8]>::len) > before);
    }

    #[test]
    fn iterations_that_take_too_long_are_named() {
        let (mut backend, now) = challenged(2_000_000_000);
        backend.handle_timeout(now + Duration::from_secs(3));
        assert!(orders(&mut backend).contains(&Order::Disconnect(ROLE)));
        assert!(backend.take_key_derivation(ROLE).is_none());
        let failure = backend.failure(ROLE).unwrap();
        assert!(
            failure
                .to_string()
                .contains("2000000000 iterations of SCRAM")
        );
        assert!(failure.remedy().unwrap().contains("scram_iterations"));
    }
}
