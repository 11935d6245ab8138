//! Proving to the server who we are, and with SCRAM the server to us.
//!
//! Authentication requests in, password messages out (PostgreSQL, "SASL Authentication"; RFC
//! 5929). Knows nothing of what comes before or after, and of TLS only what ties SCRAM to it.

mod saslprep;
mod scram;
#[cfg(test)]
mod tests;

use std::mem;

use bytes::BytesMut;
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS},
};

use self::scram::{Answered, Binding, Challenged, Scram};
pub use self::scram::{KeyDerivation, SaltedPassword};
use super::{
    command,
    config::{AuthMethod, AuthMethods, ChannelBinding, Config, Password, Server},
    error::{AuthenticationError, BindingError, ProtocolError, SessionError, bounded_text},
    text::text_until_nul,
};

/// What protects the bytes of a session on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing, or that they stay within a Unix socket.
    None,
    /// TLS.
    Tls {
        /// The hash of the server's certificate (RFC 5929, 4.1), if its signature has one.
        end_point: Option<Vec<u8>>,
    },
}

/// One exchange, from the first request to AuthenticationOk.
pub(super) struct Authentication {
    user: String,
    password: Option<Password>,
    /// Whether nobody but the server can overhear us.
    allow_cleartext: bool,
    protection: Protection,
    channel_binding: ChannelBinding,
    /// What the server may ask for.
    methods: AuthMethods,
    state: State,
}

enum State {
    /// Nothing asked yet.
    Waiting,
    /// The password or its hash is on its way; the server's word decides.
    PasswordSent,
    /// Our nonce is on its way.
    ScramBegun(Scram),
    /// The server said what the proof takes: it waits for its key.
    ScramChallenged {
        challenged: Challenged,
        /// Until somebody took it.
        derivation: Option<KeyDerivation>,
        iterations: u32,
    },
    /// Our proof is on its way; the server still owes its own.
    ScramAnswered(Answered),
    /// The server knows the password's verifier.
    ScramProven,
    /// Done, well or badly.
    Over,
}

impl Authentication {
    pub(super) fn new(config: &Config, server: &Server, protection: Protection) -> Self {
        Self {
            user: config.user.clone(),
            password: server.password.clone(),
            allow_cleartext: server.is_local() || protection != Protection::None,
            protection,
            channel_binding: config.channel_binding,
            methods: config.auth_methods,
            state: State::Waiting,
        }
    }

