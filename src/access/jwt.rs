//! JSON Web Tokens (RFC 7519), signed (RFC 7515): who presents one, until when, and what it says.
//!
//! A token is read strictly and once: three parts, each base64url without padding; the header's
//! `alg` has to be that of the key, which the header's `kid` may name and nothing else of it; then
//! the signature; and only then a word of what it says. The clock is an argument, and so are the
//! texts of the keys: that, and how strictly, is why a token is not left to jsonwebtoken as a whole
//! (docs/dependencies.md). Refuses to know channels.

mod claims;
#[cfg_attr(not(feature = "tls"), path = "jwt/absent.rs")]
mod key;
mod keys;
#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

#[cfg(feature = "tls")]
pub use self::key::secret_in;
pub use self::keys::{KeyFault, KeyId, Keys};
use super::{
    Permissions,
    globs::Globs,
    templates::{TemplateError, Templates},
};

/// What a token has to say, and which of its claims are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtRules {
    /// A token without `exp` is taken, and has no end.
    pub allow_no_exp: bool,
    /// Clocks differ: a token counts for so long before `nbf` and behind `exp`.
    pub leeway: Duration,
    /// What `iss` has to be; `None`: anything.
    pub issuer: Option<String>,
    /// One of these has to be in `aud`. Empty: there may be no `aud`, since it would name others.
    pub audiences: Vec<String>,
    /// The claim that has the patterns of the channels to subscribe to: the path to it, with dots between
    /// the names, or a URI, which has a colon and is one name. Where it is missing from a token, there
    /// are none. `None`: the common permissions alone decide.
    pub subscribe_claim: Option<String>,
    /// The same of the channels to publish to.
    pub publish_claim: Option<String>,
}

impl Default for JwtRules {
    fn default() -> Self {
        Self {
            allow_no_exp: false,
            leeway: Duration::from_secs(30),
            issuer: None,
            audiences: Vec::new(),
            subscribe_claim: None,
            publish_claim: None,
        }
    }
}

/// The keys, the rules, and what the common permissions have for each user.
#[derive(Clone, Debug)]
pub struct Jwt {
    keys: Keys,
    rules: JwtRules,
    subscribe: Templates,
    publish: Templates,
}

/// What a sound token amounts to: equal for all tokens that say the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct JwtGrant {
    identity: Option<Box<str>>,
    key: KeyId,
    /// Beside what everybody may: the templates with the claims in them.
    own: Permissions,
    /// What the claims leave of all that.
    claimed: Permissions,
}

impl JwtGrant {
    /// Who it is, by `sub`.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    pub(super) fn may_subscribe(&self, everybody: &Globs, channel: &str) -> bool {
        (everybody.matches(channel) || self.own.subscribe.matches(channel))
            && self.claimed.subscribe.matches(channel)
    }

    pub(super) fn may_publish(&self, everybody: &Globs, channel: &str) -> bool {
        (everybody.matches(channel) || self.own.publish.matches(channel))
            && self.claimed.publish.matches(channel)
    }

    pub(super) fn subscribe_steps(&self) -> usize {
        self.own.subscribe.steps() + self.claimed.subscribe.steps()
    }
}

impl Jwt {
    /// The longest token, in bytes.
    pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

    /// Takes the templates out of the permissions of everybody: they are each user's own.
    pub fn new(
        keys: Keys,
        rules: JwtRules,
        everybody: &mut Permissions,
    ) -> Result<Self, TemplateError> {
        Ok(Self {
            keys,
            rules,
            subscribe: Templates::take(&mut everybody.subscribe)?,
            publish: Templates::take(&mut everybody.publish)?,
        })
    }

    /// Takes over the keys of files read again: known ones keep their ids.
    pub(super) fn replace_keys(&mut self, read: Keys) {
        self.keys.replace(read);
    }

    /// Whether the key that vouched for the grant still does.
    pub(super) fn is_current(&self, grant: &JwtGrant) -> bool {
        self.keys.has(grant.key)
    }

    /// Whether nothing in the configuration narrows what a valid token may do, by subscribing and by
    /// publishing.
    pub fn is_unbounded(rules: &JwtRules, everybody: &Permissions) -> (bool, bool) {
        (
            rules.subscribe_claim.is_none() && everybody.subscribe.is_everything(),
            rules.publish_claim.is_none() && everybody.publish.is_everything(),
        )
    }

