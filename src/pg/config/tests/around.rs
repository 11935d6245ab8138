//! What lies around a connection string, as tables of cases: the password file, the service file,
//! sockets, and the files of TLS.

use std::time::Duration;

use super::*;

/// `summary` with files, all of them private but those called `open`.
fn summary_with(text: &str, environment: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let connection_string = ConnectionString::parse(text).unwrap();
    summary_of(resolve(connection_string, environment, files))
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
            "service=a servicefile=/g",
            [("/f", "[a]\nuser=u\nhost=h")],
            "service file \"/g\" not found",
        ),
        (
            "service=a servicefile=/f",
            [("/f", "unusable")],
            "service file \"/f\" cannot be used: it is broken",
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
fn without_a_host_a_socket_that_only_root_or_we_can_have_put_there_is_taken() {
    for (text, expected) in [
        (
            "user=u port=7777",
            "u:-@/var/run/postgresql/.s.PGSQL.7777/u",
        ),
        ("user=u port=7778", "u:-@localhost:7778/u"),
        ("user=u port=7777 host=localhost", "u:-@localhost:7777/u"),
        ("user=u port=8000", "u:-@/tmp/.s.PGSQL.8000/u"),
        ("user=u port=8001", "u:-@/tmp/.s.PGSQL.8001/u"),
        ("user=u port=8002", "u:-@localhost:8002/u"),
        ("user=u port=8002 host=/tmp", "u:-@/tmp/.s.PGSQL.8002/u"),
        (
            "user=u port=8002 requirepeer=postgres",
            "u:-@/tmp/.s.PGSQL.8002/u",
        ),
        (
            "user=u port=8000 requirepeer=postgres",
            "u:-@localhost:8000/u",
        ),
        ("user=u host=@/run/pg", "u:-@@/run/pg/.s.PGSQL.5432/u"),
    ] {
        assert_eq!(summary(text, &[]), expected, "{text}");
    }
    let warnings = parse("user=u port=8002", &[]).unwrap().warnings;
    let path = "/tmp/.s.PGSQL.8002".into();
    assert_eq!(warnings, [Warning::SocketOfStranger { path, owner: 99 }]);
}

#[test]
fn the_peer_of_a_socket_is_who_requirepeer_says() {
    let peer = |text: &str| parse(text, &[]).map(|config| config.servers[0].peer.clone());
    for (text, expected) in [
        ("user=u host=/tmp", None),
        (
            "user=u host=/tmp requirepeer=postgres",
            Some((vec![99], Some("postgres"))),
        ),
        (
            "user=u host=@abstract requirepeer=me",
            Some((vec![1_000], Some("me"))),
        ),
        ("user=u host=db requirepeer=nobody-we-know", None),
        ("user=u port=7777", None),
        ("user=u port=8000", Some((vec![0, 1_000], None))),
    ] {
        let found = peer(text).unwrap();
        let found = found.map(|peer| (peer.user_ids, peer.name));
        let expected = expected.map(|(ids, name)| (ids, name.map(str::to_owned)));
        assert_eq!(found, expected, "{text}");
    }
    let unknown = peer("user=u host=/tmp requirepeer=eve").unwrap_err();
    let name = "eve".to_owned();
    assert_eq!(unknown, ConfigError::PeerUnknown { name });
}

/// The command line's default, of which nothing counts that somebody else said.
#[test]
fn what_nobody_set_is_postgres_on_localhost_and_nothing_else_is() {
    for (environment, expected) in [
        (&[][..], "me:-@localhost:5432/postgres"),
        (&[("PGHOST", "db")], "me:-@db:5432/postgres"),
        (&[("PGHOSTADDR", "10.0.0.1")], "me:-@10.0.0.1:5432/postgres"),
        (
            &[("PGHOST", "db"), ("PGHOSTADDR", "10.0.0.1")],
            "me:-@db:5432/postgres",
        ),
        (&[("PGPORT", "7777")], "me:-@localhost:7777/postgres"),
        (&[("PGDATABASE", "shop")], "me:-@localhost:5432/shop"),
        (&[("PGUSER", "ann")], "ann:-@localhost:5432/postgres"),
        (
            &[("PGSERVICE", "app"), ("PGHOST", "no")],
            "clerk:-@served:5432/stage",
        ),
        (&[("PGSERVICE", "part")], "me:-@localhost:99/postgres"),
    ] {
        let services = "[app]\nhost=served\ndbname=stage\nuser=clerk\n[part]\nport=99\n";
        let files = [PASSWD, ("/home/me/.pg_service.conf", services)];
        let resolved = resolve(ConnectionString::unset(), environment, &files);
        assert_eq!(summary_of(resolved), expected, "{environment:?}");
    }
}

/// Latin-1, where the rest of a file is plain.
#[test]
fn a_byte_that_is_not_utf_8_hides_nothing_else() {
    let files: [(&str, &[u8]); 3] = [
        (
            "/etc/passwd",
            b"m\xfcller:x:999:999:M\xfcller:/:\nme:x:1000:1000::/home/me:\n",
        ),
        (
            "/home/me/.pgpass",
            b"# f\xfcr die Werkstatt\n*:*:m\xfcll:*:no\nserved:*:*:*:J\xfcrgen\n",
        ),
        (
            "/home/me/.pg_service.conf",
            b"# f\xfcr die Werkstatt\n[other]\nhost=\xff\n[app]\nhost=served\n[bad]\nhost=\xff\n",
        ),
    ];
    let password = |config: Config| {
        let password = config.servers[0].password.as_ref();
        password.map(|it| it.as_bytes().to_vec())
    };
    let served = ConnectionString::parse("service=app").unwrap();
    let config = resolve_bytes(served, &[], &files).unwrap();
    assert_eq!(config.to_string(), "served:5432");
    assert_eq!(config.user, "me");
    assert_eq!(
        config.servers[0].password_file,
        Some("/home/me/.pgpass".into())
    );
    assert_eq!(password(config).unwrap(), b"J\xfcrgen");
    let bad = ConnectionString::parse("service=bad").unwrap();
    assert_eq!(
        resolve_bytes(bad, &[], &files).unwrap_err().to_string(),
        "/home/me/.pg_service.conf:7: no setting of a service"
    );
    let in_url = parse("postgres://u:J%fcrgen@db", &[]).unwrap();
    assert_eq!(password(in_url).unwrap(), b"J\xfcrgen");
    let variable = |name: &str, value: &[u8]| {
        let connection_string = ConnectionString::parse("host=db user=u").unwrap();
        connection_string.resolve(Surroundings {
            variable: &|asked| (asked == name).then(|| value.to_vec()),
            file: &|_| Err(FileError::Missing),
            socket_owner: &|_| None,
            user_id: 0,
        })
    };
    let config = variable("PGPASSWORD", b"J\xfcrgen").unwrap();
    assert_eq!(password(config).unwrap(), b"J\xfcrgen");
    assert_eq!(
        variable("PGDATABASE", b"\xff").unwrap_err().to_string(),
        "PGDATABASE is not UTF-8"
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for (text, files, expected) in [
        ("user=u", [("/nowhere", "")], None),
        (
            "user=u passfile=/open",
            [("/open", "*:*:*:*:pw")],
            Some(
                "password file \"/open\" is not used: it has group or world access; permissions \
                 should be u=rw (0600) or less",
            ),
        ),
        (
            "user=u passfile=/gone",
            [("/nowhere", "")],
            Some("password file \"/gone\" does not exist"),
        ),
        (
            "user=u passfile=/broken",
            [("/broken", "unusable")],
            Some("password file \"/broken\" is not used: it is broken"),
        ),
        (
            "user=u",
            [("/etc/passwd", "unusable")],
            Some("user database \"/etc/passwd\" is not used: it is broken"),
        ),
    ] {
        let connection_string = ConnectionString::parse(text).unwrap();
        let config = resolve(connection_string, &[], &files).unwrap();
        let warnings: Vec<_> = config.warnings.iter().map(Warning::to_string).collect();
        let expected: Vec<_> = expected.map(str::to_owned).into_iter().collect();
        assert_eq!(warnings, expected, "{text}");
        assert_eq!(config.servers[0].password, None, "{text}");
    }
}

/// Not the variable `HOME` of whoever started us, where there is none.
#[test]
fn without_home_files_are_looked_for_in_that_of_passwd() {
    let files = [
        PASSWD,
        ("/home/me/.pgpass", "*:*:*:*:mine"),
        ("/home/you/.pgpass", "*:*:*:*:yours"),
    ];
    for (environment, expected) in [
        (&[][..], "me:mine@db:5432/me"),
        (&[("HOME", "")], "me:mine@db:5432/me"),
        (&[("HOME", "/home/you")], "me:yours@db:5432/me"),
    ] {
        assert_eq!(
            summary_with("host=db", environment, &files),
            expected,
            "{environment:?}"
        );
    }
}

#[test]
fn the_old_demand_for_tls_holds_where_nothing_newer_is_said() {
    for (text, environment, expected) in [
        ("host=db", &[("PGREQUIRESSL", "1")][..], SslMode::Require),
        ("host=db", &[("PGREQUIRESSL", "0")], SslMode::Prefer),
        (
            "host=db",
            &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")],
            SslMode::Allow,
        ),
        (
            "host=db sslmode=disable",
            &[("PGREQUIRESSL", "1")],
            SslMode::Disable,
        ),
        ("host=db requiressl=1", &[], SslMode::Require),
        ("host=db requiressl=0", &[], SslMode::Prefer),
        ("postgres://db?requiressl=1", &[], SslMode::Require),
        ("postgres://db?ssl=true", &[], SslMode::Require),
    ] {
        let config = parse(text, environment).unwrap();
        assert_eq!(config.tls.mode, expected, "{text} {environment:?}");
    }
}

#[test]
fn keepalives_are_what_they_are_said_to_be() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let ours = Keepalive::default();
    for (text, expected) in [
        ("", ours),
        ("keepalives=1", ours),
        ("keepalives=-1", ours),
        (
            "keepalives=0",
            Keepalive {
                is_on: false,
                ..ours
            },
        ),
        (
            "keepalives_idle=60 keepalives_interval=5 keepalives_count=9 tcp_user_timeout=1500",
            Keepalive {
                is_on: true,
                idle: seconds(60),
                interval: seconds(5),
                count: Some(9),
                user_timeout: Some(Duration::from_millis(1_500)),
            },
        ),
        (
            "keepalives_idle=0 keepalives_interval=-5 keepalives_count=0 tcp_user_timeout=0",
            Keepalive {
                is_on: true,
                idle: None,
                interval: None,
                count: None,
                user_timeout: None,
            },
        ),
        (
            "keepalives_idle=' 7 '",
            Keepalive {
                idle: seconds(7),
                ..ours
            },
        ),
    ] {
        let config = parse(&format!("user=u {text}"), &[]).unwrap();
        assert_eq!(config.keepalive, expected, "{text}");
    }
}

#[test]
fn what_changes_nothing_for_us_is_taken() {
    for text in [
        "client_encoding=latin1",
        "sslcompression=1",
        "krbsrvname=x gsslib=gssapi gssdelegation=1 gssencmode=prefer",
        "replication=off",
        "min_protocol_version=3.0 max_protocol_version=latest",
        "sslcertmode=allow",
        "ssl_min_protocol_version=tlsV1.2",
    ] {
        assert!(parse(&format!("user=u {text}"), &[]).is_ok(), "{text}");
    }
}

/// RFC 4007: a link-local address is one only together with its interface.
#[test]
fn an_address_may_have_a_zone() {
    for (text, shown, name, is_local) in [
        (
            "host=fe80::1%eth0",
            "[fe80::1%eth0]:5432",
            "fe80::1%eth0",
            false,
        ),
        ("host=::1%1", "[::1%1]:5432", "::1%1", true),
        ("hostaddr=fe80::1%7", "[fe80::1%7]:5432", "fe80::1%7", false),
        ("host=db hostaddr=fe80::1%7", "db:5432", "db", false),
        (
            "postgres://[fe80::1%25eth0]/x",
            "[fe80::1%eth0]:5432",
            "fe80::1%eth0",
            false,
        ),
        ("host=db%7", "db%7:5432", "db%7", false),
    ] {
        let config = parse(text, &[]).unwrap();
        let server = &config.servers[0];
        assert_eq!(config.to_string(), shown, "{text}");
        assert_eq!(server.host_name().as_deref(), Some(name), "{text}");
        assert_eq!(server.is_local(), is_local, "{text}");
    }
    for text in ["hostaddr=10.0.0.1%7", "hostaddr=fe80::1%"] {
        assert!(parse(text, &[]).is_err(), "{text}");
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
