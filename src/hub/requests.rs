//! Reactions to requests over HTTP: heads, what follows on their connection, and answers.
//!
//! What becomes of a head is `judge`'s to say, the order of the answers `exchange`'s; a connection
//! that becomes a client's is `input`'s from there on, and a publish `publishes`'s.

use std::{net::IpAddr, time::Duration};

use super::{
    Action, Disconnect, Hub,
    answer::Answer,
    clients::Phase,
    encode::Transport,
    eviction::EvictionClass,
    exchange::{Exchange, Step},
    judge::{Judge, Judged},
    log::End,
    reply::Reply,
    site::Report,
    unlisten_delay::Parting,
    work::message_units,
};
use crate::{
    access::{
        Credential,
        intent::Intent,
        question::{Question, QuestionId, Ruling},
        visitor::Visitor,
    },
    http::{
        body::Framing,
        proxy_protocol::{self, PREAMBLE_BYTES_MAX},
        request::{self, Request},
        response::Status,
    },
    id::ClientId,
    metrics,
};

impl Hub {
    // ---- answers

    /// Gives the connection its answer, and ends it behind that.
    pub(super) fn respond(&mut self, slot: u32, answer: &Answer) {
        self.note_answer(slot, answer);
        self.end_with(slot, Parting::Lost, |out| answer.append_to(out));
    }

    /// Counts the answer, and says in the log why it is a refusal.
    fn note_answer(&mut self, slot: u32, answer: &Answer) {
        if !answer.is_interim {
            self.metrics.http_responses.add(answer.status.code());
        }
        if let Some(reason) = &answer.refusal {
            self.log_refusal(slot, answer.status, reason);
        }
    }

    /// Says in the log why a client is refused, unless others of the kind were within the second.
    pub(super) fn log_refusal(&mut self, slot: u32, status: Status, reason: &str) {
        let (peer, now) = (self.endpoints.peer(slot), self.clock.now());
        self.log.refusals.log(status, reason, peer, now);
    }

    /// Says in the log, and to the program, that a connection is a client's from now on.
    pub(super) fn tell_beginning(&mut self, slot: u32) {
        let address = self.endpoints.peer(slot).map(tracing::field::display);
        let transport = tracing::field::debug(self.clients.transport(slot));
        tracing::debug!(target: "alle::client", client = slot, address, transport, "a client came");
        let is_stream = self.clients.transport(slot) == Transport::EventStream;
        let (client, address) = (self.clients.id(slot), self.endpoints.peer(slot));
        self.lifecycle.note_connected(client, address, is_stream);
        self.tell_identity(slot);
    }

    /// Says to the program who a client is, where that has said so.
    pub(super) fn tell_identity(&mut self, slot: u32) {
        let credential = self.clients.credential(slot);
        // The program that was asked knows more.
        if let Some(credential) = credential.filter(|_| !self.authorization.access().is_asked) {
            let client = self.clients.id(slot);
            self.lifecycle
                .note_identified(client, credential.identity());
        }
    }

    /// Says in the log, and to the program, how a client ended, by a close frame with `code` or without
    /// one.
    pub(super) fn tell_end(&mut self, slot: u32, code: Option<u16>, reason: &'static str) {
        let credential = self.clients.credential(slot);
        let end = End {
            address: self.endpoints.peer(slot),
            identity: credential.and_then(Credential::identity),
            code,
            reason,
        };
        let channels = self.channels.links().of_client(slot);
        let counted = channels.map(|key| self.channels.counted(key));
        let (now, metrics) = (self.clock.now(), &mut self.metrics);
        self.log.clients.end(slot, &end, counted, now, metrics);
        self.lifecycle
            .note_closed(self.clients.id(slot), code, reason);
    }

    /// A connection is let go, since its proxy does not say for whom it is.
    pub(super) fn refuse_unheard(&mut self, peer: Option<IpAddr>, reason: &str) {
        self.metrics.preambles_refused += 1;
        self.log
            .refusals
            .log_preamble(reason, peer, self.clock.now());
    }

    // ---- heads

