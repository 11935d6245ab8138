//! Contract, section 5: a function of the database says whose a token is, from the outside.

use std::{thread, time::Duration};

use alle::internals::sandbox::{Sandbox, StopMode};
use serde_json::{Value, json};

use crate::{
    client::{Client, End},
    harness::{Bridge, Database, NO_POSTGRES, wait_until},
    program::{alle_with, run},
    raw::{Raw, Response, TEXT, upgrade_request},
    sql::Sql,
};

/// Keys and what each may; `bearer` reads them.
const KEYS: &str = "
    CREATE SCHEMA auth;
    CREATE TABLE auth.keys (token text, identity text, subscribe text[], publish text[],
                            expires timestamptz);
    INSERT INTO auth.keys VALUES
        ('of-ann', 'ann', '{user.ann.*,news}', '{}', NULL),
        ('of-bob', 'bob', NULL, NULL, NULL),
        ('of-old', 'old', NULL, NULL, now() - interval '1 s'),
        ('of-ever', 'ever', NULL, NULL, 'infinity'),
        ('of-never', 'never', NULL, NULL, '-infinity'),
        ('it''s \\ *', 'quoted', NULL, NULL, NULL),
        ('of-two', 'one', NULL, NULL, NULL), ('of-two', 'two', NULL, NULL, NULL);
    CREATE FUNCTION auth.bearer(token text, address text, path text)
        RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
        LANGUAGE sql STABLE
        AS 'SELECT k.identity, k.subscribe, k.publish, k.expires FROM auth.keys k
            WHERE k.token = bearer.token';
";

pub(crate) fn database() -> Database {
    let database = Database::create();
    database.sql().run(KEYS);
    database
}

pub(crate) fn start(database: &Database, arguments: &[&str]) -> Bridge {
    let function = ["--auth-function", "auth.bearer"];
    Bridge::start_with(&database.url(), &[&function[..], arguments].concat())
}

pub(crate) fn bearer(bridge: &Bridge, token: &str) -> Client {
    Client::connect_with(bridge.address, &format!("Bearer {token}"))
}

fn ask(bridge: &Bridge, method: &str, path: &str, token: &str) -> Response {
    begin(bridge, method, path, token).response(method)
}

/// The request, whose answer is to come.
pub(crate) fn begin(bridge: &Bridge, method: &str, path: &str, token: &str) -> Raw {
    let mut raw = Raw::open(bridge.address);
    let host = bridge.address;
    raw.write(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\
             Authorization: Bearer {token}\r\n\r\np"
        )
        .as_bytes(),
    );
    raw
}

fn upgrade(bridge: &Bridge, token: &str) -> u16 {
    let mut raw = Raw::open(bridge.address);
    let field = format!("Authorization: Bearer {token}\r\n");
    raw.write(upgrade_request(bridge.address, "/ws", &field).as_bytes());
    raw.response("GET").status
}

pub(crate) fn metric(bridge: &Bridge, name: &str) -> u64 {
    let page = bridge.get("/metrics").body;
    let mut values = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().expect("a metric").parse().unwrap()
}

fn calls(bridge: &Bridge) -> u64 {
    metric(bridge, "alle_auth_function_calls_total")
}

pub(crate) fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token, "id": 1})
}

