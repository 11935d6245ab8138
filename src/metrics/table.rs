//! Every metric, one row each, in the order of the page.
//!
//! The page at `/metrics` and the table of `docs/operating.md` are laid out from these rows.
//! Refuses to know Prometheus's format, and how a number is counted.

use super::{
    declare::metrics,
    histogram::Histogram,
    tally::Tally,
    text::{Build, Kind, Page},
};
use crate::{http::response::Status, message::ErrorCode, ws::close};

metrics! {
    Gauge alle_build_info {version} "What is running." "Always 1."
        counted { build: Build = Build };

    // PostgreSQL.

    Gauge alle_postgres_up {session} "Whether the session to PostgreSQL is connected."
        now {
            is_listening_up: bool => "listening", "the session that listens";
            is_publishing_up: bool => "publishing", "the session that publishes"
        };
    Gauge alle_postgres_proved "Whether the last notification sent as a test was heard."
        "1 while the listening session is known to hear the publishing session."
        now { is_proved: bool };
    Gauge alle_postgres_publishing_stalled "Whether no publish commits."
        "1 while the last one, a test or a client's, is unanswered for 15 s: mostly another session holds the lock for NOTIFY."
        now { is_stalled: bool };
    Gauge alle_postgres_notification_queue_usage
        "How full the queue of notifications was when last measured, from 0 to 1."
        "It is measured with each heartbeat; at 1 every `NOTIFY` of the whole server fails."
        now { queue_usage: f64 };
    Counter alle_postgres_reconnects_total {session} "Times the session was connected again."
        counted {
            listening_connects: u64 = 0, less 1 => "listening", "the session that listens";
            publishing_connects: u64 = 0, less 1 => "publishing", "the session that publishes"
        };
    Counter alle_postgres_tls_given_up_total {session}
        "Times the session went on in clear text because TLS had failed."
        "`sslmode=prefer` allows it; the log says why."
        counted {
            listening_tls_given_up: u64 = 0 => "listening", "the session that listens";
            publishing_tls_given_up: u64 = 0 => "publishing", "the session that publishes"
        };
    Counter alle_notifications_total "Notifications PostgreSQL sent."
        counted { notifications: u64 = 0 };
    Counter alle_notifications_unrouted_total "Notifications that nobody was subscribed to."
        counted { notifications_unrouted: u64 = 0 };
    Counter alle_notifications_lossy_total "Notifications with bytes that were not UTF-8."
        "They are delivered with `\"lossy\":true`."
        counted { notifications_lossy: u64 = 0 };
    Gauge alle_channels_listened "Channels with a confirmed LISTEN."
        now { channels_listened: usize };
    Gauge alle_channels_used "Channels with subscribers, or listened to from the start."
        "Bounded by `--max-channels`, together with those that are kept."
        now { channels_used: usize };
    Gauge alle_channels_kept
        "Channels without subscribers that are listened to for clients that may come back."
        now { channels_kept: usize };
    Counter alle_publishes_total "Publishes taken from clients." "Each is a `notify` message, or a `POST`."
        counted { publishes: u64 = 0 };
    Gauge alle_publishes_waiting "Publishes whose outcome is awaited."
        now { publishes_waiting: usize };
    Histogram alle_publish_latency_seconds "From taking a publish to its outcome."
        counted { publish_latency: Histogram = Histogram::new(&LATENCIES, MICROSECONDS) };
    Histogram alle_publish_transaction_size "Publishes in one transaction."
        counted { transaction_size: Histogram = Histogram::new(&TRANSACTION_SIZES, ONES) };

    // Clients.

    Gauge alle_clients {state} "Connections of clients."
        now {
            clients_handshake: usize => "handshake", "it has not said what it wants, or what next";
            clients_open: usize => "open", "messages flow";
            clients_closing: usize => "closing", "about to end"
        };
    Gauge alle_clients_max "The most clients there may be." "`--max-clients`, or what the limit of open files allows."
        now { clients_max: usize };
    Gauge alle_streams "Open clients that read Server-Sent Events."
        now { streams: usize };
    Counter alle_streams_total "Event streams begun."
        counted { streams_begun: u64 = 0 };
    Counter alle_connections_total "TCP connections taken."
        counted { connections: u64 = 0 };
    Counter alle_handshakes_total "Opening handshakes completed."
        counted { handshakes: u64 = 0 };
    Counter alle_connections_dropped_total {reason}
        "Connections let go or refused whatever they were to ask."
        counted {
            connections_excess: u64 = 0 => "descriptors", "no descriptor was left (503)";
            handshakes_timed_out: u64 = 0 => "handshake_timeout", "the head was not there in 10 s";
            handshakes_evicted: u64 = 0 => "handshakes_full",
                "the oldest of 4,096 unfinished handshakes (503), or of those for which there is \
                 no room beyond `--max-clients` and 32 more";
            admin_evicted: u64 = 0 => "admin_full", "more than 16 at the admin address";
            preambles_refused: u64 = 0 => "preamble",
                "under `--proxy-protocol`: no proxy that is trusted, or no sound preamble"
        };
    Counter alle_tls_handshakes_total {outcome} "TLS handshakes of clients."
        "A connection that ends before its handshake does is none."
        counted {
            tls_full: u64 = 0 => "full", "with a signature";
            tls_resumed: u64 = 0 => "resumed", "by a ticket";
            tls_failed: u64 = 0 => "failed", "the peer and the bridge had nothing in common, or it was no TLS";
            tls_clear: u64 = 0 => "clear_text", "a request in clear text (400)"
        };
    Gauge alle_tls_certificate_expiry_seconds
        "When the first certificate for clients ends, in seconds since 1970."
        "Absent without TLS."
        counted { tls_certificate_expiry: Option<u64> = None };
    Counter alle_tls_renewals_failed_total "Times certificates were read again and could not be used."
        "Those before stay in use; the log says why."
        counted { tls_renewals_failed: u64 = 0 };
    Counter alle_http_responses_total {status} "HTTP requests answered without an upgrade."
        counted { http_responses: Tally<u16, { Status::CODES.len() }> = Tally::new(Status::CODES) };
    Counter alle_closes_total {reason} "Clients that left, or were closed, by why."
        "`lost` is a socket that ended without a close frame."
        counted { closes: Tally<&'static str, { close::LABELS.len() }> = Tally::new(close::LABELS) };
    Counter alle_client_log_lines_omitted_total "Clients that left without a line in the log."
        "Since 50 others had one in the same second."
        counted { client_lines_omitted: u64 = 0 };
    Counter alle_errors_total {code} "Errors told to clients, by code."
        "Each is an `error` message; the codes are those of the protocol."
        counted {
            errors: Tally<&'static str, { ErrorCode::LABELS.len() }> =
                Tally::new(ErrorCode::LABELS)
        };
    Counter alle_tokens_refused_total {reason} "Tokens that let nobody in, in requests and messages."
        counted {
            tokens_wrong: u64 = 0 => "wrong", "it is nobody's, or no good JWT (401)";
            tokens_expired: u64 = 0 => "expired", "its time is over, by the `exp` of a JWT or by the function (401)";
            tokens_unread: u64 = 0 => "too_many",
                "it was not looked at: 20 wrong ones, and one more each second, had come from its \
                 address (429)"
        };
    Gauge alle_subscriptions "Links between clients and channels."
        now { subscriptions: usize };

    // Delivery.

    Counter alle_deliveries_total "Notifications put on their way, once per subscriber."
        counted { deliveries: u64 = 0 };
    Counter alle_gaps_total "Gaps told, once per subscriber." "Each is a `gap` message."
        counted { gaps: u64 = 0 };
    Counter alle_statuses_total "States of PostgreSQL told, once per client."
        "Each is a `status` message."
        counted { statuses: u64 = 0 };
    Counter alle_written_bytes_total "Bytes that sockets of clients took."
        counted { bytes_written: u64 = 0 };
    Gauge alle_backlogs "Clients that did not take all they were given."
        now { backlogs: usize };
    Gauge alle_backlog_bytes "Bytes clients are still to get; shared ones count for each."
        now { backlog_bytes: usize };
    Gauge alle_retained_bytes "Memory of all frames on their way, each counted once."
        "What a group holds back is among it. Bounded by `--retained`."
        now { retained_bytes: usize };
    Gauge alle_owned_bytes "Memory of unread answers and of input that is not complete or not worked off."
        "Bounded by `--owned`."
        now { owned_bytes: usize };
    Counter alle_auth_function_calls_total "Questions to the function that says whose a token is."
        counted { function_calls: u64 = 0 };
    Counter alle_auth_function_failures_total "Questions that the function failed to answer."
        "The log has the SQLSTATE."
        counted { function_failures: u64 = 0 };
    Gauge alle_auth_function_waiting "Clients that wait for the function."
        "Bounded by 1,024: past it 1013, or 503."
        now { function_waiting: usize };
    Gauge alle_waiting_bytes "Subscribes and publishes that wait for PostgreSQL."
        "Bounded by `--waiting`."
        now { waiting_bytes: usize };
    Gauge alle_unsent_bytes "Frames not yet passed to all their subscribers."
        "Over 8 MiB PostgreSQL is not read."
        now { unsent_bytes: usize };
    Gauge alle_history_bytes "Frames kept for clients that come back."
        "Bounded by `--history-bytes`."
        now { history_bytes: usize };
    Histogram alle_fan_out_latency_seconds
        "From the turn that read a notification to the one that served its last subscriber."
        "Observed once a pass; 0 within one turn."
        counted { fan_out_latency: Histogram = Histogram::new(&LATENCIES, MICROSECONDS) };

    // The group.

    Gauge alle_group_peers "Other bridges of the group that are there." now { group_peers: usize };
    Gauge alle_group_channels_mirrored "Channels that clients of other bridges want."
        "They are listened to here as well, as far as `--max-channels` allows."
        now { group_channels_mirrored: usize };
    Counter alle_group_channels_refused_total "Channels of other bridges for which there was no room."
        "A client that comes from there with a position has to reload."
        counted { group_mirrors_refused: u64 = 0 };
    Gauge alle_group_offsets "Epochs of other bridges that are translated, over all channels."
        now { group_offsets: usize };
    Gauge alle_group_held_bytes "Notifications held back until it is known what was missed, and those filled in."
        "16 MiB and `--history-bytes` at most; counted in `alle_retained_bytes`."
        now { group_held_bytes: usize };
    Counter alle_group_messages_total {kind} "Messages between the bridges of the group."
        now {
            group_messages_sent: u64 => "sent", "published for the others";
            group_messages_heard: u64 => "heard", "of another bridge, and believed";
            group_messages_refused: u64 => "refused",
                "forged, sent again, of another version, or of a bridge that is not known"
        };
    Counter alle_group_contradictions_total
        "Positions on which two bridges disagreed, which is a fault of theirs."
        "What follows from such a position is not believed: `\"recovered\":false`."
        now { group_contradictions: u64 };
    Counter alle_group_resumes_total "Subscribes that went on from a position of another bridge."
        counted { group_resumes: u64 = 0 };
    Counter alle_group_channels_resumed_total
        "Channels that went on after a lost listening session without a gap."
        now { group_resumed: u64 };
    Counter alle_group_notifications_filled_total
        "Notifications that another bridge filled in: missed, or of before the start of this one."
        now { group_filled: u64 };

    // The program.

    Counter alle_log_lines_dropped_total "Lines of the log that were not written."
        "More came than one cause may write in a second, or than stderr took."
        now { log_lines_dropped: u64 };

    // The loop.

    Histogram alle_turn_time_seconds "Time of a turn of the loop, without its wait."
        "Wall time: on a busy machine the scheduler's, too."
        counted { turn_time: Histogram = Histogram::new(&LATENCIES, MICROSECONDS) };
    Counter alle_turns_total "Turns of the loop."
        counted { turns: u64 = 0 };
    Counter alle_wakeups_total "Turns that began with an event."
        counted { wakeups: u64 = 0 };
    Counter alle_slices_total "Slices of passes."
        "A slice counts if its pass goes on from an earlier turn."
        counted { slices: u64 = 0 };

    // The process, under the names of Prometheus's client libraries. On Linux.

    Counter process_cpu_seconds_total "Processor time used, of user and system, in seconds."
        now { cpu_seconds: Option<f64> };
    Gauge process_start_time_seconds "When the process was started, in seconds since 1970."
        now { start_seconds: Option<f64> };
    Gauge process_virtual_memory_bytes "Address space that is mapped."
        now { virtual_bytes: Option<u64> };
    Gauge process_resident_memory_bytes "Memory in RAM."
        now { resident_bytes: Option<u64> };
    Gauge process_open_fds "Descriptors in use."
        now { files_open: Option<u64> };
    Gauge process_max_fds "The most descriptors that may be in use."
        now { files_max: Option<u64> };
}

impl Metrics {
    /// The page at `/metrics`.
    pub fn text(&self, now: &Gauges) -> String {
        let mut page = Page::default();
        let read = Reading { metrics: self, now };
        for family in FAMILIES {
            page.begin(family.kind, family.name, family.label, family.help);
            (family.append)(&read, &mut page);
        }
        page.into_text()
    }
}

/// A row, as the page and the docs need it.
struct Family {
    kind: Kind,
    name: &'static str,
    /// Empty if its samples have none.
    label: &'static str,
    help: &'static str,
    /// Appends its samples.
    append: fn(&Reading<'_>, &mut Page),
    /// What the docs add to the help; may be empty.
    #[cfg(test)]
    note: &'static str,
    /// The values of the label that are fields of their own, each with its meaning.
    #[cfg(test)]
    values: &'static [(&'static str, &'static str)],
}

/// All numbers there are to read.
struct Reading<'a> {
    metrics: &'a Metrics,
    now: &'a Gauges,
}

/// In microseconds: from a turn of a quiet machine to a delay that nobody waits for.
const LATENCIES: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];
const TRANSACTION_SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const MICROSECONDS: f64 = 1e6;
const ONES: f64 = 1.0;

#[cfg(test)]
mod tests;
