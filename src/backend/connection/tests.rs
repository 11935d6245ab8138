//! A connection alone, through the failures of its attempts.

use super::*;

#[expect(clippy::disallowed_methods, reason = "a point to count from")]
fn start() -> Instant {
    Instant::now()
}

fn connection(url: &str, now: Instant) -> Connection {
    let config = Config::parse(url, &|_| None).unwrap();
    Connection::new(Role::Listening, config, 7, now)
}

fn refused() -> FailureKind {
    FailureKind::connection(io::ErrorKind::ConnectionRefused, "failed: refused")
}

/// Begins a round with the settings that it has.
fn begin_round(connection: &mut Connection, now: Instant) {
    assert!(matches!(connection.handle_timeout(now), Some(Due::Resolve)));
    connection.handle_resolved(connection.config.clone(), 7, now);
}

/// Fails the attempt as refused. Returns whether the next one is made at once.
fn refuse(connection: &mut Connection, now: Instant) -> bool {
    match connection.fail(refused(), &mut Random::new(7), now) {
        Aftermath::NextRoute => true,
        Aftermath::NextRound { ended } => {
            assert!(ended.is_none(), "no session was up");
            false
        }
    }
}

#[test]
fn a_round_tries_each_server_and_waits_then() {
    let now = start();
    let mut connection = connection("postgres://u@a,b/x?sslmode=disable", now);
    begin_round(&mut connection, now);
    assert_eq!(connection.server().to_string(), "a:5432");
    assert!(refuse(&mut connection, now));
    assert_eq!(connection.server().to_string(), "b:5432");
    assert!(connection.failure().is_none(), "the round goes on");
    assert!(!refuse(&mut connection, now));
    assert!(connection.is_waiting() && connection.deadline() > now);
    assert_eq!(connection.failure().unwrap().address, "b:5432");
    assert_eq!(connection.server().to_string(), "a:5432");
}

#[test]
fn an_attempt_is_given_the_time_that_the_configuration_says() {
    let now = start();
    for (parameters, timeout) in [
        ("sslmode=disable", CONNECT_TIMEOUT),
        ("connect_timeout=7", Duration::from_secs(7)),
    ] {
        let mut connection = connection(&format!("postgres://u@a/x?{parameters}"), now);
        begin_round(&mut connection, now);
        let deadline = now + timeout;
        assert_eq!(connection.deadline(), deadline);
        connection.handle_connected(Protection::None);
        assert!(connection.session().is_some() && !connection.is_secure());
        assert_eq!(connection.deadline(), deadline, "starting is part of it");
        let before = deadline - Duration::from_nanos(1);
        assert!(connection.handle_timeout(before).is_none());
        let due = connection.handle_timeout(deadline);
        assert!(matches!(due, Some(Due::Failure(_))), "{due:?}");
    }
}

#[test]
fn a_connection_that_is_not_asked_for_begins_no_session() {
    let mut connection = connection("postgres://u@a/x", start());
    connection.handle_connected(Protection::None);
    assert!(connection.session().is_none() && connection.is_waiting());
}
