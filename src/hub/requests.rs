//! Reactions to the heads of requests: what becomes of each.
//!
//! What is at a path is `site`'s, what follows on the connection `exchanges`'s; one that becomes a
//! client's is `input`'s from there on.

use super::{
    Action, Hub,
    addressing::{channel_of, channels_of, last_event_id},
    answer::{Answer, TEXT},
    authorization::TOO_MANY_OF_IDENTITY,
    reply::{Handshake, Publish, Reply, Stream},
    site::{NO_DESCRIPTOR, Visit, Wanted, Way},
    subprotocol::Offer,
    token_refusal::TokenRefusal,
    unlisten_delay::Parting,
};
use crate::{
    access::{
        Credential, origins,
        visitor::{Verdict, Visitor},
    },
    channel::Channel,
    escape,
    http::{
        body::Framing,
        request::{self, Method, Request},
        response::Status,
    },
    id::ClientId,
    message::ErrorCode,
    metrics,
    ws::{close::CloseReason, handshake::offered_protocols},
};

impl Hub {
    // ---- answers

    /// Gives the connection its answer, and ends it behind that.
    pub(super) fn respond(&mut self, slot: u32, answer: &Answer) {
        self.note_answer(slot, answer);
        self.end_with(slot, Parting::Lost, |out| answer.append_to(out));
    }

    /// Counts the answer, and says in the log why it is a refusal.
    pub(super) fn note_answer(&mut self, slot: u32, answer: &Answer) {
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
        self.refusals.log(status, reason, peer, now);
    }

