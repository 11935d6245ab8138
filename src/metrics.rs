//! What happened, counted, and what there is, for whoever watches the bridge.
//!
//! A struct of numbers owned by the core; passed by reference, never global. Refuses to know when
//! something counts. The labels come from the closed tables of `ws` and `message`: no client can
//! choose one.

mod histogram;
mod tally;
mod text;

pub use self::{histogram::Histogram, tally::Tally, text::CONTENT_TYPE};
use crate::{message::ErrorCode, ws::close, ws::response::Status};

/// Counters since the start.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// TCP connections taken.
    pub connections: u64,
    /// Opening handshakes completed.
    pub handshakes: u64,
    /// Connections for which no descriptor was left.
    pub connections_excess: u64,
    /// Opening handshakes that took too long.
    pub handshakes_timed_out: u64,
    /// Opening handshakes refused or let go because too many others came.
    pub handshakes_crowded_out: u64,
    /// Connections to the admin address let go because too many others came.
    pub admin_crowded_out: u64,
    /// HTTP requests answered without an upgrade, by status.
    pub http_responses: Tally<u16, { Status::CODES.len() }>,
    /// Connections that were open, by why they are not any more.
    pub closes: Tally<&'static str, { close::LABELS.len() }>,
    /// Messages of clients answered with an `error`, by its code.
    pub errors: Tally<&'static str, { ErrorCode::LABELS.len() }>,
    /// Times the listening session was connected.
    pub listening_connects: u64,
    /// Times the publishing session was connected.
    pub publishing_connects: u64,
    /// Notifications PostgreSQL sent us.
    pub notifications: u64,
    /// Those of them that nobody was subscribed to any more.
    pub notifications_unrouted: u64,
    /// Those of them with bytes that were not UTF-8.
    pub notifications_lossy: u64,
    /// Publishes taken from clients.
    pub publishes: u64,
    /// From taking a publish to its outcome; in microseconds.
    pub publish_latency: Histogram,
    /// Publishes in one transaction.
    pub transaction_size: Histogram,
    /// Notifications put on their way to a subscriber, once for each subscriber.
    pub deliveries: u64,
    /// Gaps told, once for each subscriber.
    pub gaps: u64,
    /// States of PostgreSQL told, once for each client.
    pub statuses: u64,
    /// Bytes that sockets of clients took.
    pub bytes_written: u64,
    /// From the turn in which a notification was read to the one in which its last subscriber was
    /// served; once for each pass, in microseconds.
    pub fan_out_latency: Histogram,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that began with an event.
    pub wakeups: u64,
    /// Slices of passes.
    pub slices: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: 0,
            handshakes: 0,
            connections_excess: 0,
            handshakes_timed_out: 0,
            handshakes_crowded_out: 0,
            admin_crowded_out: 0,
            http_responses: Tally::new(Status::CODES),
            closes: Tally::new(close::LABELS),
            errors: Tally::new(ErrorCode::LABELS),
            listening_connects: 0,
            publishing_connects: 0,
            notifications: 0,
            notifications_unrouted: 0,
            notifications_lossy: 0,
            publishes: 0,
            publish_latency: Histogram::new(&LATENCIES_MICROSECONDS),
            transaction_size: Histogram::new(&TRANSACTION_SIZES),
            deliveries: 0,
            gaps: 0,
            statuses: 0,
            bytes_written: 0,
            fan_out_latency: Histogram::new(&LATENCIES_MICROSECONDS),
            turns: 0,
            wakeups: 0,
            slices: 0,
        }
    }
}

/// What there is at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// The listening session is connected.
    pub is_listening_up: bool,
    /// The publishing session is connected.
    pub is_publishing_up: bool,
    /// What the publishing session says is known to be heard.
    pub is_proved: bool,
    /// How full the server's queue of notifications was when last measured, from 0 to 1.
    pub queue_usage: f64,
    /// Connections whose head is incomplete.
    pub clients_handshake: usize,
    /// Connections on which messages flow.
    pub clients_open: usize,
    /// Connections about to end.
    pub clients_closing: usize,
    /// Links between clients and channels.
    pub subscriptions: usize,
    /// Channels with a confirmed LISTEN.
    pub channels_listened: usize,
    /// Publishes whose outcome is awaited.
    pub publishes_waiting: usize,
    /// Clients that did not take all they were given.
    pub backlogs: usize,
    /// What they are still to get; bytes shared by several count for each.
    pub backlog_bytes: usize,
    /// Memory of all frames still on their way, each counted once.
    pub retained_bytes: usize,
    /// Frames not yet passed to all their subscribers.
    pub unsent_bytes: usize,
    /// Frames kept for clients that come back.
    pub history_bytes: usize,
}

/// From what a quiet machine takes to what nobody waits for.
const LATENCIES_MICROSECONDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];
const TRANSACTION_SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
