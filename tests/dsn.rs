//! One connection string means one server to `psql` and to us, or is refused by both.

#![expect(clippy::unwrap_used, reason = "tests are a shell: they run programs")]

use std::{
    env, fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use alle::internals::{
    pg::config::{ConnectionString, File, FileError, Host, Surroundings},
    sandbox,
};

/// `user database host port` of psql's connection, or `None` if it failed.
fn by_psql(text: &str, environment: &[(&str, String)]) -> Option<String> {
    let mut command = Command::new(sandbox::shared().client("psql"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let mut psql = command
        .envs(environment.iter().cloned())
        .args(["-X", "-q", "-w", "-d", text, "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = psql.stdin.take().unwrap();
    // It may have ended already.
    let _ = stdin.write_all(b"\\echo :USER :DBNAME :HOST :PORT\n");
    drop(stdin);
    let output = psql.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| said.trim().to_owned())
}

/// The same for our first attempt.
fn by_us(text: &str, environment: &[(&str, String)]) -> Option<String> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone().into_bytes())
    };
    let file = |path: &Path| {
        let bytes = fs::read(path).map_err(|_| FileError::Missing)?;
        let mode = fs::metadata(path).map_err(|_| FileError::Missing)?;
        let is_private = mode.permissions().mode() & 0o077 == 0;
        Ok(File { bytes, is_private })
    };
    let around = Surroundings {
        variable: &variable,
        file: &file,
        socket_owner: &|path| fs::metadata(path).ok().map(|it| it.uid()),
        // Whose files these are.
        user_id: fs::metadata("/proc/self").unwrap().uid(),
    };
    let connection_string = ConnectionString::parse(text).ok()?;
    let config = connection_string.resolve(around).ok()?;
    let server = &config.servers[0];
    let host = match &server.host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.to_str()?.to_owned(),
    };
    let (user, database, port) = (&config.user, &config.database, server.port);
    Some(format!("{user} {database} {host} {port}"))
}

