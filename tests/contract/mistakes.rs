//! The mistakes that other clients of LISTEN/NOTIFY made, each with the test that it is not made
//! here.
//!
//! | mistake | where it was made | test |
//! | --- | --- | --- |
//! | notifications during an outage are lost in silence | sqlx 447, eventstore 309, porsager 391 | `outages::a_killed_server`, `reconnect::between_two_gaps_nothing_is_missing` |
//! | the loss is reported before LISTEN is repeated | sqlx 1102, 3585 | `notifications_at_the_gap_are_delivered` |
//! | an end of the connection is not a loss | sqlx 2921, 3062 | `a_connection_that_is_closed_is_a_loss`, `a_connection_that_is_reset_is_a_loss`, `outages::a_terminated_session` |
//! | a half-open connection is silent for ever | pgx 40, asyncpg 519, node-postgres 967, 3003, pg-boss 850 | `silence_of_postgres_is_probed_and_then_the_end`, `outages::a_link_that_became_a_black_hole` |
//! | it gives up after a few seconds | pg-listen 56 | `it_never_gives_up` |
//! | of several channels one is restored | porsager 490 | `reconnect::thousands_of_channels_are_listened_to_again` |
//! | names are not quoted, or twice | sqlx 369, porsager 157, pgo 118 | `semantics::channel_names_are_exact_and_never_inject` |
//! | a long name is cut, and matches nothing | bun 32089 | `protocol::bad_channels_are_refused_by_name_in_every_request`, `a_cut_channel_name_fails_its_listen_and_no_other_request` |
//! | notifications wait for the next query | asyncpg 1089, pg-nano 5 | `a_notification_waits_for_no_query` |
//! | a notification amid the answers to a query is not expected | go-pg 1385 | `notifications_amid_the_answers_to_listen_are_heard`, `events_are_the_same_for_every_split_point` |
//! | a transaction pooler loses all notifications unnoticed | pgbouncer 655, npgsql 2782 | `pooler::a_transaction_pooler_is_recognised_at_the_start_and_nothing_is_promised`, `who_hears_nothing_is_not_up_and_says_so`, `whoever_serves_us_under_another_s_number_is_a_pooler` |
//! | a slow consumer holds up the rest | graphql-engine 6263 | `slow_reader::a_client_that_makes_no_progress_for_10_s_is_closed_with_4008_and_delays_nobody` |
//! | equal payloads become one | lib/pq 823 | `semantics::equal_payloads_are_as_many_notifications`, `publishing::equal_publishes_of_many_clients_are_as_many_notifications` |

use std::{collections::HashSet, time::Instant};

use alle::internals::sandbox::Sandbox;
use serde_json::json;

use crate::{
    harness::{AT_ONCE, Bridge, bridge_and_database, wait_until},
    relay::{Fate, Relay},
    witness::{Publisher, Witness},
};

/// If the gap were sent before LISTEN is confirmed, a notification would be lost now and then.
#[test]
fn notifications_at_the_gap_are_delivered() {
    const CHANNELS: usize = 50;
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    for channel in 0..CHANNELS {
        client.subscribe(&channel.to_string());
    }
    // Few rounds, since a loss right after another is repaired later.
    for _ in 0..4 {
        sql.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'alle'",
        );
        let (mut told, mut heard) = (HashSet::new(), HashSet::new());
        while heard.len() < CHANNELS {
            let message = client.next();
            let channel = message["channel"].as_str().unwrap_or_default().to_owned();
            match message["type"].as_str() {
                Some("gap") => {
                    sql.notify(&channel, "now");
                    assert!(told.insert(channel), "{message}");
                }
                Some("notification") => assert!(heard.insert(channel), "{message}"),
                _ => assert_eq!(message["type"], "status"),
            }
        }
        assert_eq!(told, heard);
    }
}

#[track_caller]
fn is_a_loss(fate: Fate) {
    let server = Sandbox::start().unwrap();
    let relay = Relay::start(server.port());
    let bridge = Bridge::start(&relay.url());
    let publisher = Publisher::start(&[server.port()]);
    let mut witness = Witness::subscribe(&bridge, &publisher);
    relay.harm(fate);
    let harmed = Instant::now();
    witness.hear_of_the_outage();
    witness.hear_of_the_return();
    let took = harmed.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_connection_that_is_closed_is_a_loss() {
    is_a_loss(Fate::Close);
}

#[test]
fn a_connection_that_is_reset_is_a_loss() {
    is_a_loss(Fate::Reset);
}

/// The next attempt is soon even after many failures: if the pause doubled without a bound, it
/// would be ten seconds away.
#[test]
fn it_never_gives_up() {
    let server = Sandbox::start().unwrap();
    let relay = Relay::start(server.port());
    let bridge = Bridge::start(&relay.url());
    let publisher = Publisher::start(&[server.port()]);
    let mut witness = Witness::subscribe(&bridge, &publisher);
    relay.shut();
    witness.hear_of_the_outage();
    wait_until("eight attempts of both sessions", || relay.refused() >= 16);
    relay.open();
    let back = Instant::now();
    witness.hear_of_the_return();
    let took = back.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_notification_waits_for_no_query() {
    let (bridge, database) = bridge_and_database();
    let mut client = bridge.client();
    client.subscribe("c");
    let mut sql = database.sql();
    let start = Instant::now();
    sql.notify("c", "p");
    assert_eq!(client.payload(), "p");
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn notifications_amid_the_answers_to_listen_are_heard() {
    let (bridge, database) = bridge_and_database();
    let (mut client, mut sql) = (bridge.client(), database.sql());
    client.subscribe("busy");
    for round in 0..9 {
        let subscribe =
            |n: usize| json!({"type": "subscribe", "channel": format!("{round}/{n}"), "id": n});
        client.send_all(&(0..100).map(subscribe).collect::<Vec<_>>());
        for n in 0..20 {
            sql.notify("busy", &format!("{round}/{n}"));
        }
        for n in 0..100 {
            assert_eq!(client.expect_answer(n)["type"], "subscribed");
        }
        for n in 0..20 {
            assert_eq!(client.payload(), format!("{round}/{n}"));
        }
    }
}

/// Every test that the table names exists.
#[test]
fn every_mistake_has_its_test() {
    let tests = [
        include_str!("mistakes.rs"),
        include_str!("outages.rs"),
        include_str!("pooler.rs"),
        include_str!("protocol.rs"),
        include_str!("publishing.rs"),
        include_str!("reconnect.rs"),
        include_str!("semantics.rs"),
        include_str!("slow_reader.rs"),
        include_str!("../../src/hub/tests/backend.rs"),
        include_str!("../../src/hub/tests/proof.rs"),
        include_str!("../../src/pg/session/tests.rs"),
    ];
    let table = include_str!("mistakes.rs").lines();
    let rows = table.filter_map(|line| line.strip_prefix("//! | ")?.rsplit('|').nth(1));
    let names = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut count = 0;
    for name in names {
        let function = format!("fn {}(", name.rsplit("::").next().unwrap());
        assert!(tests.iter().any(|text| text.contains(&function)), "{name}");
        count += 1;
    }
    assert!(count >= 13, "the table was read");
}
