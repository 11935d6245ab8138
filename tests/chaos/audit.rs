//! The final account: every number was delivered, or lies inside an announced loss.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    crowd::{Seen, View},
    ledger::{Ledger, Outcome},
};

/// One kind of fault.
#[derive(Default)]
pub struct FaultRecord {
    pub count: usize,
    /// The time from the repair until a client received a number published after it.
    pub heard_after: Vec<Duration>,
}

/// The result of the whole run.
#[derive(Default)]
pub struct Report {
    pub seed: u64,
    pub lasted: Duration,
    pub clients: usize,
    pub channels: usize,
    pub published: BTreeMap<&'static str, u64>,
    pub delivered: u64,
    pub recovered: u64,
    pub announced: u64,
    pub unseen: u64,
    pub epochs: usize,
    pub told: BTreeMap<String, u64>,
    pub faults: BTreeMap<String, FaultRecord>,
    /// Faults after which no number arrived for more than 2 s.
    pub slow: Vec<String>,
    /// The most backends that served the bridge while the lock for NOTIFY was held; 0 if it was not.
    pub backends_max: usize,
    /// Promises that were broken.
    pub broken: Vec<String>,
}

impl Report {
    pub fn new(ledger: &Ledger, streams: usize, seen: Seen) -> Self {
        let mut report = Self {
            clients: seen.views.len(),
            epochs: seen.epochs,
            broken: seen.faults,
            ..Self::default()
        };
        let entries: Vec<_> = (0..streams).map(|stream| ledger.entries(stream)).collect();
        for (stream, entries) in entries.iter().enumerate() {
            for (number, entry) in entries.iter().enumerate() {
                let kind = match entry.outcome {
                    Outcome::Acknowledged => "acknowledged",
                    Outcome::Refused => "refused",
                    Outcome::Unknown if entry.is_heard => "unknown, heard",
                    Outcome::Unknown => "unknown, not heard",
                    Outcome::UnderWay => "never answered",
                };
                *report.published.entry(kind).or_default() += 1;
                if entry.is_heard && entry.outcome == Outcome::Refused {
                    let fault = format!("{stream}:{number} was refused, and was heard");
                    report.broken.push(fault);
                }
            }
        }
        for (client, view) in seen.views.iter().enumerate() {
            report.audit(client, view, |stream, number| entries[stream][number]);
        }
        report
    }

    fn audit(
        &mut self,
        client: usize,
        view: &View,
        entry: impl Fn(usize, usize) -> crate::ledger::Entry,
    ) {
        self.delivered += view.delivered;
        self.recovered += view.recovered;
        for (kind, count) in &view.tally {
            *self.told.entry(kind.clone()).or_default() += count;
        }
        for heard in view.channels.values() {
            for skip in &heard.skips {
                for number in skip.numbers.clone() {
                    let it = entry(skip.stream, number);
                    // Whether, and when, the unknown ones were committed is unknown.
                    let is_committed = it.outcome == Outcome::Acknowledged;
                    if !is_committed || it.begun < heard.segments[0].began {
                        continue;
                    }
                    if !heard.is_lost_unseen(skip, &it) {
                        self.announced += 1;
                    } else {
                        self.unseen += 1;
                        let number = format!("{}:{number}", skip.stream);
                        self.broken
                            .push(format!("client {client}: {number} was lost unseen"));
                    }
                }
            }
            for &(stream, number) in &heard.late {
                let skips = heard.skips.iter().filter(|skip| skip.stream == stream);
                let was_skipped = skips.filter(|skip| skip.numbers.contains(&number)).count() == 1;
                let is_second = heard
                    .late
                    .iter()
                    .filter(|it| **it == (stream, number))
                    .count()
                    > 1;
                let is_unknown = entry(stream, number).outcome == Outcome::Unknown;
                if !was_skipped || is_second || !is_unknown {
                    let what = "came again, or after a later one";
                    self.broken
                        .push(format!("client {client}: {stream}:{number} {what}"));
                }
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published: u64 = self.published.values().sum();
        let seconds = self.lasted.as_secs_f64();
        writeln!(f, "seed {}, {seconds:.0} s", self.seed)?;
        writeln!(
            f,
            "{} clients, {} channels, {} epochs",
            self.clients, self.channels, self.epochs
        )?;
        writeln!(f, "published      {published:>9}  {:?}", self.published)?;
        writeln!(f, "delivered      {:>9}", self.delivered)?;
        writeln!(
            f,
            "  recovered    {:>9}  published while their client was away",
            self.recovered
        )?;
        writeln!(
            f,
            "announced lost {:>9}  by a gap or recovered:false",
            self.announced
        )?;
        writeln!(f, "unseen lost    {:>9}", self.unseen)?;
        writeln!(f, "clients were told {:?}", self.told)?;
        writeln!(
            f,
            "\n{:<40} {:>5} {:>9} {:>9}",
            "fault, and until heard again", "times", "p50", "max"
        )?;
        let mut all = Vec::new();
        for (kind, record) in &self.faults {
            all.extend(record.heard_after.iter().copied());
            write_times(f, kind, record.count, &record.heard_after)?;
        }
        let count = self.faults.values().map(|record| record.count).sum();
        write_times(f, "all", count, &all)?;
        if self.backends_max > 0 {
            let most = self.backends_max;
            writeln!(
                f,
                "backends of the bridge while the lock for NOTIFY was held: {most}"
            )?;
        }
        writeln!(f, "more than 2 s in {} of them", self.slow.len())?;
        for slow in &self.slow {
            writeln!(f, "slow: {slow}")?;
        }
        for broken in self.broken.iter().take(BROKEN_SHOWN) {
            writeln!(f, "broken: {broken}")?;
        }
        Ok(())
    }
}

fn write_times(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    count: usize,
    times: &[Duration],
) -> fmt::Result {
    let mut times = times.to_vec();
    times.sort_unstable();
    let milliseconds = |at: usize| times.get(at).map_or(0.0, |it| it.as_secs_f64() * 1e3);
    let (middle, last) = (
        milliseconds(times.len() / 2),
        milliseconds(times.len().max(1) - 1),
    );
    writeln!(f, "{kind:<40} {count:>5} {middle:>6.0} ms {last:>6.0} ms")
}

const BROKEN_SHOWN: usize = 3;
