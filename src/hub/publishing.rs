//! Publishes of clients on their way to PostgreSQL: each ends once, whatever becomes of that.
//!
//! Knows whose each is and what all of them cost; how they are gathered into transactions is the
//! backend's, and what a client is told the hub's.

use slab::Slab;

use crate::{
    channel::{Channel, Payload},
    id::ClientId,
    message::RequestId,
};

/// Publishes awaiting their outcome, by ticket.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    publishes: Slab<Publish>,
    /// By slot of the client; grown on first use.
    by_client: Vec<u32>,
    bytes: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Publish {
    /// `None`: the program around the bridge.
    pub(super) client: Option<ClientId>,
    pub(super) reply_to: ReplyTo,
    pub(super) channel: Channel,
    /// When it was taken, in microseconds.
    pub(super) taken_at: u64,
    bytes: usize,
    /// The client has its answer already.
    is_answered: bool,
}

/// A publish that nobody waits for any more, and who is to be told.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) ticket: u32,
    pub(super) client: Option<ClientId>,
    pub(super) channel: Channel,
    pub(super) reply_to: ReplyTo,
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
        let ticket = self.publishes.insert(Publish {
            client,
            reply_to,
            channel,
            taken_at: now,
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
        let publish = publish?;
        self.bytes -= publish.bytes;
        let is_awaited = !publish.is_answered && publish.client.is_none_or(is_current);
        if let (true, Some(client)) = (is_awaited, publish.client) {
            self.by_client[client.slot as usize] -= 1;
        }
        Some((publish, is_awaited))
    }

    /// No outcome is waited for any more: those that were not answered yet, each once.
    pub(super) fn give_up(&mut self) -> Vec<GivenUp> {
        let awaited = self.publishes.iter_mut().filter(|(_, it)| !it.is_answered);
        let given_up = awaited.map(|(ticket, publish)| {
            publish.is_answered = true;
            GivenUp {
                ticket: u32::try_from(ticket).expect("it was given as that"),
                client: publish.client,
                channel: publish.channel.clone(),
                reply_to: std::mem::replace(&mut publish.reply_to, ReplyTo::Message(None)),
            }
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
        let awaited = publishes.filter(|it| !it.is_answered && it.client.is_some_and(&is_current));
        let by_client: usize = self.by_client.iter().map(|&it| it as usize).sum();
        assert_eq!(awaited.count(), by_client);
    }
}

/// The cost of a waiting publish beside its texts, in bytes.
const PUBLISH_BYTES: usize = 160;
