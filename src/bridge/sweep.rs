//! Deadlines of clients: pings, handshakes, stalls, closings.
//!
//! No timer per client: a cursor passes over all of them once a second, a quarter at a time, and
//! looks at the few ticks in their records.

use std::time::Duration;

use super::hub::{BLOCKED, Client, Disconnect, Hub, Phase, Tick};
use crate::{frame, ws::close::CloseReason};

impl Hub {
    /// Looks at a quarter of the clients, from `cursor` on; returns where to go on.
    pub(super) fn sweep(&mut self, cursor: usize, now: Tick) -> usize {
        let slots = self.hot.len();
        let from = if cursor >= slots { 0 } else { cursor };
        let to = (from + slots.div_ceil(QUARTERS)).min(slots);
        for slot in from..to {
            if self.clients.contains(slot) {
                self.check_deadlines(u32::try_from(slot).expect("slots are u32"), now);
            }
        }
        to
    }

    fn check_deadlines(&mut self, slot: u32, now: Tick) {
        if !self.is_alive(self.id(slot)) {
            return;
        }
        let Client {
            phase,
            heard,
            since,
            ..
        } = &self.clients[slot as usize];
        let silence = elapsed(*heard, now);
        let in_phase = elapsed(*since, now);
        match *phase {
            Phase::Handshake(_) => {
                if in_phase >= self.limits.handshake_timeout {
                    self.metrics.handshakes_timed_out += 1;
                    self.drop_client(slot, Disconnect::Drop);
                }
            }
            Phase::Guest { .. } => {
                if in_phase >= self.limits.auth_timeout {
                    self.close(slot, CloseReason::Unauthorized, now);
                }
            }
            Phase::Open { pinged, .. } => {
                if self.is_stalled(slot, now) {
                    self.close(slot, CloseReason::SlowConsumer, now);
                } else if self.is_paused(self.id(slot)) || self.backlog_key_of(slot).is_some() {
                    // We do not read it, or it has not got our ping yet: the silence is ours.
                    // Whether it follows at all, its backlog tells.
                    let client = &mut self.clients[slot as usize];
                    client.heard = now;
                    client.since = now;
                } else if !pinged && silence >= self.limits.ping_interval {
                    let client = &mut self.clients[slot as usize];
                    client.since = now;
                    if let Phase::Open { pinged, .. } = &mut client.phase {
                        *pinged = true;
                    }
                    self.push_own(slot, now, frame::append_ping);
                } else if pinged && in_phase >= self.limits.pong_timeout {
                    self.close(slot, CloseReason::PingTimeout, now);
                }
            }
            Phase::Closing | Phase::Flushing | Phase::Lingering => {
                if in_phase >= self.limits.closing_timeout {
                    self.drop_ending(slot);
                }
            }
        }
    }

    /// Whether the client's socket took nothing of its backlog for too long. One that takes more, or
    /// was not tried yet, waits for us. A small rest is taken out of its large batch on the way.
    fn is_stalled(&mut self, slot: u32, now: Tick) -> bool {
        let Some(key) = self.backlog_key_of(slot) else {
            return false;
        };
        let stalled = &mut self.backlogs[key];
        let Some(progressed) = stalled.progressed else {
            return false;
        };
        let standstill = elapsed(progressed, now);
        if standstill >= COPY_OUT_AFTER {
            stalled.backlog.copy_out_small(&mut self.batches);
        }
        standstill >= self.limits.stall_timeout && self.hot[slot as usize].is(BLOCKED)
    }
}

/// The time between two ticks; none where `from` is the later one. Ticks wrap, so that "later"
/// is whichever is nearer.
pub(super) fn elapsed(from: Tick, to: Tick) -> Duration {
    let between = to.wrapping_sub(from);
    let is_future = between > Tick::MAX / 2;
    Duration::from_millis(if is_future { 0 } else { u64::from(between) })
}

/// Steps in which the cursor passes over all clients.
const QUARTERS: usize = 4;
/// Time between two steps.
pub(super) const STEP: Duration = Duration::from_millis(250);
const COPY_OUT_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_of_the_future_is_now_and_ticks_wrap() {
        for (from, to, milliseconds) in [
            (0, 0, 0),
            (5, 12, 7),
            (12, 5, 0),
            (Tick::MAX, 4, 5),
            (4, Tick::MAX, 0),
        ] {
            assert_eq!(
                elapsed(from, to),
                Duration::from_millis(milliseconds),
                "{from}..{to}"
            );
        }
    }
}
