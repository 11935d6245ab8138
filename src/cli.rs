//! The command line: what was typed, what it means, then one command each.
//!
//! The only place that knows an exit status, and with `output` the only one that writes to the
//! terminal. Knows the library by its public names alone: no bridge internals, no reactor.

mod args;
mod check;
mod command;
mod config;
mod config_file;
mod connection;
mod demo;
mod doctor;
mod failure;
mod flags;
mod health;
mod listen;
mod logs;
mod nearest;
mod new_token;
mod output;
mod publish;
mod serve;
mod settings;
#[cfg_attr(not(feature = "tls"), path = "cli/sign/absent.rs")]
mod sign;
mod text_file;
mod timestamp;
mod token;
mod usage;
mod wire;

use std::{env, process::ExitCode};

use alle::internals::workers::Worker;
use args::{Command, Environment, Invocation};
use failure::Failure;
use logs::Logs;
use output::{Look, Output};
use text_file::Files;
use tracing::warn;

/// Runs the command that was typed and turns its end into an exit status.
pub(crate) fn main() -> ExitCode {
    let variable = |name| env::var_os(name);
    let look = Look::new(variable("NO_COLOR").as_deref(), variable("TERM").as_deref());
    let mut output = Output::new(look);
    let mut logs = None;
    let ended = run(&mut output, &mut logs).and_then(|()| output.finish());
    // Where a line of the log cannot be written, no other can.
    let is_readable = logs.is_none_or(|logs| logs.flush());
    let complain = |line: &str| {
        if is_readable {
            output.complain(line);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Run(reason)) => {
            complain(&format!("alle: {reason}"));
            ExitCode::from(EXIT_FAILED)
        }
        Err(Failure::Unknown(reason)) => {
            complain(&format!("alle: {reason}"));
            ExitCode::from(EXIT_UNKNOWN)
        }
        Err(Failure::Usage { reason, command }) => {
            complain(&format!("alle: {reason}"));
            complain(&format!("Usage: {}", usage::line(command)));
            complain(&format!("Try '{}' for more.", usage::help_command(command)));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(output: &mut Output, logs: &mut Option<Logs>) -> Result<(), Failure> {
    let environment = Environment::new(env::vars_os());
    let mut worker = environment.is_of_worker().then(Worker::begin);
    let of_parent = match &mut worker {
        Some(Ok(worker)) => worker.take_files(),
        Some(Err(_)) | None => Vec::new(),
    };
    let mut files = Files::new(of_parent);
    let Invocation {
        log_filter,
        log_format,
        warnings,
        notes,
        command,
    } = args::parse(env::args_os(), &environment, &mut files)?;
    let logs = logs.insert(
        Logs::start(log_filter, log_format, output.look().is_coloured)
            .map_err(|error| Failure::Run(format!("cannot start the log: {error}")))?,
    );
    for note in notes {
        output.complain(&format!("alle: {note}"));
    }
    // The parent of a worker has said it.
    let is_said = matches!(&command, Command::Serve(_)) && worker.is_some();
    for warning in warnings.into_iter().filter(|_| !is_said) {
        // What `alle doctor` finds is read by a person, and its log is off by default.
        if prints_findings(&command) {
            output.complain(&format!("alle: warning: {warning}"));
        } else {
            warn!("{warning}");
        }
    }
    match command {
        Command::Help(topic) => output.text(&usage::help(topic)),
        Command::Version => output.line(&version()),
        Command::Serve(options) => serve::run(options, worker, files.into_kept(), logs)?,
        Command::Listen(options) => listen::run(options, output)?,
        Command::Publish(options) => publish::run(options, output)?,
        Command::Demo(options) => demo::run(&options, output, logs)?,
        Command::Doctor(config) => doctor::run(&config, output)?,
        Command::Check(options) => check::run(options, output)?,
        Command::Config(settings) => config::run(&settings, output),
        Command::Health(options) => health::run(&options, output)?,
        Command::Token(options) => new_token::run(options, output)?,
    }
    Ok(())
}

/// What is running, for a report of a fault.
fn version() -> String {
    let commit = env!("ALLE_BUILD_COMMIT");
    let commit = (!commit.is_empty()).then(|| format!("commit {commit}"));
    let rustc = concat!("rustc ", env!("ALLE_BUILD_RUSTC")).to_owned();
    let tls = if cfg!(feature = "tls") {
        "with TLS"
    } else {
        "without TLS"
    };
    let parts: Vec<_> = commit.into_iter().chain([rustc, tls.to_owned()]).collect();
    format!("alle {} ({})", env!("CARGO_PKG_VERSION"), parts.join(", "))
}

/// Whether a person reads what it prints, rather than its log.
fn prints_findings(command: &Command) -> bool {
    match command {
        Command::Doctor(_)
        | Command::Check(_)
        | Command::Config(_)
        | Command::Health(_)
        | Command::Token(_) => true,
        Command::Help(_)
        | Command::Version
        | Command::Serve(_)
        | Command::Listen(_)
        | Command::Publish(_)
        | Command::Demo(_) => false,
    }
}

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_UNKNOWN: u8 = 3;
