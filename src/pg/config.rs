//! Where the server is and who we are to it: a connection string, and what lies around it.
//!
//! A connection URI or keywords and values, then the service file, then the `PG*` variables, then
//! defaults, then the password file: libpq's order (PostgreSQL, "Database Connection Control
//! Functions"). Reads no environment and no file itself, resolves no name, opens nothing: the shell
//! lends [`Surroundings`], anew for each round of attempts, since files change.

mod auth_methods;
mod choices;
mod connection_string;
mod error;
mod keepalive;
mod keyword;
mod passfile;
mod password;
mod server;
mod service;
mod settings;
mod surroundings;
#[cfg(test)]
mod tests;
mod tls;
mod url;
mod warning;

use std::{fmt, path::PathBuf, time::Duration};

pub use self::{
    auth_methods::{AuthMethod, AuthMethods},
    choices::{ChannelBinding, RootCertificates, SslMode, TargetSessionAttrs, TlsVersions},
    connection_string::ConnectionString,
    error::ConfigError,
    keepalive::Keepalive,
    password::Password,
    server::{Address, Host, Peer, Server},
    surroundings::{File, FileError, Surroundings},
    tls::Tls,
    warning::Warning,
};
use self::{
    choices::choose,
    keepalive::number,
    passfile::PasswordFile,
    settings::{Settings, UNSUPPORTED},
    surroundings::Around,
};

/// What a session needs to know about its servers, complete and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What this was resolved from, and is to be resolved from again.
    pub connection_string: ConnectionString,
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
    /// Which ways to ask who we are we take from a server.
    pub auth_methods: AuthMethods,
    /// Whether SCRAM is tied to the TLS connection it runs in.
    pub channel_binding: ChannelBinding,
    /// Whether and how the connection is encrypted.
    pub tls: Tls,
    /// When a TCP connection counts as dead.
    pub keepalive: Keepalive,
    /// What lies around us, and cannot be used.
    pub warnings: Vec<Warning>,
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
        ConnectionString::parse(text)?.resolve(Surroundings {
            variable: &|name| environment(name).map(String::into_bytes),
            file: &|_| Err(FileError::Missing),
            socket_owner: &|_| None,
            user_id: 0,
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

impl ConnectionString {
    /// Takes what the string leaves out from the service file, the environment and the defaults,
    /// and the password from the password file.
    ///
    /// An empty value counts as left out.
    pub fn resolve(&self, around: Surroundings<'_>) -> Result<Config, ConfigError> {
        let around = if self.is_alone {
            Surroundings {
                variable: &|_| None,
                file: &|_| Err(FileError::Missing),
                ..around
            }
        } else {
            around
        };
        let resolved = self.resolved(around);
        resolved.map_err(|error| error.without_secrets(|name| self.settings.is_doubtful(name)))
    }

    fn resolved(&self, around: Surroundings<'_>) -> Result<Config, ConfigError> {
        let mut around = Around::new(around);
        let mut settings = self.settings.clone();
        service::read(&mut settings, &mut around)?;
        settings.read_environment(&around)?;
        let mut defaults = self.defaults.clone();
        if settings.has("hostaddr") {
            defaults.take("host");
        }
        settings.add_defaults(defaults);
        refuse_unsupported(&settings)?;
        check_protocol_versions(&mut settings)?;

        let user = settings.take("user").or_else(|| around.user_name());
        let user_id = around.user_id();
        let user = user.ok_or(ConfigError::UserMissing { user_id })?;
        let database = settings.take("dbname").unwrap_or_else(|| user.clone());
        let mut servers = server::read(&mut settings, &mut around)?;
        find_passwords(&mut servers, &mut settings, &database, &user, &mut around);
        let target = choose(&mut settings, "target_session_attrs", TARGETS)?;
        let several = servers.len() > 1;
        Ok(Config {
            connection_string: self.clone(),
            tls: Tls::read(&mut settings, &mut around, &servers)?,
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
            // Nobody can listen on a standby: of several servers the one that works is meant. LISTEN
            // and NOTIFY are no writes: a primary that is read-only does.
            target_session_attrs: target.unwrap_or(if several {
                TargetSessionAttrs::Primary
            } else {
                TargetSessionAttrs::Any
            }),
            auth_methods: AuthMethods::read(&mut settings)?,
            channel_binding: choose(&mut settings, "channel_binding", BINDINGS)?
                .unwrap_or(ChannelBinding::Prefer),
            keepalive: Keepalive::read(&mut settings)?,
            warnings: around.into_warnings(),
        })
    }
}

/// The password given for all servers, else that of the password file for each.
fn find_passwords(
    servers: &mut [Server],
    settings: &mut Settings,
    database: &str,
    user: &str,
    around: &mut Around<'_>,
) {
    let named = settings.take("passfile").map(PathBuf::from);
    if let Some(password) = settings.take_password() {
        for server in servers {
            server.password = Some(password.clone());
        }
    } else if let Some(file) = PasswordFile::open(named, around) {
        for server in servers {
            server.password = file.find(server, database, user);
            let path = || file.path.clone();
            server.password_file = server.password.is_some().then(path);
        }
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

/// We speak version 3.0, which no server refuses, and nothing newer.
fn check_protocol_versions(settings: &mut Settings) -> Result<(), ConfigError> {
    let min = choose(settings, "min_protocol_version", PROTOCOL_VERSIONS)?;
    // An upper limit is kept whatever it is.
    let _max = choose(settings, "max_protocol_version", PROTOCOL_VERSIONS)?;
    if min.is_some_and(|min| min > PROTOCOL_VERSION) {
        let name = "min_protocol_version";
        return Err(ConfigError::Unsupported { name });
    }
    Ok(())
}

/// libpq waits for at least two seconds, and for ever at zero, which here means our own limit.
fn connect_timeout(settings: &mut Settings) -> Result<Option<Duration>, ConfigError> {
    let seconds = number(settings, "connect_timeout")?.unwrap_or(0);
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.clamp(2, CONNECT_TIMEOUT_SECONDS_MAX))))
}

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
/// Major and minor; the latest is what we do not know.
const PROTOCOL_VERSIONS: &[(&str, (u16, u16))] = &[
    ("3.0", PROTOCOL_VERSION),
    ("3.2", (3, 2)),
    ("latest", (u16::MAX, 0)),
];
const PROTOCOL_VERSION: (u16, u16) = (3, 0);
/// A day: beyond it nobody waits, and a deadline must not overflow.
const CONNECT_TIMEOUT_SECONDS_MAX: u64 = 86_400;
