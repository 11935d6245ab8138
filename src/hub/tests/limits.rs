//! Limits, deadlines, coming back and leaving.

use std::time::Duration;

use serde_json::json;

use super::world::World;
use crate::{config::Limits, hub::Settings};

#[test]
fn a_reader_without_progress_is_closed_with_4008_behind_the_frame_begun() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.stall(ann, 5);
    world.notify("a", "0123456789");
    world.notify("a", "dropped");
    world.pass(Duration::from_secs(12));
    world.unstall(ann);
    let (frames, close) = world.frames_and_close(ann);
    assert_eq!(
        frames.len(),
        1,
        "the frame begun is finished, what lies behind it is dropped"
    );
    assert!(frames[0].contains("0123456789"));
    assert_eq!(close, Some(4008));
}

/// A machine that stood still, or has too much to do, is no fault of the reader's.
#[test]
fn a_reader_that_was_not_written_to_is_not_slow() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.hold_writes = true;
    world.send(ann, r#"{"type":"ping"}"#);
    world.pass(Duration::from_secs(12));
    world.hold_writes = false;
    world.pass(Duration::from_secs(1));
    let (frames, close) = world.frames_and_close(ann);
    assert_eq!(frames, [r#"{"type":"pong"}"#]);
    assert_eq!(close, None);
}

/// Its time begins with the first write that its socket refuses.
#[test]
fn a_reader_that_was_written_to_late_has_its_ten_seconds_from_then_on() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    world.hold_writes = true;
    world.send(ann, r#"{"type":"ping"}"#);
    world.pass(Duration::from_secs(9));
    world.stall(ann, 0);
    world.hold_writes = false;
    world.pass(Duration::from_secs(9));
    world.unstall(ann);
    assert_eq!(world.frames_and_close(ann).1, None);
    world.stall(ann, 0);
    world.notify("a", "p");
    world.pass(Duration::from_secs(12));
    world.unstall(ann);
    assert_eq!(world.frames_and_close(ann).1, Some(4008));
}

#[test]
fn a_backlog_over_its_limit_closes_its_reader_alone() {
    let limits = Limits {
        client_queue_bytes_max: 10_000,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let (ann, bob) = (world.subscriber("a"), world.subscriber("a"));
    world.stall(ann, 0);
    let payload = "x".repeat(1_000);
    for _ in 0..11 {
        world.notify("a", &payload);
    }
    world.unstall(ann);
    assert_eq!(world.frames_and_close(ann).1, Some(4008));
    assert_eq!(world.types(bob).len(), 11);
}

#[test]
fn the_slowest_is_closed_when_all_retained_batches_exceed_their_limit() {
    let limits = Limits {
        retained_bytes_max: 200_000,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let (ann, bob) = (world.subscriber("a"), world.subscriber("b"));
    world.stall(ann, 0);
    world.stall(bob, 0);
    let payload = "x".repeat(7_000);
    world.notify("b", &payload);
    for _ in 0..40 {
        world.notify("a", &payload);
    }
    world.unstall(ann);
    world.unstall(bob);
    assert_eq!(world.frames_and_close(ann).1, Some(4008));
    assert_eq!(world.types(bob), ["notification"]);
}

#[test]
fn who_holds_no_batch_is_not_closed_for_what_is_retained() {
    let limits = Limits {
        retained_bytes_max: 200_000,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let (ann, bob) = (world.subscriber("a"), world.client());
    world.hold_writes = true;
    world.send(bob, r#"{"type":"ping"}"#);
    for _ in 0..40 {
        world.notify("a", &"x".repeat(7_000));
    }
    world.hold_writes = false;
    assert_eq!(world.frames_and_close(bob).1, None);
    assert_eq!(world.types(ann).len(), 40);
}

#[test]
fn silence_is_pinged_and_then_closed() {
    let mut world = World::connected();
    let (ann, bob) = (world.client(), world.client());
    world.pass(Duration::from_secs(27));
    assert_eq!(world.pings(ann), 1);
    world.send_pong(ann);
    world.pass(Duration::from_secs(12));
    assert!(world.is_connected(ann));
    world.pass(Duration::from_secs(7));
    assert!(
        !world.is_connected(bob),
        "no pong came, nor an answer to the close"
    );
}

#[test]
fn a_handshake_has_ten_seconds() {
    let mut world = World::connected();
    let ann = world.connect();
    world.input(ann, b"GET / HTTP/1.1\r\nHost: localhost\r\n");
    world.pass(Duration::from_secs(9));
    assert!(world.is_connected(ann));
    world.pass(Duration::from_secs(3));
    assert!(!world.is_connected(ann));
}

/// Clients are looked at once a second.
#[test]
fn a_closing_handshake_has_five_seconds() {
    let mut world = World::connected();
    let (violator, deaf, leaver) = (world.client(), world.client(), world.client());
    // Hung up on, and stays; does not even read that; answers.
    world.input(violator, b"\x81\x00");
    world.stall(deaf, 1);
    world.input(deaf, b"\x81\x00");
    world.input(leaver, b"\x88\x80\0\0\0\0");
    world.disconnect(leaver);
    assert_eq!(world.frames_and_close(violator).1, Some(1002));
    world.pass(Duration::from_millis(4_900));
    assert!(world.is_connected(violator) && world.is_connected(deaf));
    world.pass(Duration::from_millis(1_200));
    assert!(!world.is_connected(violator) && !world.is_connected(deaf));

    // Pinged after 25 s, given up after 10 more.
    let mut world = World::connected();
    let ann = world.client();
    world.pass(Duration::from_millis(37_000));
    assert_eq!(world.frames_and_close(ann).1, Some(1011));
    // What it still says means nothing, and gives it no more time (RFC 6455, 1.4).
    for _ in 0..29 {
        world.pass(Duration::from_millis(100));
        world.send(ann, r#"{"type":"ping"}"#);
        assert_eq!(world.received(ann), "");
    }
    assert!(world.is_connected(ann));
    world.pass(Duration::from_millis(3_200));
    assert!(!world.is_connected(ann));
}

/// The next look at an idle client is planned for its ping; what it does meanwhile brings it forward.
#[test]
fn who_was_idle_before_has_no_more_time_to_close() {
    let mut world = World::connected();
    let ann = world.client();
    world.pass(Duration::from_secs(3));
    world.input(ann, b"\x81\x00");
    assert_eq!(world.frames_and_close(ann).1, Some(1002));
    world.pass(Duration::from_millis(4_900));
    assert!(world.is_connected(ann));
    world.pass(Duration::from_millis(1_200));
    assert!(!world.is_connected(ann));
}

#[test]
fn subscriptions_have_a_limit() {
    let limits = Limits {
        subscriptions_max: 3,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let ann = world.client();
    for channel in ["a", "b", "c", "c", "d"] {
        world.send(
            ann,
            &format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
        );
    }
    assert_eq!(
        world.messages(ann)[0]["code"],
        "rate_limited",
        "three may wait"
    );
    world.postgres_answers_all();
    assert_eq!(world.types(ann).len(), 3);
    world.send(ann, r#"{"type":"subscribe","channel":"d"}"#);
    assert_eq!(world.messages(ann)[0]["code"], "too_many_subscriptions");
    world.send(ann, r#"{"type":"subscribe","channel":"c"}"#);
    assert_eq!(world.types(ann), ["subscribed"], "again is not one more");
}

#[test]
fn clients_have_a_limit_and_the_next_gets_503() {
    let limits = Limits {
        clients_max: Some(2),
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let (ann, _bob) = (world.client(), world.client());
    let request =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let third = world.connect();
    world.input(third, request);
    let answer = world.received(third);
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "),
        "{answer}"
    );
    assert!(world.hub.has_room());
    world.disconnect(ann);
    world.client();
}

#[test]
fn a_client_that_publishes_too_fast_is_not_read_until_its_publishes_commit() {
    let limits = Limits {
        client_publishes_max: 2,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    world.is_locked = true;
    let ann = world.client();
    for paused in [false, true] {
        world.send(ann, r#"{"type":"notify","channel":"a","payload":"p"}"#);
        assert_eq!(world.hub.is_paused(ann), paused);
    }
    assert_eq!(world.resumed, []);
    world.pass(Duration::from_secs(59));
    assert!(world.is_connected(ann), "its silence is ours");
    world.unlock();
    assert!(!world.hub.is_paused(ann));
    assert_eq!(world.resumed, [ann]);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read() {
    let limits = Limits {
        client_answer_bytes_max: 150,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let ann = world.client();
    world.stall(ann, 0);
    let mut asked = 0;
    while !world.hub.is_paused(ann) {
        world.send(ann, r#"{"type":"ping"}"#);
        asked += 1;
    }
    assert!((8..=10).contains(&asked), "{asked} pongs of 17 bytes");
    assert_eq!(world.resumed, []);
    world.unstall(ann);
    assert!(!world.hub.is_paused(ann));
    assert_eq!(world.resumed, [ann]);
    assert_eq!(world.types(ann).len(), asked);
}

#[test]
fn who_comes_back_gets_what_it_missed_or_is_told_that_it_must_reload() {
    let mut world = World::connected();
    let ann = world.subscriber("a");
    let bob = world.subscriber("a");
    world.notify("a", "1");
    let position = world.messages(ann);
    world.send(bob, r#"{"type":"subscribe","channel":"a"}"#);
    let epoch = world.messages(bob)[1]["epoch"].clone();
    assert_eq!(position[0]["seq"], 1);
    world.disconnect(ann);
    world.notify("a", "2");
    world.notify("a", "3");
    let mut resume = |epoch: &serde_json::Value, seq: u64| {
        let client = world.client();
        let since = json!({"type":"subscribe","channel":"a","since":{"epoch":epoch,"seq":seq}});
        world.send(client, &since.to_string());
        let told = world.messages(client);
        let payloads: Vec<_> = told[1..].iter().map(|it| it["payload"].clone()).collect();
        (
            told[0]["recovered"].clone(),
            told[0]["seq"].clone(),
            payloads,
        )
    };
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(
        resume(&epoch, 1),
        (yes.clone(), json!(1), vec![json!("2"), json!("3")])
    );
    assert_eq!(resume(&epoch, 3), (yes, json!(3), vec![]));
    assert_eq!(
        resume(&epoch, 4),
        (no.clone(), json!(3), vec![]),
        "beyond the current one"
    );
    assert_eq!(resume(&json!("another"), 1), (no, json!(3), vec![]));
}

#[test]
fn a_subscribe_since_another_listen_is_told_so_when_confirmed() {
    let mut world = World::connected();
    let ann = world.client();
    let since = r#"{"type":"subscribe","channel":"a","since":{"epoch":"old","seq":0}}"#;
    world.send(ann, since);
    world.postgres_answers_all();
    assert_eq!(world.messages(ann)[0]["recovered"], json!(false));
}

#[test]
fn a_deserted_channel_keeps_its_history_for_the_delay() {
    let mut world = World::with_unlisten_delay(Duration::from_secs(5));
    let ann = world.subscriber("a");
    world.send(ann, r#"{"type":"subscribe","channel":"a"}"#);
    let epoch = world.messages(ann)[0]["epoch"].clone();
    world.disconnect(ann);
    world.postgres_asked();
    world.notify("a", "missed");
    world.pass(Duration::from_secs(4));
    let bob = world.client();
    let since = json!({"type":"subscribe","channel":"a","since":{"epoch":epoch,"seq":0}});
    world.send(bob, &since.to_string());
    assert_eq!(world.types(bob), ["subscribed", "notification"]);
    world.pass(Duration::from_secs(4));
    world.disconnect(bob);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.postgres_asked(), [""; 0]);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.postgres_asked(), [r#"UNLISTEN "a""#]);
    world.postgres_answers_all();
    assert_eq!((world.channels(), world.hub.history_bytes()), (0, 0));
}

/// More than may be asked at a time: what nobody answers any more must not count as asked.
#[test]
fn channels_kept_by_the_unlisten_delay_while_postgres_is_lost_keep_nobody_from_listening() {
    let mut world = World::with_unlisten_delay(Duration::from_secs(5));
    let ann = world.client();
    for channel in 0..300 {
        let subscribe = json!({"type": "subscribe", "channel": channel.to_string()});
        world.send(ann, &subscribe.to_string());
    }
    world.postgres_answers_all();
    world.disconnect(ann);
    world.postgres_dies();
    world.reconnect();
    let _ = world.postgres_asked();
    let bob = world.client();
    world.send(bob, r#"{"type":"subscribe","channel":"a"}"#);
    assert_eq!(world.postgres_asked(), [r#"LISTEN "a""#]);
}

#[test]
fn a_stop_closes_everybody_and_waits_for_publishes() {
    let mut world = World::connected();
    let (ann, bob) = (world.client(), world.client());
    world.send(
        bob,
        r#"{"type":"notify","channel":"a","payload":"p","id":1}"#,
    );
    world.stop();
    assert_eq!(world.frames_and_close(ann).1, Some(1001));
    assert_eq!(
        world.frames_and_close(bob).1,
        None,
        "its publish has two seconds"
    );
    world.postgres_answers_all();
    let (frames, close) = world.frames_and_close(bob);
    assert!(frames[0].contains("notified"));
    assert_eq!(close, None, "closed at the next look");
    world.pass(Duration::from_millis(2_100));
    assert_eq!(world.frames_and_close(bob).1, Some(1001));
    assert!(!world.is_stopped());
    world.pass(Duration::from_secs(3));
    assert!(world.is_stopped());
}

#[test]
fn a_client_closed_while_it_subscribes_changes_nothing_of_an_unlisten_delay() {
    let limits = Limits {
        client_queue_bytes_max: 10_000,
        ..Limits::default()
    };
    let mut world = World::with_settings(Settings {
        limits,
        unlisten_delay: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let (ann, bob) = (world.subscriber("a"), world.subscriber("b"));
    world.disconnect(bob);
    world.postgres_asked();
    world.stall(ann, 0);
    world.hold_writes = true;
    for _ in 0..11 {
        world.notify("a", &"x".repeat(1_000));
    }
    world.send(ann, r#"{"type":"subscribe","channel":"b"}"#);
    world.hold_writes = false;
    world.pass(Duration::from_secs(6));
    let asked = world.postgres_asked();
    assert!(asked.contains(&r#"UNLISTEN "b""#.to_owned()), "{asked:?}");
}

#[test]
fn a_channel_over_the_limit_of_all_is_refused_unless_a_deserted_one_gives_way() {
    let limits = Limits {
        channels_max: 2,
        ..Limits::default()
    };
    let mut world = World::with_settings(Settings {
        limits,
        unlisten_delay: Some(Duration::from_secs(10)),
        ..Settings::default()
    });
    let ann = world.subscriber("a");
    let bob = world.subscriber("b");
    let cat = world.client();
    let subscribe = |channel| format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
    world.send(cat, &subscribe("c"));
    let refused = world.messages(cat);
    assert_eq!(refused[0]["code"], "too_many_channels");
    assert_eq!(refused[0]["channel"], "c");
    world.send(cat, &subscribe("a"));
    assert_eq!(
        world.types(cat),
        ["subscribed"],
        "it is listened to already"
    );

    for (client, channel) in [(bob, "b"), (cat, "a"), (ann, "a")] {
        let text = format!(r#"{{"type":"unsubscribe","channel":"{channel}"}}"#);
        world.send(client, &text);
        assert_eq!(world.types(client), ["unsubscribed"]);
        world.pass(Duration::from_secs(1));
    }
    world.postgres_asked();
    world.send(cat, &subscribe("c"));
    assert_eq!(world.postgres_asked(), ["UNLISTEN \"b\"", "LISTEN \"c\""]);
    world.postgres_answers_all();
    assert_eq!(world.types(cat), ["subscribed"]);
    world.send(bob, &subscribe("a"));
    assert_eq!(world.types(bob), ["subscribed"], "it stayed listened to");
}
