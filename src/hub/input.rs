//! Reactions to what clients send: heads, frames and messages.
//!
//! Knows who is subscribed to what and who waits for a LISTEN; when that is sent, and what follows
//! from its answer, is `listening`'s, and what a client may is `admission`'s.

use super::encode::append_message;
use super::{
    custom_protocol::RawMessage,
    http::{Answer, Reply},
    parts::{Client, Hub, Phase, Subscribe},
};
use crate::{
    backend::interest::Interest,
    channel::{Channel, ChannelKey},
    id::{ClientId, Tick},
    message::{self, ClientMessage, ErrorCode, PostgresStatus, RequestId, ServerMessage},
    ws::{close::CloseReason, decoder::Input, encoder, request, response},
};

impl Hub {
    /// Bytes of a client; they are unmasked in place.
    pub(super) fn handle_input(&mut self, id: ClientId, input: &mut [u8], now: Tick) {
        if !self.is_alive(id) {
            return;
        }
        let client = &mut self.clients[id.slot as usize];
        client.heard = now;
        match &mut client.phase {
            Phase::Handshake(head) => match head.take() {
                None => self.handle_head(id.slot, input, now),
                Some(mut head) => {
                    head.extend_from_slice(input);
                    self.handle_head(id.slot, &mut head, now);
                }
            },
            Phase::Open { pinged, .. } => {
                *pinged = false;
                self.handle_frames(id.slot, input, now);
            }
            Phase::Unauthenticated { .. } | Phase::Closing => {
                self.handle_frames(id.slot, input, now)
            }
            Phase::Flushing | Phase::Lingering => {}
        }
    }

    /// Whether the client's input is to be left in its socket for now: it published faster than
    /// PostgreSQL commits, or does not read the answers to what it asks. `Hub::resumed` tells when
    /// to go on.
    pub(super) fn is_paused(&self, id: ClientId) -> bool {
        if !self.is_alive(id) || !self.is_open(id.slot) {
            return false;
        }
        let publishes = self.clients[id.slot as usize].publishes_waiting as usize;
        let backlog = self
            .backlog_key_of(id.slot)
            .map(|key| &self.backlogs[key].backlog);
        publishes >= self.limits.client_publishes_max
            || backlog.is_some_and(|it| it.owned_bytes() > self.limits.client_answer_bytes_max)
    }

    fn handle_head(&mut self, slot: u32, input: &mut [u8], now: Tick) {
        let (reply, head_bytes) = match request::parse(input) {
            Ok(None) => {
                self.clients[slot as usize].phase =
                    Phase::Handshake(Some(Box::new(input.to_vec())));
                return;
            }
            Ok(Some(request)) => (self.reply(slot, &request), request.head_bytes),
            Err(status) => (Reply::Respond(Answer::unreadable(status)), 0),
        };
        match reply {
            Reply::Respond(answer) => self.hang_up_with(slot, &answer, now),
            Reply::Upgrade { key, holder } => {
                self.open(slot, holder, now, |out| {
                    response::switching_protocols(&key, out);
                });
                if self.listening.announced == PostgresStatus::Down {
                    let status = ServerMessage::Status {
                        postgres: PostgresStatus::Down,
                    };
                    self.metrics.statuses += 1;
                    self.push_own(slot, now, |out| append_message(&status, out));
                }
                self.handle_frames(slot, &mut input[head_bytes..], now);
            }
        }
    }

    fn handle_frames(&mut self, slot: u32, input: &mut [u8], now: Tick) {
        let mut decoder = std::mem::take(&mut self.clients[slot as usize].decoder);
        let mut at = 0;
        loop {
            match decoder.decode(&mut input[at..], self.limits.message_bytes_max) {
                Ok((_, None)) => break,
                Ok((consumed, Some(input))) => {
                    at += consumed;
                    if !self.handle_frame(slot, input, now) {
                        return;
                    }
                }
                Err(reason) => {
                    self.handle_violation(slot, reason, now);
                    return;
                }
            }
        }
        self.clients[slot as usize].decoder = decoder;
    }

