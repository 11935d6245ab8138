//! Proving to the server who we are, and with SCRAM the server to us.
//!
//! Authentication requests in, password messages out (PostgreSQL, "SASL Authentication"; RFC 5802,
//! RFC 7677, RFC 5929). Knows nothing of what comes before or after, and of TLS only what ties
//! SCRAM to it.

use std::mem;

use bytes::BytesMut;
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
};

use super::{
    command,
    config::{ChannelBinding, Config, Password, Server},
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
    state: State,
}

enum State {
    /// Nothing asked yet.
    Waiting,
    /// The password or its hash is on its way; the server's word decides.
    PasswordSent,
    /// Our nonce is on its way.
    ScramBegun(ScramSha256),
    /// Our proof is on its way; the server still owes its own.
    ScramAnswered(ScramSha256),
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
        self.state = match (mem::replace(&mut self.state, State::Over), request) {
            (State::Waiting | State::PasswordSent | State::ScramProven, Request::Ok) => {
                return Ok(true);
            }
            // Whoever cannot sign does not know the password, and is not our server.
            (State::ScramBegun(_) | State::ScramAnswered(_), Request::Ok) => {
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
            (State::ScramBegun(mut scram), Request::SaslContinue) => {
                scram.update(data).map_err(scram_error)?;
                command::sasl(scram.message(), out)?;
                State::ScramAnswered(scram)
            }
            (State::ScramAnswered(mut scram), Request::SaslFinal) => {
                scram.finish(data).map_err(scram_error)?;
                State::ScramProven
            }
            (_, Request::Unsupported(method)) => {
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
            ) if offers(SCRAM_SHA_256_PLUS) => (
                SCRAM_SHA_256_PLUS,
                sasl::ChannelBinding::tls_server_end_point(end_point.clone()),
            ),
            (_, ChannelBinding::Require) => {
                return Err(AuthenticationError::BindingMissing(BindingError::NotOffered).into());
            }
            // "We could have, you did not offer it": the server finds out who took it away.
            (Protection::Tls { end_point: Some(_) }, ChannelBinding::Prefer) => {
                (SCRAM_SHA_256, sasl::ChannelBinding::unrequested())
            }
            (Protection::None | Protection::Tls { .. }, _) => {
                (SCRAM_SHA_256, sasl::ChannelBinding::unsupported())
            }
        };
        if !offers(mechanism) {
            let method = bounded_text(&mechanisms.join(&b", "[..]));
            return Err(AuthenticationError::MethodUnsupported { method }.into());
        }
        let scram = ScramSha256::new(self.password()?, binding);
        command::sasl_initial(mechanism, scram.message(), out)?;
        Ok(State::ScramBegun(scram))
    }

    fn password(&self) -> Result<&[u8], AuthenticationError> {
        let password = self.password.as_ref().map(Password::as_str);
        let password = password.filter(|password| !password.is_empty());
        password
            .map(str::as_bytes)
            .ok_or(AuthenticationError::PasswordMissing)
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
    Unsupported(&'static str),
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
            2 => Self::Unsupported("Kerberos V5"),
            4 => Self::Unsupported("crypt"),
            6 => Self::Unsupported("SCM credentials"),
            7 | 8 => Self::Unsupported("GSSAPI"),
            9 => Self::Unsupported("SSPI"),
            _ => Self::Unsupported("an unknown method"),
        }
    }
}

fn scram_error(error: std::io::Error) -> SessionError {
    let cause = bounded_text(error.to_string().as_bytes());
    AuthenticationError::Scram { cause }.into()
}

const TAG: u8 = b'R';
const MALFORMED: ProtocolError = ProtocolError::Malformed { tag: TAG };

#[cfg(test)]
mod tests {
    use super::*;

    fn authentication(url: &str) -> Authentication {
        let config = Config::parse(url, &|_| None).unwrap();
        Authentication::new(&config, &config.servers[0], Protection::None)
    }

