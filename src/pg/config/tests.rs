//! What connection strings mean, as tables of cases after libpq's own.

mod around;

use std::path::Path;

use super::*;

/// Of user 1000, who is called `me` and lives in `/home/me`.
fn parse(url: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    resolve(ConnectionString::parse(url)?, environment, &[PASSWD])
}

/// With files, all of them private but those called `open`.
fn resolve(
    connection_string: ConnectionString,
    environment: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let bytes: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_bytes()))
        .collect();
    resolve_bytes(connection_string, environment, &bytes)
}

fn resolve_bytes(
    connection_string: ConnectionString,
    environment: &[(&str, &str)],
    files: &[(&str, &[u8])],
) -> Result<Config, ConfigError> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.as_bytes().to_vec())
    };
    let file = |path: &Path| {
        let found = files.iter().find(|(known, _)| Path::new(known) == path);
        match found {
            Some((_, b"unusable")) => Err(FileError::Unusable("is broken".to_owned())),
            Some((path, bytes)) => Ok(File {
                bytes: bytes.to_vec(),
                is_private: !path.contains("open"),
            }),
            None => Err(FileError::Missing),
        }
    };
    connection_string.resolve(Surroundings {
        variable: &variable,
        file: &file,
        socket_owner: &|path| {
            let found = SOCKETS.iter().find(|(known, _)| Path::new(known) == path);
            found.map(|(_, owner)| *owner)
        },
        user_id: 1_000,
    })
}

const PASSWD: (&str, &str) = (
    "/etc/passwd",
    "root:x:0:0:root:/root:/bin/sh\nbroken\npostgres:x:99:99::/:\nme:x:1000:1000::/home/me:/bin/sh\n",
);
/// Each with its owner.
const SOCKETS: [(&str, u32); 5] = [
    ("/var/run/postgresql/.s.PGSQL.7777", 99),
    ("/tmp/.s.PGSQL.7777", 0),
    ("/tmp/.s.PGSQL.8000", 0),
    ("/tmp/.s.PGSQL.8001", 1_000),
    ("/tmp/.s.PGSQL.8002", 99),
];

/// `user:password@address/database` of what was read, or the error's sentence.
fn summary(url: &str, environment: &[(&str, &str)]) -> String {
    summary_of(parse(url, environment))
}

