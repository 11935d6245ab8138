//! Opening handshakes: what becomes of one that is sound.
//!
//! Knows neither paths nor how a handshake is read (`ws::handshake`).

use super::{
    Hub,
    answer::Answer,
    authorization::TOO_MANY_OF_IDENTITY,
    reply::{Handshake, Reply},
    subprotocol::{self, Offer},
};
use crate::{
    access::visitor::Verdict,
    escape,
    http::{request::Request, response::Status},
    ws::handshake::offered_protocols,
};

impl Hub {
    /// The answer to a sound opening handshake, which is a `GET`.
    pub(super) fn reply_handshake(&mut self, slot: u32, key: &str, request: &Request<'_>) -> Reply {
        if self.is_shutting_down() {
            return Reply::Respond(Answer::text(Status::ServiceUnavailable, "shutting down\n"));
        }
        if let Some((status, reason)) = self.lack_of_room(slot) {
            return Reply::Respond(Answer::refusal(status, reason));
        }
        let offer = if self.custom_protocol.is_some() {
            Offer::default()
        } else {
            Offer::read(offered_protocols(&request.fields))
        };
        self.tell_of_foreign(&offer);
        if self.authorization.access().is_asked {
            return self.reply_if_admitted(slot, key, offer.chosen);
        }
        let in_header = match self.token_of(slot, request) {
            Ok(token) => token,
            Err(refusal) => {
                let answer = Answer::refusal(refusal.status(), refusal.text());
                return Reply::Respond(answer.with_fields(refusal.challenge()));
            }
        };
        let token = match offer
            .token
            .filter(|_| self.authorization.access().is_token_required())
        {
            Some(token) if in_header.is_none() => self.authenticate(slot, &token).map(Some),
            Some(_) | None => Ok(in_header),
        };
        let identity = token.as_ref().ok().and_then(Option::as_ref);
        if self.authorization.is_identity_full(identity) {
            return Reply::Respond(Answer::refusal(
                Status::TooManyRequests,
                TOO_MANY_OF_IDENTITY,
            ));
        }
        Reply::Upgrade(Handshake {
            key: key.to_owned(),
            protocol: offer.chosen,
            token,
        })
    }

    /// Says in the log, once, what to offer.
    fn tell_of_foreign(&mut self, offer: &Offer) {
        if offer.is_foreign && !std::mem::replace(&mut self.has_told_subprotocol, true) {
            tracing::warn!(
                "a client offers subprotocols of which none is spoken here, and most clients end \
                 the connection then: offer \"{}\", or none",
                subprotocol::NEWEST
            );
        }
    }

    /// The answer to a sound opening handshake where somebody else decides about it.
    fn reply_if_admitted(&mut self, slot: u32, key: &str, protocol: Option<&'static str>) -> Reply {
        let (status, reason) = match self.asking.take(slot) {
            None => return Reply::Ask,
            Some(Verdict::Admit(permissions)) => {
                let token = Some(self.authorization.grant(permissions));
                return Reply::Upgrade(Handshake {
                    key: key.to_owned(),
                    protocol,
                    token: Ok(token),
                });
            }
            Some(Verdict::Refuse(reason)) => (Status::Forbidden, reason),
            Some(Verdict::Unauthenticated(reason)) => (Status::Unauthorized, reason),
            Some(Verdict::Unavailable(reason)) => (Status::ServiceUnavailable, reason),
        };
        Reply::Respond(Answer::refusal(status, &escape::escaped(&reason)))
    }
}
