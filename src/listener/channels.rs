//! What callers want of each channel, and who of them waits for what.
//!
//! Calls and what became of LISTEN and UNLISTEN in, commands and answers out. The decisions are
//! those of [`Interest`]. Knows neither sessions nor sockets, and of time what it is told.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    ListenerError,
    requests::{Reply, answer},
};
use crate::{
    backend::{
        command::Command,
        interest::{self, Interest},
    },
    channel::{Channel, ChannelKey},
    pg::session::ServerError,
};

/// All channels anybody wants, and those PostgreSQL still has to forget.
///
/// After any method: [`Self::poll_command`] until `None`.
#[derive(Debug, Default)]
pub(super) struct Channels {
    entries: Slab<Entry>,
    keys: HashMap<Channel, ChannelKey>,
    /// Whether there is a session to ask.
    up: bool,
    commands: VecDeque<Command>,
    retry: Option<Retry>,
}

#[derive(Debug)]
struct Entry {
    channel: Channel,
    interest: Interest,
    /// A caller was told that it is listened to, and none has asked to stop.
    held: bool,
    /// Who waits for LISTEN; empty unless it is under way or wanted.
    listening: Vec<Reply>,
    /// Who waits for UNLISTEN; empty unless it is under way, or will be.
    unlistening: Vec<Reply>,
}

/// When channels that PostgreSQL refused are asked for again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    after: Duration,
}

impl Channels {
    /// A caller wants to hear the channel.
    pub(super) fn listen(&mut self, channel: Channel, reply: Reply) {
        if !self.up {
            answer(&reply, Err(ListenerError::PostgresDown));
            return;
        }
        let key = self.intern(channel);
        let entry = &mut self.entries[key.index()];
        let command = entry.interest.want(true);
        entry.listening.push(reply);
        self.send(key, command);
        self.settle(key);
    }

    /// A caller wants to hear it no more.
    pub(super) fn unlisten(&mut self, channel: &Channel, reply: Reply) {
        let Some(&key) = self.keys.get(channel) else {
            answer(&reply, Ok(()));
            return;
        };
        let entry = &mut self.entries[key.index()];
        entry.held = false;
        for overtaken in entry.listening.drain(..) {
            answer(&overtaken, Err(ListenerError::Cancelled));
        }
        let command = entry.interest.unwant();
        entry.unlistening.push(reply);
        self.send(key, command);
        self.settle(key);
    }

    /// There is a session to ask.
    pub(super) fn handle_up(&mut self) {
        self.up = true;
        for key in self.all() {
            let command = self.entries[key.index()].interest.ready();
            self.send(key, command);
        }
    }

    /// The session is gone, and with it all it was asked.
    pub(super) fn handle_down(&mut self) {
        self.up = false;
        self.retry = None;
        self.commands.clear();
        for key in self.all() {
            let entry = &mut self.entries[key.index()];
            entry.interest.lost();
            for reply in entry.listening.drain(..) {
                answer(&reply, Err(ListenerError::PostgresDown));
            }
            self.unwant_unless_held(key);
            self.settle(key);
        }
    }

    /// LISTEN was answered. Returns the channel if something of it may have been missed.
    pub(super) fn handle_listened(
        &mut self,
        key: ChannelKey,
        result: Result<(), ServerError>,
        now: Instant,
    ) -> Option<Channel> {
        let entry = &mut self.entries[key.index()];
        let mut gap = None;
        match result {
            Ok(()) => {
                let command = entry.interest.listened();
                if entry.interest == Interest::Listened && entry.held {
                    gap = Some(entry.channel.clone());
                }
                self.send(key, command);
            }
            Err(error) => {
                tracing::warn!(
                    channel = entry.channel.as_str(),
                    "PostgreSQL refused to LISTEN: {error}"
                );
                entry.interest.refused();
                for reply in entry.listening.drain(..) {
                    answer(&reply, Err(ListenerError::Refused(Box::new(error.clone()))));
                }
                self.unwant_unless_held(key);
                if self.entries[key.index()].interest == Interest::Refused {
                    self.retry.get_or_insert(Retry {
                        at: now + Interest::RETRY_MIN,
                        after: Interest::RETRY_MIN,
                    });
                }
            }
        }
        self.settle(key);
        gap
    }

