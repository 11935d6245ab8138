//! WebSocket clients on PostgreSQL LISTEN/NOTIFY.
//!
//! `alle` lets any number of WebSocket clients hear of a change in PostgreSQL within milliseconds. A
//! client subscribes to channels and leaves them at will, the bridge LISTENs to a channel while
//! anybody is subscribed to it, and clients publish with NOTIFY. One thread, one connection that
//! listens however many clients there are, and no async runtime.
//!
//! ```no_run
//! use alle::{Bridge, BridgeConfig, BridgeError};
//!
//! fn main() -> Result<(), BridgeError> {
//!     let config = BridgeConfig::new("postgresql://localhost/postgres", "127.0.0.1:8080")
//!         .with_channels(["orders", "alerts"]);
//!     let bridge = Bridge::new(config).spawn()?; // serves on a thread of its own
//!     println!("{}", bridge.ws_url());
//!     // ... the program's own work ...
//!     bridge.stop().wait() // or .await
//! }
//! ```
//!
//! # Which type for what
//!
//! | to | use |
//! | --- | --- |
//! | run the whole bridge in your program | [`Bridge`] with a [`BridgeConfig`], and [`RunningBridge`] |
//! | stop it, publish by it, or ask it how it goes, from elsewhere | its [`Handle`] |
//! | hear and publish notifications yourself, without WebSockets | [`PostgresListener`] and [`Notifications`] |
//! | serve WebSocket clients from a source of your own | [`WebSocketServer`] and [`IncomingRequests`] |
//! | find out whether LISTEN and NOTIFY work with a PostgreSQL | [`doctor::examine`] |
//! | bound what each peer may cost | [`Limits`] |
//! | say who may subscribe and publish where | [`Permissions`], and a file of tokens |
//! | decide that in your program | [`Bridge::with_admission`], [`Bridge::with_authorization`] |
//! | send to one client, and know what waits for it | [`Handle::send_to`], [`Handle::load`] |
//! | know which clients are there, and what they hear | [`Bridge::with_lifecycle`] |
//!
//! # With an async runtime, and without
//!
//! There is no runtime inside, and none is needed outside. A call that takes time returns an
//! [`Operation`]: a program without a runtime blocks by [`.wait()`](Operation::wait), and a task of
//! Tokio, smol or any other runtime awaits it, which never blocks its thread. A [`Receiver`]
//! ([`Notifications`], [`IncomingRequests`], [`LifecycleEvents`]) is an iterator for the one and a
//! stream for the other. To drop an operation, a listener or a running bridge never blocks either, and a
//! [`RunningBridge`] that is dropped stops: a program that ends by an error ends at once.
//!
//! # What it promises
//!
//! - `subscribed` is sent only after PostgreSQL confirmed the LISTEN: every notification that is
//!   committed after it is delivered, once, in commit order, across channels too.
//! - Loss is told. A client whose connection, or whose PostgreSQL, was away gets what it missed from
//!   the history, or a `gap`.
//! - A client that does not read delays no other; it is closed with 4008, never quietly skipped.
//! - Whatever clients do, memory and the work of a turn are bounded.
//!
//! The [protocol of clients](https://github.com/alle-rs/alle/blob/main/docs/protocol.md) and the
//! [command line](https://github.com/alle-rs/alle#readme) are described beside the source.
//!
//! # Features
//!
//! - `tls` (default): TLS to PostgreSQL and towards clients, JSON Web Tokens, and `wss://` for the
//!   command line's clients.
//!
//! # Logs
//!
//! What happens is told by [`tracing`](https://docs.rs/tracing), to whatever subscriber the program
//! has: `alle::bridge`, `alle::client`, `alle::group` and `alle::postgres` are the targets. No payload
//! and no password is among it.
//!
//! # Inside
//!
//! [`architecture`] describes how the crate is built.

mod access;
pub mod architecture;
mod backend;
mod backoff;
mod bridge;
mod channel;
mod config;
mod delivery;
pub mod doctor;
mod error;
mod escape;
mod front_door;
mod group_config;
mod group_key_file;
mod handle;
mod http;
mod hub;
mod id;
#[cfg(test)]
mod laid_out;
mod listener;
mod message;
mod metrics;
mod operation;
mod orders;
mod pg;
mod process;
mod queue;
mod race;
mod random;
mod reactor;
mod regular_file;
mod running;
mod sandbox;
mod service_manager;
mod sse;
mod startup;
mod surroundings;
mod terminal;
mod ticket_keys;
mod tickets;
mod token_file;
mod web_socket_server;
mod worker;
mod workers;
mod ws;

