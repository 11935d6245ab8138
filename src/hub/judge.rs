//! The judge of requests: what becomes of one, by its head.
//!
//! Looks at what is at the path, who asks, and whether there is room; counts what it finds out on the
//! way, and acts on nobody. What the hub has to say about itself it asks back.

use super::{
    addressing::{channel_of, channels_of, last_event_id},
    answer::Answer,
    asking::Asking,
    authorization::{Authorization, TOO_MANY_OF_IDENTITY},
    clients::Clients,
    endpoints::EndpointsBySlot,
    inquiries::Origin,
    log::Refusals,
    reply::{Handshake, Publish, Reply, Stream},
    retries::Retries,
    room::Room,
    site::{NO_DESCRIPTOR, Report, Site, Visit, Wanted, Way},
    subprotocol::Offer,
    token_refusal::TokenRefusal,
    work::Work,
};
use crate::{
    access::{
        Credential, Permissions,
        intent::{Decision, Intent},
        origins,
        secret::Secret,
        visitor::Verdict,
    },
    channel::{Channel, LengthUnit},
    config::Limits,
    escape,
    http::{
        body::Framing,
        request::{Method, Request},
        response::Status,
    },
    id::Clock,
    message::ErrorCode,
    metrics::Metrics,
    ws::{close::CloseReason, handshake::offered_protocols},
};

/// What is looked at, and what is counted, to judge a request.
pub(super) struct Judge<'a> {
    pub(super) slot: u32,
    pub(super) clients: &'a Clients,
    pub(super) endpoints: &'a EndpointsBySlot,
    pub(super) site: &'a Site,
    pub(super) limits: &'a Limits,
    pub(super) length_unit: LengthUnit,
    pub(super) is_shutting_down: bool,
    pub(super) clock: &'a Clock,
    pub(super) authorization: &'a mut Authorization,
    pub(super) room: &'a mut Room,
    pub(super) asking: &'a Asking,
    pub(super) refusals: &'a mut Refusals,
    pub(super) retries: &'a mut Retries,
    pub(super) work: &'a mut Work,
    pub(super) metrics: &'a mut Metrics,
}

/// What the request comes to.
pub(super) enum Judged {
    Reply(Reply),
    /// The hub is to say this of itself; to `HEAD`, without the body.
    Report {
        of: Report,
        is_head_only: bool,
    },
}

