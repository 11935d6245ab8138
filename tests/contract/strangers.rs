//! Contract, sections 2, 5 and 6: authentication, permissions and limits of clients.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tungstenite::Message;

use crate::{
    client::{Client, End},
    harness::{AT_ONCE, Bridge, Database, NO_POSTGRES},
    program::{Program, alle_with, run},
    raw::{Raw, Response, upgrade_request},
};

/// A file of tokens of one test; removed when dropped.
struct TokenFile(NamedTempFile);

impl TokenFile {
    fn new(text: &str) -> Self {
        let file = Self(NamedTempFile::new().unwrap());
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(self.0.path(), text).unwrap();
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.0.path(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// A bridge that requires one of the tokens.
    #[track_caller]
    fn serve(&self, more: &[&str]) -> Bridge {
        Bridge::serve(
            NO_POSTGRES,
            &[&["--token-file", self.path()], more].concat(),
        )
    }
}

#[track_caller]
fn upgrade(bridge: &Bridge, headers: &str) -> Response {
    let mut raw = Raw::open(bridge.address);
    raw.write(upgrade_request(bridge.address, "/ws", headers).as_bytes());
    raw.response("GET")
}

/// A client that is connected, and was told that PostgreSQL is down.
#[track_caller]
fn unauthenticated(bridge: &Bridge) -> Client {
    let mut client = bridge.client();
    assert_eq!(client.next()["type"], "status");
    client
}

#[track_caller]
fn authenticated(bridge: &Bridge, token: &str) -> Client {
    let mut client = unauthenticated(bridge);
    let answer = client.ask(&json!({"type": "auth", "token": token}));
    assert_eq!(answer, json!({"type": "authenticated"}));
    client
}

fn subscribe(channel: &str) -> Value {
    json!({"type": "subscribe", "channel": channel, "id": "s"})
}

fn notify(channel: &str) -> Value {
    json!({"type": "notify", "channel": channel, "payload": "p", "id": 1})
}

/// The code of the answer, whose channel and id are those of the request.
#[track_caller]
fn refusal(client: &mut Client, asked: &Value) -> String {
    client.send(asked);
    let answer = client.expect_answer(asked["id"].clone());
    assert_eq!(answer["type"], "error", "{answer}");
    assert_eq!(answer["channel"], asked["channel"], "{answer}");
    answer["code"].as_str().unwrap().to_owned()
}

// ---- channels

#[test]
fn without_an_option_every_channel_may_be_used_and_with_one_those_it_names() {
    let database = Database::create();
    let patterns = [
        "--allow-subscribe",
        "orders.*,al?rts,日?",
        "--allow-publish",
        "orders.new",
    ];
    let bridge = Bridge::start_with(&database.url(), &patterns);
    let mut client = bridge.client();
    for channel in ["orders.new", "orders.", "alerts", "al*rts", "日本"] {
        client.subscribe(channel);
    }
    for channel in ["orders", "Orders.new", "alrts", "alerts ", "日", "日本語"] {
        assert_eq!(refusal(&mut client, &subscribe(channel)), "forbidden");
        // A subscription that does not exist can be ended.
        assert_eq!(client.unsubscribe(channel)["channel"], channel);
    }
    assert_eq!(client.notify("orders.new", "p")["type"], "notified");
    assert_eq!(client.payload(), "p");
    for channel in ["orders.ne", "orders.new2", "alerts"] {
        assert_eq!(refusal(&mut client, &notify(channel)), "forbidden");
    }
    client.expect_silence();
}

#[test]
fn an_empty_list_is_no_channel() {
    let database = Database::create();
    let bridge = Bridge::start_with(&database.url(), &["--allow-publish", ""]);
    let mut client = bridge.client();
    client.subscribe("a");
    assert_eq!(refusal(&mut client, &notify("a")), "forbidden");
    database.sql().notify("a", "from PostgreSQL");
    assert_eq!(client.payload(), "from PostgreSQL");
    let bridge = Bridge::start_with(&database.url(), &["--allow-subscribe="]);
    let mut client = bridge.client();
    assert_eq!(refusal(&mut client, &subscribe("a")), "forbidden");
    assert_eq!(client.notify("a", "p")["type"], "notified");
}

#[test]
fn a_forbidden_notify_without_an_id_is_answered_too() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--allow-publish", ""]);
    let mut client = unauthenticated(&bridge);
    let asked = json!({"type": "notify", "channel": "a", "payload": "p"});
    let answer = client.ask(&asked);
    assert_eq!(
        (&answer["code"], &answer["channel"]),
        (&json!("forbidden"), &json!("a"))
    );
    assert_eq!(answer.get("id"), None);
}

// ---- tokens

#[test]
fn a_token_comes_with_the_request_or_as_the_first_message() {
    let database = Database::create();
    let file = TokenFile::new("# ours\ns3cret\n\nother-token # Bob's\n");
    let arguments = ["--token-file", file.path()];
    let bridge = Bridge::start_with(&database.url(), &arguments);
    for token in ["s3cret", "other-token"] {
        let mut client = Client::connect_with(bridge.address, &format!("Bearer {token}"));
        client.subscribe("a");
        let mut client = bridge.client();
        let answer = client.ask(&json!({"type": "auth", "token": token, "id": 7}));
        assert_eq!(answer, json!({"type": "authenticated", "id": 7}));
        client.subscribe("a");
        assert_eq!(client.notify("a", "p")["type"], "notified");
        assert_eq!(client.payload(), "p");
    }
    assert!(!bridge.log().contains("s3cret"), "{}", bridge.log());
}

#[test]
fn a_wrong_token_in_the_request_is_401() {
    let file = TokenFile::new("s3cret");
    let bridge = file.serve(&[]);
    for token in ["", "s3cre", "s3crets", "S3cret", "#", "s3cret x"] {
        let response = upgrade(&bridge, &format!("Authorization: Bearer {token}\r\n"));
        assert_eq!(response.status, 401, "{token}");
        let challenge = response.header("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
    }
    assert_eq!(
        upgrade(&bridge, "Authorization: Bearer s3cret\r\n").status,
        101
    );
}

#[test]
fn plain_http_needs_no_token() {
    let file = TokenFile::new("s3cret");
    let bridge = file.serve(&["--playground"]);
    for (path, status) in [("/healthz", 200), ("/readyz", 503), ("/", 200)] {
        assert_eq!(bridge.get(path).status, status, "{path}");
    }
}

#[test]
fn anything_before_the_token_is_unauthorized_and_the_connection_stays() {
    let file = TokenFile::new("s3cret");
    let bridge = file.serve(&[]);
    let mut client = unauthenticated(&bridge);
    for asked in [subscribe("a"), notify("a")] {
        assert_eq!(refusal(&mut client, &asked), "unauthorized");
    }
    for text in ["nonsense", "{}", r#"{"type":"ping"}"#] {
        client.send_text(text);
        assert_eq!(client.next()["code"], "unauthorized", "{text}");
    }
    client.send_frame(Message::binary(vec![1]));
    assert_eq!(client.next()["code"], "unauthorized");
    let answer = client.ask(&json!({"type": "auth", "token": "s3cret"}));
    assert_eq!(answer["type"], "authenticated");
    assert_eq!(client.ask(&json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn the_third_wrong_token_closes_with_4001() {
    let file = TokenFile::new("s3cret");
    let bridge = file.serve(&[]);
    let mut client = unauthenticated(&bridge);
    for id in 1..=3 {
        let answer = client.ask(&json!({"type": "auth", "token": "wrong", "id": id}));
        assert_eq!(
            (&answer["code"], &answer["id"]),
            (&json!("unauthorized"), &json!(id))
        );
    }
    assert_eq!(
        client.end(),
        End::Closed(4001, "too many wrong tokens".into())
    );
}

#[test]
fn a_client_that_does_not_authenticate_in_10_s_is_closed_with_4001() {
    let file = TokenFile::new("s3cret");
    let bridge = file.serve(&[]);
    let start = Instant::now();
    let mut client = unauthenticated(&bridge);
    assert_eq!(client.end(), End::Closed(4001, "no token in time".into()));
    let waited = start.elapsed();
    assert!(waited > AT_ONCE, "{waited:?}");
}

#[test]
fn auth_is_an_unknown_type_where_no_token_is_required() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = unauthenticated(&bridge);
    let answer = client.ask(&json!({"type": "auth", "token": "t", "id": 1}));
    assert_eq!(
        (&answer["code"], &answer["id"]),
        (&json!("unknown_type"), &json!(1))
    );
}

#[test]
fn a_token_narrows_the_permissions_of_all_clients() {
    let database = Database::create();
    let file = TokenFile::new("reader publish=\nann subscribe=a*,b publish=a\nroot\n");
    let arguments = ["--token-file", file.path(), "--allow-subscribe", "a?,b,c"];
    let bridge = Bridge::start_with(&database.url(), &arguments);
    for (token, subscribes, publishes) in [
        ("reader", &["a1", "b", "c"][..], &[][..]),
        ("ann", &["a1", "b"], &["a"]),
        ("root", &["a1", "b", "c"], &["a", "b", "d"]),
    ] {
        let mut client = Client::connect_with(bridge.address, &format!("Bearer {token}"));
        for channel in ["a", "a1", "b", "c", "d"] {
            if subscribes.contains(&channel) {
                client.subscribe(channel);
            } else {
                assert_eq!(refusal(&mut client, &subscribe(channel)), "forbidden");
            }
        }
        for channel in ["a", "b", "d"] {
            client.send(&notify(channel));
            let answer = client.expect_answer(1);
            let is_sent = answer["type"] == "notified";
            assert_eq!(is_sent, publishes.contains(&channel), "{token}: {answer}");
        }
    }
}

#[test]
fn with_a_token_a_page_of_any_host_may_come_and_allow_origin_narrows() {
    let file = TokenFile::new("s3cret");
    let foreign = "Origin: https://app.example\r\n";
    let bridge = file.serve(&[]);
    assert_eq!(upgrade(&bridge, foreign).status, 101);
    let request = upgrade_request(bridge.address, "/ws", "")
        .replace(&format!("Host: {}", bridge.address), "Host: bridge.example");
    let mut raw = Raw::open(bridge.address);
    raw.write(request.as_bytes());
    assert_eq!(raw.response("GET").status, 101);
    let bridge = file.serve(&["--allow-origin", "https://app.example"]);
    for (origin, status) in [
        (foreign.to_owned(), 101),
        (String::new(), 101),
        (format!("Origin: http://{}\r\n", bridge.address), 101),
        ("Origin: https://evil.example\r\n".to_owned(), 403),
        (
            "Origin: https://evil.example\r\nAuthorization: Bearer s3cret\r\n".to_owned(),
            403,
        ),
    ] {
        assert_eq!(upgrade(&bridge, &origin).status, status, "{origin}");
    }
}

// ---- tokens read again

#[test]
fn at_sighup_the_tokens_are_read_again_and_a_client_that_lost_its_token_is_closed_with_4001() {
    let file = TokenFile::new("stays\ngoes\n");
    let bridge = file.serve(&[]);
    let mut stays = authenticated(&bridge, "stays");
    let mut goes = authenticated(&bridge, "goes");
    let mut asks = unauthenticated(&bridge);
    file.write("comes publish=\nstays\n");
    bridge.signal("HUP");
    assert_eq!(
        goes.end(),
        End::Closed(4001, "token no longer valid".into())
    );
    bridge.wait_for_log("the tokens were read again");
    assert_eq!(stays.ask(&json!({"type": "ping"}))["type"], "pong");
    let answer = asks.ask(&json!({"type": "auth", "token": "goes"}));
    assert_eq!(answer["code"], "unauthorized");
    let answer = asks.ask(&json!({"type": "auth", "token": "comes"}));
    assert_eq!(answer["type"], "authenticated");
    assert_eq!(refusal(&mut asks, &notify("a")), "forbidden");
    assert_eq!(
        upgrade(&bridge, "Authorization: Bearer goes\r\n").status,
        401
    );
}

#[test]
fn at_sighup_a_bridge_without_a_token_file_says_so_and_stays() {
    let mut bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = unauthenticated(&bridge);
    bridge.signal("HUP");
    bridge.wait_for_log("SIGHUP: there is no token file to read again");
    assert_eq!(client.ask(&json!({"type": "ping"}))["type"], "pong");
    bridge.signal("TERM");
    assert_eq!(bridge.wait_for_exit().0, Some(0));
}

#[test]
fn a_subscription_that_its_token_no_longer_permits_ends_the_connection() {
    let database = Database::create();
    let file = TokenFile::new("ann\nbob\n");
    let bridge = Bridge::start_with(&database.url(), &["--token-file", file.path()]);
    let mut ann = Client::connect_with(bridge.address, "Bearer ann");
    let mut bob = Client::connect_with(bridge.address, "Bearer bob");
    ann.subscribe("a");
    bob.subscribe("b");
    file.write("ann subscribe=b\nbob subscribe=b\n");
    bridge.signal("HUP");
    assert_eq!(
        ann.end(),
        End::Closed(4003, "channel no longer permitted".into())
    );
    database.sql().notify("b", "still");
    assert_eq!(bob.payload(), "still");
}

#[test]
fn an_unreadable_or_malformed_file_keeps_the_old_tokens_and_is_an_error_in_the_log() {
    let file = TokenFile::new("s3cret\n");
    let bridge = file.serve(&[]);
    let mut client = authenticated(&bridge, "s3cret");
    for (text, words) in [
        ("new-token what?\n", "line 1"),
        ("", "no token"),
        ("a\na\n", "line 2"),
    ] {
        file.write(text);
        bridge.signal("HUP");
        let line = bridge.wait_for_log(words);
        assert!(
            line.contains("ERROR") && line.contains(file.path()),
            "{line}"
        );
    }
    fs::remove_file(file.path()).unwrap();
    bridge.signal("HUP");
    assert!(bridge.wait_for_log("No such file").contains("ERROR"));
    assert_eq!(client.ask(&json!({"type": "ping"}))["type"], "pong");
    authenticated(&bridge, "s3cret");
    assert!(!bridge.log().contains("new-token"), "{}", bridge.log());
}

#[test]
fn a_file_that_gives_no_tokens_at_the_start_is_wrong_usage() {
    for (text, words) in [("", "no token"), ("a b", "line 1: behind the token")] {
        let file = TokenFile::new(text);
        let (code, stdout, stderr) = serve_and_fail(file.0.path());
        assert_eq!((code, stdout.as_str()), (Some(2), ""));
        assert!(
            stderr.contains(words) && stderr.contains(file.path()),
            "{stderr}"
        );
    }
    let (code, _, stderr) = serve_and_fail(Path::new("/nowhere/tokens"));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("/nowhere/tokens: No such file"), "{stderr}");
    let (code, _, stderr) = serve_and_fail(Path::new("/dev/null"));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("not a regular file"), "{stderr}");
}

fn serve_and_fail(token_file: &Path) -> (Option<i32>, String, String) {
    let path = token_file.to_str().unwrap();
    let arguments = [
        "serve",
        "-w",
        "127.0.0.1:0",
        "-p",
        NO_POSTGRES,
        "--token-file",
        path,
    ];
    run(alle_with(&arguments))
}

#[test]
fn a_file_that_anybody_can_read_is_warned_of_once() {
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        let file = TokenFile::new("s3cret");
        file.set_mode(mode);
        let bridge = file.serve(&[]);
        bridge.signal("HUP");
        bridge.wait_for_log("the tokens were read again");
        let log = bridge.log();
        let found = log.lines().filter(|line| line.contains("chmod")).count();
        assert_eq!(found, warnings, "{mode:o}: {log}");
    }
}

#[test]
fn other_machines_without_a_token_are_warned_of_once() {
    let file = TokenFile::new("s3cret");
    let public = ["-w", "0.0.0.0:0"];
    for (arguments, warnings) in [
        (public.to_vec(), 1),
        ([&public[..], &["--token-file", file.path()]].concat(), 0),
        (vec![], 0),
    ] {
        let mut bridge = Bridge::serve(NO_POSTGRES, &arguments);
        bridge.signal("TERM");
        bridge.wait_for_exit();
        let log = bridge.log();
        let found = log.lines().filter(|line| line.contains("--token-file"));
        assert_eq!(found.count(), warnings, "{arguments:?}: {log}");
    }
}

#[test]
fn tokens_that_can_be_guessed_are_warned_of() {
    for (token, warnings) in [("x".repeat(15), 1), ("x".repeat(16), 0)] {
        let bridge = TokenFile::new(&token).serve(&[]);
        let log = bridge.log();
        let found = log.lines().filter(|line| line.contains("can be guessed"));
        assert_eq!(found.count(), warnings, "{token}: {log}");
        assert!(!log.contains(&token), "{log}");
    }
}

/// For an operator, and for what watches a log and shuts out the address.
#[test]
fn who_guesses_is_in_the_log_and_does_not_fill_it() {
    let bridge = TokenFile::new("one-of-enough-characters").serve(&[]);
    let began = Instant::now();
    for count in 0..200 {
        let field = format!("Authorization: Bearer guess-{count}\r\n");
        let status = upgrade(&bridge, &field).status;
        assert!(matches!(status, 401 | 429), "{status}");
    }
    bridge.wait_for_log("more with 401 since");
    let log = bridge.log();
    let lines = log
        .lines()
        .filter(|it| it.contains("127.0.0.1 with 401"))
        .count();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(
        (1..=1 + seconds).contains(&lines),
        "{lines} in {seconds} s: {log}"
    );
    assert!(!log.contains("guess-"), "{log}");
}

// ---- the command line's clients

/// A client with this token, which listens to `orders` by now.
fn listener(url: &str, token: &str) -> Program {
    let mut command = alle_with(&["listen", "-w", url, "orders"]);
    command.env("ALLE_TOKEN", token);
    let listen = Program::start(command);
    listen.stderr.until("Waiting for notifications...");
    listen
}

#[test]
fn listen_and_publish_bring_the_token_of_a_file_or_a_variable() {
    let database = Database::create();
    let file = TokenFile::new("# first\ns3cret publish=orders\nother\n");
    let bridge = Bridge::start_with(&database.url(), &["--token-file", file.path()]);
    let url = format!("ws://{}", bridge.address);
    let listen = listener(&url, "other");
    let publish = ["publish", "-w", &url, "orders", "hello"];
    let (code, _, stderr) = run(alle_with(
        &[&publish[..], &["--token-file", file.path()]].concat(),
    ));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(listen.stdout.next(), "[orders] hello");
    // The flag wins over the variable.
    let mut command = alle_with(&[&publish[..], &["--token-file", file.path()]].concat());
    command.env("ALLE_TOKEN", "wrong");
    assert_eq!(run(command).0, Some(0));
    let forbidden = ["publish", "-w", &url, "a", "p", "--token-file", file.path()];
    let (code, _, stderr) = run(alle_with(&forbidden));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no publishing to this channel"), "{stderr}");
}

#[test]
fn listen_and_publish_end_with_1_where_their_token_is_wrong_or_missing() {
    let file = TokenFile::new("s3cret\n");
    let bridge = file.serve(&[]);
    let url = format!("ws://{}", bridge.address);
    for arguments in [
        vec!["listen", "-w", &url, "a"],
        vec!["publish", "-w", &url, "a", "p"],
    ] {
        let mut command = alle_with(&arguments);
        command.env("ALLE_TOKEN", "wrong-token");
        let (code, _, stderr) = run(command);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(
            stderr.contains("401") && !stderr.contains("wrong-token"),
            "{stderr}"
        );
        let (code, _, stderr) = run(alle_with(&arguments));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("ALLE_TOKEN"), "{stderr}");
    }
}

