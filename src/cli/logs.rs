//! Log lines: to stderr, coloured only for a person who did not ask otherwise.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};

use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry};

/// Writes what `filter` lets through from now on; `no_color` as in <https://no-color.org>.
pub(crate) fn start(filter: Targets, no_color: Option<OsString>) {
    let coloured = io::stderr().is_terminal() && no_color.is_none_or(|value| value.is_empty());
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(coloured)
        .with_filter(filter);
    // Fails only where a subscriber exists already; there is none, this runs first and once.
    let _ = tracing::subscriber::set_global_default(registry().with(lines));
}
