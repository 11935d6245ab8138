//! LISTENs that were answered, and how many of the subscribes that waited for each are still to be
//! told: all at once would make a long turn of a popular channel.

use std::collections::VecDeque;

use super::group::Patience;
use crate::{channel::ChannelKey, pg::session::ServerError};

/// One answer of PostgreSQL on its way to clients.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) key: ChannelKey,
    /// So many are still to be told; later ones wait for another answer.
    pub(super) left: usize,
    /// Why PostgreSQL refused, where it did.
    pub(super) error: Option<ServerError>,
    /// What those with a position may still wait for.
    pub(super) patience: Patience,
    /// Streams that had begun to wait for the group by then.
    pub(super) waits: u64,
}

/// All of them, in the order in which PostgreSQL answered.
pub(super) type Answering = VecDeque<Answered>;
