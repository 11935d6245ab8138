//! Requests with a body, and what follows on their connection: publishes over HTTP.
//!
//! What is answered to a head is `http`'s, the order of the answers `exchange`'s.

use std::str;

use super::{
    Disconnect, Hub,
    answer::{Answer, not_allowed, preflight},
    clients::Phase,
    eviction::EvictionClass,
    exchange::{Asked, Exchange, Publish},
    http::publish_segment,
    publishing::ReplyTo,
    reply::Reply,
    unlisten_delay::Parting,
    work::message_units,
};
use crate::{
    access::Credential,
    channel::{Channel, Payload, PayloadError},
    http::{
        body::Framing,
        percent,
        reader::Event,
        request::{Method, Request},
        response::Status,
    },
    message::{ErrorCode, ServerMessage},
};

impl Hub {
    // ---- heads

    /// What becomes of a request to publish that has its head.
    pub(super) fn reply_publish(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        fields: &str,
    ) -> Reply {
        match request.method {
            Method::Post => {}
            Method::Options => return Reply::Respond(preflight("POST, OPTIONS")),
            Method::Get | Method::Head | Method::Other => {
                return Reply::Respond(not_allowed("POST, OPTIONS"));
            }
        }
        match self.judge_publish(slot, request) {
            Ok((channel, token)) => Reply::Publish(Publish {
                channel,
                token,
                is_persistent: request.is_persistent && !self.is_shutting_down(),
                fields: fields.to_owned(),
            }),
            Err(answer) => Reply::Respond(answer),
        }
    }