#[test]
fn the_function_says_who_it_is_and_what_it_may() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut ann = bearer(&bridge, "of-ann");
    ann.subscribe("user.ann.x");
    ann.subscribe("news");
    for message in [
        json!({"type": "subscribe", "channel": "user.bob.x"}),
        json!({"type": "notify", "channel": "news", "payload": "p"}),
    ] {
        assert_eq!(ann.ask(&message)["code"], "forbidden", "{message}");
    }
    for (token, status) in [
        ("of-ann", 101),
        ("of-bob", 101),
        ("of-ever", 101),
        ("of-old", 401),
        ("of-never", 401),
        ("of-nobody", 401),
        // Several rows are none of its answers.
        ("of-two", 503),
    ] {
        assert_eq!(upgrade(&bridge, token), status, "{token}");
    }
    bridge.wait_for_log("the function that says whose a token is failed: 21000");
    for (token, text) in [
        ("of-old", "the token has expired"),
        ("of-never", "the token has expired"),
        ("of-nobody", "the token is wrong"),
    ] {
        let mut stranger = Client::connect(bridge.address);
        let refusal = stranger.ask(&auth(token));
        assert_eq!(refusal["code"], "unauthorized");
        assert_eq!(refusal["message"], text, "{token}");
    }
    assert_eq!(
        metric(&bridge, "alle_tokens_refused_total{reason=\"expired\"}"),
        4
    );
    assert_eq!(ask(&bridge, "POST", "/publish/news", "of-bob").status, 200);
    assert_eq!(ask(&bridge, "POST", "/publish/news", "of-ann").status, 403);
    assert_eq!(
        ask(&bridge, "POST", "/publish/news", "of-nobody").status,
        401
    );
    assert_eq!(ask(&bridge, "GET", "/sse?channel=x", "of-ann").status, 403);
    assert_eq!(
        ask(&bridge, "GET", "/sse?channel=news", "of-ann").status,
        200
    );
    assert_eq!(ann.payload(), "p");
    assert!(!bridge.log().contains("of-"), "no token is in the log");
}

#[test]
fn a_message_waits_for_the_answer_and_what_is_behind_it_too() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut client = Client::connect(bridge.address);
    client.send_all(&[
        auth("it's \\ *"),
        json!({"type": "subscribe", "channel": "a"}),
        json!({"type": "ping"}),
    ]);
    assert_eq!(client.next()["type"], "authenticated");
    // What needs no PostgreSQL may overtake.
    let mut types = [client.next(), client.next()].map(|it| it["type"].clone());
    types.sort_by_key(Value::to_string);
    assert_eq!(types, ["pong", "subscribed"]);
    let mut stranger = Client::connect(bridge.address);
    for _ in 0..2 {
        assert_eq!(stranger.ask(&auth("of-nobody"))["code"], "unauthorized");
    }
    // It is wrong once more than it may be.
    stranger.send(&auth("with a NUL: \0"));
    assert_eq!(stranger.next()["code"], "unauthorized");
    assert_eq!(
        stranger.end(),
        End::Closed(4001, "too many wrong tokens".into())
    );
}

#[test]
fn requests_in_a_pipeline_wait_for_theirs_in_order() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut raw = Raw::open(bridge.address);
    let host = bridge.address;
    let requests: String = ["of-bob", "of-nobody", "of-ann", "of-bob"]
        .map(|token| {
            format!(
                "POST /publish/news HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\
                 Authorization: Bearer {token}\r\n\r\nbody"
            )
        })
        .concat();
    raw.write(requests.as_bytes());
    let upgrade = upgrade_request(host, "/ws", "Authorization: Bearer of-ever\r\n");
    raw.write(upgrade.as_bytes());
    for expected in [200, 401, 403, 200, 101] {
        assert_eq!(raw.response("POST").status, expected);
    }
    raw.send(TEXT, br#"{"type":"ping"}"#);
    assert_eq!(raw.text(), r#"{"type":"pong"}"#);
}

#[test]
fn a_function_of_one_argument_says_all_or_nothing() {
    let database = Database::create();
    database.sql().run(
        "CREATE FUNCTION public.\"Is It\"(token text)
             RETURNS TABLE (user_id bigint, authenticated boolean) LANGUAGE sql STABLE
             AS $$ SELECT 7::bigint, CASE token WHEN 'good' THEN true WHEN 'bad' THEN false END $$",
    );
    let function = [
        "--auth-function",
        "public.Is It",
        "--max-clients-per-identity",
        "1",
    ];
    let bridge = Bridge::start_with(&database.url(), &function);
    assert_eq!(upgrade(&bridge, "bad"), 401);
    assert_eq!(upgrade(&bridge, "null"), 401);
    let mut good = bearer(&bridge, "good");
    good.subscribe("anything");
    assert_eq!(upgrade(&bridge, "good"), 429, "the identity is a number");
}

#[test]
fn a_token_is_asked_about_once_whoever_waits() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut holder = database.sql();
    holder.run("BEGIN; LOCK TABLE auth.keys");
    let mut waiting: Vec<_> = (0..50).map(|_| Raw::open(bridge.address)).collect();
    for raw in &mut waiting {
        let field = "Authorization: Bearer of-bob\r\n";
        raw.write(upgrade_request(bridge.address, "/ws", field).as_bytes());
    }
    wait_until("all of them wait", || {
        metric(&bridge, "alle_auth_function_waiting") == 50
    });
    holder.run("COMMIT");
    for raw in &mut waiting {
        assert_eq!(raw.response("GET").status, 101);
    }
    assert_eq!(calls(&bridge), 1);
    assert_eq!(upgrade(&bridge, "of-bob"), 101);
    assert_eq!(upgrade(&bridge, "of-nobody"), 401);
    assert_eq!(upgrade(&bridge, "of-nobody"), 401);
    assert_eq!(calls(&bridge), 2, "answers are remembered");
}

