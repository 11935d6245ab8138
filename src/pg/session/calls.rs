//! Questions to a function of the database, on a session that does nothing else.
//!
//! Owns the form in which the function was found, whether its statement is prepared, and the row of
//! the call that is being answered. Knows neither who asks nor what an answer is good for.

use super::{Kind, Session, Ticket};
use crate::pg::{
    command,
    function::{self, Bearer, Form, FunctionName, Question, Row},
};

/// What a session knows of the function.
#[derive(Default)]
pub(super) struct Calls {
    /// The statement of the present form is prepared, and was good the last time.
    is_prepared: bool,
    /// The function takes the token alone, as far as is known.
    takes_one: bool,
    /// Of the call that is being answered: the first row.
    row: Option<Row>,
    /// How many there were.
    rows: usize,
    /// What the call came to that was answered last.
    answer: Answer,
}

/// What a call came to that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// No row: the token is nobody's.
    #[default]
    Nobody,
    /// One row.
    Bearer(Bearer),
    /// Several rows, or one with other values than were asked for.
    Malformed,
    /// There is no function of this form: it is to be asked again, in the other one.
    OtherForm,
}

impl Calls {
    fn form(&self) -> Form {
        if self.takes_one {
            Form::One
        } else {
            Form::Three
        }
    }

    /// A DataRow of the call.
    pub(super) fn handle_row(&mut self, row: Row) {
        self.rows += 1;
        self.row.get_or_insert(row);
    }

    /// The call of this form is over; whether its failure, if it is one, is only that of the form.
    pub(super) fn handle_completed(&mut self, form: Form, sqlstate: Option<&str>) -> bool {
        let row = self.row.take();
        let rows = std::mem::take(&mut self.rows);
        // A statement of old may name what is no more.
        self.is_prepared = sqlstate.is_none() && form == self.form();
        if sqlstate == Some(UNDEFINED_FUNCTION) {
            self.takes_one = form == Form::Three;
            self.answer = Answer::OtherForm;
            return self.takes_one;
        }
        self.answer = match row {
            None => Answer::Nobody,
            Some(_) if rows > 1 => Answer::Malformed,
            Some(row) => match function::bearer(form, &row) {
                Ok(None) => Answer::Nobody,
                Ok(Some(bearer)) => Answer::Bearer(bearer),
                Err(()) => Answer::Malformed,
            },
        };
        false
    }
}

impl Session {
    /// Makes the session one for calls: it can change nothing, and no call takes long.
    pub fn prepare_calls(&mut self, ticket: Ticket) {
        self.request(Kind::Heartbeat, ticket, command::set_up_calls);
    }

    /// Asks whether the function can be called in this form, which calls it not.
    pub fn check_call(&mut self, function: &FunctionName, form: Form, ticket: Ticket) {
        self.request(Kind::Check, ticket, |out| {
            command::check_call(function, form, out);
        });
    }

    /// The function is called in this form from now on.
    pub fn call_as(&mut self, form: Form) {
        let takes_one = form == Form::One;
        self.calls.is_prepared &= takes_one == self.calls.takes_one;
        self.calls.takes_one = takes_one;
    }

    /// Asks the function whose a token is. [`Self::take_answer`] has the answer as soon as the request
    /// is completed.
    pub fn call(&mut self, function: &FunctionName, question: &Question<'_>, ticket: Ticket) {
        let (form, prepares) = (self.calls.form(), !self.calls.is_prepared);
        self.request(Kind::Call(form), ticket, |out| {
            command::call(function, form, question, prepares, out);
        });
    }

    /// What the call came to that was completed last.
    pub fn take_answer(&mut self) -> Answer {
        std::mem::take(&mut self.calls.answer)
    }
}

/// `undefined_function`.
const UNDEFINED_FUNCTION: &str = "42883";
