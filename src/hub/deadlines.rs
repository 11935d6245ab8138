//! Deadlines of clients: which are looked at when, and what is due for one.
//!
//! No timer per client: a cursor passes over all of them once a second, a quarter at a time, and
//! looks at the few ticks in their records. Does not act: the hub carries out a [`Verdict`].

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::clients::Phase;
use crate::{config::Limits, ws::close::CloseReason};

/// The cursor that passes over all clients.
#[derive(Debug)]
pub(super) struct Deadlines {
    due: Instant,
    next: u32,
}

/// What is known of the time of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Since bytes last came.
    pub(super) silence: Duration,
    /// Since its phase began, or the ping went out.
    pub(super) in_phase: Duration,
    /// Since a message began that is not complete, where there is one.
    pub(super) in_message: Option<Duration>,
    /// For how long its backlog has not moved, where it has one.
    pub(super) standstill: Option<Duration>,
    /// Its input is left in its socket.
    pub(super) is_paused: bool,
}

/// What is due for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Wait,
    /// Nothing, and its silence is ours: we do not read it, or it has not got our ping yet.
    Excuse,
    /// A ping.
    Ping,
    /// The close frame.
    Close(CloseReason),
    /// Its socket is let go: its opening handshake took too long.
    Drop,
    /// Its socket is let go: its closing handshake took too long.
    Terminate,
}

impl Deadlines {
    /// The first look is due one step from `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: now + STEP,
            next: 0,
        }
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The slots to be looked at now, of so many; `None` if that is not due.
    pub(super) fn poll(&mut self, slots: Range<u32>, now: Instant) -> Option<Range<u32>> {
        if self.due > now {
            return None;
        }
        self.due = now + STEP;
        let from = if self.next >= slots.end { 0 } else { self.next };
        self.next = slots.end.min(from + slots.end.div_ceil(QUARTERS));
        Some(from..self.next)
    }
}

/// What is due for a client of this phase.
pub(super) fn judge(phase: &Phase, times: Times, limits: &Limits) -> Verdict {
    let Times {
        silence,
        in_phase,
        in_message,
        standstill,
        is_paused,
    } = times;
    match *phase {
        Phase::Handshake(_) if in_phase >= limits.handshake_timeout => Verdict::Drop,
        Phase::Unauthenticated { .. } if in_phase >= limits.auth_timeout => {
            Verdict::Close(CloseReason::Unauthorized)
        }
        Phase::Open { pinged, .. } => {
            if standstill.is_some_and(|it| it >= limits.stall_timeout) {
                Verdict::Close(CloseReason::SlowConsumer)
            } else if !is_paused && in_message.is_some_and(|it| it >= limits.message_timeout) {
                Verdict::Close(CloseReason::MessageTimeout)
            } else if is_paused || standstill.is_some() {
                // Whether it follows at all, its backlog tells.
                Verdict::Excuse
            } else if !pinged && silence >= limits.ping_interval {
                Verdict::Ping
            } else if pinged && in_phase >= limits.pong_timeout {
                Verdict::Close(CloseReason::PingTimeout)
            } else {
                Verdict::Wait
            }
        }
        Phase::Closing | Phase::Flushing | Phase::Lingering
            if in_phase >= limits.closing_timeout =>
        {
            Verdict::Terminate
        }
        Phase::Handshake(_)
        | Phase::Unauthenticated { .. }
        | Phase::Closing
        | Phase::Flushing
        | Phase::Lingering
        | Phase::Removed => Verdict::Wait,
    }
}

/// Steps in which the cursor passes over all clients.
const QUARTERS: u32 = 4;
/// Time between two steps.
pub(super) const STEP: Duration = Duration::from_millis(250);