#[test]
fn what_can_be_no_token_is_no_question() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut stranger = Client::connect(bridge.address);
    for token in ["", "with a NUL: \0"] {
        let refusal = stranger.ask(&auth(token));
        assert_eq!(refusal["message"], "the token is wrong", "{token:?}");
    }
    assert_eq!(calls(&bridge), 0);
}

/// Without a cache each one is a question.
#[test]
fn nothing_is_remembered_where_that_is_asked_for() {
    let database = database();
    let bridge = start(&database, &["--auth-cache", "0"]);
    for count in 1..=3 {
        assert_eq!(upgrade(&bridge, "of-bob"), 101);
        assert_eq!(calls(&bridge), count);
    }
}

#[test]
fn at_sighup_the_function_is_asked_again_about_everybody() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut gone = bearer(&bridge, "of-bob");
    let (mut narrowed, mut same) = (bearer(&bridge, "of-ann"), bearer(&bridge, "of-ann"));
    gone.subscribe("news");
    narrowed.subscribe("news");
    same.subscribe("user.ann.x");
    let mut sql = database.sql();
    sql.run(
        "DELETE FROM auth.keys WHERE identity = 'bob';
         UPDATE auth.keys SET subscribe = '{user.ann.*}' WHERE identity = 'ann'",
    );
    bridge.signal("HUP");
    assert_eq!(
        gone.end(),
        End::Closed(4001, "token no longer valid".into())
    );
    let end = narrowed.end();
    assert_eq!(end, End::Closed(4003, "channel no longer permitted".into()));
    sql.run("NOTIFY \"user.ann.x\", 'still'");
    assert_eq!(same.payload(), "still");
    let asked = same.ask(&json!({"type": "subscribe", "channel": "news"}));
    assert_eq!(asked["code"], "forbidden");
    assert_eq!(upgrade(&bridge, "of-bob"), 401);
}

/// How `alle doctor` judges the function, and its exit code.
fn doctor(url: &str) -> (Option<i32>, String) {
    let (code, text, _) = run(alle_with(&[
        "doctor",
        "-p",
        url,
        "--auth-function",
        "auth.bearer",
    ]));
    let judged = text.split_once("token function").expect("a finding").1;
    (code, judged.trim_start().to_owned())
}

