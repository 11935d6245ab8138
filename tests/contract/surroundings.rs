//! Contract, sections 1 and 4: what lies around the connection string counts as for libpq, and as
//! it is when a connection is made, not as it was at the start.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use alle::internals::sandbox::Sandbox;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    harness::{Bridge, Database, wait_until},
    program::alle_with,
    relay::Relay,
    sql::Sql,
};

/// A directory of one test, and `alle` with it for its home and no variable but those given.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("alle-home-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    /// Replaces a private file, as an editor does.
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let (path, new) = (self.0.join(name), self.0.join("new"));
        let mut file = fs::File::create(&new).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .unwrap();
        file.write_all(bytes).unwrap();
        fs::rename(&new, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn alle(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = alle_with(arguments);
        command.env_clear().env("HOME", &self.0);
        command.envs(variables.iter().copied());
        command
    }

    /// With no `-p`.
    fn bridge(&self, variables: &[(&str, &str)]) -> Bridge {
        Bridge::run(self.alle(&["serve", "-w", "127.0.0.1:0"], variables))
    }

    /// Its exit status and all that it says.
    fn doctor(&self, url: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
        said(self.alle(&["doctor", "-p", url], variables))
    }
}

fn said(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.code(), text)
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One server for this file, which trusts `postgres` alone and asks everybody else for SCRAM.
fn server() -> &'static Sandbox {
    static SERVER: OnceLock<Sandbox> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Sandbox::start().unwrap();
        let mut sql = Sql::connect(server.port(), "postgres");
        let rules = "local all postgres     trust\n\
                     host  all postgres all trust\n\
                     host  all all      all scram-sha-256\n";
        fs::write(server.data_dir().join("pg_hba.conf"), rules).unwrap();
        // Before PostgreSQL 14, what is kept of a password would be its MD5 hash.
        sql.run("ALTER SYSTEM SET password_encryption = 'scram-sha-256'");
        sql.run("SELECT pg_reload_conf()");
        wait_until("the rules are read", || {
            let log = fs::read_to_string(server.log_file()).unwrap();
            log.contains("reloading")
        });
        server
    })
}

/// A role with this verifier or password, and the keywords that lead to it without a password.
fn role(name: &str, password: &str) -> String {
    let mut sql = Sql::connect(server().port(), "postgres");
    sql.run(&format!("CREATE ROLE {name} LOGIN"));
    // CREATE ROLE would derive the key of a verifier, to see whether it is that of nothing.
    let set = if password.starts_with("SCRAM-SHA-256$") {
        format!("UPDATE pg_authid SET rolpassword = '{password}' WHERE rolname = '{name}'")
    } else {
        format!("ALTER ROLE {name} PASSWORD '{password}'")
    };
    sql.run(&set);
    let port = server().port();
    format!("host=127.0.0.1 port={port} user={name} dbname=postgres")
}

/// What the server keeps of a password (RFC 5803), of so many iterations.
fn verifier(password: &[u8], iterations: u32) -> String {
    let hmac = |key: &[u8], data: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().into()
    };
    let salt = b"a salt";
    let mut round = hmac(password, &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut key = round;
    for _ in 1..iterations {
        round = hmac(password, &round);
        key.iter_mut()
            .zip(round)
            .for_each(|(key, round)| *key ^= round);
    }
    let stored = Sha256::digest(hmac(&key, b"Client Key"));
    let (stored, server) = (
        STANDARD.encode(stored),
        STANDARD.encode(hmac(&key, b"Server Key")),
    );
    format!(
        "SCRAM-SHA-256${iterations}:{}${stored}:{server}",
        STANDARD.encode(salt)
    )
}

#[test]
fn variables_say_where_to_go_where_nothing_else_does() {
    let database = Database::create();
    let server = alle::internals::sandbox::shared();
    let port = server.port().to_string();
    let socket_dir = server.socket_dir().to_str().unwrap();
    let home = Home::new("variables");
    let bridge = home.bridge(&[
        ("PGHOST", socket_dir),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
        ("PGDATABASE", &database.name),
    ]);
    bridge.wait_until_ready();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name LIKE 'alle%' AND client_addr IS NULL";
    assert_eq!(database.sql().one(sessions), "2");
}

#[test]
fn a_password_goes_to_nobody_but_the_host_beside_it() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port().to_string();
    let home = Home::new("elsewhere");
    let bridge = home.bridge(&[
        ("PGHOST", "127.0.0.2"),
        ("PGPORT", &port),
        ("PGUSER", "u"),
        ("PGPASSWORD", "for-127.0.0.2-only"),
    ]);
    bridge.wait_for_log(&format!("at 127.0.0.2:{port}"));
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.accept().is_err(), "nobody came here");
}

