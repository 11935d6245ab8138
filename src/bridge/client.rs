//! Reactions to what clients send: heads, frames and messages.

use super::{
    hub::{Client, ClientId, Command, Hub, Phase, Publish, Tick},
    interest::Interest,
};
use crate::{
    channel::{Channel, ChannelKey, Payload},
    frame,
    message::{self, ClientMessage, ErrorCode, PostgresStatus, RequestId, ServerMessage},
    ws::{
        close::{self, CloseReason},
        decoder::Input,
        request, response,
    },
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
            Phase::Open { pinged } => {
                *pinged = false;
                self.handle_frames(id.slot, input, now);
            }
            Phase::Closing => self.handle_frames(id.slot, input, now),
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
        let publishes = usize::from(self.clients[id.slot as usize].publishes_waiting);
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
            Ok(Some(request)) => (self.reply(&request), request.head_bytes),
            Err(status) => (super::http::refuse(status), 0),
        };
        match reply {
            super::http::Reply::Respond(bytes) => {
                self.metrics.http_responses += 1;
                self.hang_up(slot, now, |out| out.extend_from_slice(&bytes));
            }
            super::http::Reply::Upgrade { key } => {
                self.open(slot, now, |out| response::switching_protocols(&key, out));
                if self.listening.announced == PostgresStatus::Down {
                    let status = ServerMessage::Status {
                        postgres: PostgresStatus::Down,
                    };
                    self.push_own(slot, now, |out| frame::append_message(&status, out));
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
        match input {
            Input::Text(text) => self.handle_text(slot, text, now),
            Input::Binary => {
                let text = "binary messages are not understood, send JSON as text";
                self.refuse(slot, ErrorCode::BadMessage, text, None, None, now);
            }
            Input::Ping(payload) => {
                self.push_own(slot, now, |out| frame::append_pong(payload, out));
            }
            Input::Pong => {}
            Input::Close(frame) => {
                let code = frame.map_or_else(|| CloseReason::Normal.code(), |(code, _)| code);
                self.hang_up(slot, now, |out| close::close_frame(code, "", out));
                return false;
            }
        }
        matches!(
            self.clients[slot as usize].phase,
            Phase::Open { .. } | Phase::Closing | Phase::Handshake(_)
        )
    }

    fn handle_violation(&mut self, slot: u32, reason: CloseReason, now: Tick) {
        if matches!(self.clients[slot as usize].phase, Phase::Closing) {
            self.finish_closing(slot, now);
            return;
        }
        tracing::debug!(
            client = slot,
            reason = reason.label(),
            "violation of RFC 6455"
        );
        self.metrics.violations += 1;
        self.hang_up(slot, now, |out| {
            close::close_frame(reason.code(), reason.text(), out)
        });
    }

    fn handle_text(&mut self, slot: u32, text: &str, now: Tick) {
        let request = message::parse(text, self.listening.measure);
        let id = request.id;
        match request.message {
            Ok(ClientMessage::Subscribe(channel)) => self.subscribe(slot, channel, id, now),
            Ok(ClientMessage::Unsubscribe(channel)) => self.unsubscribe(slot, &channel, id, now),
            Ok(ClientMessage::Notify(channel, payload)) => {
                self.notify(slot, channel, payload, id, now);
            }
            Ok(ClientMessage::Ping) => {
                let pong = ServerMessage::Pong { id: id.as_ref() };
                self.push_own(slot, now, |out| frame::append_message(&pong, out));
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
        self.metrics.refusals += 1;
        self.answer(slot, &ServerMessage::error(code, text, channel, id), now);
    }

    fn subscribe(&mut self, slot: u32, channel: Channel, id: Option<RequestId>, now: Tick) {
        let name = channel.as_str();
        let known = self.index.find(name);
        let client = &self.clients[slot as usize];
        let waiting = client.waiting.as_deref().map_or(&[][..], Vec::as_slice);
        let is_new =
            known.is_none_or(|key| !self.index.is_subscribed(slot, key) && !waiting.contains(&key));
        let subscriptions = self.index.subscriptions(slot).len() + waiting.len();
        if is_new && subscriptions >= self.limits.subscriptions_max {
            let text = format!(
                "a client may have {} subscriptions",
                self.limits.subscriptions_max
            );
            let code = ErrorCode::TooManySubscriptions;
            self.refuse(slot, code, &text, Some(name), id.as_ref(), now);
            return;
        }
        if usize::from(client.subscribes_waiting) >= self.limits.subscriptions_max {
            let text = "too many subscribes are waiting for PostgreSQL already";
            self.refuse(
                slot,
                ErrorCode::RateLimited,
                text,
                Some(name),
                id.as_ref(),
                now,
            );
            return;
        }
        let key = self.index.intern(channel.clone());
        let up = self.listening.session_up;
        let state = self.listening.state_mut(key);
        if state.interest == Interest::Listened {
            self.deliver(slot, now);
            self.index.subscribe(slot, key);
            self.answer_subscribed(slot, key, id.as_ref(), now);
            return;
        }
        let requests = state.waiting.entry(slot).or_default();
        requests.push(id);
        let is_first = requests.len() == 1;
        let command = state.interest.want(up);
        let client = &mut self.clients[slot as usize];
        client.subscribes_waiting += 1;
        if is_first {
            client.waiting.get_or_insert_default().push(key);
        }
        self.send_command(key, command);
    }

    pub(super) fn answer_subscribed(
        &mut self,
        slot: u32,
        key: ChannelKey,
        id: Option<&RequestId>,
        now: Tick,
    ) {
        let channel = self.index.name(key).clone();
        let (epoch, seq) = self.listening.position(key);
        let message = ServerMessage::Subscribed {
            channel: channel.as_str(),
            epoch: &epoch,
            seq,
            id,
        };
        self.answer(slot, &message, now);
    }

    fn unsubscribe(&mut self, slot: u32, channel: &Channel, id: Option<RequestId>, now: Tick) {
        let name = channel.as_str();
        let key = self.index.find(name);
        if let Some(key) = key {
            self.deliver(slot, now);
            for overtaken in self.stop_waiting(slot, key) {
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
            self.unwant_if_deserted(key);
        }
    }

    /// The client awaits this channel no longer; its unanswered requests, in the order asked.
    fn stop_waiting(&mut self, slot: u32, key: ChannelKey) -> Vec<Option<RequestId>> {
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
    pub(super) fn leave_channels(&mut self, slot: u32) {
        let waiting = self.clients[slot as usize].waiting.take();
        for key in waiting.into_iter().flat_map(|waiting| *waiting) {
            self.listening.state_mut(key).waiting.remove(&slot);
            self.unwant_if_deserted(key);
        }
        self.clients[slot as usize].subscribes_waiting = 0;
        while let Some(key) = self.index.unsubscribe_any(slot) {
            self.unwant_if_deserted(key);
        }
    }

    fn notify(
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
            id,
            channel: channel.clone(),
            bytes,
        };
        let ticket = self.publishes.insert(publish);
        let ticket = u32::try_from(ticket).expect("bounded by publish_bytes_max");
        self.commands
            .push_back(Command::Notify(ticket, channel, payload));
    }
}

impl Client {
    /// One of the channels waited for, and so many requests for it, are answered.
    pub(super) fn forget_waiting(&mut self, key: ChannelKey, requests: usize) {
        let answered = u16::try_from(requests).unwrap_or(u16::MAX);
        self.subscribes_waiting = self.subscribes_waiting.saturating_sub(answered);
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|&other| other != key);
            if waiting.is_empty() {
                self.waiting = None;
            }
        }
    }
}

/// What a waiting publish costs beside its texts, in bytes.
const PUBLISH_BYTES: usize = 160;