    /// UNLISTEN was answered.
    pub(super) fn handle_unlistened(&mut self, key: ChannelKey) {
        let command = self.entries[key.index()].interest.unlistened();
        self.send(key, command);
        self.settle(key);
    }

    /// The channel of this name, if what comes on it is to be handed over: from the confirmed
    /// LISTEN to the confirmed UNLISTEN.
    pub(super) fn find_listened(&self, name: &[u8]) -> Option<&Channel> {
        let key = self.keys.get(std::str::from_utf8(name).ok()?)?;
        let entry = &self.entries[key.index()];
        match entry.interest {
            Interest::Listened | Interest::Unlistening { .. } => Some(&entry.channel),
            Interest::Idle | Interest::Waiting | Interest::Listening { .. } | Interest::Refused => {
                None
            }
        }
    }

    /// What PostgreSQL is to be asked next.
    pub(super) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retry.map(|retry| retry.at)
    }

    /// Asks again for channels PostgreSQL refused, if their time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some(due) = self.retry.filter(|retry| retry.at <= now) else {
            return;
        };
        self.retry = None;
        for key in self.all() {
            let entry = &mut self.entries[key.index()];
            if entry.interest == Interest::Refused {
                let command = entry.interest.ready();
                let after = (due.after * 2).min(Interest::RETRY_MAX);
                self.retry = Some(Retry {
                    at: now + after,
                    after,
                });
                self.send(key, command);
            }
        }
    }

    fn intern(&mut self, channel: Channel) -> ChannelKey {
        if let Some(&key) = self.keys.get(&channel) {
            return key;
        }
        let key = self.entries.insert(Entry {
            channel: channel.clone(),
            interest: Interest::Idle,
            held: false,
            listening: Vec::new(),
            unlistening: Vec::new(),
        });
        let key = ChannelKey(u32::try_from(key).expect("memory holds no 2^32 channels"));
        self.keys.insert(channel, key);
        key
    }

    fn all(&self) -> Vec<ChannelKey> {
        let keys = self.entries.iter().map(|(key, _)| key);
        let keys = keys.map(|key| ChannelKey(u32::try_from(key).expect("keys were made from u32")));
        keys.collect()
    }

    fn send(&mut self, key: ChannelKey, command: Option<interest::Command>) {
        let Some(command) = command else { return };
        let channel = self.entries[key.index()].channel.clone();
        self.commands.push_back(match command {
            interest::Command::Listen => Command::Listen(key, channel),
            interest::Command::Unlisten => Command::Unlisten(key, channel),
        });
    }

    /// A failed `listen` leaves things as they were: the channel is wanted only if it was held.
    fn unwant_unless_held(&mut self, key: ChannelKey) {
        let entry = &mut self.entries[key.index()];
        if !entry.held {
            let command = entry.interest.unwant();
            debug_assert_eq!(command, None, "nothing was listened to");
        }
    }

    /// Answers who waited for the state the channel is in; forgets it when it is idle.
    fn settle(&mut self, key: ChannelKey) {
        let entry = &mut self.entries[key.index()];
        match entry.interest {
            Interest::Listened => {
                entry.held |= !entry.listening.is_empty();
                for reply in entry.listening.drain(..) {
                    answer(&reply, Ok(()));
                }
            }
            Interest::Listening { wanted: false } | Interest::Unlistening { .. } => return,
            Interest::Idle
            | Interest::Waiting
            | Interest::Listening { wanted: true }
            | Interest::Refused => {}
        }
        for reply in entry.unlistening.drain(..) {
            answer(&reply, Ok(()));
        }
        if entry.interest == Interest::Idle {
            debug_assert!(entry.listening.is_empty(), "who waits wants the channel");
            let entry = self.entries.remove(key.index());
            self.keys.remove(&entry.channel);
        }
    }
}

#[cfg(test)]
mod tests;