/// A bridge of a role that is told nothing by the first client: the log, `/readyz` and the doctor say
/// what is wrong, and what to do; mended, it goes on by itself.
#[test]
fn a_function_that_cannot_be_called_is_told_in_words_before_any_client_comes() {
    let database = Database::create();
    let mut sql = database.sql();
    let role = format!("{}_role", database.name);
    sql.run(&format!("CREATE ROLE {role} LOGIN"));
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let bridge = Bridge::serve(&url, &["--auth-function", "auth.bearer"]);
    let returns = "RETURNS TABLE (identity text, subscribe text[], publish text[],
                                  expires timestamptz) LANGUAGE sql STABLE";
    let row = "AS $$ SELECT token, NULL::text[], NULL::text[], NULL::timestamptz $$";
    for (mend, fault, remedy) in [
        (
            "SELECT 1".to_owned(),
            "auth.bearer is not there: schema \"auth\" does not exist",
            "create auth.bearer(text, text, text)",
        ),
        (
            format!("CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO {role}"),
            "neither as auth.bearer(text, text, text) nor as auth.bearer(text)",
            "create auth.bearer(text",
        ),
        (
            "CREATE FUNCTION auth.bearer(token text) RETURNS TABLE (who text, ok boolean)
                 LANGUAGE sql STABLE AS $$ SELECT token, true $$"
                .to_owned(),
            "auth.bearer(text) does not return (user_id text, authenticated boolean)",
            "RETURNS TABLE (user_id text",
        ),
        (
            format!(
                "CREATE FUNCTION auth.bearer(token text, address text, path text) {returns} {row};
                 REVOKE ALL ON FUNCTION auth.bearer(text, text, text) FROM PUBLIC"
            ),
            "auth.bearer(text, text, text) may not be called: permission denied",
            "GRANT USAGE ON SCHEMA auth and EXECUTE ON FUNCTION auth.bearer(text, text, text) to",
        ),
    ] {
        sql.run(&mend);
        // The next session looks at once, this one with its next heartbeat.
        sql.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'alle authorize'",
        );
        let line = bridge.wait_for_log(fault);
        assert!(line.contains("ERROR") && line.contains(remedy), "{line}");
        wait_until("/readyz says it", || {
            let answer = bridge.get("/readyz");
            answer.status == 503 && answer.body.contains(fault)
        });
        let (code, judged) = doctor(&url);
        assert_eq!(code, Some(1), "{judged}");
        assert!(
            judged.contains(fault) && judged.contains(remedy),
            "{judged}"
        );
    }
    sql.run(&format!(
        "GRANT EXECUTE ON FUNCTION auth.bearer(text, text, text) TO {role}"
    ));
    assert_eq!(upgrade(&bridge, "of-anybody"), 101);
    bridge.wait_for_log("can be called again");
    bridge.wait_until_ready();
    let (code, judged) = doctor(&url);
    assert_eq!(code, Some(0), "{judged}");
    assert!(judged.starts_with("auth.bearer can be called"), "{judged}");
}

/// Nothing is called to find that out.
#[test]
fn looking_at_the_function_calls_it_not() {
    let database = Database::create();
    database.sql().run(
        "CREATE SCHEMA auth;
         CREATE FUNCTION auth.bearer(token text, address text, path text)
             RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
             LANGUAGE plpgsql IMMUTABLE STRICT
             AS $$ BEGIN RAISE EXCEPTION 'called' USING ERRCODE = '42501'; END $$",
    );
    let bridge = start(&database, &[]);
    bridge.wait_until_ready();
    assert_eq!(calls(&bridge), 0);
}

