//! Reactions: publishes of clients, asked by a message or over HTTP, and their outcomes.
//!
//! Knows neither how publishes are gathered into transactions nor how a request over HTTP is read.

use super::{
    Action, Hub, Upstream,
    answer::Answer,
    feed::Incoming,
    publishing::{Publishing, ReplyTo},
};
use crate::{
    backend::command::{Notify, Published},
    channel::{Channel, Payload},
    id::ClientId,
    message::{ErrorCode, RequestId, ServerMessage},
};

impl Hub {
    /// A client's message asks for a publish that it may ask for.
    pub(super) fn publish(
        &mut self,
        slot: u32,
        channel: Channel,
        payload: Payload,
        id: Option<RequestId>,
    ) {
        if let Err((code, text)) = self.check_publish(&channel, &payload) {
            self.send_error(slot, code, text, Some(channel.as_str()), id.as_ref());
            return;
        }
        self.begin_publish(slot, channel, payload, ReplyTo::Message(id));
    }

    /// Whether a publish can be taken now; else why not.
    pub(super) fn check_publish(
        &self,
        channel: &Channel,
        payload: &Payload,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let can_publish = match &self.upstream {
            Upstream::Postgres(backend) => backend.can_publish(),
            Upstream::Program | Upstream::Busy => self.postgres.is_publishing_up,
        };
        if !can_publish {
            return Err((ErrorCode::PostgresDown, "PostgreSQL is not connected"));
        }
        let bytes = self.waiting_bytes() + Publishing::cost(channel, payload);
        if bytes > self.limits.waiting_bytes_max {
            let text = "too many publishes are waiting for PostgreSQL";
            return Err((ErrorCode::RateLimited, text));
        }
        Ok(())
    }

    /// Takes a publish: its outcome follows.
    pub(super) fn begin_publish(
        &mut self,
        slot: u32,
        channel: Channel,
        payload: Payload,
        reply_to: ReplyTo,
    ) {
        let client = self.clients.id(slot);
        let now = self.clock.micros();
        let ticket = self
            .publishing
            .begin(Some(client), channel.clone(), &payload, reply_to, now);
        self.metrics.publishes += 1;
        match &mut self.upstream {
            Upstream::Postgres(backend) => backend.publish(Notify {
                number: ticket,
                source: slot,
                channel,
                payload,
            }),
            Upstream::Program => self.request(Incoming::Notify(channel, payload), Some(ticket)),
            Upstream::Busy => debug_assert!(false, "no client is heard meanwhile"),
        }
    }

    /// A publish ended one way or the other.
    pub(super) fn handle_published(&mut self, ticket: u32, outcome: &Published) {
        let clients = &self.clients;
        let ended = self.publishing.end(ticket, |it| clients.is_current(it));
        let Some((publish, is_awaited)) = ended else {
            return;
        };
        let latency = self.clock.micros() - publish.taken_at;
        self.metrics.publish_latency.observe(latency);
        if !is_awaited {
            return;
        }
        let Some(ClientId { slot, .. }) = publish.client else {
            let told = Action::Published(ticket, outcome.clone());
            self.actions.push_back(told);
            return;
        };
        let channel = publish.channel.as_str();
        let id = publish.reply_to.id();
        let error = |code, text| Some(ServerMessage::error(code, text, Some(channel), id));
        let failure = match outcome {
            Published::Committed => None,
            Published::Refused(error) => {
                let (text, sqlstate) = (&error.message, &error.sqlstate);
                Some(ServerMessage::postgres_error(text, sqlstate, channel, id))
            }
            Published::Unknown => error(
                ErrorCode::UnknownOutcome,
                "the connection to PostgreSQL was lost before it answered",
            ),
            Published::NotSent => error(ErrorCode::PostgresDown, "PostgreSQL is not connected"),
            Published::Crowded => error(
                ErrorCode::RateLimited,
                "too many publishes are waiting to be taken",
            ),
        };
        self.tell_outcome(slot, channel, &publish.reply_to, failure.as_ref());
    }

    /// Tells the client what became of its publish; `failure` is the error, if it is one.
    pub(super) fn tell_outcome(
        &mut self,
        slot: u32,
        channel: &str,
        reply_to: &ReplyTo,
        failure: Option<&ServerMessage<'_>>,
    ) {
        if let Some(ServerMessage::Error { code, .. }) = failure {
            self.metrics.errors.add(code.label());
        }
        match reply_to {
            ReplyTo::Message(id) => {
                self.resume(slot);
                match (failure, id) {
                    (Some(failure), _) => self.answer(slot, failure),
                    (None, Some(id)) => {
                        let id = Some(id);
                        self.answer(slot, &ServerMessage::Notified { channel, id });
                    }
                    (None, None) => {}
                }
            }
            ReplyTo::Request {
                number,
                is_persistent,
                fields,
            } => {
                let answer = match failure {
                    None => Answer::message(&ServerMessage::Notified { channel, id: None }),
                    Some(failure) => Answer::message(failure),
                };
                let answer = answer.with_fields(fields).persistent(*is_persistent);
                self.answer_request(slot, *number, answer);
            }
        }
    }
}
