//! Readers of events in a group: an id of one bridge is a position at the others, too.

use crate::{
    harness::{Bridge, Database, wait_until},
    sql::Sql,
    stream::Stream,
};

fn in_group(database: &Database) -> Bridge {
    Bridge::start_with(&database.url(), &["--group", "g"])
}

fn open(bridge: &Bridge, last_event_id: &str) -> Stream {
    let target = "/sse?channel=a&channel=b&channel=idle";
    let host = bridge.address.to_string();
    Stream::try_open(bridge.address, &host, target, last_event_id).unwrap()
}

/// Whether each channel is recovered; of none a gap is told otherwise.
#[track_caller]
fn answers(stream: &mut Stream) -> Vec<bool> {
    let mut told = Vec::new();
    for _ in 0..3 {
        let subscribed = stream.expect("subscribed");
        told.push(subscribed["recovered"] == true);
        if subscribed["recovered"] == false {
            stream.expect("gap");
        }
    }
    told
}

/// A stream on which nothing is missing: before its peer has said where it stands, a gap is all that a
/// bridge can tell.
#[track_caller]
fn come_to(bridge: &Bridge, last_event_id: &str) -> Stream {
    let mut found = None;
    wait_until("the position is known there", || {
        let mut stream = open(bridge, last_event_id);
        let is_known = answers(&mut stream) == [true; 3];
        found = is_known.then_some(stream);
        is_known
    });
    found.unwrap()
}

/// Payloads that begin with their channel.
const ALL: [&str; 5] = ["a1", "b2", "b3", "a4", "b5"];

/// Each id that a reader may be cut at while it hears all: the first one before any of them.
#[track_caller]
fn ids_of_all(bridge: &Bridge, sql: &mut Sql) -> Vec<String> {
    let mut stream = open(bridge, "");
    answers(&mut stream);
    let mut ids = vec![stream.last_event_id.clone()];
    for payload in ALL {
        sql.notify(&payload[..1], payload);
        assert_eq!(stream.payload(), payload);
        ids.push(stream.last_event_id.clone());
    }
    ids
}

/// Behind each id follows at this bridge what its reader has not received: of channels in the order in
/// which PostgreSQL committed.
#[track_caller]
fn goes_on_wherever_cut(bridge: &Bridge, ids: &[String]) {
    for (count, id) in ids.iter().enumerate() {
        let mut stream = come_to(bridge, id);
        for missed in &ALL[count..] {
            assert_eq!(&stream.payload(), missed, "{id} after {count}");
        }
    }
}

#[test]
fn an_id_of_one_bridge_goes_on_at_another_wherever_the_reader_was_cut() {
    let database = Database::create();
    let (one, two) = (in_group(&database), in_group(&database));
    let mut ahead = open(&two, "");
    answers(&mut ahead);
    let mut sql = database.sql();
    let ids = ids_of_all(&one, &mut sql);
    for payload in ALL {
        assert_eq!(ahead.payload(), payload);
    }
    goes_on_wherever_cut(&two, &ids);
    // The first one is gone, and another has taken its place.
    drop(one);
    let three = in_group(&database);
    wait_until("it hears what its peer hears", || {
        three
            .get("/metrics")
            .body
            .contains("\nalle_group_channels_mirrored 3\n")
    });
    sql.notify("a", "a6");
    assert_eq!(ahead.payload(), "a6");
    let id = ahead.last_event_id.clone();
    sql.notify("b", "b7");
    assert_eq!(ahead.payload(), "b7");
    let mut stream = come_to(&three, &id);
    assert_eq!(stream.payload(), "b7");
}

/// It has read no notification yet: its position is behind those of a busy channel, though it was told of
/// a quiet one last.
#[test]
fn a_reader_that_was_only_told_where_it_stands_hears_nothing_again_at_another_bridge() {
    let database = Database::create();
    let (one, two) = (in_group(&database), in_group(&database));
    let mut readers = [open(&one, ""), open(&two, "")];
    for reader in &mut readers {
        answers(reader);
    }
    let mut sql = database.sql();
    for payload in ["b1", "a2", "a3", "a4"] {
        sql.notify(&payload[..1], payload);
        for reader in &mut readers {
            assert_eq!(reader.payload(), payload);
        }
    }
    let mut stream = open(&one, "");
    answers(&mut stream);
    for bridge in [&two, &one, &two] {
        stream = come_to(bridge, &stream.last_event_id);
    }
    sql.notify("b", "b5");
    assert_eq!(stream.payload(), "b5");
}

/// The other bridge may not have heard yet what the reader has: it waits until it has.
#[test]
fn a_reader_that_goes_to_another_bridge_at_once_is_told_of_no_gap() {
    let database = Database::create();
    let bridges = [in_group(&database), in_group(&database)];
    let mut sql = database.sql();
    let ids = ids_of_all(&bridges[0], &mut sql);
    let mut stream = come_to(&bridges[1], ids.last().unwrap());
    for hop in 0..100 {
        for n in 0..3 {
            sql.notify("a", &format!("{hop}.{n}"));
        }
        for n in 0..3 {
            assert_eq!(stream.payload(), format!("{hop}.{n}"));
        }
        stream = open(&bridges[hop % 2], &stream.last_event_id);
        assert_eq!(answers(&mut stream), [true; 3], "hop {hop}");
    }
}

/// It has taken over what its peer kept, of all channels in the order of commits.
#[test]
fn a_bridge_that_is_younger_than_the_position_goes_on_from_it() {
    let database = Database::create();
    let one = in_group(&database);
    let ids = ids_of_all(&one, &mut database.sql());
    goes_on_wherever_cut(&in_group(&database), &ids);
}

#[test]
fn an_id_of_a_stranger_is_a_gap_on_every_channel() {
    let database = Database::create();
    let (one, stranger) = (in_group(&database), Bridge::start(&database.url()));
    let mut stream = open(&stranger, "");
    answers(&mut stream);
    database.sql().notify("a", "a1");
    assert_eq!(stream.payload(), "a1");
    let mut stream = open(&one, &stream.last_event_id);
    assert_eq!(answers(&mut stream), [false; 3]);
    database.sql().notify("b", "b2");
    assert_eq!(stream.payload(), "b2");
}
