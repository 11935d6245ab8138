//! Reactions to bytes of clients: heads, frames and messages.
//!
//! What is answered to a request is `requests`'s, what a client may do `authorization`'s.

use super::{
    Action, Hub,
    asking::Held,
    authorization::Forbidden,
    beginning::Beginning,
    clients::Phase,
    custom_protocol::RawMessage,
    encode::{Transport, append_message},
    group::{Judgement, Patience},
    pending::Subscribe,
    publishing::ReplyTo,
    reply::{Handshake, Reply},
    shares::TooMany,
    work::{LOOKS_A_UNIT, message_units},
};
use crate::{
    channel::{Channel, ChannelKey},
    id::ClientId,
    message::{self, ClientMessage, ErrorCode, PostgresStatus, RequestId, ServerMessage, Since},
    metrics::Metrics,
    ws::{close::CloseReason, decoder::Input, encoder, handshake},
};

impl Hub {
    /// Bytes came from a client; they are unmasked in place.
    pub fn handle_client_input(&mut self, client: ClientId, input: &mut [u8]) {
        if !self.is_current(client) {
            return;
        }
        let slot = client.slot;
        if !input.is_empty() {
            self.clients.note_input(slot, self.clock.tick());
        }
        match self.unparsed.take(slot) {
            None => self.parse(slot, input),
            Some(mut rest) => {
                rest.extend_from_slice(input);
                self.parse(slot, &mut rest);
            }
        }
        self.forward_commands();
    }

    /// The shell keeps so many bytes of its own for the client from now on, which count as the client's.
    pub fn handle_kept(&mut self, client: ClientId, bytes: usize) {
        if self.is_current(client) {
            self.clients.note_shell_bytes(client.slot, bytes);
        }
    }

    /// The counters, for what the shell alone sees.
    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    fn parse(&mut self, slot: u32, input: &mut [u8]) {
        match self.clients.phase(slot) {
            Some(Phase::Handshake(_)) => match self.clients.take_head(slot) {
                Some(mut head) if self.is_asked_about(slot) => {
                    head.extend_from_slice(input);
                    self.clients.keep_head(slot, head);
                }
                None => self.handle_head(slot, input),
                Some(mut head) => {
                    head.extend_from_slice(input);
                    self.handle_head(slot, &mut head);
                }
            },
            Some(Phase::Http(_)) if self.asking.is_waiting(slot) => {
                self.unparsed.keep(slot, input);
            }
            Some(Phase::Http(_)) => self.handle_requests(slot, input),
            // A reader of events has nothing more to say.
            Some(Phase::Open { .. }) if self.clients.transport(slot) == Transport::EventStream => {}
            Some(Phase::Unauthenticated { .. } | Phase::Open { .. } | Phase::Closing) => {
                self.handle_frames(slot, input);
            }
            Some(Phase::Flushing | Phase::Lingering | Phase::Removed) | None => {}
        }
    }

    /// Input of the client that was not worked off yet, in bytes. If there is some, the client is to
    /// be given to [`Self::handle_client_input`] after [`Action::Resume`], without new bytes.
    pub fn unparsed_bytes(&self, client: ClientId) -> usize {
        if self.is_current(client) {
            self.unparsed.bytes_of(client.slot)
        } else {
            0
        }
    }

    /// Whether the turn has read what it may: input that comes now is only kept.
    pub fn is_turn_spent(&self) -> bool {
        self.work.is_input_spent()
    }

    /// Keeps the rest of the client's input if nothing more of that is to be worked off now: the
    /// client has more than it may, or the turn's work is done.
    pub(super) fn keep_rest(&mut self, slot: u32, rest: &[u8], is_over_quota: bool) -> bool {
        if rest.is_empty() || !is_over_quota && !self.work.is_input_spent() {
            return false;
        }
        self.unparsed.keep(slot, rest);
        self.clients.hold(slot, true);
        if !is_over_quota {
            self.unparsed.stop(self.clients.id(slot));
        }
        true
    }

    /// Whether the client's input is to be left in its socket for now: it published faster than
    /// PostgreSQL commits, or does not read the answers to its requests. [`Action::Resume`] tells
    /// when to go on.
    pub fn is_paused(&mut self, client: ClientId) -> bool {
        let slot = client.slot;
        let is_paused = self.is_current(client) && self.is_over_quota(slot);
        if is_paused {
            self.clients.hold(slot, true);
        }
        is_paused
    }

    /// Whether somebody is asked about the client.
    fn is_asked_about(&self, slot: u32) -> bool {
        self.asking.is_waiting(slot) || self.authorization.is_waiting(slot)
    }

