//! What the program around us is told of clients, and of the bridge.

use super::{frames::masked, world::World};
use crate::{
    access::{Access, tokens::Tokens},
    channel::Channel,
    hub::{Settings, lifecycle::LifecycleEvent},
};

fn world_of(access: Access) -> World {
    let mut world = World::with_settings(Settings {
        access,
        tells_lifecycle: true,
        ..Settings::default()
    });
    world.settle();
    world
}

/// What was told since the last look.
fn told(world: &mut World) -> Vec<LifecycleEvent> {
    world.settle();
    std::mem::take(&mut world.program.told)
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

#[test]
fn a_client_is_told_from_its_beginning_to_its_end() {
    let mut world = world_of(Access::default());
    told(&mut world);
    let client = world.client();
    let connected = LifecycleEvent::Connected {
        client,
        address: None,
        is_stream: false,
    };
    assert_eq!(told(&mut world), [connected]);

    world.send(client, r#"{"type":"subscribe","channel":"a"}"#);
    assert_eq!(told(&mut world), [], "PostgreSQL has not confirmed");
    world.postgres_answers_all();
    let subscribed = |name| LifecycleEvent::Subscribed {
        client,
        channel: channel(name),
    };
    assert_eq!(told(&mut world), [subscribed("a")]);
    for text in [
        r#"{"type":"subscribe","channel":"a"}"#,
        r#"{"type":"subscribe","channel":"b"}"#,
        r#"{"type":"unsubscribe","channel":"a"}"#,
        r#"{"type":"unsubscribe","channel":"a"}"#,
    ] {
        world.send(client, text);
        world.postgres_answers_all();
    }
    let unsubscribed = LifecycleEvent::Unsubscribed {
        client,
        channel: channel("a"),
    };
    assert_eq!(told(&mut world), [subscribed("b"), unsubscribed]);
    world.input(client, &masked(0x88, &4321_u16.to_be_bytes()));
    let closed = LifecycleEvent::Closed {
        client,
        code: Some(4321),
        reason: "normal",
    };
    assert_eq!(told(&mut world), [closed]);
    world.disconnect(client);
    assert_eq!(told(&mut world), [], "closed once");
}

#[test]
fn a_socket_that_ends_tells_that_its_client_was_lost() {
    let mut world = world_of(Access::default());
    let stranger = world.connect();
    world.input(stranger, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    told(&mut world);
    let client = world.client();
    world.disconnect(client);
    world.disconnect(stranger);
    let closed = LifecycleEvent::Closed {
        client,
        code: None,
        reason: "lost",
    };
    assert_eq!(told(&mut world)[1..], [closed]);
}

#[test]
fn a_stream_is_a_client_and_a_publish_over_http_is_none() {
    let mut world = world_of(Access::default());
    told(&mut world);
    let client = world.connect();
    world.input(
        client,
        b"POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\np",
    );
    world.postgres_answers_all();
    assert_eq!(told(&mut world), []);
    world.input(
        client,
        b"GET /sse?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    world.postgres_answers_all();
    let connected = LifecycleEvent::Connected {
        client,
        address: None,
        is_stream: true,
    };
    let subscribed = LifecycleEvent::Subscribed {
        client,
        channel: channel("a"),
    };
    assert_eq!(told(&mut world), [connected, subscribed]);
}

#[test]
fn a_client_that_says_who_it_is_is_told_when_it_does() {
    let tokens = Tokens::parse("ann\nbob").unwrap();
    let mut world = world_of(Access {
        tokens: Some(tokens),
        ..Access::default()
    });
    told(&mut world);
    let (client, _) = world.upgrade(Some("192.0.2.7"), "Authorization: Bearer ann\r\n");
    let connected = LifecycleEvent::Connected {
        client,
        address: Some("192.0.2.7".parse().unwrap()),
        is_stream: false,
    };
    let identified = |client| LifecycleEvent::Identified {
        client,
        identity: None,
    };
    assert_eq!(told(&mut world), [connected, identified(client)]);
    let client = world.client();
    assert_eq!(told(&mut world).len(), 1, "it has not said who it is");
    world.send(client, r#"{"type":"auth","token":"eve"}"#);
    assert_eq!(told(&mut world), []);
    for (token, is_new) in [("ann", true), ("ann", false), ("bob", true)] {
        world.send(client, &format!(r#"{{"type":"auth","token":"{token}"}}"#));
        let expected = is_new.then(|| identified(client));
        assert_eq!(told(&mut world), Vec::from_iter(expected), "{token}");
    }
}

#[test]
fn the_state_is_told_when_it_changes() {
    let mut world = world_of(Access::default());
    assert_eq!(
        told(&mut world),
        [LifecycleEvent::Up, LifecycleEvent::Ready]
    );
    world.client();
    told(&mut world);
    world.postgres_dies();
    let down = told(&mut world);
    assert!(
        matches!(&down[..2], [LifecycleEvent::NotReady { reason }, LifecycleEvent::Down]
            if reason.contains("not connected")),
        "{down:?}"
    );
}

#[test]
fn nothing_is_kept_where_nobody_wants_to_know() {
    let mut world = World::connected();
    let client = world.subscriber("a");
    world.disconnect(client);
    assert_eq!(told(&mut world), []);
}
