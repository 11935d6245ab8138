//! A start's questions to the operating system: the environment, names, randomness, the time.

#![expect(
    clippy::disallowed_methods,
    reason = "read once, at the start, outside the core"
)]

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::OwnedFd,
    time::Instant,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    access::origins::is_of_any_page,
    backend::Configs,
    config::{BridgeConfig, TlsConfig, TlsConfigError},
    pg::{
        config::{Config, ConfigError, ConnectionString},
        function::{FunctionName, FunctionNameError},
    },
    reactor::{Listener, PassedListeners, TlsSource},
    service_manager::ServiceManager,
    surroundings,
    ticket_keys::SharedTicketKeys,
};

/// Parses a connection string; the environment and the files beside it fill in the rest. An empty
/// one is none.
pub(crate) fn postgres_config(text: &str) -> Result<Config, ConfigError> {
    let connection_string = if text.is_empty() {
        ConnectionString::unset()
    } else {
        ConnectionString::parse(text)?
    };
    surroundings::resolve(&connection_string)
}

/// A connection string that says all there is to say.
fn postgres_config_alone(text: &str) -> Result<Config, ConfigError> {
    surroundings::resolve(&ConnectionString::parse(text)?.alone())
}

/// The configurations of the two sessions of a bridge.
pub(crate) fn postgres_configs(config: &BridgeConfig) -> Result<Configs, ConfigError> {
    let or_common = |url: &Option<String>| {
        let url = url.as_ref().unwrap_or(&config.postgres_url);
        if config.postgres_environment {
            postgres_config(url)
        } else {
            postgres_config_alone(url)
        }
    };
    Ok(Configs {
        listening: or_common(&config.postgres_listen_url)?,
        publishing: or_common(&config.postgres_publish_url)?,
    })
}

/// The function that says whose a token is, where there is one.
pub(crate) fn auth_function(
    config: &BridgeConfig,
) -> Result<Option<FunctionName>, FunctionNameError> {
    let name = config.auth_function.as_deref();
    name.map(FunctionName::parse).transpose()
}

/// Says in the log where clients find the bridge, and operators health and metrics.
pub(crate) fn announce(address: SocketAddr, admin_address: Option<SocketAddr>, tls: &TlsConfig) {
    let secured = |is_on| if is_on { "s" } else { "" };
    if let Some(address) = admin_address {
        let secured = secured(tls.admin);
        tracing::info!(target: "alle::bridge", "health and metrics are at http{secured}://{address}");
    }
    let secured = secured(tls.is_on());
    tracing::info!(target: "alle::bridge", "listening on ws{secured}://{address}");
}

/// TLS with clients, where they are to speak it; with the keys of tickets, where they are not to be this
/// process's own.
pub(crate) fn tls(
    config: &BridgeConfig,
    ticket_keys: Option<SharedTicketKeys>,
) -> Result<Option<TlsSource>, TlsConfigError> {
    let any = config.allow_origins.iter().find(|it| is_of_any_page(it));
    match (any, &config.tls.client_ca) {
        // The browser adds a certificate by itself, as it does a cookie.
        (Some(origin), Some(_)) => Err(TlsConfigError::AnyOrigin(origin.clone())),
        _ => TlsSource::read(&config.tls, ticket_keys),
    }
}

/// Listens on the first address of `HOST:PORT`.
pub(crate) fn listen(address: &str) -> Result<Listener, ListenError> {
    let address = resolve(address)?;
    Listener::bind(address).map_err(|error| ListenError::Bind(address, error))
}

/// Why no client can connect.
pub(crate) enum ListenError {
    /// Not `HOST:PORT`, or the host has no address.
    Address(String, io::Error),
    /// Clients and operators have addresses that one socket alone can have.
    OneAddress(SocketAddr, SocketAddr),
    /// The address cannot be bound.
    Bind(SocketAddr, io::Error),
}

/// What is wrong with the addresses for clients and operators; with `binds_both`, also that one socket
/// alone can have them.
pub(crate) fn address_faults(config: &BridgeConfig, binds_both: bool) -> Vec<ListenError> {
    let clients = resolve(&config.ws_bind_addr);
    let operators = config.admin_addr.as_deref().map(resolve);
    match (clients, operators) {
        (Ok(clients), Some(Ok(operators))) => {
            let is_one = binds_both && do_collide(clients, operators);
            let fault = is_one.then_some(ListenError::OneAddress(clients, operators));
            fault.into_iter().collect()
        }
        (clients, operators) => {
            let faults = [clients.err(), operators.and_then(Result::err)];
            faults.into_iter().flatten().collect()
        }
    }
}

