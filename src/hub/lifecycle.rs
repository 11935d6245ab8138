//! What the program around us is told of clients and of the bridge as they come and go.
//!
//! Owns what is to be told, and what was told of the state. Does nothing where the program does not
//! want to know. Refuses to know how it is told, and whether anybody reads it.

use std::{borrow::Cow, collections::VecDeque, net::IpAddr};

use crate::{channel::Channel, id::ClientId};

/// What happened to a client, or to the bridge.
///
/// Of one client, `Connected` comes first and `Closed` last. A channel of the client ends by
/// `Unsubscribed`, or with all of them by `Closed`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// A WebSocket is open, or a stream at `/sse` has begun. A request to publish over HTTP is no
    /// client.
    Connected {
        /// Its name from now on.
        client: ClientId,
        /// Whence it comes, where the socket or a trusted proxy knows.
        address: Option<IpAddr>,
        /// It reads a stream at `/sse`.
        is_stream: bool,
    },
    /// The client has said who it is: by a token or a certificate, when it came or later. A client of
    /// which the program itself was asked is not told again.
    Identified {
        /// Which client.
        client: ClientId,
        /// Its name, where that has one: the `sub` of a JWT, for example. Never the token.
        identity: Option<String>,
    },
    /// The client is subscribed to the channel from now on, and PostgreSQL has confirmed that. A second
    /// subscribe of the same client tells nothing.
    Subscribed {
        /// Which client.
        client: ClientId,
        /// To what.
        channel: Channel,
    },
    /// The client has unsubscribed from the channel.
    Unsubscribed {
        /// Which client.
        client: ClientId,
        /// From what.
        channel: Channel,
    },
    /// The client is gone, or on its way out: it hears nothing more.
    Closed {
        /// Which client.
        client: ClientId,
        /// Of the close frame, the client's or ours; `None`: there was none.
        code: Option<u16>,
        /// As in the label of `alle_closes_total`, for example `slow_consumer` or `lost`.
        reason: &'static str,
    },
    /// The listening session with PostgreSQL is up. At the start it is down, which is not told.
    Up,
    /// The listening session with PostgreSQL is lost.
    Down,
    /// The bridge is ready, as `/readyz` has it. At the start it is not, which is not told.
    Ready,
    /// The bridge is not ready any more.
    NotReady {
        /// Why.
        reason: String,
    },
    /// The reader was too slow: so many events are missing here. What there is now is asked anew.
    Omitted(u64),
}

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    is_on: bool,
    queue: VecDeque<LifecycleEvent>,
    is_up: bool,
    is_ready: bool,
}

impl Lifecycle {
    /// Where the program wants to know.
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    /// Whether the program wants to know.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// What is to be told next.
    pub(super) fn poll(&mut self) -> Option<LifecycleEvent> {
        self.queue.pop_front()
    }

    // ---- clients

    /// A client came.
    pub(super) fn note_connected(
        &mut self,
        client: ClientId,
        address: Option<IpAddr>,
        is_stream: bool,
    ) {
        self.push(|| LifecycleEvent::Connected {
            client,
            address,
            is_stream,
        });
    }

    /// A client has said who it is.
    pub(super) fn note_identified(&mut self, client: ClientId, identity: Option<&str>) {
        self.push(|| LifecycleEvent::Identified {
            client,
            identity: identity.map(str::to_owned),
        });
    }

    /// A client is subscribed to a channel to which it was not.
    pub(super) fn note_linked(&mut self, client: ClientId, channel: &Channel) {
        self.push(|| LifecycleEvent::Subscribed {
            client,
            channel: channel.clone(),
        });
    }

    /// A client is subscribed to a channel no longer.
    pub(super) fn note_unlinked(&mut self, client: ClientId, channel: &Channel) {
        self.push(|| LifecycleEvent::Unsubscribed {
            client,
            channel: channel.clone(),
        });
    }

    /// A client ends.
    pub(super) fn note_closed(
        &mut self,
        client: ClientId,
        code: Option<u16>,
        reason: &'static str,
    ) {
        self.push(|| LifecycleEvent::Closed {
            client,
            code,
            reason,
        });
    }

    // ---- the bridge

    /// The state at the end of a turn: whether the listening session is up, and whether the bridge is
    /// ready.
    pub(super) fn note_state(&mut self, is_up: bool, readiness: Result<(), Cow<'static, str>>) {
        let is_ready = readiness.is_ok();
        let session = match is_up {
            true => LifecycleEvent::Up,
            false => LifecycleEvent::Down,
        };
        let bridge = match readiness {
            Ok(()) => LifecycleEvent::Ready,
            Err(reason) => LifecycleEvent::NotReady {
                reason: reason.into_owned(),
            },
        };
        // A bridge that is ready is so after its session, and before that is lost.
        let mut events = [
            (is_up != self.is_up).then_some(session),
            (is_ready != self.is_ready).then_some(bridge),
        ];
        if !is_ready {
            events.reverse();
        }
        (self.is_up, self.is_ready) = (is_up, is_ready);
        for event in events.into_iter().flatten() {
            self.push(|| event);
        }
    }

    fn push(&mut self, event: impl FnOnce() -> LifecycleEvent) {
        if self.is_on {
            self.queue.push_back(event());
        }
    }
}
