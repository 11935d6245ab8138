//! One server out of the list: its host, its port, its password.
//!
//! Knows how lists of hosts, addresses and ports belong together; resolves no name.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{ConfigError, Password, Surroundings, settings::Settings, url::port_of};

/// One server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Server {
    /// Where it listens.
    pub host: Host,
    /// Its address, where it is given and need not be looked up.
    pub address: Option<IpAddr>,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// The password, if one was given or found.
    pub password: Option<Password>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address (IPv6 without brackets); empty only where the address is given apart.
    Tcp(String),
    /// The directory that holds the socket `.s.PGSQL.PORT`.
    Unix(PathBuf),
}

impl Server {
    /// The socket to connect to, if the server is reached by one.
    pub fn unix_socket_path(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Tcp(_) => None,
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
        }
    }

    /// The name to ask for, or the address where none is given; `None` for a Unix socket.
    pub fn host_name(&self) -> Option<String> {
        match (&self.host, self.address) {
            (Host::Tcp(host), Some(address)) if host.is_empty() => Some(address.to_string()),
            (Host::Tcp(host), _) => Some(host.clone()),
            (Host::Unix(_), _) => None,
        }
    }

    /// Whether what we send cannot leave this machine: a Unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        let host = match (&self.host, self.address) {
            (Host::Unix(_), _) => return true,
            (Host::Tcp(_), Some(address)) => return address.is_loopback(),
            (Host::Tcp(host), None) => host,
        };
        host.eq_ignore_ascii_case("localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.unix_socket_path() {
            return path.display().fmt(f);
        }
        match self.host_name().unwrap_or_default() {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// As many servers as there are hosts or, without any, addresses; one port for all or one each.
pub(super) fn read(
    settings: &mut Settings,
    around: Surroundings<'_>,
) -> Result<Vec<Server>, ConfigError> {
    let [hosts, addresses, ports] = ["host", "hostaddr", "port"]
        .map(|name| settings.take(name).unwrap_or_default())
        .map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
    let has_addresses = addresses.iter().any(|address| !address.is_empty());
    let has_hosts = hosts.iter().any(|host| !host.is_empty()) || hosts.len() > 1;
    let count = if has_hosts || !has_addresses {
        hosts.len()
    } else {
        addresses.len()
    };
    if has_addresses && has_hosts && addresses.len() != count {
        return Err(ConfigError::ListLengths { name: "hostaddr" });
    }
    if ports.len() != 1 && ports.len() != count {
        return Err(ConfigError::ListLengths { name: "port" });
    }
    let nth = |list: &[String], index: usize| list.get(index).cloned().unwrap_or_default();
    let server = |index| {
        let port = nth(&ports, if ports.len() == 1 { 0 } else { index });
        let port = match port.trim() {
            "" => PORT,
            text => port_of(text).map_err(|()| ConfigError::Port {
                value: Some(text.to_owned()),
            })?,
        };
        let address = match nth(&addresses, index) {
            text if text.is_empty() => None,
            text => Some(text.parse().map_err(|_| ConfigError::Value {
                name: "hostaddr",
                value: text,
            })?),
        };
        let host = match nth(&hosts, index) {
            host if host.is_empty() && address.is_none() => default_host(port, around),
            host => Host::parse(host)?,
        };
        Ok(Server {
            host,
            address,
            port,
            password: None,
        })
    };
    (0..count).map(server).collect()
}

/// A server's own socket where there is one, as for libpq, else the loopback.
fn default_host(port: u16, around: Surroundings<'_>) -> Host {
    let socket = format!(".s.PGSQL.{port}");
    let mut directories = SOCKET_DIRECTORIES.iter().map(Path::new);
    let found = directories.find(|directory| (around.exists)(&directory.join(&socket)));
    found.map_or_else(
        || Host::Tcp("localhost".to_owned()),
        |directory| Host::Unix(directory.to_owned()),
    )
}

impl Host {
    fn parse(text: String) -> Result<Self, ConfigError> {
        if text.starts_with('/') {
            Ok(Self::Unix(text.into()))
        } else if text.contains('@') {
            Err(ConfigError::StrayAt)
        } else {
            Ok(Self::Tcp(text))
        }
    }
}

/// PostgreSQL's registered port.
const PORT: u16 = 5432;
/// Debian's and Red Hat's, and that of a build from source.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
