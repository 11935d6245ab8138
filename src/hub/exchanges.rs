//! Reactions to what follows on a connection that asks over HTTP: bodies, and the next requests.
//!
//! What is answered to a head is `requests`'s, the order of the answers `exchange`'s.

use std::{borrow::Cow, str};

use super::{
    Disconnect, Hub,
    answer::Answer,
    clients::Phase,
    eviction::EvictionClass,
    exchange::{Exchange, Step},
    publishing::ReplyTo,
    reply::{Publish, Reply},
    unlisten_delay::Parting,
    work::message_units,
};
use crate::{
    access::Credential,
    channel::{Channel, Payload},
    http::{body::Framing, request::Request, response::Status},
    message::ErrorCode,
};

impl Hub {
    // ---- one request behind the other

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
        exchange.begin(reply, expects_continue && rest.is_empty());
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
        let mut is_new = !exchange.is_inside_request();
        let mut at = 0;
        loop {
            self.flush_answers(slot, &mut exchange);
            if exchange.is_last() || self.keep_requests(slot, &exchange, &input[at..]) {
                break;
            }
            let before = at;
            let (consumed, step) = exchange.read(&input[at..], self.limits.message_bytes_max);
            at += consumed;
            match step {
                Step::Wait => break,
                Step::Read(units) => self.work.spend(units),
                Step::Publish(publish, body) => {
                    self.work.spend(1);
                    self.publish_body(slot, &mut exchange, publish, &body);
                }
                Step::Head(request) => {
                    is_new = true;
                    let head_bytes = request.head_bytes;
                    self.work.spend(message_units(head_bytes));
                    let reply = self.reply_again(slot, &request);
                    let asks_to_go_on = request.expects_continue && at == input.len();
                    if reply.takes_over() {
                        let head = exchange.head(head_bytes, &input[before..at]);
                        let rest = [head, &input[at..]].concat();
                        self.hand_over(slot, exchange, was_idle, reply, (head_bytes, rest));
                        return;
                    }
                    exchange.begin(reply, asks_to_go_on);
                }
            }
        }
        self.keep_exchange(slot, exchange, was_idle, is_new);
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

    /// The connection becomes that of a client, once all that was asked before is answered: until
    /// then the head is kept, with whatever is behind it.
    fn hand_over(
        &mut self,
        slot: u32,
        mut exchange: Exchange,
        was_idle: bool,
        reply: Reply,
        (head_bytes, mut input): (usize, Vec<u8>),
    ) {
        if exchange.unanswered_count() == 0 && self.delivery.backlog(slot).is_none() {
            self.keep_exchange(slot, Exchange::default(), was_idle, true);
            self.take_over(slot, reply, &mut input[head_bytes..]);
        } else {
            exchange.wait_to_take_over();
            self.unparsed.keep(slot, &input);
            self.clients.hold(slot, true);
            self.keep_exchange(slot, exchange, was_idle, true);
        }
    }

    /// Keeps the rest of the input if nothing more of that is to be worked off now.
    fn keep_requests(&mut self, slot: u32, exchange: &Exchange, rest: &[u8]) -> bool {
        let is_full = self.is_full_exchange(slot, exchange);
        // The end of a body that is here already takes no more input.
        self.keep_rest(slot, rest, is_full)
    }

    fn keep_exchange(&mut self, slot: u32, exchange: Exchange, was_idle: bool, is_new: bool) {
        let is_done = exchange.is_done();
        let now = self.clock.tick();
        let comes_to_rest = self
            .clients
            .keep_exchange(slot, exchange, was_idle, is_new, now);
        if comes_to_rest {
            self.note(EvictionClass::Unfinished, slot);
        }
        if is_done {
            // The connection ends behind the last answer.
            self.end(slot, Phase::Flushing, Parting::Lost, false);
            self.finish_closing(slot);
        }
    }

    /// Answers that are ready leave in their order.
    fn flush_answers(&mut self, slot: u32, exchange: &mut Exchange) {
        while let Some(answer) = exchange.poll_answer() {
            self.note_answer(slot, &answer);
            self.delivery.push(slot, |out| answer.append_to(out));
        }
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

    // ---- publishes

    /// A request to publish is complete.
    fn publish_body(&mut self, slot: u32, exchange: &mut Exchange, publish: Publish, body: &[u8]) {
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

    /// A publish that was asked over HTTP ended, so that its answer is this.
    pub(super) fn answer_request(&mut self, slot: u32, number: u64, answer: Answer) {
        let Some(mut exchange) = self.clients.take_exchange(slot) else {
            return;
        };
        exchange.give(number, answer);
        self.flush_answers(slot, &mut exchange);
        self.keep_exchange(slot, exchange, false, false);
        self.resume(slot);
    }

    // ---- its end

    /// The request that is being read takes too long.
    pub(super) fn time_out_request(&mut self, slot: u32) {
        if let Some(mut exchange) = self.clients.take_exchange(slot) {
            exchange.finish_with(Answer::unreadable(Status::RequestTimeout));
            self.flush_answers(slot, &mut exchange);
            self.keep_exchange(slot, exchange, false, false);
        }
    }

    /// No further request is read; a connection on which nothing is awaited ends.
    pub(super) fn finish_exchange(&mut self, slot: u32) {
        let Some(mut exchange) = self.clients.take_exchange(slot) else {
            return;
        };
        let is_idle = exchange.is_idle();
        // A request that has begun may still complete; its answer is the last.
        if !is_idle && !exchange.is_inside_request() {
            exchange.finish();
        }
        self.keep_exchange(slot, exchange, is_idle, false);
        if is_idle {
            self.drop_client(slot, Disconnect::Drop);
        }
    }
}
