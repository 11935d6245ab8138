//! Deadlines of clients: which are looked at when, and what is due for one.
//!
//! No timer per client: a cursor passes over all of them once a second, a quarter at a time, and
//! finds those whose next look is due. Does not act: the hub carries out a [`Verdict`].

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    clients::{Clients, Ending, Phase},
    encode::Transport,
};
use crate::{
    config::Limits,
    delivery::Delivery,
    id::{Clock, elapsed},
    ws::close::CloseReason,
};

/// The cursor that passes over all clients.
#[derive(Debug)]
pub(super) struct Deadlines {
    due: Instant,
    next: u32,
}

/// What is known of the time of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// It reads events and says nothing.
    pub(super) is_stream: bool,
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
    /// Of its token, where that comes to an end.
    pub(super) ending: Option<Ending>,
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
    /// Its token ends in so many seconds, and it is told.
    TellEnd(u64),
    /// The close frame.
    Close(CloseReason),
    /// Its socket is let go: its opening handshake took too long.
    Drop,
    /// Its socket is let go: its closing handshake took too long.
    Terminate,
    /// Its socket is let go: it has asked nothing for long.
    LetGo,
    /// The response that says so: its request took too long.
    TimeOutRequest,
}

impl Times {
    /// Those of a connection; `is_unread` tells whether its input is left in its socket.
    pub(super) fn of(
        slot: u32,
        clients: &Clients,
        delivery: &Delivery,
        clock: &Clock,
        is_unread: bool,
    ) -> Self {
        let now = clock.tick();
        let phase = clients.phase(slot);
        let is_open = matches!(phase, Some(Phase::Open { .. } | Phase::Http(_)));
        let message_began = clients.message_began(slot);
        Self {
            is_stream: clients.transport(slot) == Transport::EventStream,
            silence: elapsed(clients.last_input(slot), now),
            in_phase: elapsed(clients.phase_began(slot), now),
            in_message: message_began.map(|began| elapsed(began, now)),
            standstill: is_open.then(|| delivery.standstill(slot)).flatten(),
            is_paused: is_open && is_unread,
            ending: clients.ending(slot, clock.since_1970()),
        }
    }
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
        is_stream,
        silence,
        in_phase,
        in_message,
        standstill,
        is_paused,
        ending,
    } = times;
    match *phase {
        Phase::Handshake(_) if in_phase >= limits.handshake_timeout => Verdict::Drop,
        Phase::Unauthenticated { .. } if in_phase >= limits.auth_timeout => {
            Verdict::Close(CloseReason::TokenMissing)
        }
        Phase::Open { pinged, .. } => {
            if ending.is_some_and(|it| it.left.is_zero()) {
                Verdict::Close(CloseReason::TokenExpired)
            } else if let Some(soon) = ending.filter(Ending::is_to_be_told) {
                Verdict::TellEnd(
                    soon.left
                        .as_millis()
                        .div_ceil(1_000)
                        .try_into()
                        .unwrap_or(0),
                )
            } else if standstill.is_some_and(|it| it >= limits.stall_timeout) {
                Verdict::Close(CloseReason::SlowConsumer)
            } else if !is_paused && in_message.is_some_and(|it| it >= limits.message_timeout) {
                Verdict::Close(CloseReason::MessageTimeout)
            } else if is_paused || standstill.is_some() {
                // Whether it follows at all, its backlog tells.
                Verdict::Excuse
            } else if is_stream {
                if in_phase >= limits.ping_interval {
                    Verdict::Ping
                } else {
                    Verdict::Wait
                }
            } else if !pinged && silence >= limits.ping_interval {
                Verdict::Ping
            } else if pinged && in_phase >= limits.pong_timeout {
                Verdict::Close(CloseReason::PingTimeout)
            } else {
                Verdict::Wait
            }
        }
        Phase::Http(_) if standstill.is_some_and(|it| it >= limits.stall_timeout) => {
            Verdict::Terminate
        }
        Phase::Http(_) if is_paused => Verdict::Excuse,
        Phase::Http(_) if in_message.is_some_and(|it| it >= limits.message_timeout) => {
            Verdict::TimeOutRequest
        }
        Phase::Http(ref exchange) if exchange.is_idle() && in_phase >= limits.idle_timeout => {
            Verdict::LetGo
        }
        Phase::Closing | Phase::Flushing | Phase::Lingering
            if in_phase >= limits.closing_timeout =>
        {
            Verdict::Terminate
        }
        Phase::Handshake(_)
        | Phase::Http(_)
        | Phase::Unauthenticated { .. }
        | Phase::Closing
        | Phase::Flushing
        | Phase::Lingering
        | Phase::Removed => Verdict::Wait,
    }
}

