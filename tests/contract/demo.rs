//! `alle demo`: for a first run, and for a page of one's own.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt};

use crate::{
    harness::wait_until,
    program::{Program, alle, run},
    raw::{Raw, upgrade_request},
};

const LAST_LINE: &str = "Press Ctrl+C to stop; nothing is kept";

/// A demo that has said what to try, and that text.
struct Demo {
    program: Program,
    guide: String,
    address: SocketAddr,
}

fn demo(arguments: &str, variables: &[(&str, &str)]) -> Demo {
    let mut command = alle(&format!("demo -w 127.0.0.1:0 {arguments}"));
    command.envs(variables.iter().copied());
    let program = Program::start(command);
    let guide = program.stdout.until(LAST_LINE).join("\n");
    let (_, rest) = guide.split_once("http://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    Demo {
        address: address.parse().unwrap(),
        guide,
        program,
    }
}

impl Demo {
    /// The status of a handshake that a page of this origin asks for.
    fn handshake(&self, origin: &str) -> u16 {
        let mut raw = Raw::open(self.address);
        let request = upgrade_request(self.address, "/ws", &format!("Origin: {origin}\r\n"));
        raw.write(request.as_bytes());
        raw.response("GET").status
    }

    fn get(&self, path: &str) -> String {
        let mut raw = Raw::open(self.address);
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        raw.response("GET").body
    }

    /// What it logged, from its start to its end.
    fn end(self) -> Vec<String> {
        self.program.signal("INT");
        assert_eq!(self.program.exit_code(), Some(0));
        self.program.stderr.rest()
    }
}

#[test]
fn the_guide_comes_once_the_bridge_is_ready_and_leads_to_what_there_is() {
    let demo = demo("", &[]);
    assert_eq!(demo.get("/readyz"), "ready\n");
    let (_, psql) = demo.guide.split_once("psql '").unwrap();
    let (url, _) = psql.split_once('\'').unwrap();
    // Shown to everybody on the page, too: it is of this machine, and for this hour.
    assert!(demo.get("/").contains(&format!("psql '{url}'")));
    let module = format!("http://{}/alle.js", demo.address);
    assert!(demo.guide.contains(&module));
    assert!(demo.get("/alle.js").contains("export const connect"));
    let log = demo.end();
    assert!(
        log.iter().any(|line| line.contains("session connected")),
        "{log:?}"
    );
}

#[test]
fn a_page_of_any_server_of_this_machine_may_connect_and_no_other_but_those_named() {
    let demo = demo("--allow-origin https://app.example", &[]);
    for (origin, status) in [
        ("http://localhost:5173", 101),
        ("http://127.0.0.1:3000", 101),
        ("http://[::1]:4321", 101),
        ("https://app.example", 101),
        ("https://evil.example", 403),
        ("http://localhost.evil.example:5173", 403),
        ("null", 403),
    ] {
        assert_eq!(demo.handshake(origin), status, "{origin}");
    }
}

/// They are of the caller's own servers: with any of these the demo would never get ready.
#[test]
fn variables_for_other_servers_do_not_reach_its_own() {
    let variables = [
        ("PGSSLMODE", "require"),
        ("PGHOST", "192.0.2.1"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "none"),
        ("PGCHANNELBINDING", "require"),
        ("PGSERVICE", "none"),
        ("PGOPTIONS", "-c nonsense=1"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("POSTGRES_URL", "postgresql://192.0.2.1:1/none"),
    ];
    let demo = demo("", &variables);
    assert_eq!(demo.get("/readyz"), "ready\n");
}

#[test]
fn another_postgres_is_refused_by_name() {
    let (code, stdout, stderr) = run(alle("demo -p postgresql://localhost/postgres"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.contains("--postgres-url") && stderr.contains("of its own"),
        "{stderr}"
    );
}

#[test]
fn the_page_is_opened_in_a_browser_if_that_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let (opener, opened) = (
        directory.path().join("xdg-open"),
        directory.path().join("opened"),
    );
    let script = format!(
        "#!/bin/sh\necho \"$1\" > '{}.part'\nmv '{0}.part' '{0}'\n",
        opened.display()
    );
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", directory.path().display());
    let demo = demo("--open", &[("PATH", &path)]);
    wait_until("the browser is started", || opened.exists());
    let url = std::fs::read_to_string(&opened).unwrap();
    assert_eq!(url, format!("http://{}/\n", demo.address));
}

/// By what the guide says.
#[cfg(feature = "tls")]
#[test]
fn a_demo_under_tls_is_reached_with_its_own_certificate() {
    let program = Program::start(alle("demo -w 127.0.0.1:0 --tls"));
    let guide = program.stdout.until(LAST_LINE).join("\n");
    let between = |before: &str, behind: &str| {
        let (_, rest) = guide.split_once(before).unwrap();
        rest.split_once(behind).unwrap().0.to_owned()
    };
    let certificate = between("SSL_CERT_FILE='", "'");
    let url = between("https://", "/");
    let page = std::process::Command::new("curl")
        .args(["-sS", "--cacert", &certificate, &format!("https://{url}/")])
        .output()
        .expect("curl is installed");
    assert!(page.status.success(), "{page:?}");
    assert!(String::from_utf8_lossy(&page.stdout).contains("<html"));
    let mut publish = alle(&format!("publish -w wss://{url} orders hello"));
    publish.env("SSL_CERT_FILE", &certificate);
    let (code, stdout, stderr) = run(publish);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    program.signal("INT");
    assert_eq!(program.exit_code(), Some(0));
    assert!(!std::path::Path::new(&certificate).exists());
}
