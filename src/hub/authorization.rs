//! Who a client is, what it may ask, and what becomes of it when its token is no more.
//!
//! Brings the rules of `access` to clients. Knows neither where tokens come from nor how a request
//! for an upgrade brought one.

use super::{Hub, clients::Phase, group::is_reserved, work::rule_units};
use crate::{
    access::{
        secret::Secret,
        tokens::{TokenId, Tokens},
    },
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
    /// It was not looked at: too many wrong ones came from its address.
    TooMany,
}

impl TokenRefusal {
    /// For whom it came with a request.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Missing | Self::Wrong => Status::Unauthorized,
            Self::TooMany => Status::TooManyRequests,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Missing => "a token is required here",
            Self::Wrong => "the token is wrong",
            Self::TooMany => "too many wrong tokens from this address",
        }
    }

    /// What a client is told.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::Missing | Self::Wrong => ErrorCode::Unauthorized,
            Self::TooMany => ErrorCode::RateLimited,
        }
    }

    /// The field of the response that says which token would do (RFC 6750, 3).
    pub(super) fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "WWW-Authenticate: Bearer\r\n",
            Self::Wrong => "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
            Self::TooMany => "",
        }
    }

    /// How a WebSocket is closed whose token came with its handshake, which a page cannot see refused.
    pub(super) fn close_reason(self) -> CloseReason {
        match self {
            Self::Missing => CloseReason::TokenMissing,
            Self::Wrong => CloseReason::TokenWrong,
            Self::TooMany => CloseReason::TooManyTokens,
        }
    }
}

impl Hub {
    /// Where a connection stands that is upgraded with this token, or without one.
    pub(super) fn phase_of(&self, token: Option<TokenId>) -> Phase {
        if token.is_none() && self.access.is_token_required() {
            return Phase::Unauthenticated { failures: 0 };
        }
        Phase::Open {
            pinged: false,
            failures: 0,
            token,
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
            (Some(Phase::Open { token, .. }), _) => *token,
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
        let is_new = self.clients.authenticate(slot, token, self.clock.tick());
        self.answer(slot, &ServerMessage::Authenticated { id });
        // The same token covers it already, or it would not be here: that costs nothing again.
        if is_new {
            self.close_if_uncovered(slot);
        }
    }

    /// Who presents this token, unless it is nobody's or one of too many from its address.
    pub(super) fn authenticate(
        &mut self,
        slot: u32,
        token: &Secret,
    ) -> Result<TokenId, TokenRefusal> {
        let (peer, now) = (self.endpoints.peer(slot), self.clock.now());
        if self.guessing.is_refused(peer, now) {
            self.metrics.tokens_unread += 1;
            return Err(TokenRefusal::TooMany);
        }
        let Some(token) = self.access.authenticate(token) else {
            self.guessing.note_wrong(peer, now);
            self.metrics.tokens_wrong += 1;
            return Err(TokenRefusal::Wrong);
        };
        self.guessing.note_right(peer, now);
        Ok(token)
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

    /// The tokens were read again: a client whose token is no more is closed with 4001, and one
    /// whose token does not cover a channel that the client uses with 4003.
    pub fn handle_tokens(&mut self, read: Tokens) {
        match &mut self.access.tokens {
            Some(tokens) => tokens.replace(read),
            None => self.access.tokens = Some(read),
        }
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
            Some(&Phase::Open { token, .. }) => token,
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
        let Some(&Phase::Open { token, .. }) = self.clients.phase(slot) else {
            return None;
        };
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
