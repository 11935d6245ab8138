//! What each command is to be run with.
//!
//! Plain data, made valid by `args`.

use alle::{access::Permissions, channel::Channel};

use crate::cli::{connection::WsUrl, token::TokenSource};

/// Where PostgreSQL is. The URLs are judged by the library.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PostgresOptions {
    /// For both sessions,
    pub(crate) url: String,
    /// but for the one that listens, perhaps,
    pub(crate) listen_url: Option<String>,
    /// and for the one that publishes.
    pub(crate) publish_url: Option<String>,
}

/// `alle serve`. URL and address are judged by the library.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServeOptions {
    /// Where PostgreSQL is.
    pub(crate) postgres: PostgresOptions,
    /// Where to listen for WebSocket clients.
    pub(crate) ws_bind_addr: String,
    /// Where health and metrics are, if not there.
    pub(crate) admin_addr: Option<String>,
    /// Channels listened to from the start.
    pub(crate) channels: Vec<String>,
    /// Origins allowed beside the server's own.
    pub(crate) allow_origins: Vec<String>,
    /// Values of `Host` allowed beside those of a loopback address.
    pub(crate) allow_hosts: Vec<String>,
    /// What clients may subscribe and publish to.
    pub(crate) permissions: Permissions,
    /// The file of the tokens that let somebody in.
    pub(crate) token_file: Option<String>,
    /// Whether `/` shows the playground page.
    pub(crate) playground: bool,
    /// Seconds in which clients leave one by one after a signal.
    pub(crate) drain: Option<usize>,
    /// What each peer may cost, where it was said.
    pub(crate) limits: LimitOptions,
}

/// Limits of `alle serve`; `None`: the library's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitOptions {
    /// Clients at a time.
    pub(crate) max_clients: Option<usize>,
    /// Clients at a time from one address.
    pub(crate) max_clients_per_address: Option<usize>,
    /// Messages a second of one client.
    pub(crate) client_rate: Option<usize>,
    /// Notifications kept per channel.
    pub(crate) history: Option<usize>,
    /// Bytes of them over all channels.
    pub(crate) history_bytes: Option<usize>,
    /// Seconds a deserted channel stays listened to.
    pub(crate) unlisten_delay: Option<usize>,
    /// Bytes a client may be behind.
    pub(crate) client_queue: Option<usize>,
    /// Bytes all clients together may hold.
    pub(crate) retained: Option<usize>,
}

/// `alle listen`.
#[derive(Debug)]
pub(crate) struct ListenOptions {
    /// The bridge.
    pub(crate) ws_url: WsUrl,
    /// What lets us in there.
    pub(crate) token: TokenSource,
    /// What to subscribe to from the start, each once, in the order typed.
    pub(crate) channels: Vec<String>,
    /// One JSON object a line instead of `[channel] payload`.
    pub(crate) json: bool,
    /// Whether a lost connection is opened again.
    pub(crate) reconnect: bool,
}

/// `alle publish`.
#[derive(Debug)]
pub(crate) struct PublishOptions {
    /// The bridge.
    pub(crate) ws_url: WsUrl,
    /// What lets us in there.
    pub(crate) token: TokenSource,
    /// Where to.
    pub(crate) channel: Channel,
    /// What; `-` stands for stdin.
    pub(crate) payload: String,
}

/// `alle demo`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DemoOptions {
    /// Where to listen for WebSocket clients; `None` is the default address or, taken, any port.
    pub(crate) ws_bind_addr: Option<String>,
}
