//! Tables of messages, parsed and written.

use super::*;

fn parse(text: &str) -> Request {
    super::parse(text, LengthUnit::Utf8)
}

fn code(text: &str) -> ErrorCode {
    parse(text).message.unwrap_err().code
}

#[test]
fn the_messages_of_the_protocol_are_read() {
    let orders = Channel::new("orders").unwrap();
    let check = |text, expect| assert_eq!(parse(text).message, Ok(expect), "{text}");
    check(
        r#"{"type":"subscribe","channel":"orders"}"#,
        ClientMessage::Subscribe(orders.clone(), None),
    );
    check(
        r#" { "channel" : "orders" , "type" : "unsubscribe", "new": [1,{}] } "#,
        ClientMessage::Unsubscribe(orders.clone()),
    );
    check(
        r#"{"type":"notify","channel":"\u006frders","payload":"a\nb"}"#,
        ClientMessage::Notify(orders, Payload::new("a\nb").unwrap()),
    );
    check(r#"{"type":"ping"}"#, ClientMessage::Ping);
    let secret = Secret::new("s3cret");
    check(
        r#"{"type":"auth","token":"s3cret"}"#,
        ClientMessage::Auth(Ok(secret)),
    );
    let since = Since {
        epoch: "e1".into(),
        seq: 7,
    };
    check(
        r#"{"type":"subscribe","channel":"orders","since":{"epoch":"e1","seq":7}}"#,
        ClientMessage::Subscribe(Channel::new("orders").unwrap(), Some(since)),
    );
}

/// JavaScript cuts a string between the halves of a surrogate pair, and writes what is left.
#[test]
fn a_message_with_what_cannot_be_read_is_answered_by_its_id() {
    let [seven, long] = [RequestId::Unsigned(7), RequestId::Text("7".into())];
    let orders = Some("orders".to_owned());
    for (text, id, channel, what) in [
        (
            r#"{"type":"notify","channel":"orders","payload":"\ud83d","id":7}"#,
            Some(&seven),
            &orders,
            "a string",
        ),
        (
            r#"{"id":"7","type":"subscribe","channel":"\ud83d"}"#,
            Some(&long),
            &None,
            "a string",
        ),
        (
            r#"{"type":"notify","channel":"orders","payload":1e400,"id":7}"#,
            Some(&seven),
            &orders,
            "a string or number",
        ),
        (
            r#"{"type":"ping","id":"\udc00"}"#,
            None,
            &None,
            "not a JSON",
        ),
        (
            r#"{"type":"notify","channel":"orders","id":7"#,
            None,
            &None,
            "not a JSON",
        ),
    ] {
        let request = parse(text);
        assert_eq!(request.id.as_ref(), id, "{text}");
        let refusal = request.message.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::BadMessage, "{text}");
        assert_eq!(refusal.channel, *channel, "{text}");
        assert!(refusal.text.starts_with(what), "{}", refusal.text);
    }
}

