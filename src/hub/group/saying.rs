//! What is said to the group, in which order, and at which pace.
//!
//! A barrier goes first, for clients wait for it; answers come before announcements. Announcements
//! are paced by PostgreSQL: each waits until one of those before it is back.

use std::time::Instant;

use super::{
    Group, Leaving,
    encoding::channel_bytes_max,
    seal::{ENTRIES_BYTES_MAX, Header},
    serving::Rings,
    wire::Message,
};
use crate::channel::Payload;

impl Group {
    /// The next message to be published on the control channel; `rings` tells what is kept.
    pub(in crate::hub) fn poll_message(
        &mut self,
        rings: Rings<'_>,
        now: Instant,
    ) -> Option<Payload> {
        let joined = self.joined.as_mut()?;
        if joined.unheard >= UNHEARD_MAX {
            return None;
        }
        let message = if self.leaving != Leaving::No {
            self.outbox.pop_front()?
        } else if joined.hello_heard_at.is_some() && self.barriers.poll_barrier(now) {
            Message::Barrier
        } else {
            let queued = self.outbox.pop_front();
            queued
                .or_else(|| self.poll_left())
                .or_else(|| self.poll_fill())
                .or_else(|| self.poll_begin(now))
                .or_else(|| self.poll_filled(rings))?
        };
        let identity = self.identity.as_mut()?;
        identity.sent += 1;
        if let Some(joined) = &mut self.joined {
            joined.unheard += 1;
        }
        self.counts.messages_sent += 1;
        let header = Header {
            id: identity.id,
            pid: identity.pid,
            counter: identity.sent,
            server_start: self.server_start?,
        };
        Some(self.seal.seal(header, &message))
    }

    fn poll_left(&mut self) -> Option<Message> {
        let bytes = self.left.iter().scan(0, |bytes, channel| {
            *bytes += channel_bytes_max(channel);
            Some(*bytes)
        });
        let count = bytes
            .take_while(|&bytes| bytes <= ENTRIES_BYTES_MAX)
            .count();
        let channels: Vec<_> = self.left.drain(..count).collect();
        (!channels.is_empty()).then_some(Message::Left { channels })
    }

    /// Few are under way: so they are paced by PostgreSQL, and delay nobody's NOTIFY.
    fn poll_begin(&mut self, now: Instant) -> Option<Message> {
        let joined = self.joined.as_mut()?;
        joined.hello_heard_at?;
        let members = joined.members.iter().flatten();
        joined.has_begun |= now >= joined.settled_at()
            || self.peers.have_all_welcomed() && self.peers.have_met(members);
        if !joined.has_begun
            || self.comparisons.are_many_under_way()
            || self.catch_up.is_replaying()
        {
            return None;
        }
        if self.peers.count() == 0 {
            if self.catch_up.is_on() {
                self.finish_catch_up(now);
            }
            self.ledger.answer_all();
            return None;
        }
        if self.catch_up.is_gathering() {
            if !self.catch_up.poll_gathered(self.peers.have_all_ended()) {
                return None;
            }
            self.ledger.release();
        }
        let (keys, entries) = self.ledger.poll_begin(ENTRIES_BYTES_MAX);
        if keys.is_empty() {
            return None;
        }
        let counter = self.identity?.sent + 1;
        self.comparisons.handle_sent(counter, keys);
        Some(Message::Begin { entries })
    }

    /// What we did not hear is asked for.
    fn poll_fill(&mut self) -> Option<Message> {
        let (to, number, wishes) = self.catch_up.poll_wishes(ENTRIES_BYTES_MAX)?;
        Some(Message::Fill { to, number, wishes })
    }

    /// What a peer did not hear is told, as fast as PostgreSQL commits it and no faster.
    fn poll_filled(&mut self, rings: Rings<'_>) -> Option<Message> {
        let joined = self.joined.as_ref();
        if joined.is_none_or(|it| it.unheard >= PARTS_UNHEARD_MAX) {
            return None;
        }
        self.serving.poll_part(rings, ENTRIES_BYTES_MAX)
    }

    pub(super) fn say(&mut self, message: Message) {
        // A peer that asks more than PostgreSQL commits for us is not answered, and says false.
        if self.outbox.len() < OUTBOX_MAX && self.leaving == Leaving::No {
            self.outbox.push_back(message);
        }
    }
}

/// Messages of ours that are sent and not come back.
const UNHEARD_MAX: usize = 32;
/// While so many are, no part of a ring is sent: 120 KB are under way at most.
const PARTS_UNHEARD_MAX: usize = 16;
/// Messages of ours that wait: the channels of a bridge that has as many as it may, twice.
pub(super) const OUTBOX_MAX: usize = 4_096;
