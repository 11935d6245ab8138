//! Sixty mistakes at the command line: the exit status of each, and the way out that it is told.

use std::io::Write;

use alle::internals::sandbox;

use super::{
    deserted::Deserted,
    program::{alle_with, run},
};

/// A line as it is typed, variables before it; its exit status; what the answer has to name: what
/// is wrong, and what to do. `TAKEN`, `NOBODY` and `POSTGRES` stand for addresses.
const MISTAKES: [(&str, i32, &[&str]); 60] = [
    // Commands.
    (
        "lisen",
        2,
        &["unknown command 'lisen'", "did you mean 'listen'?"],
    ),
    ("start", 2, &["unknown command 'start'", "Try 'alle help'"]),
    (
        "listen,orders",
        2,
        &["unknown command 'listen,orders'", "Usage: "],
    ),
    ("help lisen", 2, &["did you mean 'listen'?"]),
    ("help completions", 2, &["bash, zsh, fish"]),
    ("help completions tcsh", 2, &["'tcsh'", "bash, zsh, fish"]),
    (
        "serve orders",
        2,
        &[
            "unexpected argument 'orders'",
            "Usage: alle [serve] [OPTIONS]",
        ],
    ),
    (
        "demo orders",
        2,
        &["unexpected argument 'orders'", "Usage: alle demo"],
    ),
    // Options.
    (
        "--bogus",
        2,
        &["unknown option '--bogus'", "Try 'alle help'"],
    ),
    ("serve --chanels a", 2, &["did you mean '--channels'?"]),
    (
        "serve --ws-bind-adr x",
        2,
        &["did you mean '--ws-bind-addr'?"],
    ),
    (
        "listen -c orders",
        2,
        &["'-c' does not belong to 'alle listen'", "[CHANNELS]..."],
    ),
    (
        "serve --json",
        2,
        &["'--json' does not belong to 'alle serve'"],
    ),
    (
        "publish a b --no-reconnect",
        2,
        &["does not belong to 'alle publish'"],
    ),
    (
        "listen --lines",
        2,
        &["'--lines' does not belong to 'alle listen'"],
    ),
    (
        "listen --json=1",
        2,
        &["unexpected argument for option '--json'"],
    ),
    (
        "listen --json --timestamps",
        2,
        &["--timestamps does nothing with --json"],
    ),
    ("-p", 2, &["missing argument for option '-p'"]),
    ("serve --token-file=", 2, &["takes the path of a file"]),
    (
        "serve --token-file /nowhere/t",
        2,
        &["/nowhere/t", "No such file"],
    ),
    (
        "listen --token-file /dev/null",
        2,
        &["there is no token in it"],
    ),
    (
        "serve -l verbose",
        2,
        &["off, error, warn, info, debug, trace"],
    ),
    (
        "RUST_LOG=alle=loud listen",
        2,
        &["alle=loud", "\"error\", \"warn\""],
    ),
    (
        "ALLE_JSON=yes listen",
        2,
        &["true or 1", "the variable ALLE_JSON"],
    ),
    (
        "ALLE_TOKEN= listen",
        2,
        &["the variable ALLE_TOKEN is empty"],
    ),
    // Numbers.
    (
        "serve --client-queue 60",
        2,
        &["from 64K", "one message alone"],
    ),
    ("serve --retained 1K", 2, &["from 64K"]),
    ("serve --owned 0", 2, &["from 64K"]),
    ("serve --waiting 1", 2, &["from 64K"]),
    ("serve --retained 256MB", 2, &["as 65536, 64K, 16M or 1G"]),
    ("serve --drain 2d", 2, &["from 0 to 86400 seconds"]),
    ("serve --drain 5min", 2, &["ms, s, m, h or d"]),
    ("serve --max-clients 0", 2, &["a whole number from 1 up"]),
    ("serve --max-clients many", 2, &["a whole number from 1 up"]),
    (
        "ALLE_RETAINED=5GB serve",
        2,
        &["64K, 16M or 1G", "the variable ALLE_RETAINED"],
    ),
    // Pages.
    (
        "serve --allow-origin 127.0.0.1",
        2,
        &["https://HOST[:PORT]", "'127.0.0.1'"],
    ),
    ("serve --allow-origin=", 2, &["https://HOST[:PORT]"]),
    ("serve --allow-host=", 2, &["HOST or HOST:PORT"]),
    // Addresses.
    (
        "serve -w 8080",
        2,
        &[
            "\"8080\" is not HOST:PORT",
            "127.0.0.1:8080",
            "0.0.0.0:8080",
        ],
    ),
    (
        "serve -w :9000",
        2,
        &["127.0.0.1:9000 for this machine", "0.0.0.0:9000"],
    ),
    (
        "serve -w localhost",
        2,
        &["is not HOST:PORT", "127.0.0.1:8080"],
    ),
    (
        "serve -w 127.0.0.1:99999",
        2,
        &["is not HOST:PORT", "127.0.0.1:8080"],
    ),
    (
        "serve -w TAKEN",
        1,
        &["in use", "another program has port", "name another port"],
    ),
    (
        "serve -w 192.0.2.1:8080",
        1,
        &["no address of this machine", "127.0.0.1:8080"],
    ),
    ("serve -p nonsense", 2, &["PostgreSQL URL"]),
    (
        "listen -w 8080",
        2,
        &["did you mean 'ws://127.0.0.1:8080'?"],
    ),
    (
        "listen -w :8080",
        2,
        &["did you mean 'ws://127.0.0.1:8080'?"],
    ),
    (
        "listen -w localhost:8080",
        2,
        &["did you mean 'ws://localhost:8080'?"],
    ),
    (
        "listen -w http://localhost:8080",
        2,
        &["did you mean 'ws://localhost:8080'?"],
    ),
    (
        "WS_URL=https://b.example listen",
        2,
        // What a program without TLS would refuse in its turn is not advised.
        &[if cfg!(feature = "tls") {
            "did you mean 'wss://b.example'?"
        } else {
            ", as ws://127.0.0.1:8080"
        }],
    ),
    (
        "listen -w postgresql://ann:s3cret@db/x",
        2,
        &["URL of a PostgreSQL", "alle serve -p"],
    ),
    (
        "listen -w ws://ann:s3cret@b.example",
        2,
        &["user or password is not supported"],
    ),
    (
        "publish -w ws://NOBODY a b",
        1,
        &["connection refused", "is `alle serve` running there?"],
    ),
    (
        "publish -w ws://POSTGRES a b",
        1,
        &["that is PostgreSQL itself", "ws://127.0.0.1:8080"],
    ),
    (
        "listen -w ws://POSTGRES a",
        1,
        &["that is PostgreSQL itself", "`alle serve`"],
    ),
    // Operands.
    ("publish", 2, &["needs a CHANNEL and a PAYLOAD"]),
    (
        "publish orders",
        2,
        &["needs a PAYLOAD", "'-' reads it from stdin"],
    ),
    (
        "publish orders two words",
        2,
        &["put quotes around the payload"],
    ),
    (
        "publish orders -5x",
        2,
        &["unknown option '-5'", "goes behind '--'"],
    ),
    (
        "publish --lines orders x",
        2,
        &["takes one CHANNEL", "from stdin"],
    ),
];

