//! Whose address a client has behind proxies, and what strangers say about theirs: the table of
//! docs/proxies.md, row by row.

use crate::{
    client::Client,
    harness::{Bridge, Database, NO_POSTGRES},
    program::{alle_with, run},
    raw::{Raw, upgrade_request},
};

/// On this machine, the proxy and the stranger of the docs.
const PROXY: (&str, &str) = ("10.0.0.1", "127.0.0.1");
const STRANGER: (&str, &str) = ("203.0.113.9", "127.0.0.9");

/// A row of the table.
struct Row {
    options: String,
    from: &'static str,
    said: String,
    /// `None`: it is let go unheard.
    client: Option<String>,
}

fn rows() -> Vec<Row> {
    let docs = include_str!("../../docs/proxies.md");
    let (_, table) = docs
        .split_once("| Options | From | It says | The client is |\n")
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[options, from, said, client] = &cells[..] else {
            panic!("{line}");
        };
        let here = |address: &str| {
            let moved = [PROXY, STRANGER].into_iter().find(|it| it.0 == address);
            moved.map_or(address, |it| it.1).to_owned()
        };
        let from = match from {
            "the proxy" => PROXY.1,
            "a stranger" => STRANGER.1,
            other => panic!("{other}"),
        };
        Row {
            options: options.trim_matches('`').to_owned(),
            from,
            said: said.trim_matches('`').to_owned(),
            client: (client != "closed").then(|| here(client.trim_matches('`'))),
        }
    })
    .collect()
}

/// Whoever asks may hear the channel of its own address, and no other: so the function is told it.
const FUNCTION: &str = "
    CREATE SCHEMA auth;
    CREATE FUNCTION auth.bearer(token text, address text, path text)
        RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
        LANGUAGE sql STABLE
        AS 'SELECT bearer.token, ARRAY[bearer.address], ARRAY[]::text[], NULL::timestamptz';
";

/// Trusts the proxy of the docs, and what stands for it here.
fn bridge(database: &Database, options: &str) -> Bridge {
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", &database.url()]);
    command.args([
        "--auth-function",
        "auth.bearer",
        "--admin-addr",
        "127.0.0.1:0",
    ]);
    command.args(["--trusted-proxy", "10.0.0.0/8, 127.0.0.1"]);
    command.args(options.split_whitespace());
    let bridge = Bridge::run(command);
    let admin = bridge.admin_address();
    crate::harness::wait_until("the bridge is ready", || {
        let mut raw = Raw::open(admin);
        raw.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        raw.response("GET").status == 200
    });
    bridge
}

/// Asks whether the bearer of a new token may hear this channel, on a connection that may go on.
fn ask(raw: &mut Raw, number: usize, channel: &str, fields: &str) -> u16 {
    let channel = channel.replace(':', "%3A");
    raw.write(
        format!(
            "HEAD /sse?channel={channel} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer token-{number}\r\n{fields}\r\n"
        )
        .as_bytes(),
    );
    raw.response("HEAD").status
}

#[test]
fn what_strangers_say_of_themselves_changes_nothing() {
    let database = Database::create();
    database.sql().run(FUNCTION);
    let mut bridges: Vec<(String, Bridge)> = Vec::new();
    let rows = rows();
    assert!(rows.len() > 20);
    for (number, row) in rows.iter().enumerate() {
        let at = bridges
            .iter()
            .position(|(options, _)| *options == row.options);
        let at = at.unwrap_or_else(|| {
            bridges.push((row.options.clone(), bridge(&database, &row.options)));
            bridges.len() - 1
        });
        let mut raw = Raw::open_from(row.from, bridges[at].1.address);
        let is_preamble = row.said.starts_with("PROXY ");
        let mut fields = String::new();
        if is_preamble {
            raw.write(format!("{}\r\n", row.said).as_bytes());
        } else if row.said != "nothing" {
            // Two lines of a head are written one behind the other.
            fields = row.said.replace("` and `", "\r\n") + "\r\n";
        }
        let said = format!("{} from {}: {}", row.options, row.from, row.said);
        let Some(client) = &row.client else {
            raw.try_write(b"GET / HTTP/1.1\r\n\r\n");
            raw.expect_end();
            continue;
        };
        assert_eq!(ask(&mut raw, number, client, &fields), 200, "{said}");
        // Each request of the connection is judged by itself.
        let other = "198.51.100.77";
        assert_eq!(ask(&mut raw, number + 1_000, other, &fields), 403, "{said}");
        if row.from == PROXY.1 && row.options.is_empty() {
            let fields = format!("X-Forwarded-For: {other}\r\n");
            assert_eq!(ask(&mut raw, number + 2_000, other, &fields), 200, "{said}");
        }
    }
}

