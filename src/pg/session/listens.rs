//! LISTENs that share a transaction: where several requests are under way, those that are asked
//! for before the first of them is lent to be written.
//!
//! A transaction of its own costs the server several times what its LISTEN does, and a bridge that
//! comes back may have tens of thousands. Few are not worth it: each is answered as soon as it can be.
//! Where one of many is refused none of them counts, and each is asked for again alone. Knows neither SQL nor what a channel is wanted for.

use super::{Event, Kind, Session, Ticket, naming};
use crate::{channel::Channel, pg::command};

/// A LISTEN that others may join.
#[derive(Debug)]
pub(super) struct Shared {
    /// For the case that it has to be asked for again.
    channel: Channel,
    /// How many of the same transaction came before it.
    before: usize,
    /// The next request is of the same transaction.
    is_followed: bool,
}

impl Session {
    /// As [`Self::listen`]. Where several requests are under way, it may share a transaction with others
    /// that were asked for by this and were not lent yet.
    pub fn listen_along(&mut self, channel: &Channel, ticket: Ticket) {
        let is_doubtful = naming::is_doubtful(channel, self.server_encoding());
        if is_doubtful || self.in_flight() < UNSHARED_MAX {
            self.listen(channel, ticket);
            return;
        }
        let before = self.follow();
        match before {
            0 => self.request(Kind::Listen, ticket, |out| command::listen(channel, out)),
            _ => self.join(channel, ticket),
        }
        if let Some(request) = self.requests.back_mut() {
            request.shared = Some(Box::new(Shared {
                channel: channel.clone(),
                before,
                is_followed: false,
            }));
        }
    }

    /// How many LISTENs the next one can join: the last request is told so.
    fn follow(&mut self) -> usize {
        let (is_ready, lent) = (self.phase.is_ready(), self.lent);
        let last = self.requests.back_mut();
        let last = last.filter(|it| is_ready && it.position >= lent);
        let shared = last.and_then(|last| last.shared.as_mut());
        let Some(shared) = shared.filter(|it| it.before + 1 < LISTENS_MAX) else {
            return 0;
        };
        shared.is_followed = true;
        shared.before + 1
    }

    /// One more LISTEN in the last message.
    fn join(&mut self, channel: &Channel, ticket: Ticket) {
        let Some(position) = self.requests.back().map(|last| last.position) else {
            return;
        };
        let start = self.outbox.index(position);
        command::listen_too(channel, start, self.outbox.tail());
        self.push_request(Kind::Listen, ticket, position);
    }

    /// ReadyForQuery of several LISTENs: from now on, [`Self::poll_listened`]. Whether it is one of
    /// those.
    pub(super) fn handle_listened(&mut self) -> bool {
        let Some(first) = self.requests.front_mut() else {
            return false;
        };
        if first.shared.as_ref().is_none_or(|it| !it.is_followed) {
            return false;
        }
        if first.error.is_none() {
            self.is_listened = true;
            return true;
        }
        loop {
            let request = self.requests.pop_front();
            let shared = request.and_then(|it| Some((it.ticket, it.shared?)));
            let Some((ticket, shared)) = shared else {
                return true;
            };
            self.queue(Kind::Listen, ticket, |out| {
                command::listen(&shared.channel, out);
            });
            if !shared.is_followed {
                return true;
            }
        }
    }

    /// The next LISTEN of a transaction that is committed.
    pub(super) fn poll_listened(&mut self) -> Option<Event<'static>> {
        if !self.is_listened {
            return None;
        }
        let request = self.requests.pop_front()?;
        self.is_listened = request.shared.is_some_and(|it| it.is_followed);
        Some(Event::Completed {
            ticket: request.ticket,
            result: Ok(()),
        })
    }
}

/// While so few requests are under way, a LISTEN goes alone.
const UNSHARED_MAX: usize = 4;
/// LISTENs of one transaction: beyond this, PostgreSQL has little left to save, and notifications have
/// to wait for the end of each.
const LISTENS_MAX: usize = 64;
