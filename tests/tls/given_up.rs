//! What is said of TLS that was given up: in the log, by the doctor and in the metrics.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use alle::internals::sandbox::Sandbox;

use super::{
    PASSWORD, SCRAM_ROLE,
    certificates::Authority,
    isolated,
    program::{Program, alle_with, run},
    serve_tls,
};

/// A bridge, and the server it works with.
struct Bridge<'a> {
    program: Program,
    server: &'a Sandbox,
    metrics: String,
}

impl<'a> Bridge<'a> {
    fn start(server: &'a Sandbox, settings: &str) -> Self {
        let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", settings]);
        isolated(&mut command);
        let program = Program::start(command);
        let line = program.stderr.next();
        let (_, address) = line.split_once("listening on ws://").expect(&line);
        let metrics = address.trim().to_owned();
        Self {
            program,
            server,
            metrics,
        }
    }

    /// What is logged until both sessions are connected; each time with the same words about TLS.
    fn connect(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let is_connected = |line: &&String| line.contains("session connected");
        while lines.iter().filter(is_connected).count() < 2 {
            lines.push(self.program.stderr.next());
        }
        lines
    }

    /// Ends both sessions; what is logged until they are back.
    fn connect_again(&self) -> Vec<String> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name IN ('alle', 'alle publish')";
        self.server.psql("postgres", end).unwrap();
        self.connect()
    }

    /// The counter of this session.
    fn given_up(&self, session: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.metrics).unwrap();
        let host = &self.metrics;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let name = format!("alle_postgres_tls_given_up_total{{session=\"{session}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name));
        value.expect(&page).parse().unwrap()
    }
}

fn warnings(lines: &[String]) -> Vec<&str> {
    let mark = "going on in clear text, as sslmode=prefer allows";
    let warnings = lines.iter().filter(|line| line.contains(mark));
    warnings.map(String::as_str).collect()
}

fn over_tls(lines: &[String]) -> usize {
    lines
        .iter()
        .filter(|line| line.contains(" over TLS"))
        .count()
}

#[test]
fn each_change_is_told_once_and_each_time_is_counted() {
    let server = Sandbox::start().unwrap();
    let authority = Authority::new("right");
    let identity = authority.sign("x", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    serve_tls(
        &server,
        &identity,
        &authority.pem,
        "local all all trust\nhost all all all trust\n",
    );
    let root = server.socket_dir().join("trusted.crt");
    fs::write(&root, Authority::new("wrong").pem).unwrap();
    let settings = format!(
        "host=localhost port={} user=postgres dbname=postgres sslrootcert={}",
        server.port(),
        root.display()
    );
    let mut command = alle_with(&["doctor", "-p", &settings]);
    isolated(&mut command);
    let (code, found, _) = run(command);
    assert_eq!(code, Some(0), "{found}");
    let said = "off: it failed (the server's certificate is signed by nobody";
    assert_eq!(found.matches(said).count(), 2, "{found}");

    let bridge = Bridge::start(&server, &settings);
    let lines = bridge.connect();
    let told = warnings(&lines);
    assert_eq!(told.len(), 2, "{lines:#?}");
    for session in ["listening", "publishing"] {
        let expected = format!("{session} session: TLS failed (the server's certificate is signed");
        assert!(
            told.iter().any(|line| line.contains(&expected)),
            "{told:#?}"
        );
    }
    // Once for as long as nothing changes.
    let lines = bridge.connect_again();
    assert_eq!(
        (warnings(&lines).len(), over_tls(&lines)),
        (0, 0),
        "{lines:#?}"
    );

    fs::write(&root, &authority.pem).unwrap();
    let lines = bridge.connect_again();
    assert_eq!(
        (warnings(&lines).len(), over_tls(&lines)),
        (0, 2),
        "{lines:#?}"
    );

    // Who cuts the connection may also answer for the server that it has no TLS.
    server.append_configuration("ssl = off\n").unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()").unwrap();
    while server.psql("postgres", "SHOW ssl").unwrap().trim() != "off" {}
    for expected in [2, 0] {
        let lines = bridge.connect_again();
        let told = warnings(&lines);
        assert_eq!((told.len(), over_tls(&lines)), (expected, 0), "{lines:#?}");
        let lost = "the server offers none, which the session before had";
        assert!(told.iter().all(|line| line.contains(lost)), "{told:#?}");
    }
    for session in ["listening", "publishing"] {
        assert_eq!(bridge.given_up(session), 4, "{session}");
    }
}

/// The server speaks TLS and lets this role in without it alone.
#[test]
fn a_session_refused_under_tls_goes_on_without_and_says_so() {
    let server = Sandbox::start().unwrap();
    let authority = Authority::new("right");
    let identity = authority.sign("x", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let role = format!("{SCRAM_ROLE} LOGIN PASSWORD '{PASSWORD}'");
    server.psql("postgres", &role).unwrap();
    let rules = "local all all trust\nhostnossl all scram all scram-sha-256\n";
    serve_tls(&server, &identity, &authority.pem, rules);
    let settings = format!(
        "host=localhost port={} user=scram password={PASSWORD} dbname=postgres",
        server.port()
    );
    let lines = Bridge::start(&server, &settings).connect();
    let told = warnings(&lines);
    assert_eq!(told.len(), 2, "{lines:#?}");
    let why = "under it the server refused us: ";
    assert!(told.iter().all(|line| line.contains(why)), "{told:#?}");
}

/// A server that never had TLS is no news.
#[test]
fn nothing_is_said_where_there_was_no_tls_to_give_up() {
    let server = Sandbox::start().unwrap();
    let settings = format!(
        "host=localhost port={} user=postgres dbname=postgres",
        server.port()
    );
    let bridge = Bridge::start(&server, &settings);
    for lines in [bridge.connect(), bridge.connect_again()] {
        assert!(warnings(&lines).is_empty(), "{lines:#?}");
    }
    assert_eq!(bridge.given_up("listening"), 0);
}