#[test]
fn a_malformed_auth_is_an_auth_and_says_why() {
    for (text, why) in [
        (r#"{"type":"auth"}"#, "\"token\" is missing"),
        (r#"{"type":"auth","token":["s"]}"#, "\"token\" is missing"),
        (r#"{"type":"auth","token":"s","id":[]}"#, "\"id\" must be"),
    ] {
        let Ok(ClientMessage::Auth(Err(refusal))) = parse(text).message else {
            panic!("{text}");
        };
        assert_eq!(refusal.code, ErrorCode::BadMessage, "{text}");
        assert!(refusal.text.starts_with(why), "{text}: {}", refusal.text);
    }
}

#[test]
fn ids_are_strings_or_integers() {
    let id = |text: &str| parse(&format!(r#"{{"type":"ping","id":{text}}}"#)).id;
    assert_eq!(id("7"), Some(RequestId::Unsigned(7)));
    assert_eq!(id("-7"), Some(RequestId::Signed(-7)));
    assert_eq!(
        id("18446744073709551615"),
        Some(RequestId::Unsigned(u64::MAX))
    );
    assert_eq!(id("\"a\""), Some(RequestId::Text("a".into())));
    for bad in ["1.5", "true", "[]", "{}", "18446744073709551616", "1e3"] {
        assert_eq!(
            code(&format!(r#"{{"type":"ping","id":{bad}}}"#)),
            ErrorCode::BadMessage
        );
    }
    for (bytes, ok) in [(127, true), (128, true), (129, false)] {
        assert_eq!(
            id(&format!("\"{}\"", "x".repeat(bytes))).is_some(),
            ok,
            "{bytes}"
        );
    }
}

#[test]
fn an_id_is_kept_when_the_message_is_refused() {
    assert_eq!(
        parse(r#"{"type":"dance","id":3}"#).id,
        Some(RequestId::Unsigned(3))
    );
    assert_eq!(
        parse(r#"{"channel":4,"id":"x"}"#).id,
        Some(RequestId::Text("x".into()))
    );
}

/// The text speaks of JSON, not of our types.
#[test]
fn a_message_that_is_no_object_is_told_to_be_one() {
    for text in ["null", "7", "\"subscribe\"", "true", "[{}]"] {
        let said = parse(text).message.unwrap_err().text;
        assert!(said.contains("a JSON object"), "{text}: {said}");
    }
}

#[test]
fn every_malformed_message_gets_its_code() {
    for (text, expect) in [
        ("", ErrorCode::BadMessage),
        ("{", ErrorCode::BadMessage),
        ("[]", ErrorCode::BadMessage),
        (r#" ["subscribe","orders"]"#, ErrorCode::BadMessage),
        ("\"subscribe\"", ErrorCode::BadMessage),
        ("{}", ErrorCode::BadMessage),
        (r#"{"type":7}"#, ErrorCode::BadMessage),
        (r#"{"type":"subscribe"}"#, ErrorCode::BadMessage),
        (r#"{"type":"subscribe","channel":7}"#, ErrorCode::BadMessage),
        (
            r#"{"type":"subscribe","channel":"a","since":7}"#,
            ErrorCode::BadMessage,
        ),
        (
            r#"{"type":"subscribe","channel":"a","since":{"epoch":"e","seq":-1}}"#,
            ErrorCode::BadMessage,
        ),
        (
            r#"{"type":"subscribe","channel":"a","since":{"seq":1}}"#,
            ErrorCode::BadMessage,
        ),
        (
            r#"{"type":"subscribe","type":"subscribe","channel":"a"}"#,
            ErrorCode::BadMessage,
        ),
        (
            r#"{"type":"subscribe","channel":""}"#,
            ErrorCode::BadChannel,
        ),
        (
            r#"{"type":"subscribe","channel":"a\u0000"}"#,
            ErrorCode::BadChannel,
        ),
        (r#"{"type":"notify","channel":"a"}"#, ErrorCode::BadMessage),
        (
            r#"{"type":"notify","channel":"a","payload":{}}"#,
            ErrorCode::BadMessage,
        ),
        (
            r#"{"type":"notify","channel":"a","payload":"\u0000"}"#,
            ErrorCode::BadMessage,
        ),
        (
            r#"{"type":"Subscribe","channel":"a"}"#,
            ErrorCode::UnknownType,
        ),
    ] {
        assert_eq!(code(text), expect, "{text}");
    }
    let long = format!(
        r#"{{"type":"notify","channel":"a","payload":"{}"}}"#,
        "x".repeat(8000)
    );
    assert_eq!(code(&long), ErrorCode::PayloadTooLarge);
}

#[test]
fn server_messages_have_the_fields_of_the_contract() {
    let json = |message: ServerMessage<'_>| {
        let mut out = Vec::new();
        message.append_to(&mut out);
        String::from_utf8(out).unwrap()
    };
    let id = RequestId::Unsigned(5);
    let note = |lossy| ServerMessage::Notification {
        channel: "a\"b",
        payload: "p\n",
        seq: 1,
        lossy,
    };
    assert_eq!(
        json(note(false)),
        r#"{"type":"notification","channel":"a\"b","payload":"p\n","seq":1}"#
    );
    assert!(json(note(true)).ends_with(r#""lossy":true}"#));
    assert_eq!(
        json(ServerMessage::Subscribed {
            channel: "c",
            epoch: "e",
            seq: 0,
            recovered: None,
            id: Some(&id)
        }),
        r#"{"type":"subscribed","channel":"c","epoch":"e","seq":0,"id":5}"#
    );
    assert_eq!(
        json(ServerMessage::Gap {
            channel: "c",
            epoch: "e",
            seq: 0,
            reason: GapReason::PostgresReconnect
        }),
        r#"{"type":"gap","channel":"c","epoch":"e","seq":0,"reason":"postgres_reconnect"}"#
    );
    assert_eq!(
        json(ServerMessage::Status {
            postgres: PostgresStatus::Down
        }),
        r#"{"type":"status","postgres":"down"}"#
    );
    let message = ServerMessage::error(ErrorCode::PayloadTooLarge, "m", Some("c"), None);
    let expect =
        r#"{"type":"error","message":"m","code":"payload_too_large","channel":"c","limit":7999}"#;
    assert_eq!(json(message), expect);
    let text = "é".repeat(2_000);
    let ServerMessage::Error { message, .. } =
        ServerMessage::error(ErrorCode::BadMessage, &text, None, None)
    else {
        unreachable!()
    };
    assert_eq!(message.len(), TEXT_BYTES_MAX);
}
