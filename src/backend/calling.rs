//! The session on which the function is asked about tokens, where there is one.
//!
//! It is opened and kept alive as the two others; what it is asked does not outlive it, and whoever
//! asks is told by [`Event::Down`]. Refuses to know what an answer is good for.

use super::{Backend, Event, role::Role, ticket::Operation};
use crate::pg::{
    function::{Bearer, FunctionName, Question},
    session::{Answer, ServerError},
};

/// What a call of the function came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// It said whose the token is; `None`: nobody's.
    Answered(Option<Bearer>),
    /// It took too long, or is of another form than it was: it is to be asked again.
    Again,
    /// It failed with this SQLSTATE.
    Failed(String),
}

impl Backend {
    /// Asks this function about tokens; before anything else happens.
    #[must_use]
    pub fn with_function(mut self, function: Option<FunctionName>) -> Self {
        self.function = function;
        self
    }

    /// Whether a session is wanted: without a function, none is for calls.
    pub(super) fn is_wanted(&self, role: Role) -> bool {
        role != Role::Authorizing || self.function.is_some()
    }

    /// Asks the function, on the session that [`is up`](Self::is_up). [`Event::Called`] has the answer
    /// of this number.
    pub fn call(&mut self, number: u32, question: &Question<'_>) {
        debug_assert!(self.is_up(Role::Authorizing), "a session that takes calls");
        let connection = &mut self.connections[Role::Authorizing.index()];
        if let (Some(session), Some(function)) = (connection.ready_session_mut(), &self.function) {
            session.call(function, question, Operation::Call(number).ticket());
        }
    }

    /// The session for calls takes requests.
    pub(super) fn prepare_calls(&mut self) {
        let session = self.connections[Role::Authorizing.index()].ready_session_mut();
        if let Some(session) = session {
            session.prepare_calls(Operation::Heartbeat.ticket());
        }
    }

    pub(super) fn called(
        &mut self,
        number: u32,
        result: Result<(), ServerError>,
    ) -> Option<Event<'static>> {
        let session = self.connection_mut(Role::Authorizing).session_mut()?;
        let answer = session.take_answer();
        let called = match (result, answer) {
            (Ok(()), Answer::Nobody) => Called::Answered(None),
            (Ok(()), Answer::Bearer(bearer)) => Called::Answered(Some(bearer)),
            (Ok(()), Answer::OtherForm) => Called::Again,
            (Ok(()), Answer::Malformed) => Called::Failed(CARDINALITY_VIOLATION.to_owned()),
            (Err(error), _) if error.sqlstate == QUERY_CANCELED => Called::Again,
            (Err(error), _) => Called::Failed(error.sqlstate),
        };
        Some(Event::Called(number, called))
    }
}

/// `query_canceled`: by `statement_timeout`, mostly.
const QUERY_CANCELED: &str = "57014";
/// `cardinality_violation`: one row of these columns was asked for.
const CARDINALITY_VIOLATION: &str = "21000";
