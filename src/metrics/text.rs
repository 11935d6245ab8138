//! Prometheus's text of it all (exposition format 0.0.4): the only place that knows that format.

use std::fmt::{self, Display, Write as _};

use super::{Gauges, Histogram, Metrics};

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// The page at `/metrics`.
    pub fn text(&self, now: &Gauges) -> String {
        let mut page = String::with_capacity(PAGE_BYTES);
        self.append_to(now, &mut page)
            .expect("a String takes everything");
        page
    }

    fn append_to(&self, now: &Gauges, page: &mut String) -> fmt::Result {
        family(page, "build_info", "gauge", "What is running.")?;
        let version = env!("CARGO_PKG_VERSION");
        writeln!(page, "alle_build_info{{version=\"{version}\"}} 1")?;
        self.append_postgres(now, page)?;
        self.append_clients(now, page)?;
        self.append_fan_out(now, page)?;
        self.append_loop(page)
    }

    fn append_postgres(&self, now: &Gauges, page: &mut String) -> fmt::Result {
        let help = "Whether the session to PostgreSQL is connected.";
        let sessions = [
            ("listening", u64::from(now.is_listening_up)),
            ("publishing", u64::from(now.is_publishing_up)),
        ];
        labelled(page, "postgres_up", "gauge", help, "session", sessions)?;
        let help = "Whether the last notification sent as a test was heard.";
        gauge(page, "postgres_proved", help, u64::from(now.is_proved))?;
        let help = "How full the queue of notifications was when last measured, from 0 to 1.";
        let name = "postgres_notification_queue_usage";
        gauge(page, name, help, now.queue_usage)?;
        let help = "Times the session was connected again.";
        let sessions = [
            ("listening", self.listening_connects.saturating_sub(1)),
            ("publishing", self.publishing_connects.saturating_sub(1)),
        ];
        let name = "postgres_reconnects_total";
        labelled(page, name, "counter", help, "session", sessions)?;
        counter(
            page,
            "notifications",
            "Notifications PostgreSQL sent.",
            self.notifications,
        )?;
        counter(
            page,
            "notifications_unrouted",
            "Notifications that nobody was subscribed to.",
            self.notifications_unrouted,
        )?;
        counter(
            page,
            "notifications_lossy",
            "Notifications with bytes that were not UTF-8.",
            self.notifications_lossy,
        )?;
        gauge(
            page,
            "channels_listened",
            "Channels with a confirmed LISTEN.",
            now.channels_listened,
        )?;
        counter(
            page,
            "publishes",
            "Publishes taken from clients.",
            self.publishes,
        )?;
        gauge(
            page,
            "publishes_waiting",
            "Publishes whose outcome is awaited.",
            now.publishes_waiting,
        )?;
        histogram(
            page,
            "publish_latency_seconds",
            "From taking a publish to its outcome.",
            &self.publish_latency,
            MICROSECONDS,
        )?;
        histogram(
            page,
            "publish_transaction_size",
            "Publishes in one transaction.",
            &self.transaction_size,
            ONES,
        )
    }

    fn append_clients(&self, now: &Gauges, page: &mut String) -> fmt::Result {
        let help = "Connections of clients.";
        let states = [
            ("handshake", now.clients_handshake),
            ("open", now.clients_open),
            ("closing", now.clients_closing),
        ];
        labelled(page, "clients", "gauge", help, "state", states)?;
        counter(
            page,
            "connections",
            "TCP connections taken.",
            self.connections,
        )?;
        counter(
            page,
            "handshakes",
            "Opening handshakes completed.",
            self.handshakes,
        )?;
        let name = "connections_dropped_total";
        let help = "Connections let go or refused whatever they were to ask.";
        let drops = [
            ("descriptors", self.connections_excess),
            ("handshake_timeout", self.handshakes_timed_out),
            ("handshakes_full", self.handshakes_crowded_out),
            ("admin_full", self.admin_crowded_out),
        ];
        labelled(page, name, "counter", help, "reason", drops)?;
        let (name, help) = (
            "http_responses_total",
            "HTTP requests answered without an upgrade.",
        );
        let responses = self.http_responses.iter();
        labelled(page, name, "counter", help, "status", responses)?;
        let (name, help) = ("closes_total", "Clients that left, or were closed, by why.");
        labelled(page, name, "counter", help, "reason", self.closes.iter())?;
        let (name, help) = ("errors_total", "Errors told to clients, by code.");
        labelled(page, name, "counter", help, "code", self.errors.iter())?;
        gauge(
            page,
            "subscriptions",
            "Links between clients and channels.",
            now.subscriptions,
        )
    }

    fn append_fan_out(&self, now: &Gauges, page: &mut String) -> fmt::Result {
        for (name, help, count) in [
            (
                "deliveries",
                "Notifications put on their way, once per subscriber.",
                self.deliveries,
            ),
            ("gaps", "Gaps told, once per subscriber.", self.gaps),
            (
                "statuses",
                "States of PostgreSQL told, once per client.",
                self.statuses,
            ),
            (
                "written_bytes",
                "Bytes that sockets of clients took.",
                self.bytes_written,
            ),
        ] {
            counter(page, name, help, count)?;
        }
        for (name, help, value) in [
            (
                "backlogs",
                "Clients that did not take all they were given.",
                now.backlogs,
            ),
            (
                "backlog_bytes",
                "Bytes clients are still to get; shared ones count for each.",
                now.backlog_bytes,
            ),
            (
                "retained_bytes",
                "Memory of all frames on their way, each counted once.",
                now.retained_bytes,
            ),
            (
                "unsent_bytes",
                "Frames not yet passed to all their subscribers.",
                now.unsent_bytes,
            ),
            (
                "history_bytes",
                "Frames kept for clients that come back.",
                now.history_bytes,
            ),
        ] {
            gauge(page, name, help, value)?;
        }
        histogram(
            page,
            "fan_out_latency_seconds",
            "From the turn that read a notification to the one that served its last subscriber.",
            &self.fan_out_latency,
            MICROSECONDS,
        )
    }

    fn append_loop(&self, page: &mut String) -> fmt::Result {
        counter(page, "turns", "Turns of the loop.", self.turns)?;
        counter(
            page,
            "wakeups",
            "Turns that began with an event.",
            self.wakeups,
        )?;
        counter(page, "slices", "Slices of passes.", self.slices)
    }
}

