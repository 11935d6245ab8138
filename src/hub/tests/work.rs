//! No turn does more than its budget, whatever clients do: counted in units of work.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use super::{frames::masked, world::World};
use crate::{
    access::{Access, tokens::Tokens},
    config::Limits,
    hub::{
        Settings,
        feed::Fed,
        work::{CLOSE_UNITS, GAP_UNITS, LINKS_A_UNIT, LOOKS_A_UNIT, UNITS_PER_TURN},
    },
    id::ClientId,
    ws::close::CloseReason,
};

/// So many clients of a bridge with these settings, none of them subscribed to anything.
fn crowd(settings: Settings, count: usize) -> (World, Vec<ClientId>) {
    let mut world = World::with_settings(settings);
    world.is_checked = false;
    let clients = (0..count).map(|_| world.client()).collect();
    world.units_max = 0;
    (world, clients)
}

/// The most that is done at once after the budget was looked at last.
const UNITS_AT_ONCE: usize = 500;

/// Nothing took longer than it may, and all is as it should be.
fn check(world: &mut World) {
    world.settle();
    world.hub.check_invariants();
    let bound = UNITS_PER_TURN + UNITS_AT_ONCE;
    assert!(world.units_max <= bound, "{} units", world.units_max);
}

fn subscribe_to(channels: std::ops::Range<usize>) -> Vec<u8> {
    let texts = channels.map(|it| format!(r#"{{"type":"subscribe","channel":"c{it}"}}"#));
    texts
        .flat_map(|text| masked(0x81, text.as_bytes()))
        .collect()
}

#[test]
fn a_flood_of_messages_is_worked_off_over_many_turns_and_in_order() {
    let (mut world, clients) = crowd(Settings::default(), 20);
    let mut flood = Vec::new();
    let mut count = 0;
    while flood.len() < 16 * 1_024 {
        count += 1;
        flood.extend(masked(
            0x81,
            format!(r#"{{"type":"ping","id":{count}}}"#).as_bytes(),
        ));
    }
    for &client in &clients {
        world.input_unsettled(client, &flood);
    }
    assert!(world.hub.is_turn_spent());
    check(&mut world);
    for client in clients {
        let messages = world.messages(client);
        let ids: Vec<_> = messages
            .iter()
            .map(|it| it["id"].as_u64().unwrap())
            .collect();
        assert!(
            ids.iter().copied().eq(1..=count),
            "each is answered, in order"
        );
    }
}

#[test]
fn a_flood_of_messages_leaves_some_of_each_turn_to_what_waits() {
    let (mut world, clients) = crowd(Settings::default(), 41);
    let (&gone, flooding) = clients.split_first().unwrap();
    world.input(gone, &subscribe_to(0..1_000));
    world.postgres_answers_all();
    let flood: Vec<u8> = (0..500)
        .flat_map(|_| masked(0x81, br#"{"type":"ping"}"#))
        .collect();
    for &client in flooding {
        world.input_unsettled(client, &flood);
    }
    world.hub.handle_client_closed(gone);
    for _ in 0..2 {
        assert!(world.hub.is_turn_spent());
        world.turn();
    }
    assert_eq!(world.hub.channels.links().count(), 0, "each was cut");
    assert!(world.hub.is_turn_spent(), "and the flood goes on");
    check(&mut world);
}

#[test]
fn subscribes_over_the_limit_cost_little() {
    let limits = Limits {
        client_answer_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let (mut world, clients) = crowd(settings, 2);
    world.input_unsettled(clients[0], &subscribe_to(0..1_000));
    world.settle();
    world.postgres_answers_all();
    world.postgres_dies();
    world.texts(clients[0]);
    for _ in 0..10 {
        world.input_unsettled(clients[0], &subscribe_to(5_000..5_300));
    }
    check(&mut world);
    let refused = world.messages(clients[0]);
    assert_eq!(refused.len(), 3_000);
    assert!(
        refused
            .iter()
            .all(|it| it["code"] == "too_many_subscriptions")
    );
}

#[test]
fn a_client_that_changes_its_token_again_and_again_is_looked_at_again_and_again() {
    let mut channels = "ann\nbob subscribe=".to_owned();
    (0..1_000).for_each(|it| write!(channels, "c{it},").unwrap());
    let settings = Settings {
        access: Access {
            tokens: Some(Tokens::parse(channels.trim_end_matches(',')).unwrap()),
            ..Access::default()
        },
        ..Settings::default()
    };
    let (mut world, clients) = crowd(settings, 1);
    let auth = |token: &str| {
        masked(
            0x81,
            format!(r#"{{"type":"auth","token":"{token}"}}"#).as_bytes(),
        )
    };
    world.input(clients[0], &auth("ann"));
    world.input(clients[0], &subscribe_to(0..1_000));
    world.postgres_answers_all();
    world.texts(clients[0]);
    let swaps: Vec<u8> = (0..100)
        .flat_map(|_| [auth("bob"), auth("ann")].concat())
        .collect();
    world.input_unsettled(clients[0], &swaps);
    check(&mut world);
    assert_eq!(world.types(clients[0]).len(), 200);
}

#[test]
fn links_of_clients_that_vanish_together_are_cut_over_many_turns() {
    let (mut world, clients) = crowd(Settings::default(), 20);
    for &client in &clients {
        world.input(client, &subscribe_to(0..1_000));
        world.postgres_answers_all();
    }
    world.units_max = 0;
    for client in clients {
        world.hub.handle_client_closed(client);
    }
    check(&mut world);
    assert_eq!(world.hub.client_count(), 0);
    // Their channels are kept for a while, and let go of together.
    world.units_max = 0;
    world.pass(Duration::from_secs(10));
    check(&mut world);
    world.postgres_answers_all();
    assert_eq!(world.channels(), 0);
}

/// One whose program feeds it, with so many channels at most.
fn fed_with(channels_max: usize) -> World {
    let mut world = World::fed(Settings {
        limits: Limits {
            channels_max,
            ..Limits::default()
        },
        ..Settings::default()
    });
    world.is_checked = false;
    world
}

/// So many clients, each with so many channels of its own.
fn subscribers(world: &mut World, count: usize, channels: usize) -> Vec<ClientId> {
    let clients: Vec<_> = (0..count).map(|_| world.client()).collect();
    for (at, &client) in clients.iter().enumerate() {
        world.input(client, &subscribe_to(at * channels..(at + 1) * channels));
    }
    clients
}

/// What they were is let go of by the same budget: a pass of each, say, that nobody is left for.
#[test]
fn channels_that_are_deserted_together_are_let_go_of_over_many_turns() {
    let mut world = fed_with(200_000);
    let clients = subscribers(&mut world, 40, 1_000);
    assert_eq!(world.channels(), 40_000);
    world.hold_writes = true;
    world.hub.handle_fed(&Fed::Overflow);
    check(&mut world);
    world.units_max = 0;
    for &client in &clients {
        world.hub.handle_client_closed(client);
    }
    let mut most = 0;
    while world.channels() > 0 {
        let before = world.channels();
        world.turn();
        most = most.max(before - world.channels());
    }
    check(&mut world);
    assert!(most <= UNITS_PER_TURN * LINKS_A_UNIT, "{most} in a turn");
    assert_eq!(world.hub.delivery.retained_bytes(), 0);
}

#[test]
fn a_gap_of_all_channels_is_told_over_many_turns_and_to_each_subscriber_once() {
    let mut world = fed_with(50_000);
    let clients = subscribers(&mut world, 20, 500);
    for &client in &clients {
        world.texts(client);
    }
    world.units_max = 0;
    world.hub.handle_fed(&Fed::Overflow);
    let (mut told, mut turns) = (0, 0);
    while told < 10_000 {
        world.turn();
        let now = usize::try_from(world.hub.metrics().gaps).unwrap();
        let gaps_max = UNITS_PER_TURN / GAP_UNITS;
        assert!(now - told <= gaps_max, "{} in a turn", now - told);
        assert!(now > told, "each turn tells some");
        (told, turns) = (now, turns + 1);
    }
    assert_eq!(turns, 10_000 * GAP_UNITS / UNITS_PER_TURN);
    check(&mut world);
    for (at, client) in clients.into_iter().enumerate() {
        let messages = world.messages(client);
        assert!(messages.iter().all(|it| it["type"] == "gap"));
        let channels = messages.iter().map(|it| it["channel"].as_str().unwrap());
        let channels: BTreeSet<_> = channels.map(str::to_owned).collect();
        let expected = (at * 500..(at + 1) * 500).map(|it| format!("c{it}"));
        assert_eq!((messages.len(), channels), (500, expected.collect()));
    }
    assert_eq!(world.hub.metrics().gaps, 10_000);
}

/// Its gaps are without end, and whoever leaves is let go of all the same.
#[test]
fn a_program_that_loses_something_in_every_turn_holds_up_nobodys_end() {
    let mut world = fed_with(50_000);
    let clients = subscribers(&mut world, 20, 500);
    world.hub.handle_client_closed(clients[7]);
    for _ in 0..3 {
        world.hub.handle_fed(&Fed::Overflow);
        world.turn();
    }
    assert_eq!(world.channels(), 9_500);
}

/// A write to a socket that takes bytes is paced by the clock of the shell, and a frame that joins what
/// waits for a socket that takes none is not: few of those between the writes must not add up. Each of the
/// client's channels is looked at.
#[test]
fn what_stalled_clients_are_owed_is_moved_over_many_turns() {
    for (count, channels, moves_max) in [(4_000, 1, 1_024), (600, 192, 256)] {
        let (mut world, clients) = crowd(Settings::default(), count);
        for &client in &clients {
            world.input_unsettled(client, &subscribe_to(0..channels));
        }
        world.settle();
        world.postgres_answers_all();
        for (at, &client) in clients.iter().enumerate() {
            world.texts(client);
            if at % 100 > 0 {
                world.stall(client, 0);
            }
        }
        world.notify("c0", "x");
        let frame = world.texts(clients[0])[0].len() + 2;
        world.hold_writes = true;
        world.notify("c0", "x");
        world.hold_writes = false;
        let moved = |world: &World| world.hub.delivery.sizes().backlog_bytes / frame;
        let stalled = count / 100 * 99;
        assert_eq!(moved(&world), stalled);
        let (mut before, mut turns) = (stalled, 0);
        while world.hub.has_transmit() {
            world.turn();
            let now = moved(&world);
            assert!(now - before <= moves_max, "{} in a turn", now - before);
            (before, turns) = (now, turns + 1);
        }
        assert_eq!(before, 2 * stalled);
        assert_eq!(turns, stalled.div_ceil(moves_max));
        check(&mut world);
    }
}

/// Which of its subscribes wait is looked up among all of them, and what its channels owe it when it is
/// closed is looked for in each.
#[test]
fn a_client_of_many_channels_costs_a_turn_what_it_is_looked_at() {
    let limits = Limits {
        client_answer_bytes_max: usize::MAX,
        subscriptions_max: 6_000,
        channels_max: 100_000,
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let (mut world, clients) = crowd(settings, 1);
    let ann = clients[0];
    world.input(ann, &subscribe_to(0..5_120));
    while world.hub.unparsed_bytes(ann) > 0 {
        world.settle();
    }
    world.settle();
    world.units_max = 0;
    world.input_unsettled(ann, &subscribe_to(5_120..5_220));
    let waiting = world.hub.channels.request_count(ann.slot);
    assert_eq!(
        waiting - 5_120,
        UNITS_PER_TURN.div_ceil(1 + 5_120 / LOOKS_A_UNIT)
    );
    check(&mut world);
    while world.hub.channels.request_count(ann.slot) > 0 {
        world.postgres_answers_all();
    }
    world.settle();
    let units = CLOSE_UNITS + world.hub.channels.links().client_count(ann.slot) / LOOKS_A_UNIT;
    assert_eq!(units, CLOSE_UNITS + 5_220 / LOOKS_A_UNIT);
    world.hub.work.spend(UNITS_PER_TURN - units);
    world.hub.close(ann.slot, CloseReason::GoingAway);
    assert!(world.hub.work.is_spent());
}

#[test]
fn all_that_wait_for_one_listen_are_answered_over_many_turns() {
    let (mut world, clients) = crowd(Settings::default(), 3_000);
    for &client in &clients {
        world.input_unsettled(client, &subscribe_to(0..1));
    }
    check(&mut world);
    world.postgres_answers_all();
    world.notify("c0", "x");
    check(&mut world);
    for client in clients {
        assert_eq!(world.types(client), ["subscribed", "notification"]);
    }
}

#[test]
fn readers_that_stall_together_are_closed_a_few_a_turn() {
    let settings = Settings {
        limits: Limits {
            retained_bytes_max: 100_000,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let (mut world, clients) = crowd(settings, 1_000);
    for &client in &clients {
        world.input_unsettled(client, &subscribe_to(0..1));
    }
    world.settle();
    world.postgres_answers_all();
    for &client in &clients {
        world.texts(client);
        world.stall(client, 0);
    }
    world.units_max = 0;
    for _ in 0..300 {
        world.notify("c0", &"x".repeat(1_000));
    }
    check(&mut world);
    assert!(world.hub.delivery.retained_bytes() <= 100_000);
    let closed = world.hub.metrics().closes.count("slow_consumer");
    assert!(closed > 900, "{closed}");
}

#[test]
fn tokens_read_again_and_a_stop_reach_all_clients_over_many_turns() {
    let settings = Settings {
        access: Access {
            tokens: Some(Tokens::parse("ann\nbob").unwrap()),
            ..Access::default()
        },
        ..Settings::default()
    };
    let (mut world, clients) = crowd(settings, 3_000);
    for (client, token) in clients.iter().zip(["ann", "bob"].into_iter().cycle()) {
        let auth = format!(r#"{{"type":"auth","token":"{token}"}}"#);
        world.input_unsettled(*client, &masked(0x81, auth.as_bytes()));
    }
    world.settle();
    world.hub.handle_tokens(Tokens::parse("bob").unwrap());
    check(&mut world);
    assert_eq!(world.hub.metrics().closes.count("token_gone"), 1_500);
    world.stop();
    world.pass(Duration::ZERO);
    check(&mut world);
    assert_eq!(world.hub.metrics().closes.count("going_away"), 1_500);
}
