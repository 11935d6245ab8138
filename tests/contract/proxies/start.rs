//! The last step of docs/start.md, by its own commands and configuration.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};

use super::{
    of_operators,
    proxy::{Kind, Proxy},
};
use crate::{
    harness::{Bridge, Database, wait_until},
    program::{Program, alle_with, run},
};

const PAGE: &str = include_str!("../../../docs/start.md");

/// The options of one of the two commands, behind its addresses.
fn options(number: usize) -> Vec<&'static str> {
    let mut commands = PAGE.lines().filter(|it| it.starts_with("alle serve -w "));
    let words = commands.nth(number).unwrap().split_whitespace();
    words.skip(6).filter(|word| *word != "&").collect()
}

struct Files {
    tokens: String,
    key: String,
    _directory: tempfile::TempDir,
}

fn start(
    database: &Database,
    files: &Files,
    number: usize,
    addresses: [&str; 2],
) -> (Bridge, SocketAddr) {
    let mut command = alle_with(&["serve", "-w", addresses[0], "--admin-addr", addresses[1]]);
    command.args(["-p", &database.url()]).args(options(number));
    command.env("ALLE_GROUP", "shop");
    command.env("ALLE_GROUP_KEY_FILE", &files.key);
    command.env("ALLE_TOKEN_FILE", &files.tokens);
    let bridge = Bridge::run(command);
    let health = bridge.admin_address();
    wait_until("the bridge is ready", || {
        of_operators(health, "/readyz").status == 200
    });
    (bridge, health)
}

#[test]
#[ignore = "needs haproxy: make proxies"]
fn one_bridge_after_the_other_is_replaced_and_the_listener_misses_nothing() {
    let variables = "export ALLE_GROUP=shop ALLE_GROUP_KEY_FILE=group.key ALLE_TOKEN_FILE=tokens\n";
    assert!(PAGE.contains(variables));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let files = Files {
        tokens: file("tokens", "00112233445566778899aabbccddeeff\n"),
        key: file(
            "group.key",
            "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=\n",
        ),
        _directory: directory,
    };
    let database = Database::create();
    let mut one = start(&database, &files, 0, ["127.0.0.1:0"; 2]);
    let mut two = start(&database, &files, 1, ["127.0.0.1:0"; 2]);
    let (_, configuration) = PAGE.split_once("```haproxy\n").unwrap();
    let (configuration, _) = configuration.split_once("```").unwrap();
    let configuration = configuration.replace("bind 127.0.0.1:8000\n", "bind :80\n");
    let bridges = [&one, &two].map(|(bridge, health)| (bridge.address, *health));
    let proxy = Proxy::start(Kind::Haproxy, &configuration, bridges);
    let url = format!("ws://{}", proxy.address);
    let client =
        |words: &[&str]| alle_with(&[words, &["--token-file", &files.tokens, "-w", &url]].concat());
    wait_until("the proxy leads to a bridge", || {
        run(client(&["publish", "elsewhere", ""])).0 == Some(0)
    });
    let listen = Program::start(client(&["listen", "orders"]));
    listen.stderr.until("Waiting for notifications...");
    let publish = |payload: &str| {
        let (code, _, stderr) = run(client(&["publish", "orders", payload]));
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(listen.stdout.next(), format!("[orders] {payload}"));
    };
    publish("one");
    for (number, (bridge, health), payload) in [(0, &mut one, "two"), (1, &mut two, "three")] {
        let addresses = [bridge.address.to_string(), health.to_string()];
        bridge.signal("TERM");
        assert_eq!(bridge.wait_for_exit().0, Some(0));
        publish(payload);
        let addresses = addresses.each_ref().map(String::as_str);
        (*bridge, *health) = start(&database, &files, number, addresses);
    }
    listen.signal("TERM");
    let told = listen.stderr.rest();
    let back = "✓ Connected again, and subscribed to the same channels";
    assert!(told.iter().any(|line| line == back), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("gap")), "{told:?}");
}
