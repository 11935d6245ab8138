//! The configuration of a server: plain data, made once, never changed.
//!
//! Knows neither the environment nor the command line.

mod tls;

use std::{path::PathBuf, time::Duration};

pub use self::tls::{ClientAuth, TlsConfig, TlsConfigError};
use crate::access::{Permissions, jwt::JwtRules, proxies::TrustedProxies};

/// The configuration of a [`Bridge`](crate::Bridge).
///
/// ```
/// let config = alle::BridgeConfig::new("postgresql://localhost/postgres", "127.0.0.1:8080")
///     .with_channels(["orders", "alerts"]);
/// assert_eq!(config.channels, ["orders", "alerts"]);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BridgeConfig {
    /// A connection string (PostgreSQL, "Connection URIs"). An empty one is what the `PG*` variables
    /// say and, for what they leave out, `postgresql://localhost/postgres`.
    pub postgres_url: String,
    /// The connection string of the listening session, if not `postgres_url`: to bypass a pooler,
    /// say.
    pub postgres_listen_url: Option<String>,
    /// The connection string of the publishing session, if not `postgres_url`: of the same
    /// database.
    pub postgres_publish_url: Option<String>,
    /// Whether variables (`PG*`) and files (of passwords, services and certificates) add to the
    /// connection strings what they leave out, as with libpq.
    pub postgres_environment: bool,
    /// `HOST:PORT`; port 0 picks a free one.
    pub ws_bind_addr: String,
    /// `HOST:PORT` for health and metrics, which are then served there only.
    pub admin_addr: Option<String>,
    /// TLS towards clients.
    pub tls: TlsConfig,
    /// Listened to from the start and never unlistened.
    pub channels: Vec<String>,
    /// Whether `GET /` shows the playground page, and `GET /alle.js` is the module for pages.
    pub playground: bool,
    /// A connection string that the playground page shows to everybody, as an argument of `psql`.
    pub playground_psql_url: Option<String>,
    /// Origins, beside the server's own, whose pages may connect; `*` for all.
    pub allow_origins: Vec<String>,
    /// Whether the pages of this machine's own servers may connect: `localhost`, `127.0.0.1` and
    /// `[::1]`, on any port.
    pub allow_local_origins: bool,
    /// Names, beside localhost, under which a client may reach the server. Empty: any name, and on a
    /// loopback address localhost alone.
    pub allow_hosts: Vec<String>,
    /// The proxies that are believed when they say for whom they speak; by default none. The address of
    /// a client is in the log, counts for the limits of an address, and is told to whoever decides
    /// about the client.
    pub proxies: TrustedProxies,
    /// The channels that every client may subscribe and publish to; by default all.
    pub permissions: Permissions,
    /// A file of tokens ([`Tokens::parse`](crate::access::tokens::Tokens::parse)): a client must
    /// present one of them. `None`: no token is required.
    pub token_file: Option<PathBuf>,
    /// A function of the database, as `SCHEMA.NAME`, that says whose a token is which is neither a JWT
    /// nor in `token_file`.
    pub auth_function: Option<String>,
    /// A cookie of this name may bring the token, if the request comes from a page of the server's
    /// own, or of one of `allow_origins`.
    pub token_cookie: Option<String>,
    /// The group of bridges on this database that take over each other's clients, by its name.
    pub group: Option<String>,
    /// The file of the secret that they share: at least 32 bytes that nobody else may read.
    pub group_key_file: Option<PathBuf>,
    /// JSON Web Tokens as tokens: a client must present one, or one of `token_file` where that is
    /// given, too.
    pub jwt: JwtConfig,
    /// How long a channel stays listened to, and its history is kept, after its last subscriber has
    /// left, however it left. `None`: not at all after an unsubscribe, or a close frame of the client
    /// with 1000 or without a code; 10 s after any other end, since such a client may come back.
    pub unlisten_delay: Option<Duration>,
    /// The time after a signal in which clients are still served and closed one by one;
    /// [`Self::DRAIN_MAX`] at most.
    pub drain: Duration,
    /// The limits on the cost of peers.
    pub limits: Limits,
}

