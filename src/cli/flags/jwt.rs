//! The rows of JSON Web Tokens.
//!
//! As the others, in the order of the table, which names each of them.

use std::time::Duration;

use super::{Default, Flag, ROW, Value};
use crate::cli::{command::CommandName, settings::Settings};

pub(super) const KEY_FILE: Flag = Flag {
    long: "jwt-key-file",
    value: Value::File(|it, path| it.bridge.jwt.key_file = Some(path.into())),
    help: "Require a JWT signed with the key in FILE, or a token of --token-file: a public key in \
           PEM (RS256, ES256, EdDSA), or a secret of at least 32 bytes (HS256); SIGHUP reads it again",
    ..ROW
};
pub(super) const JWKS_FILE: Flag = Flag {
    long: "jwt-jwks-file",
    value: Value::File(|it, path| it.bridge.jwt.jwks_file = Some(path.into())),
    help: "The same with the keys of the JWK Set in FILE, found by the kid of a token",
    ..ROW
};
pub(super) const ISSUER: Flag = Flag {
    long: "jwt-issuer",
    value: Value::Text("ISS", |it, issuer| {
        it.bridge.jwt.rules.issuer = Some(named("--jwt-issuer", issuer)?);
        Ok(())
    }),
    default: Default::Described("any"),
    help: "Refuse a JWT whose iss is not ISS",
    ..ROW
};
pub(super) const AUDIENCE: Flag = Flag {
    long: "jwt-audience",
    value: Value::List("AUD", Settings::set_jwt_audiences),
    default: Default::Described("a JWT has no aud"),
    help: "Refuse a JWT whose aud has none of these, comma separated or repeated",
    ..ROW
};
pub(super) const LEEWAY: Flag = Flag {
    long: "jwt-leeway",
    value: Value::Span(Duration::from_secs(60 * 60), |it, leeway| {
        it.bridge.jwt.rules.leeway = leeway;
    }),
    default: Default::Typed("30"),
    help: "Take a JWT SECONDS before its nbf and behind its exp, an hour at most: clocks differ",
    ..ROW
};
pub(super) const ALLOW_NO_EXP: Flag = Flag {
    long: "jwt-allow-no-exp",
    value: Value::Switch(|it, is_on| it.bridge.jwt.rules.allow_no_exp = is_on),
    help: "Take a JWT without exp, too: it has no end",
    ..ROW
};
pub(super) const SUBSCRIBE_CLAIM: Flag = Flag {
    long: "jwt-subscribe-claim",
    value: Value::Text("PATH", |it, path| {
        let path = named("--jwt-subscribe-claim", path)?;
        it.bridge.jwt.rules.subscribe_claim = Some(path);
        Ok(())
    }),
    default: Default::Described("--allow-subscribe alone decides"),
    help: "Let the bearer of a JWT subscribe to the channels that match the patterns of this claim, \
           within --allow-subscribe; PATH has dots between names, as in alle.subscribe",
    ..ROW
};
pub(super) const PUBLISH_CLAIM: Flag = Flag {
    long: "jwt-publish-claim",
    value: Value::Text("PATH", |it, path| {
        let path = named("--jwt-publish-claim", path)?;
        it.bridge.jwt.rules.publish_claim = Some(path);
        Ok(())
    }),
    default: Default::Described("--allow-publish alone decides"),
    help: "The same for publishing",
    ..ROW
};

pub(super) const MAX_CLIENTS: Flag = Flag {
    long: "max-clients-per-identity",
    value: Value::Count(1, |it, count| {
        it.bridge.limits.identity_clients_max = Some(count);
    }),
    default: Default::Described("any number"),
    help: "Answer 429 beyond N clients of one identity, which is the sub of a JWT",
    ..ROW
};
pub(super) const RATE: Flag = Flag {
    long: "identity-rate",
    value: Value::Count(1, |it, count| {
        // No identity sends more in a second than the library counts.
        let rate = count.try_into().unwrap_or(u32::MAX);
        it.bridge.limits.identity_rate_max = Some(rate);
    }),
    default: Default::Described("any number"),
    help: "Refuse the messages of an identity beyond N a second, by all of its clients and over HTTP",
    ..ROW
};
pub(super) const SIGNING_KEY_FILE: Flag = Flag {
    long: "sign-with",
    value: Value::File(|it, path| it.signing_key_file = Some(path.into())),
    commands: &[CommandName::Token],
    help: "Make a JWT, signed with the key in FILE: a secret (HS256), or a private key in PEM",
    ..ROW
};
pub(super) const SUB: Flag = Flag {
    long: "sub",
    value: Value::Text("NAME", |it, sub| {
        it.token_sub = Some(named("--sub", sub)?);
        Ok(())
    }),
    commands: &[CommandName::Token],
    help: "Make it NAME's",
    ..ROW
};
pub(super) const CLAIMS: Flag = Flag {
    long: "claims",
    value: Value::Text("JSON", Settings::set_token_claims),
    commands: &[CommandName::Token],
    help: "Give it these claims, too: an object",
    ..ROW
};
pub(super) const LIFETIME: Flag = Flag {
    long: "lifetime",
    value: Value::Span(Duration::from_secs(366 * 24 * 60 * 60), |it, lifetime| {
        it.token_lifetime = lifetime;
    }),
    default: Default::Typed("1h"),
    commands: &[CommandName::Token],
    help: "Let it end after SECONDS, unless the claims have an exp",
    ..ROW
};

/// Never empty: a variable that was left unfilled must not lift a rule.
fn named(option: &str, name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err(format!("{option} takes a name, not '{name}'"));
    }
    Ok(name.to_owned())
}
