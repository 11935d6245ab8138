//! `--config`, `alle check`, `alle config` and `alle health`, as an operator uses them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    harness::{Bridge, Database, NO_POSTGRES, wait_until},
    program::{alle_with, run},
};

/// A directory with these files, which nobody else can read.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    directory
}

fn path(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

/// The one example of a file in the docs.
fn example() -> &'static str {
    let docs = include_str!("../../docs/operating.md");
    let (_, from) = docs.split_once("```toml\n").expect("there is an example");
    from.split_once("```").expect("it ends").0
}

#[test]
fn a_bridge_is_configured_by_a_file_and_answers_to_its_health_check() {
    let database = Database::create();
    let url = format!("{}\n", database.url());
    let files = [
        (
            "alle.toml",
            "postgres-url = '@url'\nws-bind-addr = '127.0.0.1:0'\nplayground = true\n",
        ),
        ("url", url.as_str()),
    ];
    let directory = directory(&files);
    let config = path(&directory, "alle.toml");
    let bridge = Bridge::run_as_it_is(alle_with(&["--config", &config]));
    bridge.wait_until_ready();
    assert_eq!(bridge.get("/").status, 200, "it has the page");
    let address = bridge.address.to_string();
    for question in [&["health"][..], &["health", "--ready"]] {
        let arguments = [question, &["-w", &address]].concat();
        let (code, stdout, stderr) = run(alle_with(&arguments));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
    }
}

