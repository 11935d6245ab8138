//! Event streams: one order over all channels, and positions in it that are true wherever a stream
//! is cut.

use std::time::Duration;

use super::{
    reader::{Reader, names, parse, payloads, request},
    world::World,
};
use crate::{
    access::{Access, tokens::Tokens},
    config::Limits,
    hub::Settings,
    random::Random,
};

#[test]
fn a_stream_begins_with_its_retry_and_what_it_is_subscribed_to() {
    let mut world = World::connected();
    let mut reader = Reader::ask(&mut world, &["orders", "alerts", "orders"], "");
    let head = world.take_head(reader.client);
    for field in [
        "HTTP/1.1 200 OK",
        "Content-Type: text/event-stream",
        "Cache-Control: no-store",
        "X-Accel-Buffering: no",
    ] {
        assert!(head.contains(&format!("{field}\r\n")), "{head}");
    }
    let events = reader.read(&mut world);
    assert!(matches!(&events[..], [event] if event.retry.unwrap() <= 3_000));
    // A WebSocket can be asked.
    world.client();
    assert_eq!(world.program.watched, [reader.client]);
    world.postgres_answers_one();
    assert_eq!(reader.read(&mut world), [], "all begin at one moment");
    world.postgres_answers_all();
    let events = reader.read(&mut world);
    assert_eq!(names(&events), ["subscribed", "subscribed"]);
    assert_eq!(
        (events[0].channel(), events[1].channel()),
        ("orders", "alerts")
    );
    let id = events[0].id.as_ref().unwrap();
    let epochs = events.iter().map(|it| it.data["epoch"].as_str().unwrap());
    assert!(epochs.into_iter().any(|epoch| id.starts_with(epoch)));
    for event in &events {
        assert_eq!(event.id.as_ref(), Some(id), "one moment is one position");
        assert_eq!(event.data.get("recovered"), None);
    }
}

#[test]
fn a_notification_is_the_message_of_a_websocket_in_an_unnamed_event() {
    let mut world = World::connected();
    let (mut reader, _) = Reader::open(&mut world, &["orders"]);
    let ann = world.subscriber("orders");
    for payload in ["plain", "two\nlines\r\nand \u{2028}", "{\"json\":1}", ""] {
        world.notify("orders", payload);
        let [event] = &reader.read(&mut world)[..] else {
            panic!("one event");
        };
        assert_eq!(event.name, "");
        assert_eq!(vec![event.data.clone()], world.messages(ann));
        assert_eq!(event.payload(), payload);
    }
}

#[test]
fn an_id_is_the_same_for_every_subscriber() {
    let mut world = World::connected();
    let (mut one, _) = Reader::open(&mut world, &["a", "b"]);
    let (mut other, _) = Reader::open(&mut world, &["b"]);
    world.notify("a", "1");
    world.notify("b", "2");
    let ids = one.read(&mut world);
    assert_eq!(other.read(&mut world), ids[1..]);
}

#[test]
fn what_was_missed_comes_in_the_order_of_all_channels() {
    let mut world = World::connected();
    let (mut reader, _) = Reader::open(&mut world, &["a", "b"]);
    let _keeps_them = world.subscriber("a");
    let _keeps_them = world.subscriber("b");
    world.notify("a", "1");
    world.notify("b", "2");
    assert_eq!(payloads(&reader.read(&mut world)), ["1", "2"]);
    world.disconnect(reader.client);
    for (payload, channel) in [("3", "a"), ("4", "b"), ("5", "b"), ("6", "a"), ("7", "b")] {
        world.notify(channel, payload);
    }
    let head = request(&mut world, &reader.query, &reader.last_event_id);
    reader.client = head;
    world.take_head(head);
    let events = reader.read(&mut world);
    assert_eq!(names(&events)[..3], ["", "subscribed", "subscribed"]);
    assert!(events[1..3].iter().all(|it| it.data["recovered"] == true));
    assert_eq!(payloads(&events), ["3", "4", "5", "6", "7"]);
    world.notify("a", "8");
    assert_eq!(payloads(&reader.read(&mut world)), ["8"]);
}

