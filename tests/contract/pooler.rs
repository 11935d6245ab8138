//! A pooler in transaction mode breaks LISTEN without an error; the bridge finds out and reports
//! it.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    process::{Child, Command, Stdio},
};

use alle::internals::sandbox;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Bridge, Database, NO_POSTGRES, wait_until},
    program::alle_with,
};

/// A pgbouncer in transaction mode with one connection to the shared server, reached by a Unix
/// socket in a directory of its own.
struct Pooler {
    child: Child,
    directory: TempDir,
}

impl Pooler {
    fn start(mode: &str) -> Self {
        let server = sandbox::shared();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let data = fs::metadata(server.data_dir()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = path.join("pgbouncer.ini");
        let (port, directory_text) = (server.port(), path.display());
        fs::write(
            &settings,
            format!(
                "[databases]\n* = host=127.0.0.1 port={port} user=postgres\n\
                 [pgbouncer]\nlisten_addr =\nlisten_port = 6432\n\
                 unix_socket_dir = {directory_text}\nauth_type = any\n\
                 pool_mode = {mode}\ndefault_pool_size = {}\n",
                if mode == "transaction" { 1 } else { 5 }
            ),
        )
        .unwrap();
        // It refuses to run as root; the server's user is not root.
        let mut command = Command::new("pgbouncer");
        if data.uid() != fs::metadata(path).unwrap().uid() {
            chown(path, Some(data.uid()), Some(data.gid())).unwrap();
            command.uid(data.uid()).gid(data.gid());
        }
        let child = command
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer starts: apt-get install pgbouncer, brew install pgbouncer");
        let pooler = Self { child, directory };
        wait_until("the pooler listens", || {
            pooler.directory.path().join(".s.PGSQL.6432").exists()
        });
        pooler
    }

    fn url(&self, database: &Database) -> String {
        let (directory, name) = (self.directory.path().display(), &database.name);
        format!("host={directory} port=6432 user=postgres dbname={name}")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_transaction_pooler_is_recognised_at_the_start_and_nothing_is_promised() {
    let (pooler, database) = (Pooler::start("transaction"), Database::create());
    let bridge = Bridge::serve(&pooler.url(&database), &[]);
    let mut client = bridge.client();
    let down = json!({"type": "status", "postgres": "down"});
    assert_eq!(client.next(), down);
    client.send(&json!({"type": "subscribe", "channel": "c"}));
    let line = bridge.wait_for_log("through a pooler");
    assert!(line.contains("--pg-listen-url"), "{line}");
    let ready = bridge.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("pooler"), "{}", ready.body);
    client.expect_silence();
}

#[test]
fn past_a_transaction_pooler_the_listening_session_alone_will_do() {
    let (pooler, database) = (Pooler::start("transaction"), Database::create());
    let bridge = Bridge::start_with(
        &pooler.url(&database),
        &["--pg-listen-url", &database.url()],
    );
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "through the pool")["type"], "notified");
    assert_eq!(client.payload(), "through the pool");
}

#[test]
fn a_pool_in_session_mode_will_do() {
    let (pooler, database) = (Pooler::start("session"), Database::create());
    let bridge = Bridge::start(&pooler.url(&database));
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "p")["type"], "notified");
    assert_eq!(client.payload(), "p");
}

fn doctor(postgres_url: &str) -> (Option<i32>, String) {
    let output = alle_with(&["doctor", "-p", postgres_url]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text)
}

#[test]
fn the_doctor_names_the_pooler_and_the_remedy() {
    let (pooler, database) = (Pooler::start("transaction"), Database::create());
    let (code, text) = doctor(&pooler.url(&database));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("through a pooler"), "{text}");
    assert!(text.contains("--pg-listen-url"), "{text}");
}

/// A finding without the parts that differ from one machine and moment to the next.
fn timeless(line: &str) -> String {
    let line = match (line.find("PostgreSQL "), line.find(" at ")) {
        (Some(from), Some(_)) if line.contains("session ") => &line[..from],
        _ => line,
    };
    line.split(", after ").next().unwrap().to_owned()
}

#[test]
#[cfg_attr(
    not(feature = "tls"),
    ignore = "without TLS there is something to find"
)]
fn the_doctor_is_content_with_a_good_server_as_the_docs_show() {
    let (code, text) = doctor(&Database::create().url());
    assert_eq!(code, Some(0), "{text}");
    let docs = include_str!("../../docs/running.md");
    let (_, shown) = docs.split_once("$ alle doctor ").unwrap();
    let shown = shown.lines().skip(1).take_while(|line| *line != "```");
    let found: Vec<_> = text.lines().map(timeless).collect();
    assert_eq!(found, shown.map(timeless).collect::<Vec<_>>(), "{text}");
}

#[test]
fn the_doctor_tells_two_databases_from_one() {
    let (here, there) = (Database::create(), Database::create());
    let output = alle_with(&[
        "doctor",
        "-p",
        &here.url(),
        "--pg-publish-url",
        &there.url(),
    ])
    .output()
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("the same database of the same server"),
        "{text}"
    );
}

#[test]
fn the_doctor_says_what_keeps_it_out() {
    let (code, text) = doctor(NO_POSTGRES);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("BAD   listening session"), "{text}");
}