    /// Answers one authentication request; `true` once the server let us in.
    pub(super) fn handle_request(
        &mut self,
        body: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, SessionError> {
        let (code, data) = body.split_first_chunk().ok_or(MALFORMED)?;
        let request = Request::of(u32::from_be_bytes(*code));
        self.check_binding(&request)?;
        self.check_method(&request)?;
        self.state = match (mem::replace(&mut self.state, State::Over), request) {
            (State::Waiting | State::PasswordSent | State::ScramProven, Request::Ok) => {
                return Ok(true);
            }
            // Whoever cannot sign does not know the password, and is not our server.
            (
                State::ScramBegun(_) | State::ScramChallenged { .. } | State::ScramAnswered(_),
                Request::Ok,
            ) => {
                return Err(AuthenticationError::ServerUnproven.into());
            }
            (State::Waiting, Request::Cleartext) => {
                if !self.allow_cleartext {
                    return Err(AuthenticationError::CleartextRefused.into());
                }
                command::password(self.password()?, out)?;
                State::PasswordSent
            }
            (State::Waiting, Request::Md5) => {
                let salt = data.try_into().map_err(|_| MALFORMED)?;
                let hash = md5_hash(self.user.as_bytes(), self.password()?, salt);
                command::password(hash.as_bytes(), out)?;
                State::PasswordSent
            }
            (State::Waiting, Request::Sasl) => self.begin_scram(data, out)?,
            (State::ScramBegun(scram), Request::SaslContinue) => {
                let challenge = scram.handle_challenge(data);
                let (challenged, derivation) = challenge.map_err(scram_error)?;
                State::ScramChallenged {
                    challenged,
                    iterations: derivation.iterations(),
                    derivation: Some(derivation),
                }
            }
            (State::ScramAnswered(answered), Request::SaslFinal) => {
                answered.verify(data).map_err(scram_error)?;
                State::ScramProven
            }
            (_, Request::Unsupported(method, _)) => {
                let method = method.to_owned();
                return Err(AuthenticationError::MethodUnsupported { method }.into());
            }
            (
                _,
                Request::Ok
                | Request::Cleartext
                | Request::Md5
                | Request::Sasl
                | Request::SaslContinue
                | Request::SaslFinal,
            ) => return Err(ProtocolError::Unexpected { tag: TAG }.into()),
        };
        Ok(false)
    }

    /// The key that is to be derived, once: the exchange waits for [`Self::handle_key`].
    pub(super) fn take_key_derivation(&mut self) -> Option<KeyDerivation> {
        match &mut self.state {
            State::ScramChallenged { derivation, .. } => derivation.take(),
            State::Waiting
            | State::PasswordSent
            | State::ScramBegun(_)
            | State::ScramAnswered(_)
            | State::ScramProven
            | State::Over => None,
        }
    }

    /// In how many rounds the key is derived, while it is.
    pub(super) fn key_iterations(&self) -> Option<u32> {
        match self.state {
            State::ScramChallenged { iterations, .. } => Some(iterations),
            State::Waiting
            | State::PasswordSent
            | State::ScramBegun(_)
            | State::ScramAnswered(_)
            | State::ScramProven
            | State::Over => None,
        }
    }

    /// Goes on with the key that was derived.
    pub(super) fn handle_key(
        &mut self,
        key: &SaltedPassword,
        out: &mut BytesMut,
    ) -> Result<(), SessionError> {
        if !matches!(self.state, State::ScramChallenged { .. }) {
            return Ok(());
        }
        let state = mem::replace(&mut self.state, State::Over);
        if let State::ScramChallenged { challenged, .. } = state {
            let (answered, message) = challenged.prove(key);
            command::sasl(message.as_bytes(), out)?;
            self.state = State::ScramAnswered(answered);
        }
        Ok(())
    }

    /// `require_auth`: a server that asks for something else, or for nothing, may be a stranger.
    fn check_method(&self, request: &Request) -> Result<(), AuthenticationError> {
        let method = match request {
            Request::Ok if matches!(self.state, State::Waiting) => AuthMethod::None,
            Request::Cleartext => AuthMethod::Password,
            Request::Md5 => AuthMethod::Md5,
            Request::Sasl => AuthMethod::ScramSha256,
            Request::Unsupported(_, Some(method)) => *method,
            Request::Ok
            | Request::SaslContinue
            | Request::SaslFinal
            | Request::Unsupported(_, None) => return Ok(()),
        };
        if self.methods.allow(method) {
            return Ok(());
        }
        let method = method.as_str();
        Err(AuthenticationError::MethodNotAllowed { method })
    }

    /// Where binding is demanded, nothing but SCRAM will do: whoever asks for less, or for nothing,
    /// may be anybody.
    fn check_binding(&self, request: &Request) -> Result<(), AuthenticationError> {
        if self.channel_binding != ChannelBinding::Require {
            return Ok(());
        }
        let cause = match (&self.protection, request) {
            (_, Request::SaslContinue | Request::SaslFinal) => return Ok(()),
            (_, Request::Ok) if matches!(self.state, State::ScramProven) => return Ok(()),
            (Protection::None, _) => BindingError::NoTls,
            (Protection::Tls { end_point: None }, _) => BindingError::NoHash,
            (Protection::Tls { .. }, Request::Sasl) => return Ok(()),
            (Protection::Tls { .. }, _) => BindingError::NotOffered,
        };
        Err(AuthenticationError::BindingMissing(cause))
    }

    /// Picks SCRAM-SHA-256 out of what the server offers, tied to the TLS connection if it can be.
    fn begin_scram(&self, mut offered: &[u8], out: &mut BytesMut) -> Result<State, SessionError> {
        let mut mechanisms = Vec::new();
        loop {
            let (mechanism, rest) = text_until_nul(offered).ok_or(MALFORMED)?;
            if mechanism.is_empty() {
                break;
            }
            mechanisms.push(mechanism);
            offered = rest;
        }
        let offers = |mechanism: &str| mechanisms.contains(&mechanism.as_bytes());
        let (mechanism, binding) = match (&self.protection, self.channel_binding) {
            (
                Protection::Tls {
                    end_point: Some(end_point),
                },
                ChannelBinding::Prefer | ChannelBinding::Require,
            ) if offers(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, Binding::EndPoint(end_point.clone()))
            }
            (_, ChannelBinding::Require) => {
                return Err(AuthenticationError::BindingMissing(BindingError::NotOffered).into());
            }
            // "We could have, you did not offer it": the server finds out who took it away.
            (Protection::Tls { end_point: Some(_) }, ChannelBinding::Prefer) => {
                (SCRAM_SHA_256, Binding::Unoffered)
            }
            (Protection::None | Protection::Tls { .. }, _) => (SCRAM_SHA_256, Binding::Unsupported),
        };
        if !offers(mechanism) {
            let method = bounded_text(&mechanisms.join(&b", "[..]));
            return Err(AuthenticationError::MethodUnsupported { method }.into());
        }
        let scram = Scram::new(self.password()?, binding);
        command::sasl_initial(mechanism, scram.message().as_bytes(), out)?;
        Ok(State::ScramBegun(scram))
    }

    fn password(&self) -> Result<&[u8], AuthenticationError> {
        let password = self.password.as_ref().map(Password::as_bytes);
        let password = password.filter(|password| !password.is_empty());
        password.ok_or(AuthenticationError::PasswordMissing)
    }
}

/// The request's code (PostgreSQL, "Message Formats", the `Authentication` messages).
enum Request {
    Ok,
    Cleartext,
    Md5,
    Sasl,
    SaslContinue,
    SaslFinal,
    Unsupported(&'static str, Option<AuthMethod>),
}

impl Request {
    fn of(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => Self::Md5,
            10 => Self::Sasl,
            11 => Self::SaslContinue,
            12 => Self::SaslFinal,
            2 => Self::Unsupported("Kerberos V5", None),
            4 => Self::Unsupported("crypt", None),
            6 => Self::Unsupported("SCM credentials", None),
            7 | 8 => Self::Unsupported("GSSAPI", Some(AuthMethod::Gss)),
            9 => Self::Unsupported("SSPI", Some(AuthMethod::Sspi)),
            _ => Self::Unsupported("an unknown method", None),
        }
    }
}

fn scram_error(cause: impl Into<String>) -> SessionError {
    let cause = bounded_text(cause.into().as_bytes());
    AuthenticationError::Scram { cause }.into()
}

const TAG: u8 = b'R';
const MALFORMED: ProtocolError = ProtocolError::Malformed { tag: TAG };