#[test]
fn a_listener_whose_token_was_removed_ends_with_1() {
    let database = Database::create();
    let file = TokenFile::new("goes\nstays\n");
    let bridge = Bridge::start_with(&database.url(), &["--token-file", file.path()]);
    let url = format!("ws://{}", bridge.address);
    let listen = listener(&url, "goes");
    file.write("stays\n");
    bridge.signal("HUP");
    assert_eq!(listen.exit_code(), Some(1));
    let said = listen.stderr.rest().join("\n");
    assert!(
        said.contains("4001") && said.contains("401 Unauthorized"),
        "{said}"
    );
}

// ---- how much

#[test]
fn messages_beyond_the_rate_are_refused_and_the_connection_stays() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--client-rate", "5"]);
    let mut client = unauthenticated(&bridge);
    let burst: Vec<_> = (1..=6)
        .map(|id| json!({"type": "notify", "channel": "a", "payload": "p", "id": id}))
        .collect();
    client.send_all(&burst);
    for id in 1..=5 {
        assert_eq!(client.expect_answer(id)["code"], "postgres_down", "{id}");
    }
    let refused = client.expect_answer(6);
    assert_eq!(
        (&refused["code"], &refused["channel"]),
        (&json!("rate_limited"), &json!("a"))
    );
    // A fifth of a second brings the next one.
    crate::harness::wait_until("a message passes again", || {
        client.ask(&json!({"type": "ping"}))["type"] == "pong"
    });
}