/// Those of the options that came later, and of the files that they name.
const FURTHER: [(&str, i32, &[&str]); 29] = [
    ("completions bash", 2, &["did you mean 'help completions'?"]),
    (
        "--config /nowhere/a.toml",
        2,
        &["configuration file /nowhere/a.toml", "No such file"],
    ),
    (
        "-p mysql://localhost/db",
        2,
        &["written as postgresql://USER@HOST/DATABASE"],
    ),
    (
        "-p localhost",
        2,
        &["written as postgresql://USER@HOST/DATABASE"],
    ),
    (
        "-p postgresql://u@h/d?sslmode=verify",
        2,
        &["\"verify\"", "verify-ca or verify-full"],
    ),
    (
        "-p postgresql://u@h/d?sslcrl=x",
        2,
        &["\"sslcrl\" is not supported"],
    ),
    (
        "--admin-addr 9090",
        2,
        &["\"9090\" is not HOST:PORT", "127.0.0.1:9090"],
    ),
    ("--workers 0", 2, &["from 1 to 64, or auto"]),
    ("--group-key-file /dev/null", 2, &["no group (--group)"]),
    (
        "--group shop --group-key-file /nowhere/k",
        2,
        &["/nowhere/k", "No such file"],
    ),
    (
        "--tls-cert /nowhere/c",
        2,
        &["each --tls-cert has its --tls-key"],
    ),
    ("--tls-key /nowhere/k", 2, &["nothing without --tls-cert"]),
    (
        "--jwt-issuer x",
        2,
        &["no keys", "--jwt-key-file or --jwt-jwks-file"],
    ),
    (
        "--jwt-key-file FILE",
        2,
        &["at least 32 bytes", "openssl rand"],
    ),
    ("--jwt-jwks-file FILE", 2, &["not a JWK Set, as {\"keys\""]),
    ("--jwt-leeway soon", 2, &["ms, s, m, h or d"]),
    (
        "--auth-function bearer",
        2,
        &["\"bearer\" is not SCHEMA.NAME"],
    ),
    (
        "--token-cookie a;b",
        2,
        &["token cookie", "cannot name a cookie"],
    ),
    (
        "--token-cookie n --allow-origin * --token-file FILE",
        2,
        &["name the origins"],
    ),
    (
        "--trusted-proxy proxy.example",
        2,
        &["an address nor a network as 10.0.0.0/8"],
    ),
    (
        "--proxy-protocol",
        2,
        &["none is trusted: give --trusted-proxy"],
    ),
    ("--client-rate 0", 2, &["a whole number from 1 up"]),
    ("--log-format xml", 2, &["text or json, not 'xml'"]),
    (
        "check --retained 1K --drain 2d",
        2,
        &["2 of the settings cannot work"],
    ),
    (
        "demo -p postgresql://db",
        2,
        &["a PostgreSQL of its own", "alle serve --playground"],
    ),
    ("health -w nonsense", 2, &["HOST:PORT, as 127.0.0.1:8080"]),
    (
        "health -w NOBODY",
        1,
        &["connection refused", "is `alle serve` running there?"],
    ),
    (
        "token --sub ann",
        2,
        &["signed with a key: give --sign-with"],
    ),
    (
        "token --sign-with FILE --sub ann",
        2,
        &["at least 32 bytes", "openssl rand"],
    ),
];

