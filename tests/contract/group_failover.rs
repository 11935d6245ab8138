//! PostgreSQL fails over to its standby under a group of bridges: no position outlives that.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use crate::{
    crowd::{CHANNELS_EACH, Crowd},
    group::{come_to, in_group, in_patient_group, metric, report, wait_until_known},
    harness::wait_until,
    standby::{start_pair, url},
};

/// The primary dies while many are served, and the standby takes its place. What was published meanwhile
/// may be in the one and not in the other: everybody is told of a gap, and nobody goes on.
#[test]
fn no_position_outlives_a_failover_under_load() {
    let (clients, channels) = (40, 12);
    let [primary, standby] = start_pair();
    let servers = url([&primary, &standby], "");
    let group = [0, 1].map(|_| in_patient_group(&servers, &[]));
    let ports = [primary.port(), standby.port()];
    let crowd = Crowd::gather_at(&ports, clients, channels, "postgres");
    crowd.go_to(&group.each_ref().map(|it| it.address));
    crowd.wait_until_all_hear();
    let mut witnesses = group.each_ref().map(|bridge| {
        let mut client = bridge.client();
        let position = client.subscribe("idle");
        (client, position)
    });
    for (bridge, (_, position)) in group.iter().rev().zip(&witnesses) {
        wait_until_known(bridge, "idle", position);
    }
    let offsets = |at: usize| metric(&group[at], "alle_group_offsets");
    assert!(offsets(0) > 0 && offsets(1) > 0);

    primary.kill9().unwrap();
    // Whoever comes back before there is a server again has to reload as well.
    let mut waiting = group.each_ref().map(|bridge| {
        let mut client = bridge.client();
        let (_, position) = &witnesses[0];
        client.send(&json!({"type": "subscribe", "channel": "idle", "id": 1,
            "since": {"epoch": position["epoch"], "seq": position["seq"]}}));
        client
    });
    standby.promote().unwrap();
    for (client, position) in &mut witnesses {
        let status = client.next();
        assert_eq!(status["postgres"], "down", "{status}");
        let gap = client.next();
        assert_eq!((&gap["channel"], &gap["seq"]), (&json!("idle"), &json!(0)));
        assert_ne!(gap["epoch"], position["epoch"]);
    }
    for client in &mut waiting {
        assert_eq!(client.expect_answer(1)["recovered"], false);
    }
    crowd.wait_until_all_hear();
    for bridge in &group {
        bridge.wait_until_ready();
    }
    let newcomer = in_group(&servers, &[]);
    for bridge in group.iter().chain([&newcomer]) {
        for (_, position) in &witnesses {
            let answer = come_to(bridge, "idle", position);
            assert_eq!(answer["recovered"], false, "{answer}");
        }
    }
    wait_until("the bridges are a group on the new primary", || {
        group
            .iter()
            .all(|bridge| metric(bridge, "alle_group_peers") == 2)
    });

    let crowd = crowd.finish();
    let seen = crowd.seen();
    report(&format!("{seen:?}"));
    assert_eq!(seen.recovered.load(SeqCst), 0, "{seen:?}");
    assert_eq!(seen.missed.load(SeqCst), 0, "{seen:?}");
    assert_eq!(seen.twice.load(SeqCst), 0, "{seen:?}");
    // Down, and up again.
    let statuses = seen.statuses.load(SeqCst);
    assert!(statuses >= 2 * clients as u64, "{seen:?}");
    let told = seen.gaps.load(SeqCst) + seen.reloaded.load(SeqCst);
    assert!(told >= (clients * CHANNELS_EACH) as u64, "{seen:?}");
}
