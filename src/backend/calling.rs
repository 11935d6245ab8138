//! The session on which the function is asked about tokens, where there is one.
//!
//! It is opened and kept alive as the two others; what it is asked does not outlive it, and whoever
//! asks is told by [`Event::Down`]. At its start, with each heartbeat, and when a call failed, it is
//! looked whether the function can be called at all. Refuses to know what an answer is good for.

use super::{Backend, Event, role::Role, ticket::Operation};
use crate::pg::{
    function::{Bearer, Form, FunctionFault, FunctionName, Question},
    session::{Answer, ServerError},
};

/// The function, and what is known of it on the session that there is.
#[derive(Debug, Default)]
pub(super) struct Calling {
    /// `None`: nobody is asked.
    function: Option<FunctionName>,
    /// Whether it can be called; `None` until that is known.
    verdict: Option<Result<(), FunctionFault>>,
    /// It is being looked.
    is_checking: bool,
}

/// What a call of the function came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// It said whose the token is; `None`: nobody's.
    Answered(Option<Bearer>),
    /// It is of another form than it was: it is to be asked again.
    Again,
    /// It did not get a lock, by this SQLSTATE: where it waited for it, it is to be asked again.
    Locked(String),
    /// It failed with this SQLSTATE.
    Failed(String),
}

impl Backend {
    /// Asks this function about tokens; before anything else happens.
    #[must_use]
    pub fn with_function(mut self, function: Option<FunctionName>) -> Self {
        self.calling.function = function;
        self
    }

    /// Whether the function can be called, and if not, why; `None` while nobody knows.
    pub fn function_verdict(&self) -> Option<Result<(), &FunctionFault>> {
        self.calling
            .verdict
            .as_ref()
            .map(|it| it.as_ref().map(|_| ()))
    }

    /// The function, where there is one.
    pub fn function(&self) -> Option<&FunctionName> {
        self.calling.function.as_ref()
    }

    /// Whether a session is wanted: without a function, none is for calls.
    pub(super) fn is_wanted(&self, role: Role) -> bool {
        role != Role::Authorizing || self.function().is_some()
    }

    /// Asks the function, on the session that [`is up`](Self::is_up). [`Event::Called`] has the answer
    /// of this number.
    pub fn call(&mut self, number: u32, question: &Question<'_>) {
        debug_assert!(self.is_up(Role::Authorizing), "a session that takes calls");
        let connection = &mut self.connections[Role::Authorizing.index()];
        let function = &self.calling.function;
        if let (Some(session), Some(function)) = (connection.ready_session_mut(), function) {
            session.call(function, question, Operation::Call(number).ticket());
        }
    }

    /// The session for calls takes requests, and nothing is known on it yet.
    pub(super) fn prepare_calls(&mut self) {
        self.calling.verdict = None;
        self.calling.is_checking = false;
        let session = self.connections[Role::Authorizing.index()].ready_session_mut();
        if let Some(session) = session {
            session.prepare_calls(Operation::Heartbeat.ticket());
        }
    }

    /// Looks whether the function can be called, unless that is being done.
    pub(super) fn check_function(&mut self) {
        if !self.calling.is_checking {
            self.check_form(Form::Three);
        }
    }

    fn check_form(&mut self, form: Form) {
        let session = self.connections[Role::Authorizing.index()].ready_session_mut();
        if let (Some(session), Some(function)) = (session, &self.calling.function) {
            session.check_call(function, form, Operation::Check(form).ticket());
            self.calling.is_checking = true;
        }
    }

    pub(super) fn checked(
        &mut self,
        form: Form,
        result: Result<(), ServerError>,
    ) -> Option<Event<'static>> {
        self.calling.is_checking = false;
        let error = match result {
            Ok(()) => {
                self.connection_mut(Role::Authorizing)
                    .session_mut()?
                    .call_as(form);
                return self.note_verdict(Ok(()));
            }
            Err(error) => error,
        };
        if error.sqlstate == UNDEFINED_FUNCTION && form == Form::Three {
            self.check_form(Form::One);
            return None;
        }
        let fault = FunctionFault::of(self.calling.function.as_ref()?, form, error)?;
        self.note_verdict(Err(fault))
    }

    fn note_verdict(&mut self, verdict: Result<(), FunctionFault>) -> Option<Event<'static>> {
        let before = self.calling.verdict.replace(verdict.clone());
        if before.as_ref() == Some(&verdict) {
            return None;
        }
        match &verdict {
            Err(fault) => {
                let remedy = fault.remedy(&self.config(Role::Authorizing).user);
                tracing::error!(
                    target: "alle::postgres",
                    "nobody can say whose a token is: the function {fault}; {remedy}"
                );
            }
            Ok(()) if before.is_some() => {
                tracing::info!(
                    target: "alle::postgres",
                    "the function that says whose a token is can be called again"
                );
            }
            Ok(()) => {}
        }
        Some(Event::Function(verdict))
    }

    pub(super) fn called(
        &mut self,
        number: u32,
        result: Result<(), ServerError>,
    ) -> Option<Event<'static>> {
        let session = self.connection_mut(Role::Authorizing).session_mut()?;
        let answer = session.take_answer();
        let is_sound = matches!(self.calling.verdict, Some(Ok(())));
        // A call that comes to something else than the last look is worth another one.
        if result.is_ok() != is_sound {
            self.check_function();
        }
        let called = match (result, answer) {
            (Ok(()), Answer::Nobody) => Called::Answered(None),
            (Ok(()), Answer::Bearer(bearer)) => Called::Answered(Some(bearer)),
            (Ok(()), Answer::OtherForm) => Called::Again,
            (Ok(()), Answer::Malformed) => Called::Failed(CARDINALITY_VIOLATION.to_owned()),
            (Err(error), _) if error.sqlstate == LOCK_NOT_AVAILABLE => {
                Called::Locked(error.sqlstate)
            }
            (Err(error), _) => Called::Failed(error.sqlstate),
        };
        Some(Event::Called(number, called))
    }
}

/// `undefined_function`
const UNDEFINED_FUNCTION: &str = "42883";
/// `lock_not_available`: by `lock_timeout`, mostly.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// `cardinality_violation`: one row of these columns was asked for.
const CARDINALITY_VIOLATION: &str = "21000";
