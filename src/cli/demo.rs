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

#[cfg_attr(not(feature = "tls"), path = "demo/absent.rs")]
mod pair;

use std::{
    fmt::Display,
    fs,
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use alle::{
    Bridge, BridgeConfig, Handle,
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
        .with_playground_psql_url(postgres_url.clone())
        .with_allow_local_origins(true)
        .with_allow_origins(options.allow_origins.clone())
        .with_allow_hosts(options.allow_hosts.clone());
    let pair = options.tls.then(|| write_pair(sandbox.socket_dir()));
    let pair = pair.transpose()?;
    let config = match &pair {
        Some((certificate, key)) => config.with_tls(certificate, key),
        None => config,
    };
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
        wait_until_ready(&handle);
        // So far the log speaks of the start; what comes later stands behind the guide.
        logs.flush();
        let mut output = Output::new(look);
        let certificate = pair.as_ref().map(|(certificate, _)| certificate.as_path());
        output.text(&things_to_try(
            &program(),
            &postgres_url,
            address,
            certificate,
        ));
        if open {
            let scheme = if certificate.is_some() {
                "https"
            } else {
                "http"
            };
            open_browser(&format!("{scheme}://{address}/"), &output);
        }
    });
    let served = bridge.run().wait();
    let _ = guide.join();
    served.map_err(|error| serve::failure(&error, CommandName::Demo))
}

/// Writes a certificate and its key, made for this run, into the directory, which goes with it.
fn write_pair(directory: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let pair = pair::generate(SystemTime::now()).map_err(failed)?;
    let paths = ["demo.crt", "demo.key"].map(|name| directory.join(name));
    for (path, text) in paths.iter().zip([pair.certificate, pair.key]) {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
        written.map_err(|error| failed(format!("{}: {error}", path.display())))?;
    }
    let [certificate, key] = paths;
    Ok((certificate, key))
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
fn wait_until_ready(handle: &Handle) {
    for _ in 0..READY_ATTEMPTS {
        if handle.readiness().wait().is_ok() {
            return;
        }
        thread::sleep(READY_INTERVAL);
    }
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

/// `certificate` is that of TLS, where clients speak it.
fn things_to_try(
    program: &str,
    postgres_url: &str,
    address: SocketAddr,
    certificate: Option<&Path>,
) -> String {
    let secured = if certificate.is_some() { "s" } else { "" };
    let trust = certificate.map_or_else(String::new, |it| {
        format!("SSL_CERT_FILE='{}' ", it.display())
    });
    let warning = if certificate.is_some() {
        "\n     The browser warns of its certificate, which was made for this run"
    } else {
        ""
    };
    let ws_url = format!("ws{secured}://{address}");
    let bridge = if ws_url == DEFAULT_WS_URL {
        String::new()
    } else {
        format!(" -w {ws_url}")
    };
    format!(
        "
Four things to try:

  1. The playground page
     http{secured}://{address}/{warning}

  2. Listen in another terminal
     {trust}{program} listen orders{bridge}

  3. Insert a row, or notify by hand
     psql '{postgres_url}'
     INSERT INTO orders (customer_name, total, status) VALUES ('Test User', 99.99, 'pending');
     NOTIFY orders, 'hello';

  4. A page of your own, from any server on this machine
     <script type=\"module\">
       import {{ connect }} from \"http{secured}://{address}/alle.js\";
       connect().subscribe(\"orders\", (payload) => document.body.append(payload));
     </script>

Press Ctrl+C to stop; nothing is kept

"
    )
}

fn failed(error: impl Display) -> Failure {
    Failure::Run(error.to_string())
}

const READY_ATTEMPTS: u32 = 250;
const READY_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_to_try_name_the_certificate_where_there_is_one() {
        let address = "127.0.0.1:9".parse().unwrap();
        let certificate = Some(Path::new("/tmp/x/demo.crt"));
        let text = things_to_try("alle", "postgresql://x/y", address, certificate);
        for expected in [
            "https://127.0.0.1:9/\n",
            "SSL_CERT_FILE='/tmp/x/demo.crt' alle listen orders -w wss://127.0.0.1:9\n",
            "\"https://127.0.0.1:9/alle.js\"",
        ] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }

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
            let text = things_to_try("alle", "postgresql://x/y", address, None);
            for expected in [page, listen, "psql 'postgresql://x/y'"] {
                assert!(text.contains(expected), "{expected} is not in {text}");
            }
        }
    }
}
