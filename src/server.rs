//! [`Bridge`]: configuration in, a running reactor out.

use std::{error::Error, fmt, io, net::SocketAddr, sync::Arc};

use crate::{
    access::{Access, pages::Pages},
    bridge::{Core, Settings},
    channel::{Channel, ChannelError},
    config::BridgeConfig,
    control::{Handle, Owner},
    pg::config::ConfigError,
    reactor::Reactor,
    shell::{self, TokenFile, TokenFileError},
};

/// WebSocket clients on one side, PostgreSQL's LISTEN/NOTIFY on the other.
///
/// ```no_run
/// use alle::{Bridge, BridgeConfig};
///
/// let config = BridgeConfig::new("postgresql://localhost/postgres", "127.0.0.1:8080")
///     .with_channels(["channel1", "channel2"]);
/// let bridge = Bridge::new(config);
/// bridge.run()?;
/// # Ok::<(), alle::BridgeError>(())
/// ```
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    owner: Owner,
    signals: bool,
}

impl Bridge {
    /// Nothing happens before [`Self::run`].
    pub fn new(config: BridgeConfig) -> Self {
        Self {
            config,
            owner: Owner::default(),
            signals: false,
        }
    }

    /// Stops on SIGINT and SIGTERM; a second one ends [`Self::run`] at once.
    #[must_use]
    pub fn with_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Stops the bridge, and tells its address, from another thread.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.owner.0))
    }

    /// Serves on this thread until stopped. Returns an error only if it cannot start: PostgreSQL
    /// that is down, or refuses us, is tried for ever.
    pub fn run(self) -> Result<(), BridgeError> {
        self.serve()
    }

    fn serve(self) -> Result<(), BridgeError> {
        let postgres = shell::postgres_configs(&self.config).map_err(BridgeError::PostgresUrl)?;
        let channels = self.config.channels.iter().map(|name| {
            Channel::new(name).map_err(|error| BridgeError::Channel(name.clone(), error))
        });
        let channels = channels.collect::<Result<_, _>>()?;
        let address = shell::resolve(&self.config.ws_bind_addr)?;
        let mut token_file = self.config.token_file.map(TokenFile::new);
        let tokens = token_file.as_mut().map(TokenFile::read).transpose();
        let tokens = tokens.map_err(BridgeError::TokenFile)?;
        let is_token_required = tokens.is_some();
        let mut limits = self.config.limits;
        limits.clients_max.get_or_insert_with(|| {
            shell::open_files_max()
                .saturating_sub(RESERVED_FILES)
                .max(1)
        });
        let settings = Settings {
            limits,
            access: Access {
                pages: Pages {
                    loopback_bind: address.ip().is_loopback(),
                    allow_origins: self.config.allow_origins,
                    allow_hosts: self.config.allow_hosts,
                },
                everybody: self.config.permissions,
                tokens,
            },
            page: self.config.playground.then_some(PLAYGROUND),
            channels,
            unlisten_delay: self.config.unlisten_delay,
            seed: shell::seed()?,
        };
        let core = Core::new(settings, postgres, shell::now());
        let bind = |error| BridgeError::Bind(address, error);
        let mut reactor = Reactor::new(core, address, Arc::clone(&self.owner.0)).map_err(bind)?;
        if self.signals {
            reactor
                .handle_signals(token_file)
                .map_err(BridgeError::Io)?;
        }
        let address = reactor.local_addr().map_err(BridgeError::Io)?;
        tracing::info!("listening on ws://{address}");
        if !address.ip().is_loopback() && !is_token_required {
            tracing::warn!(
                "{address} can be reached from other machines, and no token is required there: \
                 see --token-file"
            );
        }
        reactor.run().map_err(BridgeError::Io)
    }
}

/// Why a bridge cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BridgeError {
    /// The connection string is malformed.
    PostgresUrl(ConfigError),
    /// This cannot name a channel.
    Channel(String, ChannelError),
    /// The file of tokens cannot be read, or is none.
    TokenFile(TokenFileError),
    /// Not `HOST:PORT`, or the host has no address.
    Address(String, io::Error),
    /// The address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// The system refuses something else.
    Io(io::Error),
}

impl BridgeError {
    /// Whether what was asked for is wrong, rather than what happened.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::PostgresUrl(_) | Self::Channel(..) | Self::TokenFile(_) | Self::Address(..) => {
                true
            }
            Self::Bind(..) | Self::Io(_) => false,
        }
    }
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PostgresUrl(error) => write!(f, "PostgreSQL URL: {error}"),
            Self::Channel(name, error) => write!(f, "channel {name:?}: {error}"),
            Self::TokenFile(error) => error.fmt(f),
            Self::Address(address, error) => write!(f, "address {address:?}: {error}"),
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for BridgeError {}

/// For PostgreSQL, the listening socket, connections that are refused, and what the system needs.
const RESERVED_FILES: usize = 64;
const PLAYGROUND: &str = include_str!("../assets/playground.html");
