//! `alle serve`: the library's bridge, stopped by signals.

use std::time::Duration;

use alle::{Bridge, BridgeConfig, BridgeError, Limits};

use super::{
    Failure,
    args::{CommandName, LimitOptions, ServeOptions},
};

/// Serves until a signal.
pub(crate) fn run(options: ServeOptions) -> Result<(), Failure> {
    let limits = with_limits(&options.limits);
    let mut config = BridgeConfig::new(options.postgres.url, options.ws_bind_addr)
        .with_postgres_listen_url(options.postgres.listen_url)
        .with_postgres_publish_url(options.postgres.publish_url)
        .with_admin_addr(options.admin_addr)
        .with_channels(options.channels)
        .with_playground(options.playground)
        .with_allow_origins(options.allow_origins)
        .with_allow_hosts(options.allow_hosts)
        .with_permissions(options.permissions)
        .with_unlisten_delay(seconds(options.limits.unlisten_delay))
        .with_drain(seconds(options.drain))
        .with_limits(limits);
    config.token_file = options.token_file.map(Into::into);
    Bridge::new(config)
        .with_signals()
        .with_service_manager()
        .run()
        .map_err(|error| failure(&error, CommandName::Serve))
}

fn with_limits(options: &LimitOptions) -> Limits {
    let mut limits = Limits::default();
    limits.clients_max = options.max_clients;
    limits.address_clients_max = options.max_clients_per_address;
    limits.client_rate_max = options
        .client_rate
        .map(|rate| u32::try_from(rate).unwrap_or(u32::MAX));
    for (limit, option) in [
        (&mut limits.history_frames_max, options.history),
        (&mut limits.history_bytes_max, options.history_bytes),
        (&mut limits.client_queue_bytes_max, options.client_queue),
        (&mut limits.retained_bytes_max, options.retained),
    ] {
        *limit = option.unwrap_or(*limit);
    }
    limits
}

fn seconds(number: Option<usize>) -> Duration {
    Duration::from_secs(number.unwrap_or(0) as u64)
}

/// Whether the bridge was asked for the impossible or could not do the possible.
pub(super) fn failure(error: &BridgeError, command: CommandName) -> Failure {
    if error.is_usage() {
        Failure::usage(command, error.to_string())
    } else {
        Failure::Run(error.to_string())
    }
}