#[test]
fn sixty_mistakes_have_their_status_and_a_way_out() {
    check(&MISTAKES);
}

#[test]
fn the_mistakes_of_later_options_have_their_status_and_a_way_out() {
    check(if cfg!(feature = "tls") {
        &FURTHER
    } else {
        // Of certificates, keys and their tokens such a program knows nothing.
        &FURTHER[..10]
    });
}

#[track_caller]
fn check(mistakes: &[(&str, i32, &[&str])]) {
    let taken = Deserted::hold();
    let nobody = Deserted::hold();
    let port = sandbox::shared().port();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "n0tTheRealOne-7f3a91c2").unwrap();
    let mut faults = Vec::new();
    for (line, status, named) in mistakes {
        let line = line
            .replace("TAKEN", &taken.address().to_string())
            .replace("NOBODY", &nobody.address().to_string())
            .replace("FILE", &file.path().display().to_string())
            .replace("POSTGRES", &format!("127.0.0.1:{port}"));
        let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = words.iter().take_while(|word| is_variable(word)).count();
        let (variables, arguments) = words.split_at(count);
        let mut command = alle_with(arguments);
        command.envs(variables.iter().filter_map(|it| it.split_once('=')));
        let (code, stdout, stderr) = run(command);
        let is_said = named.iter().all(|it| stderr.contains(it));
        let is_secret = (stdout + &stderr).contains("s3cret");
        let is_with_usage = *status != 2 || stderr.contains("\nUsage: alle ");
        if code != Some(*status) || !is_said || is_secret || !is_with_usage {
            faults.push(format!(
                "{line}: {code:?}, wanted {status} and {named:?}:\n{stderr}"
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whatever is advised is taken when it is typed.
#[test]
fn advice_is_not_refused_in_its_turn() {
    for mistake in ["8080", "localhost:8080", "http://localhost:8080"] {
        let (_, _, stderr) = run(alle_with(&["listen", "-w", mistake]));
        let advised = stderr.split("did you mean '").nth(1).unwrap();
        let advised = advised.split('\'').next().unwrap();
        let (_, _, stderr) = run(alle_with(&["publish", "-w", advised, "a"]));
        assert!(stderr.contains("needs a PAYLOAD"), "{advised}: {stderr}");
    }
}

#[test]
fn an_option_of_the_server_gets_one_line_and_the_command_goes_on() {
    let nobody = Deserted::hold();
    let url = format!("ws://{}", nobody.address());
    for command in [&["listen"][..], &["publish", "a", "b"]] {
        let arguments = [command, &["-w", &url, "-p", "postgresql://s3cret@db/x"]].concat();
        let (code, _, stderr) = run(alle_with(&arguments));
        assert_eq!(code, Some(1), "{stderr}");
        let first = stderr.lines().next().unwrap();
        let expected = format!("alle: {} speaks to a bridge: -w, not -p", command[0]);
        assert_eq!(first, expected);
    }
}
