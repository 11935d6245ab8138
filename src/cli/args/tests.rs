//! What is typed against what it means, in tables.

use super::*;

mod files;
mod mistakes;
mod variables;

use std::time::Duration;

use alle::{Globs, Limits, Permissions};

use crate::cli::{
    command::Shell,
    flags::{FLAGS, Value},
};

fn parse_with(words: &str, variables: &[(&str, &str)]) -> Result<Invocation, String> {
    let arguments = ["alle"]
        .into_iter()
        .chain(words.split_whitespace())
        .map(OsString::from);
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    parse(
        arguments,
        &Environment::new(variables),
        &mut Files::default(),
    )
    .map_err(|failure| match failure {
        Failure::Usage { reason, .. } | Failure::Run(reason) | Failure::Unknown(reason) => reason,
    })
}

fn parse_words(words: &str, variables: &[(&str, &str)]) -> Result<Command, String> {
    parse_with(words, variables).map(|invocation| invocation.command)
}

fn serve(words: &str, variables: &[(&str, &str)]) -> BridgeConfig {
    match parse_words(words, variables) {
        Ok(Command::Serve(options)) => *options.config,
        other => panic!("{words}: {other:?}"),
    }
}

fn listen(words: &str, variables: &[(&str, &str)]) -> ListenOptions {
    match parse_words(&format!("listen {words}"), variables) {
        Ok(Command::Listen(options)) => options,
        other => panic!("{words}: {other:?}"),
    }
}

#[track_caller]
fn assert_wrong(words: &str, variables: &[(&str, &str)], expected: &str) {
    let found = parse_words(words, variables);
    assert_eq!(found.unwrap_err(), expected, "{words} {variables:?}");
}

#[test]
fn a_demo_takes_pages_and_hosts_as_serve_does() {
    let words = "demo --allow-origin http://localhost:5173 --allow-host app.test";
    let Ok(Command::Demo(options)) = parse_words(words, &[]) else {
        panic!("{words}");
    };
    assert_eq!(options.allow_origins, ["http://localhost:5173"]);
    assert_eq!(options.allow_hosts, ["app.test"]);
    assert!(!options.open);
}

#[test]
fn a_demo_refuses_another_postgres_by_name_and_shows_nothing_of_it() {
    for words in [
        "demo -p postgresql://u:s3cret@h/d",
        "-p x demo",
        "demo --postgres-url=",
    ] {
        let reason = parse_words(words, &[]).unwrap_err();
        assert!(
            reason.contains("--postgres-url") && reason.contains("of its own"),
            "{reason}"
        );
        assert!(!reason.contains("s3cret"), "{reason}");
    }
    // It may be set for other commands.
    assert!(parse_words("demo", &[("POSTGRES_URL", "postgresql://h/d")]).is_ok());
}

#[test]
fn a_flag_wins_over_its_variable_and_a_variable_over_the_default() {
    let variables = [
        ("POSTGRES_URL", "postgresql://variable/x"),
        ("WS_BIND_ADDR", "127.0.0.1:1"),
        ("LISTEN_CHANNELS", "a, b,"),
    ];
    let defaults = serve("", &[]);
    assert_eq!(defaults.postgres_url, "", "where `PG*` variables count");
    assert_eq!(defaults.ws_bind_addr, "127.0.0.1:8080");
    assert!(defaults.channels.is_empty());
    let from_variables = serve("serve", &variables);
    assert_eq!(from_variables.postgres_url, "postgresql://variable/x");
    assert_eq!(from_variables.ws_bind_addr, "127.0.0.1:1");
    assert_eq!(from_variables.channels, ["a", "b"]);
    let typed = serve(
        "-p postgresql://flag/x serve -w 127.0.0.1:2 -c c -c d,e",
        &variables,
    );
    assert_eq!(typed.postgres_url, "postgresql://flag/x");
    assert_eq!(typed.ws_bind_addr, "127.0.0.1:2");
    assert_eq!(typed.channels, ["c", "d", "e"]);
}