#[test]
fn psql_and_we_connect_to_the_same_or_refuse_both() {
    let server = sandbox::shared();
    let sql = "CREATE ROLE \"a b@c\" LOGIN; CREATE DATABASE \"x/y z\"; CREATE ROLE clerk LOGIN;";
    server.load_sql("postgres", sql).unwrap();
    let name = Command::new("id").arg("-un").output().unwrap().stdout;
    let name = String::from_utf8(name).unwrap();
    // Whoever runs this may be called as the superuser is.
    let _ = server.load_sql(
        "postgres",
        &format!("CREATE ROLE \"{}\" LOGIN;", name.trim()),
    );
    let directory = server.socket_dir().to_str().unwrap();
    let services = format!("{directory}/services.conf");
    let port = server.port().to_string();
    let service = format!("[shop]\nhost=127.0.0.1\nport={port}\nuser=clerk\ndbname=postgres\n");
    fs::write(&services, service).unwrap();
    let encoded = directory.replace('/', "%2F");
    let mut faults = Vec::new();
    for (text, variables) in CASES {
        let expand = |text: &str| {
            text.replace("PORT", &port)
                .replace("SERVICES", &services)
                .replace("ENCODED", &encoded)
                .replace("DIRECTORY", directory)
        };
        let text = expand(text);
        let variables = variables.iter().map(|variable| {
            let (name, value) = variable.split_once('=').unwrap();
            // The name is not to be expanded: it has a port in it.
            (name, expand(value))
        });
        let variables: Vec<_> = variables.collect();
        let (us, psql) = (by_us(&text, &variables), by_psql(&text, &variables));
        if us != psql {
            faults.push(format!("{text} {variables:?}: {us:?}, psql {psql:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Connection strings with the variables around them; the words in capitals are the server's.
const CASES: &[(&str, &[&str])] = &[
    // URIs.
    ("postgres://postgres@127.0.0.1:PORT", &[]),
    (
        "postgresql://postgres@127.0.0.1:PORT/postgres?application_name=a%20b",
        &[],
    ),
    ("postgresql://a%20b%40c@localhost:PORT/x%2Fy%20z", &[]),
    ("postgresql://postgres@ENCODED:PORT/postgres", &[]),
    (
        "postgresql:///postgres?host=DIRECTORY&port=PORT&user=postgres",
        &[],
    ),
    (
        "postgres://?host=localhost&port=PORT&user=clerk&dbname=postgres",
        &[],
    ),
    (
        "postgres://one/x?host=localhost&port=PORT&user=clerk&dbname=postgres",
        &[],
    ),
    (
        "postgresql:///",
        &["PGHOST=127.0.0.1", "PGPORT=PORT", "PGUSER=postgres"],
    ),
    (
        "postgres://postgres@127.0.0.1:PORT?sslmode=disable&connect_timeout=3",
        &[],
    ),
    ("postgres://postgres@127.0.0.1:PORT,x:1/postgres", &[]),
    ("postgres://postgres@127.0.0.1:PORT?sslmode=maybe", &[]),
    ("postgres://postgres@127.0.0.1:PORT?uzer=x", &[]),
    ("postgres://postgres@127.0.0.1:PORT?user", &[]),
    ("postgres://postgres@127.0.0.1:PORT?user=a=b", &[]),
    ("postgres://postgres@127.0.0.1:PORT/%zz", &[]),
    ("postgres://postgres@127.0.0.1:PORT/%00", &[]),
    ("postgres://postgres@[127.0.0.1:PORT", &[]),
    ("postgres://postgres@[]:PORT", &[]),
    ("postgres://postgres@127.0.0.1:99999", &[]),
    ("postgres://postgres@127.0.0.1:0", &[]),
    // Keywords and values.
    ("host=127.0.0.1 port=PORT user=postgres", &[]),
    (
        "host = '127.0.0.1' port=PORT user='a b@c' dbname='x/y z'",
        &[],
    ),
    (r"host=127.0.0.1 port=PORT user=a\ b@c dbname=x/y\ z", &[]),
    ("host=DIRECTORY port=PORT user=clerk dbname=postgres", &[]),
    (
        "hostaddr=127.0.0.1 host=localhost port=PORT user=clerk dbname=postgres",
        &[],
    ),
    ("host=127.0.0.1,localhost port=PORT user=postgres", &[]),
    ("host=127.0.0.1 host=localhost port=PORT user=postgres", &[]),
    ("user='postgres'host=127.0.0.1 port=PORT", &[]),
    ("host=127.0.0.1 port=PORT user=postgres nonsense", &[]),
    ("host=127.0.0.1 port=PORT user=postgres x=y", &[]),
    ("host=127.0.0.1 port=PORT user='postgres", &[]),
    ("host=127.0.0.1 port=1,2,3 user=postgres", &[]),
    (
        "host=127.0.0.1 port=PORT user=postgres target_session_attrs=x",
        &[],
    ),
    ("host=127.0.0.1 port=PORT user=postgres sslmode=Prefer", &[]),
    ("host=127.0.0.1 port=PORT user=postgres keepalives=x", &[]),
    (
        "host=127.0.0.1 port=PORT user=postgres keepalives=-1 tcp_user_timeout=0",
        &[],
    ),
    (
        "host=127.0.0.1 port=PORT user=postgres keepalives_idle=1s",
        &[],
    ),
    ("host=127.0.0.1 port=PORT user=postgres requiressl=0", &[]),
    (
        "host=127.0.0.1 port=PORT user=postgres ssl_min_protocol_version=tlsv1.2",
        &[],
    ),
    // The environment and the files.
    (
        "dbname=postgres",
        &["PGHOST=127.0.0.1", "PGPORT=PORT", "PGUSER=clerk"],
    ),
    ("service=shop", &["PGSERVICEFILE=SERVICES"]),
    (
        "service=shop user=postgres",
        &["PGSERVICEFILE=SERVICES", "PGUSER=no"],
    ),
    (
        "host=localhost",
        &["PGSERVICEFILE=SERVICES", "PGSERVICE=shop", "PGPORT=1"],
    ),
    ("service=none", &["PGSERVICEFILE=SERVICES"]),
    ("service=shop", &["PGSERVICEFILE=SERVICES.not"]),
    ("service=shop", &["PGSERVICEFILE=DIRECTORY"]),
    (
        "host=127.0.0.1 port=PORT user=postgres",
        &["PGREQUIRESSL=1", "PGSSLMODE=prefer"],
    ),
    (
        "host=127.0.0.1 port=PORT user=postgres",
        &["PGREQUIRESSL=0"],
    ),
    (
        "host=127.0.0.1 port=PORT dbname=postgres",
        &["USER=nobody", "LOGNAME=nobody"],
    ),
    ("host=127.0.0.1 port=PORT user=postgres", &["PGSSLMODE=x"]),
];