fn family(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP alle_{name} {help}\n# TYPE alle_{name} {kind}")
}

fn counter(page: &mut String, name: &str, help: &str, count: u64) -> fmt::Result {
    family(page, &format!("{name}_total"), "counter", help)?;
    writeln!(page, "alle_{name}_total {count}")
}

fn gauge(page: &mut String, name: &str, help: &str, value: impl Display) -> fmt::Result {
    family(page, name, "gauge", help)?;
    writeln!(page, "alle_{name} {value}")
}

fn labelled(
    page: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    label: &str,
    samples: impl IntoIterator<Item = (impl Display, impl Display)>,
) -> fmt::Result {
    family(page, name, kind, help)?;
    for (key, value) in samples {
        writeln!(page, "alle_{name}{{{label}=\"{key}\"}} {value}")?;
    }
    Ok(())
}

/// `per_unit` values make one unit of the text.
fn histogram(
    page: &mut String,
    name: &str,
    help: &str,
    histogram: &Histogram,
    per_unit: f64,
) -> fmt::Result {
    family(page, name, "histogram", help)?;
    for (bound, count) in histogram.cumulated() {
        let bound = bound as f64 / per_unit;
        writeln!(page, "alle_{name}_bucket{{le=\"{bound}\"}} {count}")?;
    }
    let count = histogram.count();
    writeln!(page, "alle_{name}_bucket{{le=\"+Inf\"}} {count}")?;
    let sum = histogram.sum() as f64 / per_unit;
    writeln!(page, "alle_{name}_sum {sum}\nalle_{name}_count {count}")
}

const MICROSECONDS: f64 = 1e6;
const ONES: f64 = 1.0;
/// More than a page has.
const PAGE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;
