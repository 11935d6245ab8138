//! `alle serve`: the library's bridge, stopped by signals.

use alle::{Bridge, BridgeConfig, BridgeError};

use super::{command::CommandName, failure::Failure, logs::Logs};

/// Serves until a signal.
pub(crate) fn run(config: BridgeConfig, logs: &Logs) -> Result<(), Failure> {
    Bridge::new(config)
        .with_signals()
        .with_exit_on_second_signal()
        .with_log_lines_dropped(logs.dropped())
        .with_service_manager()
        .run()
        .wait()
        .map_err(|error| failure(&error, CommandName::Serve))
}

/// Tells wrong usage from a failure at run time.
pub(super) fn failure(error: &BridgeError, command: CommandName) -> Failure {
    if error.is_usage() {
        Failure::usage(command, error.to_string())
    } else {
        Failure::Run(error.to_string())
    }
}
