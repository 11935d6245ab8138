//! WebSocket clients on PostgreSQL LISTEN/NOTIFY: the architecture of the crate.
//!
//! To use it, start at [`Bridge`]. To run it, see the README. To change it, read on.
//!
//! # Two halves
//!
//! One thread, one `mio::Poll`. The **core** decides everything and touches nothing: no socket, no
//! clock, no random number; time and a seed are arguments. The **shell** owns every socket and
//! every clock, and decides nothing. So the core can be driven by tests, fuzzers and simulations
//! through each order of events that a network can produce, and the shell is short enough to be
//! checked by eye.
//!
//! # Layers
//!
//! Dependencies go down only, siblings do not know each other, and `tests/tidy.rs` holds us to it.
//!
//! ```text
//! cli                        what was typed, what it means, one command each
//! bridge, listener,          the library's front doors: configuration in, a running loop out
//! web_socket_server, doctor
//! error                      why nothing runs
//! startup                    what starting asks of the system: environment, names, a seed
//! reactor                    Poll, sockets, the turn: IO and the clock (and a smaller turn for
//!                            listener and doctor, which have PostgreSQL and no clients)
//! handle, queue              what it shares with other threads: a stop, and a queue either way
//! token_file                 read at the start and again when a signal says so
//! ───────────────────────────────────────────────────────────────────────────────────────────
//! hub                        clients and channels: who wants what, who gets what, in which order
//! backend                    two sessions to PostgreSQL kept alive: one hears, one speaks
//! delivery                   which bytes each client is owed: index, batches, passes, backlogs, history
//! pg  ws                     PostgreSQL's protocol; RFC 6455 and the HTTP head: bytes in, events out
//! metrics                    what happened, counted, and Prometheus's text of it
//! channel  message           valid by construction; the JSON protocol
//! config                     plain data to start with, and the limits
//! access                     who may come in, and who may subscribe and publish where
//! id  random                 names of clients and moments; numbers from a seed
//! ```
//!
//! # The same verbs everywhere
//!
//! Facts go down as `handle_*`, outcomes come up by `poll_*`: on [`pg::session::Session`], on
//! [`backend::Backend`], on [`hub::Hub`]. After any `handle_*`, drain the events, then
//! the bytes, then ask for the next time-out. `Hub::handle_*` return nothing, because no peer can
//! fail the server.
//!
//! # One turn
//!
//! `Reactor::turn` does this, always in this order:
//!
//! | step | budget |
//! | --- | --- |
//! | wait in `poll`, not at all while work is left that no event announces | |
//! | read PostgreSQL, encode each notification into its channel's batch | 64 KiB a session |
//! | read clients, answer them into their backlogs | 16 KiB each, 1 ms for all |
//! | accept | 64 |
//! | write: backlogs that can move, and one slice of one pass | 64 writes or 250 µs |
//! | time-outs: pings, handshakes, stalls, heartbeats, reconnects | a quarter of the clients |
//! | reap: who left leaves the index, slots are freed | |
//! | flush PostgreSQL | |
//!
//! Nothing is freed and no link is cut while something walks: mark, then reap. Events are
//! edge-triggered, so whatever a budget leaves undone is remembered and done in the next turn.
//!
//! # The path of one notification
//!
//! ```text
//! bytes ─► pg::codec splits the message by hand (invalid UTF-8 must not be fatal)
//!       ─► Hub::handle_notification: find the channel by name; not listened to, nobody there: counted, dropped
//!       ─► encoder::append_message: JSON and header, once
//!       ─► Fanout::append: into the channel's batch, with the next global sequence number
//!       ─► a pass walks the channel's dense array of subscribers, from the end to the start
//!            per subscriber: one write of one contiguous range, straight from the batch
//!            owed by several channels: merged by sequence, copied together, still one write
//!            socket full: a reference into the batch goes to that client's backlog
//! ```
//!
//! Nothing on it allocates per recipient (`tests/memory.rs` counts). Frames that arrive while a
//! pass walks gather behind it and leave together in the next one, so batching grows with load and
//! no timer is involved. A slice begins with the smallest pass; where it leaves the oldest out, the
//! next one begins with that.
//!
//! # Order
//!
//! Each client remembers the global sequence number up to which it was given everything (`seen`).
//! What it is owed is everything behind that on its channels, merged by sequence: that is
//! PostgreSQL's commit order, across channels. One rule keeps answers in step: *whatever is owed is
//! moved to the client's backlog before its subscriptions change, and before an answer about a
//! channel is queued.* `gap` is a frame of its channel and `status` one of everybody's, so neither
//! can overtake nor be overtaken.
//!
//! # Confirmation
//!
//! [`backend::interest::Interest`] is the one state of a channel towards PostgreSQL. `subscribed` is
//! sent when the LISTEN's ReadyForQuery came, never at its CommandComplete, and to everybody who
//! waited for that LISTEN at once. A client joins the index at that moment: nothing reaches it
//! before. When the session is lost, every wanted channel waits, is asked for again on the next
//! session, and its subscribers get `gap` with a new epoch when it is confirmed.
//!
//! # Memory
//!
//! An idle client is a 16-byte record that a fan-out touches, a cold record beside it, its links and
//! its socket. There is no read buffer (one for all), no write buffer, and no decoder state between
//! complete frames. A client that falls behind costs references into batches that exist once;
//! three bounds (progress, bytes referred to, bytes retained by all) close the slowest, visibly.
//!
//! # Where to look first
//!
//! The contract of a type is its documentation. Begin with [`hub::Hub`],
//! [`delivery::fanout`] and [`backend::interest`]; the tests in `src/hub/tests.rs` read as sentences.

pub mod access;
pub mod backend;
mod bridge;
pub mod channel;
pub mod config;
pub mod delivery;
pub mod doctor;
mod error;
mod handle;
pub mod hub;
pub mod id;
mod listener;
pub mod message;
pub mod metrics;
pub mod pg;
mod queue;
mod random;
mod reactor;
#[doc(hidden)]
pub mod sandbox;
mod startup;
mod token_file;
mod web_socket_server;
pub mod ws;

pub use self::{
    channel::{Channel, Payload},
    config::{BridgeConfig, Limits},
    listener::{ListenerError, PostgresListener},
    token_file::TokenFileError,
    web_socket_server::WebSocketServer,
};
pub use crate::{
    bridge::Bridge,
    error::BridgeError,
    handle::Handle,
    hub::{custom_protocol::RawMessage, feed::Incoming},
    queue::{
        notifications::{Notification, Notifications, Received},
        requests::IncomingRequests,
    },
};

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
