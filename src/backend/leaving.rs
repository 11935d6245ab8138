//! The schedule by which a session that was given up is asked to end.
//!
//! A server process that works on a request reads nothing, so only a CancelRequest reaches it; until
//! the process has ended, it is one of the sessions that the server allows. Knows no socket.

use std::time::{Duration, Instant};

use crate::pg::session::Departure;

/// The last session of one role that was given up, until it is known to have ended.
#[derive(Debug, Default)]
pub(super) struct Leaving(Option<Leaver>);

#[derive(Debug)]
struct Leaver {
    departure: Departure,
    /// The time of the next CancelRequest.
    again_at: Instant,
}

impl Leaving {
    /// A session is given up, and asked to end for the first time.
    pub(super) fn begin(&mut self, departure: Departure, now: Instant) {
        debug_assert!(self.0.is_none(), "one after the other");
        self.0 = Some(Leaver {
            departure,
            again_at: now + FIRST_INTERVAL,
        });
    }

    /// The bytes that ask the session to end; `None` once it has ended.
    pub(super) fn departure(&self) -> Option<&Departure> {
        self.0.as_ref().map(|leaver| &leaver.departure)
    }

    /// The session has ended.
    pub(super) fn handle_left(&mut self) {
        self.0 = None;
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|leaver| leaver.again_at)
    }

    /// Whether the session is to be asked again now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            Some(leaver) if leaver.again_at <= now => {
                leaver.again_at = now + INTERVAL;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// From the first CancelRequest to the second.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// Between the later ones.
const INTERVAL: Duration = Duration::from_secs(30);
