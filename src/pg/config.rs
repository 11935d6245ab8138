//! Where the server is and who we are to it: one connection string, read once.
//!
//! The URL form of libpq ("Connection URIs"), then the `PG*` variables, then defaults. Reads no
//! environment itself, resolves no name, opens nothing; below this line nobody parses again.

mod error;
mod url;

use std::{fmt, net::IpAddr, path::PathBuf};

pub use self::error::ConfigError;
use self::url::{Parts, port_of};

/// What a session needs to know about its server, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens.
    pub host: Host,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// The role to log in as.
    pub user: String,
    /// The password, if one was given and is not empty.
    pub password: Option<Password>,
    /// The database; notifications never leave it.
    pub database: String,
    /// What `pg_stat_activity` shall show instead of our own names.
    pub application_name: Option<String>,
    /// Command-line options for the backend, such as `-c search_path=a`.
    pub options: Option<String>,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address (IPv6 without brackets).
    Tcp(String),
    /// The directory that holds the socket `.s.PGSQL.PORT`.
    Unix(PathBuf),
}

/// A password that no log line can show by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Config {
    /// Reads `url`, takes what it leaves out from `environment`, then from the defaults.
    ///
    /// An empty value counts as left out, as it does for libpq.
    pub fn parse(
        url: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut parts = Parts::default();
        parts.read_url(url)?;
        let of = |part: Option<String>, variable: &'static str| match part
            .or_else(|| environment(variable))
            .filter(|text| !text.is_empty())
        {
            Some(text) if text.contains('\0') => Err(ConfigError::Nul { part: variable }),
            found => Ok(found),
        };

        let host = of(parts.host, "PGHOST")?.unwrap_or_else(|| "localhost".to_owned());
        let host = Host::parse(host)?;
        let port = match parts.port {
            Some(port) => port,
            None => of(None, "PGPORT")?.map_or(Ok(PORT), |text| {
                port_of(&text).map_err(|_| ConfigError::Port { value: Some(text) })
            })?,
        };
        check_sslmode(of(parts.sslmode, "PGSSLMODE")?, &host)?;
        let user = match of(parts.user, "PGUSER")? {
            Some(user) => user,
            None => match of(None, "USER")? {
                Some(user) => user,
                None => of(None, "LOGNAME")?.ok_or(ConfigError::UserMissing)?,
            },
        };
        Ok(Self {
            host,
            port,
            password: of(parts.password, "PGPASSWORD")?.map(Password::new),
            database: of(parts.database, "PGDATABASE")?.unwrap_or_else(|| user.clone()),
            user,
            application_name: of(parts.application_name, "PGAPPNAME")?,
            options: of(parts.options, "PGOPTIONS")?,
        })
    }

    /// The socket to connect to, if the server is reached by one.
    pub fn unix_socket_path(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Tcp(_) => None,
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
        }
    }

    /// The address in words, `host:port` or the socket's path; never a password.
    pub fn address(&self) -> String {
        self.to_string()
    }

    /// Whether what we send cannot leave this machine: a Unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        match &self.host {
            Host::Unix(_) => true,
            Host::Tcp(host) => {
                host.eq_ignore_ascii_case("localhost")
                    || host
                        .parse::<IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.unix_socket_path()) {
            (_, Some(path)) => path.display().fmt(f),
            (Host::Tcp(host), None) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            (Host::Tcp(host), None) => write!(f, "{host}:{}", self.port),
            (Host::Unix(directory), None) => directory.display().fmt(f),
        }
    }
}

