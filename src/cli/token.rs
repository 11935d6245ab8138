//! The token that lets `alle listen` and `alle publish` into a bridge.
//!
//! It comes from a file or a variable: an argument could be seen by everybody on the machine.

use std::fs;

use alle::access::{secret::Secret, tokens::Tokens};

use super::{Failure, args::CommandName};

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

    /// The token that `command` brings, where there is one.
    pub(crate) fn read(&self, command: CommandName) -> Result<Option<Secret>, Failure> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Given(token) => return Ok(Some(token.clone())),
            Self::File(path) => path,
        };
        let failed =
            |reason: String| Failure::usage(command, format!("token file {path}: {reason}"));
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let tokens = Tokens::parse(&text).map_err(|error| failed(error.to_string()))?;
        Ok(Some(tokens.first().clone()))
    }
}

/// Fails with what to do about it where an error says that we are strangers: asking again, or
/// coming back, does not help.
pub(crate) fn check_admission(code: &str, message: &str) -> Result<(), Failure> {
    if code != "unauthorized" {
        return Ok(());
    }
    let variable = TokenSource::VARIABLE;
    let hint = format!("{message} (see --token-file, or the variable {variable})");
    Err(Failure::Run(hint))
}
