//! Variables against the options that they stand for.

use std::os::unix::ffi::OsStringExt;

use super::*;

/// Whatever the value is, and whatever the row: a new one is tried as well.
#[test]
fn a_variable_means_what_its_option_with_that_value_means() {
    for command in CommandName::ALL {
        let words = match command {
            // They say where a value came from.
            CommandName::Check | CommandName::Config => continue,
            CommandName::Publish => "publish a b",
            // Otherwise it does not matter whom the bridge trusts.
            CommandName::Health => "health --proxy-protocol",
            CommandName::Serve
            | CommandName::Listen
            | CommandName::Demo
            | CommandName::Doctor
            | CommandName::Token => command.word(),
        };
        let default = format!("{:?}", parse_with(words, &[]));
        for flag in flags::of(command).filter(|flag| flag.takes_value()) {
            let is_same = match flag.variable {
                Variable::OfName | Variable::Named(_) => true,
                Variable::None | Variable::Content(..) => false,
            };
            // The files have tests of their own.
            let is_same = is_same && flag.long != flags::CONFIG;
            let Some(name) = flag.variable().filter(|_| is_same) else {
                continue;
            };
            let mut has_effect = false;
            for value in [
                "7",
                "700K",
                "7ms",
                "x:1",
                "http://a,b",
                "ws://x",
                "debug",
                "json",
                "::1",
                "forwarded",
                "allow",
                "{\"a\":1}",
                "",
                "-",
                "µ",
            ] {
                if value.is_empty() && matches!(flag.variable, Variable::Named(_)) {
                    continue;
                }
                let typed = parse_with(&format!("{words} --{}={value}", flag.long), &[]);
                let from_variable = parse_with(words, &[(&name, value)]);
                let from_variable = from_variable.map_err(|reason| {
                    let origin = format!(" (from the variable {name})");
                    reason
                        .strip_suffix(&origin)
                        .expect("it is named")
                        .to_owned()
                });
                let typed = format!("{typed:?}");
                assert_eq!(typed, format!("{from_variable:?}"), "{name}={value}");
                has_effect |= typed.starts_with("Ok") && typed != default;
            }
            assert!(has_effect, "no value of {name} changes anything");
        }
    }
}

#[test]
fn five_variables_are_not_set_when_they_are_empty_and_the_others_are() {
    let defaults = format!("{:?}", serve("", &[]));
    for name in [
        "POSTGRES_URL",
        "WS_BIND_ADDR",
        "LISTEN_CHANNELS",
        "RUST_LOG",
    ] {
        let empty = format!("{:?}", serve("", &[(name, "")]));
        assert_eq!(empty, defaults, "{name}");
    }
    let ws_url = listen("", &[("WS_URL", "")]).ws_url;
    assert_eq!(ws_url.to_string(), "ws://127.0.0.1:8080");
    let nobody = serve("", &[("ALLE_ALLOW_PUBLISH", "")]);
    assert_eq!(nobody.permissions.publish, Globs::parse(""));
    let nothing = serve("", &[("ALLE_ALLOW_SUBSCRIBE", "")]);
    assert_eq!(nothing.permissions.subscribe, Globs::parse(""));
    for (name, expected) in [
        (
            "ALLE_TOKEN_FILE",
            "--token-file takes the path of a file, not ''",
        ),
        (
            "ALLE_PG_LISTEN_URL",
            "--pg-listen-url takes a connection string, not ''",
        ),
        (
            "ALLE_PG_PUBLISH_URL",
            "--pg-publish-url takes a connection string, not ''",
        ),
        (
            "ALLE_ALLOW_HOST",
            "--allow-host takes HOST or HOST:PORT, not ''",
        ),
        (
            "ALLE_ALLOW_ORIGIN",
            "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', not ''",
        ),
        (
            "ALLE_MAX_CLIENTS",
            "--max-clients takes a whole number from 1 up, not ''",
        ),
        (
            "ALLE_RETAINED",
            "--retained takes bytes, as 65536, 64K, 16M or 1G, not ''",
        ),
        (
            "ALLE_DRAIN",
            "--drain takes seconds, or a whole number with ms, s, m, h or d, not ''",
        ),
        (
            "ALLE_PLAYGROUND",
            "--playground is set by true or 1, unset by false or 0, not ''",
        ),
    ] {
        let expected = format!("{expected} (from the variable {name})");
        assert_wrong("serve", &[(name, "")], &expected);
    }
    assert_wrong(
        "listen",
        &[("ALLE_TOKEN", "")],
        "the variable ALLE_TOKEN is empty",
    );
}

