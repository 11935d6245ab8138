//! Who a client is, what it may ask, and what becomes of it when its token is no more.
//!
//! Brings the rules of `access` to clients. Knows neither where tokens come from nor how a request
//! for an upgrade brought one.

use std::time::Duration;

use super::{
    Hub,
    clients::Phase,
    deadlines::Ending,
    group::is_reserved,
    work::{JWT_UNITS, rule_units},
};
use crate::{
    access::{Credential, Credentials, Denial, jwt::JwtFault, secret::Secret, tokens::Tokens},
    http::response::Status,
    message::{ClientMessage, ErrorCode, Refusal, RequestId, ServerMessage},
    ws::close::CloseReason,
};

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenRefusal {
    /// There is none.
    Missing,
    /// It is nobody's.
    Wrong,
    /// It is no good JWT.
    Jwt(JwtFault),
    /// It was not looked at: too many wrong ones came from its address.
    TooMany,
}

impl TokenRefusal {
    /// For whom it came with a request.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Missing | Self::Wrong | Self::Jwt(_) => Status::Unauthorized,
            Self::TooMany => Status::TooManyRequests,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Missing => "a token is required here",
            Self::Wrong => "the token is wrong",
            Self::Jwt(fault) => fault.text(),
            Self::TooMany => "too many wrong tokens from this address",
        }
    }

    /// What a client is told.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::Missing | Self::Wrong | Self::Jwt(_) => ErrorCode::Unauthorized,
            Self::TooMany => ErrorCode::RateLimited,
        }
    }

    /// The field of the response that says which token would do (RFC 6750, 3).
    pub(super) fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "WWW-Authenticate: Bearer\r\n",
            Self::Wrong | Self::Jwt(_) => "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
            Self::TooMany => "",
        }
    }

    /// How a WebSocket is closed whose token came with its handshake, which a page cannot see refused.
    pub(super) fn close_reason(self) -> CloseReason {
        match self {
            Self::Missing => CloseReason::TokenMissing,
            Self::Jwt(JwtFault::Expired) => CloseReason::TokenExpired,
            Self::Wrong | Self::Jwt(_) => CloseReason::TokenWrong,
            Self::TooMany => CloseReason::TooManyTokens,
        }
    }
}

impl Hub {
    /// Where a connection stands that is upgraded with this token, or without one.
    pub(super) fn phase_of(&self, token: Option<Credential>) -> Phase {
        if token.is_none() && self.access.is_token_required() {
            return Phase::Unauthenticated { failures: 0 };
        }
        Phase::Open {
            pinged: false,
            failures: 0,
            token: token.map(Box::new),
        }
    }