    /// Whether the client has more unanswered publishes or requests, or unread answers, than it may, or
    /// waits to know whose its token is.
    pub(super) fn is_over_quota(&self, slot: u32) -> bool {
        self.is_asked_about(slot)
            || self.is_exchange_full(slot)
            || self.clients.is_open(slot)
                && (self.publishing.client_count(slot) >= self.limits.client_publishes_max
                    || self.has_unread_answers(slot))
    }

    /// Whether the client has more unread answers than it may.
    pub(super) fn has_unread_answers(&self, slot: u32) -> bool {
        let answer_bytes = self.delivery.backlog(slot).map_or(0, |it| it.owned_bytes());
        answer_bytes > self.limits.client_answer_bytes_max
    }

    /// Reads the client again if nothing stands against it any more.
    pub(super) fn resume(&mut self, slot: u32) {
        if !self.is_over_quota(slot) && self.clients.hold(slot, false) {
            let resume = Action::Resume(self.clients.id(slot));
            self.actions.push_back(resume);
        }
    }

    /// Reads the clients again whose input was stopped since the turn's work was done.
    pub(super) fn resume_stopped(&mut self) {
        for client in self.unparsed.take_stopped() {
            if self.clients.is_current(client) && self.clients.hold(client.slot, false) {
                self.actions.push_back(Action::Resume(client));
            }
        }
    }

    /// The connection becomes that of a client, whose input goes on with `rest`.
    pub(super) fn take_over(&mut self, slot: u32, reply: Reply, rest: &mut [u8]) {
        let handshake = match reply {
            Reply::Upgrade(handshake) => handshake,
            Reply::Stream(stream) => {
                self.open_stream(slot, stream);
                return;
            }
            Reply::Respond(_) | Reply::Ask { .. } | Reply::Wait | Reply::Publish(_) => {
                debug_assert!(false, "these are answered");
                return;
            }
        };
        let Handshake {
            key,
            protocol,
            token,
        } = handshake;
        let (token, refusal) = match token {
            Ok(token) => (token, None),
            Err(refusal) => (None, Some(refusal)),
        };
        self.metrics.handshakes += 1;
        self.enter(slot, token, Transport::WebSocket);
        // Nothing notified before is owed.
        self.delivery
            .begin(slot, Transport::WebSocket.lane(), |out| {
                handshake::switching_protocols(&key, protocol, out);
            });
        if let Some(refusal) = refusal {
            self.log_refusal(slot, refusal.status(), refusal.text());
            self.close(slot, refusal.close_reason());
            return;
        }
        if self.postgres.is_announced_down() {
            self.tell_status(slot, PostgresStatus::Down);
        }
        self.handle_frames(slot, rest);
    }

    fn handle_frames(&mut self, slot: u32, input: &mut [u8]) {
        let mut decoder = self.clients.take_decoder(slot);
        let mut is_new = decoder.is_idle();
        let mut at = 0;
        while !self.keep_rest(slot, &input[at..], self.is_over_quota(slot)) {
            match decoder.decode(&mut input[at..], self.limits.message_bytes_max) {
                Ok((_, None)) => break,
                Ok((consumed, Some(input))) => {
                    at += consumed;
                    self.work.spend(message_units(consumed));
                    if !self.handle_frame(slot, input) {
                        return;
                    }
                    // A ping or pong between its fragments does not begin a message anew.
                    is_new |= !decoder.is_inside_message();
                }
                Err(reason) => {
                    self.handle_violation(slot, reason);
                    return;
                }
            }
        }
        let now = self.clock.tick();
        self.clients.keep_decoder(slot, decoder, is_new, now);
    }

