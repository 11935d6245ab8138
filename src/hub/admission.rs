//! Who gets in, and who goes where there is no room.
//!
//! A connection that is closed unread is a reset to its peer. So a connection there is no room for
//! has its head read, gets 503 with `Retry-After`, and a moment to take it; and a connection that
//! says nothing keeps nobody out.

use std::time::Duration;

use super::{
    Action, Disconnect, Hub,
    answer::{Answer, append_retry, append_stream_head},
    authorization::TOO_MANY_OF_IDENTITY,
    beginning::{Located, locate},
    clients::{Kind, Phase},
    encode::Transport,
    endpoints::Endpoints,
    eviction::EvictionClass,
    group::Patience,
    inquiries::{Concern, Origin},
    opening::Resumption,
    pending::Subscribe,
    reply::Stream,
    token_refusal::TokenRefusal,
};
use crate::{
    access::{Credential, Credentials, secret::Secret, tokens::Tokens},
    channel::ChannelKey,
    http::response::Status,
    id::{ClientId, elapsed},
    message::{ErrorCode, PostgresStatus, Refusal, RequestId, ServerMessage},
    ws::close::CloseReason,
};

impl Hub {
    // ---- sockets that were accepted

    /// A socket was accepted, with the last descriptor if `is_excess`. `None`: it is to be let go
    /// unheard. Where proxies say in a preamble for whom a connection is, anybody else could say so, too.
    pub fn handle_accepted(&mut self, endpoints: Endpoints, is_excess: bool) -> Option<ClientId> {
        if !self.endpoints.take(endpoints) {
            let reason = "it is no --trusted-proxy, and --proxy-protocol takes no others";
            self.refuse_unheard(endpoints.peer, reason);
            return None;
        }
        Some(if is_excess {
            self.handle_excess(endpoints)
        } else {
            self.handle_connected(endpoints)
        })
    }

    /// A socket was accepted. If that makes too many unfinished handshakes, the oldest of them is
    /// refused, and if there is no room, the most dispensable connection goes.
    pub fn handle_connected(&mut self, endpoints: Endpoints) -> ClientId {
        if self.clients.unfinished_count() >= self.limits.handshakes_max {
            self.refuse_oldest_handshake();
        }
        if !self.room.is_left(&self.clients) {
            self.make_room();
        }
        let id = self.insert(Kind::Client, endpoints);
        self.room
            .note_address(id.slot, self.endpoints.limited(id.slot));
        self.note(EvictionClass::Unfinished, id.slot);
        id
    }

    /// A socket was accepted though no descriptor is left for it: it is told so, within a second.
    pub fn handle_excess(&mut self, endpoints: Endpoints) -> ClientId {
        self.metrics.connections_excess += 1;
        let id = self.insert(Kind::Excess, endpoints);
        self.note(EvictionClass::Refused, id.slot);
        self.note(EvictionClass::Unfinished, id.slot);
        id
    }

    /// A socket was accepted at the admin address: it takes HTTP only and is no client. A peer that
    /// leaves connections open there keeps nobody out: beyond the most of them the oldest goes.
    pub fn handle_admin_connected(&mut self, endpoints: Endpoints) -> ClientId {
        if self.clients.admin_count() >= ADMIN_CONNECTIONS_MAX
            && let Some((oldest, _)) = self.room.oldest(EvictionClass::Admin, &self.clients)
        {
            self.metrics.admin_evicted += 1;
            self.drop_client(oldest.slot, Disconnect::Drop);
        }
        let id = self.insert(Kind::Admin, endpoints);
        self.note(EvictionClass::Admin, id.slot);
        id
    }

    fn insert(&mut self, kind: Kind, endpoints: Endpoints) -> ClientId {
        self.metrics.connections += 1;
        let now = self.clock.tick();
        let id = self.clients.insert(kind, now);
        self.endpoints.note(id.slot, endpoints, kind == Kind::Admin);
        self.delivery.attach(id.slot);
        self.authorization.attach(id.slot, now);
        id
    }

    // ---- room

    /// Whether another connection may be accepted: beyond the clients there is room for a few that
    /// are answered with 503, and one of those goes for the newcomer. If not, ask again in a
    /// millisecond: all of them have just come.
    pub fn has_room(&mut self) -> bool {
        let (clients, now) = (&self.clients, self.clock.tick());
        self.room.is_left(clients) || self.room.find_dispensable(clients, now).is_some()
    }

