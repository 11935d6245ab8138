//! Reactions to publishes, asked by a message, over HTTP or by the program, and what became of them;
//! and what else passes between clients and the program around us.
//!
//! Knows neither how publishes are gathered into transactions nor how a request over HTTP is read.

use std::{borrow::Cow, str};

use super::{
    Action, Hub,
    answer::Answer,
    asking::Held,
    clients::Phase,
    custom_protocol::{Arrival, RawMessage, SendError},
    encode::Transport,
    exchange::Exchange,
    feed::{Fed, Incoming, Request, Taken},
    load::Load,
    publishing::{Publish as Waiting, Publishing, ReplyTo, failure_of},
    reply::Publish,
};
use crate::{
    access::{Credential, Permissions, intent::Decision, question::Question},
    backend::command::{Notify, Published},
    channel::{Channel, Payload},
    id::ClientId,
    message::{ErrorCode, ServerMessage},
    metrics::Gauges,
    ws::{close::CloseReason, encoder},
};

impl Hub {
    // ---- what is asked

    /// A request to publish is complete.
    pub(super) fn publish_body(
        &mut self,
        slot: u32,
        exchange: &mut Exchange,
        publish: Publish,
        body: &[u8],
    ) {
        let Publish {
            channel,
            is_persistent,
            ref fields,
            ..
        } = publish;
        match self.judge_body(slot, &channel, publish.token.as_ref(), body) {
            Ok(payload) => {
                let reply_to = ReplyTo::Request {
                    number: exchange.reserve(),
                    is_persistent,
                    fields: fields.as_str().into(),
                };
                self.begin_publish(slot, channel, payload, reply_to);
            }
            Err((code, text)) => {
                self.metrics.errors.add(code.label());
                let answer = Answer::error(code, &text, Some(channel.as_str()));
                exchange.push(answer.with_fields(fields).persistent(is_persistent));
            }
        }
        if !is_persistent {
            exchange.finish();
        }
    }