    /// Whether more is to be read of the client.
    fn handle_frame(&mut self, slot: u32, input: Input<'_>) -> bool {
        if matches!(self.clients.phase(slot), Some(Phase::Closing)) {
            // What crosses our close frame on its way means nothing any more (RFC 6455, 1.4).
            let is_close = matches!(input, Input::Close(_));
            if is_close {
                self.finish_closing(slot);
            }
            return !is_close;
        }
        if matches!(input, Input::Text(_) | Input::Binary(_)) {
            self.log.clients.note_input(slot);
        }
        match input {
            Input::Text(text) if self.custom_protocol.is_some() => {
                return self.take_message(slot, RawMessage::Text(text.to_owned()));
            }
            Input::Binary(bytes) if self.custom_protocol.is_some() => {
                return self.take_message(slot, RawMessage::Binary(bytes.to_owned()));
            }
            Input::Text(text) => self.handle_text(slot, text),
            Input::Binary(_) => {
                let bad = (
                    ErrorCode::BadMessage,
                    "binary messages are not understood, send JSON as text",
                );
                let (code, text) = self.authorize(slot, None).err().unwrap_or(bad);
                self.send_error(slot, code, text, None, None);
            }
            Input::Ping(payload) => {
                self.delivery
                    .push(slot, |out| encoder::append_pong(payload, out));
            }
            Input::Pong => {}
            Input::Close(frame) => {
                let code = frame.map_or_else(|| CloseReason::Normal.code(), |(code, _)| code);
                self.reply_close(slot, CloseReason::Normal, code);
                return false;
            }
        }
        let phase = self.clients.phase(slot);
        phase.is_some_and(|it| it.is_open() || matches!(it, Phase::Closing))
    }

    fn handle_violation(&mut self, slot: u32, reason: CloseReason) {
        if matches!(self.clients.phase(slot), Some(Phase::Closing)) {
            self.finish_closing(slot);
        } else {
            self.reply_close(slot, reason, reason.code());
        }
    }

    // ---- our protocol

    fn handle_text(&mut self, slot: u32, text: &str) {
        let request = message::parse(text, self.postgres.length_unit);
        let id = request.id;
        if let Err((code, text)) = self.authorize(slot, request.message.as_ref().ok()) {
            let channel = match &request.message {
                Ok(message) => message.channel().map(Channel::as_str),
                Err(refusal) => refusal.channel.as_deref(),
            };
            self.send_error(slot, code, text, channel, id.as_ref());
            return;
        }
        match request.message {
            Ok(message) if self.authorization.access().asks_intents => {
                self.ask_first(slot, Held { message, id });
            }
            Ok(message) => self.act(slot, message, id),
            Err(refusal) => {
                let channel = refusal.channel.as_deref();
                self.send_error(slot, refusal.code, &refusal.text, channel, id.as_ref());
            }
        }
    }

    /// The client's message is carried out.
    pub(super) fn act(&mut self, slot: u32, message: ClientMessage, id: Option<RequestId>) {
        match message {
            ClientMessage::Subscribe(channel, since) => {
                self.subscribe(slot, channel, Subscribe { id, since });
            }
            ClientMessage::Unsubscribe(channel) => self.unsubscribe(slot, &channel, id),
            ClientMessage::Notify(channel, payload) => {
                if let Err((code, text)) = self.check_publish(&channel, &payload) {
                    self.send_error(slot, code, text, Some(channel.as_str()), id.as_ref());
                } else {
                    self.begin_publish(slot, channel, payload, ReplyTo::Message(id));
                }
            }
            ClientMessage::Ping => {
                let pong = ServerMessage::Pong { id: id.as_ref() };
                self.delivery.push(slot, |out| append_message(&pong, out));
                self.log.clients.note_output(slot, 1);
            }
            ClientMessage::Auth(token) => self.handle_auth(slot, token, id.as_ref()),
        }
    }

    /// Whether the client may send the message, or one that could not be read; else why not.
    fn authorize(&mut self, slot: u32, message: Option<&ClientMessage>) -> Result<(), Forbidden> {
        let (token, now) = (self.clients.credential(slot), self.clock.tick());
        self.authorization.take_message(slot, token, now)?;
        self.authorization.check(self.clients.phase(slot), message)
    }

    // ---- what a client is told

    /// Tells one client something, behind everything its channels still owe it.
    pub(super) fn answer(&mut self, slot: u32, message: &ServerMessage<'_>) {
        if self.clients.is_open(slot) {
            let indexes = self.channels.links().indexes();
            self.delivery.deliver(slot, indexes);
            let transport = self.clients.transport(slot);
            self.delivery
                .push(slot, |out| transport.append(message, None, out));
            self.log.clients.note_output(slot, 1);
        }
    }

    /// Tells a client that comes how PostgreSQL is.
    pub(super) fn tell_status(&mut self, slot: u32, postgres: PostgresStatus) {
        self.metrics.statuses += 1;
        let status = ServerMessage::Status { postgres };
        let transport = self.clients.transport(slot);
        self.delivery
            .push(slot, |out| transport.append(&status, None, out));
    }

    pub(super) fn send_error(
        &mut self,
        slot: u32,
        code: ErrorCode,
        text: &str,
        channel: Option<&str>,
        id: Option<&RequestId>,
    ) {
        self.metrics.errors.add(code.label());
        self.answer(slot, &ServerMessage::error(code, text, channel, id));
    }