    /// The connection came with a certificate that was verified: its holder has this name, and it ends
    /// at this time since 1970. It counts as a token does.
    pub fn handle_certificate(&mut self, client: ClientId, identity: &str, ends_at: Duration) {
        if self.is_current(client) {
            let certificate = Credential::of_certificate(identity, ends_at);
            self.authorization
                .note_certificate(client.slot, certificate);
        }
    }

    /// A client speaks in clear text where it has to speak TLS: it is told so, as clearly, and the
    /// connection ends.
    pub fn handle_clear_text(&mut self, client: ClientId) {
        if self.is_current(client) {
            self.metrics.tls_clear += 1;
            let answer = Answer::refusal(Status::BadRequest, CLEAR_TEXT);
            self.respond(client.slot, &answer);
        }
    }

    /// The next bytes of a connection came; how many of them are of its proxy's preamble, and not of the
    /// client. The others go where they went without one. `None`: all of them, and the preamble goes on,
    /// or the connection is let go.
    pub fn handle_preamble(&mut self, client: ClientId, input: &[u8]) -> Option<usize> {
        let slot = client.slot;
        if !self.is_current(client) || !self.endpoints.awaits_preamble(slot) {
            return Some(0);
        }
        let mut whole = self.clients.take_head(slot).unwrap_or_default();
        let before = whole.len();
        whole.extend_from_slice(&input[..input.len().min(PREAMBLE_BYTES_MAX)]);
        match proxy_protocol::parse(&whole) {
            Ok(None) => {
                self.clients.keep_head(slot, whole);
                None
            }
            Ok(Some(preamble)) => {
                self.endpoints.note_preamble(slot, preamble.client);
                self.room.note_address(slot, self.endpoints.limited(slot));
                Some(preamble.bytes - before)
            }
            Err(error) => {
                self.refuse_unheard(self.endpoints.peer(slot), &error.to_string());
                self.drop_client(slot, Disconnect::Drop);
                None
            }
        }
    }

    /// The first bytes of a connection, which may be a head.
    pub(super) fn handle_head(&mut self, slot: u32, input: &mut [u8]) {
        let (reply, body, expects_continue, head_bytes) = match request::parse(input) {
            Ok(None) => {
                self.clients.keep_head(slot, input.to_vec());
                return;
            }
            Ok(Some(request)) => {
                let reply = self.reply(slot, &request);
                let expects_continue = request.expects_continue;
                (reply, request.body, expects_continue, request.head_bytes)
            }
            Err(status) => {
                self.respond(slot, &Answer::unreadable(status));
                return;
            }
        };
        let rest = &mut input[head_bytes..];
        match reply {
            Reply::Respond(answer) if answer.is_last => self.respond(slot, &answer),
            Reply::Respond(_) | Reply::Publish(_) => {
                self.begin_exchange(slot, body, reply, expects_continue, rest);
            }
            Reply::Ask { about, .. } => {
                self.clients.keep_head(slot, input.to_vec());
                self.ask(slot, about, input);
            }
            Reply::Wait => {
                self.clients.keep_head(slot, input.to_vec());
                self.clients.hold(slot, true);
            }
            Reply::Upgrade(_) | Reply::Stream(_) => self.take_over(slot, reply, rest),
        }
    }

    /// What becomes of a request that was read.
    fn reply(&mut self, slot: u32, request: &Request<'_>) -> Reply {
        self.endpoints.note_request(slot, &request.fields);
        self.room.note_address(slot, self.endpoints.limited(slot));
        let mut judge = Judge {
            slot,
            clients: &self.clients,
            endpoints: &self.endpoints,
            site: &self.site,
            limits: &self.limits,
            length_unit: self.postgres.length_unit,
            is_shutting_down: self.shutdown.has_begun(),
            clock: &self.clock,
            authorization: &mut self.authorization,
            room: &mut self.room,
            asking: &self.asking,
            refusals: &mut self.log.refusals,
            retries: &mut self.retries,
            work: &mut self.work,
            metrics: &mut self.metrics,
        };
        let judged = judge.judge(request);
        let mut reply = match judged {
            Judged::Reply(reply) => reply,
            Judged::Report { of, is_head_only } => {
                Reply::Respond(self.report(of).head_only(is_head_only))
            }
        };
        if !matches!(reply, Reply::Ask { .. }) {
            // An answer is for this request alone.
            self.asking.forget(slot);
        }
        if let Reply::Respond(answer) = &mut reply {
            // By the time that it is sent, another client may ask on the connection.
            if let Some(reason) = answer.refusal.take() {
                self.log_refusal(slot, answer.status, &reason);
            }
        }
        if reply.takes_over() {
            let now = self.clock.now();
            self.log.clients.begin(slot, &request.fields, now);
        }
        reply
    }

