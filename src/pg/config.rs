//! Where the server is and who we are to it: one connection string, read once.
//!
//! A connection URI or keywords and values, then the service file, then the `PG*` variables, then
//! defaults, then the password file: libpq's order (PostgreSQL, "Database Connection Control
//! Functions"). Reads no environment and no file itself, resolves no name, opens nothing; below
//! this line nobody parses again.

mod choices;
mod error;
mod keyword;
mod passfile;
mod server;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod url;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    choices::choose,
    passfile::PasswordFile,
    settings::{Settings, UNSUPPORTED},
};
pub use self::{
    choices::{ChannelBinding, RootCertificates, SslMode, TargetSessionAttrs, TlsVersions},
    error::ConfigError,
    server::{Host, Server},
};

/// What a session needs to know about its servers, complete and checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Tried in this order at each connect; never empty.
    pub servers: Vec<Server>,
    /// Whether each attempt begins at a server of chance instead of the first.
    pub shuffle_servers: bool,
    /// The role to log in as.
    pub user: String,
    /// The database; notifications never leave it.
    pub database: String,
    /// What `pg_stat_activity` shall show instead of our own names.
    pub application_name: Option<String>,
    /// Command-line options for the backend, such as `-c search_path=a`.
    pub options: Option<String>,
    /// How long one server may take to let us in; `None` leaves it to whoever connects.
    pub connect_timeout: Option<Duration>,
    /// Which kind of server is wanted.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether SCRAM is tied to the TLS connection it runs in.
    pub channel_binding: ChannelBinding,
    /// Whether and how the connection is encrypted.
    pub tls: Tls,
}

/// Whether and how TLS is spoken; on a Unix socket never.
#[derive(Clone, Debug)]
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

/// A password that no log line can show by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// What lies around the program and counts besides the connection string: lent by the shell.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What a file holds; `None` if there is none.
    pub file: &'a dyn Fn(&Path) -> Option<File>,
    /// Whether something is there, such as a socket.
    pub exists: &'a dyn Fn(&Path) -> bool,
}

/// A file that the shell read for us.
#[derive(Clone)]
pub struct File {
    /// Its text.
    pub text: String,
    /// Whether nobody but its owner may read it.
    pub is_private: bool,
}

impl Config {
    /// Reads `text`, takes what it leaves out from `environment`, then from the defaults; there is
    /// no file.
    ///
    /// An empty value counts as left out.
    pub fn parse(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Self::parse_in(
            text,
            Surroundings {
                variable: environment,
                file: &|_| None,
                exists: &|_| false,
            },
        )
    }

    /// Reads `text`, takes what it leaves out from the service file, the environment and the
    /// defaults, and the password from the password file.
    ///
    /// An empty value counts as left out.
    pub fn parse_in(text: &str, around: Surroundings<'_>) -> Result<Self, ConfigError> {
        let mut settings = Settings::default();
        settings.read_string(text)?;
        service::read(&mut settings, around)?;
        settings.read_environment(around.variable)?;
        refuse_unsupported(&settings)?;

        let user = match settings.take("user") {
            Some(user) => user,
            None => Settings::variable(around, "USER")?
                .or(Settings::variable(around, "LOGNAME")?)
                .ok_or(ConfigError::UserMissing)?,
        };
        let database = settings.take("dbname").unwrap_or_else(|| user.clone());
        let mut servers = server::read(&mut settings, around)?;
        match settings.take("password") {
            Some(password) => {
                let password = Password::new(password);
                for server in &mut servers {
                    server.password = Some(password.clone());
                }
            }
            None => {
                let named = settings.take("passfile").map(PathBuf::from);
                let path = named.or_else(|| in_home(around, ".pgpass"));
                let file = path.and_then(|path| PasswordFile::open(&path, around));
                for server in servers.iter_mut().filter(|_| file.is_some()) {
                    let file = file.as_ref();
                    server.password = file.and_then(|file| file.find(server, &database, &user));
                }
            }
        }
        let target = choose(&mut settings, "target_session_attrs", TARGETS)?;
        let several = servers.len() > 1;
        let tls = Tls::read(&mut settings, around, &servers)?;
        Ok(Self {
            servers,
            shuffle_servers: choose(&mut settings, "load_balance_hosts", LOAD_BALANCE)?
                .unwrap_or(false),
            user,
            database,
            application_name: settings
                .take("application_name")
                .or_else(|| settings.take("fallback_application_name")),
            options: settings.take("options"),
            connect_timeout: connect_timeout(&mut settings)?,
            // Nobody can listen on a standby: of several servers the one that works is meant.
            target_session_attrs: target.unwrap_or(if several {
                TargetSessionAttrs::ReadWrite
            } else {
                TargetSessionAttrs::Any
            }),
            channel_binding: choose(&mut settings, "channel_binding", BINDINGS)?
                .unwrap_or(ChannelBinding::Prefer),
            tls,
        })
    }

