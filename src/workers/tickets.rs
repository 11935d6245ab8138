//! The keys of tickets that all workers have, so that a client of TLS comes again to any of them without
//! a full handshake.
//!
//! Owns the keys and when they change. Knows no TLS.

use std::{io, time::Instant};

use super::seat::Seat;
use crate::{
    startup,
    ticket_keys::{ROTATION, TicketKeys},
};

/// The keys, and when the next ones come.
#[derive(Debug)]
pub(super) struct Tickets {
    keys: TicketKeys,
    rotate_at: Instant,
}

impl Tickets {
    /// Makes the first keys, and gives them to all.
    pub(super) fn share(seats: &mut [Seat], now: Instant) -> io::Result<Self> {
        let keys = TicketKeys::new(startup::random)?;
        let tickets = Self {
            keys,
            rotate_at: now + ROTATION,
        };
        tickets.give(seats);
        Ok(tickets)
    }

    /// When the keys change.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.rotate_at
    }

    /// Goes on to the next key, if that is due.
    pub(super) fn rotate_when_due(&mut self, seats: &mut [Seat], now: Instant) {
        if now < self.rotate_at {
            return;
        }
        self.rotate_at = now + ROTATION;
        match startup::random() {
            Ok(next) => self.keys.rotate(next),
            Err(error) => tracing::error!(
                target: "alle::bridge",
                "the keys of TLS tickets stay as they are: {error}"
            ),
        }
        self.give(seats);
    }

    fn give(&self, seats: &mut [Seat]) {
        for seat in seats {
            seat.set_ticket_keys(self.keys.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_rotates_the_keys_when_it_is_time() {
        let began = Instant::now();
        let mut tickets = Tickets::share(&mut [], began).unwrap();
        let before = tickets.keys.clone();
        assert_eq!(tickets.poll_timeout(), began + ROTATION);
        tickets.rotate_when_due(&mut [], began + ROTATION / 2);
        assert_eq!(tickets.keys, before);
        tickets.rotate_when_due(&mut [], began + ROTATION);
        assert_eq!(tickets.keys.all()[1..], before.all()[..2]);
        assert_eq!(tickets.poll_timeout(), began + 2 * ROTATION);
    }
}