    /// The most dispensable connection has no moment to be told: its descriptor is wanted now.
    fn make_room(&mut self) {
        let dispensable = self.room.find_dispensable(&self.clients, self.clock.tick());
        let Some(ClientId { slot, .. }) = dispensable else {
            return;
        };
        if self.clients.phase(slot).is_some_and(Phase::is_unfinished) {
            self.metrics.handshakes_evicted += 1;
            self.drop_client(slot, Disconnect::Drop);
        } else {
            self.terminate(slot);
        }
    }

    fn refuse_oldest_handshake(&mut self) {
        let Some((oldest, _)) = self.room.oldest(EvictionClass::Unfinished, &self.clients) else {
            return;
        };
        self.metrics.handshakes_evicted += 1;
        if matches!(self.clients.phase(oldest.slot), Some(Phase::Http(_))) {
            // It has asked nothing that an answer could be for.
            self.drop_client(oldest.slot, Disconnect::Drop);
            return;
        }
        let answer = Answer::no_room("too many unfinished handshakes");
        self.respond(oldest.slot, &answer);
        self.note(EvictionClass::Refused, oldest.slot);
    }

    /// Lets go of connections that were refused a moment ago.
    pub(super) fn end_refused(&mut self) {
        let now = self.clock.tick();
        while let Some((id, refused_at)) = self.room.oldest(EvictionClass::Refused, &self.clients) {
            if elapsed(refused_at, now) < REFUSAL_TIMEOUT {
                return;
            }
            self.drop_client(id.slot, Disconnect::Drop);
        }
    }

    // ---- clients

    /// The connection is a client's from now on.
    pub(super) fn enter(&mut self, slot: u32, token: Option<Credential>, transport: Transport) {
        if let Some(ClientId { slot, .. }) = self.room.find_weakest(&self.clients) {
            self.close(slot, CloseReason::NoPlace);
        }
        let phase = self.authorization.admit(token);
        self.clients.open(slot, phase, transport, self.clock.tick());
        self.note(EvictionClass::Unauthenticated, slot);
        self.room.open(slot);
        self.tell_beginning(slot);
    }

    /// The connection becomes a stream, which is silent until PostgreSQL has answered for its channels.
    pub(super) fn open_stream(&mut self, slot: u32, stream: Stream) {
        let Stream {
            token,
            channels,
            last_event_id,
            fields,
        } = stream;
        self.metrics.http_responses.add(Status::Ok.code());
        self.metrics.streams_begun += 1;
        self.enter(slot, token, Transport::EventStream);
        self.actions.push_back(Action::Watch(self.clients.id(slot)));
        let retry = self.retries.after_cut();
        let lane = Transport::EventStream.lane();
        self.delivery
            .push_head(slot, lane, |out| append_stream_head(&fields, out));
        self.delivery.push(slot, |out| append_retry(retry, out));
        let is_told_down = self.postgres.is_announced_down();
        if is_told_down {
            self.tell_status(slot, PostgresStatus::Down);
        }
        let resumption = last_event_id.map_or(Resumption::Now, Resumption::Unjudged);
        self.openings.begin(slot, resumption, is_told_down);
        for channel in channels {
            self.work.spend(1);
            let name = channel.clone();
            let wanted = self.want(slot, channel, Subscribe::default());
            match (wanted, self.channels.find(name.as_str())) {
                (Ok(listened), Some(key)) => {
                    self.openings.note_wanted(slot, key, listened.is_some());
                    if listened.is_some() {
                        self.link(slot, key, Transport::EventStream);
                    }
                }
                (Ok(_), None) => debug_assert!(false, "what is wanted has a key"),
                (Err(_), _) => self.openings.note_unwanted(slot),
            }
        }
        self.join_if_answered(slot);
    }

