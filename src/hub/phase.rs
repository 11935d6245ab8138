//! Where a connection stands, from its first byte to its last.
//!
//! A phase owns the data that only means something in it. Does not know what leads from one to
//! another.

use super::exchange::Exchange;
use crate::access::Credential;

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// The HTTP head is incomplete; what came of it so far.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 24 in every client's record"
    )]
    Handshake(Option<Box<Vec<u8>>>),
    /// It asks one thing after the other, and each is answered.
    Http(Box<Exchange>),
    /// Messages flow, but it has not said who it is: only a token is taken.
    Unauthenticated {
        /// Wrong tokens so far.
        failures: u8,
    },
    /// Messages flow.
    Open {
        /// A ping is unanswered.
        pinged: bool,
        /// Wrong tokens so far.
        failures: u8,
        /// The token it came in with; `None` where none is required. Boxed, since each client's
        /// record has room for it.
        token: Option<Box<Credential>>,
    },
    /// Our close frame is queued or sent; the peer's is awaited.
    Closing,
    /// The last bytes are queued; when they are out, we shut down.
    Flushing,
    /// All is sent and shut down; the peer's end is awaited, so that no reset overtakes the bytes.
    Lingering,
    /// The socket is let go; the slot is freed at the end of the turn.
    Removed,
}

impl Phase {
    /// Whether messages flow.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Unauthenticated { .. } | Self::Open { .. })
    }

    /// What the client came in with, if messages flow.
    pub(super) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Open { token, .. } => token.as_deref(),
            Self::Handshake(_)
            | Self::Http(_)
            | Self::Unauthenticated { .. }
            | Self::Closing
            | Self::Flushing
            | Self::Lingering
            | Self::Removed => None,
        }
    }

    /// Whether it has not said what it wants, or not what it wants next.
    pub(super) fn is_unfinished(&self) -> bool {
        match self {
            Self::Handshake(_) => true,
            Self::Http(exchange) => exchange.is_idle(),
            Self::Unauthenticated { .. }
            | Self::Open { .. }
            | Self::Closing
            | Self::Flushing
            | Self::Lingering
            | Self::Removed => false,
        }
    }

    /// Whether the connection is on its way out.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self, Self::Closing | Self::Flushing | Self::Lingering)
    }
}
