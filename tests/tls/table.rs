//! Which certificates are taken under which `sslmode`: `psql` is asked, and then alle.

#![expect(clippy::print_stdout, reason = "with --nocapture the table is shown")]

use std::{fs, path::Path, thread};

use alle::internals::sandbox::Sandbox;

use super::{
    alle,
    certificates::write_private,
    kinds::{self, KINDS},
    psql,
};

/// Whether anybody vouches for the server, and what is demanded of it.
const MODES: [&str; 6] = [
    "sslmode=prefer sslrootcert=/nonexistent",
    "sslmode=require sslrootcert=/nonexistent",
    "sslmode=prefer sslrootcert=FILES/root.crt",
    "sslmode=require sslrootcert=FILES/root.crt",
    "sslmode=verify-ca sslrootcert=FILES/root.crt",
    "sslmode=verify-full sslrootcert=FILES/root.crt",
];

/// Where alle comes to something else than psql: what it comes to in each mode, `+` over TLS, `-` in
/// the clear, `x` not at all; and what it says. docs/postgresql.md says why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "RSASSA-PSS alone under TLS 1.2",
        "-x-xxx",
        "is for RSASSA-PSS alone",
    ),
    ("RSA of 8,208 bits", "-x-xxx", "has an RSA key of 8208 bits"),
    ("SHA-224", "++-xxx", "is signed with ECDSA and SHA-224"),
    (
        "Ed448",
        "-x-xxx",
        "no cipher, curve or kind of key is known to both",
    ),
    (
        "no cipher but CBC",
        "-x-xxx",
        "no cipher, curve or kind of key is known to both",
    ),
    (
        "by an authority with RSA of 8,208 bits",
        "++-xxx",
        "is signed by an RSA key of 8208 bits",
    ),
    (
        "by an authority with RSA and SHA-224",
        "++-xxx",
        "is signed with RSA and SHA-224",
    ),
    (
        "by an authority with Ed448",
        "++-xxx",
        "is signed with Ed448",
    ),
];

/// Where a certificate of ours is refused by ourselves, as its key cannot be used.
const KEYS_NOT_USED: [&str; 7] = [
    "RSASSA-PSS alone",
    "RSASSA-PSS alone with SHA-384",
    "RSASSA-PSS alone under TLS 1.2",
    "RSA of 8,192 bits",
    "RSA of 8,208 bits",
    "Ed448",
    "secp256k1",
];

#[test]
fn a_certificate_is_taken_where_psql_takes_it() {
    let server = Sandbox::start().unwrap();
    let files = server.socket_dir().to_owned();
    kinds::make(&files);
    let rules =
        "local all all trust\nhost all postgres all trust\nhostssl all localhost all cert\n";
    fs::write(server.data_dir().join("pg_hba.conf"), rules).unwrap();
    let roots = fs::read_to_string(files.join("root.crt")).unwrap();
    write_private(&server.data_dir().join("clients.crt"), &roots);
    server
        .psql("postgres", "CREATE ROLE localhost LOGIN")
        .unwrap();
    let defaults = fs::read_to_string(server.data_dir().join("postgresql.conf")).unwrap();
    let mut faults = of_servers(&server, &files, &defaults);
    faults.extend(of_clients(&server, &files, &defaults));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn of_servers(server: &Sandbox, files: &Path, defaults: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        serve(server, files, defaults, number);
        let address = format!(
            "host=localhost port={} user=postgres dbname=postgres",
            server.port()
        );
        let all = MODES.map(|mode| {
            let mode = mode.replace("FILES", &files.to_string_lossy());
            format!("{address} {mode}")
        });
        let outcomes = ask_both(&all);
        let asked: String = outcomes.iter().map(|it| it.by_psql).collect();
        let came_to: String = outcomes.iter().map(|it| it.by_alle).collect();
        println!("{asked} {came_to}  {}", kind.name);
        let difference = DIFFERENCES.iter().find(|(name, _, _)| *name == kind.name);
        let expected = difference.map_or(&asked[..], |(_, expected, _)| expected);
        if came_to != expected {
            faults.push(format!("{}: {came_to}, psql {asked}", kind.name));
        }
        for outcome in &outcomes {
            if let Some(fault) = outcome.fault(difference.map_or("", |(_, _, words)| words)) {
                faults.push(format!("{}: {fault}", kind.name));
            }
        }
    }
    faults
}

