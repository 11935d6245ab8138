//! Contract, section 1: how the program logs in to PostgreSQL, and its log if it is refused.

use std::{fs, sync::OnceLock};

use alle::internals::sandbox::Sandbox;

use crate::{
    harness::{Bridge, wait_until},
    sql::Sql,
};

/// A password in which a URL must encode nearly everything.
const PASSWORD: &str = "p@ss/w:rd% ?#é";
const PASSWORD_IN_URL: &str = "p%40ss%2Fw%3Ard%25%20%3F%23%C3%A9";

/// One server for this file, which asks each role for its password by another method.
fn server() -> &'static Sandbox {
    static SERVER: OnceLock<Sandbox> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Sandbox::start().unwrap();
        let mut sql = Sql::connect(server.port(), "postgres");
        for (role, encryption) in [("scram", "scram-sha-256"), ("md5", "md5"), ("plain", "md5")] {
            sql.run(&format!("SET password_encryption = '{encryption}'"));
            sql.run(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
        }
        sql.run("CREATE ROLE trusted LOGIN; CREATE ROLE barred LOGIN");
        let rules = "local all  postgres,trusted      trust\n\
                     local all  scram                 scram-sha-256\n\
                     host  all  postgres,trusted  all trust\n\
                     host  all  scram             all scram-sha-256\n\
                     host  all  md5               all md5\n\
                     host  all  plain             all password\n\
                     host  all  barred            all reject\n";
        fs::write(server.data_dir().join("pg_hba.conf"), rules).unwrap();
        sql.run("SELECT pg_reload_conf()");
        wait_until("the rules are read", || {
            sql.one("SELECT count(*) FROM pg_hba_file_rules WHERE user_name @> '{barred}'") == "1"
                && fs::read_to_string(server.log_file())
                    .unwrap()
                    .contains("reloading")
        });
        server
    })
}

fn tcp_url(user_and_password: &str, database: &str) -> String {
    format!(
        "postgresql://{user_and_password}@127.0.0.1:{}/{database}",
        server().port()
    )
}

/// Both sessions are accepted, and work.
#[track_caller]
fn expect_let_in(url: &str) {
    let bridge = Bridge::start(url);
    let mut client = bridge.client();
    client.subscribe("c");
    assert_eq!(client.notify("c", "p")["type"], "notified");
    assert_eq!(client.payload(), "p");
    assert!(!bridge.log().contains("p@ss"), "{}", bridge.log());
}

#[test]
fn scram_sha_256_lets_in() {
    expect_let_in(&tcp_url(&format!("scram:{PASSWORD_IN_URL}"), "postgres"));
}

#[test]
fn md5_lets_in() {
    expect_let_in(&tcp_url(&format!("md5:{PASSWORD_IN_URL}"), "postgres"));
}

#[test]
fn a_password_in_the_clear_lets_in() {
    expect_let_in(&tcp_url(&format!("plain:{PASSWORD_IN_URL}"), "postgres"));
}

#[test]
fn trust_lets_in_over_tcp() {
    expect_let_in(&tcp_url("trusted", "postgres"));
}

#[test]
fn trust_lets_in_over_a_unix_socket() {
    expect_let_in(&server().unix_url("postgres"));
}

#[test]
fn scram_sha_256_lets_in_over_a_unix_socket() {
    let user = format!("//scram:{PASSWORD_IN_URL}@");
    expect_let_in(&server().unix_url("postgres").replace("//postgres@", &user));
}

/// One line per session at most, in words, and clients are served meanwhile.
#[track_caller]
fn expect_refused(url: &str, words: &[&str]) {
    let bridge = Bridge::serve(url, &["-l", "trace"]);
    for word in words {
        bridge.wait_for_log(word);
    }
    let mut client = bridge.client();
    assert_eq!(client.next()["postgres"], "down");
    assert_eq!(client.notify("c", "p")["code"], "postgres_down");
    assert_eq!(bridge.get("/readyz").status, 503);
    let log = bridge.log();
    for secret in ["p@ss", "p%40ss", "wrong-secret"] {
        assert!(!log.contains(secret), "{log}");
    }
    let complaints = log.lines().filter(|line| line.contains(words[0]));
    assert!(complaints.count() <= 2, "once for each session: {log}");
}

#[test]
fn a_wrong_password_is_logged_in_words_and_not_shown() {
    server();
    for role in ["scram", "md5", "plain"] {
        let url = tcp_url(&format!("{role}:wrong-secret"), "postgres");
        expect_refused(&url, &["password authentication failed", role]);
    }
}

#[test]
fn a_password_that_is_missing_is_logged_in_words() {
    for role in ["scram", "md5", "plain"] {
        expect_refused(&tcp_url(role, "postgres"), &["password"]);
    }
}

#[test]
fn an_unknown_database_is_logged_in_words() {
    let url = tcp_url(&format!("scram:{PASSWORD_IN_URL}"), "nowhere");
    expect_refused(&url, &["nowhere", "does not exist"]);
}

#[test]
fn a_role_that_may_not_come_in_is_logged_in_words() {
    expect_refused(&tcp_url("barred", "postgres"), &["pg_hba.conf", "barred"]);
}