/// The same, cut behind every event in turn, and at random places with other channels: nothing is
/// missed, nothing comes twice, and nothing out of order.
#[test]
fn wherever_a_stream_is_cut_it_goes_on_from_there() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut below = |n: u64| usize::try_from(random.bits() % n).unwrap();
        let mut world = World::connected();
        for channel in ["a", "b", "c"] {
            world.subscriber(channel);
        }
        let (mut reader, _) = Reader::open(&mut world, &["a", "b"]);
        let (mut sent, mut read) = (0, 0);
        for _ in 0..30 {
            for _ in 0..below(6) {
                let channel = ["a", "b", "c"][below(3)];
                sent += usize::from(channel != "c");
                world.notify(channel, &sent.to_string());
            }
            // As much as came before the cut: whole events, and then nothing.
            let text = world.take_text(reader.client);
            let blocks: Vec<_> = text.split_inclusive("\n\n").collect();
            let kept = below(blocks.len() as u64 + 1);
            let events = reader.take(&blocks[..kept].concat());
            let again = reader.reconnect(&mut world);
            assert!(!names(&again).contains(&"gap"), "{seed}");
            for payload in payloads(&events).into_iter().chain(payloads(&again)) {
                read += 1;
                assert_eq!(payload, read.to_string(), "{seed}");
            }
        }
        assert_eq!(read, sent, "{seed}");
    }
}

#[test]
fn a_position_that_nobody_knows_is_a_gap_on_each_channel() {
    for id in [
        "0123456789abcdef1:7",
        "nonsense",
        "x:y:z",
        "5eed5eed5eed5eed1:99",
    ] {
        let mut world = World::connected();
        let (_one, _) = Reader::open(&mut world, &["a", "b"]);
        let mut reader = Reader::ask(&mut world, &["a", "b"], id);
        world.take_head(reader.client);
        let events = reader.read(&mut world);
        let expected = ["", "subscribed", "gap", "subscribed", "gap"];
        assert_eq!(names(&events), expected, "{id}");
        assert_eq!(events[1].data["recovered"], false);
        assert_eq!(events[2].data["reason"], "not_recovered");
        // Cut before the last of them, it learns the rest.
        let text = world.take_text(reader.client);
        assert_eq!(text, "");
        let again = reader.reconnect(&mut world);
        assert_eq!(names(&again), ["", "subscribed", "subscribed"], "{id}");
        let mut cut = Reader::ask(&mut world, &["a", "b"], id);
        world.take_head(cut.client);
        let text = world.take_text(cut.client);
        let upto = text.match_indices("\n\n").nth(3).unwrap().0 + 2;
        cut.take(&text[..upto]);
        let again = cut.reconnect(&mut world);
        assert_eq!(names(&again), expected, "{id}");
    }
}

/// Nobody gets anything by them, or from them: what comes next is heard as ever.
#[test]
fn numbers_beyond_all_that_came_are_no_positions() {
    let mut world = World::connected();
    let (mut first, _) = Reader::open(&mut world, &["a"]);
    world.notify("a", "1");
    first.read(&mut world);
    let epoch = first.last_event_id.split(':').next().unwrap().to_owned();
    for seq in [0, 1, 2, 1 << 63, u64::MAX - 1, u64::MAX] {
        for place in [
            "",
            ":0",
            ":1",
            ":18446744073709551614",
            ":18446744073709551615",
        ] {
            let id = format!("{epoch}:{seq}{place}");
            let mut reader = Reader::ask(&mut world, &["a"], &id);
            world.take_head(reader.client);
            let events = reader.read(&mut world);
            // A place says more than a number: only whoever made it up is misled.
            if seq > 1_000 && place.is_empty() {
                assert_eq!(names(&events), ["", "subscribed", "gap"], "{id}");
            }
            world.notify("a", "next");
            assert_eq!(payloads(&reader.read(&mut world)), ["next"], "{id}");
            world.disconnect(reader.client);
        }
    }
}

#[test]
fn each_channel_is_answered_by_itself() {
    let mut world = World::with_limits(Limits {
        history_frames_max: 3,
        ..Limits::default()
    });
    world.subscriber("a");
    world.subscriber("b");
    let (mut reader, _) = Reader::open(&mut world, &["a", "b"]);
    world.notify("a", "0");
    reader.read(&mut world);
    world.disconnect(reader.client);
    for n in 1..=3 {
        world.notify("a", &n.to_string());
    }
    for n in 4..=7 {
        world.notify("b", &n.to_string());
    }
    let events = reader.reconnect_only(&mut world);
    assert_eq!(names(&events)[..4], ["", "subscribed", "subscribed", "gap"]);
    assert_eq!(events[1].data["recovered"], true);
    assert_eq!(
        (events[2].channel(), &events[2].data["recovered"]),
        ("b", &false.into())
    );
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    world.notify("b", "8");
    assert_eq!(payloads(&reader.read(&mut world)), ["8"]);
}