    /// What subscribes and publishes that wait for PostgreSQL cost, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.view().waiting_bytes()
    }

    fn subscribe(&mut self, slot: u32, channel: Channel, request: Subscribe) {
        if let Ok(Some((key, request))) = self.want(slot, channel, request) {
            let (since, patience) = (request.since.as_ref(), Patience::Answers);
            if self.judge(key, since, patience) == Judgement::Wait {
                self.channels.wait(slot, key, request);
            } else {
                self.admit(slot, key, &request);
            }
        }
    }

    /// The client is to have the channel: the request comes back if that is listened to, else it
    /// waits. Of what is too much the client is told.
    pub(super) fn want(
        &mut self,
        slot: u32,
        channel: Channel,
        request: Subscribe,
    ) -> Result<Option<(ChannelKey, Subscribe)>, TooMany> {
        self.tell_gap_before(channel.as_str());
        self.work
            .spend(self.channels.request_count(slot) / LOOKS_A_UNIT);
        let name = channel.clone();
        let bytes = self.waiting_bytes() + request.bytes();
        let wanted = if bytes > self.limits.waiting_bytes_max {
            Err((TooMany::Waiting, request))
        } else {
            let max = self.limits.subscriptions_max;
            self.channels.subscribe(slot, channel, request, max)
        };
        wanted.map_err(|(error, Subscribe { id, .. })| {
            let (code, text) = error.refusal(&self.limits);
            self.send_error(slot, code, &text, Some(name.as_str()), id.as_ref());
            error
        })
    }

    /// The subscription holds from now on.
    pub(super) fn admit(&mut self, slot: u32, key: ChannelKey, request: &Subscribe) {
        if !self.clients.is_open(slot) {
            return;
        }
        let transport = self.clients.transport(slot);
        if transport == Transport::EventStream {
            self.link(slot, key, transport);
            self.openings.note_confirmed(slot);
            self.join_if_answered(slot);
            return;
        }
        self.delivery.deliver(slot, self.channels.links().indexes());
        self.link(slot, key, transport);
        let judgement = self.judge(key, request.since.as_ref(), Patience::None);
        let before = self.metrics.deliveries;
        self.beginning().subscribe(slot, key, request, judgement);
        let recovered = self.metrics.deliveries - before;
        self.log.clients.note_output(slot, 1 + recovered);
    }

    /// The client's channel begins.
    pub(super) fn link(&mut self, slot: u32, key: ChannelKey, transport: Transport) {
        let channel = self.channels.name(key);
        let name = channel.as_str();
        tracing::debug!(target: "alle::client", client = slot, channel = name, "subscribed");
        if !self.channels.links().contains(slot, key) {
            self.log
                .clients
                .note_linked(slot, self.channels.counted(key));
            self.lifecycle.note_linked(self.clients.id(slot), channel);
        }
        self.channels.link(slot, key, transport.lane());
    }

    fn judge(&mut self, key: ChannelKey, since: Option<&Since>, patience: Patience) -> Judgement {
        let (channels, now) = (&self.channels, self.clock.now());
        self.membership.judge(key, since, channels, patience, now)
    }

    /// What is looked at when the channels of a client begin.
    pub(super) fn beginning(&mut self) -> Beginning<'_> {
        Beginning {
            channels: &self.channels,
            delivery: &mut self.delivery,
            metrics: &mut self.metrics,
            work: &mut self.work,
        }
    }

    fn unsubscribe(&mut self, slot: u32, channel: &Channel, id: Option<RequestId>) {
        let name = channel.as_str();
        self.tell_gap_before(name);
        self.work
            .spend(self.channels.request_count(slot) / LOOKS_A_UNIT);
        if let Some(key) = self.channels.find(name) {
            self.delivery.deliver(slot, self.channels.links().indexes());
            if self.channels.links().contains(slot, key) {
                self.log
                    .clients
                    .note_unlinked(slot, self.channels.counted(key));
                self.lifecycle.note_unlinked(self.clients.id(slot), channel);
            }
            let now = self.clock.now();
            for Subscribe { id: overtaken, .. } in self.channels.unsubscribe(slot, key, now) {
                let text = "an unsubscribe overtook this subscribe";
                let code = ErrorCode::Cancelled;
                self.send_error(slot, code, text, Some(name), overtaken.as_ref());
            }
        }
        let message = ServerMessage::Unsubscribed {
            channel: name,
            id: id.as_ref(),
        };
        self.answer(slot, &message);
    }
}