impl BridgeConfig {
    /// The longest [`Self::drain`]; a longer one is shortened to it.
    pub const DRAIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// A bridge from `postgres_url` to `ws_bind_addr`, everything else at its default.
    pub fn new(postgres_url: impl Into<String>, ws_bind_addr: impl Into<String>) -> Self {
        Self {
            postgres_url: postgres_url.into(),
            postgres_listen_url: None,
            postgres_publish_url: None,
            postgres_environment: true,
            ws_bind_addr: ws_bind_addr.into(),
            admin_addr: None,
            tls: TlsConfig::default(),
            channels: Vec::new(),
            playground: false,
            playground_psql_url: None,
            allow_origins: Vec::new(),
            allow_local_origins: false,
            allow_hosts: Vec::new(),
            proxies: TrustedProxies::default(),
            permissions: Permissions::default(),
            token_file: None,
            auth_function: None,
            token_cookie: None,
            group: None,
            group_key_file: None,
            jwt: JwtConfig::default(),
            unlisten_delay: None,
            drain: Duration::ZERO,
            limits: Limits::default(),
        }
    }

    /// Listens to these from the start.
    #[must_use]
    pub fn with_channels<C: Into<String>>(mut self, channels: impl IntoIterator<Item = C>) -> Self {
        self.channels = channels.into_iter().map(Into::into).collect();
        self
    }

    /// Opens the listening session here instead, since a pooler in front of PostgreSQL may break
    /// LISTEN.
    #[must_use]
    pub fn with_postgres_listen_url(mut self, url: impl Into<String>) -> Self {
        self.postgres_listen_url = Some(url.into());
        self
    }

    /// Opens the publishing session here instead.
    #[must_use]
    pub fn with_postgres_publish_url(mut self, url: impl Into<String>) -> Self {
        self.postgres_publish_url = Some(url.into());
        self
    }

    /// Takes the connection strings as they are, whatever variables (`PG*`) and files would add.
    #[must_use]
    pub fn without_postgres_environment(mut self) -> Self {
        self.postgres_environment = false;
        self
    }

    /// Answers `/healthz`, `/readyz` and `/metrics` at this `HOST:PORT` instead of beside the
    /// clients.
    #[must_use]
    pub fn with_admin_addr(mut self, address: impl Into<String>) -> Self {
        self.admin_addr = Some(address.into());
        self
    }

