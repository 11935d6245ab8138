//! The token that lets `alle listen` and `alle publish` into a bridge.
//!
//! It comes from a file or a variable: an argument could be seen by everybody on the machine.

use std::fs;

use alle::internals::access::{jwt::Jwt, secret::Secret, tokens::Tokens};

use super::{command::CommandName, failure::Failure};

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
    /// The token that `command` brings, where there is one.
    pub(crate) fn read(&self, command: CommandName) -> Result<Option<Secret>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Given(token) => Ok(Some(token.clone())),
            Self::File(path) => first(path)
                .map(Some)
                .map_err(|reason| Failure::usage(command, reason)),
        }
    }

    /// The token for a further connection, where it may be another one by now: a pipe says what it
    /// says once.
    pub(crate) fn read_again(&self) -> Result<Option<Secret>, String> {
        match self {
            Self::None | Self::Given(_) => Ok(None),
            Self::File(path) if fs::metadata(path).is_ok_and(|it| !it.is_file()) => Ok(None),
            Self::File(path) => first(path).map(Some),
        }
    }
}

/// The first token of a file, or why there is none.
fn first(path: &str) -> Result<Secret, String> {
    let failed = |reason: String| format!("token file {path}: {reason}");
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let tokens = Tokens::parse_within(&text, Jwt::TOKEN_BYTES_MAX)
        .map_err(|error| failed(error.to_string()))?;
    Ok(tokens.first().clone())
}

/// Fails with what to do about it where an error says that the bridge does not know us: asking
/// again, or coming back, does not help.
pub(crate) fn check_admission(code: &str, message: &str) -> Result<(), Failure> {
    if code != "unauthorized" {
        return Ok(());
    }
    let hint = format!("{message} (see --token-file, or the variable {TOKEN_VARIABLE})");
    Err(Failure::Run(hint))
}

/// The variable that holds the token itself.
pub(crate) const TOKEN_VARIABLE: &str = "ALLE_TOKEN";