    fn report(&self, of: Report) -> Answer {
        match of {
            Report::Readiness => match self.readiness() {
                Ok(()) => Answer::text(Status::Ok, "ready\n"),
                Err(reason) => Answer::text(Status::ServiceUnavailable, &format!("{reason}\n")),
            },
            Report::Metrics => Answer::new(Status::Ok, metrics::CONTENT_TYPE, self.metrics_text()),
        }
    }

    // ---- somebody else decides

    /// The client's request waits for an answer, and its input with it: nothing more is read of it.
    fn ask(&mut self, slot: u32, about: Option<Intent>, input: &[u8]) {
        let (client, now) = (self.clients.id(slot), self.clock.now());
        self.clients.hold(slot, true);
        let ask = match about {
            Some(intent) => Action::Ask(self.asking.ask_intent(client, now), Question::Do(intent)),
            None => {
                let (target, fields) = request::target_and_fields(input);
                let visitor = Visitor::new(client, self.endpoints.peer(slot), target, fields);
                Action::Ask(self.asking.ask_visit(client, now), Question::Visit(visitor))
            }
        };
        self.actions.push_back(ask);
    }

    /// The client has waited for the answer about it for too long.
    pub(super) fn give_up_asking(&mut self, slot: u32) {
        if let Some((question, ruling)) = self.asking.unanswered(slot) {
            self.handle_ruling(question, ruling);
        }
    }

    /// The answer to a question; one that comes too late is nobody's.
    pub fn handle_ruling(&mut self, question: QuestionId, ruling: Ruling) {
        let slot = question.client.slot;
        if !self.is_current(question.client) || !self.asking.answer(question, ruling) {
            return;
        }
        // The wait was ours.
        self.clients.excuse(slot, self.clock.tick());
        if let Some((held, decision)) = self.asking.take_decided(slot) {
            self.handle_decided(slot, held, &decision);
        } else if let Some(mut head) = self.clients.take_head(slot) {
            self.handle_head(slot, &mut head);
        }
        self.resume(slot);
        self.forward_commands();
    }

    // ---- one request behind the other

    /// The connection goes on with requests; the first of them has its head, and this is behind it.
    fn begin_exchange(
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
            if !exchange.is_inside_request() {
                self.endpoints.forget_request(slot);
            }
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
                    let reply = self.reply(slot, &request);
                    let asks_to_go_on = request.expects_continue && at == input.len();
                    if reply.takes_over() || matches!(reply, Reply::Wait | Reply::Ask { .. }) {
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

    /// The connection becomes that of a client, once all that was asked before is answered, or its
    /// request is judged again: until then the head is kept, with whatever is behind it.
    fn hand_over(
        &mut self,
        slot: u32,
        mut exchange: Exchange,
        was_idle: bool,
        reply: Reply,
        (head_bytes, mut input): (usize, Vec<u8>),
    ) {
        let is_alone = exchange.unanswered_count() == 0 && self.delivery.backlog(slot).is_none();
        // What takes over is asked about once nothing is before it: the answer is for now.
        let is_asked = matches!(reply, Reply::Ask { takes_over, .. } if is_alone || !takes_over);
        if is_asked || matches!(reply, Reply::Wait) {
            exchange.wait_to_read_again();
            self.unparsed.keep(slot, &input);
            self.clients.hold(slot, true);
            self.keep_exchange(slot, exchange, was_idle, true);
            if let Reply::Ask { about, .. } = reply {
                self.ask(slot, about, &input);
            }
        } else if is_alone {
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

    /// The client sends nothing more: the connection ends behind the answers that are awaited, and a
    /// request that is not complete gets none.
    pub(super) fn end_requests(&mut self, slot: u32) {
        if let Some(mut exchange) = self.clients.take_exchange(slot) {
            exchange.finish();
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

const CLEAR_TEXT: &str = "this port speaks TLS: use wss://";