pub use self::{
    access::{
        Permissions,
        cookie::TokenCookieError,
        globs::Globs,
        intent::{Decision, Intent},
        jwt::{JwtRules, KeyFault},
        proxies::{Cidr, CidrError, ProxyHeader, TrustedProxies},
        templates::TemplateError,
        visitor::{Verdict, Visitor},
    },
    bridge::Bridge,
    channel::{Channel, ChannelError, Payload, PayloadError},
    config::{BridgeConfig, ClientAuth, JwtConfig, Limits, TlsConfig, TlsConfigError},
    error::BridgeError,
    group_key_file::GroupKeyError,
    handle::Handle,
    hub::{
        custom_protocol::{RawMessage, SendError},
        feed::Incoming,
        lifecycle::LifecycleEvent,
        load::Load,
    },
    id::ClientId,
    listener::{ListenerError, PostgresListener},
    operation::Operation,
    orders::PublishError,
    pg::{
        config::ConfigError,
        function::FunctionNameError,
        session::{ServerError, SessionError},
    },
    queue::{
        Receiver, Recv,
        lifecycle::LifecycleEvents,
        notifications::{Notification, Notifications, Received},
        requests::IncomingRequests,
    },
    running::RunningBridge,
    tickets::{AdmissionTicket, AuthorizationTicket},
    token_file::{KeyFileError, ReloadError, TokenFileError},
    web_socket_server::WebSocketServer,
};

/// **Unstable**: the core without sockets, clocks and threads, for programs that have a loop of their
/// own. It may change with every version.
///
/// A [`Hub`](sans_io::Hub) is the whole bridge as a state machine. Bytes and the time come in by
/// `handle_*`, bytes leave by `poll_transmit`, and what only a shell can do is told by
/// `poll_action`. Here it serves a client in memory:
///
/// ```
/// use std::time::Instant;
///
/// use alle::{Channel, sans_io::{Action, Endpoints, Fed, Hub, Settings, Written, transmit}};
///
/// let mut hub = Hub::with_feed(Settings::default(), Instant::now());
/// let mut received = Vec::new();
///
/// // A socket was accepted, and its bytes came.
/// let client = hub.handle_connected(Endpoints::default());
/// let head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// hub.handle_client_input(client, &mut head.as_bytes().to_vec());
///
/// // A text frame of the client, masked with zeros (RFC 6455, 5.2).
/// let text = r#"{"type":"subscribe","channel":"news"}"#;
/// let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
/// frame.extend_from_slice(text.as_bytes());
/// hub.handle_client_input(client, &mut frame);
///
/// // Where there is no PostgreSQL, the notifications are ours.
/// let news = Channel::new("news")?;
/// hub.handle_fed(&Fed::Notification(news, "hello".to_string()));
///
/// // A turn: actions, then bytes, then the end of the turn.
/// while let Some(action) = hub.poll_action() {
///     // The channel has a subscriber now: a program that feeds it would be told.
///     assert!(matches!(action, Action::Request(_)));
/// }
/// while transmit(&mut hub, |_client, bytes| {
///     received.extend_from_slice(bytes);
///     Written::All
/// }) {}
/// hub.end_turn();
///
/// let received = String::from_utf8_lossy(&received);
/// assert!(received.starts_with("HTTP/1.1 101 "));
/// assert!(received.contains(r#""type":"subscribed""#));
/// assert!(received.contains(r#""payload":"hello""#));
/// # Ok::<(), alle::ChannelError>(())
/// ```
pub mod sans_io {
    pub use crate::{
        access::question::{Question, QuestionId, Ruling},
        delivery::outgoing::{Outgoing, Transmit, Written},
        hub::{
            Action, Disconnect, Endpoints, Hub, Settings,
            drive::transmit,
            feed::{Fed, Request, Taken},
        },
        id::ClientId,
    };
}

/// What the program, the tests, the benchmarks and the fuzzers need of the inside: no promise is
/// made for it, and it changes with every version.
#[doc(hidden)]
pub mod internals {
    pub mod access {
        pub use crate::access::*;
    }
    pub mod backend {
        pub use crate::backend::*;
    }
    pub mod backoff {
        pub use crate::backoff::*;
    }
    pub mod channel {
        pub use crate::channel::*;
    }
    #[cfg(feature = "tls")]
    pub mod client_tls {
        pub use crate::reactor::client_tls::Connection;
    }
    pub mod config {
        pub use crate::config::*;
    }
    pub mod delivery {
        pub use crate::delivery::*;
    }
    pub mod escape {
        pub use crate::escape::*;
    }
    pub mod http {
        pub use crate::http::*;
    }
    pub mod hub {
        pub use crate::hub::*;
    }
    pub mod id {
        pub use crate::id::*;
    }
    pub mod message {
        pub use crate::message::*;
    }
    pub mod metrics {
        pub use crate::metrics::*;
    }
    pub mod pg {
        pub use crate::pg::*;
    }
    pub mod race {
        pub use crate::race::*;
    }
    pub mod sandbox {
        pub use crate::sandbox::*;
    }
    pub mod sse {
        pub use crate::sse::*;
    }
    pub mod workers {
        pub use crate::{
            worker::{NoParent, Worker},
            workers::{Workers, wire::KeptFile},
        };
    }
    pub mod ws {
        pub use crate::ws::*;
    }
}

/// The Rust of the README and of the docs compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
struct Readme;