/// How long nothing can be due for a client of this phase, whatever it does, so long as the phase
/// and its backlog stay as they are.
pub(super) fn next_look(phase: &Phase, times: Times, limits: &Limits) -> Duration {
    let Times {
        is_stream,
        silence,
        in_phase,
        in_message,
        is_paused,
        standstill: _,
        ending,
    } = times;
    match *phase {
        Phase::Handshake(_) => limits.handshake_timeout.saturating_sub(in_phase),
        Phase::Unauthenticated { .. } => limits.auth_timeout.saturating_sub(in_phase),
        // What it is asked and answered has no phases of its own.
        Phase::Http(_) => Duration::ZERO,
        // Its silence is ours, or may be: that shows only while it lasts.
        Phase::Open { pinged, .. } if pinged || is_paused => Duration::ZERO,
        Phase::Open { .. } => {
            let quiet = if is_stream { in_phase } else { silence };
            let ping = limits.ping_interval.saturating_sub(quiet);
            let message = in_message.map(|it| limits.message_timeout.saturating_sub(it));
            let ending = ending.map(|it| it.next_look());
            [message, ending]
                .into_iter()
                .flatten()
                .fold(ping, Duration::min)
        }
        Phase::Closing | Phase::Flushing | Phase::Lingering => {
            limits.closing_timeout.saturating_sub(in_phase)
        }
        Phase::Removed => Duration::ZERO,
    }
}

/// Steps in which the cursor passes over all clients.
const QUARTERS: u32 = 4;
/// Time between two steps.
pub(super) const STEP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every phase, each at the moments around what may be due in it.
    #[test]
    fn nothing_is_due_before_the_next_look() {
        let limits = Limits::default();
        let open = |pinged| Phase::Open {
            pinged,
            failures: 0,
            token: None,
        };
        let phases = [
            Phase::Handshake(None),
            Phase::Unauthenticated { failures: 0 },
            open(false),
            open(true),
            Phase::Closing,
            Phase::Flushing,
            Phase::Lingering,
        ];
        let moments = [0, 1, 4_999, 5_000, 9_999, 10_000, 24_999, 25_000, 60_000];
        let moments = moments.map(Duration::from_millis);
        let end = |left, is_told| Some((Duration::from_millis(left), is_told));
        let ends = [
            None,
            end(70_000, false),
            end(60_001, false),
            end(5_000, false),
            end(5_000, true),
            end(30_000, true),
            end(0, true),
        ];
        for phase in &phases {
            for (silence, in_phase) in moments.iter().flat_map(|a| moments.map(|b| (*a, b))) {
                for (is_stream, left) in
                    [false, true].into_iter().flat_map(|a| ends.map(|b| (a, b)))
                {
                    let times = |later: Duration| Times {
                        is_stream,
                        silence: silence + later,
                        in_phase: in_phase + later,
                        in_message: (in_phase < silence).then_some(silence + later),
                        standstill: None,
                        is_paused: false,
                        ending: left.map(|(left, is_told)| Ending {
                            left: left.saturating_sub(later),
                            is_told,
                        }),
                    };
                    let wait = next_look(phase, times(Duration::ZERO), &limits);
                    if !wait.is_zero() {
                        let just_before = times(wait.saturating_sub(Duration::from_millis(1)));
                        let verdict = judge(phase, just_before, &limits);
                        assert_eq!(verdict, Verdict::Wait, "{phase:?}, {:?}", times(wait));
                    }
                }
            }
        }
    }

    #[test]
    fn an_idle_client_is_looked_at_when_its_ping_is_due() {
        let limits = Limits::default();
        let phase = Phase::Open {
            pinged: false,
            failures: 0,
            token: None,
        };
        let times = |silence| Times {
            is_stream: false,
            silence,
            in_phase: Duration::from_secs(3_600),
            in_message: None,
            standstill: None,
            is_paused: false,
            ending: None,
        };
        let silence = Duration::from_secs(2);
        let wait = next_look(&phase, times(silence), &limits);
        assert_eq!(wait, limits.ping_interval - silence);
        let verdict = judge(&phase, times(silence + wait), &limits);
        assert_eq!(verdict, Verdict::Ping);
    }

    #[test]
    fn the_end_of_a_token_is_told_60_s_before_and_is_the_end_of_the_client() {
        let limits = Limits::default();
        let phase = Phase::Open {
            pinged: false,
            failures: 0,
            token: None,
        };
        let times = |left, is_told| Times {
            silence: Duration::ZERO,
            in_phase: Duration::ZERO,
            in_message: None,
            // A backlog that does not move excuses nothing.
            standstill: Some(Duration::from_secs(1)),
            is_paused: false,
            is_stream: false,
            ending: Some(Ending {
                left: Duration::from_millis(left),
                is_told,
            }),
        };
        let expired = Verdict::Close(CloseReason::TokenExpired);
        for (left, is_told, verdict, wait) in [
            (70_000, false, Verdict::Excuse, 10_000),
            (60_001, false, Verdict::Excuse, 1),
            (60_000, false, Verdict::TellEnd(60), 0),
            (59_001, false, Verdict::TellEnd(60), 0),
            (1, false, Verdict::TellEnd(1), 0),
            (0, false, expired, 0),
            (20_000, true, Verdict::Excuse, 20_000),
            (1, true, Verdict::Excuse, 1),
            (0, true, expired, 0),
        ] {
            let times = times(left, is_told);
            assert_eq!(judge(&phase, times, &limits), verdict, "{left} {is_told}");
            let wait = Duration::from_millis(wait);
            assert_eq!(next_look(&phase, times, &limits), wait, "{left} {is_told}");
        }
    }
}