    /// The payload of a publish that can be taken now; else why not.
    fn judge_body(
        &mut self,
        slot: u32,
        channel: &Channel,
        token: Option<&Credential>,
        body: &[u8],
    ) -> Result<Payload, (ErrorCode, Cow<'static, str>)> {
        let now = self.clock.tick();
        let refuse = |(code, text): (ErrorCode, &'static str)| (code, Cow::from(text));
        let taken = self.authorization.take_message(slot, token, now);
        taken.map_err(refuse)?;
        let text = str::from_utf8(body)
            .map_err(|_| refuse((ErrorCode::BadMessage, "the body is not UTF-8")))?;
        let payload = Payload::measured(text, self.postgres.length_unit)
            .map_err(|error| (ErrorCode::of_payload(&error), error.to_string().into()))?;
        // The tokens may have been read again while the body came.
        if !self.authorization.may_publish(token, channel.as_str()) {
            let text = "no publishing to this channel";
            return Err(refuse((ErrorCode::Forbidden, text)));
        }
        self.check_publish(channel, &payload).map_err(refuse)?;
        Ok(payload)
    }

    /// Whether a publish can be taken now; else why not.
    pub(super) fn check_publish(
        &self,
        channel: &Channel,
        payload: &Payload,
    ) -> Result<(), (ErrorCode, &'static str)> {
        if !self.upstream.can_publish(self.postgres.is_publishing_up) {
            return Err((ErrorCode::PostgresDown, "PostgreSQL is not connected"));
        }
        if self.waiting_bytes() + Publishing::cost(channel, payload) > self.limits.waiting_bytes_max
        {
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
        let number = self
            .publishing
            .begin(Some(client), channel.clone(), &payload, reply_to, now);
        self.metrics.publishes += 1;
        let request = self.upstream.publish(Notify {
            number,
            source: slot,
            channel,
            payload,
        });
        self.actions.extend(request.map(Action::Request));
    }

    /// The program publishes. [`Action::Published`] tells the outcome of the ticket.
    ///
    /// # Errors
    ///
    /// Nothing was done: PostgreSQL is not connected, or too much waits for it.
    pub fn publish_own(&mut self, channel: Channel, payload: Payload) -> Result<u32, Published> {
        let bytes = self.waiting_bytes() + Publishing::cost(&channel, &payload);
        let backend = self.upstream.backend_mut();
        let Some(backend) = backend.filter(|_| self.postgres.is_publishing_up) else {
            return Err(Published::NotSent);
        };
        if bytes > self.limits.waiting_bytes_max {
            return Err(Published::Crowded);
        }
        let (now, reply_to) = (self.clock.micros(), ReplyTo::Message(None));
        let number = self
            .publishing
            .begin(None, channel.clone(), &payload, reply_to, now);
        self.metrics.publishes += 1;
        backend.publish(Notify {
            number,
            source: PROGRAM,
            channel,
            payload,
        });
        Ok(number)
    }

    // ---- what became of it

    /// What the program that feeds us did with a publish.
    pub fn handle_taken(&mut self, ticket: u32, taken: Taken) {
        let published = match taken {
            Taken::Yes => Published::Committed,
            Taken::Full => Published::Crowded,
            Taken::Never => Published::NotSent,
        };
        self.handle_published(ticket, &published);
    }

    pub(super) fn handle_publishing(&mut self, is_up: bool) {
        self.postgres.is_publishing_up = is_up;
        self.metrics.publishing_connects += u64::from(is_up);
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
        let failure = failure_of(outcome, &publish);
        self.tell_outcome(ticket, &publish, outcome, failure.as_ref());
    }

    /// Tells what became of a publish; `failure` is the error, if it is one.
    pub(super) fn tell_outcome(
        &mut self,
        ticket: u32,
        publish: &Waiting,
        outcome: &Published,
        failure: Option<&ServerMessage<'_>>,
    ) {
        let Some(ClientId { slot, .. }) = publish.client else {
            let told = Action::Published(ticket, outcome.clone());
            self.actions.push_back(told);
            return;
        };
        if let Some(ServerMessage::Error { code, .. }) = failure {
            self.metrics.errors.add(code.label());
        }
        let channel = publish.channel.as_str();
        match &publish.reply_to {
            ReplyTo::Message(id) => {
                self.resume(slot);
                let id = id.as_ref();
                let notified = id.map(|id| ServerMessage::Notified {
                    channel,
                    id: Some(id),
                });
                if let Some(message) = failure.or(notified.as_ref()) {
                    self.answer(slot, message);
                }
            }
            ReplyTo::Request {
                number,
                is_persistent,
                fields,
            } => {
                let notified = ServerMessage::Notified { channel, id: None };
                let answer = Answer::message(failure.unwrap_or(&notified));
                let answer = answer.with_fields(fields).persistent(*is_persistent);
                self.answer_request(slot, *number, answer);
            }
        }
    }

    // ---- a protocol of the program's own

    /// The program delivers to the subscribers here. False in a group: its bridges tell positions by
    /// counting the same notifications, which PostgreSQL alone gives to all of them.
    pub fn deliver_own(&mut self, channel: Channel, payload: String) -> bool {
        let is_alone = !self.membership.is_in_group();
        if is_alone {
            self.handle_fed(&Fed::Notification(channel, payload));
        }
        is_alone
    }

    pub(super) fn request(&mut self, incoming: Incoming) {
        let request = Request {
            incoming,
            ticket: None,
        };
        self.actions.push_back(Action::Request(request));
    }

    /// Whether more is to be read of the client.
    pub(super) fn take_message(&mut self, slot: u32, message: RawMessage) -> bool {
        let (token, now) = (self.clients.credential(slot), self.clock.tick());
        let is_taken = self.authorization.take_message(slot, token, now);
        if is_taken.is_ok() {
            let arrival = Arrival::Message(self.clients.id(slot), message);
            if let Some(queue) = &mut self.custom_protocol {
                queue.push(arrival);
            }
        } else {
            let reason = CloseReason::TooManyMessages;
            self.reply_close(slot, reason, reason.code());
        }
        is_taken.is_ok()
    }

    /// The program's reply to a [message](Action::Message).
    pub fn handle_reply(&mut self, client: ClientId, reply: &RawMessage) {
        if self.is_current(client) && self.clients.is_open(client.slot) {
            self.push_raw(client.slot, reply);
        }
    }

    fn push_raw(&mut self, slot: u32, message: &RawMessage) {
        self.delivery.push(slot, |out| match message {
            RawMessage::Text(text) => encoder::append_text(text, out),
            RawMessage::Binary(bytes) => encoder::append_binary(bytes, out),
        });
        self.log.clients.note_output(slot, 1);
    }

    /// The program sends the client a message, behind all that this is owed; how many bytes wait for
    /// it then.
    ///
    /// # Errors
    ///
    /// Nothing was done: the client cannot take it, or not now.
    pub fn send_own(&mut self, client: ClientId, message: &RawMessage) -> Result<usize, SendError> {
        let slot = client.slot;
        if !self.is_open(client) {
            return Err(SendError::Gone);
        }
        if matches!(
            self.clients.phase(slot),
            Some(Phase::Unauthenticated { .. })
        ) {
            return Err(SendError::Unidentified);
        }
        if self.clients.transport(slot) != Transport::WebSocket {
            return Err(SendError::NotWebSocket);
        }
        self.delivery.deliver(slot, self.channels.links().indexes());
        let waiting_bytes = self.delivery.backlog(slot).map_or(0, |it| it.bytes());
        let bytes = message.bytes() + encoder::HEADER_BYTES_MAX;
        if self.delivery.has_overflowed(slot)
            || waiting_bytes + bytes > self.limits.client_queue_bytes_max
        {
            return Err(SendError::Full { waiting_bytes });
        }
        if self.owned_bytes() + bytes > self.limits.owned_bytes_max {
            return Err(SendError::Crowded);
        }
        self.push_raw(slot, message);
        Ok(self.delivery.backlog(slot).map_or(0, |it| it.bytes()))
    }

    /// A client that the program admitted may do this from now on, and nothing else. It is closed with
    /// 4003 if one of its channels is not covered. Whether there is such a client.
    pub fn set_permissions(&mut self, client: ClientId, permissions: Permissions) -> bool {
        let slot = client.slot;
        let credential = self.clients.credential(slot);
        let is_set = self.is_open(client)
            && credential.is_some_and(|it| self.authorization.grant_anew(it, permissions));
        if is_set {
            self.close_if_at_fault(slot);
        }
        is_set
    }

    // ---- the program decides

    /// What the client wants waits until somebody has said whether it may, and so does all that it
    /// sends behind: its messages are answered in their order.
    pub(super) fn ask_first(&mut self, slot: u32, held: Held) {
        let Some(intent) = held.intent() else {
            self.act(slot, held.message, held.id);
            return;
        };
        if self.waiting_bytes() + held.bytes() > self.limits.waiting_bytes_max {
            let (channel, id) = (intent.channel().map(Channel::as_str), held.id.as_ref());
            let text = "too much waits for an answer";
            self.send_error(slot, ErrorCode::RateLimited, text, channel, id);
            return;
        }
        let (client, now) = (self.clients.id(slot), self.clock.now());
        let question = self.asking.hold(client, held, now);
        self.actions
            .push_back(Action::Ask(question, Question::Do(intent)));
    }

    /// Somebody has said whether the client may do what its message wants. Its permissions may have
    /// changed meanwhile.
    pub(super) fn handle_decided(&mut self, slot: u32, held: Held, decision: &Decision) {
        let Held { message, id } = held;
        let phase = self.clients.phase(slot);
        let refused = match (self.authorization.check(phase, Some(&message)), decision) {
            (Err((code, text)), _) => Some((code, text)),
            (Ok(()), Decision::Allow) => None,
            (Ok(()), Decision::Refuse(text) | Decision::Unavailable(text)) => {
                Some((ErrorCode::Forbidden, text.as_str()))
            }
        };
        match refused {
            None => self.act(slot, message, id),
            Some((code, text)) => {
                let channel = message.channel().map(Channel::as_str);
                self.send_error(slot, code, text, channel, id.as_ref());
            }
        }
    }

    // ---- the program watches

    /// What there is at this moment, gathered when somebody asks.
    pub(super) fn gauges(&self) -> Gauges {
        self.view().gauges()
    }

    /// What there is to carry at this moment.
    pub fn load(&self) -> Load {
        let gauges = self.gauges();
        Load {
            clients: gauges.clients_open,
            subscriptions: gauges.subscriptions,
            backlogs: gauges.backlogs,
            backlog_bytes: gauges.backlog_bytes,
            retained_bytes: gauges.retained_bytes,
            owned_bytes: gauges.owned_bytes,
            waiting_bytes: gauges.waiting_bytes,
            unsent_bytes: gauges.unsent_bytes,
        }
    }

    /// The page at `/metrics`.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(&self.gauges())
    }

    /// The program is told that PostgreSQL, or the bridge, is in another state than before.
    pub(super) fn note_state(&mut self) {
        if self.lifecycle.is_on() {
            let is_up = self.channels.interests().is_up();
            let readiness = self.readiness();
            self.lifecycle.note_state(is_up, readiness);
        }
    }
}

/// The source of the program's publishes: no client has this slot.
const PROGRAM: u32 = u32::MAX;
