//! The session of the README, word for word: a bridge, a listener, a publisher and an INSERT.

use alle::internals::sandbox::{self, SAMPLE_SQL};

use crate::{
    client::Client,
    harness::{Bridge, Database},
    program::{Program, alle_with, run},
};

const COMMANDS: [&str; 6] = [
    "Commands:",
    "  sub <channel>    - Subscribe to a channel",
    "  unsub <channel>  - Unsubscribe from a channel",
    "  list             - List subscribed channels",
    "  help             - Show this help",
    "  quit / exit      - Exit the program",
];

/// What the greeting leaves out.
const FURTHER_COMMANDS: [&str; 3] = [
    "  pub <channel> <payload>",
    "                   - Publish a notification",
    "  clear            - Clear the screen",
];

/// If stdout is no terminal it has the notifications, and stderr the rest.
#[test]
fn the_session_of_the_readme_reads_as_it_is_printed_there() {
    let database = Database::create();
    sandbox::shared()
        .load_sql(&database.name, SAMPLE_SQL)
        .unwrap();
    let bridge = Bridge::start(&database.url());
    let url = format!("ws://{}", bridge.address);

    let mut listen = Program::start(alle_with(&["listen", "-w", &url, "orders,alerts"]));
    let mut greeting = vec![
        format!("Connecting to WebSocket: {url}"),
        "Listening on channels: orders, alerts".into(),
        String::new(),
    ];
    greeting.extend(COMMANDS.map(String::from));
    for line in [
        "",
        "Press Ctrl+C to stop",
        "",
        "✓ Subscribing to channel 'orders'",
        "✓ Subscribing to channel 'alerts'",
        "",
        "Waiting for notifications...",
    ] {
        greeting.push(line.into());
    }
    assert_eq!(
        listen.stderr.until("Waiting for notifications..."),
        greeting
    );
    assert_eq!(listen.stderr.next(), "");

    publish(&url, "orders", "Hello World");
    assert_eq!(listen.stdout.next(), "[orders] Hello World");
    publish(&url, "orders", r#"{"id": 123, "status": "new"}"#);
    assert_eq!(
        listen.stdout.next(),
        r#"[orders] {"id": 123, "status": "new"}"#
    );

    listen.type_line("sub notifications");
    assert_eq!(
        listen.stderr.next(),
        "✓ Subscribed to channel 'notifications'"
    );
    listen.type_line("list");
    for line in [
        "Subscribed channels:",
        "  - alerts",
        "  - notifications",
        "  - orders",
    ] {
        assert_eq!(listen.stderr.next(), line);
    }
    publish(&url, "notifications", "heard at once");
    assert_eq!(listen.stdout.next(), "[notifications] heard at once");
    listen.type_line("unsub alerts");
    assert_eq!(listen.stderr.next(), "✓ Unsubscribed from channel 'alerts'");
    listen.type_line("help");
    for line in COMMANDS.into_iter().chain(FURTHER_COMMANDS) {
        assert_eq!(listen.stderr.next(), line);
    }

    database.sql().run(
        "INSERT INTO orders (customer_name, total, status) VALUES ('Test User', 99.99, 'pending')",
    );
    assert_eq!(
        listen.stdout.next(),
        r#"[orders] {"id" : 1, "customer_name" : "Test User", "total" : 99.99, "status" : "pending"}"#
    );

    listen.type_line("quit");
    assert_eq!(listen.stderr.next(), "Exiting...");
    assert_eq!(listen.exit_code(), Some(0));
    assert_eq!(listen.stdout.rest(), Vec::<String>::new());
}

#[track_caller]
fn publish(url: &str, channel: &str, payload: &str) {
    let (code, stdout, stderr) = run(alle_with(&["publish", "-w", url, channel, payload]));
    let expected = format!(
        "Connecting to WebSocket: {url}\n\
         Publishing to channel '{channel}': {payload}\n\
         ✓ Notification sent successfully\n"
    );
    assert_eq!((code, stdout, stderr), (Some(0), expected, String::new()));
}

/// Its file of tokens, and the patterns of the command above it.
#[test]
fn the_tokens_and_patterns_of_the_docs_do_what_it_says_of_them() {
    let docs = include_str!("../../docs/access.md");
    let (_, strangers) = docs.split_once("\n## Strangers\n").unwrap();
    let (_, block) = strangers.split_once("```text\n").unwrap();
    let (tokens, _) = block.split_once("```").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tokens).unwrap();
    let database = Database::create();
    let patterns = ["--allow-subscribe", "orders.*,alerts"];
    assert!(strangers.contains("--allow-subscribe 'orders.*,alerts' --allow-publish ''"));
    let arguments = [
        &["--token-file", file.path().to_str().unwrap()][..],
        &patterns,
    ]
    .concat();
    let bridge = Bridge::start_with(&database.url(), &arguments);
    for (token, subscribes, publishes) in [
        ("n0tTheRealOne-7f3a91c2", "orders.us", "anything"),
        ("9b1de4c05a774e1c", "orders.us", ""),
        ("kZ8yTq2wXv5uJ0rB", "orders.eu.1", "orders.eu.new"),
    ] {
        let mut client = Client::connect_with(bridge.address, &format!("Bearer {token}"));
        client.subscribe(subscribes);
        for channel in ["orders.eu.new", "anything"] {
            let answer = client.notify(channel, "p");
            let is_sent = answer["type"] == "notified";
            let may = [channel, "anything"].contains(&publishes);
            assert_eq!(is_sent, may, "{token} {channel}: {answer}");
        }
    }
}

#[test]
fn a_publish_that_postgres_never_committed_fails() {
    let bridge = Bridge::serve(crate::harness::NO_POSTGRES, &[]);
    let url = format!("ws://{}", bridge.address);
    let (code, stdout, stderr) = run(alle_with(&["publish", "-w", &url, "orders", "lost"]));
    assert_eq!(code, Some(1));
    assert!(!stdout.contains('✓'), "{stdout}");
    assert!(stderr.contains("PostgreSQL"), "{stderr}");
}

#[test]
fn a_listener_ends_with_0_at_ctrl_c() {
    let database = Database::create();
    let bridge = Bridge::start(&database.url());
    let url = format!("ws://{}", bridge.address);
    let listen = Program::start(alle_with(&["listen", "-w", &url, "orders"]));
    listen.stderr.until("Waiting for notifications...");
    listen.signal("INT");
    assert_eq!(listen.exit_code(), Some(0));
}

#[test]
fn a_listener_resubscribes_at_a_bridge_that_was_started_again() {
    let database = Database::create();
    let bridge = Bridge::start(&database.url());
    let address = bridge.address.to_string();
    let url = format!("ws://{address}");
    let listen = Program::start(alle_with(&["listen", "-w", &url, "orders"]));
    listen.stderr.until("Waiting for notifications...");
    drop(bridge);
    // Nobody else has been given the port, for it is below a connection's end yet.
    let arguments = ["serve", "-w", &address, "-p", &database.url()];
    let bridge = Bridge::run(alle_with(&arguments));
    listen
        .stderr
        .until("✓ Connected again, and subscribed to the same channels");
    bridge.wait_until_ready();
    database.sql().notify("orders", "heard again");
    assert_eq!(listen.stdout.next(), "[orders] heard again");
}
