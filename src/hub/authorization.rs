//! Whom a token lets in, and what each client may ask.
//!
//! Brings the rules of `access` to clients, and counts what they may not do without end: guess
//! tokens, be many of one identity, send many messages a second. Knows neither how a token came nor
//! what becomes of a client that is refused: it answers, and the hub acts.

use std::{collections::HashMap, time::Instant};

use super::{
    channels::Channels,
    guessing::Guessing,
    identity_limit::IdentityLimit,
    identity_rate::IdentityRate,
    inquiries::{Answer, Inquiries, Origin},
    phase::Phase,
    rate_limit::RateLimit,
    token_refusal::TokenRefusal,
    work::{JWT_UNITS, TOKENS_A_UNIT, Work, rule_units},
};
use crate::{
    access::{
        Access, Credential, Credentials, Denial, Permissions, origins, secret::Secret,
        tokens::Tokens,
    },
    channel::is_reserved,
    config::Limits,
    http::request::Request,
    id::{Clock, Tick},
    message::{ClientMessage, ErrorCode, Refusal},
    metrics::Metrics,
    ws::close::CloseReason,
};

/// The rules, and what clients have used up of what they may.
///
/// A client is [attached](Self::attach) with its connection, [admitted](Self::admit) with its
/// credential, and [released](Self::release) when messages flow no longer.
#[derive(Debug)]
pub(super) struct Authorization {
    access: Access,
    guessing: Guessing,
    identity_limit: IdentityLimit,
    rate_limit: RateLimit,
    identity_rate: IdentityRate,
    /// What the function of the database is asked, where there is one.
    inquiries: Option<Box<Inquiries>>,
    /// Of connections that came with a certificate, by slot.
    certificates: HashMap<u32, Credential>,
    /// Clients from this slot on are to be looked at, since credentials were read again.
    recheck_from: Option<u32>,
}

impl Authorization {
    pub(super) fn new(access: Access, limits: &Limits, now: Instant) -> Self {
        let inquiries = access.has_function.then(|| {
            let (count_max, timeout) = (limits.verdicts_max, limits.verdict_timeout);
            Box::new(Inquiries::new(count_max, timeout))
        });
        Self {
            access,
            inquiries,
            guessing: Guessing::new(now),
            identity_limit: IdentityLimit::new(limits.identity_clients_max),
            rate_limit: RateLimit::new(limits.client_rate_max),
            identity_rate: IdentityRate::new(limits.identity_rate_max),
            certificates: HashMap::new(),
            recheck_from: None,
        }
    }

    /// The rules.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    // ---- who one is

    /// The token that a request brings in its header, where one counts.
    pub(super) fn bearer(&self, request: &Request<'_>) -> Option<Secret> {
        let token = request.bearer.map(Secret::new);
        token.filter(|_| self.access.is_token_required())
    }

