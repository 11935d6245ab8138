//! Streams while they open: what their readers are told, and ends in the middle of it.

use std::time::Duration;

use super::{
    reader::{Reader, names, parse, request},
    world::World,
};
use crate::config::Limits;

/// The reader of a stream learns of an outage as everybody does, also of one that began before its
/// channels did.
#[test]
fn an_outage_that_begins_while_a_stream_opens_is_told_from_its_beginning_to_its_end() {
    let mut world = World::connected();
    let mut reader = Reader::ask(&mut world, &["a"], "");
    world.take_head(reader.client);
    world.postgres_dies();
    world.pass(Duration::from_secs(1));
    // More channels, so that PostgreSQL is not back at once when the stream begins.
    let others: Vec<_> = (0..3).map(|_| world.client()).collect();
    for (other, channel) in others.iter().zip(["b", "c", "d"]) {
        world.send(
            *other,
            &format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
        );
    }
    world.reconnect();
    let mut events = reader.read(&mut world);
    for _ in 0..4 {
        world.postgres_answers_one();
        events.extend(reader.read(&mut world));
    }
    let told = events.iter().filter(|it| it.name == "status");
    let told: Vec<_> = told.map(|it| it.data["postgres"].clone()).collect();
    assert_eq!(told, ["down", "up"]);
    assert!(names(&events).contains(&"subscribed"));
}

/// However much of its opening the socket took: the end stands between two events.
#[test]
fn a_reader_that_is_let_go_before_its_stream_has_opened_gets_whole_events() {
    let mut world = World::with_limits(Limits {
        channels_max: 1,
        ..Limits::default()
    });
    // The first one waits for PostgreSQL, and the others are refused.
    let query = "channel=a&channel=b&channel=c";
    let whole = request(&mut world, query, "");
    let head = world.take_head(whole).len();
    // The time to retry has one to four digits.
    let opening = world.take_text(whole).len() - 3;
    for room in 0..head + opening {
        let client = world.connect();
        world.stall(client, room);
        let asked = format!("GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.input(client, asked.as_bytes());
        world.pass(Duration::from_secs(11));
        world.unstall(client);
        world.take_head(client);
        let events = parse(&world.take_text(client));
        let end = events.last().unwrap();
        assert_eq!(end.data["code"], 4008, "after {room} bytes: {events:?}");
    }
}

/// The events of an opening are at the place from which the reader goes on, which may be before the
/// channel that they are of.
#[test]
fn a_reader_that_is_cut_between_the_answers_of_its_channels_misses_nothing() {
    let mut world = World::connected();
    let (first, _) = Reader::open(&mut world, &["old"]);
    let id = first.last_event_id;
    let _keeps_it = world.subscriber("young");
    for cut in 1..=3 {
        let mut reader = Reader::ask(&mut world, &["young", "old"], &id);
        world.take_head(reader.client);
        let text = world.take_text(reader.client);
        let blocks: Vec<_> = text.split_inclusive("\n\n").collect();
        let events = reader.take(&blocks.concat());
        assert_eq!(names(&events), ["", "subscribed", "gap", "subscribed"]);
        reader.last_event_id.clone_from(&id);
        reader.take(&blocks[..=cut].concat());
        let again = reader.reconnect(&mut world);
        let answers = again.iter().filter(|it| it.name == "subscribed");
        let answers: Vec<_> = answers.map(|it| it.data["recovered"].clone()).collect();
        assert_eq!(answers, [false, true], "cut after {cut}");
    }
}