    /// What the token grants, and the end of it as the time since 1970, as `now` is.
    pub(super) fn verify(
        &self,
        token: &str,
        now: Duration,
    ) -> Result<(JwtGrant, Option<Duration>), JwtFault> {
        if token.len() > Self::TOKEN_BYTES_MAX {
            return Err(JwtFault::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtFault::Malformed)?;
        if payload.contains('.') {
            return Err(JwtFault::Malformed);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header = decode(header).ok_or(JwtFault::Malformed)?;
        let signature = decode(signature).ok_or(JwtFault::Malformed)?;
        let header = claims::parse_object(&header).ok_or(JwtFault::Malformed)?;
        // What must be understood is not (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return Err(JwtFault::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.ok_or(JwtFault::Malformed)?;
        let algorithm = key::algorithm_named(algorithm).ok_or(JwtFault::Algorithm)?;
        let kid = match header.get("kid") {
            Some(kid) => Some(kid.as_str().ok_or(JwtFault::Malformed)?),
            None => None,
        };
        let key = self.keys.find(kid, algorithm)?;
        if !key.verifier.verify(signed.as_bytes(), signature) {
            return Err(JwtFault::Signature);
        }
        let payload = decode(payload).ok_or(JwtFault::Malformed)?;
        let claims = claims::parse_object(&payload).ok_or(JwtFault::Malformed)?;
        let end = self.check(&claims, now)?;
        Ok((self.grant(&claims, key.id), end))
    }

    /// Checks the claims that every token is judged by; the end of the token.
    fn check(
        &self,
        claims: &Map<String, Value>,
        now: Duration,
    ) -> Result<Option<Duration>, JwtFault> {
        let JwtRules { leeway, .. } = self.rules;
        let moment = |name| match claims.get(name) {
            Some(value) => claims::moment(value).map(Some).ok_or(JwtFault::Malformed),
            None => Ok(None),
        };
        let end = moment("exp")?.map(|it| it.saturating_add(leeway));
        if end.is_none() && !self.rules.allow_no_exp {
            return Err(JwtFault::NoEnd);
        }
        if end.is_some_and(|end| end <= now) {
            return Err(JwtFault::Expired);
        }
        if moment("nbf")?.is_some_and(|it| it > now.saturating_add(leeway)) {
            return Err(JwtFault::Early);
        }
        if let Some(issuer) = &self.rules.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(JwtFault::Issuer);
        }
        let audiences = &self.rules.audiences;
        match claims.get("aud") {
            None if audiences.is_empty() => {}
            Some(value) if claims::names_one_of(value, audiences) => {}
            Some(_) | None => return Err(JwtFault::Audience),
        }
        Ok(end)
    }

    fn grant(&self, claims: &Map<String, Value>, key: KeyId) -> JwtGrant {
        let fill = |templates: &Templates| templates.fill(|name| claims::text(claims, name));
        let claimed = |path: &Option<String>| match path {
            Some(path) => claims::globs(claims, path),
            None => Globs::default(),
        };
        JwtGrant {
            identity: claims.get("sub").and_then(Value::as_str).map(Into::into),
            key,
            own: Permissions {
                subscribe: fill(&self.subscribe),
                publish: fill(&self.publish),
            },
            claimed: Permissions {
                subscribe: claimed(&self.rules.subscribe_claim),
                publish: claimed(&self.rules.publish_claim),
            },
        }
    }
}

/// Why a JWT lets nobody in. Nothing of the token is in it: it goes into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtFault {
    /// It is over [`Jwt::TOKEN_BYTES_MAX`], and was not read.
    TooLong,
    /// A part is not base64url or not an object of JSON in which each name stands once, or a claim is
    /// of the wrong type.
    Malformed,
    /// Its `alg` is not spoken here, or is not that of the key.
    Algorithm,
    /// Its header has a `crit`.
    Critical,
    /// No key has its `kid`.
    UnknownKey,
    /// It has no `kid`, and several keys could be meant, or none.
    NoKey,
    /// Its signature is not of the key.
    Signature,
    /// It has no `exp`.
    NoEnd,
    /// Its `exp` is over.
    Expired,
    /// Its `nbf` is still to come.
    Early,
    /// Its `iss` is another one.
    Issuer,
    /// Its `aud` names others.
    Audience,
}

impl JwtFault {
    /// Whether a key of ours vouches for the token all the same: nobody guessed it.
    pub fn is_signed(self) -> bool {
        match self {
            Self::TooLong
            | Self::Malformed
            | Self::Algorithm
            | Self::Critical
            | Self::UnknownKey
            | Self::NoKey
            | Self::Signature => false,
            Self::NoEnd | Self::Expired | Self::Early | Self::Issuer | Self::Audience => true,
        }
    }

    /// The fault in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::TooLong => "the JWT is over 4 KiB",
            Self::Malformed => "the JWT is malformed",
            Self::Algorithm => "the algorithm of the JWT is not that of its key",
            Self::Critical => "the JWT has critical header parameters, and none is understood",
            Self::UnknownKey => "no key has the kid of the JWT",
            Self::NoKey => "the JWT has no kid, and not exactly one key has its algorithm",
            Self::Signature => "the signature of the JWT is wrong",
            Self::NoEnd => "the JWT has no exp (--jwt-allow-no-exp)",
            Self::Expired => "the JWT has expired",
            Self::Early => "the nbf of the JWT is still to come",
            Self::Issuer => "the iss of the JWT is another one (--jwt-issuer)",
            Self::Audience => "the aud of the JWT does not name this bridge (--jwt-audience)",
        }
    }
}