    /// Whether the client is to be listened to further.
    fn handle_frame(&mut self, slot: u32, input: Input<'_>, now: Tick) -> bool {
        if matches!(self.clients[slot as usize].phase, Phase::Closing) {
            // What crosses our close frame on its way means nothing any more (RFC 6455, 1.4).
            let closed = matches!(input, Input::Close(_));
            if closed {
                self.finish_closing(slot, now);
            }
            return !closed;
        }
        let id = self.id(slot);
        match input {
            Input::Text(_) | Input::Binary(_)
                if self.arrivals.is_some() && !self.rates.take(slot, now) =>
            {
                let reason = CloseReason::TooManyMessages;
                self.end(slot, reason, reason.code(), now);
                return false;
            }
            Input::Text(text) => match &mut self.arrivals {
                Some(arrivals) => arrivals.push(id, RawMessage::Text(text.to_owned())),
                None => self.handle_text(slot, text, now),
            },
            Input::Binary(bytes) => match &mut self.arrivals {
                Some(arrivals) => arrivals.push(id, RawMessage::Binary(bytes.to_owned())),
                None => {
                    let bad = (
                        ErrorCode::BadMessage,
                        "binary messages are not understood, send JSON as text",
                    );
                    let (code, text) = self.authorize(slot, None, now).unwrap_or(bad);
                    self.refuse(slot, code, text, None, None, now);
                }
            },
            Input::Ping(payload) => {
                self.push_own(slot, now, |out| encoder::append_pong(payload, out));
            }
            Input::Pong => {}
            Input::Close(frame) => {
                let code = frame.map_or_else(|| CloseReason::Normal.code(), |(code, _)| code);
                self.end(slot, CloseReason::Normal, code, now);
                return false;
            }
        }
        matches!(
            self.clients[slot as usize].phase,
            Phase::Unauthenticated { .. }
                | Phase::Open { .. }
                | Phase::Closing
                | Phase::Handshake(_)
        )
    }

    fn handle_violation(&mut self, slot: u32, reason: CloseReason, now: Tick) {
        if matches!(self.clients[slot as usize].phase, Phase::Closing) {
            self.finish_closing(slot, now);
            return;
        }
        self.end(slot, reason, reason.code(), now);
    }

    fn handle_text(&mut self, slot: u32, text: &str, now: Tick) {
        let request = message::parse(text, self.listening.measure);
        let id = request.id;
        let asked = request.message.as_ref().ok();
        if let Some((code, text)) = self.authorize(slot, asked, now) {
            let channel = match &request.message {
                Ok(message) => message.channel().map(Channel::as_str),
                Err(refusal) => refusal.channel.as_deref(),
            };
            self.refuse(slot, code, text, channel, id.as_ref(), now);
            return;
        }
        match request.message {
            Ok(ClientMessage::Subscribe(channel, since)) => {
                self.subscribe(slot, channel, Subscribe { id, since }, now);
            }
            Ok(ClientMessage::Unsubscribe(channel)) => self.unsubscribe(slot, &channel, id, now),
            Ok(ClientMessage::Notify(channel, payload)) => {
                self.notify(slot, channel, payload, id, now);
            }
            Ok(ClientMessage::Ping) => {
                let pong = ServerMessage::Pong { id: id.as_ref() };
                self.push_own(slot, now, |out| append_message(&pong, out));
            }
            Ok(ClientMessage::Auth(token)) => {
                self.handle_auth(slot, token, id.as_ref(), now);
            }
            Err(refusal) => {
                let channel = refusal.channel.as_deref();
                self.refuse(slot, refusal.code, &refusal.text, channel, id.as_ref(), now);
            }
        }
    }

    pub(super) fn refuse(
        &mut self,
        slot: u32,
        code: ErrorCode,
        text: &str,
        channel: Option<&str>,
        id: Option<&RequestId>,
        now: Tick,
    ) {
        self.metrics.errors.add(code.label());
        self.answer(slot, &ServerMessage::error(code, text, channel, id), now);
    }

    fn subscribe(&mut self, slot: u32, channel: Channel, request: Subscribe, now: Tick) {
        let name = channel.as_str();
        let known = self.index.find(name);
        let client = &self.clients[slot as usize];
        let waiting = client.waiting.as_deref().map_or(&[][..], Vec::as_slice);
        let is_new =
            known.is_none_or(|key| !self.index.is_subscribed(slot, key) && !waiting.contains(&key));
        let subscribed = self.index.subscriptions(slot).len();
        let max = self.limits.subscriptions_max;
        let is_full = || {
            let again = |&&key: &&ChannelKey| self.index.is_subscribed(slot, key);
            subscribed + waiting.len() - waiting.iter().filter(again).count() >= max
        };
        if is_new && subscribed + waiting.len() >= max && is_full() {
            let text = format!(
                "a client may have {} subscriptions",
                self.limits.subscriptions_max
            );
            let code = ErrorCode::TooManySubscriptions;
            self.refuse(slot, code, &text, Some(name), request.id.as_ref(), now);
            return;
        }
        if client.subscribes_waiting as usize >= self.limits.subscriptions_max {
            let text = "too many subscribes are waiting for PostgreSQL already";
            self.refuse(
                slot,
                ErrorCode::RateLimited,
                text,
                Some(name),
                request.id.as_ref(),
                now,
            );
            return;
        }
        let key = self.index.intern(channel.clone());
        let state = self.listening.state_mut(key);
        state.deserted = None;
        if state.interest == Interest::Listened {
            self.admit(slot, key, &request, now);
            // It may have been closed instead, and the channel be as deserted as before.
            self.unwant_if_deserted(key, now);
            return;
        }
        let requests = state.waiting.entry(slot).or_default();
        requests.push(request);
        let is_first = requests.len() == 1;
        let client = &mut self.clients[slot as usize];
        client.subscribes_waiting += 1;
        if is_first {
            client.waiting.get_or_insert_default().push(key);
        }
        self.want(key);
    }

