//! What the program around us sends to one client, and lets one client do.

use serde_json::json;

use super::world::World;
use crate::{
    access::{
        Access, Permissions, globs::Globs, question::Ruling, tokens::Tokens, visitor::Verdict,
    },
    config::Limits,
    hub::{
        Settings,
        custom_protocol::{RawMessage, SendError},
    },
    id::ClientId,
};

fn text(bytes: usize) -> RawMessage {
    RawMessage::Text("x".repeat(bytes))
}

#[test]
fn a_message_goes_to_one_client_behind_what_it_is_owed() {
    let mut world = World::connected();
    let (ann, bob) = (world.subscriber("a"), world.subscriber("a"));
    world.hold_writes = true;
    world.notify("a", "1");
    let message = RawMessage::Text(r#"{"type":"hello"}"#.to_owned());
    let sent = world.hub.send_own(ann, &message);
    assert!(
        sent.is_ok_and(|waiting| waiting > message.bytes()),
        "{sent:?}"
    );
    world.notify("a", "2");
    world.hold_writes = false;
    assert_eq!(world.types(ann), ["notification", "hello", "notification"]);
    assert_eq!(world.types(bob), ["notification", "notification"]);
    // It says how much a client has not read.
    world.stall(ann, 0);
    for count in 1..=3 {
        let waiting = world.hub.send_own(ann, &text(10)).unwrap();
        assert_eq!(waiting, count * 12, "each with its header");
        world.settle();
    }
    assert_eq!(world.hub.load().backlog_bytes, 36);
}

#[test]
fn a_client_that_does_not_read_is_sent_as_much_as_its_queue_holds_and_is_not_closed() {
    const FRAME: usize = 1_000 + 4;
    const HEADER_MAX: usize = 10;
    for (queue, fits) in [
        (2 * FRAME + 5, false),
        (FRAME + 1_000 + HEADER_MAX - 1, false),
        (FRAME + 1_000 + HEADER_MAX, true),
    ] {
        let mut world = World::with_limits(Limits {
            client_queue_bytes_max: queue,
            ..Limits::default()
        });
        let client = world.client();
        world.stall(client, 0);
        assert_eq!(world.hub.send_own(client, &text(1_000)), Ok(FRAME));
        world.settle();
        let expected = if fits {
            Ok(2 * FRAME)
        } else {
            Err(SendError::Full {
                waiting_bytes: FRAME,
            })
        };
        assert_eq!(
            world.hub.send_own(client, &text(1_000)),
            expected,
            "{queue}"
        );
        world.unstall(client);
        assert_eq!(world.texts(client).len(), 1 + usize::from(fits));
        assert_eq!(world.hub.send_own(client, &text(1_000)), Ok(FRAME));
        assert!(world.is_connected(client));
    }
}

#[test]
fn all_that_waits_for_single_clients_is_bounded() {
    let mut world = World::with_limits(Limits {
        owned_bytes_max: 10_000,
        ..Limits::default()
    });
    let clients: Vec<_> = (0..12).map(|_| world.client()).collect();
    let mut sent = 0;
    for &client in &clients {
        world.stall(client, 0);
        match world.hub.send_own(client, &text(1_000)) {
            Ok(_) => sent += 1,
            Err(error) => assert_eq!(error, SendError::Crowded),
        }
        world.settle();
    }
    assert_eq!(sent, 9);
    assert!(
        clients.iter().all(|&it| world.hub.is_open(it)),
        "nobody is closed for it"
    );
}

#[test]
fn a_message_for_nobody_says_so() {
    let mut world = World::with_settings(Settings {
        access: Access {
            tokens: Some(Tokens::parse("ann").unwrap()),
            ..Access::default()
        },
        ..Settings::default()
    });
    let stranger = world.client();
    assert_eq!(
        world.hub.send_own(stranger, &text(1)),
        Err(SendError::Unidentified)
    );
    let (client, _) = world.upgrade(None, "Authorization: Bearer ann\r\n");
    assert!(world.hub.send_own(client, &text(1)).is_ok());
    world.disconnect(client);
    assert_eq!(world.hub.send_own(client, &text(1)), Err(SendError::Gone));
    let (next, _) = world.upgrade(None, "Authorization: Bearer ann\r\n");
    assert_eq!(next.slot, client.slot, "the slot is used again");
    assert_eq!(world.hub.send_own(client, &text(1)), Err(SendError::Gone));
    let reader = world.connect();
    let head =
        "GET /sse?channel=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ann\r\n\r\n";
    assert_eq!(
        world.hub.send_own(reader, &text(1)),
        Err(SendError::Gone),
        "it has not come in"
    );
    world.input(reader, head.as_bytes());
    assert_eq!(
        world.hub.send_own(reader, &text(1)),
        Err(SendError::NotWebSocket)
    );
    world.stop();
    assert_eq!(world.hub.send_own(next, &text(1)), Err(SendError::Gone));
}

// ---- permissions

fn permit(subscribe: &str) -> Permissions {
    Permissions {
        subscribe: Globs::parse(subscribe),
        publish: Globs::parse(""),
    }
}

fn admitted(world: &mut World, subscribe: &str) -> ClientId {
    let client = world.connect();
    let head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.input(client, head.as_bytes());
    let question = *world.program.questions.last().unwrap();
    let admit = Ruling::Visit(Verdict::Admit(permit(subscribe)));
    world.hub.handle_ruling(question, admit);
    world.take_head(client);
    client
}

#[test]
fn permissions_that_are_set_count_from_then_on() {
    let mut world = World::with_settings(Settings {
        access: Access {
            is_asked: true,
            ..Access::default()
        },
        ..Settings::default()
    });
    let (ann, bob) = (admitted(&mut world, "a"), admitted(&mut world, "a"));
    let subscribe = |world: &mut World, client, channel: &str| {
        let text = format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
        world.send(client, &text);
        world.postgres_answers_all();
        world.messages(client).remove(0)
    };
    assert_eq!(subscribe(&mut world, ann, "b")["code"], "forbidden");
    assert!(world.hub.set_permissions(ann, permit("b,c")));
    assert_eq!(subscribe(&mut world, ann, "b")["type"], "subscribed");
    assert_eq!(subscribe(&mut world, ann, "a")["code"], "forbidden");
    assert_eq!(
        subscribe(&mut world, bob, "b")["code"],
        "forbidden",
        "they are ann's"
    );
    // A channel that is not covered any more.
    assert!(world.hub.set_permissions(ann, permit("b")));
    assert!(world.hub.is_open(ann));
    assert!(world.hub.set_permissions(ann, permit("c")));
    assert_eq!(world.frames_and_close(ann).1, Some(4003));
    assert!(
        !world.hub.set_permissions(ann, permit("b")),
        "it is on its way out"
    );
    world.disconnect(bob);
    assert!(!world.hub.set_permissions(bob, permit("b")));
    assert_eq!(world.hub.authorization.access().grant_count(), 0);
}

#[test]
fn permissions_of_a_client_that_the_program_did_not_admit_are_not_its() {
    let mut world = World::connected();
    let client = world.client();
    assert!(!world.hub.set_permissions(client, permit("")));
    world.send(client, r#"{"type":"subscribe","channel":"a","id":1}"#);
    world.postgres_answers_all();
    assert_eq!(world.messages(client)[0]["id"], json!(1));
}