    fn request(code: u32, data: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes()[..], data].concat()
    }

    /// What the last of `requests` is answered with, the earlier ones having been fine.
    fn answer(url: &str, requests: &[Vec<u8>]) -> Result<(bool, BytesMut), SessionError> {
        let mut authentication = authentication(url);
        let mut out = BytesMut::new();
        let mut admitted = false;
        for request in requests {
            out.clear();
            admitted = authentication.handle_request(request, &mut out)?;
        }
        Ok((admitted, out))
    }

    #[test]
    fn trust_needs_no_answer() {
        let (admitted, out) = answer("postgres://u@db", &[request(0, b"")]).unwrap();
        assert!(admitted && out.is_empty());
    }

    #[test]
    fn the_password_travels_in_the_clear_only_within_this_machine() {
        let asked = [request(3, b"")];
        for url in ["postgres://u:pw@%2Ftmp", "postgres://u:pw@[::1]"] {
            let (admitted, out) = answer(url, &asked).unwrap();
            assert!(!admitted);
            assert_eq!(out, &b"p\0\0\0\x07pw\0"[..]);
        }
        let refused = AuthenticationError::CleartextRefused.into();
        assert_eq!(answer("postgres://u:pw@db", &asked), Err(refused));
    }

    #[test]
    fn md5_is_answered_with_the_salted_hash() {
        let asked = [request(5, &[0x2a, 0x3d, 0x8f, 0xe0])];
        let (_, out) = answer("postgres://md5_user:password@db", &asked).unwrap();
        assert_eq!(
            out,
            &b"p\0\0\0\x28md562af4dd09bbb41884907a838a3233294\0"[..]
        );
        let (admitted, _) = answer(
            "postgres://u:pw@db",
            &[request(5, b"salt"), request(0, b"")],
        )
        .unwrap();
        assert!(admitted);
        assert_eq!(
            answer("postgres://u:pw@db", &[request(5, b"sal")]),
            Err(MALFORMED.into())
        );
    }

    #[test]
    fn a_missing_password_and_unknown_methods_are_named() {
        for asked in [request(5, b"salt"), request(10, b"SCRAM-SHA-256\0\0")] {
            let missing = AuthenticationError::PasswordMissing.into();
            assert_eq!(answer("postgres://u@db", &[asked]), Err(missing));
        }
        for (asked, method) in [
            (request(7, b""), "GSSAPI"),
            (request(9, b""), "SSPI"),
            (request(99, b""), "an unknown method"),
            (
                request(10, b"SCRAM-SHA-256-PLUS\0OAUTH\0\0"),
                "SCRAM-SHA-256-PLUS, OAUTH",
            ),
        ] {
            let method = method.to_owned();
            let expected = AuthenticationError::MethodUnsupported { method }.into();
            assert_eq!(answer("postgres://u:pw@db", &[asked]), Err(expected));
        }
    }

    fn over_tls(url: &str, end_point: Option<&[u8]>, asked: &[u8]) -> Result<String, SessionError> {
        let config = Config::parse(url, &|_| None).unwrap();
        let end_point = end_point.map(<[u8]>::to_vec);
        let protection = Protection::Tls { end_point };
        let mut authentication = Authentication::new(&config, &config.servers[0], protection);
        let mut out = BytesMut::new();
        authentication.handle_request(asked, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn scram_is_tied_to_tls_where_both_sides_can() {
        let both = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        let plain = request(10, b"SCRAM-SHA-256\0\0");
        let disabled = "postgres://u:pw@db?channel_binding=disable";
        let required = "postgres://u:pw@db?channel_binding=require";
        for (url, end_point, asked, expected) in [
            ("postgres://u:pw@db", true, &both, "SCRAM-SHA-256-PLUS\0"),
            (
                "postgres://u:pw@db",
                true,
                &both,
                "p=tls-server-end-point,,",
            ),
            (required, true, &both, "p=tls-server-end-point,,"),
            ("postgres://u:pw@db", true, &plain, "y,,"),
            ("postgres://u:pw@db", false, &both, "n,,"),
            (disabled, true, &both, "n,,"),
        ] {
            let answer = over_tls(url, end_point.then_some(b"hash"), asked).unwrap();
            assert!(answer.contains(expected), "{url}: {answer:?}");
        }
    }

    #[test]
    fn a_demanded_binding_is_never_given_up() {
        let url = "postgres://u:pw@localhost?channel_binding=require";
        let both = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        let missing = |cause| Err(AuthenticationError::BindingMissing(cause).into());
        for asked in [
            request(0, b""),
            request(3, b""),
            request(5, b"salt"),
            request(10, b"SCRAM-SHA-256\0\0"),
        ] {
            let not_offered = missing(BindingError::NotOffered);
            assert_eq!(over_tls(url, Some(b"hash"), &asked), not_offered);
        }
        assert_eq!(over_tls(url, None, &both), missing(BindingError::NoHash));
        let no_tls = missing(BindingError::NoTls);
        assert_eq!(answer(url, &[both]).map(|_| String::new()), no_tls);
    }

    #[test]
    fn the_password_travels_in_the_clear_over_tls() {
        let sent = over_tls("postgres://u:pw@db", None, &request(3, b"")).unwrap();
        assert_eq!(sent, "p\0\0\0\x07pw\0");
    }

    /// Plays a server up to a point of the exchange; its nonce extends ours as it must.
    fn scram_up_to_our_proof() -> Authentication {
        let mut authentication = authentication("postgres://u:pw@db");
        let mut out = BytesMut::new();
        let offer = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        assert_eq!(authentication.handle_request(&offer, &mut out), Ok(false));
        let first = String::from_utf8(out.to_vec()).unwrap();
        let (_, nonce) = first.split_once("n,,n=,r=").unwrap();
        let answer = request(11, format!("r={nonce}more,s=c2FsdA==,i=1").as_bytes());
        assert_eq!(authentication.handle_request(&answer, &mut out), Ok(false));
        authentication
    }

    #[test]
    fn a_server_that_skips_its_proof_is_refused() {
        let unproven = Err(AuthenticationError::ServerUnproven.into());
        let ok = request(0, b"");
        let begun = [request(10, b"SCRAM-SHA-256\0\0"), ok.clone()];
        assert_eq!(answer("postgres://u:pw@db", &begun).map(|_| true), unproven);
        let mut answered = scram_up_to_our_proof();
        assert_eq!(answered.handle_request(&ok, &mut BytesMut::new()), unproven);
    }

    #[test]
    fn a_wrong_proof_and_a_foreign_nonce_are_refused() {
        let mut answered = scram_up_to_our_proof();
        let last = request(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let error = answered
            .handle_request(&last, &mut BytesMut::new())
            .unwrap_err();
        let SessionError::Authentication(AuthenticationError::Scram { cause }) = error else {
            panic!("{error}");
        };
        assert_eq!(cause, "SCRAM verification error");

        for data in [
            &b"r=foreign,s=c2FsdA==,i=1"[..],
            b"",
            b"\xff",
            b"r=,s=,i=",
            b"e=no",
        ] {
            let asked = [request(10, b"SCRAM-SHA-256\0\0"), request(11, data)];
            assert!(answer("postgres://u:pw@db", &asked).is_err());
        }
    }

    #[test]
    fn requests_out_of_order_are_refused() {
        let unexpected = Err(ProtocolError::Unexpected { tag: TAG }.into());
        for requests in [
            &[request(11, b"")][..],
            &[request(12, b"")],
            &[request(5, b"salt"), request(5, b"salt")],
            &[request(5, b"salt"), request(10, b"SCRAM-SHA-256\0\0")],
            &[request(10, b"SCRAM-SHA-256\0\0"), request(3, b"")],
            &[request(10, b"SCRAM-SHA-256\0\0"), request(12, b"")],
        ] {
            assert_eq!(answer("postgres://u:pw@%2Ftmp", requests), unexpected);
        }
        for body in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\x0aSCRAM",
            b"\0\0\0\x0aSCRAM-SHA-256\0",
        ] {
            assert_eq!(
                answer("postgres://u:pw@db", &[body.to_vec()]),
                Err(MALFORMED.into())
            );
        }
    }
}