    /// The subscription holds from now on. What the client missed since it was here last follows
    /// its answer, if all of that is still there.
    pub(super) fn admit(&mut self, slot: u32, key: ChannelKey, request: &Subscribe, now: Tick) {
        if self.is_open(slot) {
            self.deliver(slot, now);
        }
        // It may have been closed for what it was owed.
        if !self.is_open(slot) {
            return;
        }
        self.index.subscribe(slot, key);
        let channel = self.index.name(key).clone();
        let (epoch, current) = self.listening.position(key);
        let since = request.since.as_ref();
        let missed = since
            .filter(|since| *since.epoch == *epoch)
            .and_then(|since| self.history.since(key, since.seq, current));
        let recovered = since.map(|_| missed.is_some());
        if let (Some(since), true) = (since, missed.is_some()) {
            self.metrics.deliveries += current - since.seq;
        }
        let seq = match since {
            Some(since) if missed.is_some() => since.seq,
            Some(_) | None => current,
        };
        let mut frames = std::mem::take(&mut self.scratch);
        frames.clear();
        frames.extend(missed.into_iter().flatten().flatten());
        let message = ServerMessage::Subscribed {
            channel: channel.as_str(),
            epoch: &epoch,
            seq,
            recovered,
            id: request.id.as_ref(),
        };
        self.answer(slot, &message, now);
        if self.is_open(slot) && !frames.is_empty() {
            self.push_own(slot, now, |out| out.extend_from_slice(&frames));
        }
        self.scratch = frames;
    }

    fn unsubscribe(&mut self, slot: u32, channel: &Channel, id: Option<RequestId>, now: Tick) {
        let name = channel.as_str();
        let key = self.index.find(name);
        if let Some(key) = key {
            self.deliver(slot, now);
            for Subscribe { id: overtaken, .. } in self.stop_waiting(slot, key) {
                let text = "an unsubscribe overtook this subscribe";
                let code = ErrorCode::Cancelled;
                self.refuse(slot, code, text, Some(name), overtaken.as_ref(), now);
            }
            self.index.unsubscribe(slot, key);
        }
        self.answer(
            slot,
            &ServerMessage::Unsubscribed {
                channel: name,
                id: id.as_ref(),
            },
            now,
        );
        if let Some(key) = key {
            self.unwant_if_deserted(key, now);
        }
    }

    /// The client awaits this channel no longer; its unanswered requests, in the order asked.
    fn stop_waiting(&mut self, slot: u32, key: ChannelKey) -> Vec<Subscribe> {
        let requests = self
            .listening
            .state_mut(key)
            .waiting
            .remove(&slot)
            .unwrap_or_default();
        if !requests.is_empty() {
            self.clients[slot as usize].forget_waiting(key, requests.len());
        }
        requests
    }

    /// Cuts all links of a client that left.
    pub(super) fn leave_channels(&mut self, slot: u32, now: Tick) {
        let waiting = self.clients[slot as usize].waiting.take();
        for key in waiting.into_iter().flat_map(|waiting| *waiting) {
            self.listening.state_mut(key).waiting.remove(&slot);
            self.unwant_if_deserted(key, now);
        }
        self.clients[slot as usize].subscribes_waiting = 0;
        while let Some(key) = self.index.unsubscribe_any(slot) {
            self.unwant_if_deserted(key, now);
        }
    }
}

impl Client {
    /// One of the channels waited for, and so many requests for it, are answered.
    pub(super) fn forget_waiting(&mut self, key: ChannelKey, requests: usize) {
        let answered = u32::try_from(requests).unwrap_or(u32::MAX);
        self.subscribes_waiting = self.subscribes_waiting.saturating_sub(answered);
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|&other| other != key);
            if waiting.is_empty() {
                self.waiting = None;
            }
        }
    }
}
