//! PostgreSQL is harmed in every possible way while a session publishes all the time: clients are
//! told of it, and receive notifications again within two seconds of its return.
//!
//! Once each in `cargo test`; `make outages` repeats each ten times, and includes the slow ones.

use std::time::{Duration, Instant};

use alle::internals::sandbox::{Sandbox, StopMode};

use crate::{
    harness::Bridge,
    relay::{Fate, Relay},
    sql::Sql,
    witness::{Publisher, Witness},
};

/// The number of rounds of each harm.
fn rounds() -> usize {
    let rounds = std::env::var("ALLE_OUTAGE_ROUNDS");
    rounds.map_or(1, |rounds| rounds.parse().unwrap())
}

/// Plays every round against a bridge that reaches the server by `url`, while one session publishes
/// all the time and one client listens.
#[track_caller]
fn every_round(
    server: &Sandbox,
    url: &str,
    play: impl Fn(usize, &Bridge, &Publisher, &mut Witness<'_>),
) {
    let bridge = Bridge::start(url);
    let publisher = Publisher::start(&[server.port()]);
    let mut witness = Witness::subscribe(&bridge, &publisher);
    for round in 1..=rounds() {
        play(round, &bridge, &publisher, &mut witness);
    }
}

/// Harm that ends the sessions; it returns at the moment when the server is back.
#[track_caller]
fn every_outage_is_told(name: &str, harm: impl Fn(&Sandbox)) {
    let server = Sandbox::start().unwrap();
    every_round(
        &server,
        &server.url(),
        |round, bridge, publisher, witness| {
            harm(&server);
            let back = Instant::now();
            witness.hear_of_the_outage();
            witness.hear_of_the_return();
            report(name, round, back.elapsed(), HEARD_AGAIN_WITHIN);
            // Up is up: what is published right after it is not refused.
            assert_eq!(
                bridge.client().notify("published", "at once")["type"],
                "notified"
            );
            bridge.wait_until_ready();
            witness.hear_a_number_after(publisher.committed());
        },
    );
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "`make outages` is there to be read")]
fn report(name: &str, round: usize, took: Duration, limit: Duration) {
    println!("{name}, round {round}: heard again after {took:.1?}");
    // On a busy machine nothing is in time; `make outages` reports the time instead.
    let is_measured = std::env::var_os("ALLE_OUTAGE_ROUNDS").is_some();
    assert!(
        !is_measured || took < limit,
        "{name}, round {round}: {took:?}"
    );
}

#[test]
fn a_terminated_session() {
    every_outage_is_told("pg_terminate_backend", |server| {
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name = 'alle'";
        let terminated = Sql::connect(server.port(), "postgres").run(terminate);
        assert_eq!(terminated.len(), 1);
    });
}

#[test]
fn an_immediate_stop() {
    every_outage_is_told("immediate stop", |server| {
        server.stop(StopMode::Immediate).unwrap();
        server.start_again().unwrap();
    });
}

#[test]
fn a_fast_stop() {
    every_outage_is_told("fast stop", |server| server.restart().unwrap());
}

#[test]
fn a_killed_server() {
    every_outage_is_told("kill -9", |server| {
        server.kill9().unwrap();
        server.start_again().unwrap();
    });
}

/// A server that only slept has lost nothing, and no client is told.
#[test]
fn a_server_frozen_for_a_moment() {
    let server = Sandbox::start().unwrap();
    every_round(
        &server,
        &server.url(),
        |round, bridge, publisher, witness| {
            server.pause().unwrap();
            assert_eq!(bridge.client().said_so_far(), [] as [serde_json::Value; 0]);
            server.resume().unwrap();
            let back = Instant::now();
            witness.hear_a_number_after(publisher.committed());
            report(
                "SIGSTOP for a moment",
                round,
                back.elapsed(),
                HEARD_AGAIN_WITHIN,
            );
        },
    );
}

#[test]
#[ignore = "takes half a minute a round: make outages"]
fn a_server_frozen_for_long() {
    let server = Sandbox::start().unwrap();
    every_round(&server, &server.url(), |round, _, publisher, witness| {
        server.pause().unwrap();
        let frozen = Instant::now();
        witness.hear_of_the_outage();
        report("SIGSTOP noticed", round, frozen.elapsed(), NOTICED_WITHIN);
        server.resume().unwrap();
        let back = Instant::now();
        witness.hear_of_the_return();
        report("SIGSTOP", round, back.elapsed(), HEARD_AGAIN_WITHIN);
        witness.hear_a_number_after(publisher.committed());
    });
}

/// A loss that neither end notices, for instance because a firewall forgot the connection: only the
/// heartbeat can tell. (The same in no time: `silence_of_postgres_is_probed_and_then_the_end` of
/// the hub.)
#[test]
#[ignore = "takes half a minute a round: make outages"]
fn a_link_that_became_a_black_hole() {
    let server = Sandbox::start().unwrap();
    let relay = Relay::start(server.port());
    every_round(&server, &relay.url(), |round, _, publisher, witness| {
        relay.harm(Fate::BlackHole);
        let lost = Instant::now();
        witness.hear_of_the_outage();
        witness.hear_of_the_return();
        report("black hole", round, lost.elapsed(), NOTICED_WITHIN);
        witness.hear_a_number_after(publisher.committed());
    });
}

const HEARD_AGAIN_WITHIN: Duration = Duration::from_secs(2);
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
