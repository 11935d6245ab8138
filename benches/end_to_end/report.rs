//! The table: medians, the ratio to the floor, and every pair it was made of.

use crate::{
    round::Measured,
    tally::Tally,
    workloads::{Outcome, Pairs, Workload},
};

/// The table's head.
pub(crate) fn head() -> String {
    format!(
        "{:<15} {:>7} {:>10} {:>9} {:>9} {:>6}  {:>8} {:>8} {:>8} {:>9}  pairs\n{:<15} {:>7} {:>10} \
         {:>9} {:>9} {:>6}  {:>8} {:>8} {:>8} {:>9}",
        "workload",
        "clients",
        "units/s",
        "CPU us",
        "floor us",
        "ratio",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "floor p99",
        "",
        "",
        "",
        "a unit",
        "a unit",
        "",
        "",
        "",
        "",
        "",
    )
}

/// A line of it.
pub(crate) fn line(workload: &Workload, outcome: &Outcome) -> String {
    let Workload { name, clients, .. } = workload;
    let pairs = match outcome {
        Outcome::Pairs(pairs) => pairs,
        Outcome::Memory(memory) => {
            let (few, bytes) = (memory.few, memory.bytes_per_client);
            return format!("{name:<15} {clients:>7} {bytes:.0} bytes a client, from {few} on");
        }
    };
    let [alle, floor] = cpu(pairs);
    let per_second = median(pairs.alle.iter().map(Measured::units_per_second));
    let (latency, latency_floor) = (whole(&pairs.alle).latency, whole(&pairs.floor).latency);
    let [p50, p99, p999] = [500, 990, 999].map(|at| latency.milliseconds_at(at));
    let floor_p99 = latency_floor.milliseconds_at(990);
    let each: Vec<_> = ratios(pairs).map(|ratio| format!("{ratio:.2}")).collect();
    format!(
        "{name:<15} {clients:>7} {per_second:>10.0} {alle:>9.3} {floor:>9.3} {:>6.2}  {p50:>8.2} \
         {p99:>8.2} {p999:>8.2} {floor_p99:>9.2}  {}",
        alle / floor,
        each.join(" ")
    )
}

/// What was received and should not have been, or not received; `None` if all is well.
pub(crate) fn faults(outcome: &Outcome) -> Option<String> {
    let Outcome::Pairs(pairs) = outcome else {
        return None;
    };
    let faults = [("alle", &pairs.alle), ("floor", &pairs.floor)]
        .map(|(name, rounds)| (name, whole(rounds)))
        .into_iter()
        .filter(|(_, tally)| tally.faults.any())
        .map(|(name, tally)| format!("{name}: {}", tally.faults))
        .collect::<Vec<_>>();
    (!faults.is_empty()).then(|| faults.join("\n"))
}

/// Median CPU a unit in microseconds, ours and the floor's.
pub(crate) fn cpu(pairs: &Pairs) -> [f64; 2] {
    [&pairs.alle, &pairs.floor].map(|rounds| median(rounds.iter().map(Measured::cpu_us_per_unit)))
}

/// How many units arrived at all.
pub(crate) fn units(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Pairs(pairs) => pairs.alle.iter().map(|round| round.units).sum(),
        Outcome::Memory(_) => 0,
    }
}

fn ratios(pairs: &Pairs) -> impl Iterator<Item = f64> {
    let both = pairs.alle.iter().zip(&pairs.floor);
    both.map(|(alle, floor)| alle.cpu_us_per_unit() / floor.cpu_us_per_unit())
}

fn whole(rounds: &[Measured]) -> Tally {
    let mut whole = Tally::default();
    rounds.iter().for_each(|round| whole.merge(&round.tally));
    whole
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        values[middle - 1].midpoint(values[middle])
    }
}
