//! From the addresses of a server to a connection with one of them.
//!
//! Says which address is connected to and which is given up, and takes note of the outcomes. What
//! follows from a failure of all of them is its parent's.

use std::{
    io, mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Connection, State};
use crate::{
    backend::failure::{FailureClass, FailureKind, Unreached},
    pg::config::Server,
    race::Race,
};

/// What becomes of an address of the server.
#[derive(Debug)]
pub(in crate::backend) enum Step {
    /// It is to be connected to, beside those before it.
    Open(SocketAddr),
    /// Its time is up.
    Close(SocketAddr),
    /// None of them takes a connection: the attempt is to be failed.
    Over(FailureKind),
}

impl Connection {
    /// The server is found at these addresses: they are to be connected to, and their time begins.
    pub(in crate::backend) fn handle_located(&mut self, found: &[SocketAddr], now: Instant) {
        if matches!(self.state, State::Locating { .. }) {
            let addresses = self.addresses.line_up(found);
            self.state = State::Connecting {
                race: Race::new(addresses, self.connect_timeout(), now),
                failed: Vec::new(),
                since: now,
            };
        }
    }

    /// What becomes of the addresses now; ask until `None`.
    pub(in crate::backend) fn poll_race(&mut self, now: Instant) -> Option<Step> {
        let timeout = self.connect_timeout();
        let State::Connecting { race, failed, .. } = &mut self.state else {
            return None;
        };
        if let Some(address) = race.poll_expired(now) {
            failed.push(Unreached {
                address,
                kind: io::ErrorKind::TimedOut,
                why: format!("no answer within {} s", timeout.as_secs_f64()),
            });
            return Some(Step::Close(address));
        }
        if let Some(address) = race.poll_start(now) {
            return Some(Step::Open(address));
        }
        let is_over = race.is_over();
        is_over.then(|| Step::Over(FailureKind::Unreached(mem::take(failed))))
    }

    /// The address took no connection.
    pub(in crate::backend) fn handle_unopened(&mut self, unreached: Unreached, now: Instant) {
        if let State::Connecting { race, failed, .. } = &mut self.state
            && race.handle_failed(unreached.address, now)
        {
            failed.push(unreached);
        }
    }

    /// The address took the connection, as the first one; TLS follows, or the session.
    pub(in crate::backend) fn handle_opened(&mut self, address: SocketAddr) {
        if let State::Connecting { race, .. } = &mut self.state
            && let Some((deadline, others)) = race.win(address)
        {
            self.addresses.handle_taken(address, &others);
            self.state = State::Securing {
                deadline,
                has_begun: false,
            };
        }
    }

    /// The server agreed to TLS.
    pub(in crate::backend) fn handle_tls_begun(&mut self) {
        if let State::Securing { has_begun, .. } = &mut self.state {
            *has_begun = true;
        }
    }

    /// This server is known to work. Where it is ours, a round that waits for time to pass begins,
    /// and an address that has not answered is asked anew. Returns whether the reactor has to
    /// connect again.
    pub(in crate::backend) fn hurry(&mut self, works: &Server, now: Instant) -> bool {
        let mut servers = self.config.servers.iter();
        match self.state {
            State::Waiting { .. }
                if self.class == FailureClass::Passing && servers.any(|it| it.is_at(works)) =>
            {
                self.round_at = now;
                self.state = State::Waiting { until: now };
                false
            }
            State::Connecting { since, .. }
                if now >= since + HURRY_AFTER && self.server().is_at(works) =>
            {
                self.locate(now);
                true
            }
            State::Waiting { .. }
            | State::Resolving { .. }
            | State::Locating { .. }
            | State::Connecting { .. }
            | State::Securing { .. }
            | State::Starting { .. }
            | State::Ready { .. } => false,
        }
    }
}

/// An address that is asked for longer than this may have missed that the server is back.
const HURRY_AFTER: Duration = Duration::from_millis(250);
