//! The hub alone, against a simulated PostgreSQL, clients and a network that follow from a seed.
//!
//! `ALLE_SIM_SEED=7` plays one seed, `ALLE_SIM_SEEDS=10000` that many, `ALLE_SIM_FIRST` is the
//! first of them. A failure prints its seed and the shortest beginning of it that still fails.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test reads its environment and says what it saw"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "simulation/backend.rs"]
mod backend;
#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/lifecycle.rs"]
mod lifecycle;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/readers.rs"]
mod readers;
#[path = "../fuzz/bodies/wire.rs"]
mod wire;

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
};

use network::World;

#[derive(Default)]
struct Summary {
    steps: u64,
    told: BTreeMap<String, u64>,
}

struct Failure {
    why: String,
    trace: Vec<String>,
}

/// The seeds that are asked for, else `count` of them.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
    if let Some(seed) = number("ALLE_SIM_SEED") {
        return seed..seed + 1;
    }
    let first = number("ALLE_SIM_FIRST").unwrap_or(0);
    first..first + number("ALLE_SIM_SEEDS").unwrap_or(count)
}

fn simulate(seed: u64, steps: usize, keep: bool) -> Result<Summary, Failure> {
    let mut world = World::new(seed, keep);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| world.play(steps)));
    match outcome {
        Ok(()) => Ok(Summary {
            steps: world.truth.step,
            told: world.truth.told,
        }),
        Err(why) => Err(Failure {
            why: why
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| why.downcast_ref::<&str>().map(|&it| it.to_owned()))
                .unwrap_or_default(),
            trace: world.trace,
        }),
    }
}

/// The smallest number of happenings after which the run still fails, found by halving.
fn shortest(seed: u64) -> (usize, Failure) {
    let (mut passes, mut fails) = (0, STEPS);
    while passes < fails {
        let middle = (passes + fails) / 2;
        if simulate(seed, middle, false).is_err() {
            fails = middle;
        } else {
            passes = middle + 1;
        }
    }
    let failure = simulate(seed, fails, true).err();
    (fails, failure.expect("a seed plays the same every time"))
}

#[test]
fn nothing_is_lost_unseen_whatever_the_timing() {
    let seeds = seeds(SEEDS);
    let mut all = Summary::default();
    let started = std::time::Instant::now();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for seed in seeds.clone() {
        match simulate(seed, STEPS, false) {
            Ok(summary) => {
                all.steps += summary.steps;
                for (kind, count) in summary.told {
                    *all.told.entry(kind).or_default() += count;
                }
            }
            Err(_) => {
                let (steps, failure) = shortest(seed);
                panic::set_hook(hook);
                let from = failure.trace.len().saturating_sub(TRACE_LINES);
                panic!(
                    "{}\nseed {seed} fails after {steps} happenings: {}\nreplay with ALLE_SIM_SEED={seed}",
                    failure.trace[from..].join("\n"),
                    failure.why,
                );
            }
        }
    }
    panic::set_hook(hook);
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let count = seeds.end - seeds.start;
    let rate = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / minutes;
    eprintln!(
        "{count} seeds, {} steps, {rate:.0} seeds a minute; clients were told {:?}",
        all.steps, all.told
    );
}

/// Wherever a reader of a group goes on, and however far that bridge is behind.
#[test]
fn a_reader_that_goes_from_bridge_to_bridge_is_told_of_no_gap() {
    let mut hops = 0;
    let seeds = seeds(SEEDS);
    for seed in seeds.clone() {
        let mut group = readers::Group::new(seed);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| group.play(GROUP_STEPS)));
        let steps = group.happenings;
        assert!(
            outcome.is_ok(),
            "\nseed {seed} fails after {steps} happenings: see above\nreplay with ALLE_SIM_SEED={seed}",
        );
        hops += group.hops;
    }
    eprintln!(
        "{} seeds, readers came back {hops} times",
        seeds.end - seeds.start
    );
}

const SEEDS: u64 = 256;
/// The happenings of one seed of a group.
const GROUP_STEPS: usize = 600;
/// The happenings of one seed before all is brought to a good end.
const STEPS: usize = 1_500;
const TRACE_LINES: usize = 120;