#[test]
fn a_password_that_changes_in_its_file_is_taken_without_a_restart() {
    let home = Home::new("rotated");
    let url = role("rotated", "old");
    home.write(".pgpass", b"*:*:*:*:old\n");
    let bridge = Bridge::run(home.alle(&["serve", "-w", "127.0.0.1:0", "-p", &url], &[]));
    bridge.wait_until_ready();
    let mut sql = Sql::connect(server().port(), "postgres");
    sql.run("ALTER ROLE rotated PASSWORD 'new'");
    home.write(".pgpass", b"*:*:*:*:new\n");
    sql.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'");
    wait_until("two other sessions", || {
        bridge
            .log()
            .matches("session connected to PostgreSQL")
            .count()
            >= 4
    });
    bridge.wait_until_ready();
    assert!(
        !bridge.log().contains("authentication failed"),
        "{}",
        bridge.log()
    );
}

#[test]
fn a_password_that_was_refused_is_tried_again_when_its_file_changes() {
    let home = Home::new("mended");
    let url = role("mended", "right");
    home.write(".pgpass", b"*:*:*:*:wrong\n");
    let bridge = Bridge::run(home.alle(&["serve", "-w", "127.0.0.1:0", "-p", &url], &[]));
    for role in ["listening", "publishing"] {
        let attempt = format!("{role} session: ");
        wait_until("the password was refused", || {
            let log = bridge.log();
            log.lines()
                .any(|line| line.contains(&attempt) && line.contains("28P01"))
        });
    }
    let refused = Instant::now();
    home.write(".pgpass", b"*:*:*:*:right\n");
    bridge.wait_until_ready();
    // Without the change they would wait for 15 s at least.
    assert!(refused.elapsed() < Duration::from_secs(12));
}

#[test]
fn a_service_that_moved_is_found_where_its_file_says() {
    let [old, new] = [(); 2].map(|()| Relay::start(alle::internals::sandbox::shared().port()));
    let home = Home::new("moved");
    let write = |relay: &Relay| {
        let url = relay.url();
        let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
        let section =
            format!("[app]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname=postgres\n");
        home.write(".pg_service.conf", section.as_bytes())
    };
    write(&old);
    let bridge = home.bridge(&[("PGSERVICE", "app")]);
    bridge.wait_until_ready();
    write(&new);
    old.shut();
    wait_until("both sessions are at the new place", || {
        bridge
            .log()
            .matches("session connected to PostgreSQL")
            .count()
            >= 4
    });
    bridge.wait_until_ready();

    // What makes no sense meanwhile is said, and does not end it.
    home.write(".pg_service.conf", b"[other]\n");
    new.shut();
    bridge.wait_for_log("no service file has a definition of service \"app\"");
    new.open();
    write(&new);
    wait_until("both sessions are back", || {
        bridge
            .log()
            .matches("session connected to PostgreSQL")
            .count()
            >= 6
    });
}

#[test]
fn a_byte_of_another_encoding_hides_no_password_and_no_service() {
    let home = Home::new("latin1");
    let url = role("werkstatt", &verifier(b"J\xfcrgen", 4_096));
    home.write(
        ".pgpass",
        b"# f\xfcr die Werkstatt\n*:*:*:werkstatt:J\xfcrgen\n",
    );
    let (code, text) = home.doctor(&url, &[]);
    assert_eq!(code, Some(0), "{text}");

    let port = server().port();
    let section = format!("[app]\nhost=127.0.0.1\nport={port}\nuser=werkstatt\ndbname=postgres\n");
    home.write(
        ".pg_service.conf",
        &[&b"# f\xfcr\n"[..], section.as_bytes()].concat(),
    );
    let (code, text) = home.doctor("service=app", &[]);
    assert_eq!(code, Some(0), "{text}");

    let elsewhere = Home::new("latin1-variable");
    let mut command = elsewhere.alle(&["doctor", "-p", &url], &[]);
    command.env("PGPASSWORD", OsStr::from_bytes(b"J\xfcrgen"));
    let (code, text) = said(command);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_password_file_that_others_may_read_is_named_by_the_log_and_the_doctor() {
    let home = Home::new("open");
    let url = role("readable", "pw");
    let path = home.write(".pgpass", b"*:*:*:*:pw\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warning = format!("password file \"{path}\" is not used: it has group or world access");
    let (code, text) = home.doctor(&url, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&warning), "{text}");
    let bridge = Bridge::run(home.alle(&["serve", "-w", "127.0.0.1:0", "-p", &url], &[]));
    bridge.wait_for_log("asks for a password and none is given");
    assert_eq!(
        bridge.log().matches(&warning).count(),
        1,
        "{}",
        bridge.log()
    );
}

