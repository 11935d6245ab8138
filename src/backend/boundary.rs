//! What the backend orders of the reactor, and what it reports to its owner.
//!
//! Values only.

use std::net::SocketAddr;

#[cfg(doc)]
use super::Backend;
use super::{Called, Control, Role, Stall, Unfit, command::Published};
use crate::{
    channel::{ChannelKey, LengthUnit},
    pg::{function::FunctionFault, session::ServerError},
};

/// An order to the reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Resolve the [`Backend::connection_string`] anew; report `handle_resolved` or
    /// `handle_unresolved`.
    Resolve(Role),
    /// Find the [`Backend::server`] and get ready for the [`Backend::route`]; report
    /// `handle_located`, or `handle_tls_failed` or `handle_lost`. A Unix socket is connected at
    /// once; report `handle_connected`.
    Connect(Role),
    /// Connect to this address of the server, beside the ones before it; report `handle_unopened`,
    /// or `handle_opened` for the first one that is connected. The others are closed then, and
    /// `handle_connected`, `handle_secured`, `handle_tls_failed` or `handle_lost` is reported.
    Open(Role, SocketAddr),
    /// Give up this address.
    Close(Role, SocketAddr),
    /// Run the [`Backend::take_key_derivation`], off the loop; report `handle_key`.
    DeriveKey(Role),
    /// The session is given up, and its connection stands: write the farewell of the
    /// [`Backend::departure`] and keep the socket aside until the server ends it; report
    /// `handle_left`.
    Leave(Role),
    /// Send the CancelRequest of the [`Backend::departure`] on a connection of its own, to where
    /// the session that was given up is, and as secure; nothing is reported.
    Cancel(Role),
    /// Drop the socket, and whatever else was ordered; nothing is reported.
    Disconnect(Role),
}

/// A report to the owner of the sessions.
#[derive(Debug)]
pub enum Event<'a> {
    /// The session takes commands, and its server counts in this unit.
    Up(Role, LengthUnit),
    /// The session is gone.
    Down(Role),
    /// The session that was being opened counts as down: an attempt has failed, or it took too long.
    Absent(Role),
    /// The session that came up goes on in clear text: TLS was asked for and failed.
    TlsGivenUp(Role),
    /// Whether the listening session, which is up, is known to receive notifications of the
    /// publishing one.
    Proved(bool),
    /// PostgreSQL refuses to notify; `None` once a notification was heard again.
    Refused(Option<ServerError>),
    /// A transaction of this many publishes was committed.
    Committed(u64),
    /// How full PostgreSQL's queue of notifications is, from 0 to 1.
    QueueUsage(f64),
    /// No publish commits; `None` once one does again.
    Stalled(Option<Stall>),
    /// The listening session, or an attempt at it, has failed; why, if the server lets us in and is
    /// of no use.
    Unfit(Option<Unfit>),
    /// LISTEN was answered.
    Listened(ChannelKey, Result<(), ServerError>),
    /// UNLISTEN was answered.
    Unlistened(ChannelKey),
    /// Somebody notified a channel; the bytes may be anything.
    Notification {
        /// The server's process that notified.
        process_id: u32,
        /// The channel.
        channel: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// The publish of this number ended.
    Published(u32, Published),
    /// Whether the function that says whose a token is can be called, and if not, why; of this session,
    /// and each time that it changes.
    Function(Result<(), FunctionFault>),
    /// The function was asked; the number is that of the question.
    Called(u32, Called),
    /// For a group: never without a control channel.
    Control(Control<'a>),
}