/// Whether the second of these cannot be bound: an unspecified address is each of its family, that of
/// IPv6 also each of IPv4 (ipv6(7)), and port 0 is always another one.
fn do_collide(one: SocketAddr, other: SocketAddr) -> bool {
    let has = |one: SocketAddr, other: SocketAddr| {
        one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
    };
    let canonical = |mut it: SocketAddr| {
        it.set_ip(it.ip().to_canonical());
        it
    };
    let (one, other) = (canonical(one), canonical(other));
    one.port() == other.port()
        && one.port() != 0
        && (one == other || has(one, other) || has(other, one))
}

/// One of several sockets of one address, over which the kernel spreads connections. It listens.
pub(crate) fn shared_socket(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    Listener::bind_shared(address)?.into_socket()
}

/// Whether nobody listens at the address.
pub(crate) fn probe(address: SocketAddr) -> io::Result<()> {
    Listener::bind(address).map(drop)
}

/// A socket that listens on the first address of `HOST:PORT`.
pub(crate) fn socket(address: &str) -> Result<(OwnedFd, SocketAddr), ListenError> {
    let address = resolve(address)?;
    let bound = Listener::bind(address).and_then(Listener::into_socket);
    bound.map_err(|error| ListenError::Bind(address, error))
}

/// The sockets that a service manager passed to this process and no other (sd_listen_fds(3)), at
/// most so many of them for clients.
pub(crate) fn passed_listeners(clients_max: usize) -> io::Result<PassedListeners> {
    match are_sockets_passed() {
        Ok(true) => {
            PassedListeners::take(&variable("LISTEN_FDNAMES").unwrap_or_default(), clients_max)
        }
        Ok(false) => Ok(PassedListeners::default()),
        Err(warning) => {
            tracing::warn!(target: "alle::bridge", "{warning}");
            Ok(PassedListeners::default())
        }
    }
}

/// Whether a service manager has passed sockets to this process; `Err`: why what is said of some
/// counts for nothing.
pub(crate) fn are_sockets_passed() -> Result<bool, String> {
    let Some(count) = variable("LISTEN_FDS") else {
        return Ok(false);
    };
    let pid = variable("LISTEN_PID");
    let ours = std::process::id().to_string();
    if pid.as_ref() != Some(&ours) {
        let pid = pid.map_or_else(|| "not set".to_owned(), |pid| format!("{pid}, not {ours}"));
        return Err(format!(
            "the sockets of LISTEN_FDS are for another process: LISTEN_PID is {pid}"
        ));
    }
    if !matches!(count.parse::<i32>(), Ok(0..)) {
        return Err(format!(
            "no socket is taken: LISTEN_FDS is '{count}', not the number of sockets"
        ));
    }
    Ok(true)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The service manager, if there is one to notify.
pub(crate) fn service_manager() -> Option<ServiceManager> {
    let notify_socket = std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty())?;
    ServiceManager::new(&notify_socket)
        .inspect_err(|error| {
            tracing::warn!(
                target: "alle::bridge",
                "cannot reach {notify_socket:?}: {error}"
            )
        })
        .ok()
}

/// The first address of `HOST:PORT`.
pub(crate) fn resolve(address: &str) -> Result<SocketAddr, ListenError> {
    let resolved = address.to_socket_addrs();
    let first = resolved.and_then(|mut addresses| {
        addresses
            .next()
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    });
    first.map_err(|error| ListenError::Address(address.to_owned(), error))
}

/// 64 random bits.
pub(crate) fn seed() -> io::Result<u64> {
    Ok(u64::from_ne_bytes(random()?))
}

/// Random bytes.
pub(crate) fn random<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|error| {
        io::Error::other(format!(
            "no random number: {error}; the system has to offer getrandom(2), or /dev/random and \
             /dev/urandom: mount /dev in a container or chroot"
        ))
    })?;
    Ok(bytes)
}

/// How many files may be open at a time, the limit raised as far as it may be.
fn open_files_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(target: "alle::bridge", "the limit of open files stays: {error}");
        }
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// The number of clients that the limit of open files allows, which is raised as far as it may be.
pub(crate) fn clients_max() -> usize {
    open_files_max().saturating_sub(RESERVED_FILES).max(1)
}

/// The time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// For PostgreSQL (to which the reactor reserves some of them whatever the number of clients), the
/// listening socket, refused connections, and the operating system.
const RESERVED_FILES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_where_one_socket_alone_can_have_both() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("0.0.0.0:1", "0.0.0.0:2", false),
            ("0.0.0.0:1", "[::]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "[::1]:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("[fe80::1%2]:1", "[fe80::1%3]:1", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(do_collide(one, other), expected, "{one} {other}");
            assert_eq!(do_collide(other, one), expected, "{other} {one}");
        }
    }
}
