//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), with the slow part put out.
//!
//! What a password costs is the server's to say, and can be seconds: [`KeyDerivation`] is for a
//! thread of its own. Knows no message of PostgreSQL's and not what stands around the exchange.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use postgres_protocol::authentication::sasl;
use sha2::{Digest as _, Sha256};

use super::saslprep;

/// What the exchange is tied to (RFC 5802, 6).
pub(super) enum Binding {
    /// Nothing, and it could not be.
    Unsupported,
    /// Nothing, since the server offered none.
    Unoffered,
    /// The hash of the server's certificate (RFC 5929, 4.1).
    EndPoint(Vec<u8>),
}

/// An exchange that the server has not answered.
pub(super) struct Scram {
    password: Vec<u8>,
    binding: Binding,
    nonce: String,
}

/// One that waits for its key.
pub(super) struct Challenged {
    /// Our last message up to the proof.
    answer: String,
    auth_message: String,
}

/// One whose proof is sent; the server still owes its own.
pub(super) struct Answered {
    expected: Hmac<Sha256>,
}

/// The slow part: a key out of a password, made in as many rounds as the server wants.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyDerivation {
    /// As SCRAM takes it.
    password: Vec<u8>,
    salt: Vec<u8>,
    iterations: u32,
}

/// What a [`KeyDerivation`] comes to; as good as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltedPassword([u8; 32]);

impl Scram {
    pub(super) fn new(password: &[u8], binding: Binding) -> Self {
        Self {
            password: saslprep::prepare(password).into_owned(),
            binding,
            nonce: nonce(),
        }
    }

    /// What the server is sent first.
    pub(super) fn message(&self) -> String {
        format!("{}n=,r={}", self.binding.header(), self.nonce)
    }

    /// What the server's answer asks of us.
    pub(super) fn handle_challenge(
        self,
        challenge: &[u8],
    ) -> Result<(Challenged, KeyDerivation), &'static str> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| "a message is not UTF-8")?;
        let malformed = "its first message is malformed";
        let (nonce, rest) = attribute('r', challenge).ok_or(malformed)?;
        let (salt, rest) = attribute('s', rest.ok_or(malformed)?).ok_or(malformed)?;
        let (iterations, rest) = attribute('i', rest.ok_or(malformed)?).ok_or(malformed)?;
        if rest.is_some() {
            return Err("its first message has an extension, which nobody asked for");
        }
        if !nonce.starts_with(&self.nonce) {
            return Err("its nonce is not an answer to ours");
        }
        let salt = STANDARD.decode(salt).map_err(|_| "its salt is malformed")?;
        let is_number = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|&it| is_number && it > 0);
        let iterations = iterations.ok_or("its number of iterations is malformed")?;
        let answer = format!("c={},r={nonce}", STANDARD.encode(self.binding.data()));
        let auth_message = format!("n=,r={},{challenge},{answer}", self.nonce);
        let derivation = KeyDerivation {
            password: self.password,
            salt,
            iterations,
        };
        let challenged = Challenged {
            answer,
            auth_message,
        };
        Ok((challenged, derivation))
    }
}

impl Challenged {
    /// What the server is sent last: the proof that we know the password.
    pub(super) fn prove(self, SaltedPassword(key): &SaltedPassword) -> (Answered, String) {
        let client_key = hmac(key, b"Client Key").finalize().into_bytes();
        let stored_key = Sha256::digest(client_key);
        let signature = hmac(&stored_key, self.auth_message.as_bytes());
        let mut proof = client_key;
        for (byte, signed) in proof.iter_mut().zip(signature.finalize().into_bytes()) {
            *byte ^= signed;
        }
        let server_key = hmac(key, b"Server Key").finalize().into_bytes();
        let expected = hmac(&server_key, self.auth_message.as_bytes());
        let message = format!("{},p={}", self.answer, STANDARD.encode(proof));
        (Answered { expected }, message)
    }
}

impl Answered {
    /// Whether the server knows the password's verifier, by its last message.
    pub(super) fn verify(self, message: &[u8]) -> Result<(), String> {
        let message = std::str::from_utf8(message).map_err(|_| "a message is not UTF-8")?;
        if let Some((error, _)) = attribute('e', message) {
            return Err(format!("server says: {error}"));
        }
        let signature = attribute('v', message).map(|(text, _)| STANDARD.decode(text));
        let Some(Ok(signature)) = signature else {
            return Err("its last message is malformed".to_owned());
        };
        let verified = self.expected.verify_slice(&signature);
        verified.map_err(|_| "it does not know this password's verifier".to_owned())
    }
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::Unoffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn data(&self) -> Vec<u8> {
        let end_point = match self {
            Self::Unsupported | Self::Unoffered => &[][..],
            Self::EndPoint(end_point) => end_point,
        };
        [self.header().as_bytes(), end_point].concat()
    }
}

