//! Whether and how TLS is spoken, as far as the settings say it.
//!
//! Knows where files of certificates are, and does not read them.

use std::path::PathBuf;

use super::{
    choices::{RootCertificates, SslMode, TlsVersions, choose},
    error::ConfigError,
    server::{Host, Server},
    settings::Settings,
    surroundings::Around,
};

/// Whether and how TLS is spoken; on a Unix socket never.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// How much of it is demanded.
    pub mode: SslMode,
    /// Who may vouch for the server.
    pub roots: RootCertificates,
    /// Our certificate, shown if the file exists.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether the server's name is told in the clear, which lets a proxy tell servers apart.
    pub server_name_indication: bool,
    /// Whether TLS begins at once, without asking for it first (PostgreSQL 17).
    pub direct: bool,
    /// Which versions of the protocol may be spoken.
    pub versions: TlsVersions,
}

impl Tls {
    pub(super) fn read(
        settings: &mut Settings,
        around: &mut Around<'_>,
        servers: &[Server],
    ) -> Result<Self, ConfigError> {
        let roots = match settings.take("sslrootcert") {
            Some(text) if text == "system" => RootCertificates::System,
            Some(path) => RootCertificates::File(path.into()),
            None => around
                .in_home(".postgresql/root.crt")
                .map_or(RootCertificates::None, RootCertificates::File),
        };
        let mode = choose(settings, "sslmode", SSL_MODES)?;
        let is_system = matches!(roots, RootCertificates::System);
        let mode = match mode {
            Some(mode) if is_system && mode != SslMode::VerifyFull => {
                return Err(ConfigError::SystemRootsNeedVerifyFull);
            }
            Some(mode) => mode,
            None if is_system => SslMode::VerifyFull,
            None => SslMode::Prefer,
        };
        let direct = choose(settings, "sslnegotiation", NEGOTIATIONS)?.unwrap_or(false);
        if direct && mode < SslMode::Require {
            return Err(ConfigError::DirectNeedsRequire);
        }
        let nameless = |server: &Server| matches!(&server.host, Host::Tcp(host) if host.is_empty());
        if mode == SslMode::VerifyFull && servers.iter().any(nameless) {
            return Err(ConfigError::HostMissing);
        }
        let wants_certificate = choose(settings, "sslcertmode", CERTIFICATE_MODES)?.unwrap_or(true);
        let mut path = |name, default| {
            let named = settings.take(name).map(PathBuf::from);
            named
                .or_else(|| around.in_home(default))
                .filter(|_| wants_certificate)
        };
        let certificate = path("sslcert", ".postgresql/postgresql.crt");
        let key = path("sslkey", ".postgresql/postgresql.key");
        let mut version = |name, choices| {
            // The one value that libpq takes in any case.
            let text = settings.take(name).map(|text| text.to_ascii_lowercase());
            if let Some(text) = text {
                settings.set(name, text.into_bytes(), name)?;
            }
            choose(settings, name, choices)
        };
        let versions = TlsVersions {
            tls12: version("ssl_min_protocol_version", ORDINARY_12)?.unwrap_or(true),
            tls13: version("ssl_max_protocol_version", ORDINARY_13)?.unwrap_or(true),
        };
        Ok(Self {
            mode,
            roots,
            certificate,
            key,
            server_name_indication: choose(settings, "sslsni", SWITCHES)?.unwrap_or(true),
            direct,
            versions: versions.check()?,
        })
    }
}

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const NEGOTIATIONS: &[(&str, bool)] = &[("postgres", false), ("direct", true)];
const CERTIFICATE_MODES: &[(&str, bool)] = &[("disable", false), ("allow", true)];
const SWITCHES: &[(&str, bool)] = &[("0", false), ("1", true)];
/// Whether TLS 1.2 stays allowed under this lower limit; older versions are never spoken.
const ORDINARY_12: &[(&str, bool)] = &[
    ("tlsv1", true),
    ("tlsv1.1", true),
    ("tlsv1.2", true),
    ("tlsv1.3", false),
];
/// Whether TLS 1.3 stays allowed under this upper limit.
const ORDINARY_13: &[(&str, bool)] = &[("tlsv1.2", false), ("tlsv1.3", true)];