    /// The client's stream begins, if PostgreSQL has answered for all of its channels, and if it is known
    /// what its position is to us, or not to be waited for.
    pub(super) fn join_if_answered(&mut self, slot: u32) {
        let Some(mut opening) = self.openings.poll_answered(slot) else {
            return;
        };
        if let Resumption::Unjudged(id) = &opening.resumption {
            self.work.spend(opening.channels.len());
            let (parts, now) = ((&self.channels, &self.delivery), self.clock.now());
            let (keys, patience) = (&opening.channels, opening.patience);
            match locate(id, keys, parts, &mut self.membership, patience, now) {
                Located::At(resumption) => opening.resumption = resumption,
                Located::Awaited(keys) => {
                    self.openings.await_release(slot, opening, keys);
                    return;
                }
            }
        }
        self.delivery.join(slot, Transport::EventStream.lane());
        // What came of PostgreSQL while the stream opened.
        match (opening.is_told_down, self.postgres.is_announced_down()) {
            (true, false) => self.tell_status(slot, PostgresStatus::Up),
            (false, true) => self.tell_status(slot, PostgresStatus::Down),
            (true, true) | (false, false) => {}
        }
        let before = self.metrics.deliveries;
        self.beginning().join(slot, &opening);
        let recovered = self.metrics.deliveries - before;
        let told = opening.channels.len() as u64;
        self.log.clients.note_output(slot, told + recovered);
        if opening.is_refused {
            let (reason, text) = (
                CloseReason::Overloaded,
                "a channel was refused, try again later",
            );
            self.note_close(slot, reason, reason.code());
            self.end_stream(slot, reason, text, false);
        }
    }

    /// Streams that waited for the group there go on, as far as the turn's work goes; whether all did.
    pub(super) fn release_streams(
        &mut self,
        key: ChannelKey,
        waits: u64,
        patience: Patience,
    ) -> bool {
        while !self.work.is_spent() {
            let Some(slot) = self.openings.poll_released(key, waits, patience) else {
                return true;
            };
            self.work.spend(1);
            self.join_if_answered(slot);
        }
        !self.openings.has_released(key, waits)
    }

    // ---- credentials

    /// What this token lets its bearer do.
    pub(super) fn authenticate(
        &mut self,
        slot: u32,
        token: &Secret,
    ) -> Result<Credential, TokenRefusal> {
        let from = Origin {
            slot,
            address: self.endpoints.peer(slot),
            path: None,
        };
        let (clock, work, metrics) = (&self.clock, &mut self.work, &mut self.metrics);
        self.authorization
            .authenticate(token, from, clock, work, metrics)
    }

    /// A client says who it is, for the first time or again.
    pub(super) fn handle_auth(
        &mut self,
        slot: u32,
        token: Result<Secret, Refusal>,
        id: Option<&RequestId>,
    ) {
        let token = match self.authorization.token_of(token) {
            Ok(token) => token,
            Err(Refusal { code, text, .. }) => {
                self.send_error(slot, code, &text, None, id);
                return;
            }
        };
        let token = match self.authenticate(slot, &token) {
            Ok(token) => token,
            Err(TokenRefusal::Undecided) => {
                if let Some(inquiries) = self.authorization.inquiries_mut() {
                    inquiries.keep_auth(slot, token, id.cloned());
                }
                return;
            }
            Err(refusal) => {
                self.refuse_token(slot, refusal, id);
                return;
            }
        };
        let old = self.clients.credential(slot).cloned();
        if !self.authorization.change(old.as_ref(), &token) {
            self.log_refusal(slot, Status::TooManyRequests, TOO_MANY_OF_IDENTITY);
            self.send_error(slot, ErrorCode::RateLimited, TOO_MANY_OF_IDENTITY, None, id);
            if old.is_none() {
                self.close(slot, CloseReason::NoPlace);
            }
            return;
        }
        let is_new = self.clients.authenticate(slot, token, self.clock.tick());
        if let Some(old) = old.filter(|_| is_new) {
            self.authorization.release_old(&old);
        }
        self.answer(slot, &ServerMessage::Authenticated { id });
        // The same token covers it already, or it would not be here: that costs nothing again.
        if is_new {
            self.tell_identity(slot);
            self.close_if_at_fault(slot);
        }
    }