#[test]
fn a_function_that_fails_is_no_fault_of_the_token() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut inside = bearer(&bridge, "of-ann");
    inside.subscribe("news");
    let mut sql = database.sql();
    for (body, sqlstate) in [
        (
            "SELECT (1 / 0)::text, NULL::text[], NULL::text[], now()",
            "22012",
        ),
        // It may change nothing.
        (
            "INSERT INTO auth.keys VALUES (''); SELECT '', NULL::text[], NULL::text[], now()",
            "25006",
        ),
    ] {
        sql.run(&format!(
            "CREATE OR REPLACE FUNCTION auth.bearer(token text, address text, path text)
                 RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
                 LANGUAGE sql AS $$ {body} $$"
        ));
        let answer = ask(&bridge, "POST", "/publish/news", sqlstate);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(upgrade(&bridge, sqlstate), 503);
        let mut stranger = Client::connect(bridge.address);
        assert_eq!(stranger.ask(&auth(sqlstate))["code"], "postgres_down");
        assert_eq!(
            stranger.end(),
            End::Closed(1011, "token could not be judged".into())
        );
        bridge.wait_for_log(&format!("failed: {sqlstate}"));
        // Whoever is in stays what it is.
        assert_eq!(inside.ask(&auth(sqlstate))["code"], "postgres_down");
    }
    // It says itself that it was cancelled, or that it got no lock: nobody waits for another answer.
    for sqlstate in ["57014", "55P03"] {
        sql.run(&format!(
            "CREATE OR REPLACE FUNCTION auth.bearer(token text, address text, path text)
                 RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
                 LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = '{sqlstate}'; END $$"
        ));
        let before = calls(&bridge);
        assert_eq!(upgrade(&bridge, sqlstate), 503);
        bridge.wait_for_log(&format!("failed: {sqlstate}"));
        assert_eq!(calls(&bridge), before + 1);
    }
    sql.run("DROP FUNCTION auth.bearer");
    assert_eq!(upgrade(&bridge, "none"), 503);
    bridge.wait_for_log("failed: 42883");
    sql.run("NOTIFY news, 'all the same'");
    assert_eq!(inside.payload(), "all the same");
    sql.run(
        "CREATE FUNCTION auth.bearer(token text) RETURNS TABLE (user_id text, authenticated boolean)
             LANGUAGE sql AS $$ SELECT token, true $$",
    );
    assert_eq!(upgrade(&bridge, "of-anybody"), 101);
}

/// The table is locked for longer than a statement may take, and longer than a client has for a token.
#[test]
fn while_the_function_is_blocked_nobody_notices_and_nobody_is_sent_for_another_token() {
    let database = database();
    let bridge = start(&database, &[]);
    let mut inside = bearer(&bridge, "of-ann");
    inside.subscribe("news");
    let mut holder = database.sql();
    holder.run("BEGIN; LOCK TABLE auth.keys");
    let mut requests = Raw::open(bridge.address);
    let field = "Authorization: Bearer of-bob\r\n";
    requests.write(upgrade_request(bridge.address, "/ws", field).as_bytes());
    let mut newcomer = Client::connect(bridge.address);
    newcomer.send(&auth("of-bob"));
    let mut sql = database.sql();
    let mut sent = 0;
    let before = calls(&bridge);
    // Each question is given up after 5 s, and asked again.
    wait_until("it was asked three times", || {
        sql.run(&format!("NOTIFY news, '{sent}'"));
        assert_eq!(inside.payload(), sent.to_string());
        sent += 1;
        calls(&bridge) >= before + 3
    });
    holder.run("COMMIT");
    assert_eq!(requests.response("GET").status, 101);
    assert_eq!(newcomer.next()["type"], "authenticated");
}

#[test]
fn whoever_waits_for_too_long_may_come_again() {
    let database = database();
    let bridge = start(&database, &["--auth-timeout", "1"]);
    let mut inside = bearer(&bridge, "of-ann");
    let mut holder = database.sql();
    holder.run("BEGIN; LOCK TABLE auth.keys");
    let mut newcomer = Client::connect(bridge.address);
    newcomer.send(&auth("of-bob"));
    inside.send(&auth("of-bob"));
    let answer = ask(&bridge, "POST", "/publish/news", "of-bob");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert_eq!(upgrade(&bridge, "of-bob"), 503);
    assert_eq!(newcomer.next()["code"], "postgres_down");
    let text = "token not judged in time, try again later";
    assert_eq!(newcomer.end(), End::Closed(1013, text.into()));
    assert_eq!(inside.next()["code"], "postgres_down");
    holder.run("COMMIT");
    assert_eq!(inside.ask(&auth("of-bob"))["type"], "authenticated");
}

/// It waits for nobody, it is slow: no client is the better for another call of it.
#[test]
fn a_function_that_takes_over_5_s_has_failed() {
    let database = database();
    let bridge = start(&database, &[]);
    database.sql().run(
        "CREATE OR REPLACE FUNCTION auth.bearer(token text, address text, path text)
             RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
             LANGUAGE sql AS $$
                 SELECT pg_sleep(600)::text, NULL::text[], NULL::text[], NULL::timestamptz $$",
    );
    assert_eq!(upgrade(&bridge, "of-bob"), 503);
    bridge.wait_for_log("failed: 57014");
    assert_eq!(calls(&bridge), 1);
}

