//! The oracle of the simulation against the real thing: the real program, a real PostgreSQL, many
//! clients, and a network between them that breaks.
//!
//! As a plain test it lasts seconds, with each fault once. `make chaos SECONDS=600` plays a plan
//! that follows from `ALLE_CHAOS_SEED`: the faults, their lengths and their order; the state they
//! hit is chance. In every case the report counts the published, delivered, recovered and lost
//! numbers.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests are a shell: they open sockets and wait, with a time-out, for what they expect"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "chaos/director.rs"]
mod director;
#[path = "chaos/log_reader.rs"]
mod log_reader;
#[path = "chaos/plan.rs"]
mod plan;
#[path = "chaos/proxy.rs"]
mod proxy;
#[path = "chaos/shared.rs"]
mod shared;

use std::{env, time::Duration};

use self::shared::{
    audit, client, crowd, harness, histogram, ledger, patient, program, random, raw, schema, sql,
    sql_publisher,
};
use self::{
    crowd::Size,
    director::Director,
    plan::{Plan, smoke},
};

#[test]
fn nothing_is_lost_unseen_whatever_breaks() {
    let number = |name| env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let seed = number("ALLE_CHAOS_SEED").unwrap_or(0);
    let report = match number("ALLE_CHAOS_SECONDS") {
        None => Director::set_up(SMALL, seed).play(smoke().into_iter(), None),
        Some(seconds) => {
            let duration = Duration::from_secs(seconds);
            Director::set_up(LARGE, seed).play(Plan::new(seed), Some(duration))
        }
    };
    eprintln!("{report}");
    assert!(
        report.broken.is_empty(),
        "replay the plan with ALLE_CHAOS_SEED={seed}"
    );
    assert_eq!(report.unseen, 0);
    assert!(report.delivered > 0 && report.recovered > 0);
}

const SMALL: Size = Size {
    clients: 60,
    channels: 8,
    publishers: 3,
};
const LARGE: Size = Size {
    clients: 300,
    channels: 36,
    publishers: 6,
};
