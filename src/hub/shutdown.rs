//! The end of the bridge: slowly, client by client, or soon.
//!
//! Draining comes first where it is asked for: clients are served, and are closed one by one, so
//! that they do not all come to another bridge at once. Then, or at once, a stop closes the rest.
//! Owns how far that has come and when the next step is due. Knows no signal, and closes nobody
//! itself.

use std::time::{Duration, Instant};

use crate::id::ClientId;

/// How far the end has come.
#[derive(Debug)]
pub(super) enum Shutdown {
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
    pub(super) heads: bool,
}

impl Shutdown {
    /// Closes `clients` over `span`, each when its `fraction` of it has passed.
    pub(super) fn drain(
        clients: impl Iterator<Item = ClientId>,
        mut fraction: impl FnMut() -> f64,
        span: Duration,
        now: Instant,
    ) -> Self {
        let mut closings: Vec<_> = clients
            .map(|client| (now + span.mul_f64(fraction()), client))
            .collect();
        closings.sort_unstable_by_key(|&(at, _)| std::cmp::Reverse(at));
        Self::Draining {
            until: now + span,
            closings,
        }
    }

    /// Closes everybody.
    pub(super) fn stop(now: Instant) -> Self {
        Self::Stopping {
            began_at: now,
            all_closed: false,
        }
    }

    /// Whether it has begun, slowly or soon.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Whether everybody was asked to leave.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self, Self::Stopping { .. })
    }

    /// Whether nothing is left to wait for, `clients` and `publishes` being left.
    pub(super) fn is_over(&self, clients: usize, publishes: usize, now: Instant) -> bool {
        let Self::Stopping { began_at, .. } = *self else {
            return false;
        };
        let is_idle = publishes == 0 || now >= began_at + PUBLISH_GRACE;
        clients == 0 && is_idle || now >= began_at + STOP_TIMEOUT
    }

    /// When there is something to do, or to see the end of.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(match self {
            Self::No => return None,
            Self::Draining { until, closings } => {
                closings.last().map_or(*until, |&(at, _)| at.min(*until))
            }
            Self::Stopping {
                began_at,
                all_closed: false,
            } => *began_at + PUBLISH_GRACE,
            Self::Stopping {
                began_at,
                all_closed: true,
            } => *began_at + STOP_TIMEOUT,
        })
    }

    /// Whether draining is over, so that it is time to stop.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        matches!(self, Self::Draining { until, .. } if *until <= now)
    }

    /// The next client whose time has come.
    pub(super) fn poll_closing(&mut self, now: Instant) -> Option<ClientId> {
        let Self::Draining { closings, .. } = self else {
            return None;
        };
        closings.last().filter(|&&(at, _)| at <= now)?;
        closings.pop().map(|(_, client)| client)
    }

    /// The client is not to be closed yet: it is looked at again then.
    pub(super) fn put_off(&mut self, client: ClientId, until: Instant) {
        if let Self::Draining { closings, .. } = self {
            let place = closings.partition_point(|&(other, _)| other > until);
            closings.insert(place, (until, client));
        }
    }

    /// What is to be closed now, where the bridge stops.
    pub(super) fn poll_step(&mut self, now: Instant) -> Option<Step> {
        let Self::Stopping {
            began_at,
            all_closed,
        } = self
        else {
            return None;
        };
        *all_closed |= now >= *began_at + PUBLISH_GRACE;
        Some(Step {
            all: *all_closed,
            heads: now >= *began_at + HEAD_GRACE,
        })
    }
}

/// At a stop, heads under way get this long.
const HEAD_GRACE: Duration = Duration::from_secs(1);
/// At a stop, publishes under way get this long.
const PUBLISH_GRACE: Duration = Duration::from_secs(2);
/// At a stop, everything is over after this long.
const STOP_TIMEOUT: Duration = Duration::from_millis(4_500);
