//! Publishes of clients: each ends once, whatever becomes of PostgreSQL.
//!
//! Knows who waits for which; how they are gathered into transactions is the backend's.

use super::parts::{Hub, Publish};
use crate::{
    backend::command::{Command, Notify, Published},
    channel::{Channel, Payload},
    id::Tick,
    message::{ErrorCode, RequestId, ServerMessage},
};

impl Hub {
    pub(super) fn notify(
        &mut self,
        slot: u32,
        channel: Channel,
        payload: Payload,
        id: Option<RequestId>,
        now: Tick,
    ) {
        let bytes = channel.as_str().len() + payload.as_str().len() + PUBLISH_BYTES;
        let refusal = if !self.listening.publishing_up {
            Some((ErrorCode::PostgresDown, "PostgreSQL is not connected"))
        } else if self.publish_bytes + bytes > self.limits.publish_bytes_max {
            Some((
                ErrorCode::RateLimited,
                "too many publishes are waiting for PostgreSQL",
            ))
        } else {
            None
        };
        if let Some((code, text)) = refusal {
            self.refuse(slot, code, text, Some(channel.as_str()), id.as_ref(), now);
            return;
        }
        self.publish_bytes += bytes;
        self.metrics.publishes += 1;
        self.clients[slot as usize].publishes_waiting += 1;
        let client = self.id(slot);
        let publish = Publish {
            client,
            serial: self.clients[slot as usize].serial,
            id,
            channel: channel.clone(),
            bytes,
            since: self.clock,
        };
        let ticket = self.publishes.insert(publish);
        let ticket = u32::try_from(ticket).expect("bounded by publish_bytes_max");
        self.commands.push_back(Command::Notify(Notify {
            number: ticket,
            source: slot,
            channel,
            payload,
        }));
    }

    /// A publish ended one way or the other.
    pub(super) fn handle_published(&mut self, ticket: u32, outcome: &Published, now: Tick) {
        let Some(publish) = self.publishes.try_remove(ticket as usize) else {
            debug_assert!(false, "a publish ends once");
            return;
        };
        self.publish_bytes -= publish.bytes;
        self.metrics
            .publish_latency
            .observe(self.clock - publish.since);
        let slot = publish.client.slot;
        if !self.awaits(&publish) {
            return;
        }
        let was_paused = self.is_paused(publish.client);
        self.clients[slot as usize].publishes_waiting -= 1;
        if was_paused && !self.is_paused(publish.client) {
            self.resumed.push_back(publish.client);
        }
        let (channel, id) = (publish.channel.as_str(), publish.id.as_ref());
        match outcome {
            Published::Committed => {
                if let Some(id) = id {
                    self.answer(slot, &ServerMessage::Notified { channel, id }, now);
                }
            }
            Published::Refused(error) => {
                self.metrics.errors.add(ErrorCode::PostgresError.label());
                let text = &error.message;
                let message = ServerMessage::postgres_error(text, &error.sqlstate, channel, id);
                self.answer(slot, &message, now);
            }
            Published::Unknown => {
                let text = "the connection to PostgreSQL was lost before it answered";
                self.refuse(
                    slot,
                    ErrorCode::UnknownOutcome,
                    text,
                    Some(channel),
                    id,
                    now,
                );
            }
            Published::NotSent => {
                let text = "PostgreSQL is not connected";
                self.refuse(slot, ErrorCode::PostgresDown, text, Some(channel), id, now);
            }
            Published::Crowded => {
                let text = "too many publishes are waiting to be taken";
                self.refuse(slot, ErrorCode::RateLimited, text, Some(channel), id, now);
            }
        }
    }

    /// No outcome is waited for any more: who published is told that it is unknown.
    pub(super) fn give_up_publishes(&mut self, now: Tick) {
        let tickets: Vec<_> = self.publishes.iter().map(|(ticket, _)| ticket).collect();
        for ticket in tickets {
            if !self.awaits(&self.publishes[ticket]) {
                continue;
            }
            let publish = &mut self.publishes[ticket];
            let (slot, channel) = (publish.client.slot, publish.channel.clone());
            let id = publish.id.take();
            publish.serial = NOBODY;
            self.clients[slot as usize].publishes_waiting -= 1;
            self.refuse(
                slot,
                ErrorCode::UnknownOutcome,
                "the bridge stops, and PostgreSQL did not answer in time",
                Some(channel.as_str()),
                id.as_ref(),
                now,
            );
        }
    }

    /// Whether who published is there, and was not told the outcome.
    fn awaits(&self, publish: &Publish) -> bool {
        let client = publish.client;
        self.is_alive(client) && self.clients[client.slot as usize].serial == publish.serial
    }
}

/// No client's serial.
const NOBODY: u64 = u64::MAX;
/// What a waiting publish costs beside its texts, in bytes.
const PUBLISH_BYTES: usize = 160;
