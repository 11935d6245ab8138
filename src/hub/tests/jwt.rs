//! Clients with JSON Web Tokens: what they may, until when, and how they go on.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    responses::{post, statuses},
    world::World,
};
use crate::{
    access::{
        Access, Credentials, Permissions,
        globs::Globs,
        jwt::{Jwt, JwtRules, Keys},
        tokens::Tokens,
    },
    config::Limits,
    hub::{Settings, work::UNITS_PER_TURN},
    id::ClientId,
};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn keys(secret: &[u8]) -> Keys {
    let mut keys = Keys::default();
    keys.add_key(secret).unwrap();
    keys
}

fn access(subscribe: &str) -> Access {
    let mut everybody = Permissions {
        subscribe: Globs::parse(subscribe),
        publish: Globs::default(),
    };
    let jwt = Jwt::new(keys(SECRET), JwtRules::default(), &mut everybody).unwrap();
    Access {
        everybody,
        jwt: Some(jwt),
        ..Access::default()
    }
}

fn with(access: Access) -> World {
    World::with_settings(Settings {
        access,
        ..Settings::default()
    })
}

/// The token of a user, that ends so many seconds from now.
fn token(world: &World, sub: &str, seconds: u64) -> String {
    let exp = world.since_1970().as_secs() + seconds;
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(json!({"alg": "HS256"}));
    let signed = format!("{header}.{}", encode(json!({"sub": sub, "exp": exp})));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn upgraded(world: &mut World, token: &str) -> (ClientId, String) {
    world.upgrade(None, &format!("Authorization: Bearer {token}\r\n"))
}

fn user(world: &mut World, sub: &str, seconds: u64) -> ClientId {
    let token = token(world, sub, seconds);
    let (client, status) = upgraded(world, &token);
    assert_eq!(status, "101");
    client
}

fn auth(world: &mut World, client: ClientId, token: &str) {
    world.send(client, &json!({"type": "auth", "token": token}).to_string());
}

fn subscribe(world: &mut World, client: ClientId, channel: &str) {
    world.send(
        client,
        &json!({"type": "subscribe", "channel": channel}).to_string(),
    );
    world.postgres_answers_all();
}

/// Time goes by, and the client answers pings.
fn pass(world: &mut World, client: ClientId, seconds: u64) {
    for _ in 0..seconds {
        world.pass(Duration::from_secs(1));
        world.send_pong(client);
    }
}

/// With the leeway.
const MINUTE_AND_LEEWAY: u64 = 90;

#[test]
fn a_jwt_lets_a_user_into_its_own_channels() {
    let mut world = with(access("news,user.{sub}.*"));
    let ann = user(&mut world, "ann", 60);
    let stranger = world.client();
    subscribe(&mut world, stranger, "news");
    assert_eq!(world.messages(stranger)[0]["code"], "unauthorized");
    let bobs = token(&world, "bob", 60);
    auth(&mut world, stranger, &bobs);
    assert_eq!(world.types(stranger), ["authenticated"]);
    for (client, own, other) in [
        (ann, "user.ann.x", "user.bob.x"),
        (stranger, "user.bob.x", "user.ann.x"),
    ] {
        for channel in ["news", own] {
            subscribe(&mut world, client, channel);
            assert_eq!(world.types(client), ["subscribed"], "{channel}");
        }
        subscribe(&mut world, client, other);
        assert_eq!(world.messages(client)[0]["code"], "forbidden");
    }
}

#[test]
fn a_user_is_told_60_s_before_the_end_and_closed_with_4001_at_it() {
    let mut world = with(access("*"));
    let ann = user(&mut world, "ann", MINUTE_AND_LEEWAY);
    pass(&mut world, ann, 58);
    assert_eq!(world.frames_and_close(ann), (vec![], None));
    pass(&mut world, ann, 4);
    let told = world.messages(ann);
    assert_eq!((told.len(), &told[0]["type"]), (1, &json!("auth_expiring")));
    let left = told[0]["in"].as_u64().unwrap();
    assert!((58..=60).contains(&left), "{left}");
    pass(&mut world, ann, 56);
    assert_eq!(world.frames_and_close(ann), (vec![], None), "told once");
    pass(&mut world, ann, 4);
    assert_eq!(world.frames_and_close(ann).1, Some(4001));
    assert_eq!(
        world
            .hub
            .metrics()
            .text(&world.hub.gauges())
            .matches("reason=\"token_expired\"} 1")
            .count(),
        1
    );
}

#[test]
fn a_token_that_ends_soon_is_told_of_at_once() {
    let mut world = with(access("*"));
    let ann = user(&mut world, "ann", 1);
    pass(&mut world, ann, 2);
    let told = world.messages(ann);
    assert_eq!(told[0]["type"], "auth_expiring");
    assert!(told[0]["in"].as_u64().unwrap() <= 31, "{told:?}");
}

#[test]
fn a_user_that_brings_another_token_in_time_goes_on_and_misses_nothing() {
    let mut world = with(access("*"));
    let ann = user(&mut world, "ann", 30);
    subscribe(&mut world, ann, "a");
    assert_eq!(world.types(ann)[0], "subscribed");
    for round in 0..3 {
        world.notify("a", "before");
        let next = token(&world, "ann", MINUTE_AND_LEEWAY);
        auth(&mut world, ann, &next);
        world.notify("a", "behind");
        let told: Vec<_> = world
            .types(ann)
            .into_iter()
            .filter(|it| it != "auth_expiring")
            .collect();
        assert_eq!(
            told,
            ["notification", "authenticated", "notification"],
            "{round}"
        );
        pass(&mut world, ann, 55);
        assert_eq!(world.frames_and_close(ann).1, None, "{round}");
    }
    let asked = world.postgres_asked();
    let listens = asked.iter().filter(|it| it.contains("LISTEN"));
    assert_eq!(listens.count(), 1, "the channel stayed: {asked:?}");
    pass(&mut world, ann, 66);
    assert_eq!(world.frames_and_close(ann).1, Some(4001), "in the end");
}

#[test]
fn a_wrong_token_in_place_of_the_old_one_changes_nothing_until_its_end() {
    let mut world = with(access("*"));
    let ann = user(&mut world, "ann", 60);
    let forged = token(&world, "ann", 6_000) + "A";
    auth(&mut world, ann, &forged);
    assert_eq!(world.messages(ann)[0]["code"], "unauthorized");
    pass(&mut world, ann, 85);
    assert_eq!(world.frames_and_close(ann).1, None);
    pass(&mut world, ann, 8);
    assert_eq!(world.frames_and_close(ann).1, Some(4001));
}

#[test]
fn a_token_with_a_nearer_end_than_the_old_one_counts() {
    let mut world = with(access("*"));
    let ann = user(&mut world, "ann", 100_000);
    pass(&mut world, ann, 5);
    let short = token(&world, "ann", 1);
    auth(&mut world, ann, &short);
    pass(&mut world, ann, 34);
    assert_eq!(world.frames_and_close(ann).1, Some(4001));
}

#[test]
fn another_user_s_token_that_does_not_cover_a_channel_closes_with_4003() {
    let mut world = with(access("user.{sub}.*"));
    let ann = user(&mut world, "ann", 60);
    subscribe(&mut world, ann, "user.ann.x");
    let bobs = token(&world, "bob", 60);
    auth(&mut world, ann, &bobs);
    assert_eq!(world.frames_and_close(ann).1, Some(4003));
}

#[test]
fn who_came_in_by_a_key_that_is_no_more_is_closed_with_4001() {
    let mut world = with(access("*"));
    let ann = user(&mut world, "ann", 60);
    let read = |keys| Credentials {
        tokens: None,
        keys: Some(keys),
    };
    world.hub.handle_credentials(read(keys(SECRET)));
    assert_eq!(world.frames_and_close(ann).1, None, "the same key");
    world.hub.handle_credentials(read(keys(&[7; 32])));
    assert_eq!(world.frames_and_close(ann).1, Some(4001));
    let again = token(&world, "ann", 60);
    assert_eq!(upgraded(&mut world, &again).1, "401");
}

#[test]
fn where_there_are_keys_two_dots_are_a_jwt_and_its_failure_is_final() {
    let tokens = |access: Access| Access {
        tokens: Some(Tokens::parse("a.b.c\nplain\nwith.dot\n").unwrap()),
        ..access
    };
    let mut both = with(tokens(access("*")));
    let mut file_alone = with(tokens(Access::default()));
    for (token, by_both) in [("a.b.c", "401"), ("plain", "101"), ("with.dot", "101")] {
        assert_eq!(upgraded(&mut both, token).1, by_both, "{token}");
        assert_eq!(upgraded(&mut file_alone, token).1, "101", "{token}");
    }
    user(&mut both, "ann", 60);
}

/// A guesser is counted, a user whose token is over is not.
#[test]
fn an_expired_jwt_is_no_guess() {
    let mut world = with(access("*"));
    let over = token(&world, "ann", 0);
    pass_without_client(&mut world, 31);
    let from = |world: &mut World, token: &str| {
        world
            .upgrade(
                Some("192.0.2.1"),
                &format!("Authorization: Bearer {token}\r\n"),
            )
            .1
    };
    for _ in 0..30 {
        assert_eq!(from(&mut world, &over), "401");
    }
    let forged = over + "A";
    for _ in 0..20 {
        assert_eq!(from(&mut world, &forged), "401");
    }
    assert_eq!(from(&mut world, &forged), "429");
    let page = world.hub.metrics().text(&world.hub.gauges());
    for line in [
        "{reason=\"expired\"} 30\n",
        "{reason=\"wrong\"} 20\n",
        "{reason=\"too_many\"} 1\n",
    ] {
        assert!(
            page.contains(&format!("alle_tokens_refused_total{line}")),
            "{line}"
        );
    }
}

#[test]
fn an_identity_has_as_many_clients_as_it_may_until_one_leaves() {
    let mut world = World::with_settings(Settings {
        access: access("*"),
        limits: Limits {
            identity_clients_max: Some(2),
            ..Limits::default()
        },
        ..Settings::default()
    });
    let first = user(&mut world, "ann", 600);
    user(&mut world, "ann", 300);
    let anns = token(&world, "ann", 600);
    assert_eq!(upgraded(&mut world, &anns).1, "429");
    world.expect_to_come_again(None, &format!("Authorization: Bearer {anns}\r\n"));
    let stranger = world.client();
    auth(&mut world, stranger, &anns);
    let (texts, close) = world.frames_and_close(stranger);
    assert!(
        texts[0].contains("rate_limited") && close == Some(1013),
        "{texts:?}"
    );
    // A client that is somebody stays that, and may refresh its own token.
    let bob = user(&mut world, "bob", 600);
    auth(&mut world, bob, &anns);
    assert_eq!(world.messages(bob)[0]["code"], "rate_limited");
    auth(&mut world, first, &anns);
    assert_eq!(world.types(first), ["authenticated"]);
    let bobs = token(&world, "bob", 600);
    auth(&mut world, first, &bobs);
    assert_eq!(world.types(first), ["authenticated"]);
    auth(&mut world, bob, &anns);
    assert_eq!(
        world.types(bob),
        ["authenticated"],
        "one of ann's is bob's now"
    );
    assert_eq!(upgraded(&mut world, &anns).1, "429");
    world.disconnect(bob);
    assert_eq!(upgraded(&mut world, &anns).1, "101");
    assert_eq!(upgraded(&mut world, &anns).1, "429");
}

#[test]
fn all_clients_of_an_identity_share_its_messages_of_a_second() {
    let mut world = World::with_settings(Settings {
        access: access("*"),
        limits: Limits {
            identity_rate_max: Some(4),
            client_rate_max: Some(3),
            ..Limits::default()
        },
        ..Settings::default()
    });
    world.postgres_answers_all();
    let (first, second) = (user(&mut world, "ann", 600), user(&mut world, "ann", 300));
    let bob = user(&mut world, "bob", 600);
    let ping = r#"{"type":"ping"}"#;
    let code = |client, world: &mut World| {
        world.send(client, ping);
        world.messages(client)[0]["code"].clone()
    };
    for (client, expected) in [
        (first, json!(null)),
        (first, json!(null)),
        (first, json!(null)),
        // A client's own limit is the first one, and takes nothing from the others.
        (first, json!("rate_limited")),
        (second, json!(null)),
        (second, json!("rate_limited")),
        (bob, json!(null)),
    ] {
        assert_eq!(code(client, &mut world), expected);
    }
    let field = format!("Authorization: Bearer {}\r\n", token(&world, "ann", 600));
    let ask = |world: &mut World, request: &str| {
        let client = world.connect();
        world.input(client, request.as_bytes());
        world.postgres_answers_all();
        statuses(world, client)
    };
    let publish = post("a", &field, "p");
    assert_eq!(ask(&mut world, &publish), [429]);
    world.expect_to_come_again(None, &field);
    world.pass(Duration::from_millis(250));
    assert_eq!(ask(&mut world, &publish), [200]);
    assert_eq!(ask(&mut world, &publish), [429]);
    assert_eq!(code(second, &mut world), json!("rate_limited"));
}

fn pass_without_client(world: &mut World, seconds: u64) {
    world.pass(Duration::from_secs(seconds));
}

#[test]
fn ten_thousand_clients_of_a_hundred_users_share_a_hundred_grants_and_leave_none() {
    let mut world = with(access("user.{sub}.*"));
    world.is_checked = false;
    let mut clients = Vec::new();
    let tokens: Vec<_> = (0..100)
        .map(|it| token(&world, &format!("u{it}"), 600))
        .collect();
    for round in 0..100 {
        for token in &tokens {
            clients.push(upgraded(&mut world, token).0);
        }
        assert_eq!(
            world.hub.authorization.access().shared.count(),
            100,
            "{round}"
        );
    }
    for client in clients.drain(..) {
        world.disconnect(client);
    }
    // What is left of them goes as others come: two looks each.
    for number in 0..200 {
        let next = token(&world, &format!("v{number}"), 600);
        let client = upgraded(&mut world, &next).0;
        world.disconnect(client);
        assert!(
            world.hub.authorization.access().shared.count() <= 102,
            "{number}"
        );
    }
    assert!(world.hub.authorization.access().shared.count() < 5);
}

#[test]
fn tokens_to_verify_are_spread_over_turns() {
    let mut world = with(access("*"));
    let client = world.client();
    let frame = {
        let next = token(&world, "ann", 60);
        let text = json!({"type": "auth", "token": next}).to_string();
        super::frames::masked(0x81, text.as_bytes())
    };
    world.units_max = 0;
    world.input(client, &frame.repeat(200));
    assert_eq!(world.types(client).len(), 200);
    assert!(
        world.units_max <= UNITS_PER_TURN + 200,
        "{}",
        world.units_max
    );
}