#[test]
fn an_option_without_a_value_is_switched_by_its_variable() {
    for (value, is_on) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(serve("", &[("ALLE_PLAYGROUND", value)]).playground, is_on);
        let switched = listen("", &[("ALLE_JSON", value), ("ALLE_NO_RECONNECT", value)]);
        assert_eq!((switched.json, switched.reconnect), (is_on, !is_on));
    }
    let typed = serve("--playground", &[("ALLE_PLAYGROUND", "0")]);
    assert!(typed.playground, "the flag wins");
    for value in ["yes", "on", "TRUE", "2"] {
        let expected = format!(
            "--json is set by true or 1, unset by false or 0, not '{value}' (from the variable \
             ALLE_JSON)"
        );
        assert_wrong("listen", &[("ALLE_JSON", value)], &expected);
    }
}

/// What the server knows is none of its clients' business, be it well or badly formed.
#[test]
fn clients_read_no_variable_of_the_server() {
    let of_server = [
        ("ALLE_TOKEN_FILE", ""),
        ("ALLE_PG_LISTEN_URL", ""),
        ("ALLE_RETAINED", "x"),
        ("ALLE_PLAYGROUND", "x"),
    ];
    for words in ["listen", "publish a b", "demo"] {
        assert!(parse_words(words, &of_server).is_ok(), "{words}");
    }
    let file = ("ALLE_TOKEN_FILE", "/etc/alle/tokens");
    assert!(matches!(listen("", &[file]).token, TokenSource::None));
    let token = listen("", &[file, ("ALLE_TOKEN", "s3cret")]).token;
    assert!(matches!(token, TokenSource::Given(it) if it.expose() == "s3cret"));
}

#[test]
fn a_variable_that_is_not_utf_8_is_named_where_it_is_read() {
    let parse = |words: &str, name: &str| {
        let arguments = ["alle"]
            .into_iter()
            .chain(words.split(' '))
            .map(OsString::from);
        let variables = [(name.into(), OsString::from_vec(vec![b'a', 0xff]))];
        parse(
            arguments,
            &Environment::new(variables),
            &mut Files::default(),
        )
    };
    for (words, name) in [
        ("serve", "POSTGRES_URL"),
        ("serve", "ALLE_TOKEN_FILE"),
        ("serve", "ALLE_PLAYGROUND"),
        ("listen", "ALLE_TOKEN"),
        ("publish a b", "WS_URL"),
        ("demo", "WS_BIND_ADDR"),
        ("doctor", "RUST_LOG"),
    ] {
        let Err(Failure::Usage { reason, .. }) = parse(words, name) else {
            panic!("{words} takes {name}");
        };
        assert_eq!(reason, format!("the variable {name} is not valid UTF-8"));
    }
    assert!(parse("listen", "POSTGRES_URL").is_ok());
    assert!(parse("serve -l info", "RUST_LOG").is_ok(), "the flag wins");
}

#[test]
fn a_variable_that_nobody_knows_is_named_with_the_nearest_one() {
    let warnings = |name| parse_with("serve", &[(name, "8080")]).unwrap().warnings;
    for (name, expected) in [
        ("ALLE_CLIENT_QEUE", "; did you mean 'ALLE_CLIENT_QUEUE'?"),
        ("ALLE_TOKENFILE", "; did you mean 'ALLE_TOKEN_FILE'?"),
        ("ALLE_XYZZY", ""),
        ("ALLE_PORT", ""),
        ("ALLE_EXPORT", ""),
        ("ALLE_", ""),
    ] {
        let expected = format!("unknown variable {name}{expected}");
        assert_eq!(warnings(name), [expected]);
    }
    for (name, why) in [
        ("ALLE_NO_RECONNECT", "another command has it"),
        ("ALLE_PG_BIN", "the library reads it"),
        ("ALLEGRO_HOME", "it is not ours"),
        ("POSTGRES_ULR", "it need not be ours"),
    ] {
        assert_eq!(warnings(name), [""; 0], "{why}");
    }
    let request = parse_with("help", &[("ALLE_XYZZY", "")]).unwrap();
    assert!(request.warnings.is_empty());
}

/// Those of the services `alle` and `alle-admin`, as a container in Kubernetes finds them.
#[test]
fn variables_that_kubernetes_sets_are_passed_over() {
    let variables = [
        ("ALLE_SERVICE_HOST", "10.0.0.11"),
        ("ALLE_SERVICE_PORT", "8080"),
        ("ALLE_SERVICE_PORT_WS", "8080"),
        ("ALLE_PORT", "tcp://10.0.0.11:8080"),
        ("ALLE_PORT_8080_TCP", "tcp://10.0.0.11:8080"),
        ("ALLE_PORT_8080_TCP_PROTO", "tcp"),
        ("ALLE_PORT_8080_TCP_PORT", "8080"),
        ("ALLE_PORT_8080_TCP_ADDR", "10.0.0.11"),
        ("ALLE_ADMIN_SERVICE_HOST", "10.0.0.12"),
        ("ALLE_ADMIN_PORT", "tcp://10.0.0.12:9090"),
        ("ALLE_ADMIN_PORT_9090_TCP_ADDR", "10.0.0.12"),
    ];
    assert_eq!(parse_with("serve", &variables).unwrap().warnings, [""; 0]);
}