#[test]
fn without_a_history_a_position_is_good_while_nothing_came() {
    let mut world = World::with_limits(Limits {
        history_frames_max: 0,
        ..Limits::default()
    });
    world.subscriber("a");
    let (mut reader, _) = Reader::open(&mut world, &["a"]);
    world.notify("a", "1");
    reader.read(&mut world);
    assert_eq!(names(&reader.reconnect(&mut world)), ["", "subscribed"]);
    world.disconnect(reader.client);
    world.notify("a", "2");
    let events = reader.reconnect_only(&mut world);
    assert_eq!(names(&events), ["", "subscribed", "gap"]);
    assert_eq!(events[2].data["seq"], 2);
}

#[test]
fn a_lost_session_ends_no_stream_and_is_a_gap() {
    let mut world = World::connected();
    world.subscriber("a");
    world.subscriber("b");
    let (mut reader, _) = Reader::open(&mut world, &["a", "b"]);
    world.notify("a", "1");
    reader.read(&mut world);
    let behind_one = reader.last_event_id.clone();
    world.postgres_dies();
    let events = reader.read(&mut world);
    assert_eq!(names(&events), ["status"]);
    assert_eq!(
        (&events[0].data["postgres"], &events[0].id),
        (&"down".into(), &None)
    );
    world.reconnect();
    world.postgres_answers_all();
    let events = reader.read(&mut world);
    assert_eq!(names(&events), ["gap", "gap", "status"]);
    assert!(events[..2].iter().all(|it| it.id.is_some()));
    assert_eq!(
        names(&reader.reconnect(&mut world)),
        ["", "subscribed", "subscribed"]
    );
    // Whoever was cut before has a gap on both, however little came.
    reader.last_event_id = behind_one;
    let events = reader.reconnect(&mut world);
    assert_eq!(
        names(&events)[1..],
        ["subscribed", "gap", "subscribed", "gap"]
    );
}

#[test]
fn a_reader_who_comes_while_postgres_is_away_waits() {
    let mut world = World::connected();
    let (mut reader, _) = Reader::open(&mut world, &["a"]);
    world.postgres_dies();
    reader.read(&mut world);
    let events = reader.reconnect(&mut world);
    assert_eq!(names(&events), ["", "status"]);
    world.reconnect();
    world.postgres_answers_all();
    let events = reader.read(&mut world);
    assert_eq!(names(&events), ["subscribed", "gap", "status"]);
    assert_eq!(events[2].data["postgres"], "up");
}

#[test]
fn a_refused_channel_ends_the_stream_behind_what_the_others_have() {
    let mut world = World::connected();
    let mut reader = Reader::ask(&mut world, &["a", "b"], "");
    world.take_head(reader.client);
    world.postgres_refuses("42501", "no");
    world.postgres_answers_all();
    let events = reader.read(&mut world);
    let expected = ["", "error", "subscribed", "", "status"];
    assert_eq!(names(&events), expected);
    assert_eq!(events[1].data["sqlstate"], "42501");
    assert!((1_000..=15_000).contains(&events[3].retry.unwrap()));
    world.pass(Duration::from_secs(6));
    assert!(!world.is_connected(reader.client));
}

