//! The cookie that brings a token.
//!
//! A browser adds it by itself, for whichever page: whether it counts is the origin's to decide, in
//! [`origins`](super::origins). Reads the cookies of a request (RFC 6265, 4.2.1) strictly where it
//! matters: of two cookies of one name a page of a neighbouring host may have set one.

use std::{error::Error, fmt, str};

use super::secret::Secret;

/// The cookie of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCookie(Box<str>);

/// Why a cookie brings no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieFault {
    /// There are two of its name.
    Repeated,
    /// Its value has characters that no cookie has.
    Malformed,
    /// Its value is over [`TokenCookie::VALUE_BYTES_MAX`], and was not read.
    TooLong,
}

/// Why no cookie can bring tokens to a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenCookieError {
    /// This cannot name a cookie.
    Name(String),
    /// There are no tokens.
    WithoutTokens,
    /// Every page is of an origin that is allowed, by `*` or by `null`: any page could use the token
    /// of whoever looks at it.
    AnyOrigin(String),
}

impl TokenCookie {
    /// The longest value, in bytes.
    pub const VALUE_BYTES_MAX: usize = 4 * 1024;

    /// The cookie of this name, in the characters of an HTTP token (RFC 6265, 4.1.1).
    pub fn new(name: &str) -> Result<Self, TokenCookieError> {
        let is_name = !name.is_empty() && name.bytes().all(is_token_byte);
        let named = is_name.then(|| Self(name.into()));
        named.ok_or_else(|| TokenCookieError::Name(name.to_owned()))
    }

    /// Its value in these `Cookie` fields. An empty one is none: so a page takes a cookie back.
    pub fn find<'a>(
        &self,
        fields: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Secret>, CookieFault> {
        let pairs = fields.flat_map(|field| field.split(|&byte| byte == b';'));
        let mut values = pairs.filter_map(|pair| self.value(pair.trim_ascii()));
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(CookieFault::Repeated);
        }
        if value.len() > Self::VALUE_BYTES_MAX {
            return Err(CookieFault::TooLong);
        }
        let quoted = value.strip_prefix(b"\"");
        let value = match quoted.and_then(|value| value.strip_suffix(b"\"")) {
            Some(value) => value,
            None => value,
        };
        if !value.iter().copied().all(is_cookie_byte) {
            return Err(CookieFault::Malformed);
        }
        let value = str::from_utf8(value).map_err(|_| CookieFault::Malformed)?;
        Ok((!value.is_empty()).then(|| Secret::new(value)))
    }

    /// The value of the pair, if it is of this name. Names differ by case.
    fn value<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let rest = pair.strip_prefix(self.0.as_bytes())?.trim_ascii_start();
        Some(rest.strip_prefix(b"=")?.trim_ascii_start())
    }
}

impl CookieFault {
    /// The fault in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Repeated => "the cookie of the token stands twice in the request",
            Self::Malformed => "the cookie of the token is malformed",
            Self::TooLong => "the cookie of the token is over 4 KiB",
        }
    }
}

impl fmt::Display for TokenCookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "token cookie {name:?}: that cannot name a cookie"),
            Self::WithoutTokens => f.write_str(
                "a token cookie, and no tokens: give --token-file, --jwt-key-file, --jwt-jwks-file \
                 or --auth-function",
            ),
            Self::AnyOrigin(origin) => write!(
                f,
                "a token cookie together with --allow-origin '{origin}': any page could use the \
                 token of whoever looks at it; name the origins"
            ),
        }
    }
}

impl Error for TokenCookieError {}

/// RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 6265, 4.1.1.
fn is_cookie_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_once_or_not_at_all() {
        use CookieFault::{Malformed, Repeated};
        let cookie = TokenCookie::new("__Host-token").unwrap();
        for (fields, expected) in [
            (&[][..], Ok(None)),
            (&["a=b; c=d"], Ok(None)),
            (&["__Host-token=abc"], Ok(Some("abc"))),
            (
                &["a=b; __Host-token=a=b.c-1_~/+; c=d"],
                Ok(Some("a=b.c-1_~/+")),
            ),
            (&["a=b;__Host-token=abc"], Ok(Some("abc"))),
            (&["__Host-token=\"abc\""], Ok(Some("abc"))),
            (&["a=b", "__Host-token=abc"], Ok(Some("abc"))),
            (&["__Host-token="], Ok(None)),
            (&["__Host-token"], Ok(None)),
            (
                &["__host-token=abc; __Host-token2=abc; x__Host-token=abc"],
                Ok(None),
            ),
            // Two of one name, by one value or in two fields, the same or not.
            (&["__Host-token=abc; __Host-token=abd"], Err(Repeated)),
            (&["__Host-token=abc; __Host-token=abc"], Err(Repeated)),
            (&["__Host-token=abc; __Host-token="], Err(Repeated)),
            (&["__Host-token=abc", "__Host-token=abd"], Err(Repeated)),
            (&["__Host-token=a b"], Err(Malformed)),
            (&["__Host-token=a,b"], Err(Malformed)),
            (&["__Host-token=\"a"], Err(Malformed)),
            (&["__Host-token=a\\b"], Err(Malformed)),
            (&["__Host-token=\u{e9}"], Err(Malformed)),
        ] {
            let found = cookie.find(fields.iter().map(|it| it.as_bytes()));
            assert_eq!(found, expected.map(|it| it.map(Secret::new)), "{fields:?}");
        }
    }

    #[test]
    fn a_value_has_at_most_4_kib() {
        let cookie = TokenCookie::new("t").unwrap();
        for (bytes, is_read) in [(4_095, true), (4_096, true), (4_097, false)] {
            let field = format!("t={}", "x".repeat(bytes));
            let found = cookie.find([field.as_bytes()].into_iter());
            let expected = if is_read {
                Ok(Some(Secret::new(&"x".repeat(bytes))))
            } else {
                Err(CookieFault::TooLong)
            };
            assert_eq!(found, expected, "{bytes}");
        }
    }

    #[test]
    fn a_name_has_the_characters_of_a_token() {
        for (name, is_name) in [
            ("token", true),
            ("__Host-alle.token", true),
            ("", false),
            ("a b", false),
            ("a=b", false),
            ("a;b", false),
            ("tök", false),
        ] {
            assert_eq!(TokenCookie::new(name).is_ok(), is_name, "{name}");
        }
    }
}
