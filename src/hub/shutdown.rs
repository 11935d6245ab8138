//! The end of the bridge: slowly, client by client, or soon.
//!
//! Draining comes first where it is asked for: clients are served, and are closed one by one, so
//! that they do not all come to another bridge at once. Then, or at once, a stop closes the rest.
//! Owns how far that has come, when the next step is due and whom it concerns. Knows no signal, and
//! closes nobody itself.

use std::time::{Duration, Instant};

use super::{clients::Kind, phase::Phase};
use crate::{id::ClientId, random::Random};

/// How far the end has come.
#[derive(Debug)]
pub(super) struct Shutdown {
    state: State,
    /// When each client is closed.
    random: Random,
    /// A step of a stop goes on with the connection in this slot.
    next_slot: Option<u32>,
}

#[derive(Debug)]
enum State {
    /// It has not begun.
    No,
    /// Clients are closed one by one; then the bridge stops.
    Draining {
        until: Instant,
        /// Which client is closed when; the next one last.
        closings: Vec<(Instant, ClientId)>,
    },
    /// Every client was asked to leave.
    Stopping {
        began_at: Instant,
        /// Clients with publishes under way were closed too.
        all_closed: bool,
    },
}

/// What a step of a stop closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Clients with publishes under way, too.
    pub(super) all: bool,
    /// Connections whose head is incomplete, too.
    heads: bool,
}

/// What a step is for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It stays as it is.
    No,
    /// It is a client, and is closed.
    Close,
    /// It goes at once.
    Drop,
    /// No further request is read of it.
    Finish,
}

impl Shutdown {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: State::No,
            random: Random::new(seed),
            next_slot: None,
        }
    }

    /// Closes `clients` over `span`, each at a random time.
    pub(super) fn drain(
        &mut self,
        clients: impl Iterator<Item = ClientId>,
        span: Duration,
        now: Instant,
    ) {
        let mut closings: Vec<_> = clients
            .map(|client| (now + span.mul_f64(self.random.fraction()), client))
            .collect();
        closings.sort_unstable_by_key(|&(at, _)| std::cmp::Reverse(at));
        self.state = State::Draining {
            until: now + span,
            closings,
        };
    }

    /// Closes everybody.
    pub(super) fn stop(&mut self, now: Instant) {
        self.state = State::Stopping {
            began_at: now,
            all_closed: false,
        };
    }

    /// Whether it has begun, slowly or soon.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.state, State::No)
    }

    /// Whether everybody was asked to leave.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    /// Whether nothing is left to wait for, `clients` and `publishes` being left.
    pub(super) fn is_over(&self, clients: usize, publishes: usize, now: Instant) -> bool {
        let State::Stopping { began_at, .. } = self.state else {
            return false;
        };
        let is_idle = publishes == 0 || now >= began_at + PUBLISH_GRACE;
        clients == 0 && is_idle || now >= began_at + STOP_TIMEOUT
    }

    /// When there is something to do, or to see the end of.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(match &self.state {
            State::No => return None,
            State::Draining { until, closings } => {
                closings.last().map_or(*until, |&(at, _)| at.min(*until))
            }
            State::Stopping {
                began_at,
                all_closed: false,
            } => *began_at + PUBLISH_GRACE,
            State::Stopping {
                began_at,
                all_closed: true,
            } => *began_at + STOP_TIMEOUT,
        })
    }

    // ---- draining

    /// When draining is over, while it lasts.
    pub(super) fn drained_at(&self) -> Option<Instant> {
        match self.state {
            State::Draining { until, .. } => Some(until),
            State::No | State::Stopping { .. } => None,
        }
    }

    /// The next client whose time has come.
    pub(super) fn poll_closing(&mut self, now: Instant) -> Option<ClientId> {
        let State::Draining { closings, .. } = &mut self.state else {
            return None;
        };
        closings.last().filter(|&&(at, _)| at <= now)?;
        closings.pop().map(|(_, client)| client)
    }

    /// The client is not to be closed yet: it is looked at again then.
    pub(super) fn put_off(&mut self, client: ClientId, until: Instant) {
        if let State::Draining { closings, .. } = &mut self.state {
            let place = closings.partition_point(|&(other, _)| other > until);
            closings.insert(place, (until, client));
        }
    }

    // ---- a stop

    /// What is to be closed now, where the bridge stops.
    pub(super) fn poll_step(&mut self, now: Instant) -> Option<Step> {
        let State::Stopping {
            began_at,
            all_closed,
        } = &mut self.state
        else {
            return None;
        };
        *all_closed |= now >= *began_at + PUBLISH_GRACE;
        self.next_slot.get_or_insert(0);
        Some(Step {
            all: *all_closed,
            heads: now >= *began_at + HEAD_GRACE,
        })
    }

    /// The next connection of the step, of those in the slots before `end`; `None` once each was
    /// looked at.
    pub(super) fn poll_slot(&mut self, end: u32) -> Option<u32> {
        let slot = self.next_slot?;
        self.next_slot = Some(slot + 1).filter(|&next| next < end);
        (slot < end).then_some(slot)
    }

    /// Whether a step goes on in the next turn.
    pub(super) fn is_behind(&self) -> bool {
        self.next_slot.is_some()
    }
}

impl Step {
    /// What it is for a connection.
    pub(super) fn judge(self, kind: Kind, phase: &Phase, awaits_publish: bool) -> Leave {
        match phase {
            _ if kind == Kind::Admin => Leave::No,
            Phase::Handshake(_) if self.heads => Leave::Drop,
            Phase::Http(exchange) => {
                let is_late = self.heads && exchange.unanswered_count() == 0;
                if is_late && exchange.is_inside_request() {
                    Leave::Drop
                } else {
                    Leave::Finish
                }
            }
            Phase::Unauthenticated { .. } | Phase::Open { .. } if self.all || !awaits_publish => {
                Leave::Close
            }
            Phase::Handshake(_)
            | Phase::Unauthenticated { .. }
            | Phase::Open { .. }
            | Phase::Closing
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Removed => Leave::No,
        }
    }
}

/// At a stop, heads under way get this long.
const HEAD_GRACE: Duration = Duration::from_secs(1);
/// At a stop, publishes under way get this long.
const PUBLISH_GRACE: Duration = Duration::from_secs(2);
/// At a stop, everything is over after this long.
const STOP_TIMEOUT: Duration = Duration::from_millis(4_500);
