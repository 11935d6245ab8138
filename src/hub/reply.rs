//! What becomes of a request, as a value: the one who judges it hands it to the one who acts.
//!
//! Knows neither why nor what follows.

use super::{answer::Answer, token_refusal::TokenRefusal};
use crate::{
    access::{Credential, intent::Intent},
    channel::Channel,
};

/// What becomes of a request.
pub(super) enum Reply {
    /// An answer.
    Respond(Answer),
    /// Somebody is to be asked about the client, or what it wants; until the answer, the connection
    /// waits. Whether the request takes the connection over, if it may.
    Ask {
        takes_over: bool,
        /// `None`: whether it may come in.
        about: Option<Intent>,
    },
    /// The database is asked whose its token is; until the answer, the connection waits.
    Wait,
    /// The connection becomes a WebSocket.
    Upgrade(Handshake),
    /// The connection becomes an event stream.
    Stream(Stream),
    /// The body is a payload.
    Publish(Publish),
}

impl Reply {
    /// Whether the connection becomes that of a client.
    pub(super) fn takes_over(&self) -> bool {
        matches!(
            self,
            Self::Upgrade(_)
                | Self::Stream(_)
                | Self::Ask {
                    takes_over: true,
                    ..
                }
        )
    }
}

/// An opening handshake that is accepted.
pub(super) struct Handshake {
    /// The client's `Sec-WebSocket-Key`.
    pub(super) key: String,
    /// The subprotocol that is spoken.
    pub(super) protocol: Option<&'static str>,
    /// The token that came with the request; or why it does not count, for a page that could not see
    /// the handshake refused.
    pub(super) token: Result<Option<Credential>, TokenRefusal>,
}

/// A stream that may begin.
pub(super) struct Stream {
    pub(super) token: Option<Credential>,
    pub(super) channels: Vec<Channel>,
    /// The position as the reader has it.
    pub(super) last_event_id: Option<String>,
    /// Header fields of the response.
    pub(super) fields: String,
}

/// A publish that lacks its payload.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    pub(super) channel: Channel,
    pub(super) token: Option<Credential>,
    /// Another request may follow.
    pub(super) is_persistent: bool,
    /// The header fields that its answer has besides its own.
    pub(super) fields: String,
}
