//! One server out of the list: its host, its port, its password.
//!
//! Knows how lists of hosts, addresses and ports belong together; resolves no name.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{
    error::ConfigError, password::Password, settings::Settings, surroundings::Around, url::port_of,
    warning::Warning,
};

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Where it listens.
    pub host: Host,
    /// Its address, where it is given and need not be looked up.
    pub address: Option<Address>,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// The password, if one was given or found.
    pub password: Option<Password>,
    /// The file that the password was found in.
    pub password_file: Option<PathBuf>,
    /// Who has to answer at a Unix socket, if that matters.
    pub peer: Option<Peer>,
}

/// A numeric address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The interface that a link-local IPv6 address belongs to (RFC 4007), by name or number.
    pub zone: Option<String>,
}

/// The users of this system one of which has to run the server, or else it is a stranger that put
/// a socket in its place (PostgreSQL, "Preventing Server Spoofing").
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Their numbers.
    pub user_ids: Vec<u32>,
    /// What `requirepeer` says; `None` where it was not asked for: then root and our own user are
    /// trusted in a directory where anybody may put a socket.
    pub name: Option<String>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address (IPv6 without brackets); empty only where the address is given apart.
    Tcp(String),
    /// The directory that holds the socket `.s.PGSQL.PORT`; one that begins with `@` is Linux's
    /// abstract namespace, not the file system.
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

    /// The name to ask for, or the address where none is given; `None` for a Unix socket. As libpq
    /// compares it with certificates: with its zone, which none can name.
    pub fn host_name(&self) -> Option<String> {
        match (&self.host, &self.address) {
            (Host::Tcp(host), Some(address)) if host.is_empty() => Some(address.to_string()),
            (Host::Tcp(host), _) => Some(host.clone()),
            (Host::Unix(_), _) => None,
        }
    }

    /// Whether what we send cannot leave this machine: a Unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        let host = match (&self.host, &self.address) {
            (Host::Unix(_), _) => return true,
            (Host::Tcp(_), Some(address)) => return address.ip.is_loopback(),
            (Host::Tcp(host), None) => host,
        };
        host.eq_ignore_ascii_case("localhost")
            || host
                .parse()
                .is_ok_and(|address: Address| address.ip.is_loopback())
    }
}

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ip, zone) = match text.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (text, None),
        };
        let ip = ip.parse().map_err(|_| ())?;
        match zone {
            None => Ok(Self { ip, zone: None }),
            Some(zone) if ip.is_ipv6() && !zone.is_empty() => Ok(Self {
                ip,
                zone: Some(zone.to_owned()),
            }),
            Some(_) => Err(()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

impl Peer {
    /// Whether a server of this user will do.
    pub fn accepts(&self, user_id: u32) -> bool {
        self.user_ids.contains(&user_id)
    }
}

impl Server {
    /// Whether the other one is in the same place, as far as their names tell.
    pub fn is_at(&self, other: &Self) -> bool {
        let place = |it: &Self| (it.host.clone(), it.address.clone(), it.port);
        place(self) == place(other)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.unix_socket_path() {
            return path.display().fmt(f);
        }
        let host = match (&self.host, &self.address) {
            (Host::Tcp(host), Some(address)) if host.is_empty() => address.to_string(),
            (Host::Tcp(host), _) => host.clone(),
            (Host::Unix(_), _) => String::new(),
        };
        if host.contains(':') {
            write!(f, "[{host}]:{}", self.port)
        } else {
            write!(f, "{host}:{}", self.port)
        }
    }
}

/// As many servers as there are hosts or, without any, addresses; one port for all or one each.
pub(super) fn read(
    settings: &mut Settings,
    around: &mut Around<'_>,
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
    let peer = settings.take("requirepeer");
    let nth = |list: &[String], index: usize| list.get(index).cloned().unwrap_or_default();
    let mut server = |index| {
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
        let mut server = Server {
            host: Host::parse(nth(&hosts, index))?,
            address,
            port,
            password: None,
            password_file: None,
            peer: None,
        };
        let is_default = server.host == Host::Tcp(String::new()) && server.address.is_none();
        if let (Some(name), true) = (&peer, is_default || matches!(server.host, Host::Unix(_))) {
            let user_id = around.user_id_of(name);
            let unknown = || ConfigError::PeerUnknown { name: name.clone() };
            server.peer = Some(Peer {
                user_ids: vec![user_id.ok_or_else(unknown)?],
                name: Some(name.clone()),
            });
        }
        if is_default {
            server.choose_host(around);
        }
        Ok(server)
    };
    (0..count).map(&mut server).collect()
}

impl Server {
    /// A server's own socket where there is one, as for libpq, else the loopback.
    fn choose_host(&mut self, around: &mut Around<'_>) {
        let socket = format!(".s.PGSQL.{}", self.port);
        self.host = Host::Tcp("localhost".to_owned());
        if around.socket_owner(&Path::new(RUN).join(&socket)).is_some() {
            self.host = Host::Unix(RUN.into());
            return;
        }
        // Anybody may have put a socket there.
        let path = Path::new(TMP).join(&socket);
        let Some(owner) = around.socket_owner(&path) else {
            return;
        };
        let trusted = self.peer.clone().unwrap_or_else(|| Peer {
            user_ids: vec![0, around.user_id()],
            name: None,
        });
        if trusted.accepts(owner) {
            self.host = Host::Unix(TMP.into());
            self.peer = Some(trusted);
        } else {
            around.warn(Warning::SocketOfStranger { path, owner });
        }
    }
}

impl Host {
    fn parse(text: String) -> Result<Self, ConfigError> {
        if text.starts_with(['/', '@']) {
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
/// Where Debian and Red Hat put sockets: a directory of the server's.
const RUN: &str = "/var/run/postgresql";
/// Where a build from source puts them: a directory of everybody's.
const TMP: &str = "/tmp";