impl KeyDerivation {
    /// In how many rounds.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Works it out (RFC 5802, 2.2, "Hi"): some 0.2 us an iteration. `None` once `is_wanted`, which
    /// is asked each few milliseconds, says no.
    pub fn run(&self, is_wanted: impl Fn() -> bool) -> Option<SaltedPassword> {
        let keyed = hmac(&self.password, b"");
        let mut mac = keyed.clone();
        mac.update(&self.salt);
        mac.update(&1_u32.to_be_bytes());
        let mut round = mac.finalize().into_bytes();
        let mut key = round;
        for iteration in 1..self.iterations {
            if iteration % ITERATIONS_UNASKED == 0 && !is_wanted() {
                return None;
            }
            let mut mac = keyed.clone();
            mac.update(&round);
            round = mac.finalize().into_bytes();
            for (byte, other) in key.iter_mut().zip(round) {
                *byte ^= other;
            }
        }
        Some(SaltedPassword(key.into()))
    }
}

impl fmt::Debug for KeyDerivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KeyDerivation");
        shown
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The value of the attribute in front, which must be `name`'s, and what follows its comma.
fn attribute(name: char, text: &str) -> Option<(&str, Option<&str>)> {
    let text = text.strip_prefix(name)?.strip_prefix('=')?;
    match text.split_once(',') {
        Some((value, rest)) => Some((value, Some(rest))),
        None => Some((text, None)),
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    hmac.update(data);
    hmac
}

/// 24 printable characters of chance, which the library draws: the core has none that is fit for
/// it.
fn nonce() -> String {
    let drawn = sasl::ScramSha256::new(b"", sasl::ChannelBinding::unsupported());
    let message = String::from_utf8_lossy(drawn.message()).into_owned();
    message.trim_start_matches("n,,n=,r=").to_owned()
}

/// Some milliseconds' worth.
const ITERATIONS_UNASKED: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(password: &str, binding: Binding) -> Scram {
        Scram {
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
            ..Scram::new(password.as_bytes(), binding)
        }
    }

    const CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// RFC 7677, 3; there with a user name, which PostgreSQL's clients leave out.
    #[test]
    fn the_proofs_are_those_of_the_standard() {
        let scram = exchange("pencil", Binding::Unsupported);
        assert_eq!(scram.message(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let (mut challenged, derivation) = scram.handle_challenge(CHALLENGE).unwrap();
        challenged.auth_message = challenged.auth_message.replace("n=,", "n=user,");
        let key = derivation.run(|| true).unwrap();
        let (answered, message) = challenged.prove(&key);
        assert_eq!(
            message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(answered.verify(proof), Ok(()));
    }

    #[test]
    fn a_malformed_or_foreign_challenge_is_refused() {
        let nonce = "r=rOprNGfwEbeRWgbNEkqO1";
        for (challenge, expected) in [
            (
                "r=foreign,s=c2FsdA==,i=1".to_owned(),
                "its nonce is not an answer to ours",
            ),
            (
                format!("{nonce},s=c2FsdA==,i=0"),
                "its number of iterations is malformed",
            ),
            (
                format!("{nonce},s=c2FsdA==,i=+1"),
                "its number of iterations is malformed",
            ),
            (
                format!("{nonce},s=c2FsdA==,i=4294967296"),
                "its number of iterations is malformed",
            ),
            (format!("{nonce},s=%,i=1"), "its salt is malformed"),
            (
                format!("{nonce},s=c2FsdA=="),
                "its first message is malformed",
            ),
            (
                format!("m=x,{nonce},s=c2FsdA==,i=1"),
                "its first message is malformed",
            ),
            (
                format!("{nonce},s=c2FsdA==,i=1,x=y"),
                "its first message has an extension, which nobody asked for",
            ),
        ] {
            let scram = exchange("pw", Binding::Unsupported);
            let refused = scram.handle_challenge(challenge.as_bytes()).err();
            assert_eq!(refused, Some(expected), "{challenge}");
        }
    }

    #[test]
    fn a_derivation_that_nobody_wants_any_more_ends() {
        let derivation = KeyDerivation {
            password: b"pw".to_vec(),
            salt: b"salt".to_vec(),
            iterations: u32::MAX,
        };
        assert!(derivation.run(|| false).is_none());
        let shown = format!("{derivation:?}");
        assert_eq!(shown, "KeyDerivation { iterations: 4294967295, .. }");
    }
}
