//! Why there is no TLS, in words for a person.
//!
//! Tells the server's certificate from ours, and names what it is that cannot be used; knows no
//! socket and decides nothing.

use std::{error::Error, fmt, io, sync::Arc};

use rustls::{AlertDescription, CertificateError, OtherError, PeerMisbehaved};

use super::certificate::RSASSA_PSS;

/// Why there is no TLS.
#[derive(Debug)]
pub(in crate::reactor) enum TlsError {
    /// The server has none.
    Refused,
    /// There is no host to speak of.
    Name,
    /// A file of certificates or keys cannot be used.
    File {
        /// Its parameter.
        parameter: &'static str,
        /// Its path.
        path: String,
        /// Why.
        cause: String,
    },
    /// The connection failed while hands were shaken.
    Io(io::Error),
    /// The same, where the server was not asked before whether it has TLS.
    Unasked(io::Error),
    /// It was not asked either, and does not say that it is PostgreSQL.
    Protocol,
    /// The two do not agree, or we do not trust the server.
    Handshake(rustls::Error),
}

impl TlsError {
    pub(super) fn of(error: io::Error, is_direct: bool) -> Self {
        match error.downcast() {
            Ok(error) => Self::Handshake(error),
            Err(error) if is_direct => Self::Unasked(error),
            Err(error) => Self::Io(error),
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Handshake(error)
    }
}

impl Error for TlsError {}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str(
                "the server does not support TLS (let it: ssl = on; or set sslmode=prefer)",
            ),
            Self::Name => f.write_str("there is no host whose certificate it could be"),
            Self::File {
                parameter,
                path,
                cause,
            } => write!(f, "{parameter} {path}: {cause}"),
            Self::Io(error) => write!(f, "TLS handshake: {error}"),
            Self::Unasked(error) => write!(
                f,
                "TLS handshake: {error} (sslnegotiation=direct needs PostgreSQL 17 or later with \
                 ssl = on)"
            ),
            Self::Protocol => f.write_str(
                "the server did not agree to speak PostgreSQL's protocol (ALPN), which \
                 sslnegotiation=direct demands",
            ),
            Self::Handshake(rustls::Error::InvalidCertificate(error)) => {
                f.write_str("the server's certificate ")?;
                fmt_certificate(error, f)
            }
            Self::Handshake(rustls::Error::AlertReceived(alert)) => fmt_alert(*alert, f),
            Self::Handshake(rustls::Error::PeerMisbehaved(
                PeerMisbehaved::SignedKxWithWrongAlgorithm,
            )) => f.write_str(
                "the server's key is for RSASSA-PSS alone, which is supported from TLS 1.3 on and \
                 not under 1.2",
            ),
            Self::Handshake(error) => write!(f, "TLS handshake: {}", plain(&error.to_string())),
        }
    }
}

/// What the server says ends TLS: mostly something about us.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls's enum; only some of it has better words"
)]
fn fmt_alert(alert: AlertDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match alert {
        AlertDescription::CertificateRequired => f.write_str(
            "TLS handshake: the server demands a client certificate (set sslcert and sslkey)",
        ),
        AlertDescription::HandshakeFailure => f.write_str(
            "TLS handshake: refused by the server (it may demand a client certificate: set \
             sslcert and sslkey; or no cipher, curve or kind of key is known to both)",
        ),
        AlertDescription::ProtocolVersion => f.write_str(
            "TLS handshake: refused by the server (it speaks no version of TLS that is wanted \
             here; older ones than 1.2 are never)",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            let why = plain(&format!("{alert:?}"));
            write!(
                f,
                "the server refuses the client certificate (sslcert): {why}"
            )
        }
        other => {
            let why = plain(&format!("{other:?}"));
            write!(f, "TLS handshake: refused by the server: {why}")
        }
    }
}

