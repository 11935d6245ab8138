//! The file of `--config`, and the files of secrets, against the options that they stand for.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

/// A directory with a file `alle.toml`, and its path.
fn written(toml: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alle.toml");
    fs::write(&path, toml).unwrap();
    chmod(&path, 0o600);
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Each row of `alle serve`, tried with values of every type: a new one is tried as well.
#[test]
fn a_key_means_what_its_option_with_that_value_means() {
    let default = format!("{:?}", parse_with("", &[]));
    let mut rows = 0;
    for flag in flags::of(CommandName::Serve).filter(|flag| is_setting(flag)) {
        let mut has_effect = false;
        for (typed, toml) in [
            ("7", "7"),
            ("7", "0x7"),
            ("7000", "7_000"),
            ("700K", "'700K'"),
            ("7ms", "'7ms'"),
            ("/x:1", "'/x:1'"),
            ("http://a,http://b", "['http://a', 'http://b']"),
            ("http://a,http://b", "'http://a,http://b'"),
            ("debug", "\"debug\""),
            ("json", "'json'"),
            ("::1,10.0.0.0/8", "['::1', '10.0.0.0/8']"),
            ("forwarded", "'forwarded'"),
            ("allow", "'allow'"),
            ("", "''"),
            ("", "[]"),
            ("true", "true"),
        ] {
            // Relative ones are another test's.
            let is_relative = !typed.is_empty() && !typed.starts_with('/');
            if matches!(flag.value, Value::File(_) | Value::Files(_)) && is_relative {
                continue;
            }
            let (_directory, path) = written(&format!("{} = {toml}\n", flag.long));
            let from_file = parse_with(&format!("--config {path}"), &[]);
            let words = match flag.takes_value() {
                // That no channel is meant can be said in a file alone.
                true if flag.long == "channels" && toml == "[]" => String::new(),
                true => format!("--{}={typed}", flag.long),
                false => format!("--{}", flag.long),
            };
            let is_other_type = matches!(&from_file, Err(reason) if reason.contains("' takes "));
            if is_other_type {
                continue;
            }
            let typed = parse_with(&words, &[]).map_err(|reason| {
                let column = flag.long.len() + " = ".len() + 1;
                format!("{path}:1:{column}: {reason}")
            });
            let typed = format!("{typed:?}");
            assert_eq!(typed, format!("{from_file:?}"), "{} = {toml}", flag.long);
            has_effect |= typed.starts_with("Ok") && typed != default;
        }
        assert!(has_effect, "no value of {} changes anything", flag.long);
        rows += 1;
    }
    assert!(rows > 20, "{rows}");
}

#[test]
fn a_flag_wins_over_its_variable_and_a_variable_over_the_file() {
    let (_directory, path) = written("max-clients = 1\nhistory = 1\ndrain = '1m'\n");
    let words = format!("serve --config {path} --history 3");
    let config = serve(&words, &[("ALLE_HISTORY", "2"), ("ALLE_DRAIN", "2")]);
    assert_eq!(config.limits.clients_max, Some(1));
    assert_eq!(config.limits.history_frames_max, 3);
    assert_eq!(config.drain, Duration::from_secs(2));
    let from_variable = serve("", &[("ALLE_CONFIG", &path)]);
    assert_eq!(from_variable.drain, Duration::from_secs(60));
    assert_wrong(
        "",
        &[("ALLE_CONFIG", "")],
        "--config takes the path of a file, not '' (from the variable ALLE_CONFIG)",
    );
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line_and_column() {
    for (toml, expected) in [
        (
            "\nmax-cliants = 1",
            "2:1: unknown key 'max-cliants'; did you mean 'max-clients'?",
        ),
        (
            "max_clients = 1",
            "1:1: unknown key 'max_clients'; did you mean 'max-clients'?",
        ),
        ("[serve]\nhistory = 1", "1:2: unknown key 'serve'"),
        ("config = 'x'", "1:1: unknown key 'config'"),
        ("help = true", "1:1: unknown key 'help'"),
        (
            "max-clients = '1'",
            "1:1: 'max-clients' takes a whole number",
        ),
        (
            "max-clients = 1.5",
            "1:1: 'max-clients' takes a whole number",
        ),
        ("history.x = 1", "1:1: 'history' takes a whole number"),
        ("playground = 1", "1:1: 'playground' takes true or false"),
        (
            "allow-origin = [1]",
            "1:1: 'allow-origin' takes a string, or a list of strings",
        ),
        (
            "max-clients = 0",
            "1:15: --max-clients takes a whole number from 1 up, not '0'",
        ),
        (
            "max-clients = -5",
            "1:15: --max-clients takes a whole number from 1 up, not '-5'",
        ),
        (
            "# µ\nhistory = 1\nretained = '1X'",
            "3:12: --retained takes bytes, as 65536, 64K, 16M or 1G, not '1X'",
        ),
        (
            "token-file = ''",
            "1:14: --token-file takes the path of a file, not ''",
        ),
        (
            "pg-listen-url = ''",
            "1:17: --pg-listen-url takes a connection string, not ''",
        ),
    ] {
        let (_directory, path) = written(toml);
        let words = format!("--config {path}");
        assert_wrong(&words, &[], &format!("{path}:{expected}"));
    }
    for (toml, place) in [
        ("history = 1\nhistory = 2", "2:1"),
        ("history = 1\n'history' = 2", "2:1"),
        ("history = ", "1:11"),
        ("history 1", "1:9"),
    ] {
        let (_directory, path) = written(toml);
        let reason = parse_words(&format!("--config {path}"), &[]).unwrap_err();
        assert!(reason.starts_with(&format!("{path}:{place}: ")), "{reason}");
    }
}

/// Whoever names hosts or networks does not mean that there is no rule.
#[test]
fn an_empty_array_is_refused_where_it_would_be_another_rule() {
    for (toml, expected) in [
        (
            "allow-host = []",
            "1:14: --allow-host takes HOST or HOST:PORT",
        ),
        (
            "allow-origin = []",
            "1:16: --allow-origin takes what browsers",
        ),
        (
            "trusted-proxy = []",
            "1:17: --trusted-proxy takes addresses",
        ),
        ("jwt-audience = []", "1:16: --jwt-audience takes a name"),
        ("tls-key = []", "1:11: --tls-key takes paths of files"),
    ] {
        let (_directory, path) = written(toml);
        let reason = parse_words(&format!("--config {path}"), &[]).unwrap_err();
        assert!(
            reason.starts_with(&format!("{path}:{expected}")),
            "{reason}"
        );
    }
}

/// A comma separates what is typed, and what is one string in a file.
#[test]
fn an_element_of_an_array_is_one_item_whatever_is_in_it() {
    let bridge = |toml: &str| {
        let (directory, path) = written(toml);
        (serve(&format!("--config {path}"), &[]), directory)
    };
    let (config, _) = bridge("channels = ['p,q', ' r ', 's']");
    assert_eq!(config.channels, ["p,q", " r ", "s"]);
    let (config, _) = bridge("channels = 'p, q,'");
    assert_eq!(config.channels, ["p", "q"]);
    for key in ["allow-subscribe", "allow-publish"] {
        let (config, _) = bridge(&format!("{key} = ['a,b', 'c,*', '']"));
        let rule = match key {
            "allow-publish" => config.permissions.publish,
            _ => config.permissions.subscribe,
        };
        let allowed = ["a,b", "c,d", "a", "b", "c", ",", ""].map(|it| rule.matches(it));
        assert_eq!(allowed, [true, true, false, false, false, false, false]);
    }
    let (config, _) = bridge("jwt-key-file = 'k'\njwt-audience = ['x,y', 'z']");
    assert_eq!(config.jwt.rules.audiences, ["x,y", "z"]);
    let (config, directory) = bridge("tls-cert = ['a,b']\ntls-key = 'c, d'");
    let paths =
        |names: &[&str]| -> Vec<_> { names.iter().map(|it| directory.path().join(it)).collect() };
    assert_eq!(config.tls.certificates, paths(&["a,b"]));
    assert_eq!(config.tls.keys, paths(&["c", "d"]));
    for (toml, expected) in [
        (
            "allow-host = ['a,b']",
            "1:14: --allow-host takes HOST or HOST:PORT, not 'a,b'",
        ),
        (
            "allow-origin = ['https://a,b']",
            "1:16: --allow-origin takes what browsers send, as https://HOST[:PORT], or '*', not \
             'https://a,b'",
        ),
        (
            "trusted-proxy = ['::1,::2']",
            "1:17: --trusted-proxy: '::1,::2' ",
        ),
        ("channels = ['']", "1:12: channel name is empty"),
        (
            "tls-cert = ['a', '']",
            "1:12: --tls-cert takes paths of files, none of them ''",
        ),
    ] {
        let (_directory, path) = written(toml);
        let reason = parse_words(&format!("--config {path}"), &[]).unwrap_err();
        assert!(
            reason.starts_with(&format!("{path}:{expected}")),
            "{reason}"
        );
    }
    // What `alle config` prints is the same again.
    let (_directory, path) = written("channels = ['p,q']");
    let Ok(Command::Config(shown)) = parse_words(&format!("config --config {path}"), &[]) else {
        panic!("not config");
    };
    let channels = shown.iter().find(|it| it.flag.long == "channels").unwrap();
    assert_eq!(channels.given.as_ref().unwrap().values, ["p,q"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    assert_wrong(
        "--config /nowhere/alle.toml",
        &[],
        "configuration file /nowhere/alle.toml: No such file or directory (os error 2)",
    );
    let (_directory, path) = written("");
    fs::write(&path, b"max-clients = 1 # \xff").unwrap();
    let reason = parse_words(&format!("--config {path}"), &[]).unwrap_err();
    assert!(reason.contains("UTF-8"), "{reason}");
    for (bytes, is_read) in [(1024 * 1024, true), (1024 * 1024 + 1, false)] {
        fs::write(&path, "#".repeat(bytes)).unwrap();
        let parsed = parse_words(&format!("--config {path}"), &[]);
        assert_eq!(parsed.is_ok(), is_read, "{bytes}");
    }
}

#[test]
fn relative_paths_in_a_file_are_relative_to_it() {
    let (directory, path) = written("token-file = 'tokens'\npostgres-url = '@url'\n");
    fs::write(directory.path().join("url"), "postgresql://h/db\r\n").unwrap();
    let config = serve(&format!("--config {path}"), &[]);
    assert_eq!(config.token_file, Some(directory.path().join("tokens")));
    assert_eq!(config.postgres_url, "postgresql://h/db");
    let (_other, absolute) = written("token-file = '/t'");
    let config = serve(&format!("--config {absolute}"), &[]);
    assert_eq!(config.token_file, Some("/t".into()));
}

#[test]
fn a_secret_is_taken_from_its_file_wherever_the_option_stands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    let at = format!("@{}", path.display());
    for (text, expected) in [
        ("postgresql://h/a", "postgresql://h/a"),
        ("postgresql://h/b\n", "postgresql://h/b"),
        ("postgresql://h/c\n\n", "postgresql://h/c\n"),
    ] {
        fs::write(&path, text).unwrap();
        let typed = serve(&format!("-p {at}"), &[]);
        assert_eq!(typed.postgres_url, expected);
        let from_variable = serve("", &[("POSTGRES_URL", &at)]);
        assert_eq!(from_variable.postgres_url, expected);
    }
    fs::write(&path, "\n").unwrap();
    let reason = parse_words(&format!("-p {at}"), &[]).unwrap_err();
    assert!(reason.ends_with("of --postgres-url is empty"), "{reason}");
    let reason = parse_words("", &[("ALLE_PG_LISTEN_URL", "@/nowhere")]).unwrap_err();
    let expected = "the file /nowhere of --pg-listen-url: No such file or directory (os error 2) \
                    (from the variable ALLE_PG_LISTEN_URL)";
    assert_eq!(reason, expected);
}

#[test]
fn payloads_and_channels_that_begin_with_an_at_are_no_files() {
    let Ok(Command::Publish(options)) = parse_words("publish @a @b", &[]) else {
        panic!("not publish");
    };
    assert_eq!(
        (options.channel.as_str(), options.payload),
        ("@a", Payload::Typed("@b".to_owned()))
    );
    assert_eq!(serve("-c @a", &[]).channels, ["@a"]);
}

#[test]
fn a_secret_that_anybody_can_read_is_warned_of() {
    let warnings = |words: &str| parse_with(words, &[]).unwrap().warnings;
    let (directory, path) = written("postgres-url = 'postgresql://u:pw@h/db'\n");
    let words = format!("serve --config {path}");
    assert_eq!(warnings(&words), [""; 0]);
    chmod(Path::new(&path), 0o644);
    let [warning] = warnings(&words).try_into().unwrap();
    assert!(warning.starts_with(&format!("anybody on this machine can read {path}")));
    assert_eq!(warnings(&format!("{words} -p postgresql://h")), [""; 0]);
    let url = directory.path().join("url");
    fs::write(&url, "postgresql://h").unwrap();
    chmod(&url, 0o644);
    let [warning] = warnings(&format!("serve -p @{}", url.display()))
        .try_into()
        .unwrap();
    assert_eq!(
        warning,
        format!("anybody on this machine can read {}", url.display())
    );
}

/// `alle check` is there to say all of them.
#[test]
fn a_check_finds_every_fault_at_once() {
    let (_directory, path) = written("retained = 0\nnope = 1\nhistory = 'x'\n");
    let words = format!("check --config {path} --drain x");
    let Ok(Command::Check(options)) = parse_words(&words, &[]) else {
        panic!("not check");
    };
    assert_eq!(options.faults.len(), 4, "{:?}", options.faults);
}