fn summary_of(config: Result<Config, ConfigError>) -> String {
    match config {
        Ok(config) => {
            let passwords = config.servers.iter().map(|server| {
                let password = server
                    .password
                    .as_ref()
                    .map_or(&b"-"[..], Password::as_bytes);
                String::from_utf8_lossy(password).into_owned()
            });
            let mut passwords: Vec<_> = passwords.collect();
            passwords.dedup();
            let passwords = passwords.join(",");
            format!("{}:{passwords}@{config}/{}", config.user, config.database)
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn urls_mean_what_they_mean_to_libpq() {
    for (url, expected) in [
        ("postgres://", "me:-@localhost:5432/me"),
        ("postgres://db/x\n", "me:-@db:5432/x"),
        ("postgres://db/x\r\n", "me:-@db:5432/x"),
        ("postgres://db\n", "me:-@db:5432/me"),
        ("postgres://db/x?user=ann \t\n", "ann:-@db:5432/x"),
        ("postgres://db/%20x%0a", "me:-@db:5432/ x\n"),
        ("postgres://%40abstract/x", "me:-@@abstract/.s.PGSQL.5432/x"),
        ("postgresql://", "me:-@localhost:5432/me"),
        ("postgresql:///", "me:-@localhost:5432/me"),
        ("postgresql://db", "me:-@db:5432/me"),
        ("postgresql://db/", "me:-@db:5432/me"),
        ("postgresql://db:/", "me:-@db:5432/me"),
        ("postgresql://db:6000", "me:-@db:6000/me"),
        ("postgresql://db:1/x", "me:-@db:1/x"),
        ("postgresql://db:65535/x", "me:-@db:65535/x"),
        ("postgresql://ann@db", "ann:-@db:5432/ann"),
        ("postgresql://ann@", "ann:-@localhost:5432/ann"),
        ("postgresql://ann:@db/x", "ann:-@db:5432/x"),
        ("postgresql://@db", "me:-@db:5432/me"),
        ("postgresql://:pw@db", "me:pw@db:5432/me"),
        ("postgresql://ann:p:w@db/x", "ann:p:w@db:5432/x"),
        ("postgresql://ann:p?w@db/x", "ann:p?w@db:5432/x"),
        ("postgresql://ann:p#w@db/x", "ann:p#w@db:5432/x"),
        (
            "postgresql://a%40b:p%2Fw%3a%25@d%62:54%332/x%20y%2Fz",
            "a@b:p/w:%@db:5432/x y/z",
        ),
        (
            "postgresql://%C3%A9@db/%F0%9F%90%98",
            "\u{e9}:-@db:5432/\u{1f418}",
        ),
        ("postgresql://[::1]", "me:-@[::1]:5432/me"),
        (
            "postgresql://ann@[2001:db8::7]:99/x?application_name=q",
            "ann:-@[2001:db8::7]:99/x",
        ),
        ("postgresql://%2Ftmp%2Fpg/x", "me:-@/tmp/pg/.s.PGSQL.5432/x"),
        ("postgresql://%2Ftmp:7/x", "me:-@/tmp/.s.PGSQL.7/x"),
        ("postgresql:///x?host=/tmp&port=7", "me:-@/tmp/.s.PGSQL.7/x"),
        ("postgresql:///x?host=%2Ftmp", "me:-@/tmp/.s.PGSQL.5432/x"),
        ("postgresql://db?", "me:-@db:5432/me"),
        (
            "postgresql://db?user=ann&password=p%26w&dbname=x",
            "ann:p&w@db:5432/x",
        ),
        (
            "postgresql://one/x?host=two&port=2&dbname=y",
            "me:-@two:2/y",
        ),
        (
            "postgresql:///x?user=ann@corp",
            "ann@corp:-@localhost:5432/x",
        ),
        (
            "postgresql://db?connect_timeout=10&sslmode=prefer",
            "me:-@db:5432/me",
        ),
        ("postgresql://db?sslmode=disable", "me:-@db:5432/me"),
        ("postgresql://db?sslmode=allow", "me:-@db:5432/me"),
        (
            "postgresql:///?host=/tmp&sslmode=require",
            "me:-@/tmp/.s.PGSQL.5432/me",
        ),
    ] {
        assert_eq!(summary(url, &[]), expected, "{url}");
    }
}

const SSLMODE_MAYBE: &str =
    "invalid sslmode \"maybe\": it is disable, allow, prefer, require, verify-ca or verify-full";

#[test]
fn what_cannot_be_used_is_refused_in_words() {
    let scheme = "connection string does not begin with postgres:// or postgresql://, \
                  nor with KEYWORD=: it is written as postgresql://USER@HOST/DATABASE";
    let port = "port is not a number from 1 to 65535 \
                (in a password '/' is written %2F and '@' %40)";
    let brackets = "IPv6 address is not of the form [address], optionally followed by :port";
    for (url, expected) in [
        ("Postgres://db", scheme),
        ("postgres:/db", scheme),
        ("mysql://db", scheme),
        ("postgres://db:0", port),
        ("postgres://db:65536", port),
        ("postgres://db:+80", port),
        ("postgres://ann:secret", port),
        ("postgres://ann:se/cret@db", port),
        (
            "postgres://db?port=x",
            "port \"x\" is not a number from 1 to 65535",
        ),
        ("postgres://[::1", brackets),
        ("postgres://[]", brackets),
        ("postgres://[::1]z", brackets),
        ("postgres://%zz@db", "invalid percent-encoding in user name"),
        (
            "postgres://db/x%4",
            "invalid percent-encoding in database name",
        ),
        ("postgres://ann:%00@db", "password contains a NUL character"),
        ("postgres://a%ffn@db", "user name is not UTF-8"),
        (
            "postgres://ann:se@cret@db",
            "host contains '@' (one in a user name or password is written %40)",
        ),
        (
            "postgres:///x?host=one&port=1,2",
            "port is a list of another length than that of the hosts",
        ),
        (
            "postgres:///x?host=one,two&hostaddr=127.0.0.1",
            "hostaddr is a list of another length than that of the hosts",
        ),
        ("postgres://db?hostaddr=x", "invalid hostaddr \"x\""),
    ] {
        assert_eq!(summary(url, &[]), expected, "{url}");
    }
    let nobody = resolve(ConnectionString::unset(), &[("USER", "me")], &[]);
    assert_eq!(
        nobody.unwrap_err(),
        ConfigError::UserMissing { user_id: 1_000 }
    );
}

#[test]
fn parameters_are_known_or_named() {
    for (url, expected) in [
        ("postgres://db?uzer=ann", "unknown parameter \"uzer\""),
        ("postgres://db?&user=ann", "a parameter has no '='"),
        ("postgres://db?user", "a parameter has no '='"),
        (
            "postgres://db?options=-c a=b",
            "parameter \"options\" has a second '=' (in a value it is written %3D)",
        ),
        (
            "postgres://db?connect_timeout=soon",
            "invalid connect_timeout \"soon\"",
        ),
        ("postgres://db?sslmode=maybe", SSLMODE_MAYBE),
        (
            "postgres://db?sslrootcert=system&sslmode=require",
            "sslrootcert \"system\" demands sslmode \"verify-full\"",
        ),
        (
            "postgres://db?sslnegotiation=direct",
            "sslnegotiation \"direct\" demands sslmode \"require\" or a stronger one",
        ),
        (
            "postgres:///?hostaddr=10.0.0.1&sslmode=verify-full",
            "sslmode \"verify-full\" needs a host, not only a hostaddr",
        ),
    ] {
        assert_eq!(summary(url, &[]), expected, "{url}");
    }
}

#[test]
fn what_is_asked_for_and_cannot_be_had_is_refused_by_name() {
    for (url, expected) in [
        (
            "postgres://db?sslcrl=x",
            "parameter \"sslcrl\" is not supported",
        ),
        (
            "postgres://db?gssencmode=require",
            "parameter \"gssencmode\" is not supported",
        ),
        (
            "postgres://db?sslcertmode=require",
            "parameter \"sslcertmode\" is not supported",
        ),
        (
            "postgres://db?min_protocol_version=3.2",
            "parameter \"min_protocol_version\" is not supported",
        ),
        (
            "postgres://db?min_protocol_version=latest",
            "parameter \"min_protocol_version\" is not supported",
        ),
        (
            "postgres://db?max_protocol_version=3.1",
            "invalid max_protocol_version \"3.1\"",
        ),
        (
            "postgres://db?require_auth=scram",
            "invalid require_auth \"scram\"",
        ),
        ("postgres://db?keepalives=on", "invalid keepalives \"on\""),
        (
            "postgres://db?keepalives_idle=1s",
            "invalid keepalives_idle \"1s\"",
        ),
        (
            "postgres://db?keepalives_interval=1.5",
            "invalid keepalives_interval \"1.5\"",
        ),
        (
            "postgres://db?keepalives_count=many",
            "invalid keepalives_count \"many\"",
        ),
        (
            "postgres://db?tcp_user_timeout=99999999999",
            "invalid tcp_user_timeout \"99999999999\"",
        ),
        (
            "postgres://db?channel_binding=yes",
            "invalid channel_binding \"yes\": it is disable, prefer or require",
        ),
        (
            "postgres://db?target_session_attrs=master",
            "invalid target_session_attrs \"master\": it is any, read-write, read-only, primary, standby or prefer-standby",
        ),
        (
            "postgres://db?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "invalid ssl_max_protocol_version \"TLSv1.2\"",
        ),
    ] {
        assert_eq!(summary(url, &[]), expected, "{url}");
    }
}

#[test]
fn the_environment_fills_in_what_the_url_leaves_out() {
    let environment = [
        ("PGHOST", "/run/pg"),
        ("PGPORT", "6543"),
        ("PGUSER", "eve"),
        ("PGPASSWORD", "hush"),
        ("PGDATABASE", "stage"),
        ("PGAPPNAME", "tool"),
    ];
    for (url, expected) in [
        ("postgres://", "eve:hush@/run/pg/.s.PGSQL.6543/stage"),
        ("postgres://db:1/x", "eve:hush@db:1/x"),
        ("postgres://ann:pw@db", "ann:pw@db:6543/stage"),
    ] {
        assert_eq!(summary(url, &environment), expected, "{url}");
    }
    let config = parse("postgres://", &environment).unwrap();
    assert_eq!(config.application_name.as_deref(), Some("tool"));
    let config = parse("postgres://?application_name=own", &environment).unwrap();
    assert_eq!(config.application_name.as_deref(), Some("own"));

    for (environment, expected) in [
        (
            &[("LOGNAME", "log"), ("USER", "you")][..],
            "me:-@localhost:5432/me",
        ),
        (
            &[("PGHOST", ""), ("PGPASSWORD", "")],
            "me:-@localhost:5432/me",
        ),
        (
            &[("PGPORT", "x")],
            "port \"x\" is not a number from 1 to 65535",
        ),
        (
            &[("PGDATABASE", "m\0e")],
            "PGDATABASE contains a NUL character",
        ),
        (&[("PGHOST", "a,b"), ("PGPORT", "1,2")], "me:-@a:1, b:2/me"),
        (&[("PGSSLMODE", "maybe")], SSLMODE_MAYBE),
        (
            &[("PGREQUIREAUTH", "md5,md5")],
            "invalid require_auth \"md5,md5\"",
        ),
        (
            &[("PGGSSENCMODE", "require")],
            "parameter \"gssencmode\" is not supported",
        ),
    ] {
        assert_eq!(summary("postgres://", environment), expected);
    }
}

#[test]
fn no_output_holds_the_password() {
    let config = parse("postgres://ann:hush@db/x", &[]).unwrap();
    assert!(format!("{config:?}").contains("Some(***)"));
    assert!(!format!("{config:?} {config} {}", config.address()).contains("hush"));
    let quoted = parse("password='a' sslmode=x", &[]).unwrap_err();
    assert!(quoted.to_string().starts_with("invalid sslmode \"x\": "));
    for url in [
        "postgres://ann:hush",
        "postgres://ann:hush/x@db",
        "postgres://ann:hush@h@db",
        "postgres://ann:hush%@db",
        "postgres://ann:x[hush@[",
        "postgres://ann@db?password=x&hush",
        "postgres://ann@db?password=x&hush=y",
        "postgres://ann@db?password=x&hush=y=z",
        "postgres://ann:1/x?hush=y@db",
        "host=h password=a hush=y",
        "host=h password=a hush",
        "host=h password=a, user=u hush=y",
        "host=h password=a port=hush",
        "host=h password=a sslmode=hush",
        "host=h password=a keepalives=hush",
        "postgres://ann@db?password=x&sslmode=hush",
        "postgres://ann:1/x?sslmode=hush@db",
    ] {
        let error = parse(url, &[]).unwrap_err();
        assert!(
            !format!("{error:?} {error}").contains("hush"),
            "{url}: {error}"
        );
    }
}

#[test]
fn loopback_and_unix_sockets_are_local() {
    for (url, local) in [
        ("postgres://u@localhost", true),
        ("postgres://u@127.3.2.1", true),
        ("postgres://u@[::1]", true),
        ("postgres://u@%2Ftmp", true),
        ("postgres://u@localhost.example.org", false),
        ("postgres://u@10.0.0.1", false),
    ] {
        assert_eq!(
            parse(url, &[]).unwrap().servers[0].is_local(),
            local,
            "{url}"
        );
    }
}

#[test]
fn keywords_and_values_mean_what_they_mean_to_libpq() {
    for (text, expected) in [
        ("", "me:-@localhost:5432/me"),
        ("  ", "me:-@localhost:5432/me"),
        ("host=db", "me:-@db:5432/me"),
        (
            "host=db port=1 user=ann dbname=x password=pw",
            "ann:pw@db:1/x",
        ),
        (" host = db\n user\t=ann ", "ann:-@db:5432/ann"),
        ("host=one host=two", "me:-@two:5432/me"),
        ("password='a b' host=db", "me:a b@db:5432/me"),
        (r"password='it\'s \\' host=db", r"me:it's \@db:5432/me"),
        (r"password=a\ b host=db", "me:a b@db:5432/me"),
        ("password='' host=db", "me:-@db:5432/me"),
        ("user='ann'host=db", "ann:-@db:5432/ann"),
        ("host=/tmp port=7", "me:-@/tmp/.s.PGSQL.7/me"),
        ("host=::1", "me:-@[::1]:5432/me"),
        ("host=a,b,c port=1,,3", "me:-@a:1, b:5432, c:3/me"),
        ("host=a,b port=9", "me:-@a:9, b:9/me"),
        ("host=,b", "me:-@localhost:5432, b:5432/me"),
        (
            "hostaddr=127.0.0.1,::1",
            "me:-@127.0.0.1:5432, [::1]:5432/me",
        ),
        ("host=db hostaddr=127.0.0.1", "me:-@db:5432/me"),
        ("password=x=y host=db", "me:x=y@db:5432/me"),
        (
            "host",
            "connection string does not begin with postgres:// or postgresql://, nor with KEYWORD=: it is written as postgresql://USER@HOST/DATABASE",
        ),
        (
            "host db=x",
            "a keyword has no '=' (a value with a space is written between single quotes)",
        ),
        (
            "host=db x",
            "a keyword has no '=' (a value with a space is written between single quotes)",
        ),
        ("password='a", "a single quote is not closed"),
        ("uzer=ann", "unknown parameter \"uzer\""),
        ("user=a\0b", "connection string contains a NUL character"),
    ] {
        assert_eq!(summary(text, &[]), expected, "{text}");
    }
}

#[test]
fn several_hosts_are_kept_in_order() {
    for (text, expected) in [
        ("postgres://a,b/x", "me:-@a:5432, b:5432/x"),
        ("postgres://a:1,b:2/x", "me:-@a:1, b:2/x"),
        ("postgres://a:1,b/x", "me:-@a:1, b:5432/x"),
        (
            "postgres://[::1]:1,b,%2Ftmp/x",
            "me:-@[::1]:1, b:5432, /tmp/.s.PGSQL.5432/x",
        ),
        ("postgres:///x?host=a,b&port=1,2", "me:-@a:1, b:2/x"),
    ] {
        assert_eq!(summary(text, &[]), expected, "{text}");
    }
    for (text, expected) in [
        ("host=a user=u", TargetSessionAttrs::Any),
        ("host=a,b user=u", TargetSessionAttrs::Primary),
        (
            "host=a,b user=u target_session_attrs=any",
            TargetSessionAttrs::Any,
        ),
    ] {
        let config = parse(text, &[]).unwrap();
        assert_eq!(config.target_session_attrs, expected, "{text}");
    }
}
