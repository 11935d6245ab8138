//! Why a function that is to say whose a token is cannot be called, in words, and what to do.
//!
//! Reads what PostgreSQL said when it was asked to plan the call (appendix "Error Codes"). Knows no
//! token: nothing was called.

use std::fmt;

use super::{Form, FunctionName};
use crate::{escape::escaped, pg::error::ServerError};

/// What is wrong with the function itself, whatever token it is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFault {
    function: FunctionName,
    form: Form,
    error: ServerError,
}

impl FunctionFault {
    /// The fault behind what PostgreSQL answered to a call of this form; `None` where it was not able to
    /// tell, for a lock or for want of memory.
    pub fn of(function: &FunctionName, form: Form, error: ServerError) -> Option<Self> {
        // Syntax error or access rule violation, invalid schema name, feature not supported.
        let is_fault = ["42", "3F", "0A"].contains(&error.sqlstate.get(..2)?);
        is_fault.then(|| Self {
            function: function.clone(),
            form,
            error,
        })
    }

    /// What would mend it, for this role.
    pub fn remedy(&self, role: &str) -> String {
        let Self { function, form, .. } = self;
        let role = escaped(role);
        let takes = form.arguments();
        match self.error.sqlstate.as_str() {
            UNDEFINED_FUNCTION | UNDEFINED_SCHEMA => {
                format!(
                    "create {function}({takes}), as docs/tokens.md shows, or correct --auth-function"
                )
            }
            INSUFFICIENT_PRIVILEGE => format!(
                "GRANT USAGE ON SCHEMA {} and EXECUTE ON FUNCTION {function}({takes}) to the role {role}, \
                 and what the function reads, unless it is SECURITY DEFINER",
                function.schema
            ),
            _ => format!("{function}({takes}) RETURNS TABLE ({})", form.columns()),
        }
    }
}

impl Form {
    /// The types of what the function takes.
    fn arguments(self) -> &'static str {
        match self {
            Self::Three => "text, text, text",
            Self::One => "text",
        }
    }

    /// What is read of its row.
    fn columns(self) -> &'static str {
        match self {
            Self::Three => "identity text, subscribe text[], publish text[], expires timestamptz",
            Self::One => "user_id text, authenticated boolean",
        }
    }
}

/// Completes "the function ...".
impl fmt::Display for FunctionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            form,
            error,
        } = self;
        let takes = form.arguments();
        let said = escaped(&error.message);
        let sqlstate = escaped(&error.sqlstate);
        match error.sqlstate.as_str() {
            UNDEFINED_FUNCTION => write!(
                f,
                "{function} is not there: neither as {function}({}) nor as {function}({})",
                Form::Three.arguments(),
                Form::One.arguments()
            ),
            UNDEFINED_SCHEMA => write!(f, "{function} is not there: {said}"),
            INSUFFICIENT_PRIVILEGE => write!(f, "{function}({takes}) may not be called: {said}"),
            UNDEFINED_COLUMN => write!(
                f,
                "{function}({takes}) does not return ({}): {said}",
                form.columns()
            ),
            _ => write!(f, "{function}({takes}) cannot be called: {sqlstate} {said}"),
        }
    }
}

/// `undefined_function`
const UNDEFINED_FUNCTION: &str = "42883";
/// `invalid_schema_name`
const UNDEFINED_SCHEMA: &str = "3F000";
/// `insufficient_privilege`
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `undefined_column`
const UNDEFINED_COLUMN: &str = "42703";

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(form: Form, sqlstate: &str) -> Option<FunctionFault> {
        let function = FunctionName::parse("auth.bearer").unwrap();
        let error = ServerError {
            sqlstate: sqlstate.to_owned(),
            message: "it\nsaid".to_owned(),
            ..ServerError::default()
        };
        FunctionFault::of(&function, form, error)
    }

    #[test]
    fn each_fault_has_its_sentence_and_its_remedy() {
        for (form, sqlstate, text, remedy) in [
            (
                Form::One,
                "42883",
                "is not there: neither as auth.bearer(text, text, text)",
                "create",
            ),
            (
                Form::Three,
                "3F000",
                "auth.bearer is not there: it\\nsaid",
                "docs/tokens.md",
            ),
            (
                Form::Three,
                "42501",
                "(text, text, text) may not be called: it",
                "to the role ann",
            ),
            (
                Form::Three,
                "42703",
                "does not return (identity text, subscribe",
                "(identity text",
            ),
            (
                Form::One,
                "42703",
                "bearer(text) does not return (user_id text",
                "(user_id text",
            ),
            (
                Form::One,
                "42846",
                "bearer(text) cannot be called: 42846 it",
                "(user_id text",
            ),
        ] {
            let fault = fault(form, sqlstate).unwrap();
            let (told, remedies) = (fault.to_string(), fault.remedy("ann"));
            assert!(told.contains(text), "{told}");
            assert!(remedies.contains(remedy), "{remedies}");
        }
    }

    #[test]
    fn what_passes_is_no_fault_of_the_function() {
        for sqlstate in ["57014", "55P03", "53200", "XX000", "", "4"] {
            assert_eq!(fault(Form::Three, sqlstate), None, "{sqlstate}");
        }
    }
}