    /// The addresses in words, `host:port` or the socket's path each; never a password.
    pub fn address(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            server.fmt(f)?;
        }
        Ok(())
    }
}

impl Tls {
    fn read(
        settings: &mut Settings,
        around: Surroundings<'_>,
        servers: &[Server],
    ) -> Result<Self, ConfigError> {
        let roots = match settings.take("sslrootcert") {
            Some(text) if text == "system" => RootCertificates::System,
            Some(path) => RootCertificates::File(path.into()),
            None => in_home(around, ".postgresql/root.crt")
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
                .or_else(|| in_home(around, default))
                .filter(|_| wants_certificate)
        };
        let certificate = path("sslcert", ".postgresql/postgresql.crt");
        let key = path("sslkey", ".postgresql/postgresql.key");
        Ok(Self {
            mode,
            roots,
            certificate,
            key,
            server_name_indication: choose(settings, "sslsni", SWITCHES)?.unwrap_or(true),
            direct,
            versions: TlsVersions {
                tls12: choose(settings, "ssl_min_protocol_version", ORDINARY_12)?.unwrap_or(true),
                tls13: choose(settings, "ssl_max_protocol_version", ORDINARY_13)?.unwrap_or(true),
            }
            .check()?,
        })
    }
}

impl Password {
    /// Keeps `text` out of every `Debug` from here on.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself, for the authentication exchange only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// A demand that we cannot meet is refused, never dropped.
fn refuse_unsupported(settings: &Settings) -> Result<(), ConfigError> {
    for (name, harmless) in UNSUPPORTED {
        let value = settings.get(name).filter(|value| !harmless.contains(value));
        if value.is_some() {
            return Err(ConfigError::Unsupported { name });
        }
    }
    Ok(())
}

/// libpq waits for at least two seconds, and for ever at zero, which here means our own limit.
fn connect_timeout(settings: &mut Settings) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = settings.take("connect_timeout") else {
        return Ok(None);
    };
    let seconds: i32 = text.trim().parse().map_err(|_| ConfigError::Value {
        name: "connect_timeout",
        value: text.clone(),
    })?;
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.clamp(2, CONNECT_TIMEOUT_SECONDS_MAX))))
}

/// A file below the home directory.
fn in_home(around: Surroundings<'_>, name: &str) -> Option<PathBuf> {
    let home = (around.variable)("HOME").filter(|home| !home.is_empty())?;
    Some(Path::new(&home).join(name))
}

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const TARGETS: &[(&str, TargetSessionAttrs)] = &[
    ("any", TargetSessionAttrs::Any),
    ("read-write", TargetSessionAttrs::ReadWrite),
    ("read-only", TargetSessionAttrs::ReadOnly),
    ("primary", TargetSessionAttrs::Primary),
    ("standby", TargetSessionAttrs::Standby),
    ("prefer-standby", TargetSessionAttrs::PreferStandby),
];
const LOAD_BALANCE: &[(&str, bool)] = &[("disable", false), ("random", true)];
const NEGOTIATIONS: &[(&str, bool)] = &[("postgres", false), ("direct", true)];
/// Which of them the server demands, only the server can know.
const CERTIFICATE_MODES: &[(&str, bool)] =
    &[("disable", false), ("allow", true), ("require", true)];
const SWITCHES: &[(&str, bool)] = &[("0", false), ("1", true)];
/// Whether TLS 1.2 stays allowed under this lower limit; older versions are never spoken.
const ORDINARY_12: &[(&str, bool)] = &[
    ("TLSv1", true),
    ("TLSv1.1", true),
    ("TLSv1.2", true),
    ("TLSv1.3", false),
];
/// Whether TLS 1.3 stays allowed under this upper limit.
const ORDINARY_13: &[(&str, bool)] = &[("TLSv1.2", false), ("TLSv1.3", true)];
/// A day: beyond it nobody waits, and a deadline must not overflow.
const CONNECT_TIMEOUT_SECONDS_MAX: u64 = 86_400;
