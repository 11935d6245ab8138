//! `alle demo`: a throw-away PostgreSQL, a bridge on it and the playground page.
//!
//! Prints four things to try as soon as the bridge is ready. The server and its data are removed at
//! the end. Made for development: the pages of this machine's own servers may connect.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line is a shell: it looks whether a port is free, and asks for readiness \
              and prints from a second thread while the first one serves"
)]

use std::{
    fmt::Display,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use alle::{
    Bridge, BridgeConfig,
    internals::sandbox::{SAMPLE_SQL, Sandbox},
};

use super::{
    args::DemoOptions,
    command::CommandName,
    failure::Failure,
    logs::Logs,
    output::Output,
    serve,
    settings::{DEFAULT_WS_BIND_ADDR, DEFAULT_WS_URL},
};

/// Starts everything and serves until a signal.
pub(crate) fn run(options: &DemoOptions, output: &mut Output, logs: &Logs) -> Result<(), Failure> {
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
        // What the caller's variables say is of other servers.
        .without_postgres_environment()
        .with_playground(true)
        .with_playground_psql_url(Some(postgres_url.clone()))
        .with_allow_local_origins(true)
        .with_allow_origins(options.allow_origins.clone())
        .with_allow_hosts(options.allow_hosts.clone());
    let bridge = Bridge::new(config)
        .with_signals()
        .with_log_lines_dropped(logs.dropped());
    let handle = bridge.handle();
    // Ends by itself: `local_addr` answers once the bridge is bound or has ended.
    let (logs, open, look) = (logs.clone(), options.open, output.look());
    let guide = thread::spawn(move || {
        let Some(bound) = handle.local_addr() else {
            return;
        };
        let address = reachable(bound);
        wait_until_ready(address);
        // So far the log speaks of the start; what comes later stands behind the guide.
        logs.flush();
        let mut output = Output::new(look);
        output.text(&things_to_try(&program(), &postgres_url, address));
        if open {
            open_browser(&format!("http://{address}/"), &output);
        }
    });
    let served = bridge.run().wait();
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

/// An address that leads to the bridge from this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    if bound.ip().is_unspecified() {
        // The bridge listens on every address of this machine; the loopback is sure to lead to it.
        address.set_ip(match bound {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Waits until the bridge has its sessions, but not without end: the guide says what to try even
/// where something is wrong, and the log says what is.
fn wait_until_ready(address: SocketAddr) {
    for _ in 0..READY_ATTEMPTS {
        if is_ready(address).unwrap_or(false) {
            return;
        }
        thread::sleep(READY_INTERVAL);
    }
}

fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, READY_TIMEOUT)?;
    stream.set_read_timeout(Some(READY_TIMEOUT))?;
    stream.write_all(b"HEAD /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; READY.len()];
    stream.read_exact(&mut status)?;
    Ok(status == *READY)
}

/// Shows the page in the user's own browser, as far as the system knows how.
fn open_browser(url: &str, output: &Output) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let silent = Stdio::null;
    // Not waited for: some stay for as long as the browser does.
    let started = Command::new(opener)
        .arg(url)
        .stdin(silent())
        .stdout(silent())
        .stderr(silent())
        .spawn();
    if let Err(error) = started {
        output.complain(&format!("alle: no browser was opened: {opener}: {error}"));
    }
}

fn things_to_try(program: &str, postgres_url: &str, address: SocketAddr) -> String {
    let ws_url = format!("ws://{address}");
    let bridge = if ws_url == DEFAULT_WS_URL {
        String::new()
    } else {
        format!(" -w {ws_url}")
    };
    format!(
        "
Four things to try:

  1. The playground page
     http://{address}/

  2. Listen in another terminal
     {program} listen orders{bridge}

  3. Insert a row, or notify by hand
     psql '{postgres_url}'
     INSERT INTO orders (customer_name, total, status) VALUES ('Test User', 99.99, 'pending');
     NOTIFY orders, 'hello';

  4. A page of your own, from any server on this machine
     <script type=\"module\">
       import {{ connect }} from \"http://{address}/alle.js\";
       connect().subscribe(\"orders\", (payload) => document.body.append(payload));
     </script>

Press Ctrl+C to stop; nothing is kept

"
    )
}

fn failed(error: impl Display) -> Failure {
    Failure::Run(error.to_string())
}

const READY: &[u8; 12] = b"HTTP/1.1 200";
const READY_ATTEMPTS: u32 = 250;
const READY_INTERVAL: Duration = Duration::from_millis(20);
const READY_TIMEOUT: Duration = Duration::from_secs(1);

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
            let address = reachable(bound.parse().unwrap());
            let text = things_to_try("alle", "postgresql://x/y", address);
            for expected in [page, listen, "psql 'postgresql://x/y'"] {
                assert!(text.contains(expected), "{expected} is not in {text}");
            }
        }
    }
}
