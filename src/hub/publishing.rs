//! Publishes of clients on their way to PostgreSQL: each ends once, whatever becomes of that.
//!
//! Knows whose each is and what all of them cost; how they are gathered into transactions is the
//! backend's, and what a client is told the hub's.

use slab::Slab;

use crate::{
    backend::command::Published,
    channel::{Channel, Payload},
    id::ClientId,
    message::{ErrorCode, RequestId, ServerMessage},
};

/// Publishes awaiting their outcome, by ticket.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    publishes: Slab<Waiting>,
    /// By slot of the client; grown on first use.
    by_client: Vec<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    publish: Publish,
    bytes: usize,
    /// The client has its answer already.
    is_answered: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Publish {
    /// `None`: the program around the bridge.
    pub(super) client: Option<ClientId>,
    pub(super) channel: Channel,
    pub(super) reply_to: ReplyTo,
    /// When it was taken, in microseconds.
    pub(super) taken_at: u64,
}

/// How the outcome is told.
#[derive(Debug)]
pub(super) enum ReplyTo {
    /// By a message, with the id of the request if that has one.
    Message(Option<RequestId>),
    /// By the response of a request over HTTP.
    Request {
        /// Which of its connection's.
        number: u64,
        /// Another may follow.
        is_persistent: bool,
        /// Header fields that the response has besides its own.
        fields: Box<str>,
    },
}

impl ReplyTo {
    /// The id that the outcome carries.
    pub(super) fn id(&self) -> Option<&RequestId> {
        match self {
            Self::Message(id) => id.as_ref(),
            Self::Request { .. } => None,
        }
    }
}

impl Publishing {
    /// What a publish costs while it waits, in bytes.
    pub(super) fn cost(channel: &Channel, payload: &Payload) -> usize {
        channel.as_str().len() + payload.as_str().len() + PUBLISH_BYTES
    }

    /// What all of them cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a publish; its ticket.
    pub(super) fn begin(
        &mut self,
        client: Option<ClientId>,
        channel: Channel,
        payload: &Payload,
        reply_to: ReplyTo,
        now: u64,
    ) -> u32 {
        let bytes = Self::cost(&channel, payload);
        self.bytes += bytes;
        if let Some(ClientId { slot, .. }) = client {
            let slot = slot as usize;
            if self.by_client.len() <= slot {
                self.by_client.resize(slot + 1, 0);
            }
            self.by_client[slot] += 1;
        }
        let ticket = self.publishes.insert(Waiting {
            publish: Publish {
                client,
                channel,
                reply_to,
                taken_at: now,
            },
            bytes,
            is_answered: false,
        });
        u32::try_from(ticket).expect("bounded by waiting_bytes_max")
    }

    /// The publish of this ticket ended. Returns it, and whether that is still awaited: by its
    /// client, or by the program.
    pub(super) fn end(
        &mut self,
        ticket: u32,
        is_current: impl FnOnce(ClientId) -> bool,
    ) -> Option<(Publish, bool)> {
        let publish = self.publishes.try_remove(ticket as usize);
        debug_assert!(publish.is_some(), "a publish ends once");
        let Waiting {
            publish,
            bytes,
            is_answered,
        } = publish?;
        self.bytes -= bytes;
        let is_awaited = !is_answered && publish.client.is_none_or(is_current);
        if let (true, Some(client)) = (is_awaited, publish.client) {
            self.by_client[client.slot as usize] -= 1;
        }
        Some((publish, is_awaited))
    }

    /// No outcome is waited for any more: the tickets of those that were not answered yet, each once.
    pub(super) fn give_up(&mut self) -> Vec<(u32, Publish)> {
        let awaited = self.publishes.iter_mut().filter(|(_, it)| !it.is_answered);
        let given_up = awaited.map(|(ticket, waiting)| {
            waiting.is_answered = true;
            let Publish {
                client, taken_at, ..
            } = waiting.publish;
            let reply_to = std::mem::replace(&mut waiting.publish.reply_to, ReplyTo::Message(None));
            let ticket = u32::try_from(ticket).expect("it was given as that");
            let channel = waiting.publish.channel.clone();
            let publish = Publish {
                client,
                channel,
                reply_to,
                taken_at,
            };
            (ticket, publish)
        });
        let given_up = given_up.collect();
        self.by_client.fill(0);
        given_up
    }

    /// The client is gone: nobody awaits its outcomes.
    pub(super) fn disconnect(&mut self, slot: u32) {
        if let Some(count) = self.by_client.get_mut(slot as usize) {
            *count = 0;
        }
    }

    /// Publishes of the client whose outcome it awaits.
    pub(super) fn client_count(&self, slot: u32) -> usize {
        self.by_client
            .get(slot as usize)
            .map_or(0, |&it| it as usize)
    }

    /// Publishes under way, awaited by their clients or not.
    pub(super) fn count(&self) -> usize {
        self.publishes.len()
    }

    /// Counts are those of the publishes.
    pub(super) fn check_invariants(&self, is_current: impl Fn(ClientId) -> bool) {
        let bytes: usize = self.publishes.iter().map(|(_, it)| it.bytes).sum();
        assert_eq!(self.bytes, bytes);
        let publishes = self.publishes.iter().map(|(_, it)| it);
        let awaited =
            publishes.filter(|it| !it.is_answered && it.publish.client.is_some_and(&is_current));
        let by_client: usize = self.by_client.iter().map(|&it| it as usize).sum();
        assert_eq!(awaited.count(), by_client);
    }
}

/// What the client is told of an outcome that is a failure.
pub(super) fn failure_of<'a>(
    outcome: &'a Published,
    publish: &'a Publish,
) -> Option<ServerMessage<'a>> {
    let (channel, id) = (publish.channel.as_str(), publish.reply_to.id());
    let (code, text) = match outcome {
        Published::Committed => return None,
        Published::Refused(error) if error.is_about_name_alone() => {
            (ErrorCode::BadChannel, error.message.as_str())
        }
        Published::Refused(error) => {
            let (text, sqlstate) = (&error.message, &error.sqlstate);
            return Some(ServerMessage::postgres_error(text, sqlstate, channel, id));
        }
        Published::Unknown => (
            ErrorCode::UnknownOutcome,
            "the connection to PostgreSQL was lost before it answered",
        ),
        Published::NotSent => (ErrorCode::PostgresDown, "PostgreSQL is not connected"),
        Published::Crowded => (
            ErrorCode::RateLimited,
            "too many publishes are waiting to be taken",
        ),
    };
    Some(ServerMessage::error(code, text, Some(channel), id))
}

/// The cost of a waiting publish beside its texts, in bytes.
const PUBLISH_BYTES: usize = 160;
