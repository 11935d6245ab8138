//! The sweep over all clients: who is looked at, and when the next look is due.
//!
//! A deadline moves far more often than it falls due. So nothing is done when it moves: each look
//! says when the next one is worth it, and a deadline that moved meanwhile is found out then.

use std::time::{Duration, Instant};

use super::{
    Hub,
    deadlines::{self, Times},
};
use crate::id::elapsed;

impl Hub {
    /// Looks at those of this step that something may be due for. A backlog may come to a
    /// standstill at any time, so whoever has one is looked at each time.
    pub(super) fn sweep(&mut self, now: Instant) {
        let Some(slots) = self.deadlines.poll(self.clients.slots(), now) else {
            return;
        };
        let tick = self.clock.tick();
        for slot in slots {
            if self.clients.is_look_due(slot, tick) || self.delivery.backlog(slot).is_some() {
                self.check_deadlines(slot);
                self.plan_look(slot);
            }
        }
        self.end_refused();
    }

    fn plan_look(&mut self, slot: u32) {
        let now = self.clock.tick();
        let Some(phase) = self.clients.phase(slot) else {
            return self.clients.plan_look(slot, now, Duration::MAX);
        };
        let times = Times {
            silence: elapsed(self.clients.last_input(slot), now),
            in_phase: elapsed(self.clients.phase_began(slot), now),
            standstill: None,
            is_paused: phase.is_open() && self.is_over_quota(slot),
        };
        let wait = deadlines::next_look(phase, times, &self.limits);
        self.clients.plan_look(slot, now, wait);
    }
}
