//! The command line: what was typed, what it means, then one command each.
//!
//! The only place that knows an exit status, and with `output` the only one that writes to the
//! terminal. Knows the library by its public names alone: no bridge internals, no reactor.

mod args;
mod connection;
mod demo;
mod doctor;
mod listen;
mod logs;
mod output;
mod publish;
mod serve;
mod token;
mod usage;
mod wire;

use std::{env, process::ExitCode};

use args::{Command, CommandName, Invocation};
use output::Output;

/// Runs the command that was typed and turns its end into an exit status.
pub(crate) fn main() -> ExitCode {
    let mut output = Output::new();
    let ended = run(&mut output).and_then(|()| output.finish());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Run(reason)) => {
            output.complain(&format!("alle: {reason}"));
            ExitCode::from(EXIT_FAILED)
        }
        Err(Failure::Usage { reason, command }) => {
            output.complain(&format!("alle: {reason}"));
            output.complain(&format!("Usage: {}", usage::line(command)));
            output.complain(&format!("Try '{}' for more.", usage::help_command(command)));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(output: &mut Output) -> Result<(), Failure> {
    let variable = |name: &str| env::var_os(name);
    let Invocation {
        log_filter,
        command,
    } = args::parse(env::args_os(), &variable)?;
    logs::start(log_filter, env::var_os("NO_COLOR"));
    match command {
        Command::Help(topic) => output.text(usage::help(topic)),
        Command::Version => output.line(concat!("alle ", env!("CARGO_PKG_VERSION"))),
        Command::Serve(options) => serve::run(*options)?,
        Command::Listen(options) => listen::run(options, output)?,
        Command::Publish(options) => publish::run(options, output)?,
        Command::Demo(options) => demo::run(&options, output)?,
        Command::Doctor(options) => doctor::run(options, output)?,
    }
    Ok(())
}

/// Why a command did not do what it was asked. A closed stdout is none: see [`Output`].
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked in a way that cannot work: exit status 2.
    Usage {
        /// One sentence, lower case, no full stop.
        reason: String,
        /// Whose usage line helps, `None` for that of the program.
        command: Option<CommandName>,
    },
    /// It failed while running: exit status 1.
    Run(String),
}

impl Failure {
    fn usage(command: impl Into<Option<CommandName>>, reason: impl Into<String>) -> Self {
        Self::Usage {
            reason: reason.into(),
            command: command.into(),
        }
    }
}

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
