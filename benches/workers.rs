//! What one, two and more workers deliver, and what that costs, on as many processors.
//!
//! Each round is a process of its own on so many processors, with PostgreSQL, the service, a publisher and
//! as many threads of readers as there are workers; rounds of different numbers take turns. A delivery that is
//! missing, doubled or out of order fails the run. Nothing is compared with a floor: that is what
//! `end_to_end` does, of one bridge.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a shell of its own: it has sockets, a clock and a table to print"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "what it shares with the other benchmark and the tests has more than it needs"
)]

#[path = "end_to_end/crowd.rs"]
mod crowd;
#[path = "../tests/support/environment.rs"]
mod environment;
#[path = "end_to_end/histogram.rs"]
mod histogram;
#[path = "end_to_end/machine.rs"]
mod machine;
#[path = "end_to_end/message.rs"]
mod message;
#[path = "end_to_end/publisher.rs"]
mod publisher;
#[path = "workers/service.rs"]
mod service;
#[path = "end_to_end/tally.rs"]
mod tally;

use std::{
    env, io,
    net::SocketAddr,
    process::{ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use alle::internals::sandbox::Sandbox;
use mio::{Events, Poll, Token};

use self::{
    crowd::{Crowd, PATIENCE, Wish},
    message::Channels,
    publisher::Publisher,
    service::Service,
};

/// What is asked of each round.
#[derive(Clone, Copy)]
struct Plan {
    name: &'static str,
    /// Notifications of one transaction, and how many of them are on their way at a time.
    burst: u64,
    window: u64,
}

const PLANS: [Plan; 2] = [
    Plan {
        name: "gathered",
        burst: 64,
        window: 256,
    },
    Plan {
        name: "single",
        burst: 1,
        window: 1,
    },
];

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("workers: it reads /proc, so it needs Linux");
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<_> = env::args().skip(1).collect();
    let result = match arguments.iter().position(|it| it == ROUND) {
        Some(at) => round(&arguments[at + 1..]),
        None => all(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The value behind an option.
fn option<T: std::str::FromStr>(arguments: &[String], name: &str, default: T) -> T {
    let at = arguments.iter().position(|it| it == name);
    let value = at.and_then(|at| arguments.get(at + 1));
    value.and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// All rounds, each by a child.
#[expect(clippy::cast_precision_loss, reason = "a few workers")]
fn all(arguments: &[String]) -> io::Result<()> {
    let is_smoke = !arguments.iter().any(|it| it == "--bench");
    let rounds = option(arguments, "--rounds", if is_smoke { 1 } else { 7 });
    let seconds = option(arguments, "--seconds", if is_smoke { 0.05 } else { 2.0 });
    let clients = option(arguments, "--clients", if is_smoke { 20 } else { 1_000 });
    let most = option(arguments, "--most", if is_smoke { 2 } else { 8 });
    let counts: Vec<usize> = [1, 2, 4, 8].into_iter().filter(|it| *it <= most).collect();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{rounds} rounds of {seconds} s, {clients} clients of one channel; medians. By CPU: what as many \
         processors as workers could deliver, beside one, if nothing but the workers' own CPU counted.\n\n\
         | | workers | processors | deliveries/s | beside one | CPU of the workers, µs a delivery | by CPU, \
         beside one | CPU of PostgreSQL, µs a NOTIFY |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for (nth, plan) in PLANS.iter().enumerate() {
        let mut measured = vec![Vec::new(); counts.len()];
        for _ in 0..rounds {
            for (at, count) in counts.iter().enumerate() {
                let used = (*count).min(processors);
                measured[at].push(child(nth, *count, used, clients, seconds)?);
            }
        }
        let one = median(&measured[0], |it| it.per_second);
        let one_us = median(&measured[0], |it| it.workers_us);
        for (at, count) in counts.iter().enumerate() {
            let per_second = median(&measured[at], |it| it.per_second);
            let us = median(&measured[at], |it| it.workers_us);
            println!(
                "| {} | {count} | {} | {per_second:.0} | {:.2} | {us:.3} | {:.2} | {:.1} |",
                plan.name,
                (*count).min(processors),
                per_second / one,
                *count as f64 * one_us / us,
                median(&measured[at], |it| it.postgres_us),
            );
        }
    }
    Ok(())
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
struct Measured {
    per_second: f64,
    workers_us: f64,
    postgres_us: f64,
}

fn median(all: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut numbers: Vec<_> = all.iter().map(of).collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// One round in a process of its own, on the first so many processors.
fn child(
    plan: usize,
    count: usize,
    processors: usize,
    clients: usize,
    seconds: f64,
) -> io::Result<Measured> {
    let program = env::current_exe()?;
    let mut command = machine::command_on(&program.to_string_lossy(), processors);
    command.args([ROUND, &plan.to_string(), &count.to_string()]);
    command.args([&clients.to_string(), &seconds.to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    match numbers[..] {
        [per_second, workers_us, postgres_us] if output.status.success() => Ok(Measured {
            per_second,
            workers_us,
            postgres_us,
        }),
        _ => Err(io::Error::other(format!("a round failed: {text}"))),
    }
}

/// One round: prints deliveries a second, and microseconds of CPU.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn round(arguments: &[String]) -> io::Result<()> {
    let number = |at: usize| arguments[at].parse::<usize>().map_err(io::Error::other);
    let (plan, count, clients) = (PLANS[number(0)?], number(1)?, number(2)?);
    let length = Duration::from_secs_f64(arguments[3].parse().map_err(io::Error::other)?);
    let sandbox = Sandbox::start().map_err(io::Error::other)?;
    let service = Service::start(&sandbox.url(), count)?;
    let shared = Arc::new(Shared::default());
    let readers: Vec<_> = (0..count)
        .map(|nth| {
            let share = (clients + nth) / count;
            let (shared, address) = (Arc::clone(&shared), service.address);
            thread::spawn(move || shared.read(address, share))
        })
        .collect();
    while shared.ready.load(SeqCst) < count as u64 {
        if readers.iter().any(|it| it.is_finished()) {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut publisher = Publisher::connect(&sandbox.url(), 1)?;
    // Its sessions, and what it does beside them.
    let postmaster = sandbox.postmaster_pid().unwrap_or_default();
    let postgres = service::children(postmaster)?;
    let before = (service.cpu(), service::cpu(&postgres));
    let began = Instant::now();
    let published = shared.publish(&mut publisher, plan, clients as u64, length)?;
    let took = began.elapsed();
    let after = (service.cpu(), service::cpu(&postgres));
    shared.is_over.store(true, SeqCst);
    for reader in readers {
        reader.join().expect("a reader does not panic")?;
    }
    let deliveries = shared.deliveries.load(SeqCst);
    if deliveries != published * clients as u64 {
        let wanted = published * clients as u64;
        return Err(io::Error::other(format!(
            "{deliveries} of {wanted} deliveries"
        )));
    }
    println!(
        "{} {} {}",
        deliveries as f64 / took.as_secs_f64(),
        (after.0 - before.0).as_secs_f64() * 1e6 / deliveries as f64,
        (after.1 - before.1).as_secs_f64() * 1e6 / published as f64
    );
    Ok(())
}

/// What the service has to say.
fn complain(line: &str) {
    eprintln!("{line}");
}

/// Between the publisher and the readers.
#[derive(Default)]
struct Shared {
    ready: AtomicU64,
    deliveries: AtomicU64,
    is_over: AtomicBool,
}

impl Shared {
    /// So many clients, until all is over.
    fn read(&self, address: SocketAddr, clients: usize) -> io::Result<()> {
        let mut crowd = Crowd::connect(address, clients, Channels::split(1), Wish::Subscribe)?;
        crowd.restart();
        // It does not know when one is published, and takes any.
        crowd.publish(MESSAGES_MAX, Instant::now());
        self.ready.fetch_add(1, SeqCst);
        let mut seen = 0;
        loop {
            let is_over = self.is_over.load(SeqCst);
            crowd.turn(Duration::from_millis(20))?;
            let deliveries = crowd.tally.deliveries;
            self.deliveries.fetch_add(deliveries - seen, SeqCst);
            seen = deliveries;
            if crowd.tally.faults.any() {
                return Err(io::Error::other(crowd.tally.faults.to_string()));
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// Publishes for `length`, and waits for what is on its way; how many that were.
    fn publish(
        &self,
        publisher: &mut Publisher,
        plan: Plan,
        clients: u64,
        length: Duration,
    ) -> io::Result<u64> {
        let mut poll = Poll::new()?;
        publisher.register(poll.registry(), Token(0))?;
        let mut events = Events::with_capacity(8);
        let began = Instant::now();
        let mut published = 0;
        let mut progress = (0, began);
        loop {
            let now = Instant::now();
            let arrived = self.deliveries.load(SeqCst);
            let is_due = now < began + length && published + plan.burst < MESSAGES_MAX;
            if is_due && (published + plan.burst) * clients <= arrived + plan.window * clients {
                publisher.publish(published..published + plan.burst);
                published += plan.burst;
            }
            publisher.turn()?;
            if !is_due && arrived >= published * clients {
                return Ok(published);
            }
            if arrived > progress.0 {
                progress = (arrived, now);
            } else if now > progress.1 + PATIENCE {
                return Err(io::Error::other(format!(
                    "{arrived} of {published} x {clients}"
                )));
            }
            poll.poll(&mut events, Some(Duration::from_millis(1)))?;
        }
    }
}

/// The word before the numbers of one round.
const ROUND: &str = "--round";
/// More than any round publishes.
const MESSAGES_MAX: u64 = 1_000_000;
