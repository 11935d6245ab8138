//! The way of a question about a token to the function of the database, and of its answer back.
//!
//! What is asked, and who waits, is `inquiries`'s; how a session calls the function is the backend's, and
//! what becomes of a client the hub's.

use std::time::Duration;

use super::inquiries::{Answer, Inquiries, Inquiry};
use crate::{
    access::{Credential, Permissions, globs::Globs, secret::Secret},
    backend::{Backend, Called, Role},
    id::Clock,
    pg::function::{Bearer, Question},
};

/// Gives the questions to the session that takes them; how many.
pub(super) fn forward(inquiries: &mut Inquiries, backend: &mut Backend, clock: &Clock) -> u64 {
    let mut calls = 0;
    while backend.is_up(Role::Authorizing) {
        let Some((number, inquiry)) = inquiries.poll(clock.now()) else {
            break;
        };
        calls += 1;
        let question = Question {
            token: inquiry.token.expose(),
            address: inquiry.address.as_deref(),
            path: inquiry.path.as_deref(),
        };
        backend.call(number, &question);
    }
    calls
}

/// A question was answered. Whether the function failed at it, which is in the log then.
pub(super) fn handle_called(
    inquiries: &mut Inquiries,
    number: u32,
    called: Called,
    clock: &Clock,
) -> bool {
    let sqlstate = match called {
        Called::Again => {
            inquiries.handle_again(number);
            return false;
        }
        Called::Answered(bearer) => {
            let answer = |inquiry: &Inquiry| {
                Answer::Verdict(bearer.map(|it| credential(&inquiry.token, it)))
            };
            inquiries.handle_answer(number, answer, clock);
            return false;
        }
        // A function that says so by itself would be asked without a pause.
        Called::Locked(_) if inquiries.has_waited(number, LOCKED_TIME_MIN, clock.now()) => {
            inquiries.handle_again(number);
            return false;
        }
        Called::Locked(sqlstate) | Called::Failed(sqlstate) => sqlstate,
    };
    if inquiries.handle_failure(number, &sqlstate, clock) {
        tracing::error!(
            target: "alle::postgres",
            "the function that says whose a token is failed: {sqlstate}"
        );
    }
    true
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

/// Whoever waited for a lock waited for longer than this.
const LOCKED_TIME_MIN: Duration = Duration::from_secs(1);
