//! What a client that is in wants to do, and the answer of whoever is asked about it.
//!
//! Plain values. Refuses to know how the client asked: by a message, or over HTTP.

use crate::channel::Channel;

/// What a client wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Intent {
    /// To subscribe: to one channel by a message, to all channels of a stream at `/sse`.
    Subscribe(Vec<Channel>),
    /// To publish to the channel, by a message or at `/publish/CHANNEL`.
    Notify(Channel),
}

impl Intent {
    /// The channel, if it is about one.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Subscribe(channels) => match channels.as_slice() {
                [channel] => Some(channel),
                [] | [_, ..] => None,
            },
            Self::Notify(channel) => Some(channel),
        }
    }
}

/// The answer about an [`Intent`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The client may.
    Allow,
    /// The client may not: `forbidden`, with this line as the text.
    Refuse(String),
    /// Nobody can tell at the moment. A message is answered with `forbidden` and this line, a publish
    /// over HTTP with 503; the reader of a stream opens it again.
    Unavailable(String),
}
