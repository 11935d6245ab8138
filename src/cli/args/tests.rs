//! What is typed against what it means, in tables.

use super::*;

fn parse_words(words: &str, variables: &[(&str, &str)]) -> Result<Command, String> {
    let arguments = ["alle"]
        .into_iter()
        .chain(words.split_whitespace())
        .map(OsString::from);
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    match parse(arguments, &variable) {
        Ok(invocation) => Ok(invocation.command),
        Err(Failure::Usage { reason, .. } | Failure::Run(reason)) => Err(reason),
    }
}

fn serve(words: &str, variables: &[(&str, &str)]) -> ServeOptions {
    match parse_words(words, variables) {
        Ok(Command::Serve(options)) => *options,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn a_flag_wins_over_its_variable_and_a_variable_over_the_default() {
    let variables = [
        ("POSTGRES_URL", "postgresql://variable/x"),
        ("WS_BIND_ADDR", "127.0.0.1:1"),
        ("LISTEN_CHANNELS", "a, b,"),
    ];
    let defaults = serve("", &[]);
    assert_eq!(defaults.postgres.url, "postgresql://localhost/postgres");
    assert_eq!(defaults.ws_bind_addr, "127.0.0.1:8080");
    assert!(defaults.channels.is_empty());
    let from_variables = serve("serve", &variables);
    assert_eq!(from_variables.postgres.url, "postgresql://variable/x");
    assert_eq!(from_variables.ws_bind_addr, "127.0.0.1:1");
    assert_eq!(from_variables.channels, ["a", "b"]);
    let typed = serve(
        "-p postgresql://flag/x serve -w 127.0.0.1:2 -c c -c d,e",
        &variables,
    );
    assert_eq!(typed.postgres.url, "postgresql://flag/x");
    assert_eq!(typed.ws_bind_addr, "127.0.0.1:2");
    assert_eq!(typed.channels, ["c", "d", "e"]);
    assert_eq!(
        serve("", &[("WS_BIND_ADDR", "")]),
        defaults,
        "empty is not set"
    );
}

#[test]
fn options_stand_before_and_after_the_command_in_every_spelling() {
    for words in [
        "-w x:1 serve",
        "serve -w x:1",
        "-wx:1",
        "--ws-bind-addr=x:1",
        "-w y -w x:1",
    ] {
        assert_eq!(serve(words, &[]).ws_bind_addr, "x:1", "{words}");
    }
    let many = serve(
        "--allow-origin http://a,http://b --allow-origin http://c --playground",
        &[],
    );
    assert_eq!(many.allow_origins, ["http://a", "http://b", "http://c"]);
    assert!(many.playground);
}

#[test]
fn patterns_are_all_channels_unless_given_and_none_when_empty() {
    let defaults = serve("", &[]);
    assert_eq!(defaults.permissions, Permissions::default());
    let typed = serve("--allow-subscribe a*,b --allow-subscribe c", &[]);
    assert_eq!(typed.permissions.subscribe, Globs::parse("a*,b,c"));
    assert_eq!(typed.permissions.publish, Globs::default());
    let none = serve("--allow-publish=", &[]);
    assert_eq!(none.permissions.publish, Globs::parse(""));
    assert_ne!(none.permissions.publish, Globs::default());
}

#[test]
fn a_token_comes_from_a_file_or_else_from_the_variable() {
    let token = |words: &str, variables: &[(&str, &str)]| match parse_words(words, variables) {
        Ok(Command::Listen(options)) => Ok(options.token),
        Ok(Command::Publish(options)) => Ok(options.token),
        Ok(other) => panic!("{other:?}"),
        Err(reason) => Err(reason),
    };
    let variable = [("ALLE_TOKEN", "s3cret")];
    for words in ["listen", "publish a b"] {
        assert!(matches!(token(words, &[]), Ok(TokenSource::None)));
        let given = token(words, &variable);
        assert!(matches!(&given, Ok(TokenSource::Given(it)) if it.expose() == "s3cret"));
        assert!(!format!("{given:?}").contains("s3cret"));
        let with_file = format!("{words} --token-file t");
        let file = token(&with_file, &variable);
        assert!(matches!(file, Ok(TokenSource::File(path)) if path == "t"));
    }
    let reason = token("listen", &[("ALLE_TOKEN", "a b")]).unwrap_err();
    assert_eq!(reason, "the variable ALLE_TOKEN is not printable ASCII");
}

#[test]
fn listen_takes_channels_separated_by_comma_or_space_each_once() {
    let Ok(Command::Listen(options)) = parse_words("listen a,b c b --json --no-reconnect", &[])
    else {
        panic!("not listen");
    };
    assert_eq!(options.channels, ["a", "b", "c"]);
    assert_eq!(options.ws_url.to_string(), "ws://127.0.0.1:8080");
    assert!(options.json && !options.reconnect);
}

#[test]
fn help_and_version_are_found_anywhere() {
    use CommandName::{Listen, Serve};
    for (words, topic) in [
        ("-h", None),
        ("help", None),
        ("help help", None),
        ("help listen", Some(Listen)),
        ("listen --help", Some(Listen)),
        ("-h listen", Some(Listen)),
        ("listen a b -h", Some(Listen)),
        ("serve -w x -h", Some(Serve)),
    ] {
        let parsed = parse_words(words, &[("RUST_LOG", "=,=")]);
        assert!(
            matches!(parsed, Ok(Command::Help(found)) if found == topic),
            "{words}"
        );
    }
    assert!(matches!(
        parse_words("listen -V", &[]),
        Ok(Command::Version)
    ));
}

#[test]
fn what_cannot_be_meant_is_said_in_a_sentence() {
    let long = "x".repeat(64);
    for (words, expected) in [
        ("bogus", "unknown command 'bogus'"),
        ("lisen", "unknown command 'lisen'; did you mean 'listen'?"),
        (
            "serve --chanels a",
            "unknown option '--chanels'; did you mean '--channels'?",
        ),
        ("-x", "unknown option '-x'"),
        ("serve extra", "unexpected argument 'extra'"),
        ("help publish extra", "unexpected argument 'extra'"),
        ("help publish help", "unexpected argument 'help'"),
        ("help help extra", "unknown command 'extra'"),
        (
            "listen -c a",
            "option '-c' does not belong to 'alle listen'",
        ),
        (
            "--json serve",
            "option '--json' does not belong to 'alle serve'",
        ),
        ("-p", "missing argument for option '-p'"),
        (
            "listen --json=1",
            "unexpected argument for option '--json': \"1\"",
        ),
        ("publish", "publish needs a CHANNEL and a PAYLOAD"),
        (
            "publish a",
            "publish needs a PAYLOAD after the CHANNEL ('-' reads it from stdin)",
        ),
        (
            "publish a b c",
            "publish takes one CHANNEL and one PAYLOAD: put quotes around the payload",
        ),
        (
            "-l verbose",
            "log level 'verbose' is none of off, error, warn, info, debug, trace \
             (or TARGET=LEVEL, comma separated)",
        ),
        (
            "-l ,",
            "log level '' is none of off, error, warn, info, debug, trace \
             (or TARGET=LEVEL, comma separated)",
        ),
        (
            "serve --allow-origin http://a,app.example",
            "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', \
             not 'app.example'",
        ),
        (
            "serve --allow-origin http://a --allow-origin ,",
            "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', not ','",
        ),
        (
            &format!("listen {long}"),
            &format!("channel '{long}': channel name has 64 bytes, PostgreSQL takes at most 63"),
        ),
    ] {
        assert_eq!(parse_words(words, &[]).unwrap_err(), expected, "{words}");
    }
}

#[test]
fn log_levels_are_those_people_know() {
    for level in [
        "debug",
        "alle=info,info",
        "alle=trace",
        "off",
        "alle",
        "ALLE=DEBUG",
    ] {
        assert!(parse_words(&format!("-l {level}"), &[]).is_ok(), "{level}");
    }
    assert!(parse_words("", &[("RUST_LOG", "alle=loud")]).is_err());
    assert!(
        parse_words("-l info", &[("RUST_LOG", "alle=loud")]).is_ok(),
        "the flag wins"
    );
}

#[test]
fn draining_takes_a_day_at_most() {
    for (typed, drain) in [("86399", 86_399), ("86400", 86_400)] {
        assert_eq!(serve(&format!("--drain {typed}"), &[]).drain, Some(drain));
    }
    for typed in ["86401", "18446744073709551615", "99999999999999999999"] {
        assert_eq!(
            parse_words(&format!("serve --drain {typed}"), &[]).unwrap_err(),
            format!("--drain takes a whole number from 0 to 86400, not '{typed}'")
        );
    }
}

#[test]
fn the_admin_address_is_what_was_typed_last() {
    assert_eq!(serve("", &[]).admin_addr, None);
    let typed = serve("--admin-addr x:1 --admin-addr=y:2", &[]);
    assert_eq!(typed.admin_addr.as_deref(), Some("y:2"));
}
