//! What a `mio::Token` stands for.

use mio::Token;

use crate::{backend::Role, id::ClientId};

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Listener,
    AdminListener,
    Waker,
    Signals,
    Backend(Role),
    /// Of what is left of a session of this role that was given up.
    Leaving(Role),
    Client(ClientId),
}

impl Source {
    pub(super) fn token(self) -> Token {
        Token(match self {
            Self::Listener => LISTENER,
            Self::AdminListener => ADMIN_LISTENER,
            Self::Waker => WAKER,
            Self::Signals => SIGNALS,
            Self::Backend(Role::Listening) => BACKEND_LISTENING,
            Self::Backend(Role::Publishing) => BACKEND_PUBLISHING,
            Self::Backend(Role::Authorizing) => BACKEND_AUTHORIZING,
            Self::Leaving(Role::Listening) => LEAVING_LISTENING,
            Self::Leaving(Role::Publishing) => LEAVING_PUBLISHING,
            Self::Leaving(Role::Authorizing) => LEAVING_AUTHORIZING,
            Self::Client(ClientId { slot, generation }) => {
                (generation as usize) << 32 | (slot as usize + FIRST_CLIENT) & SLOT_MASK
            }
        })
    }

    pub(super) fn from_token(Token(token): Token) -> Option<Self> {
        match token {
            LISTENER => Some(Self::Listener),
            ADMIN_LISTENER => Some(Self::AdminListener),
            WAKER => Some(Self::Waker),
            SIGNALS => Some(Self::Signals),
            BACKEND_LISTENING => Some(Self::Backend(Role::Listening)),
            BACKEND_PUBLISHING => Some(Self::Backend(Role::Publishing)),
            BACKEND_AUTHORIZING => Some(Self::Backend(Role::Authorizing)),
            LEAVING_LISTENING => Some(Self::Leaving(Role::Listening)),
            LEAVING_PUBLISHING => Some(Self::Leaving(Role::Publishing)),
            LEAVING_AUTHORIZING => Some(Self::Leaving(Role::Authorizing)),
            _ => Some(Self::Client(ClientId {
                slot: u32::try_from((token & SLOT_MASK).checked_sub(FIRST_CLIENT)?).ok()?,
                generation: u32::try_from(token >> 32).ok()?,
            })),
        }
    }
}

const LISTENER: usize = 0;
const WAKER: usize = 1;
const SIGNALS: usize = 2;
const BACKEND_LISTENING: usize = 3;
const BACKEND_PUBLISHING: usize = 4;
const ADMIN_LISTENER: usize = 5;
const LEAVING_LISTENING: usize = 6;
const LEAVING_PUBLISHING: usize = 7;
const BACKEND_AUTHORIZING: usize = 8;
const LEAVING_AUTHORIZING: usize = 9;
/// Slots of clients are numbered from here, in the lower half; their generation is the upper one.
const FIRST_CLIENT: usize = 10;
const SLOT_MASK: usize = (1 << 32) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_from_its_token() {
        let client = |slot, generation| Source::Client(ClientId { slot, generation });
        for source in [
            Source::Listener,
            Source::AdminListener,
            Source::Waker,
            Source::Signals,
            Source::Backend(Role::Listening),
            Source::Backend(Role::Publishing),
            Source::Backend(Role::Authorizing),
            Source::Leaving(Role::Authorizing),
            Source::Leaving(Role::Listening),
            Source::Leaving(Role::Publishing),
            client(0, 0),
            client(u32::MAX - 10, u32::MAX),
            client(7, 300),
        ] {
            assert_eq!(Source::from_token(source.token()), Some(source));
        }
    }
}
