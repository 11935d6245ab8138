//! TLS towards clients, as it was configured.
//!
//! Plain data and the words for what is wrong with it. Reads no file.

use std::{error::Error, fmt, path::PathBuf};

/// TLS towards clients. Without a certificate they speak in clear text.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Files of certificates in PEM, each with its chain. A client gets the first one that is for the
    /// name that it asks for (RFC 6066, 3) and that goes with what it can verify, else the first.
    pub certificates: Vec<PathBuf>,
    /// The files of their keys, in PEM, in the same order.
    pub keys: Vec<PathBuf>,
    /// Whether the admin address speaks TLS as well.
    pub admin: bool,
    /// A file of authorities in PEM: a certificate that one of them signed counts as a token does.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may come without such a certificate.
    pub client_auth: ClientAuth,
}

/// What is asked of a client where its certificate counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// A certificate: without one there is no handshake.
    #[default]
    Require,
    /// A certificate or a token.
    Allow,
}

impl TlsConfig {
    /// Whether clients speak TLS.
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// What can be seen without the files.
    pub(crate) fn check(&self) -> Result<(), TlsConfigError> {
        let (certificates, keys) = (self.certificates.len(), self.keys.len());
        let alone = [
            (keys > 0, "--tls-key"),
            (self.admin, "--admin-tls"),
            (self.client_ca.is_some(), "--tls-client-ca"),
        ];
        if certificates > 0 && certificates != keys {
            return Err(TlsConfigError::Uneven(certificates, keys));
        }
        match alone.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) if certificates == 0 => Err(TlsConfigError::Alone(option)),
            _ if self.client_ca.is_none() && self.client_auth != ClientAuth::Require => {
                Err(TlsConfigError::AuthAlone)
            }
            _ => Ok(()),
        }
    }
}

/// Why TLS towards clients is impossible.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// There are so many certificates, and so many keys.
    Uneven(usize, usize),
    /// A file cannot be read, or is not what it has to be.
    File {
        /// What it is for, as the option that names it.
        option: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong, for a sentence.
        cause: String,
    },
    /// An option means nothing without `--tls-cert`.
    Alone(&'static str),
    /// `--tls-client-auth` means nothing without `--tls-client-ca`.
    AuthAlone,
    /// Every page is of an origin that is allowed: any page could use the certificate of whoever looks
    /// at it.
    AnyOrigin(String),
    /// Several workers have a parent that answers at the admin address, and speaks no TLS.
    AdminOfWorkers,
    /// The system gives no random numbers.
    Random,
    /// The program was built without TLS.
    Absent,
}

impl Error for TlsConfigError {}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uneven(certificates, keys) => write!(
                f,
                "each --tls-cert has its --tls-key, in the same order: there are {certificates} of \
                 the first and {keys} of the second"
            ),
            Self::File {
                option,
                path,
                cause,
            } => write!(f, "{option} {}: {cause}", path.display()),
            Self::Alone(option) => {
                write!(f, "{option} means nothing without --tls-cert and --tls-key")
            }
            Self::AuthAlone => {
                f.write_str("--tls-client-auth means nothing without --tls-client-ca")
            }
            Self::AnyOrigin(origin) => write!(
                f,
                "--allow-origin {origin} and --tls-client-ca: any page could use the certificate of \
                 whoever looks at it; name the origins that may"
            ),
            Self::AdminOfWorkers => f.write_str(
                "--admin-tls and --workers: their parent answers at the admin address, and speaks no TLS",
            ),
            Self::Random => f.write_str("TLS: the system gives no random numbers"),
            Self::Absent => {
                f.write_str("--tls-cert: this program was built without TLS (its feature `tls`)")
            }
        }
    }
}