#[test]
fn a_bridge_that_is_alive_and_not_ready_passes_one_health_check_and_fails_the_other() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let address = bridge.address.to_string();
    let (code, _, stderr) = run(alle_with(&["health", "-w", &address]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let (code, stdout, stderr) = run(alle_with(&["health", "--ready", "-w", &address]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let expected = format!("alle: http://{address}/readyz: 503 ");
    assert!(stderr.starts_with(&expected), "{stderr}");
}

/// The port of the clients hears proxies alone: a health check is one if its address is trusted.
#[test]
fn a_health_check_passes_by_a_preamble_where_it_is_trusted() {
    let proxies = ["--proxy-protocol", "--trusted-proxy"];
    let trusting = |networks| [&proxies[..], &[networks]].concat();
    let bridge = Bridge::serve(NO_POSTGRES, &trusting("10.0.0.0/8,127.0.0.1"));
    let address = bridge.address.to_string();
    let ask = |networks| {
        run(alle_with(
            &[&["health", "-w", &address], &trusting(networks)[..]].concat(),
        ))
    };
    let (code, stdout, stderr) = ask("127.0.0.0/8");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, "ok\n");
    // As the bridge is configured, it would hear nobody of this machine.
    let (code, stdout, stderr) = ask("10.0.0.0/8");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("hears trusted proxies alone, and 127.0.0.1 is none"),
        "{stderr}"
    );
    let (_, stdout, _) = run(alle_with(
        &[&["check"], &trusting("10.0.0.0/8")[..]].concat(),
    ));
    assert!(
        stdout.contains("\nclosed: 127.0.0.1:8080 hears") || stdout.starts_with("closed: "),
        "{stdout}"
    );
}

#[test]
fn a_health_check_of_nobody_fails_and_one_of_port_0_is_wrong_usage() {
    let (code, _, stderr) = run(alle_with(&["health", "--admin-addr", "127.0.0.1:1"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.starts_with("alle: http://127.0.0.1:1/healthz: "),
        "{stderr}"
    );
    let (code, _, stderr) = run(alle_with(&["health", "-w", "127.0.0.1:0"]));
    assert_eq!(code, Some(2), "{stderr}");
}

#[test]
fn a_wrong_file_is_2_with_its_place_and_a_check_says_all_of_it() {
    let files = [(
        "alle.toml",
        "max-clients = 0\nplayground = 'yes'\nchanels = ['a']\n",
    )];
    let directory = directory(&files);
    let config = path(&directory, "alle.toml");
    let (code, stdout, stderr) = run(alle_with(&["serve", "--config", &config]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.starts_with(&format!("alle: {config}:")), "{stderr}");
    let (code, stdout, _) = run(alle_with(&["check", "--config", &config]));
    assert_eq!(code, Some(2));
    let lines: Vec<_> = stdout.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    for place in ["1:15: ", "2:1: ", "3:1: "] {
        let start = format!("wrong: {config}:{place}");
        assert!(
            lines.iter().any(|it| it.starts_with(&start)),
            "{start} is not in {stdout}"
        );
    }
}

#[test]
fn a_check_reads_what_a_start_would_read_and_says_what_is_open() {
    let arguments = [
        "check",
        "-w",
        "0.0.0.0:8080",
        "-p",
        "postgresql://h:nonsense/db",
        "--token-file",
        "/nowhere/tokens",
        "--admin-addr",
        "no address",
    ];
    let (code, stdout, _) = run(alle_with(&arguments));
    assert_eq!(code, Some(2), "{stdout}");
    for expected in [
        "wrong: PostgreSQL URL: ",
        "wrong: token file /nowhere/tokens: ",
        "wrong: address \"no address\" is not HOST:PORT",
        "open: 0.0.0.0:8080 speaks ws:// in clear text",
    ] {
        assert!(stdout.contains(expected), "{expected:?} is not in {stdout}");
    }
    let (code, stdout, stderr) = run(alle_with(&["check", "-w", "0.0.0.0:8080"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("open: whoever reaches 0.0.0.0:8080 may subscribe"),
        "{stdout}"
    );
    let (code, stdout, _) = run(alle_with(&["check", "--group", "g"]));
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("the group \"g\" lose notifications"),
        "{stdout}"
    );
}

#[test]
fn the_example_of_the_docs_is_a_configuration() {
    let files = [
        ("alle.toml", example()),
        ("postgres-url", "postgresql://app:pw@db.example/app\n"),
        ("tokens", "a-token-that-nobody-can-guess\n"),
    ];
    let directory = directory(&files);
    let config = path(&directory, "alle.toml");
    let (code, stdout, stderr) = run(alle_with(&["check", "--config", &config]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let (code, stdout, stderr) = run(alle_with(&["config", "--config", &config]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains(&format!(
            "postgres-url = \"@{}\" # {config}:",
            path(&directory, "postgres-url")
        )),
        "{stdout}"
    );
    assert!(!stdout.contains("pw@"), "{stdout}");
}

/// What is printed says the same again, but for the secrets that are not in it.
#[test]
fn a_printed_configuration_is_a_file_that_means_the_same() {
    let typed = [
        "config",
        "-w",
        "127.0.0.1:7",
        "-c",
        "a,b",
        "--allow-publish=",
        "--drain",
        "1m",
        "--retained",
        "1G",
        "--playground",
        "--max-clients",
        "9",
        "-p",
        "postgresql://app:s3cret@h/db",
    ];
    let mut command = alle_with(&typed);
    command.env("ALLE_HISTORY", "3");
    let (code, printed, stderr) = run(command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(!printed.contains("s3cret"), "{printed}");
    for expected in [
        "# postgres-url = \"postgresql://app:***@h/db\" # masked, from the command line",
        "ws-bind-addr = \"127.0.0.1:7\" # command line",
        "channels = [\"a\", \"b\"] # command line",
        "allow-publish = [] # command line",
        "retained = \"1G\" # command line",
        "history = 3 # variable ALLE_HISTORY",
        "owned = \"128M\" # default",
        "# max-clients-per-address: any number",
    ] {
        assert!(
            printed.lines().any(|line| line == expected),
            "{expected} is not in {printed}"
        );
    }
    let directory = directory(&[("again.toml", &printed)]);
    let again = path(&directory, "again.toml");
    let (code, reprinted, stderr) = run(alle_with(&["config", "--config", &again]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(values(&reprinted), values(&printed));
}

/// Wherever the file is put, and from wherever it was named: every path in it is absolute.
#[test]
fn a_printed_configuration_finds_its_files_from_anywhere() {
    let directory = directory(&[
        ("url", "postgresql://app:s3cret@h/db\n"),
        ("tokens", "a-token-of-enough-characters\n"),
        ("listen", "postgresql://app:s3cret@l/db\n"),
        ("jwt", &"k".repeat(32)),
    ]);
    let there = directory.path();
    for (name, text) in [
        (
            "d1/a.toml",
            "postgres-url = '@../url'\ntoken-file = '../tokens'\n",
        ),
        ("d2/d3/b.toml", ""),
    ] {
        let path = there.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let mut command = alle_with(&["config", "--config", "d1/a.toml", "--jwt-key-file", "jwt"]);
    command.current_dir(there);
    command.env("ALLE_PG_LISTEN_URL", "@listen");
    let (code, printed, stderr) = run(command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for name in ["url", "tokens", "listen", "jwt"] {
        let line = printed
            .lines()
            .find(|it| it.contains(&format!("/{name}\"")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {printed}"));
        let is_absolute = line.contains(" \"/") || line.contains(" \"@/") || line.contains("[\"/");
        assert!(is_absolute, "{line}");
    }
    fs::write(there.join("d2/d3/b.toml"), &printed).unwrap();
    let mut command = alle_with(&["check", "--config", "d3/b.toml"]);
    command.current_dir(there.join("d2"));
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
}

/// No channel, as no pattern of those that may be published to.
#[test]
fn an_empty_list_of_channels_is_none() {
    let files = [("alle.toml", "channels = []\nallow-publish = []\n")];
    let directory = directory(&files);
    let config = path(&directory, "alle.toml");
    let (code, printed, stderr) = run(alle_with(&["config", "--config", &config]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(printed.contains("\nchannels = [] # "), "{printed}");
    let (code, stdout, _) = run(alle_with(&["check", "--config", &config]));
    assert_eq!(code, Some(0), "{stdout}");
}

/// Told before anything is bound, by the names of both.
#[test]
fn clients_and_operators_cannot_share_an_address() {
    let workers = &["--workers", "2"][..];
    for (clients, operators, more) in [
        ("127.0.0.1:1", "127.0.0.1:1", &[][..]),
        ("127.0.0.1:1", "localhost:1", &[]),
        ("0.0.0.0:1", "127.0.0.1:1", &[]),
        ("127.0.0.1:1", "[::]:1", &[]),
        ("127.0.0.1:1", "127.0.0.1:1", workers),
    ] {
        let typed = ["-w", clients, "--admin-addr", operators];
        for command in ["check", "serve"] {
            let arguments = [&[command], &typed[..], more].concat();
            let (code, stdout, stderr) = run(alle_with(&arguments));
            assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
            let said = stdout + &stderr;
            let names_both = said.contains("--ws-bind-addr ") && said.contains("--admin-addr ");
            assert!(names_both, "{said}");
        }
    }
    let typed = ["check", "-w", "127.0.0.1:1", "--admin-addr"];
    for operators in ["127.0.0.1:2", "127.0.0.2:1", "[::1]:1"] {
        let (code, stdout, _) = run(alle_with(&[&typed[..], &[operators]].concat()));
        assert_eq!(code, Some(0), "{stdout}");
    }
}

/// The settings without their origins.
fn values(printed: &str) -> Vec<&str> {
    let settings = printed.lines().filter(|line| !line.starts_with('#'));
    settings
        .map(|line| line.split(" # ").next().unwrap())
        .collect()
}

#[test]
fn a_file_that_a_start_cannot_read_is_named() {
    assert!(!Path::new("/nowhere").exists());
    let (code, _, stderr) = run(alle_with(&["--config", "/nowhere/alle.toml"]));
    assert_eq!(code, Some(2));
    let expected = "alle: configuration file /nowhere/alle.toml: No such file or directory";
    assert!(stderr.starts_with(expected), "{stderr}");
}

#[test]
fn what_sighup_does_not_read_again_is_told_once() {
    let directory = directory(&[
        (
            "alle.toml",
            "ws-bind-addr = '127.0.0.1:0'\ntoken-file = 'tokens'\n",
        ),
        ("tokens", "a-token-of-enough-characters\n"),
    ]);
    let config = path(&directory, "alle.toml");
    let bridge = Bridge::run_as_it_is(alle_with(&[
        "serve",
        "-p",
        NO_POSTGRES,
        "--config",
        &config,
    ]));
    for count in 1..=2 {
        bridge.signal("HUP");
        wait_until("the tokens were read again", || {
            bridge.log().matches(" were read again").count() == count
        });
    }
    let told = bridge.log().matches("holds until the next start").count();
    assert_eq!(told, 1, "{}", bridge.log());
}
