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

    /// The turns of the loop during the siege.
    pub fn turns(&self) -> Turns {
        let [_, before, end] = &self.metrics;
        Turns(between("alle_turn_time_seconds", before, end))
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
        writeln!(f, "{}", self.turns())?;
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

/// Turns of the loop: each bound, in seconds, with how many took at most that.
pub struct Turns(Vec<(String, u64)>);

impl Turns {
    /// How many took longer than [`STALL`], on whatever machine.
    pub fn stalls(&self) -> u64 {
        let within = self.0.iter().find(|(bound, _)| bound == STALL);
        let all = self.0.last().map_or(0, |it| it.1);
        all - within.map_or(0, |it| it.1)
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.last().map_or(0, |it| it.1);
        let within = |per_mille| bound_of(&self.0, per_mille);
        write!(
            f,
            "turns: {all} besieged, 99 % within {} s, the longest within {} s, over {STALL} s: {}",
            within(990),
            within(1_000),
            self.stalls()
        )
    }
}

/// Of the fan-outs between two looks at `/metrics`, the bound of the bucket below which 99 % were.
fn fan_out_bound(before: &str, after: &str) -> String {
    bound_of(&between("alle_fan_out_latency_seconds", before, after), 990).to_owned()
}

/// The first bound below which so many of a thousand are.
fn bound_of(buckets: &[(String, u64)], per_mille: u64) -> &str {
    let all = buckets.last().map_or(0, |it| it.1);
    let most = buckets
        .iter()
        .find(|(_, count)| count * 1_000 >= all * per_mille);
    most.map_or("?", |(bound, _)| bound)
}

/// How many were observed between two looks at `/metrics`, by bound.
fn between(name: &str, before: &str, after: &str) -> Vec<(String, u64)> {
    let before: BTreeMap<_, _> = buckets(name, before).collect();
    buckets(name, after)
        .map(|(bound, count)| (bound.to_owned(), count - before[bound]))
        .collect()
}

/// How many were observed of at most how many seconds.
fn buckets<'a>(name: &str, metrics: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let prefix = format!("{name}_bucket{{le=\"");
    metrics.lines().filter_map(move |line| {
        let bucket = line.strip_prefix(&prefix)?;
        let (bound, count) = bucket.split_once("\"} ")?;
        Some((bound, count.parse().ok()?))
    })
}

/// In seconds, as `/metrics` has it: a longer turn is a stall, however busy the machine is.
pub const STALL: &str = "0.25";

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
