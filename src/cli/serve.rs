//! `alle serve`: the library's bridge, stopped by signals.

use alle::{Bridge, BridgeConfig, BridgeError};

use super::{
    Failure,
    args::{CommandName, ServeOptions},
};

/// Serves until a signal.
pub(crate) fn run(options: ServeOptions) -> Result<(), Failure> {
    let config = BridgeConfig::new(options.postgres_url, options.ws_bind_addr)
        .with_channels(options.channels)
        .with_playground(options.playground)
        .with_allow_origins(options.allow_origins)
        .with_allow_hosts(options.allow_hosts);
    Bridge::new(config)
        .with_signals()
        .run()
        .map_err(|error| failure(&error, CommandName::Serve))
}

/// Whether the bridge was asked for the impossible or could not do the possible.
pub(super) fn failure(error: &BridgeError, command: CommandName) -> Failure {
    if error.is_usage() {
        Failure::usage(command, error.to_string())
    } else {
        Failure::Run(error.to_string())
    }
}