impl Host {
    fn parse(text: String) -> Result<Self, ConfigError> {
        if text.contains(',') {
            Err(ConfigError::SeveralHosts)
        } else if text.starts_with('/') {
            Ok(Self::Unix(text.into()))
        } else if text.contains('@') {
            Err(ConfigError::StrayAt)
        } else {
            Ok(Self::Tcp(text))
        }
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

/// A demand for TLS is refused, never dropped; on a Unix socket it says nothing, as for libpq.
fn check_sslmode(sslmode: Option<String>, host: &Host) -> Result<(), ConfigError> {
    let Some(sslmode) = sslmode else {
        return Ok(());
    };
    match (sslmode.as_str(), host) {
        ("disable" | "allow" | "prefer", _) => Ok(()),
        ("require" | "verify-ca" | "verify-full", Host::Unix(_)) => Ok(()),
        ("require" | "verify-ca" | "verify-full", Host::Tcp(_)) => {
            Err(ConfigError::TlsUnsupported { sslmode })
        }
        _ => Err(ConfigError::Value {
            name: "sslmode",
            value: sslmode,
        }),
    }
}

/// PostgreSQL's registered port.
const PORT: u16 = 5432;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(url, &|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// `user:password@address/database` of what was read, or the error's sentence.
    fn summary(url: &str, environment: &[(&str, &str)]) -> String {
        match parse(url, environment) {
            Ok(config) => {
                let password = config.password.as_ref().map_or("-", Password::as_str);
                format!("{}:{password}@{config}/{}", config.user, config.database)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls_mean_what_they_mean_to_libpq() {
        for (url, expected) in [
            ("postgres://", "me:-@localhost:5432/me"),
            ("postgresql://", "me:-@localhost:5432/me"),
            ("postgresql:///", "me:-@localhost:5432/me"),
            ("postgresql://db", "me:-@db:5432/me"),
            ("postgresql://db/", "me:-@db:5432/me"),
            ("postgresql://db:/", "me:-@db:5432/me"),
            ("postgresql://db:6000", "me:-@db:6000/me"),
            ("postgresql://db:1/x", "me:-@db:1/x"),
            ("postgresql://db:65535/x", "me:-@db:65535/x"),
            ("postgresql://ann@db", "ann:-@db:5432/ann"),
            ("postgresql://ann@", "ann:-@localhost:5432/ann"),
            ("postgresql://ann:@db/x", "ann:-@db:5432/x"),
            ("postgresql://@db", "me:-@db:5432/me"),
            ("postgresql://:pw@db", "me:pw@db:5432/me"),
            ("postgresql://ann:p:w@db/x", "ann:p:w@db:5432/x"),
            ("postgresql://ann:p?w@db/x", "ann:p?w@db:5432/x"),
            ("postgresql://ann:p#w@db/x", "ann:p#w@db:5432/x"),
            (
                "postgresql://a%40b:p%2Fw%3a%25@d%62:54%332/x%20y%2Fz",
                "a@b:p/w:%@db:5432/x y/z",
            ),
            (
                "postgresql://%C3%A9@db/%F0%9F%90%98",
                "\u{e9}:-@db:5432/\u{1f418}",
            ),
            ("postgresql://[::1]", "me:-@[::1]:5432/me"),
            (
                "postgresql://ann@[2001:db8::7]:99/x?application_name=q",
                "ann:-@[2001:db8::7]:99/x",
            ),
            ("postgresql://%2Ftmp%2Fpg/x", "me:-@/tmp/pg/.s.PGSQL.5432/x"),
            ("postgresql://%2Ftmp:7/x", "me:-@/tmp/.s.PGSQL.7/x"),
            ("postgresql:///x?host=/tmp&port=7", "me:-@/tmp/.s.PGSQL.7/x"),
            ("postgresql:///x?host=%2Ftmp", "me:-@/tmp/.s.PGSQL.5432/x"),
            ("postgresql://db?", "me:-@db:5432/me"),
            (
                "postgresql://db?user=ann&password=p%26w&dbname=x",
                "ann:p&w@db:5432/x",
            ),
            (
                "postgresql://one/x?host=two&port=2&dbname=y",
                "me:-@two:2/y",
            ),
            (
                "postgresql:///x?user=ann@corp",
                "ann@corp:-@localhost:5432/x",
            ),
            (
                "postgresql://db?connect_timeout=10&sslmode=prefer",
                "me:-@db:5432/me",
            ),
            ("postgresql://db?sslmode=disable", "me:-@db:5432/me"),
            ("postgresql://db?sslmode=allow", "me:-@db:5432/me"),
            (
                "postgresql:///?host=/tmp&sslmode=require",
                "me:-@/tmp/.s.PGSQL.5432/me",
            ),
        ] {
            assert_eq!(summary(url, &[("USER", "me")]), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_words() {
        let scheme = "connection string does not begin with postgres:// or postgresql://";
        let port = "port is not a number from 1 to 65535 \
                    (in a password '/' is written %2F and '@' %40)";
        let brackets = "IPv6 address is not of the form [address], optionally followed by :port";
        for (url, expected) in [
            ("", scheme),
            ("host=db user=ann", scheme),
            ("Postgres://db", scheme),
            ("postgres:/db", scheme),
            ("mysql://db", scheme),
            ("postgres://db:0", port),
            ("postgres://db:65536", port),
            ("postgres://db:+80", port),
            ("postgres://ann:secret", port),
            ("postgres://ann:se/cret@db", port),
            (
                "postgres://db?port=x",
                "port \"x\" is not a number from 1 to 65535",
            ),
            ("postgres://[::1", brackets),
            ("postgres://[]", brackets),
            ("postgres://[::1]z", brackets),
            ("postgres://%zz@db", "invalid percent-encoding in user name"),
            (
                "postgres://db/x%4",
                "invalid percent-encoding in database name",
            ),
            ("postgres://ann:%00@db", "password contains a NUL character"),
            ("postgres://ann:%ff@db", "password is not UTF-8"),
            (
                "postgres://ann:se@cret@db",
                "host contains '@' (one in a user name or password is written %40)",
            ),
            ("postgres://one,two/x", "several hosts not supported yet"),
            (
                "postgres://one:1,two:2/x",
                "several hosts not supported yet",
            ),
            (
                "postgres:///x?host=one,two",
                "several hosts not supported yet",
            ),
            (
                "postgres:///x?host=one&port=1,2",
                "several hosts not supported yet",
            ),
            ("postgres://db?uzer=ann", "unknown parameter \"uzer\""),
            ("postgres://db?&user=ann", "a parameter has no '='"),
            ("postgres://db?user", "a parameter has no '='"),
            (
                "postgres://db?options=-c a=b",
                "parameter \"options\" has a second '=' (in a value it is written %3D)",
            ),
            (
                "postgres://db?connect_timeout=soon",
                "invalid connect_timeout \"soon\"",
            ),
            ("postgres://db?sslmode=maybe", "invalid sslmode \"maybe\""),
            (
                "postgres://db?sslmode=require",
                "TLS is not supported yet, and sslmode \"require\" demands it",
            ),
            (
                "postgres://db?ssl=true",
                "TLS is not supported yet, and sslmode \"require\" demands it",
            ),
        ] {
            assert_eq!(summary(url, &[("USER", "me")]), expected, "{url}");
        }
        assert_eq!(
            parse("postgres://db", &[]).unwrap_err(),
            ConfigError::UserMissing
        );
    }

    #[test]
    fn the_environment_fills_in_what_the_url_leaves_out() {
        let environment = [
            ("PGHOST", "/run/pg"),
            ("PGPORT", "6543"),
            ("PGUSER", "eve"),
            ("PGPASSWORD", "hush"),
            ("PGDATABASE", "stage"),
            ("PGAPPNAME", "tool"),
            ("USER", "me"),
        ];
        for (url, expected) in [
            ("postgres://", "eve:hush@/run/pg/.s.PGSQL.6543/stage"),
            ("postgres://db:1/x", "eve:hush@db:1/x"),
            ("postgres://ann:pw@db", "ann:pw@db:6543/stage"),
        ] {
            assert_eq!(summary(url, &environment), expected, "{url}");
        }
        let config = parse("postgres://", &environment).unwrap();
        assert_eq!(config.application_name.as_deref(), Some("tool"));
        let config = parse("postgres://?application_name=own", &environment).unwrap();
        assert_eq!(config.application_name.as_deref(), Some("own"));

        for (environment, expected) in [
            (
                &[("LOGNAME", "log"), ("USER", "")][..],
                "log:-@localhost:5432/log",
            ),
            (
                &[("USER", "me"), ("PGHOST", ""), ("PGPASSWORD", "")],
                "me:-@localhost:5432/me",
            ),
            (
                &[("USER", "me"), ("PGPORT", "x")],
                "port \"x\" is not a number from 1 to 65535",
            ),
            (
                &[("USER", "me"), ("PGHOST", "a,b")],
                "several hosts not supported yet",
            ),
            (&[("USER", "m\0e")], "USER contains a NUL character"),
            (
                &[("USER", "me"), ("PGSSLMODE", "verify-full")],
                "TLS is not supported yet, and sslmode \"verify-full\" demands it",
            ),
        ] {
            assert_eq!(summary("postgres://", environment), expected);
        }
    }

    #[test]
    fn no_output_holds_the_password() {
        let config = parse("postgres://ann:hush@db/x", &[]).unwrap();
        assert!(format!("{config:?}").contains("Some(***)"));
        assert!(!format!("{config:?} {config} {}", config.address()).contains("hush"));
        for url in [
            "postgres://ann:hush",
            "postgres://ann:hush/x@db",
            "postgres://ann:hush@h@db",
            "postgres://ann:hush%@db",
            "postgres://ann:x[hush@[",
            "postgres://ann@db?password=x&hush",
        ] {
            let error = parse(url, &[]).unwrap_err();
            assert!(
                !format!("{error:?} {error}").contains("hush"),
                "{url}: {error}"
            );
        }
    }

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        for (url, local) in [
            ("postgres://u@localhost", true),
            ("postgres://u@127.3.2.1", true),
            ("postgres://u@[::1]", true),
            ("postgres://u@%2Ftmp", true),
            ("postgres://u@localhost.example.org", false),
            ("postgres://u@10.0.0.1", false),
        ] {
            assert_eq!(parse(url, &[]).unwrap().is_local(), local, "{url}");
        }
    }
}
