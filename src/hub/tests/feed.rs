//! A program that feeds the hub lost something of every channel: the gaps are told a slice in each
//! turn, and whatever else happens to a channel meanwhile happens behind its gap.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{reader::Reader, world::World};
use crate::{
    channel::Channel,
    hub::{
        Settings,
        feed::Fed,
        work::{GAP_UNITS, UNITS_PER_TURN},
    },
    id::ClientId,
    random::Random,
    sse::event_id::EventId,
};

const CHANNELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn fed() -> World {
    World::fed(Settings::default())
}

fn notify(world: &mut World, channel: &str, payload: &str) {
    let channel = Channel::new(channel).unwrap();
    let fed = Fed::Notification(channel, payload.to_owned());
    world.hub.handle_fed(&fed);
}

/// Something of every channel is lost, and the turn is so far that so many gaps are told in it.
fn lose(world: &mut World, gaps: usize) {
    world.hub.work.spend(UNITS_PER_TURN - gaps * GAP_UNITS);
    world.hub.handle_fed(&Fed::Overflow);
}

/// A client that has heard that it is subscribed to all of them.
fn subscriber(world: &mut World) -> ClientId {
    let client = world.client();
    for channel in CHANNELS {
        say(world, client, "subscribe", channel);
    }
    assert_eq!(world.types(client), ["subscribed"; CHANNELS.len()]);
    client
}

