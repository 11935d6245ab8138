//! Strangers: who a client is, what it may ask, and what becomes of it when its token is no more.
//!
//! Brings the rules of `access` to clients. Knows neither where tokens come from nor how a request
//! for an upgrade brought one.

use super::{
    eviction::EvictionClass,
    parts::{Hub, Phase},
};
use crate::{
    access::{
        secret::Secret,
        tokens::{TokenId, Tokens},
    },
    id::Tick,
    message::{ClientMessage, ErrorCode, Refusal, RequestId, ServerMessage},
    ws::close::CloseReason,
};

impl Hub {
    /// Where a connection stands that `holder` upgrades.
    pub(super) fn phase_of(&self, holder: Option<TokenId>) -> Phase {
        if holder.is_none() && self.access.is_token_required() {
            return Phase::Unauthenticated { failures: 0 };
        }
        Phase::Open {
            pinged: false,
            failures: 0,
            holder,
        }
    }

    /// There are as many clients as may be, and somebody comes: those without a token keep nobody
    /// out.
    pub(super) fn close_oldest_guest(&mut self, now: Tick) {
        if let Some((oldest, _)) = self.oldest(EvictionClass::Unauthenticated) {
            self.close(oldest.slot, CloseReason::Unauthorized, now);
        }
    }

    /// Why a message is refused whatever it would do; `None` where it could not be read.
    pub(super) fn authorize(
        &mut self,
        slot: u32,
        message: Option<&ClientMessage>,
        now: Tick,
    ) -> Option<(ErrorCode, &'static str)> {
        if !self.rates.take(slot, now) {
            let text = "too many messages in a second";
            return Some((ErrorCode::RateLimited, text));
        }
        let holder = match (&self.clients[slot as usize].phase, message) {
            (_, Some(ClientMessage::Auth(_))) => return None,
            (Phase::Unauthenticated { .. }, _) => {
                let text = "a token is required here: the first message is \"auth\"";
                return Some((ErrorCode::Unauthorized, text));
            }
            (Phase::Open { holder, .. }, _) => *holder,
            (Phase::Handshake(_) | Phase::Closing | Phase::Flushing | Phase::Lingering, _) => None,
        };
        match message {
            Some(ClientMessage::Subscribe(channel, _))
                if !self.access.may_subscribe(holder, channel.as_str()) =>
            {
                Some((ErrorCode::Forbidden, "no subscribing to this channel"))
            }
            Some(ClientMessage::Notify(channel, _))
                if !self.access.may_publish(holder, channel.as_str()) =>
            {
                Some((ErrorCode::Forbidden, "no publishing to this channel"))
            }
            Some(_) | None => None,
        }
    }

    /// A client says who it is, for the first time or again.
    pub(super) fn handle_auth(
        &mut self,
        slot: u32,
        token: Result<Secret, Refusal>,
        id: Option<&RequestId>,
        now: Tick,
    ) {
        if !self.access.is_token_required() {
            let Refusal { code, text, .. } = Refusal::unknown_type("auth");
            self.refuse(slot, code, &text, None, id, now);
            return;
        }
        let token = match token {
            Ok(token) => token,
            Err(Refusal { code, text, .. }) => {
                self.refuse(slot, code, &text, None, id, now);
                return;
            }
        };
        let Some(holder) = self.access.authenticate(&token) else {
            self.refuse_token(slot, id, now);
            return;
        };
        let is_new = self.become_holder(slot, holder, now);
        self.answer(slot, &ServerMessage::Authenticated { id }, now);
        // Whoever it is already covers it, or it would not be here: that costs nothing again.
        if is_new {
            self.close_uncovered(slot, now);
        }
    }

    /// Whether that is another than it was. Wrong tokens are not forgiven: who has a right one has
    /// no more of them to try than anybody.
    fn become_holder(&mut self, slot: u32, new: TokenId, now: Tick) -> bool {
        let client = &mut self.clients[slot as usize];
        let failures = match client.phase {
            Phase::Open {
                holder: Some(old), ..
            } if old == new => return false,
            Phase::Unauthenticated { failures } | Phase::Open { failures, .. } => failures,
            Phase::Handshake(_) | Phase::Closing | Phase::Flushing | Phase::Lingering => {
                return false;
            }
        };
        client.phase = Phase::Open {
            pinged: false,
            failures,
            holder: Some(new),
        };
        client.since = now;
        true
    }

    fn refuse_token(&mut self, slot: u32, id: Option<&RequestId>, now: Tick) {
        let failures = match &mut self.clients[slot as usize].phase {
            Phase::Unauthenticated { failures } | Phase::Open { failures, .. } => {
                *failures = failures.saturating_add(1);
                *failures
            }
            Phase::Handshake(_) | Phase::Closing | Phase::Flushing | Phase::Lingering => return,
        };
        let text = "the token is wrong";
        self.refuse(slot, ErrorCode::Unauthorized, text, None, id, now);
        if failures >= self.limits.auth_failures_max && self.is_open(slot) {
            self.close(slot, CloseReason::Unauthorized, now);
        }
    }

    /// The tokens were read again.
    pub(super) fn handle_tokens(&mut self, read: Tokens, now: Tick) {
        match &mut self.access.tokens {
            Some(tokens) => tokens.replace(read),
            None => self.access.tokens = Some(read),
        }
        for slot in self.slots() {
            self.close_uncovered(slot, now);
        }
    }

    /// Closes the client if its token, or one of its subscriptions, is not covered any more. It
    /// may come back, and learns then what it may.
    fn close_uncovered(&mut self, slot: u32, now: Tick) {
        if self.is_open(slot) && !self.is_covered(slot) {
            self.close(slot, CloseReason::Unauthorized, now);
        }
    }

    fn is_covered(&self, slot: u32) -> bool {
        let client = &self.clients[slot as usize];
        let Phase::Open { holder, .. } = client.phase else {
            return true;
        };
        let is_current = match holder {
            Some(holder) => self.access.is_current(holder),
            None => !self.access.is_token_required(),
        };
        let waiting = client.waiting.iter().flat_map(|waiting| waiting.iter());
        let subscribed = self.index.subscriptions(slot).iter();
        let mut keys = waiting
            .copied()
            .chain(subscribed.map(|link| link.channel()));
        is_current
            && keys.all(|key| {
                let name = self.index.name(key).as_str();
                self.access.may_subscribe(holder, name)
            })
    }
}
