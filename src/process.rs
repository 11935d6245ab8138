//! What this process costs its machine, as the operating system counts it.
//!
//! Reads `/proc/self` (proc(5)) when somebody asks for the metrics; where there is none it knows
//! nothing. Refuses to know who asks.

#![expect(
    clippy::disallowed_methods,
    reason = "the start of a process is told in the time of day"
)]

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use crate::metrics::Process;

/// The figures at this moment.
pub(crate) fn figures() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let fields = stat.as_deref().map(fields).unwrap_or_default();
    let field = |number: usize| fields.get(number)?.parse::<u64>().ok();
    let ticks = clock_ticks_per_second() as f64;
    let seconds = |count: u64| count as f64 / ticks;
    Process {
        cpu_seconds: field(USER_TIME)
            .zip(field(SYSTEM_TIME))
            .map(|(user, system)| seconds(user + system)),
        start_seconds: field(START_TIME).and_then(|it| Some(boot_seconds()? + seconds(it))),
        virtual_bytes: field(VIRTUAL_BYTES),
        resident_bytes: field(RESIDENT_PAGES).map(|pages| pages * page_size() as u64),
        files_open: fs::read_dir("/proc/self/fd").ok().map(|open| {
            // One of them is the directory that is read.
            (open.count() as u64).saturating_sub(1)
        }),
        files_max: getrlimit(Resource::Nofile).current,
    }
}

/// The fields behind the name of the program, which may hold spaces and parentheses.
fn fields(stat: &str) -> Vec<&str> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().collect()
}

/// When the machine was started, in seconds since 1970.
fn boot_seconds() -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - uptime)
}

// Behind the name, from 0: proc(5) counts the fields from 1, and the name is the second.
const USER_TIME: usize = 14 - 3;
const SYSTEM_TIME: usize = 15 - 3;
const START_TIME: usize = 22 - 3;
const VIRTUAL_BYTES: usize = 23 - 3;
const RESIDENT_PAGES: usize = 24 - 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 31 41";
        let fields = fields(stat);
        assert_eq!((fields[USER_TIME], fields[SYSTEM_TIME]), ("31", "41"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures_that_can_be() {
        let here = figures();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let started = here.start_seconds.unwrap();
        assert!(
            started > 1e9 && started <= now.as_secs_f64() + 1.0,
            "{here:?}"
        );
        assert!(here.resident_bytes.unwrap() > 100_000, "{here:?}");
        assert!(
            here.virtual_bytes.unwrap() >= here.resident_bytes.unwrap(),
            "{here:?}"
        );
        assert!(here.files_open.unwrap() >= 3, "{here:?}");
        assert!(here.cpu_seconds.unwrap() >= 0.0, "{here:?}");
    }
}
