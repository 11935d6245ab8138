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
}

impl TlsConfig {
    /// Whether clients speak TLS.
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty()
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
            Self::Random => f.write_str("TLS: the system gives no random numbers"),
            Self::Absent => {
                f.write_str("--tls-cert: this program was built without TLS (its feature `tls`)")
            }
        }
    }
}
