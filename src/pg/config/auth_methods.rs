//! Which ways to prove who we are may be asked for: `require_auth`.
//!
//! Knows the methods' names; which one a server asks for is the session's to compare.

use super::{error::ConfigError, settings::Settings};

/// A way in which a server may ask who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The password in clear text.
    Password,
    /// Its MD5 hash.
    Md5,
    /// GSSAPI.
    Gss,
    /// SSPI.
    Sspi,
    /// SCRAM-SHA-256, bound to a channel or not.
    ScramSha256,
    /// A token.
    OAuth,
    /// No question at all.
    None,
}

/// Those that are taken; by default all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMethods {
    /// By [`AuthMethod`].
    allowed: [bool; METHODS.len()],
}

impl Default for AuthMethods {
    fn default() -> Self {
        Self {
            allowed: [true; METHODS.len()],
        }
    }
}

impl AuthMethods {
    /// Whether a server may ask so.
    pub fn allow(self, method: AuthMethod) -> bool {
        self.allowed[method as usize]
    }

    /// A list of methods, all of which are meant or, each behind a `!`, all others.
    pub(super) fn read(settings: &mut Settings) -> Result<Self, ConfigError> {
        let Some(text) = settings.take("require_auth") else {
            return Ok(Self::default());
        };
        let is_negated = text.starts_with('!');
        let mut allowed = [is_negated; METHODS.len()];
        for item in text.split(',') {
            let name = item.strip_prefix('!');
            let known = METHODS
                .iter()
                .find(|(_, known)| *known == name.unwrap_or(item));
            match known {
                Some((method, _))
                    if name.is_some() == is_negated && allowed[*method as usize] == is_negated =>
                {
                    allowed[*method as usize] = !is_negated;
                }
                Some(_) | None => {
                    let name = "require_auth";
                    return Err(ConfigError::Value { name, value: text });
                }
            }
        }
        Ok(Self { allowed })
    }
}

impl AuthMethod {
    /// The name that `require_auth` has for it.
    pub fn as_str(self) -> &'static str {
        METHODS[self as usize].1
    }
}

const METHODS: [(AuthMethod, &str); 7] = [
    (AuthMethod::Password, "password"),
    (AuthMethod::Md5, "md5"),
    (AuthMethod::Gss, "gss"),
    (AuthMethod::Sspi, "sspi"),
    (AuthMethod::ScramSha256, "scram-sha-256"),
    (AuthMethod::OAuth, "oauth"),
    (AuthMethod::None, "none"),
];
