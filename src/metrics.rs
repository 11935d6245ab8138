//! What happened, counted.
//!
//! A struct of numbers owned by the core; passed by reference, never global.

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics {
    /// TCP connections taken.
    pub connections: u64,
    /// Opening handshakes completed.
    pub handshakes: u64,
    /// HTTP requests answered without an upgrade.
    pub http_responses: u64,
    /// Notifications PostgreSQL sent us.
    pub notifications: u64,
    /// Those of them that nobody was subscribed to any more.
    pub notifications_unheard: u64,
    /// Those of them with bytes that were not UTF-8.
    pub notifications_lossy: u64,
    /// Publishes handed to PostgreSQL.
    pub publishes: u64,
    /// Messages of clients refused with an `error`.
    pub refusals: u64,
    /// Clients closed for reading too slowly.
    pub slow_consumers: u64,
    /// Clients closed for a violation of RFC 6455.
    pub violations: u64,
    /// Clients closed for silence.
    pub ping_timeouts: u64,
    /// Clients closed for not saying who they are, or for a token that is no more.
    pub unauthorized: u64,
    /// Times the listening session was lost.
    pub listening_lost: u64,
}