/// In the middle of a turn.
fn say(world: &mut World, client: ClientId, kind: &str, channel: &str) {
    let text = format!(r#"{{"type":"{kind}","channel":"{channel}"}}"#);
    let frame = super::frames::masked(0x81, text.as_bytes());
    world.input_unsettled(client, &frame);
}

/// The messages about this channel, of which kinds they are.
fn kinds(messages: &[Value], channel: &str) -> Vec<String> {
    let about = messages.iter().filter(|it| it["channel"] == channel);
    about
        .map(|it| it["type"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_notification_does_not_overtake_the_gap_of_its_channel() {
    let mut world = fed();
    let ann = subscriber(&mut world);
    lose(&mut world, 2);
    assert_eq!(world.hub.metrics().gaps, 2, "the others are to come");
    notify(&mut world, "e", "x");
    assert_eq!(world.hub.metrics().gaps, 3, "one of them now");
    let messages = world.messages(ann);
    assert_eq!(kinds(&messages, "e"), ["gap", "notification"]);
    for channel in ["a", "b", "c", "d", "f"] {
        assert_eq!(kinds(&messages, channel), ["gap"], "{channel}");
    }
    assert!(
        messages
            .iter()
            .all(|it| it["type"] != "gap" || it["reason"] == "overflow")
    );
}

#[test]
fn a_client_that_subscribes_before_the_gap_is_told_has_none() {
    let mut world = fed();
    let ann = subscriber(&mut world);
    let bob = world.client();
    lose(&mut world, 0);
    world.hub.end_turn();
    say(&mut world, bob, "subscribe", "f");
    let (of_ann, of_bob) = (world.messages(ann), world.messages(bob));
    assert_eq!(kinds(&of_bob, "f"), ["subscribed"]);
    for channel in CHANNELS {
        assert_eq!(kinds(&of_ann, channel), ["gap"], "{channel}");
    }
    let gap = of_ann.iter().find(|it| it["channel"] == "f").unwrap();
    assert_eq!(of_bob[0]["epoch"], gap["epoch"], "it begins behind the gap");
    assert_eq!(of_bob[0]["seq"], gap["seq"]);
}

#[test]
fn an_unsubscribe_is_answered_behind_the_gap() {
    let mut world = fed();
    let ann = subscriber(&mut world);
    lose(&mut world, 0);
    world.hub.end_turn();
    say(&mut world, ann, "unsubscribe", "f");
    assert_eq!(kinds(&world.messages(ann), "f"), ["gap", "unsubscribed"]);
}

/// Its slot, too, may have another client by then.
#[test]
fn a_client_that_is_closed_before_its_gaps_are_told_has_none_and_leaves_none() {
    let mut world = fed();
    let ann = subscriber(&mut world);
    let bob = subscriber(&mut world);
    lose(&mut world, 1);
    world.disconnect(ann);
    let cat = world.client();
    assert_eq!(cat.slot, ann.slot);
    say(&mut world, cat, "subscribe", "f");
    assert_eq!(world.types(cat), ["subscribed"]);
    assert_eq!(world.types(bob), ["gap"; CHANNELS.len()]);
    lose(&mut world, 1);
    world.disconnect(bob);
    world.disconnect(cat);
    assert_eq!(
        (world.channels(), world.hub.delivery.retained_bytes()),
        (0, 0)
    );
    assert!(!world.hub.work.is_behind());
}

#[test]
fn a_loss_before_the_gaps_of_another_are_told_makes_one_of_both_and_lets_none_wait_for_ever() {
    let mut world = fed();
    let ann = subscriber(&mut world);
    for _ in 0..CHANNELS.len() {
        lose(&mut world, 1);
        world.hub.end_turn();
    }
    assert_eq!(world.hub.metrics().gaps, 6, "no loss sends the walk back");
    let messages = world.messages(ann);
    for (at, channel) in CHANNELS.into_iter().enumerate() {
        // The last loss is that before the last channel was told.
        let gaps = if at + 1 < CHANNELS.len() { 2 } else { 1 };
        assert_eq!(kinds(&messages, channel).len(), gaps, "{channel}");
    }
    lose(&mut world, CHANNELS.len());
    world.types(ann);
    assert_eq!(world.types(ann), [""; 0], "and all is told");
}

#[test]
fn what_one_channel_missed_is_told_once() {
    let mut world = fed();
    let ann = subscriber(&mut world);
    lose(&mut world, 0);
    world.hub.handle_fed(&Fed::Gap(Channel::new("f").unwrap()));
    assert_eq!(kinds(&world.messages(ann), "f"), ["gap"]);
}

/// The reader's position is the place of what it read last, over all its channels.
#[test]
fn a_reader_of_events_moves_on_with_each_gap() {
    let mut world = fed();
    let (mut reader, _) = Reader::open(&mut world, &CHANNELS);
    lose(&mut world, 2);
    notify(&mut world, "e", "x");
    world.hub.end_turn();
    notify(&mut world, "f", "x");
    let events = reader.read(&mut world);
    let names: Vec<_> = events.iter().map(|it| (it.channel(), &*it.name)).collect();
    let expected = [
        ("a", "gap"),
        ("b", "gap"),
        ("e", "gap"),
        ("e", ""),
        ("f", "gap"),
        ("f", ""),
        ("c", "gap"),
        ("d", "gap"),
    ];
    assert_eq!(names, expected);
    let ids = events.iter().map(|it| it.id.as_deref().unwrap());
    let places: Vec<_> = ids.filter_map(|id| EventId::parse(id)?.place).collect();
    assert_eq!(places.len(), CHANNELS.len(), "a notification has a number");
    assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
}

/// What the program said, and what a client heard of it.
#[derive(Default)]
struct Subscription {
    /// How many losses it was last told of, or began behind.
    told: u64,
    /// The number of the last notification.
    seq: u64,
}

/// Whatever the order: a client hears no notification from behind a loss before the gap of its channel,
/// of each loss it is told, and what it hears of an epoch is counted without a hole.
#[test]
fn whatever_happens_before_the_gaps_are_told_happens_behind_them() {
    for seed in 0..256 {
        play(seed);
    }
}

fn play(seed: u64) {
    let mut random = Random::new(seed);
    let mut below = |bound: u64| random.bits() % bound;
    let mut world = fed();
    let mut clients: Vec<_> = (0..3).map(|_| (world.client(), BTreeMap::new())).collect();
    let mut losses = 0_u64;
    for _ in 0..200 {
        let channel = CHANNELS[usize::try_from(below(6)).unwrap()];
        let at = usize::try_from(below(3)).unwrap();
        match below(12) {
            0 | 1 => {
                // What is under way is read first, so that a gap that is read later is of this loss.
                for (client, heard) in &mut clients {
                    hear(&world.messages(*client), heard, losses, seed);
                }
                losses += 1;
                lose(&mut world, usize::try_from(below(4)).unwrap());
                world.hub.end_turn();
            }
            2..=5 => notify(&mut world, channel, &losses.to_string()),
            6 | 7 => say(&mut world, clients[at].0, "subscribe", channel),
            8 => say(&mut world, clients[at].0, "unsubscribe", channel),
            9 => {
                world.hub.handle_client_closed(clients[at].0);
                world.hub.end_turn();
                world.settle();
                clients[at] = (world.client(), BTreeMap::new());
            }
            10 => {
                world
                    .hub
                    .work
                    .spend(UNITS_PER_TURN - usize::try_from(below(3)).unwrap());
                world.hub.end_turn();
            }
            _ => {
                let (client, heard) = &mut clients[at];
                hear(&world.messages(*client), heard, losses, seed);
            }
        }
        world.hub.check_invariants();
    }
    for (client, heard) in &mut clients {
        hear(&world.messages(*client), heard, losses, seed);
        for (channel, subscription) in heard {
            assert_eq!(subscription.told, losses, "seed {seed}: {channel}");
        }
    }
}

fn hear(messages: &[Value], heard: &mut BTreeMap<String, Subscription>, losses: u64, seed: u64) {
    for message in messages {
        let channel = message["channel"].as_str().unwrap().to_owned();
        let seq = message["seq"].as_u64().unwrap_or_default();
        let it = heard.entry(channel.clone()).or_default();
        match message["type"].as_str().unwrap() {
            "subscribed" | "gap" => (it.told, it.seq) = (losses, seq),
            "unsubscribed" => {
                heard.remove(&channel);
            }
            "notification" => {
                let sent: u64 = message["payload"].as_str().unwrap().parse().unwrap();
                assert!(sent <= it.told, "seed {seed}: {message} overtook a gap");
                it.seq += 1;
                assert_eq!(seq, it.seq, "seed {seed}: {message}");
            }
            other => panic!("{other}"),
        }
    }
}
