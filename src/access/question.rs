//! A question about a client to somebody else, and its answer.
//!
//! Plain values. Each question has a name of its own, so that an answer that comes too late is never
//! taken for that to the next question.

use super::{
    intent::{Decision, Intent},
    visitor::{Verdict, Visitor},
};
use crate::id::ClientId;

/// The name of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuestionId {
    /// Whom it is about.
    pub client: ClientId,
    /// Which of all questions.
    pub number: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this client come in?
    Visit(Visitor),
    /// May a client that is in do this?
    Do(Intent),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// To [`Question::Visit`].
    Visit(Verdict),
    /// To [`Question::Do`].
    Do(Decision),
}
