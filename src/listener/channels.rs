//! The channels that callers want, and the callers that wait for a confirmation.
//!
//! Calls and the results of LISTEN and UNLISTEN in, commands and answers out. [`Interests`] holds
//! the state wanted of PostgreSQL. Knows neither sessions nor sockets, and reads no clock.

use std::time::Instant;

use super::{
    ListenerError,
    requests::{Reply, answer},
};
use crate::{
    backend::{
        command::Command,
        interest::Interest,
        interests::{Interests, OWN},
    },
    channel::{Channel, ChannelKey},
    pg::session::ServerError,
};

/// All channels that a caller wants, and those that PostgreSQL still has to forget.
///
/// After any method: [`Self::poll_command`], as long as the session takes commands.
#[derive(Debug, Default)]
pub(super) struct Channels {
    interests: Interests,
    /// By channel; grown on first use.
    callers: Vec<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    /// A caller was told that the channel is listened to, and none has asked to stop.
    is_held: bool,
    /// Callers that wait for LISTEN; empty unless it is under way or wanted.
    listening: Vec<Reply>,
    /// Callers that wait for UNLISTEN; empty unless it is under way, or will be.
    unlistening: Vec<Reply>,
}

impl Channels {
    /// A caller wants to listen to the channel.
    pub(super) fn listen(&mut self, channel: Channel, reply: Reply) {
        if !self.interests.is_up() {
            answer(reply, Err(ListenerError::PostgresDown));
            return;
        }
        let key = self.interests.intern(channel);
        self.interests.want(key, OWN);
        self.callers_mut(key).listening.push(reply);
        self.settle(key);
    }

    /// A caller no longer wants the channel.
    pub(super) fn unlisten(&mut self, channel: &Channel, reply: Reply) {
        let Some(key) = self.interests.find(channel.as_str()) else {
            answer(reply, Ok(()));
            return;
        };
        let callers = self.callers_mut(key);
        callers.is_held = false;
        for overtaken in callers.listening.drain(..) {
            answer(overtaken, Err(ListenerError::Cancelled));
        }
        callers.unlistening.push(reply);
        self.interests.unwant(key);
        self.settle(key);
    }

    /// The session is up.
    pub(super) fn handle_up(&mut self) {
        self.interests.handle_up(|_| 0);
    }

    /// The session is lost, with every command under way.
    pub(super) fn handle_down(&mut self) {
        self.interests.handle_down();
        let keys: Vec<_> = self.interests.keys().collect();
        for key in keys {
            for reply in self.callers_mut(key).listening.drain(..) {
                answer(reply, Err(ListenerError::PostgresDown));
            }
            self.unwant_unless_held(key);
            self.settle(key);
        }
    }

    /// LISTEN was answered. Returns the channel if notifications of it may be missing.
    pub(super) fn handle_listened(
        &mut self,
        key: ChannelKey,
        result: Result<(), ServerError>,
        now: Instant,
    ) -> Option<Channel> {
        let mut gap = None;
        match result {
            Ok(()) => {
                if self.interests.handle_listened(key) && self.callers_mut(key).is_held {
                    gap = Some(self.interests.name(key).clone());
                }
            }
            Err(error) => {
                tracing::warn!(
                    target: "alle::postgres",
                    channel = self.interests.name(key).as_str(),
                    "PostgreSQL refused to LISTEN: {error}"
                );
                for reply in self.callers_mut(key).listening.drain(..) {
                    answer(reply, Err(ListenerError::Refused(Box::new(error.clone()))));
                }
                self.unwant_unless_held(key);
                self.interests.handle_refused(key, now);
            }
        }
        self.settle(key);
        gap
    }

    /// UNLISTEN was answered.
    pub(super) fn handle_unlistened(&mut self, key: ChannelKey) {
        self.interests.handle_unlistened(key);
        self.settle(key);
    }

    /// The channel of this name, if its notifications are to be handed over: from the confirmed
    /// LISTEN to the confirmed UNLISTEN.
    pub(super) fn find_listened(&self, name: &[u8]) -> Option<&Channel> {
        let key = self.interests.find(std::str::from_utf8(name).ok()?)?;
        match self.interests.interest(key) {
            Interest::Listened | Interest::Unwanted | Interest::Unlistening { .. } => {
                Some(self.interests.name(key))
            }
            Interest::Idle | Interest::Waiting | Interest::Listening { .. } | Interest::Refused => {
                None
            }
        }
    }

    /// The next command for PostgreSQL.
    pub(super) fn poll_command(&mut self) -> Option<Command<'_>> {
        self.interests.poll_command()
    }

    /// The time at which to call [`Self::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.interests.poll_timeout()
    }

    /// Retries the channels that PostgreSQL refused, if they are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.interests.handle_timeout(now);
    }

    fn callers_mut(&mut self, key: ChannelKey) -> &mut Callers {
        if self.callers.len() <= key.index() {
            self.callers.resize_with(key.index() + 1, Callers::default);
        }
        &mut self.callers[key.index()]
    }

    /// A failed `listen` changes nothing: the channel stays wanted only if it was held.
    fn unwant_unless_held(&mut self, key: ChannelKey) {
        if !self.callers_mut(key).is_held {
            self.interests.unwant(key);
        }
    }

    /// Answers the callers that waited for the channel's present state; forgets an idle channel.
    fn settle(&mut self, key: ChannelKey) {
        let interest = self.interests.interest(key);
        let callers = self.callers_mut(key);
        match interest {
            Interest::Listened => {
                callers.is_held |= !callers.listening.is_empty();
                for reply in callers.listening.drain(..) {
                    answer(reply, Ok(()));
                }
            }
            Interest::Listening { wanted: false }
            | Interest::Unwanted
            | Interest::Unlistening { .. } => return,
            Interest::Idle
            | Interest::Waiting
            | Interest::Listening { wanted: true }
            | Interest::Refused => {}
        }
        for reply in callers.unlistening.drain(..) {
            answer(reply, Ok(()));
        }
        if interest == Interest::Idle {
            debug_assert!(callers.listening.is_empty(), "a waiting caller wants it");
            *callers = Callers::default();
            self.interests.release(key);
        }
    }
}

#[cfg(test)]
mod tests;