impl Judge<'_> {
    /// What becomes of a request that was read.
    pub(super) fn judge(&mut self, request: &Request<'_>) -> Judged {
        let way = Way {
            kind: self.clients.kind(self.slot),
            is_to_loopback: self.endpoints.is_to_loopback(self.slot),
        };
        let Visit {
            wanted,
            fields,
            may_persist,
        } = self.site.visit(request, way, self.authorization);
        let is_head_only = request.method == Method::Head;
        let reply = match wanted {
            Wanted::Report(of) => return Judged::Report { of, is_head_only },
            Wanted::Answer(answer) => Err(answer),
            Wanted::WebSocket { key } => self.judge_handshake(key, request),
            Wanted::Lost(lost) => {
                self.refusals.note_lost(lost);
                Err(lost.answer())
            }
            Wanted::Events => self.judge_events(request, &fields),
            Wanted::EventsRefused => {
                Err(self.refuse_stream(CloseReason::Overloaded, NO_DESCRIPTOR, &fields))
            }
            Wanted::Publish { segment } => self.judge_publish(segment, request, &fields),
        };
        if self.authorization.is_waiting(self.slot) {
            // It is judged again once it is known whose its token is.
            return Judged::Reply(Reply::Wait);
        }
        Judged::Reply(reply.unwrap_or_else(|answer| {
            Reply::Respond(
                answer
                    .with_fields(&fields)
                    .head_only(is_head_only)
                    .persistent(may_persist && !self.is_shutting_down),
            )
        }))
    }

    /// What becomes of a sound opening handshake.
    fn judge_handshake(&mut self, key: &str, request: &Request<'_>) -> Result<Reply, Answer> {
        if self.is_shutting_down {
            let text = "shutting down\n";
            return Err(Answer::text(Status::ServiceUnavailable, text));
        }
        if let Some((status, reason)) = self.room.find_lack(self.slot, self.clients) {
            return Err(Answer::refusal(status, reason));
        }
        let offer = if self.site.has_channels() {
            Offer::read(offered_protocols(&request.fields))
        } else {
            Offer::default()
        };
        self.refusals.note_offer(&offer);
        let upgrade = |token| {
            Reply::Upgrade(Handshake {
                key: key.to_owned(),
                protocol: offer.chosen,
                token,
            })
        };
        let access = self.authorization.access();
        if access.is_asked {
            let Some(verdict) = self.asking.verdict(self.slot) else {
                return Ok(Reply::Ask {
                    takes_over: true,
                    about: None,
                });
            };
            let admitted = self.admitted(verdict.clone());
            return admitted.map(|credential| upgrade(Ok(Some(credential))));
        }
        let in_offer = offer.token.filter(|_| access.is_token_required());
        let in_header = self.token_of(request).map_err(|refusal| {
            Answer::refusal(refusal.status(), refusal.text()).with_fields(refusal.challenge())
        })?;
        let token = match in_offer {
            None if in_header.is_none() => self
                .token_of_browser(request)
                .map_err(|refusal| Answer::refusal(Status::Forbidden, &refusal.to_string()))?,
            Some(token) if in_header.is_none() => self.authenticate(&token, request).map(Some),
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
    fn judge_events(&mut self, request: &Request<'_>, fields: &str) -> Result<Reply, Answer> {
        let asking = match self.find_who(request) {
            Ok(Some(who)) => who,
            Ok(None) => {
                return Ok(Reply::Ask {
                    takes_over: true,
                    about: None,
                });
            }
            // Its reader is to come again.
            Err(NotIn::Unjudged { reason, text, .. }) => {
                return Err(self.refuse_stream(reason, &text, fields));
            }
            Err(NotIn::Refused(answer)) => return Err(*answer),
        };
        if self.authorization.is_identity_full(asking.token()) {
            let reason = CloseReason::NoPlace;
            return Err(self.refuse_stream(reason, TOO_MANY_OF_IDENTITY, fields));
        }
        if self.asking.decision(self.slot).is_none() {
            let (token, now) = (asking.token(), self.clock.tick());
            if let Err((_, text)) = self.authorization.take_request(token, now) {
                return Err(self.refuse_stream(CloseReason::NoPlace, text, fields));
            }
        }
        let max = self.limits.subscriptions_max;
        let channels = channels_of(request.query, self.length_unit, max)?;
        let mut names = channels.iter().map(Channel::as_str);
        let is_forbidden = |name: &&str| !asking.may_subscribe(name, self.authorization);
        if let Some(name) = names.find(is_forbidden) {
            let text = "no subscribing to this channel";
            return Err(Answer::error_refusal(
                ErrorCode::Forbidden,
                text,
                Some(name),
            ));
        }
        match self.decision(true, || Intent::Subscribe(channels.clone())) {
            Err(ask) => return Ok(ask),
            Ok(Decision::Allow) => {}
            Ok(Decision::Refuse(reason)) => {
                return Err(Answer::error_refusal(ErrorCode::Forbidden, &reason, None));
            }
            Ok(Decision::Unavailable(reason)) => {
                return Err(self.refuse_stream(CloseReason::TokenUnjudged, &reason, fields));
            }
        }
        if request.method == Method::Head {
            return Err(Answer::new(Status::Ok, "text/event-stream", ""));
        }
        if self.is_shutting_down {
            let reason = CloseReason::GoingAway;
            return Err(self.refuse_stream(reason, reason.text(), fields));
        }
        if let Some((_, text)) = self.room.find_lack(self.slot, self.clients) {
            return Err(self.refuse_stream(CloseReason::Overloaded, text, fields));
        }
        let token = match asking {
            Who::Bearer(token) => token,
            Who::Admitted(permissions) => Some(self.authorization.grant(permissions)),
        };
        Ok(Reply::Stream(Stream {
            token,
            channels,
            last_event_id: last_event_id(request),
            fields: fields.to_owned(),
        }))
    }

    /// A stream that ends as soon as it has begun: its reader tries again.
    fn refuse_stream(&mut self, reason: CloseReason, text: &str, fields: &str) -> Answer {
        Answer::stream_end(self.retries.after_end(), reason.code(), text, fields)
    }

    /// What becomes of a request to publish that has its head.
    fn judge_publish(
        &mut self,
        segment: &str,
        request: &Request<'_>,
        fields: &str,
    ) -> Result<Reply, Answer> {
        let asking = match self.find_who(request) {
            Ok(Some(who)) => who,
            Ok(None) => {
                return Ok(Reply::Ask {
                    takes_over: false,
                    about: None,
                });
            }
            Err(NotIn::Unjudged { code, text, .. }) => {
                return Err(Answer::error_refusal(code, &text, None));
            }
            Err(NotIn::Refused(answer)) => return Err(*answer),
        };
        let channel = channel_of(segment, self.length_unit)?;
        let name = channel.as_str();
        if !asking.may_publish(name, self.authorization) {
            let text = "no publishing to this channel";
            return Err(Answer::error_refusal(
                ErrorCode::Forbidden,
                text,
                Some(name),
            ));
        }
        let refused = match self.decision(false, || Intent::Notify(channel.clone())) {
            Err(ask) => return Ok(ask),
            Ok(Decision::Allow) => None,
            Ok(Decision::Refuse(reason)) => Some((ErrorCode::Forbidden, reason)),
            Ok(Decision::Unavailable(reason)) => Some((ErrorCode::PostgresDown, reason)),
        };
        if let Some((code, reason)) = refused {
            return Err(Answer::error_refusal(code, &reason, Some(name)));
        }
        let max = self.limits.message_bytes_max;
        if matches!(request.body, Framing::Length(bytes) if bytes > max as u64) {
            return Err(Answer::too_large(max, Some(name)));
        }
        let token = match asking {
            Who::Bearer(token) => token,
            Who::Admitted(_) => None,
        };
        Ok(Reply::Publish(Publish {
            channel,
            token,
            is_persistent: request.is_persistent && !self.is_shutting_down,
            fields: fields.to_owned(),
        }))
    }

    /// What somebody has said of what the client wants to do, where somebody is asked; `Err`: that is
    /// to be asked first.
    fn decision(
        &self,
        takes_over: bool,
        intent: impl FnOnce() -> Intent,
    ) -> Result<Decision, Reply> {
        if !self.authorization.access().asks_intents {
            return Ok(Decision::Allow);
        }
        let decision = self.asking.decision(self.slot).cloned();
        decision.ok_or_else(|| Reply::Ask {
            takes_over,
            about: Some(intent()),
        })
    }

    // ---- tokens

    /// The token that the request brings in its header.
    fn token_of(&mut self, request: &Request<'_>) -> Result<Option<Credential>, TokenRefusal> {
        let bearer = self.authorization.bearer(request);
        bearer
            .map(|token| self.authenticate(&token, request))
            .transpose()
    }

    /// The token that the request brings in a cookie, else the certificate that its connection came with,
    /// and whether that counts: the browser adds either by itself. `Err`: the page that
    /// made the request may be a foreign one.
    fn token_of_browser(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Result<Option<Credential>, TokenRefusal>, origins::Refusal> {
        let Some(token) = self.authorization.cookie(request)? else {
            return self.authorization.certificate(self.slot, request).map(Ok);
        };
        if token.is_err() {
            self.metrics.tokens_wrong += 1;
        }
        let found = token.and_then(|token| self.authenticate(&token, request));
        Ok(found.map(Some))
    }

    /// Who asks, where no message can say so later; `Ok(None)`: somebody is to be asked about it.
    fn find_who(&mut self, request: &Request<'_>) -> Result<Option<Who>, NotIn> {
        if self.authorization.access().is_asked {
            return match self.asking.verdict(self.slot).cloned() {
                None => Ok(None),
                Some(Verdict::Admit(permissions)) => Ok(Some(Who::Admitted(permissions))),
                Some(Verdict::Refuse(reason)) => Err(NotIn::refused(ErrorCode::Forbidden, &reason)),
                Some(Verdict::Unauthenticated(reason)) => {
                    Err(NotIn::refused(ErrorCode::Unauthorized, &reason))
                }
                Some(Verdict::Unavailable(text)) => Err(NotIn::Unjudged {
                    reason: CloseReason::TokenUnjudged,
                    code: ErrorCode::PostgresDown,
                    text,
                }),
            };
        }
        let token = match self.token_of(request) {
            Ok(None) => self.token_of_browser(request).map_err(|refusal| {
                let text = refusal.to_string();
                NotIn::refused(ErrorCode::Forbidden, &text)
            })?,
            token => token,
        };
        match token {
            Ok(None) if self.authorization.access().is_token_required() => {
                let answer = Answer::token_refusal(TokenRefusal::Missing);
                Err(NotIn::Refused(Box::new(answer)))
            }
            Ok(token) => Ok(Some(Who::Bearer(token))),
            Err(refusal) if refusal.is_unjudged() => Err(NotIn::Unjudged {
                reason: refusal.close_reason(),
                code: refusal.code(),
                text: refusal.text().to_owned(),
            }),
            Err(refusal) => {
                let answer = Answer::token_refusal(refusal);
                Err(NotIn::Refused(Box::new(answer)))
            }
        }
    }

    fn authenticate(
        &mut self,
        token: &Secret,
        request: &Request<'_>,
    ) -> Result<Credential, TokenRefusal> {
        let from = Origin {
            slot: self.slot,
            address: self.endpoints.peer(self.slot),
            path: Some(request.path),
        };
        self.authorization
            .authenticate(token, from, self.clock, self.work, self.metrics)
    }
}

/// Who asks for something that is no WebSocket.
enum Who {
    /// The bearer of this; nobody in particular where no token is required.
    Bearer(Option<Credential>),
    /// Somebody whom the program lets do this, within what everybody may.
    Admitted(Permissions),
}

impl Who {
    fn token(&self) -> Option<&Credential> {
        match self {
            Self::Bearer(token) => token.as_ref(),
            Self::Admitted(_) => None,
        }
    }

    fn may_subscribe(&self, channel: &str, authorization: &Authorization) -> bool {
        let is_own = match self {
            Self::Bearer(_) => true,
            Self::Admitted(permissions) => permissions.subscribe.matches(channel),
        };
        is_own && authorization.may_subscribe(self.token(), channel)
    }

    fn may_publish(&self, channel: &str, authorization: &Authorization) -> bool {
        let is_own = match self {
            Self::Bearer(_) => true,
            Self::Admitted(permissions) => permissions.publish.matches(channel),
        };
        is_own && authorization.may_publish(self.token(), channel)
    }
}

/// Why a request without a WebSocket does not count.
enum NotIn {
    /// It is answered so.
    Refused(Box<Answer>),
    /// Nobody says now who asks: whoever it is may come again.
    Unjudged {
        /// For a reader of events.
        reason: CloseReason,
        /// For anybody else.
        code: ErrorCode,
        text: String,
    },
}

impl NotIn {
    fn refused(code: ErrorCode, reason: &str) -> Self {
        Self::Refused(Box::new(Answer::error_refusal(code, reason, None)))
    }
}
