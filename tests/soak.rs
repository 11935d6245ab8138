//! The real program and a real PostgreSQL besieged: by clients that stall, by clients that break
//! every rule, and by restarts; good clients must not notice.
//!
//! As a plain test it lasts seconds, with each behaviour at least once. `make soak SECONDS=1200`
//! has 5,000 good clients, 500 that stall, 200 that are hostile, and PostgreSQL restarting each
//! minute. Times are reported and decide nothing, but that no turn of the long run takes over 250 ms.

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

#[path = "soak/behaviours.rs"]
mod behaviours;
#[path = "soak/foes.rs"]
mod foes;
#[path = "soak/report.rs"]
mod report;
#[path = "soak/scene.rs"]
mod scene;
#[path = "chaos/shared.rs"]
mod shared;
#[path = "soak/vitals.rs"]
mod vitals;

use std::{env, time::Duration};

use self::shared::{
    audit, client, crowd, harness, histogram, ledger, patient, program, random, raw, schema, sql,
    sql_publisher,
};
use self::{
    crowd::Size,
    scene::{Scale, Scene},
};

#[test]
fn good_clients_do_not_notice_bad_ones() {
    let seconds = env::var("ALLE_SOAK_SECONDS").ok();
    let is_long = seconds.is_some();
    let scale = seconds.map_or(SMALL, |it| large(it.parse().expect("a number of seconds")));
    let report = Scene::set_up(scale).play();
    eprintln!("{report}");
    assert!(report.crowd.broken.is_empty(), "a promise was broken");
    assert!(report.foes.broken.is_empty(), "a foe met with a surprise");
    assert_eq!(report.crowd.unseen, 0);
    assert_eq!(report.good_ones_closed(), 0);
    assert!(report.crowd.delivered > 0);
    // A few seconds beside all other tests say nothing of that.
    assert!(!is_long || report.turns().stalls() == 0, "the loop stalls");
    // A short run ends before memory has reached its final size.
    if let Some(trend) = report.trend() {
        assert!(
            trend.last_kb <= trend.first_kb * 1.2 + 8.0 * 1024.0,
            "memory grows"
        );
    }
}

const SMALL: Scale = Scale {
    good: Size {
        clients: 50,
        channels: 8,
        publishers: 2,
    },
    stalled: 10,
    hostile: 1,
    deaf: [Duration::from_secs(1), Duration::from_secs(3)],
    heavy: 12,
    client_queue_bytes: 1024 * 1024,
    quiet: Duration::from_secs(1),
    siege: Duration::from_secs(4),
};

fn large(seconds: u64) -> Scale {
    let quiet = (seconds / 6).min(120);
    Scale {
        good: Size {
            clients: 5_000,
            channels: 100,
            publishers: 2,
        },
        stalled: 500,
        hostile: 200,
        deaf: [Duration::from_secs(8), Duration::from_secs(25)],
        heavy: 2,
        client_queue_bytes: 16 * 1024 * 1024,
        quiet: Duration::from_secs(quiet),
        siege: Duration::from_secs(seconds - quiet),
    }
}
