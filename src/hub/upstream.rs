//! Where notifications come from, and where publishes go.

use super::feed::{Incoming, Request};
use crate::backend::{Backend, command::Notify};

/// PostgreSQL, or what stands in its place.
#[derive(Debug)]
pub(super) enum Upstream {
    /// PostgreSQL.
    Postgres(Box<Backend>),
    /// The program around us.
    Program,
    /// PostgreSQL, and its events are being handled.
    Busy,
}

impl Upstream {
    /// The two sessions, unless a program feeds us.
    pub(super) fn backend(&self) -> Option<&Backend> {
        match self {
            Self::Postgres(backend) => Some(backend),
            Self::Program | Self::Busy => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn backend_mut(&mut self) -> Option<&mut Backend> {
        match self {
            Self::Postgres(backend) => Some(backend),
            Self::Program | Self::Busy => None,
        }
    }

    /// Whether a publish can be taken, where a program would take one if `is_taken`.
    pub(super) fn can_publish(&self, is_taken: bool) -> bool {
        self.backend().map_or(is_taken, Backend::can_publish)
    }

    /// Publishes; where a program feeds us, that is to be handed this.
    pub(super) fn publish(&mut self, notify: Notify) -> Option<Request> {
        match self {
            Self::Postgres(backend) => {
                backend.publish(notify);
                None
            }
            Self::Program => Some(Request {
                incoming: Incoming::Notify(notify.channel, notify.payload),
                ticket: Some(notify.number),
            }),
            Self::Busy => {
                debug_assert!(false, "no client is heard meanwhile");
                None
            }
        }
    }
}