#[test]
fn without_an_option_a_client_may_send_as_fast_as_it_can() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let mut client = unauthenticated(&bridge);
    let pings = vec![json!({"type": "ping"}); 2_000];
    client.send_all(&pings);
    for _ in 0..pings.len() {
        assert_eq!(client.next()["type"], "pong");
    }
}

#[test]
fn clients_of_one_address_beyond_their_number_are_429_until_one_leaves() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--max-clients-per-address", "2"]);
    let (first, _second) = (unauthenticated(&bridge), unauthenticated(&bridge));
    let response = upgrade(&bridge, "");
    assert_eq!(response.status, 429);
    assert_eq!(response.header("Retry-After"), Some("1"));
    assert_eq!(bridge.get("/healthz").status, 200);
    first.close();
    crate::harness::wait_until("there is room again", || upgrade(&bridge, "").status == 101);
}

// ---- seen in the metrics

#[test]
fn each_refusal_is_counted() {
    let file = TokenFile::new("s3cret publish=\n");
    let limits = ["--max-clients-per-address", "2", "--client-rate", "4"];
    let bridge = file.serve(&limits);
    assert_eq!(
        upgrade(&bridge, "Authorization: Bearer wrong\r\n").status,
        401
    );
    let mut client = authenticated(&bridge, "s3cret");
    assert_eq!(refusal(&mut client, &notify("a")), "forbidden");
    let mut stranger = unauthenticated(&bridge);
    assert_eq!(upgrade(&bridge, "").status, 429);
    for _ in 0..3 {
        stranger.send(&json!({"type": "auth", "token": "wrong"}));
    }
    assert_eq!(
        stranger.end(),
        End::Closed(4001, "too many wrong tokens".into())
    );
    client.send_all(&vec![json!({"type": "ping"}); 8]);
    client.expect(|message| message["code"] == "rate_limited");
    let page = bridge.get("/metrics").body;
    for (name, count) in [
        ("alle_http_responses_total{status=\"401\"}", 1),
        ("alle_http_responses_total{status=\"429\"}", 1),
        ("alle_errors_total{code=\"forbidden\"}", 1),
        ("alle_errors_total{code=\"unauthorized\"}", 3),
        ("alle_closes_total{reason=\"token_wrong\"}", 1),
    ] {
        assert!(
            page.contains(&format!("{name} {count}\n")),
            "{name}: {page}"
        );
    }
    assert!(
        !page.contains("alle_errors_total{code=\"rate_limited\"} 0\n"),
        "{page}"
    );
}
