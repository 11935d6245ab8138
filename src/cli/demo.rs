//! `alle demo`: a throw-away PostgreSQL, a bridge on it and the playground page.
//!
//! Prints three things to try as soon as the bridge listens. The server and its data are removed at
//! the end.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line is a shell: it looks whether a port is free, and prints from a \
              second thread while the first one serves"
)]

use std::{
    fmt::Display,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    thread,
};

use alle::{
    Bridge, BridgeConfig,
    internals::sandbox::{SAMPLE_SQL, Sandbox},
};

use super::{
    args::DemoOptions,
    command::CommandName,
    failure::Failure,
    output::Output,
    serve,
    settings::{DEFAULT_WS_BIND_ADDR, DEFAULT_WS_URL},
};

/// Starts everything and serves until a signal.
pub(crate) fn run(options: &DemoOptions, output: &mut Output) -> Result<(), Failure> {
    output.line("Starting a throw-away PostgreSQL ...");
    let sandbox = Sandbox::start().map_err(failed)?;
    let database = sandbox.create_database().map_err(failed)?;
    sandbox.load_sql(&database, SAMPLE_SQL).map_err(failed)?;
    let postgres_url = sandbox.url_for(&database);
    let ws_bind_addr = match &options.ws_bind_addr {
        Some(typed) => typed.as_str(),
        None => default_or_free(output),
    };
    let config = BridgeConfig::new(postgres_url.clone(), ws_bind_addr)
        .with_playground(true)
        .with_allow_origins(options.allow_origins.clone())
        .with_allow_hosts(options.allow_hosts.clone());
    let bridge = Bridge::new(config).with_signals();
    let handle = bridge.handle();
    // Ends by itself: `local_addr` answers once the bridge is bound or has ended.
    let look = output.look();
    let guide = thread::spawn(move || {
        if let Some(address) = handle.local_addr() {
            Output::new(look).text(&things_to_try(&program(), &postgres_url, address));
        }
    });
    let served = bridge.run();
    let _ = guide.join();
    served.map_err(|error| serve::failure(&error, CommandName::Demo))
}

/// The default address, or any free port if the default is taken.
fn default_or_free(output: &mut Output) -> &'static str {
    match TcpListener::bind(DEFAULT_WS_BIND_ADDR) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            output.line(&format!(
                "{DEFAULT_WS_BIND_ADDR} is taken: using a free port instead"
            ));
            "127.0.0.1:0"
        }
        Ok(_) | Err(_) => DEFAULT_WS_BIND_ADDR,
    }
}

/// The name by which this program was called: after `make demo` it is not on the PATH.
fn program() -> String {
    let called = std::env::args_os().next();
    called.map_or_else(|| "alle".to_owned(), |it| it.to_string_lossy().into_owned())
}

fn things_to_try(program: &str, postgres_url: &str, bound: SocketAddr) -> String {
    let mut address = bound;
    if bound.ip().is_unspecified() {
        // The bridge listens on every address of this machine; the loopback is sure to lead to it.
        address.set_ip(match bound {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let ws_url = format!("ws://{address}");
    let bridge = if ws_url == DEFAULT_WS_URL {
        String::new()
    } else {
        format!(" -w {ws_url}")
    };
    format!(
        "
Three things to try:

  1. The playground page
     http://{address}/

  2. Listen in another terminal
     {program} listen orders{bridge}

  3. Insert a row, or notify by hand
     psql '{postgres_url}'
     INSERT INTO orders (customer_name, total, status) VALUES ('Test User', 99.99, 'pending');
     NOTIFY orders, 'hello';

Press Ctrl+C to stop; nothing is kept

"
    )
}

fn failed(error: impl Display) -> Failure {
    Failure::Run(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_to_try_name_the_bridge_only_where_it_is_not_the_default() {
        for (bound, page, listen) in [
            (
                "127.0.0.1:8080",
                "http://127.0.0.1:8080/",
                "alle listen orders\n",
            ),
            (
                "127.0.0.1:9",
                "http://127.0.0.1:9/",
                "alle listen orders -w ws://127.0.0.1:9\n",
            ),
            (
                "0.0.0.0:9",
                "http://127.0.0.1:9/",
                "alle listen orders -w ws://127.0.0.1:9\n",
            ),
            (
                "[::]:9",
                "http://[::1]:9/",
                "alle listen orders -w ws://[::1]:9\n",
            ),
        ] {
            let text = things_to_try("alle", "postgresql://x/y", bound.parse().unwrap());
            for expected in [page, listen, "psql 'postgresql://x/y'"] {
                assert!(text.contains(expected), "{expected} is not in {text}");
            }
        }
    }
}
