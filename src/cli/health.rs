//! `alle health`: asks a bridge on this machine whether it runs, as a container's health check.
//!
//! One plain request on a connection of its own, which waits a few seconds at most. Knows where the
//! bridge listens, not what it answers beyond the status and the text for a person.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "one request of a command that does nothing else may wait for its answer"
)]

#[cfg_attr(not(feature = "tls"), path = "health/absent.rs")]
mod tls;

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::{args::HealthOptions, command::CommandName, failure::Failure, output::Output};

/// Asks, prints the answer, and fails unless it is 200.
pub(crate) fn run(options: &HealthOptions, output: &mut Output) -> Result<(), Failure> {
    let address =
        address(&options.address).map_err(|reason| Failure::usage(CommandName::Health, reason))?;
    let path = if options.ready { "/readyz" } else { "/healthz" };
    let scheme = if options.is_secured { "https" } else { "http" };
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Run(format!("{scheme}://{address}{path}: {error}"))
    };
    let answer = ask(address, options, path).map_err(|error| failed(&describe(&error)))?;
    let (status, text) = parse(&answer).ok_or_else(|| failed(&"the answer is not HTTP"))?;
    if status != 200 {
        return Err(failed(&format!("{status} {text}")));
    }
    output.line(&text);
    Ok(())
}

/// Where to connect in order to reach a bridge that listens at `HOST:PORT`.
fn address(bound: &str) -> Result<SocketAddr, String> {
    let mut resolved = bound.to_socket_addrs().map_err(|error| {
        format!("address '{bound}': {error}; it is HOST:PORT, as 127.0.0.1:8080")
    })?;
    let mut address = resolved
        .next()
        .ok_or_else(|| format!("address '{bound}' has no host"))?;
    if address.port() == 0 {
        return Err(format!(
            "nobody knows which port a bridge took that was started with '{bound}': name it with \
             --admin-addr or --ws-bind-addr"
        ));
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

/// The whole answer, as far as it is not too long.
fn ask(address: SocketAddr, options: &HealthOptions, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    if let Some(proxies) = &options.heard {
        let own = stream.local_addr()?.ip().to_canonical();
        if !proxies.hold(own) {
            return Err(io::Error::other(format!(
                "with --proxy-protocol the port of the clients hears trusted proxies alone, and {own} \
                 is none: give the bridge an --admin-addr, or trust {own}, too (--trusted-proxy)"
            )));
        }
        stream.write_all(LOCAL_PREAMBLE)?;
    }
    // A name that every bridge answers to, whichever hosts it allows.
    let port = address.port();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    if options.is_secured {
        exchange(&mut tls::open(stream)?, &request)
    } else {
        exchange(&mut stream, &request)
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status and the body, without the end of its last line.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.split_whitespace();
    let is_http = words.next()?.starts_with("HTTP/1.");
    let status = words.next()?.parse().ok()?;
    is_http.then(|| (status, body.trim_end().to_owned()))
}

fn describe(error: &io::Error) -> String {
    let is_late = matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    );
    if is_late {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return "connection refused (is `alle serve` running there?)".to_owned();
    }
    error.to_string()
}

/// Of the PROXY protocol, version 2: the connection is the proxy's own, which speaks for nobody.
const LOCAL_PREAMBLE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// For connecting, and for each piece of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any state has to say.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_on_every_address_is_asked_on_the_loopback() {
        for (bound, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.2:1", "127.0.0.2:1"),
        ] {
            assert_eq!(address(bound).unwrap().to_string(), asked);
        }
        assert!(address("127.0.0.1:0").is_err());
        assert!(address("nonsense").is_err());
    }

    #[test]
    fn an_answer_is_its_status_and_its_text() {
        let ready = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        assert_eq!(parse(ready), Some((200, "ok".to_owned())));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(parse(b"SSH-2.0\r\n\r\n"), None);
    }
}