#[test]
fn a_database_that_is_away_is_waited_for() {
    let server = Sandbox::start().unwrap();
    Sql::connect(server.port(), "postgres").run(KEYS);
    let bridge = Bridge::start_with(&server.url(), &["--auth-function", "auth.bearer"]);
    let mut inside = bearer(&bridge, "of-ann");
    server.stop(StopMode::Immediate).unwrap();
    assert_eq!(inside.expect_type("status")["postgres"], "down");
    let mut newcomer = Client::connect(bridge.address);
    newcomer.send(&auth("of-bob"));
    wait_until("it waits", || {
        metric(&bridge, "alle_auth_function_waiting") == 1
    });
    let again = thread::spawn(move || {
        server.start_again().unwrap();
        server
    });
    assert_eq!(newcomer.expect_type("authenticated")["id"], 1);
    assert_eq!(inside.expect_type("status")["postgres"], "up");
    drop(again.join().unwrap());
}

#[test]
fn its_end_is_the_end_of_the_client() {
    let database = database();
    let mut sql = database.sql();
    sql.run("UPDATE auth.keys SET expires = now() + interval '4 s' WHERE identity = 'bob'");
    let bridge = start(&database, &[]);
    let mut bob = bearer(&bridge, "of-bob");
    let told = bob.expect_type("auth_expiring");
    assert!(told["in"].as_u64().unwrap() <= 4, "{told}");
    assert_eq!(bob.end(), End::Closed(4001, "token expired".into()));
}

#[test]
fn check_says_whether_it_can_be_called() {
    let database = database();
    let url = database.url();
    let check = |url: &str, name: &str, more: &[&str]| {
        let arguments = ["check", "-p", url, "--auth-function", name];
        let (code, stdout, stderr) = run(alle_with(&[&arguments[..], more].concat()));
        assert!(code == Some(0) || !stdout.contains("can start"), "{stdout}");
        (code, stdout + &stderr)
    };
    let (code, said) = check(&url, "auth.bearer", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("asked: auth.bearer can be called\n"),
        "{said}"
    );
    let (code, said) = check(&url, "auth.nobody", &[]);
    assert_eq!(code, Some(1), "{said}");
    let wrong = "wrong: auth.nobody is not there: neither as auth.nobody(text, text, text) nor as \
                 auth.nobody(text); create";
    assert!(said.starts_with(wrong), "{said}");
    assert!(said.contains("nobody gets in by a token"), "{said}");
    database
        .sql()
        .run("CREATE FUNCTION auth.number(token text) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let (code, said) = check(&url, "auth.number", &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("RETURNS TABLE"), "{said}");
    let (code, said) = check(NO_POSTGRES, "auth.nobody", &[]);
    assert_eq!(code, Some(0), "{said}");
    let unknown = "unknown: whether the function auth.nobody can be called: ";
    assert!(said.starts_with(unknown), "{said}");
    let (code, said) = check(&url, "auth.nobody", &["--offline"]);
    let expected = "'alle serve' can start with this configuration.\n";
    assert_eq!((code, &*said), (Some(0), expected));
}

#[test]
fn options_that_cannot_work_are_wrong_usage() {
    for name in ["", "bearer", "a.b.c", "auth.bearer(text)"] {
        let arguments = ["serve", "-w", "127.0.0.1:0", "--auth-function", name];
        let (code, _, stderr) = run(alle_with(&arguments));
        assert_eq!(code, Some(2), "{name}: {stderr}");
        assert!(stderr.contains("SCHEMA.NAME"), "{stderr}");
    }
    // A longer patience than an hour is none.
    let hours = Duration::from_secs(2 * 60 * 60).as_secs().to_string();
    let (code, _, stderr) = run(alle_with(&["serve", "--auth-timeout", &hours]));
    assert_eq!(code, Some(2), "{stderr}");
}
