//! What the machine grants and what it tells: processors, descriptors, CPU time, memory.
//!
//! Reads `/proc` and runs `taskset` and `sh`. Knows nothing of servers or clients.

use std::{env, fs, io, os::unix::process::CommandExt, process::Command, thread, time::Duration};

/// Where the server runs, and the load beside it.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    pub(crate) load: usize,
    pub(crate) server: usize,
}

impl Processors {
    /// The first and the last we may run on; `None` with only one, or without `taskset`.
    pub(crate) fn choose() -> Option<Self> {
        let allowed = allowed()?;
        let (load, server) = (*allowed.first()?, *allowed.last()?);
        let works = || {
            Command::new("taskset")
                .args(["-c", &server.to_string(), "true"])
                .status()
                .is_ok_and(|status| status.success())
        };
        (load != server && works()).then_some(Self { load, server })
    }
}

/// Those that we may run on.
fn allowed() -> Option<Vec<usize>> {
    Some(list(&field("/proc/self/status", "Cpus_allowed_list:")?))
}

/// `program`, on the first so many of the processors that we may run on, where `taskset` is there.
#[allow(
    dead_code,
    reason = "one of those who share this pins to one processor"
)]
pub(crate) fn command_on(program: &str, count: usize) -> Command {
    let allowed = allowed().unwrap_or_default();
    let first = allowed.iter().take(count).map(ToString::to_string);
    let first = first.collect::<Vec<_>>().join(",");
    let works = Command::new("taskset")
        .args(["-c", &first, "true"])
        .status();
    if !works.is_ok_and(|status| status.success()) {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &first, program]);
    command
}

/// `program`, on one processor if one is given.
pub(crate) fn command(program: &str, processor: Option<usize>) -> Command {
    let Some(processor) = processor else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", &processor.to_string(), program]);
    command
}

/// Becomes this program anew, on the load's processor and with as many descriptors as it may have.
///
/// Both are inherited, so neither needs a system call of our own. Returns only if that fails.
pub(crate) fn prepare(processors: Option<Processors>, arguments: &[String]) -> io::Error {
    let descriptors = descriptors_hard().min(DESCRIPTORS_WANTED);
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut shell = Command::new("sh");
    let script = format!("ulimit -S -n {descriptors}; exec \"$@\"");
    shell.args(["-c", &script, "sh"]);
    if let Some(Processors { load, .. }) = processors {
        shell.args(["taskset", "-c", &load.to_string()]);
    }
    shell.arg(program).args(arguments).arg(PREPARED);
    if let Some(Processors { server, .. }) = processors {
        shell.args(["--server-cpu", &server.to_string()]);
    }
    shell.exec()
}

/// How many descriptors this process may hold (RLIMIT_NOFILE, soft).
pub(crate) fn descriptors() -> usize {
    limit(3)
}

fn descriptors_hard() -> usize {
    limit(4)
}

/// A column of `Max open files  SOFT  HARD  files`.
fn limit(column: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(column))
        .and_then(|number| number.parse().ok())
        .unwrap_or(DESCRIPTORS_ASSUMED)
}

/// The CPU time of all threads of a process so far; read while it sleeps, else a tick may be missing.
pub(crate) fn cpu_time(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let nanoseconds = tasks
        .expect("the process is alive")
        .filter_map(Result::ok)
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// Lets a process that has nothing to do go to sleep, for [`cpu_time`].
pub(crate) fn settle() {
    thread::sleep(Duration::from_millis(5));
}

/// The bytes that belong to this process alone.
pub(crate) fn private_bytes(process: u32) -> u64 {
    let kilobytes = field(&format!("/proc/{process}/smaps_rollup"), "Private_Dirty:");
    let number = kilobytes
        .as_deref()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    1_024 * number.expect("smaps_rollup has Private_Dirty, in kB")
}

/// What stands behind `name` in a file of names and values.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// `0-2,5` as 0, 1, 2, 5.
fn list(ranges: &str) -> Vec<usize> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    };
    ranges.split(',').filter_map(range).flatten().collect()
}

/// Says that [`prepare`] did its work.
pub(crate) const PREPARED: &str = "--prepared";

/// More than any workload takes.
const DESCRIPTORS_WANTED: usize = 65_536;
/// What POSIX systems grant where nothing can be read.
const DESCRIPTORS_ASSUMED: usize = 1_024;
