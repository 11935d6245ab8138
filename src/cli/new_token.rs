//! `alle token`: a token to try a bridge with, random or signed.
//!
//! Owns the claims that follow from options. Knows neither a bridge nor a file of tokens.

#![expect(
    clippy::disallowed_methods,
    reason = "a command that does nothing else reads the clock, and asks for random bytes"
)]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{command::CommandName, failure::Failure, output::Output, sign};

/// `alle token`.
#[derive(Debug)]
pub(crate) struct TokenOptions {
    /// Whose JWT it is.
    pub(crate) sub: Option<String>,
    /// More claims, as an object.
    pub(crate) claims: Map<String, Value>,
    /// How long the JWT is good for.
    pub(crate) lifetime: Duration,
    /// The key that signs it; `None`: a random token.
    pub(crate) key_file: Option<PathBuf>,
}

/// Prints the token alone, so that a script can take it.
pub(crate) fn run(options: TokenOptions, output: &mut Output) -> Result<(), Failure> {
    let token = match &options.key_file {
        None if options.sub.is_some() || !options.claims.is_empty() => {
            let reason = "claims are signed with a key: give --sign-with";
            return Err(Failure::usage(CommandName::Token, reason));
        }
        None => random()?,
        Some(path) => {
            let failed = |reason: String| {
                Failure::usage(
                    CommandName::Token,
                    format!("key file {}: {reason}", path.display()),
                )
            };
            let key = fs::read(path).map_err(|error| failed(error.to_string()))?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let claims = claims(&options, now.unwrap_or_default());
            sign::sign(&key, &claims).map_err(failed)?
        }
    };
    output.line(&token);
    Ok(())
}

/// What was given, with an end unless that was given, too.
fn claims(options: &TokenOptions, now: Duration) -> Map<String, Value> {
    let mut claims = options.claims.clone();
    if let Some(sub) = &options.sub {
        claims.insert("sub".to_owned(), sub.as_str().into());
    }
    let end = now.saturating_add(options.lifetime).as_secs();
    claims.entry("iat").or_insert_with(|| now.as_secs().into());
    claims.entry("exp").or_insert_with(|| end.into());
    claims
}

/// 192 random bits: a token of a file, as nobody guesses it.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Run(format!("there are no random bytes: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_that_are_given_win() {
        let given = json!({"exp": 7, "can": ["a"]});
        let options = TokenOptions {
            sub: Some("ann".to_owned()),
            claims: given.as_object().unwrap().clone(),
            lifetime: Duration::from_secs(60),
            key_file: None,
        };
        let made = Value::Object(claims(&options, Duration::from_secs(100)));
        assert_eq!(
            made,
            json!({"sub": "ann", "exp": 7, "iat": 100, "can": ["a"]})
        );
        let options = TokenOptions {
            claims: Map::new(),
            ..options
        };
        let made = Value::Object(claims(&options, Duration::from_secs(100)));
        assert_eq!(made, json!({"sub": "ann", "exp": 160, "iat": 100}));
    }

    #[test]
    fn a_random_token_is_one_word_and_not_the_next_one() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
        assert!(one.bytes().all(|it| it.is_ascii_graphic() && it != b'#'));
    }
}