#[test]
fn workers_are_a_number_or_half_the_cores_and_need_an_admin_address() {
    let workers = |words: &str| match parse_words(words, &[]) {
        Ok(Command::Serve(options)) => options.workers,
        other => panic!("{words}: {other:?}"),
    };
    assert_eq!(workers(""), 1);
    assert_eq!(workers("--workers 1"), 1, "as without");
    assert_eq!(workers("--workers 64 --admin-addr :1"), 64);
    let cores = std::thread::available_parallelism().unwrap().get();
    let auto = workers("--workers auto --admin-addr :1");
    assert_eq!(auto, (cores / 2).clamp(1, 8));
    for count in ["0", "65", "-1", "two", ""] {
        assert_wrong(
            &format!("--workers={count} --admin-addr :1"),
            &[],
            &format!("--workers takes a whole number from 1 to 64, or auto, not '{count}'"),
        );
    }
    let secured = "--workers 2 --admin-addr :1 --tls-cert c --tls-key k --admin-tls";
    let Ok(Command::Serve(options)) = parse_words(secured, &[]) else {
        panic!("{secured}");
    };
    let fault = options.workers_fault.unwrap_or_default();
    assert!(fault.contains("--admin-tls"), "{fault}");
    // Whatever the machine makes of it.
    for words in ["--workers 2", "--workers auto", "check --workers 2"] {
        let fault = match parse_words(words, &[]) {
            Ok(Command::Check(options)) => options.faults.join(""),
            Ok(Command::Serve(options)) => options.workers_fault.unwrap_or_default(),
            other => panic!("{words}: {other:?}"),
        };
        assert!(
            fault.starts_with("--workers needs --admin-addr"),
            "{words}: {fault}"
        );
    }
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
        ("-h", Topic::Program),
        ("help", Topic::Program),
        ("help help", Topic::Program),
        ("help listen", Topic::Command(Listen)),
        ("listen --help", Topic::Command(Listen)),
        ("-h listen", Topic::Command(Listen)),
        ("listen a b -h", Topic::Command(Listen)),
        ("serve -w x -h", Topic::Command(Serve)),
        ("help man", Topic::Man),
        ("help completions bash", Topic::Completions(Shell::Bash)),
        ("help completions zsh", Topic::Completions(Shell::Zsh)),
        ("help completions fish", Topic::Completions(Shell::Fish)),
    ] {
        let parsed = parse_words(words, &[("RUST_LOG", "=,="), ("ALLE_RETAINED", "x")]);
        assert!(
            matches!(parsed, Ok(Command::Help(found)) if found == topic),
            "{words}: {parsed:?}"
        );
    }
    assert!(matches!(
        parse_words("listen -V", &[]),
        Ok(Command::Version)
    ));
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
fn the_admin_address_is_what_was_typed_last() {
    assert_eq!(serve("", &[]).admin_addr, None);
    let typed = serve("--admin-addr x:1 --admin-addr=y:2", &[]);
    assert_eq!(typed.admin_addr.as_deref(), Some("y:2"));
}

/// Else the help would name one default, and the library have another.
#[test]
fn the_defaults_of_the_table_are_those_of_the_library() {
    let library = BridgeConfig::new("", "127.0.0.1:8080");
    assert_eq!(format!("{:?}", serve("", &[])), format!("{library:?}"));
}

#[test]
fn every_option_that_is_no_request_has_a_variable_where_it_does_something() {
    for flag in FLAGS {
        let is_request = matches!(flag.value, Value::Request(_));
        let does_nothing = is_request || flag.help.is_empty();
        assert_eq!(flag.variable().is_none(), does_nothing, "{}", flag.long);
    }
}

#[test]
fn a_negative_number_behind_the_command_is_an_operand() {
    for (words, payload) in [
        ("publish temp -5", "-5"),
        ("publish temp -0.5", "-0.5"),
        ("publish temp -.5", "-.5"),
        ("publish temp -1e3", "-1e3"),
        ("publish -w ws://x temp -5", "-5"),
        ("publish temp -5 -w ws://x", "-5"),
        ("publish -- temp -5", "-5"),
        ("publish temp -- -5", "-5"),
        ("publish -- temp --", "--"),
        ("publish -- temp -w", "-w"),
        ("-- publish temp -w", "-w"),
        ("publish temp -", "-"),
    ] {
        match parse_words(words, &[]) {
            Ok(Command::Publish(options)) => {
                let expected = match payload {
                    "-" => Payload::Stdin,
                    payload => Payload::Typed(payload.to_owned()),
                };
                assert_eq!(options.payload, expected, "{words}");
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    assert_eq!(listen("-1", &[]).channels, ["-1"]);
    assert_wrong("serve -5", &[], "unexpected argument '-5'");
    for words in ["publish a -5x", "publish a -.", "publish a -inf"] {
        assert!(parse_words(words, &[]).is_err(), "{words}");
    }
}