    /// Whether the client may send the message, or one that could not be read; else why not.
    pub(super) fn authorize(
        &mut self,
        slot: u32,
        message: Option<&ClientMessage>,
    ) -> Result<(), (ErrorCode, &'static str)> {
        if !self.rate_limit.take(slot, self.clock.tick()) {
            let text = "too many messages in a second";
            return Err((ErrorCode::RateLimited, text));
        }
        let token = match (self.clients.phase(slot), message) {
            (_, Some(ClientMessage::Auth(_))) => return Ok(()),
            (Some(Phase::Unauthenticated { .. }), _) => {
                let text = "a token is required here: the first message is \"auth\"";
                return Err((ErrorCode::Unauthorized, text));
            }
            (Some(Phase::Open { token, .. }), _) => token.as_deref(),
            (
                Some(
                    Phase::Handshake(_)
                    | Phase::Http(_)
                    | Phase::Closing
                    | Phase::Flushing
                    | Phase::Lingering
                    | Phase::Removed,
                )
                | None,
                _,
            ) => None,
        };
        match message {
            Some(ClientMessage::Subscribe(channel, _) | ClientMessage::Notify(channel, _))
                if is_reserved(channel.as_str()) =>
            {
                let text = "bridges of a group speak on channels of such names";
                Err((ErrorCode::Forbidden, text))
            }
            Some(ClientMessage::Subscribe(channel, _))
                if !self.access.may_subscribe(token, channel.as_str()) =>
            {
                Err((ErrorCode::Forbidden, "no subscribing to this channel"))
            }
            Some(ClientMessage::Notify(channel, _))
                if !self.access.may_publish(token, channel.as_str()) =>
            {
                Err((ErrorCode::Forbidden, "no publishing to this channel"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A client says who it is, for the first time or again.
    pub(super) fn handle_auth(
        &mut self,
        slot: u32,
        token: Result<Secret, Refusal>,
        id: Option<&RequestId>,
    ) {
        let refusal = if self.access.is_token_required() && !self.access.is_asked {
            token.as_ref().err()
        } else {
            Some(&Refusal::unknown_type("auth"))
        };
        if let Some(Refusal { code, text, .. }) = refusal {
            self.send_error(slot, *code, text, None, id);
            return;
        }
        let Ok(token) = token else {
            return;
        };
        let token = match self.authenticate(slot, &token) {
            Ok(token) => token,
            Err(refusal) => {
                self.refuse_token(slot, refusal, id);
                return;
            }
        };
        if !self.take_identity(slot, &token, id) {
            return;
        }
        let old = self.clients.credential(slot).cloned();
        let is_new = self.clients.authenticate(slot, token, self.clock.tick());
        if let Some(old) = old.filter(|_| is_new) {
            self.access.release(&old);
        }
        self.answer(slot, &ServerMessage::Authenticated { id });
        // The same token covers it already, or it would not be here: that costs nothing again.
        if is_new {
            self.close_if_uncovered(slot);
        }
    }

    /// Whose token let the client in, where that has a name.
    pub(super) fn identity(&self, slot: u32) -> Option<&str> {
        self.clients.credential(slot).and_then(Credential::identity)
    }

    /// The client is nobody's any more.
    pub(super) fn release_credential(&mut self, slot: u32) {
        if let Some(credential) = self.clients.credential(slot) {
            self.identity_limit.remove(credential.identity());
            self.access.release(credential);
        }
    }

    /// The end of the client's token, where it has one.
    pub(super) fn ending(&self, slot: u32) -> Option<Ending> {
        let end = self.clients.credential(slot)?.ends_at()?;
        Some(Ending {
            left: end.saturating_sub(self.clock.since_1970()),
            is_told: self.clients.is_end_told(slot),
        })
    }

    /// The client is counted as that of its new token from now on. False, and the client is told, if
    /// there is no place for another one: it stays what it was, and one that was nobody is closed.
    fn take_identity(&mut self, slot: u32, new: &Credential, id: Option<&RequestId>) -> bool {
        let credential = self.clients.credential(slot);
        let (is_known, old) = (
            credential.is_some(),
            credential.and_then(Credential::identity),
        );
        if old == new.identity() {
            return true;
        }
        if self.identity_limit.is_full(new.identity()) {
            self.log_refusal(slot, Status::TooManyRequests, TOO_MANY_OF_IDENTITY);
            self.send_error(slot, ErrorCode::RateLimited, TOO_MANY_OF_IDENTITY, None, id);
            if !is_known {
                self.close(slot, CloseReason::NoPlace);
            }
            return false;
        }
        self.identity_limit.remove(old);
        self.identity_limit.insert(new.identity());
        true
    }

    /// What this token lets its bearer do, unless it is nobody's or one of too many from its
    /// address.
    pub(super) fn authenticate(
        &mut self,
        slot: u32,
        token: &Secret,
    ) -> Result<Credential, TokenRefusal> {
        let (peer, now) = (self.endpoints.peer(slot), self.clock.now());
        if self.guessing.is_refused(peer, now) {
            self.metrics.tokens_unread += 1;
            return Err(TokenRefusal::TooMany);
        }
        if self.access.is_jwt(token) {
            self.work.spend(JWT_UNITS);
        }
        let since_1970 = self.clock.since_1970();
        let refusal = match self.access.authenticate(token, since_1970) {
            Ok(credential) => {
                self.guessing.note_right(peer, now);
                return Ok(credential);
            }
            Err(Denial::Unknown) => TokenRefusal::Wrong,
            Err(Denial::Jwt(fault)) => TokenRefusal::Jwt(fault),
        };
        if refusal == TokenRefusal::Jwt(JwtFault::Expired) {
            self.metrics.tokens_expired += 1;
        } else {
            self.metrics.tokens_wrong += 1;
        }
        // Nobody guesses what a key of ours vouches for.
        if !matches!(refusal, TokenRefusal::Jwt(fault) if fault.is_signed()) {
            self.guessing.note_wrong(peer, now);
        }
        Err(refusal)
    }

    /// Whether [`Self::set_since_1970`] is wanted at the beginning of each turn: tokens have dates.
    pub fn wants_since_1970(&self) -> bool {
        self.access.jwt.is_some()
    }

    /// The time of the world, since 1970.
    pub fn set_since_1970(&mut self, since_1970: Duration) {
        self.clock.set_since_1970(since_1970);
    }

    fn refuse_token(&mut self, slot: u32, refusal: TokenRefusal, id: Option<&RequestId>) {
        self.log_refusal(slot, refusal.status(), refusal.text());
        let code = refusal.code();
        self.send_error(slot, code, refusal.text(), None, id);
        // Of a token that was not looked at nobody knows that it is wrong.
        if refusal == TokenRefusal::TooMany {
            return;
        }
        let Some(failures) = self.clients.count_failure(slot) else {
            return;
        };
        if failures >= self.limits.auth_failures_max {
            self.close(slot, CloseReason::TokenWrong);
        }
    }

    /// The tokens were read again, as by [`Self::handle_credentials`].
    pub fn handle_tokens(&mut self, read: Tokens) {
        let tokens = Some(read);
        self.handle_credentials(Credentials { tokens, keys: None });
    }

    /// Tokens and keys were read again: a client whose token is no more, or whose token is a JWT of
    /// a key that is no more, is closed with 4001; one whose token does not cover a channel that the
    /// client uses with 4003.
    pub fn handle_credentials(&mut self, read: Credentials) {
        self.access.replace(read);
        self.recheck_from = Some(0);
        self.recheck();
    }

    /// Looks at the clients' tokens, as far as the turn's work goes.
    pub(super) fn recheck(&mut self) {
        let Some(from) = self.recheck_from else {
            return;
        };
        for slot in from..self.clients.slots().end {
            if self.work.is_spent() {
                self.recheck_from = Some(slot);
                return;
            }
            self.close_if_uncovered(slot);
        }
        self.recheck_from = None;
    }

    /// Closes the client if its token, or one of its subscriptions, is not covered any more. It
    /// may come back, and learns then what it may.
    fn close_if_uncovered(&mut self, slot: u32) {
        let token = match self.clients.phase(slot) {
            Some(Phase::Open { token, .. }) => token.as_deref(),
            Some(_) | None => None,
        };
        let steps = 1 + self.access.subscribe_steps(token);
        let comparisons = self.channels.wanted_count(slot) * steps;
        self.work.spend(rule_units(comparisons));
        if let Some(reason) = self.uncovered(slot) {
            self.close(slot, reason);
        }
    }

    /// Why the client may not stay as it is, if it may not.
    fn uncovered(&self, slot: u32) -> Option<CloseReason> {
        let Some(Phase::Open { token, .. }) = self.clients.phase(slot) else {
            return None;
        };
        let token = token.as_deref();
        let is_current = match token {
            Some(token) => self.access.is_current(token),
            None => !self.access.is_token_required(),
        };
        if !is_current {
            return Some(CloseReason::TokenGone);
        }
        let mut channels = self.channels.wanted_by(slot);
        let is_covered = channels.all(|it| self.access.may_subscribe(token, it.as_str()));
        (!is_covered).then_some(CloseReason::ChannelForbidden)
    }
}

/// Why another client of somebody is refused.
pub(super) const TOO_MANY_OF_IDENTITY: &str = "too many clients of this identity";