#[test]
fn what_a_browser_should_try_again_is_200_and_the_end() {
    let mut world = World::with_limits(Limits {
        clients_max: Some(1),
        ..Limits::default()
    });
    let _keeps_it = world.client();
    let check = |world: &mut World, code: u64| {
        let client = request(world, "channel=a", "");
        let head = world.take_head(client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let events = parse(&world.take_text(client));
        assert_eq!(names(&events), ["", "status"]);
        assert!((1_000..=15_000).contains(&events[0].retry.unwrap()));
        assert_eq!(events[1].data["code"], code);
        assert_eq!(events[1].id, None);
    };
    check(&mut world, 1013);
    world.drain(Duration::from_secs(60));
    check(&mut world, 1001);
}

#[test]
fn what_is_final_is_no_200() {
    let access = Access {
        tokens: Some(Tokens::parse("ann subscribe=a*").unwrap()),
        ..Access::default()
    };
    let mut world = World::with_settings(Settings {
        access,
        ..Settings::default()
    });
    for (target, token, status, code) in [
        ("/sse?channel=a", "", "401", "unauthorized"),
        ("/sse?channel=a", "eve", "401", "unauthorized"),
        ("/sse?channel=a&channel=b", "ann", "403", "forbidden"),
        ("/sse", "ann", "400", "bad_message"),
        ("/sse?channel=", "ann", "400", "bad_channel"),
        ("/sse?channel=a%00", "ann", "400", "bad_channel"),
        ("/sse?channel=%zz", "ann", "400", "bad_channel"),
        ("/sse/?channel=a", "ann", "404", "not found"),
    ] {
        let client = world.connect();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let head = if token.is_empty() {
            head.replace("Authorization: Bearer \r\n", "")
        } else {
            head
        };
        world.input(client, head.as_bytes());
        let text = world.take_text(client);
        assert_eq!(&text[9..12], status, "{target}");
        assert!(text.contains(code), "{text}");
    }
}

#[test]
fn a_stream_whose_token_is_no_more_is_told_so() {
    let access = Access {
        tokens: Some(Tokens::parse("ann").unwrap()),
        ..Access::default()
    };
    let mut world = World::with_settings(Settings {
        access,
        ..Settings::default()
    });
    let client = world.connect();
    let head =
        "GET /sse?channel=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ann\r\n\r\n";
    world.input(client, head.as_bytes());
    world.postgres_answers_all();
    world.take_text(client);
    world.hub.handle_tokens(Tokens::parse("bob").unwrap());
    let events = parse(&world.take_text(client));
    assert_eq!(names(&events), ["auth"]);
    assert_eq!(events[0].data["code"], 4001);
}

#[test]
fn a_silent_stream_has_a_comment_every_25_seconds() {
    let mut world = World::connected();
    let (reader, _) = Reader::open(&mut world, &["a"]);
    world.pass(Duration::from_secs(24));
    assert_eq!(world.take_text(reader.client), "");
    world.pass(Duration::from_secs(54));
    assert_eq!(world.take_text(reader.client), ":\n\n:\n\n:\n\n");
    assert!(
        world.is_connected(reader.client),
        "it has nothing to answer"
    );
}

#[test]
fn a_reader_too_slow_gets_the_rest_of_its_event_and_the_end() {
    let mut world = World::with_limits(Limits {
        client_queue_bytes_max: 10_000,
        ..Limits::default()
    });
    let mut other = Reader::open(&mut world, &["a"]).0;
    let (mut reader, _) = Reader::open(&mut world, &["a"]);
    world.stall(reader.client, 50);
    for _ in 0..20 {
        world.notify("a", &"x".repeat(1_000));
    }
    world.unstall(reader.client);
    assert_eq!(payloads(&other.read(&mut world)).len(), 20);
    let events = reader.read(&mut world);
    assert_eq!(names(&events), ["", "", "status"]);
    assert_eq!(events[2].data["code"], 4008);
    // It comes back to more than it may be owed at once.
    let again = reader.reconnect(&mut world);
    assert_eq!(names(&again), ["", "subscribed", "gap"]);
}

#[test]
fn draining_ends_streams_one_by_one() {
    let mut world = World::connected();
    let (reader, _) = Reader::open(&mut world, &["a"]);
    world.drain(Duration::from_secs(10));
    world.pass(Duration::from_secs(10));
    let events = parse(&world.take_text(reader.client));
    assert_eq!(names(&events), ["", "status"]);
    assert_eq!(events[1].data["code"], 1001);
}

#[test]
fn what_a_reader_of_events_says_is_nothing() {
    let mut world = World::connected();
    let (mut reader, _) = Reader::open(&mut world, &["a"]);
    world.input(
        reader.client,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n\x81\x80\0\0\0\0",
    );
    assert_eq!(reader.read(&mut world), []);
    world.notify("a", "1");
    assert_eq!(payloads(&reader.read(&mut world)), ["1"]);
}

#[test]
fn a_position_may_come_as_a_parameter() {
    let mut world = World::connected();
    world.subscriber("a");
    let (mut reader, _) = Reader::open(&mut world, &["a"]);
    world.notify("a", "1");
    reader.read(&mut world);
    let first = reader.last_event_id.clone();
    world.disconnect(reader.client);
    world.notify("a", "2");
    let query = format!("channel=a&last_event_id={}", first.replace(':', "%3A"));
    let client = request(&mut world, &query, "");
    world.take_head(client);
    assert_eq!(payloads(&parse(&world.take_text(client))), ["2"]);
}