    /// The token in the cookie of a request, where one counts. `Err`: a page that is not ours may have
    /// made the request, and the browser added the cookie.
    pub(super) fn cookie(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<Result<Secret, TokenRefusal>>, origins::Refusal> {
        let Some(cookie) = self.access.cookie.as_ref() else {
            return Ok(None);
        };
        let found = cookie.find(request.fields.values("Cookie")).transpose();
        if found.is_some() {
            self.check_added(request)?;
        }
        Ok(found.map(|it| it.map_err(TokenRefusal::Cookie)))
    }

    /// The connection came with this certificate, which counts from its next request on.
    pub(super) fn note_certificate(&mut self, slot: u32, certificate: Credential) {
        if self.access.has_certificates {
            self.certificates.insert(slot, certificate);
        }
    }

    /// The certificate of the connection, where one counts. `Err`: a page that is not ours may have made
    /// the request, and the browser added the certificate.
    pub(super) fn certificate(
        &self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Option<Credential>, origins::Refusal> {
        let Some(certificate) = self.certificates.get(&slot) else {
            return Ok(None);
        };
        self.check_added(request)?;
        Ok(Some(certificate.clone()))
    }

    /// Checks the origin of a request whose token the browser may have added by itself.
    fn check_added(&self, request: &Request<'_>) -> Result<(), origins::Refusal> {
        // Two of them say nothing.
        let fetch_site = request.fields.single("Sec-Fetch-Site").ok().flatten();
        let (host, origin) = (request.host, request.origin);
        self.access.check_cookie_origin(host, origin, fetch_site)
    }

    /// The token of a message, where such a message is understood.
    pub(super) fn token_of(&self, auth: Result<Secret, Refusal>) -> Result<Secret, Refusal> {
        if self.access.is_token_required() && !self.access.is_asked {
            auth
        } else {
            Err(Refusal::unknown_type("auth"))
        }
    }

    /// What this token lets its bearer do, unless it is nobody's or one of too many from its
    /// address.
    pub(super) fn authenticate(
        &mut self,
        token: &Secret,
        from: Origin<'_>,
        clock: &Clock,
        work: &mut Work,
        metrics: &mut Metrics,
    ) -> Result<Credential, TokenRefusal> {
        let (peer, now) = (from.address, clock.now());
        if self.guessing.is_refused(peer, now) {
            metrics.tokens_unread += 1;
            return Err(TokenRefusal::TooMany);
        }
        if self.access.is_jwt(token) {
            work.spend(JWT_UNITS);
        }
        let found = match self.access.authenticate(token, clock.since_1970()) {
            Err(Denial::Unknown) => self.ask(token, from, clock),
            found => found.map_err(TokenRefusal::from),
        };
        let refusal = match found {
            Ok(credential) => {
                self.guessing.note_right(peer, now);
                return Ok(credential);
            }
            Err(refusal) if refusal.is_unjudged() => return Err(refusal),
            Err(refusal) => refusal,
        };
        if refusal.is_about_time() {
            metrics.tokens_expired += 1;
        } else {
            metrics.tokens_wrong += 1;
        }
        if refusal.may_be_guessed() {
            self.guessing.note_wrong(peer, now);
        }
        Err(refusal)
    }

    /// Asks the function, where there is one.
    fn ask(
        &mut self,
        token: &Secret,
        from: Origin<'_>,
        clock: &Clock,
    ) -> Result<Credential, TokenRefusal> {
        let text = token.expose();
        let is_askable =
            (1..=FUNCTION_TOKEN_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
        let Some(inquiries) = self.inquiries.as_mut().filter(|_| is_askable) else {
            return Err(TokenRefusal::Wrong);
        };
        match inquiries.ask(token, from, clock.now()) {
            None => Err(TokenRefusal::Undecided),
            Some(Answer::Verdict(Some(credential))) => match credential.ends_at() {
                Some(end) if end <= clock.since_1970() => Err(TokenRefusal::Expired),
                Some(_) | None => Ok(credential),
            },
            Some(Answer::Verdict(None)) => Err(TokenRefusal::Wrong),
            Some(Answer::Failed) => Err(TokenRefusal::Failed),
            Some(Answer::Unavailable) => Err(TokenRefusal::Unavailable),
        }
    }

    /// The questions to the function, where there is one.
    pub(super) fn inquiries_mut(&mut self) -> Option<&mut Inquiries> {
        self.inquiries.as_deref_mut()
    }

    /// Whether the client waits for what the function says.
    pub(super) fn is_waiting(&self, slot: u32) -> bool {
        let inquiries = self.inquiries.as_ref();
        inquiries.is_some_and(|it| it.is_waiting(slot))
    }

    /// How many clients do.
    pub(super) fn waiting_count(&self) -> usize {
        self.inquiries.as_ref().map_or(0, |it| it.waiting_count())
    }

    /// Those of the questions hold.
    pub(super) fn check_invariants(&self) {
        if let Some(inquiries) = &self.inquiries {
            inquiries.check_invariants();
        }
    }

    /// The client is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(inquiries) = &mut self.inquiries {
            inquiries.forget(slot);
        }
        self.certificates.remove(&slot);
    }

    /// Whether tokens come to an end.
    pub(super) fn has_dates(&self) -> bool {
        self.access.jwt.is_some() || self.access.has_function || self.access.has_certificates
    }

    /// Somebody who was asked lets a client in with these permissions.
    pub(super) fn grant(&mut self, permissions: Permissions) -> Credential {
        self.access.grant(permissions)
    }

    /// The client of this credential has these permissions from now on, if somebody who was asked gave
    /// it the old ones.
    pub(super) fn grant_anew(&mut self, credential: &Credential, permissions: Permissions) -> bool {
        self.access.grant_anew(credential, permissions)
    }

    /// Whether no client more may be of this identity.
    pub(super) fn is_identity_full(&self, credential: Option<&Credential>) -> bool {
        let identity = credential.and_then(Credential::identity);
        self.identity_limit.is_full(identity)
    }

    // ---- clients

    /// A connection has this slot from now on.
    pub(super) fn attach(&mut self, slot: u32, now: Tick) {
        self.rate_limit.fill(slot as usize, now);
        self.certificates.remove(&slot);
    }

    /// The client is in from now on; where it stands then.
    pub(super) fn admit(&mut self, token: Option<Credential>) -> Phase {
        let identity = token.as_ref().and_then(Credential::identity);
        self.identity_limit.insert(identity);
        if token.is_none() && self.access.is_token_required() {
            return Phase::Unauthenticated { failures: 0 };
        }
        Phase::Open {
            pinged: false,
            failures: 0,
            token: token.map(Box::new),
        }
    }

    /// A client is counted as that of its new credential from now on. False if there is no place for
    /// another one: it stays what it was.
    pub(super) fn change(&mut self, old: Option<&Credential>, new: &Credential) -> bool {
        let (old, new) = (old.and_then(Credential::identity), new.identity());
        if old == new {
            return true;
        }
        let is_place = !self.identity_limit.is_full(new);
        if is_place {
            self.identity_limit.remove(old);
            self.identity_limit.insert(new);
        }
        is_place
    }

    /// A client has another credential instead of this one.
    pub(super) fn release_old(&mut self, credential: &Credential) {
        self.access.release(credential);
    }

    /// The client of this credential is nobody's any more.
    pub(super) fn release(&mut self, credential: &Credential) {
        self.identity_limit.remove(credential.identity());
        self.access.release(credential);
    }

    // ---- what one may do

    /// Checks the `Host` and `Origin` of a request.
    pub(super) fn check_origin(
        &self,
        request: &Request<'_>,
        is_to_loopback: bool,
    ) -> Result<(), origins::Refusal> {
        let (host, origin) = (request.host, request.origin);
        self.access.check_origin(host, origin, is_to_loopback)
    }

    /// Whether the channel may be subscribed to over HTTP.
    pub(super) fn may_subscribe(&self, token: Option<&Credential>, channel: &str) -> bool {
        !is_reserved(channel) && self.access.may_subscribe(token, channel)
    }

    /// Whether the channel may be published to over HTTP.
    pub(super) fn may_publish(&self, token: Option<&Credential>, channel: &str) -> bool {
        !is_reserved(channel) && self.access.may_publish(token, channel)
    }

    /// Whether the client, which came in with this, may send one message more now.
    pub(super) fn take_message(
        &mut self,
        slot: u32,
        token: Option<&Credential>,
        now: Tick,
    ) -> Result<(), Forbidden> {
        if self.rate_limit.take(slot, now) {
            self.take_request(token, now)
        } else {
            Err((ErrorCode::RateLimited, "too many messages in a second"))
        }
    }

    /// Whether the bearer of this may ask for one thing more now: a message, or a request over HTTP.
    pub(super) fn take_request(
        &mut self,
        token: Option<&Credential>,
        now: Tick,
    ) -> Result<(), Forbidden> {
        if self
            .identity_rate
            .take(token.and_then(Credential::identity), now)
        {
            Ok(())
        } else {
            let text = "too many messages of this identity in a second (--identity-rate)";
            Err((ErrorCode::RateLimited, text))
        }
    }

    /// Whether a client of this phase may send the message, or one that could not be read; else why
    /// not.
    pub(super) fn check(
        &self,
        phase: Option<&Phase>,
        message: Option<&ClientMessage>,
    ) -> Result<(), Forbidden> {
        if matches!(message, Some(ClientMessage::Auth(_))) {
            return Ok(());
        }
        if matches!(phase, Some(Phase::Unauthenticated { .. })) {
            let text = "a token is required here: the first message is \"auth\"";
            return Err((ErrorCode::Unauthorized, text));
        }
        let token = phase.and_then(Phase::credential);
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

    // ---- what was read again

    /// Tokens and keys were read again: every client is to be looked at.
    pub(super) fn replace(&mut self, read: Credentials, work: &mut Work) {
        let tokens = read.tokens.as_ref().map_or(0, Tokens::count);
        work.spend(tokens / TOKENS_A_UNIT);
        self.access.replace(read);
        self.recheck_from = Some(0);
    }

    /// The next client that is to be looked at, of those in the slots before `end`.
    pub(super) fn poll_recheck(&mut self, end: u32) -> Option<u32> {
        let slot = self.recheck_from?;
        self.recheck_from = Some(slot + 1).filter(|&next| next < end);
        (slot < end).then_some(slot)
    }

    /// Whether clients are still to be looked at, or to be told something.
    pub(super) fn is_behind(&self) -> bool {
        let inquiries = self.inquiries.as_ref();
        self.recheck_from.is_some() || inquiries.is_some_and(|it| it.has_concerns())
    }

    /// Every client that came in by the function is to be looked at again; whether there may be some.
    pub(super) fn forget_verdicts(&mut self) -> bool {
        let Some(inquiries) = &mut self.inquiries else {
            return false;
        };
        inquiries.clear_verdicts();
        self.recheck_from = Some(0);
        true
    }

    /// Why the client may not stay as it is, if it may not: its token is no more, or does not cover
    /// one of its channels.
    pub(super) fn find_fault(
        &self,
        slot: u32,
        phase: Option<&Phase>,
        channels: &Channels,
        work: &mut Work,
    ) -> Option<CloseReason> {
        let token = phase.and_then(Phase::credential);
        let steps = 1 + self.access.subscribe_steps(token);
        work.spend(rule_units(channels.wanted_count(slot) * steps));
        if !matches!(phase, Some(Phase::Open { .. })) {
            return None;
        }
        let is_current = match token {
            Some(token) => self.access.is_current(token),
            None => !self.access.is_token_required(),
        };
        if !is_current {
            return Some(CloseReason::TokenGone);
        }
        let mut wanted = channels.wanted_by(slot);
        let is_covered = wanted.all(|it| self.access.may_subscribe(token, it.as_str()));
        (!is_covered).then_some(CloseReason::ChannelForbidden)
    }
}

/// The longest token that the function is asked about.
const FUNCTION_TOKEN_BYTES_MAX: usize = 4 * 1024;
/// What a client is told that may not do something.
pub(super) type Forbidden = (ErrorCode, &'static str);

/// Why another client of somebody is refused.
pub(super) const TOO_MANY_OF_IDENTITY: &str =
    "too many clients of this identity (--max-clients-per-identity)";
