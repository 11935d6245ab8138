//! What a server carries at a moment, for the program around it.

/// What a server carries at a moment: how far it is from its limits, and whether the program sends
/// faster than clients read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Clients: WebSockets and streams.
    pub clients: usize,
    /// Subscriptions of all clients.
    pub subscriptions: usize,
    /// Clients that have not read everything yet.
    pub backlogs: usize,
    /// Bytes that wait for them. What several clients wait for counts for each.
    pub backlog_bytes: usize,
    /// Memory of notifications that are waited for, each once: at
    /// [`Limits::retained_bytes_max`](crate::Limits::retained_bytes_max) the slowest client is closed.
    pub retained_bytes: usize,
    /// Memory held for single clients: at
    /// [`Limits::owned_bytes_max`](crate::Limits::owned_bytes_max) the costliest client is closed.
    pub owned_bytes: usize,
    /// Bytes of subscribes and publishes that wait: at
    /// [`Limits::waiting_bytes_max`](crate::Limits::waiting_bytes_max) others are refused.
    pub waiting_bytes: usize,
    /// Bytes of notifications that are not passed to their clients yet: over
    /// [`Limits::unsent_bytes_max`](crate::Limits::unsent_bytes_max) no more are taken.
    pub unsent_bytes: usize,
}
