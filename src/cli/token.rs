//! The token that lets `alle listen` and `alle publish` into a bridge.
//!
//! It comes from a file or a variable: an argument could be seen by everybody on the machine.

use std::fs;

use alle::access::{secret::Secret, tokens::Tokens};

use super::Failure;

/// Where the token is.
#[derive(Debug)]
pub(crate) enum TokenSource {
    /// There is none.
    None,
    /// The first of a file of this path, in the form of the bridge's own.
    File(String),
    /// It is known.
    Given(Secret),
}

impl TokenSource {
    pub(crate) const VARIABLE: &str = "ALLE_TOKEN";

    /// The value of the variable, if a header can carry it.
    pub(crate) fn given(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self::Given(Secret::new(text)))
        } else {
            let variable = Self::VARIABLE;
            Err(format!("the variable {variable} is not printable ASCII"))
        }
    }

    /// The token, where there is one.
    pub(crate) fn read(&self) -> Result<Option<Secret>, Failure> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Given(token) => return Ok(Some(token.clone())),
            Self::File(path) => path,
        };
        let failed = |reason: String| Failure::usage(None, format!("token file {path}: {reason}"));
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let tokens = Tokens::parse(&text).map_err(|error| failed(error.to_string()))?;
        Ok(Some(tokens.first().clone()))
    }
}

/// The words of an error, and behind those for a stranger what to do about it.
pub(crate) fn with_hint_for(code: &str, message: String) -> String {
    if code == UNAUTHORIZED {
        let variable = TokenSource::VARIABLE;
        return format!("{message} (see --token-file, or the variable {variable})");
    }
    message
}

/// The code of an error for who has not said who it is.
pub(crate) const UNAUTHORIZED: &str = "unauthorized";
