//! What was typed: how long, how often, what of it, and where to.
//!
//! Knows nothing of what the workloads do.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};

use crate::message::Channels;

/// What this process shall be.
pub(crate) enum Role {
    /// The bench itself.
    Bench(Options),
    /// A floor: a child of the bench.
    Floor(FloorOptions),
    /// Only words.
    Help,
}

/// How to run the workloads.
pub(crate) struct Options {
    /// Of one round.
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// Workloads whose name begins so; all if empty.
    pub(crate) only: Vec<String>,
    pub(crate) plot: Option<PathBuf>,
    /// A few clients and fractions of a second, to see that it works.
    pub(crate) smoke: bool,
    /// Readers of closed loops never sleep.
    pub(crate) spin: bool,
    /// Limits and processor are set: see `machine::prepare`.
    pub(crate) prepared: bool,
    pub(crate) server_cpu: Option<usize>,
}

/// What a floor has to know.
pub(crate) struct FloorOptions {
    /// Where its orders come from.
    pub(crate) control: SocketAddr,
    pub(crate) channels: Channels,
}

/// Reads the command line.
///
/// Cargo says `--bench` where times matter, and nothing under `cargo test`: that is the smoke run.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Role, lexopt::Error> {
    let mut parser = Parser::from_args(arguments);
    let mut options = Options {
        seconds: 0.5,
        rounds: 3,
        only: Vec::new(),
        plot: None,
        smoke: false,
        spin: false,
        prepared: false,
        server_cpu: None,
    };
    let (mut is_bench, mut control, mut channels) = (false, None, Channels::split(1));
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("plot") => options.plot = Some(parser.value()?.into()),
            Long("smoke" | "test") => options.smoke = true,
            Long("bench") => is_bench = true,
            Long("spin") => options.spin = true,
            Long("prepared") => options.prepared = true,
            Long("server-cpu") => options.server_cpu = Some(parser.value()?.parse()?),
            Long("floor") => control = Some(parser.value()?.parse()?),
            Long("channels") => channels.count = parser.value()?.parse()?,
            Long("shared") => channels.is_shared = true,
            Short('h') | Long("help") => return Ok(Role::Help),
            // The name filters of `cargo bench NAME` select among the workloads, too.
            Value(name) => options.only.push(name.string()?),
            other @ (Long(_) | Short(_)) => return Err(other.unexpected()),
        }
    }
    if let Some(control) = control {
        return Ok(Role::Floor(FloorOptions { control, channels }));
    }
    if !(options.seconds > 0.0 && options.seconds <= 3_600.0 && options.rounds > 0) {
        return Err("--seconds is over 0 and at most 3600, --rounds at least 1".into());
    }
    options.smoke |= !is_bench;
    if options.smoke {
        (options.seconds, options.rounds) = (0.02, 1);
    }
    Ok(Role::Bench(options))
}

pub(crate) const USAGE: &str = "\
cargo bench --bench end_to_end -- [OPTIONS]

  --seconds S   length of one round (0.5)
  --rounds N    rounds of each workload, server and floor in turn (3)
  --only NAME   workloads whose name begins so; may be repeated
  --spin        readers never sleep, but where messages come at a pace: waking them is no part
                of what a delivery costs
  --plot FILE   write CPU per delivery over the number of subscribers, channels and notifications
                a transaction as SVG, of those workloads that ran
  --smoke       a few clients and fractions of a second: does it work at all?";