#[test]
fn a_password_that_is_refused_is_told_where_it_came_from() {
    let home = Home::new("refused");
    let url = role("refused", "right");
    let path = home.write(".pgpass", b"*:*:*:*:wrong-secret\n");
    let (code, text) = home.doctor(&url, &[]);
    assert_eq!(code, Some(1), "{text}");
    let found = format!("password retrieved from file \"{path}\"");
    assert!(text.contains(&found), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
}

#[test]
fn a_password_of_which_saslprep_leaves_nothing_is_taken_as_it_is() {
    let home = Home::new("soft-hyphen");
    let url = role("soft", "\u{ad}");
    let (code, text) = home.doctor(&url, &[("PGPASSWORD", "\u{ad}")]);
    assert_eq!(code, Some(0), "{text}");
}

/// More than the 100,000 that a library of ours stops at.
#[test]
fn as_many_iterations_as_the_server_keeps_are_worked_off() {
    let home = Home::new("iterations");
    let url = role("slow", &verifier(b"pw", 110_000));
    let url = format!("{url} password=pw connect_timeout=60");
    let (code, text) = home.doctor(&url, &[]);
    assert_eq!(code, Some(0), "{text}");
}

/// A billion of them are minutes, in which everything else goes on.
#[test]
fn clients_are_served_while_a_key_is_derived_and_what_takes_too_long_is_named() {
    let home = Home::new("endless");
    let url = role(
        "endless",
        &verifier(b"pw", 1).replace("$1:", "$1000000000:"),
    );
    let url = format!("{url} password=pw connect_timeout=2");
    let bridge = Bridge::run(home.alle(&["serve", "-w", "127.0.0.1:0", "-p", &url], &[]));
    let mut client = bridge.client();
    while !bridge.log().contains("1000000000 iterations of SCRAM") {
        client.send(&json!({"type": "ping"}));
        client.expect_type("pong");
    }
    assert!(
        bridge.log().contains("scram_iterations"),
        "{}",
        bridge.log()
    );
}

#[test]
fn a_peer_is_who_requirepeer_says_or_is_told_nothing() {
    let server = alle::internals::sandbox::shared();
    let port = server.port();
    let owner = server.data_dir();
    let owner = said({
        let mut stat = Command::new("stat");
        stat.args(["-c", "%U"]).arg(owner);
        stat
    });
    let owner = owner.1.trim();
    let stranger = if owner == "root" { "nobody" } else { "root" };
    let socket_dir = server.socket_dir().display();
    let home = Home::new("peer");
    for (peer, expected) in [(owner, Some(0)), (stranger, Some(1))] {
        let url = format!(
            "host={socket_dir} port={port} user=postgres dbname=postgres requirepeer={peer}"
        );
        let (code, text) = home.doctor(&url, &[]);
        assert_eq!(code, expected, "{text}");
        let demand = format!("requirepeer demands user \"{peer}\"");
        assert_eq!(text.contains(&demand), expected == Some(1), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_socket_is_reached() {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    };

    let server = alle::internals::sandbox::shared();
    let port = server.port();
    let name = format!("/alle/{}", std::process::id());
    let address = SocketAddr::from_abstract_name(format!("{name}/.s.PGSQL.{port}")).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    // Of each session one thread each way, until it ends.
    thread::spawn(move || {
        for session in listener.incoming() {
            let (mut from, mut to) = (session.unwrap(), server_socket());
            let (mut back_from, mut back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        }
    });
    let home = Home::new("abstract");
    let url = format!("host=@{name} port={port} user=postgres dbname=postgres");
    let (code, text) = home.doctor(&url, &[]);
    assert_eq!(code, Some(0), "{text}");
}

#[cfg(target_os = "linux")]
fn server_socket() -> std::os::unix::net::UnixStream {
    let server = alle::internals::sandbox::shared();
    let path = server
        .socket_dir()
        .join(format!(".s.PGSQL.{}", server.port()));
    std::os::unix::net::UnixStream::connect(path).unwrap()
}

#[test]
fn a_url_may_end_in_a_line_break() {
    let home = Home::new("line-break");
    for tail in ["\n", "\r\n", " "] {
        let url = Database::create().url() + tail;
        let (code, text) = home.doctor(&url, &[]);
        assert_eq!(code, Some(0), "{tail:?}: {text}");
    }
}

#[test]
fn the_old_variable_that_demands_tls_is_obeyed() {
    let home = Home::new("requiressl");
    let url = Database::create().url();
    let (code, text) = home.doctor(&url, &[("PGREQUIRESSL", "1")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("TLS"), "{text}");
}