    fn refuse_token(&mut self, slot: u32, refusal: TokenRefusal, id: Option<&RequestId>) {
        self.log_refusal(slot, refusal.status(), refusal.text());
        self.send_error(slot, refusal.code(), refusal.text(), None, id);
        // Of a token that was not looked at nobody knows that it is wrong.
        if refusal.is_unjudged() {
            let is_stranger = self.clients.credential(slot).is_none();
            if refusal != TokenRefusal::TooMany && is_stranger {
                self.close(slot, refusal.close_reason());
            }
            return;
        }
        let failures = self.clients.count_failure(slot);
        if failures.is_some_and(|failures| failures >= self.limits.auth_failures_max) {
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
        self.authorization.replace(read, &mut self.work);
        self.recheck();
    }

    /// Looks at the clients' tokens, as far as the turn's work goes.
    pub(super) fn recheck(&mut self) {
        let end = self.clients.slots().end;
        while !self.work.is_spent() {
            let Some(slot) = self.authorization.poll_recheck(end) else {
                return;
            };
            if !self.ask_about_holder(slot) {
                self.close_if_at_fault(slot);
            }
        }
    }

    /// Closes the client if its token, or one of its subscriptions, is not covered any more. It
    /// may come back, and learns then what it may.
    pub(super) fn close_if_at_fault(&mut self, slot: u32) {
        let (phase, channels) = (self.clients.phase(slot), &self.channels);
        let fault = self
            .authorization
            .find_fault(slot, phase, channels, &mut self.work);
        if let Some(reason) = fault {
            self.close(slot, reason);
        }
    }

    // ---- a function of the database says whose a token is

    /// Whether a function of the database says whose tokens are.
    pub fn has_function(&self) -> bool {
        self.authorization.access().has_function
    }
    /// Clients that have their answer go on, as far as the turn's work goes.
    pub(super) fn go_on_with_answered(&mut self) {
        while !self.work.is_spent() {
            let inquiries = self.authorization.inquiries_mut();
            let Some(concern) = inquiries.and_then(|it| it.poll_concern()) else {
                return;
            };
            self.work.spend(1);
            match concern {
                Concern::Waiting(slot) => self.go_on(slot),
                Concern::Holder(client, verdict) => self.judge_holder(client, verdict),
            }
        }
    }

    /// Clients have waited for too long: they go on without an answer.
    pub(super) fn end_overdue(&mut self) {
        let now = self.clock.now();
        if let Some(inquiries) = self.authorization.inquiries_mut() {
            inquiries.note_overdue(now);
        }
        let timeout = self.limits.handshake_timeout;
        for slot in self.asking.overdue(timeout, now) {
            self.give_up_asking(slot);
        }
        self.go_on_with_answered();
    }

    fn go_on(&mut self, slot: u32) {
        if self.clients.phase(slot).is_none() {
            return;
        }
        // The wait was ours.
        self.clients.excuse(slot, self.clock.tick());
        let inquiries = self.authorization.inquiries_mut();
        if let Some((token, id)) = inquiries.and_then(|it| it.take_auth(slot)) {
            self.handle_auth(slot, Ok(token), id.as_ref());
        } else if let Some(mut head) = self.clients.take_head(slot) {
            self.handle_head(slot, &mut head);
        }
        self.resume(slot);
    }

    /// Whatever the function said may be otherwise by now: it is asked again about everybody.
    pub fn ask_again(&mut self) {
        if self.authorization.forget_verdicts() {
            tracing::info!(target: "alle::client", "the function is asked again");
            self.recheck();
            self.forward_commands();
        }
    }

    /// Asks about the token that the client is in by, unless the answer is known. Whether there is
    /// nothing else to look at now.
    pub(super) fn ask_about_holder(&mut self, slot: u32) -> bool {
        let (client, now) = (self.clients.id(slot), self.clock.now());
        let Some(token) = self
            .clients
            .credential(slot)
            .and_then(Credential::token_of_function)
        else {
            return false;
        };
        let address = self.endpoints.peer(slot);
        let known = match self.authorization.inquiries_mut() {
            Some(inquiries) => inquiries.ask_again(token, client, address, now),
            None => None,
        };
        if let Some(verdict) = known {
            self.judge_holder(client, verdict);
        }
        true
    }

    /// What became of the token that the client is in by.
    fn judge_holder(&mut self, client: ClientId, verdict: Option<Credential>) {
        let slot = client.slot;
        let is_open = matches!(self.clients.phase(slot), Some(Phase::Open { .. }));
        if !self.clients.is_current(client) || !is_open {
            return;
        }
        let Some(new) = verdict else {
            self.close(slot, CloseReason::TokenGone);
            return;
        };
        let old = self.clients.credential(slot).cloned();
        if !self.authorization.change(old.as_ref(), &new) {
            self.close(slot, CloseReason::NoPlace);
            return;
        }
        self.clients.authenticate(slot, new, self.clock.tick());
        self.close_if_at_fault(slot);
    }

    // ---- eviction

    /// Notes that the connection came into the class now, if it is in it.
    pub(super) fn note(&mut self, class: EvictionClass, slot: u32) {
        self.room
            .note(class, slot, &self.clients, self.clock.tick());
    }
}

/// For a refused connection in all: to send its head, and to take the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections to the admin address at a time.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 16;
