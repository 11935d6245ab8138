//! The keys that tokens are signed with: read from texts, found by `kid` and algorithm.
//!
//! Reads no file: bytes in, keys out. Keys that are read again keep their ids, so that whom a key
//! vouched for is known as long as the key is there. Shows nothing of a key.

use std::{fmt, num::NonZeroU32};

use serde_json::Value;

use super::{
    JwtFault, claims,
    key::{Algorithm, Verifier},
};

/// The id of a key. It is never used again for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(NonZeroU32);

/// All keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// No two of one algorithm have the same name, or none.
    keys: Vec<Key>,
    /// The id of the next new key.
    next: NonZeroU32,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: KeyId,
    /// Its `kid`.
    name: Option<String>,
    pub(super) verifier: Verifier,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            next: NonZeroU32::MIN,
        }
    }
}

impl Keys {
    /// The most keys.
    pub const COUNT_MAX: usize = 100;

    /// Adds the one key of a file: a public key in PEM, else a secret, whose bytes are those of the
    /// file less one line end.
    pub fn add_key(&mut self, file: &[u8]) -> Result<(), KeyFault> {
        self.add(None, Verifier::of_file(file)?)
    }

    /// Adds the keys of a JWK Set (RFC 7517, 5). Those of a kind, a curve, an algorithm or a use that
    /// is not ours are passed over (the same place); returns how many they were.
    pub fn add_set(&mut self, file: &[u8]) -> Result<usize, KeyFault> {
        let set = claims::parse_object(file).ok_or(KeyFault::NoSet)?;
        let keys = set.get("keys").and_then(Value::as_array);
        let mut passed_over = 0;
        for key in keys.ok_or(KeyFault::NoSet)? {
            let key = key.as_object().ok_or(KeyFault::NoSet)?;
            match Verifier::of_jwk(key)? {
                Some((name, verifier)) => self.add(name, verifier)?,
                None => passed_over += 1,
            }
        }
        if self.keys.is_empty() {
            return Err(KeyFault::None);
        }
        Ok(passed_over)
    }

    fn add(&mut self, name: Option<String>, verifier: Verifier) -> Result<(), KeyFault> {
        let is_alike = |it: &Key| it.verifier.algorithm() == verifier.algorithm();
        let is_taken = |it: &Key| it.name == name && is_alike(it);
        if self.keys.iter().any(is_taken) {
            return Err(KeyFault::Ambiguous);
        }
        if self.keys.len() == Self::COUNT_MAX {
            return Err(KeyFault::TooMany);
        }
        let id = self.next_id();
        self.keys.push(Key { id, name, verifier });
        Ok(())
    }

    /// The key for a token: of its `kid`, else the one without a name. A token without `kid` may
    /// mean the only key of its algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, JwtFault> {
        let Some(kid) = kid else {
            let mut fitting = self
                .keys
                .iter()
                .filter(|it| it.verifier.algorithm() == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (Some(_) | None, _) => Err(JwtFault::NoKey),
            };
        };
        // The key of `--jwt-key-file` has no name, and issuers give each token a `kid`.
        let named = |it: &&Key| it.name.as_deref() == Some(kid);
        let mut candidates = self.keys.iter().filter(named).peekable();
        if candidates.peek().is_some() {
            let fitting = candidates.find(|it| it.verifier.algorithm() == algorithm);
            return fitting.ok_or(JwtFault::Algorithm);
        }
        let mut nameless = self.keys.iter().filter(|it| it.name.is_none()).peekable();
        if nameless.peek().is_none() {
            return Err(JwtFault::UnknownKey);
        }
        let fitting = nameless.find(|it| it.verifier.algorithm() == algorithm);
        fitting.ok_or(JwtFault::Algorithm)
    }

    /// Whether one of them is a secret, by which everybody who has it can sign.
    pub fn has_secret(&self) -> bool {
        self.keys.iter().any(|it| it.verifier.is_secret())
    }

    /// Whether the key of this id is there.
    pub(super) fn has(&self, id: KeyId) -> bool {
        self.keys.iter().any(|it| it.id == id)
    }

    /// Takes over keys that were read again.
    pub(super) fn replace(&mut self, read: Self) {
        let known = std::mem::take(&mut self.keys);
        for mut key in read.keys {
            let is_same = |it: &&Key| it.name == key.name && it.verifier.is_same(&key.verifier);
            let known = known.iter().find(is_same);
            key.id = match known {
                Some(known) => known.id,
                None => self.next_id(),
            };
            self.keys.push(key);
        }
    }

    fn next_id(&mut self) -> KeyId {
        let id = KeyId(self.next);
        // 100 new keys in each of 40 million files come first.
        self.next = self.next.saturating_add(1);
        id
    }
}

/// Why a text has no keys for us. Shows none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// This program was built without TLS, and with that without a crypto library.
    NotBuilt,
    /// A secret of less than 32 bytes.
    SecretShort,
    /// An RSA key of less than 2,048 bits.
    RsaShort,
    /// A private key, which nobody but the issuer should have.
    Private,
    /// A certificate, with the key inside.
    Certificate,
    /// A PEM text with no key, or with several.
    NotOne,
    /// A key of a kind or a curve that is not spoken here.
    Unsupported,
    /// A public key, not in PEM.
    Der,
    /// JSON, where one key is wanted.
    Jwks,
    /// No JWK Set, where one is wanted.
    NoSet,
    /// A set in which no key is for us.
    None,
    /// More than [`Keys::COUNT_MAX`].
    TooMany,
    /// Two keys of one algorithm with the same `kid`, or both without one.
    Ambiguous,
    /// A key that is none.
    Malformed,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBuilt => {
                "this program was built without TLS, and so without --jwt-key-file and --jwt-jwks-file"
            }
            Self::SecretShort => {
                "a secret for HS256 has at least 32 bytes (`openssl rand -base64 32` makes one)"
            }
            Self::RsaShort => "an RSA key has 2,048 to 8,192 bits",
            Self::Private => {
                "it is a private key, and the public one is wanted (`openssl pkey -pubout` makes it)"
            }
            Self::Certificate => {
                "it is a certificate, and the public key in it is wanted (`openssl x509 -pubkey \
                 -noout` shows it)"
            }
            Self::NotOne => "one public key is wanted, and there is none, or there are several",
            Self::Unsupported => "the key is none of RSA, P-256 and Ed25519",
            Self::Der => "it is a public key in DER, and PEM is wanted",
            Self::Jwks => "it is JSON: --jwt-jwks-file takes a JWK Set",
            Self::NoSet => "it is not a JWK Set, as {\"keys\":[…]}, in which no name stands twice",
            Self::None => "no key in it is for HS256, RS256, PS256, ES256 or EdDSA",
            Self::TooMany => return write!(f, "there are more than {} keys", Keys::COUNT_MAX),
            Self::Ambiguous => "two keys of one algorithm have the same kid, or none",
            Self::Malformed => "a key in it is malformed",
        })
    }
}

impl std::error::Error for KeyFault {}