#[test]
fn the_address_of_the_client_is_in_the_log_and_counts() {
    let arguments = [
        "--trusted-proxy",
        "127.0.0.1",
        "--max-clients-per-address",
        "1",
    ];
    let bridge = Bridge::serve(NO_POSTGRES, &arguments);
    let upgrade = |headers: &str| {
        let mut raw = Raw::open(bridge.address);
        raw.write(upgrade_request(bridge.address, "/ws", headers).as_bytes());
        (raw.response("GET").status, raw)
    };
    let ann = "X-Forwarded-For: 192.0.2.1\r\n";
    let (status, _first) = upgrade(ann);
    assert_eq!(status, 101);
    assert_eq!(upgrade(ann).0, 429);
    bridge.wait_for_log("refused 192.0.2.1 with 429: too many clients from this address (--max-clients-per-address)");
    assert_eq!(upgrade("X-Forwarded-For: 192.0.2.2\r\n").0, 101);
    // The proxy itself is not one client.
    let own: Vec<_> = (0..3).map(|_| Client::connect(bridge.address)).collect();
    assert_eq!(own.len(), 3);
    let foreign = format!("{ann}Origin: https://evil.example\r\n");
    assert_eq!(upgrade(&foreign).0, 403);
    bridge.wait_for_log("refused 192.0.2.1 with 403: ");
    // Nobody knows of a head without form for whom it is.
    let mut raw = Raw::open(bridge.address);
    raw.write(format!("GET / HTTP/1.1\r\n{ann}\r\n").as_bytes());
    assert_eq!(raw.response("GET").status, 400);
    bridge.wait_for_log("refused 127.0.0.1 with 400: the request is malformed");
}

#[test]
fn who_is_let_go_unheard_is_in_the_log_and_on_the_page() {
    let arguments = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
    let bridge = Bridge::serve(NO_POSTGRES, &arguments);
    let mut stranger = Raw::open_from(STRANGER.1, bridge.address);
    stranger.expect_end();
    bridge.wait_for_log("refused 127.0.0.9 unheard: it is no --trusted-proxy");
    let preamble = "PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n";
    let mut raw = Raw::open(bridge.address);
    let host = bridge.address;
    raw.write(format!("{preamble}GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let page = raw.response("GET").body;
    let sample = "alle_connections_dropped_total{reason=\"preamble\"} 1\n";
    assert!(page.contains(sample), "{page}");
}

#[test]
fn what_a_proxy_lost_is_told_in_the_log_once() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let request = upgrade_request(bridge.address, "/ws", "");
    for _ in 0..2 {
        let mut raw = Raw::open(bridge.address);
        raw.write(request.replace("Upgrade: websocket\r\n", "").as_bytes());
        let answer = raw.response("GET");
        assert_eq!(answer.status, 426);
        assert!(
            answer
                .body
                .contains("a proxy in between did not pass it on")
        );
    }
    let mut raw = Raw::open(bridge.address);
    raw.write(request.replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert_eq!(raw.response("GET").status, 426);
    bridge.wait_for_log("nginx needs proxy_http_version 1.1)");
    let log = bridge.log();
    let told = log.matches("a proxy in between did not pass it on").count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn options_that_would_do_nothing_or_not_what_was_meant_are_refused() {
    for (arguments, expected) in [
        (&["--proxy-protocol"][..], "give --trusted-proxy"),
        (&["--proxy-header", "forwarded"], "give --trusted-proxy"),
        (
            &["--proxy-header", "x-real-ip"],
            "x-forwarded-for or forwarded, not 'x-real-ip'",
        ),
        (
            &["--trusted-proxy", ""],
            "--trusted-proxy takes addresses and networks, not ''",
        ),
        (
            &["--trusted-proxy", "10.0.0.1/8"],
            "10.0.0.0/8 is the network",
        ),
        (
            &["--trusted-proxy", "::1, proxy.example"],
            "'proxy.example' is neither an address",
        ),
    ] {
        let (code, _, stderr) = run(alle_with(&[&["serve"], arguments].concat()));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