    // ---- heads

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
            Reply::Ask => self.ask(slot, input),
            Reply::Upgrade(_) | Reply::Stream(_) => self.take_over(slot, reply, rest),
        }
    }

    /// What becomes of a request that was read.
    pub(super) fn reply(&mut self, slot: u32, request: &Request<'_>) -> Reply {
        let way = Way {
            kind: self.clients.kind(slot),
            is_to_loopback: self.endpoints.is_to_loopback(slot),
        };
        let Visit {
            wanted,
            fields,
            may_persist,
        } = self.site.visit(request, way, &self.authorization);
        let reply = match wanted {
            Wanted::Answer(answer) => Ok(Reply::Respond(answer)),
            Wanted::Readiness => Err(match self.readiness() {
                Ok(()) => Answer::text(Status::Ok, "ready\n"),
                Err(reason) => Answer::new(Status::ServiceUnavailable, TEXT, format!("{reason}\n")),
            }),
            Wanted::Metrics => {
                let text = self.metrics_text();
                Err(Answer::new(Status::Ok, metrics::CONTENT_TYPE, text))
            }
            Wanted::WebSocket { key } => self.judge_handshake(slot, key, request),
            Wanted::Events => self.judge_events(slot, request, &fields),
            Wanted::EventsRefused => {
                Err(self.stream_refusal(CloseReason::Overloaded, NO_DESCRIPTOR, &fields))
            }
            Wanted::Publish { segment } => self.judge_publish(slot, segment, request, &fields),
        };
        match reply {
            Ok(Reply::Respond(answer)) | Err(answer) => Reply::Respond(
                answer
                    .with_fields(&fields)
                    .head_only(request.method == Method::Head)
                    .persistent(may_persist && !self.is_shutting_down()),
            ),
            Ok(reply) => reply,
        }
    }

    /// What becomes of a sound opening handshake.
    fn judge_handshake(
        &mut self,
        slot: u32,
        key: &str,
        request: &Request<'_>,
    ) -> Result<Reply, Answer> {
        if self.is_shutting_down() {
            let text = "shutting down\n";
            return Err(Answer::text(Status::ServiceUnavailable, text));
        }
        if let Some((status, reason)) = self.room.find_lack(slot, &self.clients) {
            return Err(Answer::refusal(status, reason));
        }
        let offer = if self.custom_protocol.is_some() {
            Offer::default()
        } else {
            Offer::read(offered_protocols(&request.fields))
        };
        self.foreign_offers.note(&offer);
        let upgrade = |token| {
            Reply::Upgrade(Handshake {
                key: key.to_owned(),
                protocol: offer.chosen,
                token,
            })
        };
        let access = self.authorization.access();
        if access.is_asked {
            let Some(verdict) = self.asking.take(slot) else {
                return Ok(Reply::Ask);
            };
            let admitted = self.admitted(verdict);
            return admitted.map(|credential| upgrade(Ok(Some(credential))));
        }
        let in_offer = offer.token.filter(|_| access.is_token_required());
        let in_header = self.token_of(slot, request).map_err(|refusal| {
            Answer::refusal(refusal.status(), refusal.text()).with_fields(refusal.challenge())
        })?;
        let token = match in_offer {
            None if in_header.is_none() => self
                .token_in_cookie(slot, request)
                .map_err(|refusal| Answer::refusal(Status::Forbidden, &refusal.to_string()))?,
            Some(token) if in_header.is_none() => self.authenticate(slot, &token).map(Some),
            Some(_) | None => Ok(in_header),
        };
        let credential = token.as_ref().ok().and_then(Option::as_ref);
        if self.authorization.is_identity_full(credential) {
            let status = Status::TooManyRequests;
            return Err(Answer::refusal(status, TOO_MANY_OF_IDENTITY));
        }
        Ok(upgrade(token))
    }

    /// What somebody who was asked about the client lets it do.
    fn admitted(&mut self, verdict: Verdict) -> Result<Credential, Answer> {
        let (status, reason) = match verdict {
            Verdict::Admit(permissions) => return Ok(self.authorization.grant(permissions)),
            Verdict::Refuse(reason) => (Status::Forbidden, reason),
            Verdict::Unauthenticated(reason) => (Status::Unauthorized, reason),
            Verdict::Unavailable(reason) => (Status::ServiceUnavailable, reason),
        };
        Err(Answer::refusal(status, &escape::escaped(&reason)))
    }

    /// What becomes of a request for events.
    fn judge_events(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        fields: &str,
    ) -> Result<Reply, Answer> {
        let token = self.require_token(slot, request)?;
        if self.authorization.is_identity_full(token.as_ref()) {
            let code = ErrorCode::RateLimited;
            return Err(Answer::error_refusal(code, TOO_MANY_OF_IDENTITY, None));
        }
        let taken = self
            .authorization
            .take_request(token.as_ref(), self.clock.tick());
        taken.map_err(|(code, text)| Answer::error_refusal(code, text, None))?;
        let (unit, max) = (self.postgres.length_unit, self.limits.subscriptions_max);
        let channels = channels_of(request.query, unit, max)?;
        let mut names = channels.iter().map(Channel::as_str);
        let is_forbidden = |name: &&str| !self.authorization.may_subscribe(token.as_ref(), name);
        if let Some(name) = names.find(is_forbidden) {
            let text = "no subscribing to this channel";
            return Err(Answer::error_refusal(
                ErrorCode::Forbidden,
                text,
                Some(name),
            ));
        }
        if request.method == Method::Head {
            return Err(Answer::new(Status::Ok, "text/event-stream", ""));
        }
        if self.is_shutting_down() {
            let reason = CloseReason::GoingAway;
            return Err(self.stream_refusal(reason, reason.text(), fields));
        }
        if let Some((_, text)) = self.room.find_lack(slot, &self.clients) {
            return Err(self.stream_refusal(CloseReason::Overloaded, text, fields));
        }
        Ok(Reply::Stream(Stream {
            token,
            channels,
            last_event_id: last_event_id(request),
            fields: fields.to_owned(),
        }))
    }

    /// What becomes of a request to publish that has its head.
    fn judge_publish(
        &mut self,
        slot: u32,
        segment: &str,
        request: &Request<'_>,
        fields: &str,
    ) -> Result<Reply, Answer> {
        let token = self.require_token(slot, request)?;
        let channel = channel_of(segment, self.postgres.length_unit)?;
        let name = channel.as_str();
        if !self.authorization.may_publish(token.as_ref(), name) {
            let text = "no publishing to this channel";
            return Err(Answer::error_refusal(
                ErrorCode::Forbidden,
                text,
                Some(name),
            ));
        }
        let max = self.limits.message_bytes_max;
        if matches!(request.body, Framing::Length(bytes) if bytes > max as u64) {
            return Err(Answer::too_large(max, Some(name)));
        }
        Ok(Reply::Publish(Publish {
            channel,
            token,
            is_persistent: request.is_persistent && !self.is_shutting_down(),
            fields: fields.to_owned(),
        }))
    }

    /// The token that the request brings in its header.
    fn token_of(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Option<Credential>, TokenRefusal> {
        let bearer = self.authorization.bearer(request);
        bearer
            .map(|token| self.authenticate(slot, &token))
            .transpose()
    }

    /// The token that the request brings in a cookie, and whether that counts. `Err`: the page that
    /// made the request may be a foreign one.
    fn token_in_cookie(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Result<Option<Credential>, TokenRefusal>, origins::Refusal> {
        let Some(token) = self.authorization.cookie(request)? else {
            return Ok(Ok(None));
        };
        if token.is_err() {
            self.metrics.tokens_wrong += 1;
        }
        let found = token.and_then(|token| self.authenticate(slot, &token));
        Ok(found.map(Some))
    }

    /// The token of the request where no message can bring one later.
    fn require_token(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Option<Credential>, Answer> {
        if self.authorization.access().is_asked {
            let text = "the program decides here about WebSockets alone";
            return Err(Answer::error_refusal(ErrorCode::Forbidden, text, None));
        }
        let token = match self.token_of(slot, request) {
            Ok(None) => self.token_in_cookie(slot, request).map_err(|refusal| {
                let text = refusal.to_string();
                Answer::error_refusal(ErrorCode::Forbidden, &text, None)
            })?,
            token => token,
        };
        match token {
            Ok(None) if self.authorization.access().is_token_required() => {
                Err(Answer::token_refusal(TokenRefusal::Missing))
            }
            Ok(token) => Ok(token),
            Err(refusal) => Err(Answer::token_refusal(refusal)),
        }
    }

    // ---- somebody else decides

    /// The client's upgrade waits for an answer, and its input with it: nothing more is read of it.
    /// Its handshake has the time that every handshake has.
    fn ask(&mut self, slot: u32, input: &[u8]) {
        let (target, fields) = request::target_and_fields(input);
        let visitor = Visitor::new(self.endpoints.peer(slot), target, fields);
        self.clients.keep_head(slot, input.to_vec());
        self.clients.hold(slot, true);
        self.asking.begin(slot);
        let ask = Action::Ask(self.clients.id(slot), visitor);
        self.actions.push_back(ask);
    }

    /// The answer about a client; one that comes too late is nobody's.
    pub fn handle_verdict(&mut self, client: ClientId, verdict: Verdict) {
        let slot = client.slot;
        if !self.is_current(client) || !self.asking.answer(slot, verdict) {
            return;
        }
        if let Some(mut head) = self.clients.take_head(slot) {
            self.handle_head(slot, &mut head);
        }
        self.asking.forget(slot);
        self.resume(slot);
        self.forward_commands();
    }
}
