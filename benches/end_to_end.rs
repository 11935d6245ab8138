//! What a user of the real program sees, measured beside the least that any program would take.
//!
//! The release binary between a real PostgreSQL and real sockets takes turns with a bare loop that
//! writes the same bytes to as many sockets. Server and load have a processor each. Every delivery
//! is counted: one that is missing, doubled or out of order fails the run.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a shell of its own: it has sockets, a clock and a table to print"
)]

#[path = "end_to_end/contender.rs"]
mod contender;
#[path = "end_to_end/crowd.rs"]
mod crowd;
#[path = "../tests/support/environment.rs"]
#[expect(unreachable_pub, reason = "the tests share it")]
mod environment;
#[path = "end_to_end/floor.rs"]
mod floor;
#[path = "end_to_end/histogram.rs"]
mod histogram;
#[path = "end_to_end/machine.rs"]
mod machine;
#[path = "end_to_end/message.rs"]
mod message;
#[path = "end_to_end/options.rs"]
mod options;
#[path = "end_to_end/plot.rs"]
mod plot;
#[path = "end_to_end/publisher.rs"]
mod publisher;
#[path = "end_to_end/report.rs"]
mod report;
#[path = "end_to_end/round.rs"]
mod round;
#[path = "end_to_end/tally.rs"]
mod tally;
#[path = "end_to_end/workloads.rs"]
mod workloads;

use std::{env, fs, io, process::ExitCode, time::Duration};

use alle::internals::sandbox::Sandbox;

use self::{
    contender::Site,
    machine::Processors,
    options::{Options, Role, USAGE},
    plot::Point,
    workloads::{GROWTH_NAME, Outcome, Workload},
};

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("end_to_end: it reads /proc, so it needs Linux");
        return ExitCode::SUCCESS;
    }
    let result = match options::parse(env::args_os().skip(1).collect()) {
        Ok(Role::Floor(options)) => floor::run(&options).map(|()| true),
        Ok(Role::Bench(options)) => bench(&options),
        Ok(Role::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("end_to_end: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every message arrived as it should.
fn bench(options: &Options) -> io::Result<bool> {
    if !options.prepared {
        let arguments: Vec<_> = env::args().skip(1).collect();
        let error = machine::prepare(Processors::choose(), &arguments);
        eprintln!("end_to_end: goes on as it is: {error}");
    }
    let sandbox = Sandbox::start().map_err(io::Error::other)?;
    let site = Site {
        postgres_url: sandbox.url(),
        server_cpu: options.server_cpu,
    };
    introduce(options);
    let mut workloads = if options.smoke {
        workloads::smoke()
    } else {
        workloads::all()
    };
    if !options.only.is_empty() {
        let wanted = |one: &Workload| options.only.iter().any(|name| one.name.starts_with(name));
        workloads.retain(wanted);
    }
    if workloads.is_empty() {
        return Err(io::Error::other("no workload has such a name"));
    }
    // On the server's own processor it would be the server that waits.
    if options.spin && options.server_cpu.is_some() {
        workloads.iter_mut().for_each(Workload::keep_awake);
    }
    let mut points = Vec::new();
    let mut all_is_well = true;
    for workload in &workloads {
        let outcome = workload.run(
            &site,
            options.rounds,
            Duration::from_secs_f64(options.seconds),
        )?;
        all_is_well &= tell(workload, &outcome, options.smoke);
        if let Outcome::Pairs(pairs) = &outcome {
            let [alle, floor] = report::cpu(pairs);
            points.extend(workload.growths().map(|(growth, at)| Point {
                growth,
                at,
                alle,
                floor,
            }));
        }
    }
    if let Some(path) = &options.plot {
        if points.is_empty() {
            return Err(io::Error::other(format!(
                "--plot needs {GROWTH_NAME}, burst or cross"
            )));
        }
        fs::write(path, plot::svg(&points))?;
        println!("{} is written", path.display());
    }
    Ok(all_is_well)
}

fn introduce(options: &Options) {
    if options.smoke {
        return println!("end_to_end: a smoke run, nothing is measured");
    }
    match options.server_cpu {
        Some(processor) => println!("The server has processor {processor} for itself."),
        None => println!(
            "Not pinned (one processor, or no `taskset`): server and load disturb each other."
        ),
    }
    println!(
        "{} rounds of {} s, each of alle beside one of the floor. A unit is a delivery or a handshake;\n\
         ratio is that of the medians, pairs are the ratios of the rounds.\n\n{}",
        options.rounds,
        options.seconds,
        report::head()
    );
}

/// Prints what came out; false if something was lost or came twice.
fn tell(workload: &Workload, outcome: &Outcome, smoke: bool) -> bool {
    if smoke {
        println!(
            "  {} x {}: {} units",
            workload.name,
            workload.clients,
            report::units(outcome)
        );
    } else {
        println!("{}", report::line(workload, outcome));
    }
    let Some(faults) = report::faults(outcome) else {
        return true;
    };
    println!("!!! {} x {}: {faults}", workload.name, workload.clients);
    eprintln!("end_to_end: NOT EVERYTHING ARRIVED AS IT SHOULD");
    false
}