    fn judge_publish(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<(Channel, Option<Credential>), Answer> {
        let token = self.require_token(slot, request)?;
        let name = publish_segment(request.path).and_then(percent::decode);
        let channel = self.parse_channel(name)?;
        let name = Some(channel.as_str());
        if !self
            .authorization
            .may_publish(token.as_ref(), channel.as_str())
        {
            let text = "no publishing to this channel";
            let (status, code) = (Status::Forbidden, ErrorCode::Forbidden);
            return Err(Answer::error_refusal(status, code, text, name));
        }
        let max = self.limits.message_bytes_max;
        if matches!(request.body, Framing::Length(bytes) if bytes > max as u64) {
            return Err(too_large(max, name));
        }
        Ok((channel, token))
    }

    /// The channel of this name, which was decoded; `None` if it could not be.
    pub(super) fn parse_channel(&self, name: Option<String>) -> Result<Channel, Answer> {
        let refuse = |text: &str| {
            let message = ServerMessage::error(ErrorCode::BadChannel, text, None, None);
            Answer::message(Status::BadRequest, &message)
        };
        let name = name.ok_or_else(|| refuse("the channel's name is not percent-encoded UTF-8"))?;
        let unit = self.postgres.length_unit;
        Channel::measured(&name, unit).map_err(|error| refuse(&error.to_string()))
    }

    // ---- the connection

    /// The connection goes on with requests; the first of them has its head, and this is behind it.
    pub(super) fn begin_exchange(
        &mut self,
        slot: u32,
        body: Framing,
        reply: Reply,
        expects_continue: bool,
        rest: &[u8],
    ) {
        let mut exchange = Exchange::behind_head(body);
        begin_request(&mut exchange, reply, expects_continue && rest.is_empty());
        let now = self.clock.tick();
        self.clients.begin_exchange(slot, exchange, now);
        self.handle_requests(slot, rest);
    }

    /// Bytes came on a connection that goes on with requests.
    pub(super) fn handle_requests(&mut self, slot: u32, input: &[u8]) {
        let Some(mut exchange) = self.clients.take_exchange(slot) else {
            return;
        };
        let was_idle = exchange.is_idle();
        let was_inside = exchange.is_inside_request();
        let mut is_new = !was_inside;
        let mut at = 0;
        let taken_over = loop {
            self.flush_answers(slot, &mut exchange);
            if exchange.is_last() || self.keep_requests(slot, &exchange, &input[at..]) {
                break None;
            }
            let before = at;
            let read = exchange.reader.read(&input[at..]);
            let (consumed, event) = match read {
                Ok((consumed, event)) => (consumed, event),
                Err(status) => {
                    exchange.push(Answer::unreadable(status));
                    exchange.finish();
                    continue;
                }
            };
            at += consumed;
            match event {
                None => break None,
                Some(Event::Head(request)) => {
                    is_new = true;
                    self.work.spend(message_units(request.head_bytes));
                    let head_bytes = request.head_bytes;
                    let reply = self.reply_again(slot, &request);
                    let asks_to_go_on = request.expects_continue && at == input.len();
                    if matches!(reply, Reply::Upgrade(_) | Reply::Stream(_)) {
                        let head = match exchange.reader.lent_head() {
                            Some(head) => &head[..head_bytes],
                            None => &input[before..at],
                        };
                        let rest = [head, &input[at..]].concat();
                        break Some((reply, head_bytes, rest));
                    }
                    begin_request(&mut exchange, reply, asks_to_go_on);
                }
                Some(Event::Data(bytes)) => {
                    self.work.spend(bytes.len() / BYTES_A_UNIT);
                    let bytes = bytes.to_vec();
                    self.take_body(&mut exchange, &bytes);
                }
                Some(Event::End) => {
                    self.work.spend(1);
                    self.end_request(slot, &mut exchange);
                }
            }
        };
        match taken_over {
            None => self.keep_exchange(slot, exchange, was_idle, is_new),
            Some((reply, head_bytes, mut rest))
                if exchange.unanswered_count() == 0 && self.delivery.backlog(slot).is_none() =>
            {
                self.keep_exchange(slot, Exchange::default(), was_idle, true);
                self.take_over(slot, reply, &mut rest[head_bytes..]);
            }
            Some((_, _, rest)) => {
                exchange.wait_to_take_over();
                self.unparsed.keep(slot, &rest);
                self.clients.hold(slot, true);
                self.keep_exchange(slot, exchange, was_idle, true);
            }
        }
    }

    /// What becomes of a request on a connection that is kept.
    fn reply_again(&mut self, slot: u32, request: &Request<'_>) -> Reply {
        let reply = self.reply(slot, request);
        if matches!(reply, Reply::Ask) {
            let text = "ask for the upgrade on a connection of its own";
            return Reply::Respond(Answer::refusal(Status::Forbidden, text));
        }
        reply
    }

    /// Keeps the rest of the input if nothing more of that is to be worked off now.
    fn keep_requests(&mut self, slot: u32, exchange: &Exchange, rest: &[u8]) -> bool {
        let is_full = self.is_full_exchange(slot, exchange);
        // The end of a body that is here already takes no more input.
        if rest.is_empty() || !is_full && !self.work.is_spent() {
            return false;
        }
        self.unparsed.keep(slot, rest);
        self.clients.hold(slot, true);
        if !is_full {
            self.stopped.push(self.clients.id(slot));
        }
        true
    }

    fn keep_exchange(&mut self, slot: u32, exchange: Exchange, was_idle: bool, is_new: bool) {
        let is_done = exchange.is_last() && exchange.unanswered_count() == 0;
        let now = self.clock.tick();
        let comes_to_rest = self
            .clients
            .keep_exchange(slot, exchange, was_idle, is_new, now);
        if comes_to_rest {
            self.note(EvictionClass::Unfinished, self.clients.id(slot));
        }
        if is_done {
            self.end_exchange(slot);
        }
    }

    /// All is answered, and nothing more is read: the connection ends behind the last answer.
    fn end_exchange(&mut self, slot: u32) {
        self.end(slot, Phase::Flushing, Parting::Lost, false);
        self.finish_closing(slot);
    }

    /// Answers that are ready leave in their order.
    fn flush_answers(&mut self, slot: u32, exchange: &mut Exchange) {
        while let Some(answer) = exchange.poll_answer() {
            self.note_answer(slot, &answer);
            self.delivery.push(slot, |out| answer.append_to(out));
        }
    }

    // ---- one request

    fn take_body(&self, exchange: &mut Exchange, bytes: &[u8]) {
        let Some(asked) = exchange.asked_mut() else {
            return;
        };
        let max = self.limits.message_bytes_max;
        asked.body_bytes += bytes.len();
        if asked.body_bytes > max {
            let answer = match exchange.take_asked() {
                Some(Asked {
                    publish: Ok(publish),
                    ..
                }) => {
                    let channel = Some(publish.channel.as_str());
                    too_large(max, channel).with_fields(&publish.fields)
                }
                Some(Asked {
                    publish: Err(answer),
                    ..
                }) => answer.persistent(false),
                None => return,
            };
            exchange.push(answer);
            exchange.finish();
        } else if asked.publish.is_ok() {
            asked.body.extend_from_slice(bytes);
        }
    }

    fn end_request(&mut self, slot: u32, exchange: &mut Exchange) {
        let Some(Asked { publish, body, .. }) = exchange.take_asked() else {
            return;
        };
        let publish = match publish {
            Ok(publish) => publish,
            Err(answer) => {
                exchange.push(answer);
                return;
            }
        };
        let is_last = !publish.is_persistent;
        match self.publish_body(slot, exchange, &publish, &body) {
            Ok(()) => {}
            Err(answer) => {
                let answer = answer.with_fields(&publish.fields);
                exchange.push(answer.persistent(publish.is_persistent));
            }
        }
        if is_last {
            exchange.finish();
        }
    }

    fn publish_body(
        &mut self,
        slot: u32,
        exchange: &mut Exchange,
        publish: &Publish,
        body: &[u8],
    ) -> Result<(), Answer> {
        let name = Some(publish.channel.as_str());
        let refuse = |status, code, text: &str| {
            Err(Answer::message(
                status,
                &ServerMessage::error(code, text, name, None),
            ))
        };
        let now = self.clock.tick();
        if let Err((code, text)) = self.authorization.take_message(slot, now) {
            self.metrics.errors.add(code.label());
            return refuse(Status::TooManyRequests, code, text);
        }
        let Ok(text) = str::from_utf8(body) else {
            let code = ErrorCode::BadMessage;
            self.metrics.errors.add(code.label());
            return refuse(Status::BadRequest, code, "the body is not UTF-8");
        };
        let payload = match Payload::measured(text, self.postgres.length_unit) {
            Ok(payload) => payload,
            Err(error) => {
                let code = match error {
                    PayloadError::TooLong { .. } => ErrorCode::PayloadTooLarge,
                    PayloadError::Nul => ErrorCode::BadMessage,
                };
                self.metrics.errors.add(code.label());
                return refuse(status_of(code, ""), code, &error.to_string());
            }
        };
        // The tokens may have been read again while the body came.
        if !self
            .authorization
            .may_publish(publish.token.as_ref(), publish.channel.as_str())
        {
            let code = ErrorCode::Forbidden;
            self.metrics.errors.add(code.label());
            return refuse(Status::Forbidden, code, "no publishing to this channel");
        }
        if let Err((code, text)) = self.check_publish(&publish.channel, &payload) {
            self.metrics.errors.add(code.label());
            return refuse(status_of(code, ""), code, text);
        }
        let reply_to = ReplyTo::Request {
            number: exchange.reserve(),
            is_persistent: publish.is_persistent,
            fields: publish.fields.as_str().into(),
        };
        self.begin_publish(slot, publish.channel.clone(), payload, reply_to);
        Ok(())
    }

    /// A publish that was asked over HTTP ended.
    pub(super) fn answer_request(
        &mut self,
        slot: u32,
        reply_to: (u64, bool, &str),
        channel: &str,
        outcome: Result<(), &ServerMessage<'_>>,
    ) {
        let (number, is_persistent, fields) = reply_to;
        let answer = match outcome {
            Ok(()) => {
                let notified = ServerMessage::Notified { channel, id: None };
                Answer::message(Status::Ok, &notified)
            }
            Err(message) => Answer::message(status_of_error(message), message),
        };
        let Some(mut exchange) = self.clients.take_exchange(slot) else {
            return;
        };
        let answer = answer.with_fields(fields).persistent(is_persistent);
        exchange.give(number, answer);
        self.flush_answers(slot, &mut exchange);
        self.keep_exchange(slot, exchange, false, false);
        self.resume(slot);
    }

    /// Whether more is asked, or less is read, on the connection than may be.
    pub(super) fn is_exchange_full(&self, slot: u32) -> bool {
        match self.clients.phase(slot) {
            Some(Phase::Http(exchange)) => self.is_full_exchange(slot, exchange),
            Some(_) | None => false,
        }
    }

    fn is_full_exchange(&self, slot: u32, exchange: &Exchange) -> bool {
        // A client's bytes come behind the last of HTTP.
        let waits = exchange.takes_over() && self.delivery.backlog(slot).is_some();
        let is_full = exchange.is_full(self.limits.client_requests_max);
        is_full || waits || self.has_unread_answers(slot)
    }

    // ---- its end

    /// The request that is being read takes too long.
    pub(super) fn time_out_request(&mut self, slot: u32) {
        if let Some(mut exchange) = self.clients.take_exchange(slot) {
            exchange.push(Answer::unreadable(Status::RequestTimeout));
            exchange.finish();
            self.flush_answers(slot, &mut exchange);
            self.keep_exchange(slot, exchange, false, false);
        }
    }

    /// No further request is read; a connection on which nothing is awaited ends.
    pub(super) fn finish_exchange(&mut self, slot: u32) {
        let Some(mut exchange) = self.clients.take_exchange(slot) else {
            return;
        };
        if exchange.is_idle() {
            self.keep_exchange(slot, exchange, true, false);
            self.drop_client(slot, Disconnect::Drop);
        } else if exchange.is_inside_request() {
            // It may still complete; its answer is the last.
            self.keep_exchange(slot, exchange, false, false);
        } else {
            exchange.finish();
            self.keep_exchange(slot, exchange, false, false);
        }
    }
}

/// A request has its head, and is to become this.
fn begin_request(exchange: &mut Exchange, reply: Reply, asks_to_go_on: bool) {
    match reply {
        Reply::Publish(publish) => {
            if asks_to_go_on {
                exchange.push(Answer::go_on());
            }
            exchange.begin(Ok(publish));
        }
        Reply::Respond(answer) if answer.is_last => {
            // Its body is of no use to anybody.
            exchange.push(answer);
            exchange.finish();
        }
        Reply::Respond(answer) => exchange.begin(Err(answer)),
        Reply::Ask | Reply::Upgrade(_) | Reply::Stream(_) => {
            debug_assert!(false, "these take the connection over");
        }
    }
}

/// The answer to a body that is not even read, since it has more than so many bytes.
fn too_large(bytes_max: usize, channel: Option<&str>) -> Answer {
    let code = ErrorCode::PayloadTooLarge;
    let text = format!("a body may have {bytes_max} bytes");
    let message = ServerMessage::error(code, &text, channel, None);
    Answer::message(Status::PayloadTooLarge, &message)
}

fn status_of_error(message: &ServerMessage<'_>) -> Status {
    if let ServerMessage::Error { code, sqlstate, .. } = message {
        status_of(*code, sqlstate.unwrap_or(""))
    } else {
        Status::Ok
    }
}

/// The status that says in HTTP what the code says in JSON.
fn status_of(code: ErrorCode, sqlstate: &str) -> Status {
    match code {
        ErrorCode::PostgresError if sqlstate == QUEUE_FULL => Status::ServiceUnavailable,
        ErrorCode::PostgresError => Status::BadGateway,
        ErrorCode::PostgresDown => Status::ServiceUnavailable,
        ErrorCode::UnknownOutcome => Status::GatewayTimeout,
        ErrorCode::RateLimited => Status::TooManyRequests,
        ErrorCode::PayloadTooLarge => Status::PayloadTooLarge,
        ErrorCode::Unauthorized => Status::Unauthorized,
        ErrorCode::Forbidden => Status::Forbidden,
        ErrorCode::BadMessage
        | ErrorCode::BadChannel
        | ErrorCode::UnknownType
        | ErrorCode::TooManySubscriptions
        | ErrorCode::TooManyChannels
        | ErrorCode::Cancelled => Status::BadRequest,
    }
}

/// `program_limit_exceeded`: the queue of notifications is full until somebody reads it.
const QUEUE_FULL: &str = "54000";
/// Bytes of a body that cost a unit of work.
const BYTES_A_UNIT: usize = 2_048;