/// All kinds, of which each is the client's own; the server has the first one.
fn of_clients(server: &Sandbox, files: &Path, defaults: &str) -> Vec<String> {
    serve(
        server,
        files,
        &format!("{defaults}\nssl_ca_file = 'clients.crt'"),
        0,
    );
    let address = format!(
        "host=localhost port={} user=localhost dbname=postgres",
        server.port()
    );
    let file = |number: usize, suffix| files.join(format!("{number}.{suffix}"));
    let all: Vec<_> = (0..KINDS.len())
        .map(|number| {
            let (certificate, key) = (file(number, "crt"), file(number, "key"));
            format!(
                "{address} sslmode=require sslrootcert=/nonexistent sslcert={} sslkey={}",
                certificate.display(),
                key.display()
            )
        })
        .collect();
    let mut faults = Vec::new();
    for (kind, outcome) in KINDS.iter().zip(all.chunks(MODES.len()).flat_map(ask_both)) {
        println!(
            "{} {}  {}, the client's",
            outcome.by_psql, outcome.by_alle, kind.name
        );
        let (expected, words) = if KEYS_NOT_USED.contains(&kind.name) {
            (
                'x',
                "not a key that is supported (RSA of 2,048 to 8,192 bits",
            )
        } else {
            (outcome.by_psql, "client certificate (sslcert)")
        };
        if outcome.by_alle != expected || outcome.log.contains("the server's certificate") {
            faults.push(format!("{}, the client's: {outcome:?}", kind.name));
        } else if let Some(fault) = outcome.fault(words) {
            faults.push(format!("{}, the client's: {fault}", kind.name));
        }
    }
    faults
}

/// What came of one connection string.
#[derive(Debug)]
struct Outcome {
    by_psql: char,
    by_alle: char,
    /// All that alle said.
    log: String,
}

/// Asks both programs, for all connection strings at once.
fn ask_both(all: &[String]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let asked: Vec<_> = all
            .iter()
            .map(|settings| scope.spawn(|| (psql(settings), alle(settings))))
            .collect();
        let outcomes = asked.into_iter().map(|asked| {
            let (by_psql, (by_alle, log)) = asked.join().unwrap();
            Outcome {
                by_psql: letter(by_psql),
                by_alle: letter(by_alle),
                log,
            }
        });
        outcomes.collect()
    })
}

impl Outcome {
    /// What is wrong with what was logged; without TLS it should have `words`.
    fn fault(&self, words: &str) -> Option<String> {
        let Self { by_alle, log, .. } = self;
        let is_told = log.lines().any(|line| {
            line.contains("TLS failed (")
                && line.contains("going on in clear text, as sslmode=prefer allows")
        });
        let is_raw = log
            .lines()
            .any(|line| line.contains("WARN") && line.contains('{'));
        if is_told != (*by_alle == '-') {
            Some(format!(
                "whether TLS was given up, the log does not say: {log}"
            ))
        } else if is_raw || *by_alle != '+' && !log.contains(words) {
            Some(format!("not in words, or not in {words:?}: {log}"))
        } else {
            None
        }
    }
}

/// The server goes on with this certificate, and connections from now on see it.
fn serve(server: &Sandbox, files: &Path, defaults: &str, number: usize) {
    let data = server.data_dir();
    for suffix in ["crt", "key"] {
        let text = fs::read_to_string(files.join(format!("{number}.{suffix}"))).unwrap();
        write_private(&data.join(format!("server.{suffix}")), &text);
    }
    let settings = format!("{defaults}\nssl = on\n{}\n", KINDS[number].settings);
    fs::write(data.join("postgresql.conf"), settings).unwrap();
    let loaded = || {
        server
            .psql("postgres", "SELECT pg_conf_load_time()")
            .unwrap()
    };
    let before = loaded();
    server.psql("postgres", "SELECT pg_reload_conf()").unwrap();
    while loaded() == before {}
    let log = fs::read_to_string(server.log_file()).unwrap();
    assert!(
        !log.contains("SSL configuration was not reloaded"),
        "{}: {log}",
        KINDS[number].name
    );
}

fn letter(outcome: &str) -> char {
    match outcome {
        "tls" => '+',
        "plain" => '-',
        _ => 'x',
    }
}