    /// Speaks TLS with clients: `certificate` is a file of a certificate and its chain, `key` that of its
    /// key, both in PEM. Called again, it adds another pair; the client's server name chooses.
    #[must_use]
    pub fn with_tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.certificates.push(certificate.into());
        self.tls.keys.push(key.into());
        self
    }

    /// Takes a certificate that an authority in `file` signed as it takes a token; see
    /// [`TlsConfig::client_auth`].
    #[must_use]
    pub fn with_tls_client_ca(mut self, file: impl Into<PathBuf>, auth: ClientAuth) -> Self {
        self.tls.client_ca = Some(file.into());
        self.tls.client_auth = auth;
        self
    }

    /// Shows the playground page at `GET /`, and serves the module for pages at `GET /alle.js`.
    #[must_use]
    pub fn with_playground(mut self, playground: bool) -> Self {
        self.playground = playground;
        self
    }

    /// Lets the playground page show this connection string to everybody, as an argument of `psql`.
    #[must_use]
    pub fn with_playground_psql_url(mut self, url: impl Into<String>) -> Self {
        self.playground_psql_url = Some(url.into());
        self
    }

    /// Allows pages of `localhost`, `127.0.0.1` and `[::1]`, on any port, to connect: for development.
    #[must_use]
    pub fn with_allow_local_origins(mut self, is_allowed: bool) -> Self {
        self.allow_local_origins = is_allowed;
        self
    }

    /// Allows pages of these origins to connect.
    #[must_use]
    pub fn with_allow_origins<O: Into<String>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Self {
        self.allow_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Allows requests for these hosts and for localhost alone, on every address.
    #[must_use]
    pub fn with_allow_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.allow_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Believes these proxies when they say for whom they speak.
    #[must_use]
    pub fn with_trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Lets clients subscribe and publish to these channels only.
    #[must_use]
    pub fn with_permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Requires a token of this file. The file is read at the start and, where the bridge takes
    /// signals, again at each SIGHUP.
    #[must_use]
    pub fn with_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Asks this function of the database, `SCHEMA.NAME`, whose a token is that nobody else knows.
    #[must_use]
    pub fn with_auth_function(mut self, name: impl Into<String>) -> Self {
        self.auth_function = Some(name.into());
        self
    }

    /// Takes the token of a request also from the cookie of this name: a browser adds it by itself, so
    /// it counts only where the page is the server's own or of an origin that is allowed by name.
    #[must_use]
    pub fn with_token_cookie(mut self, name: impl Into<String>) -> Self {
        self.token_cookie = Some(name.into());
        self
    }

    /// Takes JSON Web Tokens. Their keys are read at the start and, where the bridge takes signals,
    /// again at each SIGHUP.
    #[must_use]
    pub fn with_jwt(mut self, jwt: JwtConfig) -> Self {
        self.jwt = jwt;
        self
    }

    /// Joins the group of this name: bridges on one database, each of which knows the positions of
    /// the others' clients. Other roles of the database are kept out; whoever shares the bridge's role
    /// is only by [`Self::with_group_key_file`].
    #[must_use]
    pub fn with_group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// The file of the secret that the bridges of the group share.
    #[must_use]
    pub fn with_group_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.group_key_file = Some(path.into());
        self
    }

    /// Keeps listening to a channel for this long after its last subscriber has left, however it
    /// left.
    #[must_use]
    pub fn with_unlisten_delay(mut self, delay: Duration) -> Self {
        self.unlisten_delay = Some(delay);
        self
    }

    /// After a signal, continues to serve for this long: `/readyz` says 503, upgrades get 503, and
    /// each client is closed with 1001 at a random time. At most [`Self::DRAIN_MAX`].
    #[must_use]
    pub fn with_drain(mut self, span: Duration) -> Self {
        self.drain = span;
        self
    }

    /// Keeps the last `frames` notifications of each channel, and `bytes` of them in all, for
    /// clients that resume; 0 keeps none.
    #[must_use]
    pub fn with_history(mut self, frames: usize, bytes: usize) -> Self {
        self.limits.history_frames_max = frames;
        self.limits.history_bytes_max = bytes;
        self
    }

    /// Accepts at most this many clients at a time.
    #[must_use]
    pub fn with_max_clients(mut self, clients: usize) -> Self {
        self.limits.clients_max = Some(clients);
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Which JSON Web Tokens let clients in. Without keys none does.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JwtConfig {
    /// A file with one key: a public key in PEM (RS256, ES256, EdDSA), or a secret (HS256), which is
    /// its bytes less one line end, at least 32 of them.
    pub key_file: Option<PathBuf>,
    /// A file with a JWK Set (RFC 7517): a key is found by the `kid` of a token.
    pub jwks_file: Option<PathBuf>,
    /// What a token has to say.
    pub rules: JwtRules,
}

impl JwtConfig {
    /// Whether there are keys.
    pub fn has_keys(&self) -> bool {
        self.key_file.is_some() || self.jwks_file.is_some()
    }
}

/// The limits on the cost of peers. Each limit is tested at its edge and has a stated outcome.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Clients at a time; over it an upgrade gets 503, or the place of the client that has been
    /// unauthenticated the longest, which is closed with 1013. `None`: the limit of open files,
    /// less 64 for everything else.
    pub clients_max: Option<usize>,
    /// Clients at a time from one address (IPv6: from one network of 64 bits, which is what one
    /// host has); over it an upgrade gets 429. `None`: any number.
    pub address_clients_max: Option<usize>,
    /// Clients at a time of one identity, which is the `sub` of a JWT; over it an upgrade gets 429, and
    /// a client that says who it is in a message is closed with 1013. `None`: any number.
    pub identity_clients_max: Option<usize>,
    /// Answers of the function about tokens that are remembered; over it, the one that was used the
    /// longest ago is forgotten.
    pub verdicts_max: usize,
    /// A client waits so long for the function to say whose its token is; then it is closed with 1013, or
    /// its request answered with 503.
    pub verdict_timeout: Duration,
    /// Messages a second of one identity, by all of its clients, and requests over HTTP among them, and
    /// as many at once; over it: `rate_limited`. `None`: any number.
    pub identity_rate_max: Option<u32>,
    /// Messages a second of one client, and as many at once; over it: `rate_limited`, or closed
    /// with 1008 where clients speak a protocol of the program's own. `None`: any number.
    pub client_rate_max: Option<u32>,
    /// Subscriptions of one client, those awaiting confirmation included; over it:
    /// `too_many_subscriptions`.
    pub subscriptions_max: usize,
    /// Channels listened to at a time, for all clients; at it a channel without subscribers gives
    /// way. While less than half is left, the more channels a client has for itself the earlier it is
    /// refused another one, so that no few clients take all of them; the last place goes to a client
    /// without any. Refused: `too_many_channels`. PostgreSQL up to 18 searches its list of channels
    /// at each LISTEN.
    pub channels_max: usize,
    /// Bytes of one message of a client; over it: closed with 1009.
    pub message_bytes_max: usize,
    /// Bytes a client's backlog may refer to; over it: closed with 4008.
    pub client_queue_bytes_max: usize,
    /// Memory of all batches still referred to; over it: the slowest client is closed with 4008.
    pub retained_bytes_max: usize,
    /// A backlog without progress for this long: closed with 4008.
    pub stall_timeout: Duration,
    /// Unfinished opening handshakes at a time; over it the oldest gets 503.
    pub handshakes_max: usize,
    /// An opening handshake may take this long; then the socket is closed. A client waits so long for
    /// the program to say whether it may come in, or do what it wants.
    pub handshake_timeout: Duration,
    /// A client without a token gets this long for its `auth`; then it is closed with 4001.
    pub auth_timeout: Duration,
    /// At this many wrong tokens on one connection, it is closed with 4001.
    pub auth_failures_max: u8,
    /// A closing handshake may take this long; then the socket is reset.
    pub closing_timeout: Duration,
    /// Silence of a client before it is pinged.
    pub ping_interval: Duration,
    /// Silence after the ping before the client counts as gone.
    pub pong_timeout: Duration,
    /// Publishes of one client that await their commit; at it, the client is not read.
    pub client_publishes_max: usize,
    /// Requests of one connection over HTTP without their answer; at it, the connection is not read.
    pub client_requests_max: usize,
    /// A connection over HTTP that has its answers may ask again for this long; then it is closed.
    pub idle_timeout: Duration,
    /// Answers that one client has not read, in bytes; over it, the client is not read.
    pub client_answer_bytes_max: usize,
    /// Subscribes and publishes of all clients that wait for PostgreSQL, in bytes; over it:
    /// `rate_limited`.
    pub waiting_bytes_max: usize,
    /// Memory held for single clients, in all: unread answers, and input that is incomplete or not
    /// yet processed; over it: the client that holds the most is closed with 1013.
    pub owned_bytes_max: usize,
    /// A message may take this long from its first byte to its last; then the client is closed with
    /// 1008.
    pub message_timeout: Duration,
    /// Notifications kept per channel for clients that resume; older ones are dropped.
    pub history_frames_max: usize,
    /// Bytes of those notifications over all channels; the oldest of all are dropped first.
    pub history_bytes_max: usize,
    /// Frames not yet passed to their clients, in bytes; over it, PostgreSQL is not read.
    pub unsent_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: None,
            address_clients_max: None,
            identity_clients_max: None,
            verdicts_max: 10_000,
            verdict_timeout: Duration::from_secs(30),
            identity_rate_max: None,
            client_rate_max: None,
            subscriptions_max: 1_000,
            channels_max: 20_000,
            message_bytes_max: 64 * 1024,
            client_queue_bytes_max: 16 * 1024 * 1024,
            retained_bytes_max: 256 * 1024 * 1024,
            stall_timeout: Duration::from_secs(10),
            handshakes_max: 4_096,
            handshake_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            auth_failures_max: 3,
            closing_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            client_publishes_max: 256,
            client_requests_max: 16,
            idle_timeout: Duration::from_secs(60),
            client_answer_bytes_max: 64 * 1024,
            waiting_bytes_max: 64 * 1024 * 1024,
            owned_bytes_max: 128 * 1024 * 1024,
            message_timeout: Duration::from_secs(30),
            history_frames_max: 64,
            history_bytes_max: 16 * 1024 * 1024,
            unsent_bytes_max: 8 * 1024 * 1024,
        }
    }
}
