//! Reactions to the function of the database that says whose a token is.
//!
//! What is asked, and who waits, is `inquiries`'s. Here questions go to the backend, and clients that
//! have their answer go on where they stopped: a request is judged again, a message is answered.

use super::{
    Hub,
    clients::Phase,
    inquiries::{Answer, Concern},
    upstream::Upstream,
};
use crate::{
    access::{Credential, Permissions, globs::Globs, secret::Secret},
    backend::{Called, Role},
    id::ClientId,
    pg::function::{Bearer, Question},
    ws::close::CloseReason,
};

impl Hub {
    /// Whether a function of the database says whose tokens are.
    pub fn has_function(&self) -> bool {
        self.authorization.access().has_function
    }

    // ---- to the database and back

    /// Gives the questions to the session that takes them.
    pub(super) fn forward_questions(&mut self) {
        let Upstream::Postgres(backend) = &mut self.upstream else {
            return;
        };
        let Some(inquiries) = self.authorization.inquiries_mut() else {
            return;
        };
        while backend.is_up(Role::Authorizing) {
            let Some((number, inquiry)) = inquiries.poll() else {
                return;
            };
            self.metrics.function_calls += 1;
            let question = Question {
                token: inquiry.token.expose(),
                address: inquiry.address.as_deref(),
                path: inquiry.path.as_deref(),
            };
            backend.call(number, &question);
        }
    }

    /// A question was answered. Clients go on when no event is being handled any more.
    pub(super) fn handle_called(&mut self, number: u32, called: Called) {
        let now = self.clock.now();
        let Some(inquiries) = self.authorization.inquiries_mut() else {
            return;
        };
        match called {
            Called::Again => inquiries.handle_again(number),
            Called::Answered(bearer) => inquiries.handle_answer(
                number,
                |inquiry| Answer::Verdict(bearer.map(|it| credential(&inquiry.token, it))),
                now,
            ),
            Called::Failed(sqlstate) => {
                self.metrics.function_failures += 1;
                if inquiries.handle_failure(number, &sqlstate, now) {
                    tracing::error!("the function that says whose a token is failed: {sqlstate}");
                }
            }
        }
    }

    /// The session for calls is gone.
    pub(super) fn handle_authorizing_down(&mut self) {
        if let Some(inquiries) = self.authorization.inquiries_mut() {
            inquiries.handle_down();
        }
    }

    // ---- clients

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

    // ---- those that are in already

    /// Whatever the function said may be otherwise by now: it is asked again about everybody.
    pub fn ask_again(&mut self) {
        if self.authorization.forget_verdicts() {
            tracing::info!("the function is asked again whose each token is");
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
}

/// What the function grants to the bearer.
fn credential(token: &Secret, bearer: Bearer) -> Credential {
    let globs = |list: Option<Vec<String>>| match list {
        Some(patterns) => Globs::of(patterns.iter().map(String::as_str)),
        None => Globs::default(),
    };
    let permissions = Permissions {
        subscribe: globs(bearer.subscribe),
        publish: globs(bearer.publish),
    };
    Credential::of_function(token.clone(), bearer.identity, permissions, bearer.ends_at)
}
