//! The end of the bridge: slowly, client by client, or soon.
//!
//! Draining comes first where it is asked for: clients are served, and leave one by one, so that
//! they do not all come to another bridge at once. Then, or at once, a stop closes who is left.
//! Knows no signal: whoever runs the core says when, and ends the process when it is stopped.

use std::time::{Duration, Instant};

use super::{
    Core, deadlines,
    parts::{ADMIN, Disconnect, Hub, Phase},
};
use crate::{
    config::BridgeConfig,
    id::{ClientId, Tick},
    random::Random,
    ws::close::CloseReason,
};

/// How far the end has come.
#[derive(Debug)]
pub(super) enum Shutdown {
    /// Clients leave one by one; then the bridge stops.
    Draining {
        until: Instant,
        /// Who leaves when; the next one last.
        departures: Vec<(Instant, ClientId)>,
    },
    /// Everybody was asked to leave.
    Stopping {
        since: Instant,
        /// Clients with publishes under way were closed too.
        all_closed: bool,
    },
}

impl Shutdown {
    /// When there is something to do, or to see the end of.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self {
            Self::Draining { until, departures } => {
                departures.last().map_or(*until, |&(at, _)| at.min(*until))
            }
            Self::Stopping {
                since,
                all_closed: false,
            } => *since + PUBLISH_GRACE,
            Self::Stopping {
                since,
                all_closed: true,
            } => *since + STOP_TIMEOUT,
        }
    }

    /// The next client whose time has come; the caller closes it, or lets it depart later.
    fn next_departure(&mut self, now: Instant) -> Option<ClientId> {
        let Self::Draining { departures, .. } = self else {
            return None;
        };
        departures.last().filter(|&&(at, _)| at <= now)?;
        departures.pop().map(|(_, client)| client)
    }

    fn depart_later(&mut self, client: ClientId, at: Instant) {
        if let Self::Draining { departures, .. } = self {
            let place = departures.partition_point(|&(other, _)| other > at);
            departures.insert(place, (at, client));
        }
    }
}

impl Core {
    /// Takes no more clients and is not ready any more, but serves those there are: within `span`,
    /// each of them is closed with 1001 at a random time. Then it stops. Plain HTTP is answered
    /// all the while. A span over [`BridgeConfig::DRAIN_MAX`] counts as that.
    pub fn drain(&mut self, span: Duration, now: Instant) {
        if self.is_leaving() {
            return;
        }
        let span = span.min(BridgeConfig::DRAIN_MAX);
        let mut random = Random::new(self.hub.listening.epoch_seed);
        let open = self.hub.slots().filter(|&slot| self.hub.is_open(slot));
        let mut departures: Vec<_> = open
            .map(|slot| (now + span.mul_f64(random.fraction()), self.hub.id(slot)))
            .collect();
        departures.sort_unstable_by_key(|&(at, _)| std::cmp::Reverse(at));
        self.hub.leaving = Some(Shutdown::Draining {
            until: now + span,
            departures,
        });
    }

    /// Takes no more clients, closes those there are with 1001; those that await a publish get
    /// two seconds for it. A head under way gets one, for an answer that says so.
    pub fn stop(&mut self, now: Instant) {
        if self.is_stopping() {
            return;
        }
        self.hub.leaving = Some(Shutdown::Stopping {
            since: now,
            all_closed: false,
        });
        self.go_on_leaving(now);
    }

    /// Whether the end has begun, slowly or soon.
    pub fn is_leaving(&self) -> bool {
        self.hub.is_leaving()
    }

    /// Whether [`Self::stop`] was called, or draining came to its end: no connection is taken any
    /// more but at the admin address.
    pub fn is_stopping(&self) -> bool {
        matches!(self.hub.leaving, Some(Shutdown::Stopping { .. }))
    }

    /// Whether it is stopping and nothing is left to wait for.
    pub fn is_stopped(&self, now: Instant) -> bool {
        let Some(Shutdown::Stopping { since, .. }) = self.hub.leaving else {
            return false;
        };
        let grace_over = now >= since + PUBLISH_GRACE;
        let is_idle = self.hub.publishes.is_empty() || grace_over;
        self.client_count() == 0 && is_idle || now >= since + STOP_TIMEOUT
    }

    pub(super) fn go_on_leaving(&mut self, now: Instant) {
        let tick = self.tick(now);
        match &mut self.hub.leaving {
            None => {}
            Some(Shutdown::Draining { until, .. }) if *until <= now => self.stop(now),
            Some(Shutdown::Draining { .. }) => self.hub.let_depart(now, tick),
            Some(Shutdown::Stopping { since, all_closed }) => {
                *all_closed |= now >= *since + PUBLISH_GRACE;
                let (all, heads_too) = (*all_closed, now >= *since + HEAD_GRACE);
                if all {
                    self.hub.give_up_publishes(tick);
                }
                self.hub.close_idle(all, heads_too, tick);
            }
        }
    }
}

impl Hub {
    /// Whether no client is taken any more; those there are being closed, sooner or later.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Closes those whose time to depart has come.
    fn let_depart(&mut self, now: Instant, tick: Tick) {
        while let Some(client) = self.leaving.as_mut().and_then(|it| it.next_departure(now)) {
            if self.awaits_publish(client) {
                // It is told first, and looked at again soon.
                if let Some(leaving) = &mut self.leaving {
                    leaving.depart_later(client, now + deadlines::STEP);
                }
            } else if self.is_alive(client) && self.is_open(client.slot) {
                self.close(client.slot, CloseReason::GoingAway, tick);
            }
        }
    }

    fn awaits_publish(&self, id: ClientId) -> bool {
        self.is_alive(id) && self.clients[id.slot as usize].publishes_waiting > 0
    }

    /// Closes clients with 1001: those without publishes under way, or `all`. Where `heads_too`,
    /// drops those whose head is still under way.
    fn close_idle(&mut self, all: bool, heads_too: bool, now: Tick) {
        for slot in self.slots() {
            if !self.clients.contains(slot as usize) || self.hot[slot as usize].is(ADMIN) {
                continue;
            }
            if self.is_open(slot) {
                if all || self.clients[slot as usize].publishes_waiting == 0 {
                    self.close(slot, CloseReason::GoingAway, now);
                }
            } else if heads_too
                && matches!(self.clients[slot as usize].phase, Phase::Handshake(_))
                && self.is_alive(self.id(slot))
            {
                self.drop_client(slot, Disconnect::Drop);
            }
        }
    }
}

/// At a stop, heads under way get this long.
const HEAD_GRACE: Duration = Duration::from_secs(1);
/// At a stop, publishes under way get this long.
const PUBLISH_GRACE: Duration = Duration::from_secs(2);
/// At a stop, everything is over after this long.
const STOP_TIMEOUT: Duration = Duration::from_millis(4_500);
