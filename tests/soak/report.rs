//! The results of a soak.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    audit::{self, FaultRecord},
    foes::Told,
    histogram::Histogram,
    vitals::{Trend, Vitals},
};

#[derive(Default)]
pub struct Report {
    /// The good clients' account.
    pub crowd: audit::Report,
    pub faults: BTreeMap<String, FaultRecord>,
    pub foes: Told,
    /// From publishing to a client, before the siege and between its faults.
    pub quiet: Histogram,
    pub siege: Histogram,
    /// During the siege.
    pub vitals: Vitals,
    pub resident_alone_kb: u64,
    pub resident_quiet_kb: u64,
    pub resident_end_kb: u64,
    pub descriptors_alone: usize,
    /// With the good clients only, after the siege.
    pub descriptors_gathered: usize,
    /// When all clients were gone.
    pub descriptors_end: usize,
    /// `/metrics` before and after the quiet phase, and at the end of the siege.
    pub metrics: [String; 3],
}

impl Report {
    /// Good clients that the bridge closed, refused or lost: all connections that did not end by
    /// the client's own will.
    pub fn good_ones_closed(&self) -> u64 {
        let closes = self.crowd.told.iter();
        let against_their_will =
            closes.filter(|(kind, _)| kind.starts_with("close ") && kind.as_str() != "close 1000");
        against_their_will.map(|(_, count)| count).sum()
    }

    /// The trend of memory after the warm-up; `None` if the run was too short to tell.
    pub fn trend(&self) -> Option<Trend> {
        let is_long = self.vitals.lasted() >= self.warm_up() + MEASURED_MIN;
        is_long.then(|| self.vitals.trend(self.warm_up())).flatten()
    }

    fn warm_up(&self) -> Duration {
        (self.vitals.lasted() / 3).min(WARM_UP_MAX)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.crowd)?;
        writeln!(f, "good ones closed or lost: {}", self.good_ones_closed())?;
        writeln!(f, "\n{:<28} {:>7}  ended", "foe", "rounds")?;
        for (name, begun) in &self.foes.begun {
            let ended = self.foes.ended.get(name).into_iter().flatten();
            let ended: Vec<_> = ended
                .map(|(how, count)| format!("{how}: {count}"))
                .collect();
            writeln!(f, "{name:<28} {begun:>7}  {}", ended.join(", "))?;
        }
        writeln!(f, "they were told {:?}", self.foes.refusals)?;
        for broken in self.foes.broken.iter().take(BROKEN_SHOWN) {
            writeln!(f, "broken: {broken}")?;
        }
        writeln!(f, "\nthe bridge counted, of everybody")?;
        let counted = self.metrics[2].lines().filter(|line| {
            let is_of_interest = COUNTERS.iter().any(|name| line.starts_with(name));
            is_of_interest && !line.ends_with(" 0")
        });
        counted
            .clone()
            .try_for_each(|line| writeln!(f, "  {line}"))?;
        self.write_latencies(f)?;
        self.write_memory(f)?;
        writeln!(
            f,
            "descriptors: {} alone, {} at most, {} with the good clients only, {} when all were gone",
            self.descriptors_alone,
            self.vitals.descriptors_max,
            self.descriptors_gathered,
            self.descriptors_end
        )
    }
}

impl Report {
    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nfrom publishing to a client      p50         p99")?;
        let [quiet, siege] = [&self.quiet, &self.siege]
            .map(|it| [500, 990].map(|per_mille| it.milliseconds_at(per_mille)));
        writeln!(
            f,
            "quiet                    {:>8.2} ms {:>8.2} ms",
            quiet[0], quiet[1]
        )?;
        writeln!(
            f,
            "besieged, between faults {:>8.2} ms {:>8.2} ms",
            siege[0], siege[1]
        )?;
        let [p50, p99] = [siege[0] / quiet[0], siege[1] / quiet[1]];
        writeln!(f, "besieged / quiet         {p50:>8.2} x  {p99:>8.2} x")?;
        let [before, after, end] = &self.metrics;
        writeln!(
            f,
            "of it in the bridge, from reading to the last subscriber: 99 % within {} s, besieged {} s",
            fan_out_bound(before, after),
            fan_out_bound(after, end)
        )
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |kilobytes: f64| kilobytes / 1024.0;
        let whole = |kilobytes: u64| megabytes(kilobytes as f64);
        writeln!(
            f,
            "\nresident: {:.1} MB alone, {:.1} with the good clients, {:.1} at most, {:.1} at the end",
            whole(self.resident_alone_kb),
            whole(self.resident_quiet_kb),
            whole(self.vitals.resident_kb_max()),
            whole(self.resident_end_kb)
        )?;
        let Some(trend) = self.trend() else {
            return Ok(());
        };
        writeln!(
            f,
            "  after {} s of the siege {:.1} MB, in its last part {:.1} MB; {:+.3} MB a minute",
            self.warm_up().as_secs(),
            megabytes(trend.first_kb),
            megabytes(trend.last_kb),
            megabytes(trend.slope_kb_per_minute)
        )
    }
}

/// Of the fan-outs between two looks at `/metrics`, the bound of the bucket below which 99 % were.
fn fan_out_bound<'a>(before: &str, after: &'a str) -> &'a str {
    let before: BTreeMap<_, _> = fan_out_buckets(before).collect();
    let between: Vec<_> = fan_out_buckets(after)
        .map(|(bound, count)| (bound, count - before[bound]))
        .collect();
    let all = between.last().map_or(0, |&(_, count)| count);
    let most = between.iter().find(|(_, count)| count * 100 >= all * 99);
    most.map_or("?", |&(bound, _)| bound)
}

/// How many fan-outs took at most how many seconds.
fn fan_out_buckets(metrics: &str) -> impl Iterator<Item = (&str, u64)> {
    metrics.lines().filter_map(|line| {
        let bucket = line.strip_prefix("alle_fan_out_latency_seconds_bucket{le=\"")?;
        let (bound, count) = bucket.split_once("\"} ")?;
        Some((bound, count.parse().ok()?))
    })
}

const COUNTERS: [&str; 6] = [
    "alle_connections_total",
    "alle_handshakes_total",
    "alle_connections_dropped_total",
    "alle_http_responses_total",
    "alle_closes_total",
    "alle_errors_total",
];
const BROKEN_SHOWN: usize = 10;
/// Three restarts of PostgreSQL.
const WARM_UP_MAX: Duration = Duration::from_secs(180);
const MEASURED_MIN: Duration = Duration::from_secs(30);
