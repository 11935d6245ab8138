//! Tokens, what they narrow, and what one client and one address may cost.

use std::time::Duration;

use serde_json::json;

use super::{frames::masked, world::World};
use crate::{
    access::{Access, Permissions, globs::Globs, tokens::Tokens},
    config::Limits,
    hub::Settings,
    id::ClientId,
};

fn with_tokens(tokens: &str) -> World {
    World::with_settings(Settings {
        access: Access {
            tokens: Some(Tokens::parse(tokens).unwrap()),
            ..Access::default()
        },
        ..Settings::default()
    })
}

/// A client that came in with `token` in its request.
fn bearer(world: &mut World, token: &str) -> ClientId {
    let (client, status) = world.upgrade(None, &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(status, "101");
    client
}

fn codes(world: &mut World, client: ClientId) -> Vec<String> {
    let messages = world.messages(client);
    let code = |it: &serde_json::Value| it["code"].as_str().unwrap_or("none").to_owned();
    messages.iter().map(code).collect()
}

const AUTH_ANN: &str = r#"{"type":"auth","token":"ann","id":1}"#;
const AUTH_EVE: &str = r#"{"type":"auth","token":"eve"}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"a","id":"s"}"#;

#[test]
fn an_unauthenticated_client_is_served_only_once_it_authenticates() {
    let mut world = with_tokens("ann");
    let client = world.client();
    for text in [
        SUBSCRIBE,
        r#"{"type":"unsubscribe","channel":"a"}"#,
        r#"{"type":"notify","channel":"a","payload":"p"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"dance"}"#,
        "not JSON",
    ] {
        world.send(client, text);
        assert_eq!(codes(&mut world, client), ["unauthorized"], "{text}");
    }
    assert!(world.postgres_asked().is_empty());
    world.send(client, AUTH_ANN);
    assert_eq!(
        world.messages(client),
        [json!({"type": "authenticated", "id": 1})]
    );
    world.send(client, SUBSCRIBE);
    world.postgres_answers_all();
    assert_eq!(world.types(client), ["subscribed"]);
}

#[test]
fn a_refusal_names_the_channel_and_the_id() {
    let mut world = with_tokens("ann");
    let client = world.client();
    world.send(client, SUBSCRIBE);
    let refused = world.messages(client).remove(0);
    assert_eq!(
        (&refused["channel"], &refused["id"]),
        (&json!("a"), &json!("s"))
    );
}

#[test]
fn what_comes_in_one_packet_with_the_token_is_heard() {
    let mut world = with_tokens("ann");
    let client = world.client();
    let both: Vec<u8> = [AUTH_ANN, SUBSCRIBE]
        .into_iter()
        .flat_map(|text| masked(0x81, text.as_bytes()))
        .collect();
    world.input(client, &both);
    world.postgres_answers_all();
    assert_eq!(world.types(client), ["authenticated", "subscribed"]);
}

#[test]
fn an_unauthenticated_client_has_10_s_and_is_closed_with_4001() {
    for (before, is_there) in [(9_000, true), (12_000, false)] {
        let mut world = with_tokens("ann");
        let client = world.client();
        world.pass(Duration::from_millis(before));
        assert_eq!(
            world.frames_and_close(client).1,
            (!is_there).then_some(4001)
        );
        world.send(client, AUTH_ANN);
        let answered = world.types(client);
        assert_eq!(answered == ["authenticated"], is_there, "{answered:?}");
    }
}

#[test]
fn what_is_no_token_gains_an_unauthenticated_client_no_time() {
    let mut world = with_tokens("ann");
    let client = world.client();
    let not_tokens = ["nonsense", r#"{"type":"auth"}"#, r#"{"type":"ping"}"#];
    for second in 0..9 {
        world.send(client, not_tokens[second % not_tokens.len()]);
        let (answers, close) = world.frames_and_close(client);
        assert_eq!((answers.len(), close), (1, None), "{second}");
        world.pass(Duration::from_secs(1));
    }
    world.pass(Duration::from_secs(2));
    assert_eq!(world.frames_and_close(client).1, Some(4001));
}

#[test]
fn whoever_came_in_in_time_stays() {
    let mut world = with_tokens("ann");
    let (stranger, known) = (world.client(), bearer(&mut world, "ann"));
    world.pass(Duration::from_secs(5));
    world.send(stranger, AUTH_ANN);
    world.pass(Duration::from_secs(15));
    for client in [stranger, known] {
        assert_eq!(world.frames_and_close(client).1, None);
    }
}

#[test]
fn the_third_wrong_token_closes_with_4001() {
    let mut world = with_tokens("ann");
    for is_known in [false, true] {
        let client = world.client();
        if is_known {
            world.send(client, AUTH_ANN);
            world.messages(client);
        }
        for _ in 0..2 {
            world.send(client, AUTH_EVE);
            let (texts, close) = world.frames_and_close(client);
            assert!(
                texts.len() == 1 && texts[0].contains("unauthorized"),
                "{texts:?}"
            );
            assert_eq!(close, None);
        }
        world.send(client, AUTH_EVE);
        let (texts, close) = world.frames_and_close(client);
        assert!(
            texts.len() == 1 && close == Some(4001),
            "{texts:?} {close:?}"
        );
    }
}

#[test]
fn the_right_token_does_not_forgive_the_wrong_ones() {
    let mut world = with_tokens("ann");
    let client = world.client();
    for token in [AUTH_EVE, AUTH_ANN, AUTH_EVE, AUTH_ANN] {
        world.send(client, token);
        assert_eq!(world.frames_and_close(client).1, None, "{token}");
    }
    world.send(client, AUTH_EVE);
    assert_eq!(world.frames_and_close(client).1, Some(4001));
}

#[test]
fn an_auth_without_a_token_is_a_bad_message_and_where_none_is_required_unknown() {
    let mut world = with_tokens("ann");
    let stranger = world.client();
    for text in [r#"{"type":"auth"}"#, r#"{"type":"auth","token":7}"#] {
        world.send(stranger, text);
        assert_eq!(codes(&mut world, stranger), ["bad_message"], "{text}");
    }
    for (text, words) in [
        (
            r#"{"type":"auth","token":"ann","id":1.5}"#,
            "\"id\" must be",
        ),
        (r#"{"id":[],"token":"ann","type":"auth"}"#, "\"id\" must be"),
    ] {
        world.send(stranger, text);
        let refused = world.messages(stranger).remove(0);
        assert_eq!(refused["code"], "bad_message", "{text}");
        let said = refused["message"].as_str().unwrap();
        assert!(said.contains(words), "{text}: {said}");
    }
    world.send(stranger, r#"{"type":"ping","id":1.5}"#);
    assert_eq!(codes(&mut world, stranger), ["unauthorized"]);
    let mut open = World::connected();
    let client = open.client();
    for text in [
        AUTH_ANN,
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","id":1.5}"#,
    ] {
        open.send(client, text);
        assert_eq!(codes(&mut open, client), ["unknown_type"], "{text}");
    }
}

#[test]
fn a_token_of_the_request_is_right_or_401() {
    let mut world = with_tokens("ann");
    for (fields, status) in [
        ("Authorization: Bearer ann\r\n", "101"),
        ("Authorization: Bearer eve\r\n", "401"),
        ("Authorization: Bearer\r\n", "401"),
        ("Authorization: Basic YTpi\r\n", "101"),
        ("", "101"),
    ] {
        assert_eq!(world.upgrade(None, fields).1, status, "{fields}");
    }
    let mut open = World::connected();
    let anybody = open.upgrade(None, "Authorization: Bearer eve\r\n");
    assert_eq!(anybody.1, "101", "no token is asked for");
}

#[test]
fn what_a_token_does_not_leave_is_forbidden() {
    let mut world = with_tokens("ann subscribe=a publish=\nbob");
    let (ann, bob) = (bearer(&mut world, "ann"), bearer(&mut world, "bob"));
    for (client, forbidden) in [(ann, vec!["forbidden", "forbidden"]), (bob, vec![])] {
        for text in [
            r#"{"type":"subscribe","channel":"a"}"#,
            r#"{"type":"subscribe","channel":"b"}"#,
            r#"{"type":"notify","channel":"a","payload":"p"}"#,
            r#"{"type":"unsubscribe","channel":"c"}"#,
        ] {
            world.send(client, text);
        }
        let refused: Vec<_> = codes(&mut world, client);
        let refused: Vec<_> = refused.iter().filter(|it| *it != "none").collect();
        assert_eq!(refused, forbidden);
        world.postgres_answers_all();
    }
}

#[test]
fn what_nobody_may_is_forbidden_with_channel_and_id() {
    let mut world = World::with_settings(Settings {
        access: Access {
            everybody: Permissions {
                subscribe: Globs::parse("orders.*"),
                publish: Globs::parse(""),
            },
            ..Access::default()
        },
        ..Settings::default()
    });
    let client = world.client();
    world.send(client, r#"{"type":"subscribe","channel":"orders","id":7}"#);
    world.send(
        client,
        r#"{"type":"notify","channel":"orders.eu","payload":"p"}"#,
    );
    let refused = world.messages(client);
    assert_eq!(refused[0]["code"], "forbidden");
    assert_eq!(
        (&refused[0]["channel"], &refused[0]["id"]),
        (&json!("orders"), &json!(7))
    );
    assert_eq!(refused[1]["code"], "forbidden");
    assert!(world.postgres_asked().is_empty());
    world.send(client, r#"{"type":"subscribe","channel":"orders.eu"}"#);
    world.postgres_answers_all();
    assert_eq!(world.types(client), ["subscribed"]);
}

#[test]
fn tokens_read_again_close_whom_they_do_not_cover_any_more() {
    let mut world = with_tokens("ann\nbob\ncarl\ndora");
    let [ann, bob, carl, dora] = ["ann", "bob", "carl", "dora"].map(|it| bearer(&mut world, it));
    let stranger = world.client();
    for client in [bob, carl, dora] {
        world.send(client, r#"{"type":"subscribe","channel":"b"}"#);
    }
    // Dora's is still unanswered when the tokens change, as all are.
    let read = Tokens::parse("eve\nbob\ncarl subscribe=b*\ndora subscribe=c");
    world.hub.handle_tokens(read.unwrap());
    for (client, close) in [
        (ann, Some(4001)),
        (bob, None),
        (carl, None),
        (dora, Some(4003)),
        (stranger, None),
    ] {
        assert_eq!(world.frames_and_close(client).1, close, "{client:?}");
    }
    world.postgres_answers_all();
    assert_eq!(world.types(bob), ["subscribed"]);
    world.send(stranger, AUTH_EVE);
    assert_eq!(world.types(stranger), ["authenticated"]);
    world.send(carl, r#"{"type":"subscribe","channel":"c"}"#);
    assert!(codes(&mut world, carl).contains(&"forbidden".to_owned()));
}

#[test]
fn another_token_that_covers_less_closes_and_one_that_covers_all_does_not() {
    let mut world = with_tokens("ann\nbob subscribe=a\ncarl subscribe=b");
    let client = bearer(&mut world, "ann");
    world.send(client, SUBSCRIBE);
    world.postgres_answers_all();
    world.send(client, r#"{"type":"auth","token":"bob"}"#);
    assert_eq!(world.types(client), ["subscribed", "authenticated"]);
    world.send(client, r#"{"type":"auth","token":"carl"}"#);
    let (texts, close) = world.frames_and_close(client);
    assert!(texts[0].contains("authenticated") && close == Some(4003));
}

#[test]
fn unauthenticated_clients_give_their_places_to_new_ones_the_oldest_first() {
    let mut world = World::with_settings(Settings {
        limits: Limits {
            clients_max: Some(3),
            ..Limits::default()
        },
        access: Access {
            tokens: Some(Tokens::parse("ann").unwrap()),
            ..Access::default()
        },
        ..Settings::default()
    });
    let first = bearer(&mut world, "ann");
    let strangers = [world.client(), world.client()];
    let wrong = world.upgrade(None, "Authorization: Bearer eve\r\n");
    assert_eq!(wrong.1, "401");
    for stranger in strangers {
        assert_eq!(world.frames_and_close(stranger).1, None, "at the limit");
    }
    bearer(&mut world, "ann");
    let closes = strangers.map(|stranger| world.frames_and_close(stranger).1);
    assert_eq!(closes, [Some(1013), None], "one over it");
    // One that said who it is has given up nothing.
    world.send(strangers[1], AUTH_ANN);
    assert_eq!(world.types(strangers[1]), ["authenticated"]);
    for header in ["Authorization: Bearer ann\r\n", ""] {
        assert_eq!(world.upgrade(None, header).1, "503", "{header}");
    }
    for client in [first, strangers[1]] {
        assert_eq!(world.frames_and_close(client).1, None);
    }
}

#[test]
fn a_client_may_send_its_rate_at_once_and_again_a_second_later() {
    let limits = Limits {
        client_rate_max: Some(3),
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let (ann, bob) = (world.client(), world.client());
    for _ in 0..2 {
        for _ in 0..3 {
            world.send(ann, r#"{"type":"ping"}"#);
        }
        assert_eq!(world.types(ann), ["pong"; 3]);
        world.send(ann, SUBSCRIBE);
        let refused = world.messages(ann).remove(0);
        assert_eq!(refused["code"], "rate_limited");
        assert_eq!(
            (&refused["channel"], &refused["id"]),
            (&json!("a"), &json!("s"))
        );
        world.send(bob, r#"{"type":"ping"}"#);
        assert_eq!(world.types(bob), ["pong"], "the rate is each client's");
        world.pass(Duration::from_secs(1));
    }
    assert!(world.postgres_asked().is_empty());
}

#[test]
fn an_address_has_as_many_clients_as_it_may_until_one_leaves() {
    let limits = Limits {
        address_clients_max: Some(2),
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let here = Some("192.0.2.1");
    let (first, status) = world.upgrade(here, "");
    assert_eq!(status, "101");
    assert_eq!(world.upgrade(here, "").1, "101");
    assert_eq!(world.upgrade(here, "").1, "429");
    assert_eq!(world.upgrade(Some("192.0.2.2"), "").1, "101");
    assert_eq!(world.upgrade(None, "").1, "101");
    world.disconnect(first);
    assert_eq!(world.upgrade(here, "").1, "101");
    assert_eq!(world.upgrade(here, "").1, "429");
}

#[test]
fn a_page_is_not_asked_where_it_comes_from_when_it_has_to_have_a_token() {
    let foreign = "Origin: https://page.example\r\n";
    assert_eq!(World::connected().upgrade(None, foreign).1, "403");
    assert_eq!(with_tokens("ann").upgrade(None, foreign).1, "101");
}

/// The request asks for an upgrade with a token; the status of the answer.
fn presented(world: &mut World, address: &str, token: &str) -> String {
    let field = format!("Authorization: Bearer {token}\r\n");
    world.upgrade(Some(address), &field).1
}

#[test]
fn who_guesses_is_not_looked_at_and_others_are() {
    let mut world = with_tokens("ann");
    let guesser = "192.0.2.1";
    for count in 0..20 {
        assert_eq!(presented(&mut world, guesser, "eve"), "401", "{count}");
    }
    for token in ["eve", "ann"] {
        assert_eq!(presented(&mut world, guesser, token), "429", "{token}");
    }
    // Its network's address may be that of many.
    world.expect_to_come_again(Some(guesser), "Authorization: Bearer ann\r\n");
    assert_eq!(presented(&mut world, "192.0.2.2", "ann"), "101");
    world.pass(Duration::from_secs(1));
    assert_eq!(presented(&mut world, guesser, "eve"), "401", "one more");
    assert_eq!(presented(&mut world, guesser, "eve"), "429");
    let metrics = world.hub.metrics();
    assert_eq!((metrics.tokens_wrong, metrics.tokens_unread), (21, 4));
}

#[test]
fn where_somebody_came_in_nobody_is_kept_out_by_guesses() {
    let mut world = with_tokens("ann");
    let proxy = "192.0.2.1";
    assert_eq!(presented(&mut world, proxy, "ann"), "101");
    for _ in 0..100 {
        assert_eq!(presented(&mut world, proxy, "eve"), "401");
    }
    assert_eq!(presented(&mut world, proxy, "ann"), "101");
}

/// Such a client may come again later: its token may be a right one.
#[test]
fn a_message_from_where_somebody_guesses_is_not_looked_at_either() {
    let mut world = with_tokens("ann");
    let guesser = "192.0.2.1";
    for _ in 0..20 {
        presented(&mut world, guesser, "eve");
    }
    let (client, status) = world.upgrade(Some(guesser), "");
    assert_eq!(status, "101");
    for _ in 0..4 {
        world.send(client, AUTH_ANN);
        assert_eq!(codes(&mut world, client), ["rate_limited"]);
    }
    world.pass(Duration::from_secs(1));
    world.send(client, AUTH_ANN);
    assert_eq!(world.types(client), ["authenticated"]);
}
