//! Questions to the program around a server, on their way to an answer.
//!
//! Each is answered once: by the program, or by its end. Refuses to know what an answer means.

use std::sync::Arc;

use crate::{
    access::{
        intent::{Decision, Intent},
        question::{QuestionId, Ruling},
        visitor::{Verdict, Visitor},
    },
    handle::Shared,
    id::ClientId,
    orders::Order,
};

/// What is called for each client that wants to come in.
pub(crate) type Admission = Box<dyn FnMut(Visitor, AdmissionTicket) + Send>;

/// What is called for each thing that a client wants to do.
pub(crate) type Authorization = Box<dyn FnMut(ClientId, Intent, AuthorizationTicket) + Send>;

/// The question about a client that wants to come in, to be answered once, from any thread, at any
/// time before the client's handshake ends ([`Limits::handshake_timeout`]): the loop waits for
/// nobody meanwhile.
///
/// To drop it without an answer answers 503.
///
/// [`Limits::handshake_timeout`]: crate::Limits::handshake_timeout
#[derive(Debug)]
#[must_use = "to drop it refuses the client"]
pub struct AdmissionTicket(Unanswered);

impl AdmissionTicket {
    pub(crate) fn new(shared: Arc<Shared>, question: QuestionId) -> Self {
        Self(Unanswered::new(shared, question))
    }

    /// Answers. It is no error if the client has gone meanwhile.
    pub fn answer(mut self, verdict: Verdict) {
        self.0.give(Ruling::Visit(verdict));
    }
}

impl Drop for AdmissionTicket {
    fn drop(&mut self) {
        let text = "nobody has said whether this client may come in";
        self.0
            .give(Ruling::Visit(Verdict::Unavailable(text.to_owned())));
    }
}

/// The question whether a client may do what it wants, to be answered once, from any thread, within
/// [`Limits::handshake_timeout`]: the loop waits for nobody meanwhile. An answer that comes later
/// counts for nothing.
///
/// To drop it without an answer is [`Decision::Unavailable`].
///
/// [`Limits::handshake_timeout`]: crate::Limits::handshake_timeout
#[derive(Debug)]
#[must_use = "to drop it refuses what the client wants"]
pub struct AuthorizationTicket(Unanswered);

impl AuthorizationTicket {
    pub(crate) fn new(shared: Arc<Shared>, question: QuestionId) -> Self {
        Self(Unanswered::new(shared, question))
    }

    /// Answers. It is no error if the client has gone meanwhile.
    pub fn answer(mut self, decision: Decision) {
        self.0.give(Ruling::Do(decision));
    }
}

impl Drop for AuthorizationTicket {
    fn drop(&mut self) {
        let text = "nobody has said whether this client may do that";
        self.0
            .give(Ruling::Do(Decision::Unavailable(text.to_owned())));
    }
}

/// A question, until it is answered.
#[derive(Debug)]
struct Unanswered {
    shared: Arc<Shared>,
    question: Option<QuestionId>,
}

impl Unanswered {
    fn new(shared: Arc<Shared>, question: QuestionId) -> Self {
        let question = Some(question);
        Self { shared, question }
    }

    /// The first answer counts.
    fn give(&mut self, ruling: Ruling) {
        if let Some(question) = self.question.take() {
            self.shared.push(Order::Rule(question, ruling));
        }
    }
}
