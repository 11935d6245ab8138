//! What lies around a connection string, as tables of cases: the password file, the service file,
//! sockets, and the files of TLS.

use std::time::Duration;

use super::*;

/// `summary` with files, all of them private but those called `open`.
fn summary_with(text: &str, environment: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let file = |path: &Path| {
        let found = files.iter().find(|(known, _)| Path::new(known) == path);
        found.map(|(path, text)| File {
            text: (*text).to_owned(),
            is_private: !path.contains("open"),
        })
    };
    let around = Surroundings {
        variable: &variable,
        file: &file,
        exists: &|path| path == Path::new("/var/run/postgresql/.s.PGSQL.7777"),
    };
    match Config::parse_in(text, around) {
        Ok(config) => {
            let passwords = config.servers.iter().map(|server| {
                let password = server.password.as_ref();
                password.map_or("-", Password::as_str).to_owned()
            });
            let passwords: Vec<_> = passwords.collect();
            format!(
                "{}:{}@{config}/{}",
                config.user,
                passwords.join(","),
                config.database
            )
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_password_file_is_searched_line_by_line() {
    let home = ("HOME", "/home/me");
    for (text, lines, expected) in [
        ("host=db user=u", "db:5432:u:u:pw", "u:pw@db:5432/u"),
        ("host=db user=u", "*:*:*:*:pw", "u:pw@db:5432/u"),
        (
            "host=db user=u",
            "# db:5432:u:u:no\nother:*:*:*:no\ndb:*:*:u:pw\n*:*:*:*:late",
            "u:pw@db:5432/u",
        ),
        ("host=db user=u", "db:1:*:*:no", "u:-@db:5432/u"),
        ("host=db user=u", "db:*:*:*", "u:-@db:5432/u"),
        ("host=db user=u", "db:*:*:*:", "u:-@db:5432/u"),
        ("host=db user=u", r"db:*:*:*:a\:b\\c", r"u:a:b\c@db:5432/u"),
        ("host=db user=u", "db:*:*:*:pw\r", "u:pw@db:5432/u"),
        ("host=db user=*", r"db:*:*:\*:pw", "*:pw@db:5432/*"),
        ("host=db user=u", r"db:*:*:\*:no", "u:-@db:5432/u"),
        ("host=::1 user=u", r"\:\:1:*:*:*:pw", "u:pw@[::1]:5432/u"),
        (
            "host=/tmp user=u",
            "localhost:*:*:*:pw",
            "u:pw@/tmp/.s.PGSQL.5432/u",
        ),
        (
            "host=/run/x user=u",
            "/run/x:*:*:*:pw",
            "u:pw@/run/x/.s.PGSQL.5432/u",
        ),
        (
            "host=a,b user=u",
            "b:*:*:*:two\na:*:*:*:one",
            "u:one,two@a:5432, b:5432/u",
        ),
        (
            "host=db user=u password=own",
            "*:*:*:*:pw",
            "u:own@db:5432/u",
        ),
        (
            "host=db user=u passfile=/open",
            "*:*:*:*:pw",
            "u:-@db:5432/u",
        ),
        (
            "host=db user=u passfile=/mine",
            "*:*:*:*:pw",
            "u:mine@db:5432/u",
        ),
    ] {
        let files = [
            ("/home/me/.pgpass", lines),
            ("/open", "*:*:*:*:no"),
            ("/mine", "*:*:*:*:mine"),
        ];
        assert_eq!(
            summary_with(text, &[home], &files),
            expected,
            "{text} {lines}"
        );
    }
}

#[test]
fn the_service_file_stands_between_the_string_and_the_environment() {
    let file =
        "# comment\n[other]\nhost=no\n\n[shop]\nhost=db\nport=99\nuser=clerk\n[more]\nport=1\n";
    let environment = [
        ("HOME", "/h"),
        ("PGHOST", "env"),
        ("PGDATABASE", "stage"),
        ("PGSERVICE", "shop"),
    ];
    let own = [("/h/.pg_service.conf", file)];
    for (text, expected) in [
        ("", "clerk:-@db:99/stage"),
        ("port=5", "clerk:-@db:5/stage"),
        ("postgres://ann@/x", "ann:-@db:99/x"),
        ("service=other user=u", "u:-@no:5432/stage"),
        (
            "service=none user=u",
            "no service file has a definition of service \"none\"",
        ),
    ] {
        assert_eq!(summary_with(text, &environment, &own), expected, "{text}");
    }
    for (text, files, expected) in [
        (
            "service=a servicefile=/f",
            [("/f", "[a]\nuser=u\nhost=h")],
            "u:-@h:5432/u",
        ),
        (
            "service=a",
            [("/etc/x/pg_service.conf", "[a]\nuser=u\nhost=h")],
            "u:-@h:5432/u",
        ),
        (
            "service=a servicefile=/f",
            [("/f", "[a]\nnonsense")],
            "/f:2: no setting of a service",
        ),
        (
            "service=a servicefile=/f",
            [("/f", "[a]\nservice=b")],
            "/f:2: no setting of a service",
        ),
    ] {
        let environment = [("PGSYSCONFDIR", "/etc/x")];
        assert_eq!(summary_with(text, &environment, &files), expected, "{text}");
    }
}

#[test]
fn without_a_host_the_servers_own_socket_is_taken_where_there_is_one() {
    for (text, expected) in [
        (
            "user=u port=7777",
            "u:-@/var/run/postgresql/.s.PGSQL.7777/u",
        ),
        ("user=u port=7778", "u:-@localhost:7778/u"),
        ("user=u port=7777 host=localhost", "u:-@localhost:7777/u"),
    ] {
        assert_eq!(summary_with(text, &[], &[]), expected, "{text}");
    }
}

#[test]
fn tls_is_set_by_its_parameters() {
    let tls = |text: &str| parse(text, &[("HOME", "/h")]).unwrap().tls;
    let default = tls("user=u");
    assert_eq!(default.mode, SslMode::Prefer);
    assert_eq!(
        default.roots,
        RootCertificates::File("/h/.postgresql/root.crt".into())
    );
    assert_eq!(
        default.certificate,
        Some("/h/.postgresql/postgresql.crt".into())
    );
    assert_eq!(default.key, Some("/h/.postgresql/postgresql.key".into()));
    let system = tls("user=u sslrootcert=system");
    assert_eq!(
        (system.mode, system.roots),
        (SslMode::VerifyFull, RootCertificates::System)
    );
    assert_eq!(
        tls("user=u sslcertmode=disable sslcert=/c").certificate,
        None
    );
    assert!(tls("user=u sslmode=require sslnegotiation=direct").direct);
    assert!(!tls("user=u sslsni=0").server_name_indication);
    assert!(
        !tls("user=u ssl_min_protocol_version=TLSv1.3")
            .versions
            .tls12
    );
    let timeout = |text: &str| parse(text, &[]).unwrap().connect_timeout;
    for (seconds, expected) in [
        ("0", None),
        ("-1", None),
        ("1", Some(2)),
        ("2", Some(2)),
        ("9", Some(9)),
    ] {
        let expected = expected.map(Duration::from_secs);
        assert_eq!(
            timeout(&format!("user=u connect_timeout={seconds}")),
            expected,
            "{seconds}"
        );
    }
}