/// Completes the sentence "the server's certificate ...".
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls's enum; only some of it has better words"
)]
fn fmt_certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        CertificateError::UnknownIssuer => f.write_str(
            "is signed by nobody that sslrootcert names (put the certificate of its authority \
             there)",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            f.write_str("has expired, or one it is signed by has")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            f.write_str("is not valid yet (if it should be, see to the clock of this machine)")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            f.write_str("is not for servers (its extended key usage leaves out serverAuth)")
        }
        CertificateError::BadEncoding => f.write_str("cannot be read"),
        CertificateError::BadSignature => {
            f.write_str("does not go with what was signed: somebody has another key")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => write!(
            f,
            "is signed with {}, which is not supported, or one of its authorities is (sslmode=\
             require without sslrootcert does not look)",
            signature_name(signature_algorithm_id)
        ),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            ..
        } => write!(
            f,
            "is signed with {} by a key of another kind, or one on a curve that is not supported \
             (sslmode=require without sslrootcert does not look)",
            signature_name(signature_algorithm_id)
        ),
        CertificateError::Other(OtherError(words)) if words.is::<Words>() => write!(f, "{words}"),
        CertificateError::Other(OtherError(cause)) => {
            write!(f, "is not valid: {}", plain(&cause.to_string()))
        }
        other => write!(f, "is not valid: {}", plain(&other.to_string())),
    }
}

/// What ends TLS by rustls's hand and is said as we say it; completes the sentence "the server's
/// certificate ...".
pub(super) fn certificate_error(words: impl fmt::Display) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(Words(words.to_string()))))
}

#[derive(Debug)]
struct Words(String);

impl Error for Words {}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a signature's algorithm is called.
pub(super) fn signature_name(algorithm: &[u8]) -> &'static str {
    let known = SIGNATURES.iter().find(|(identifier, _)| {
        // Behind the tag of an object identifier and its length.
        algorithm
            .get(2..)
            .is_some_and(|it| it.starts_with(identifier))
    });
    known.map_or("an unknown algorithm", |(_, name)| *name)
}

/// Names of rustls's and webpki's, `LikeThis`, as words; what is written in capitals stays so.
fn plain(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    let mut was_lower = false;
    while let Some(character) = characters.next() {
        let begins = was_lower && character.is_ascii_uppercase();
        if begins {
            words.push(' ');
        }
        let is_word = characters.peek().is_some_and(char::is_ascii_lowercase);
        words.push(if begins && is_word {
            character.to_ascii_lowercase()
        } else {
            character
        });
        was_lower = character.is_ascii_lowercase();
    }
    words
}

/// What OpenSSL signs with and we do not verify, and what is mostly verified.
const SIGNATURES: [(&[u8], &str); 16] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "RSA and MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA and SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "RSA and SHA-256"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", "RSA and SHA-384"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", "RSA and SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", "RSA and SHA-224"),
    (RSASSA_PSS, "RSASSA-PSS of these parameters"),
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA and SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", "ECDSA and SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA and SHA-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", "ECDSA and SHA-384"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", "ECDSA and SHA-512"),
    (b"\x2a\x86\x48\xce\x38\x04\x03", "DSA"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03", "DSA or SHA-3"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_library_are_shown_as_words() {
        for (text, expected) in [
            ("NameConstraintViolation", "Name constraint violation"),
            (
                "peer is incompatible: NoCipherSuitesInCommon",
                "peer is incompatible: No cipher suites in common",
            ),
            ("UnknownCA", "Unknown CA"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn it_is_said_whose_certificate_it_is() {
        let text = |error: rustls::Error| TlsError::Handshake(error).to_string();
        for alert in [
            AlertDescription::UnknownCA,
            AlertDescription::CertificateExpired,
        ] {
            let text = text(rustls::Error::AlertReceived(alert));
            assert!(text.contains("client certificate (sslcert)"), "{text}");
            assert!(!text.contains("server's certificate"), "{text}");
        }
        let rejected = CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e\x05\x00"
                .to_vec(),
            supported_algorithms: Vec::new(),
        };
        let text = text(rejected.into());
        assert!(
            text.starts_with("the server's certificate is signed with RSA and SHA-224"),
            "{text}"
        );
    }
}
