//! Conversations with a bridge, message by message.

use super::*;

fn message(subscriptions: &mut Subscriptions, text: &str) -> Option<Report> {
    subscriptions.handle_message(Message::parse(text).unwrap())
}

fn started(channels: &[&str]) -> Subscriptions {
    let channels: Vec<String> = channels.iter().map(|name| (*name).to_owned()).collect();
    let mut subscriptions = Subscriptions::new(&channels);
    subscriptions.handle_connected();
    subscriptions
}

#[test]
fn the_first_subscriptions_are_settled_silently_and_typed_ones_reported() {
    let mut subscriptions = started(&["a", "b"]);
    assert!(!subscriptions.is_settled());
    assert_eq!(
        message(
            &mut subscriptions,
            r#"{"type":"subscribed","channel":"a","id":1}"#
        ),
        None
    );
    // A bridge that echoes no id is understood by the channel.
    assert_eq!(
        message(&mut subscriptions, r#"{"type":"subscribed","channel":"b"}"#),
        None
    );
    assert!(subscriptions.is_settled());
    let request = subscriptions.subscribe("c").unwrap();
    assert_eq!(request, r#"{"type":"subscribe","channel":"c","id":3}"#);
    assert!(subscriptions.is_settled(), "typed ones do not count");
    assert_eq!(
        message(
            &mut subscriptions,
            r#"{"type":"subscribed","channel":"c","id":3}"#
        ),
        Some(Report::Subscribed("c".to_owned()))
    );
}

#[test]
fn a_refused_subscription_is_forgotten_and_one_that_stood_is_not() {
    let mut subscriptions = started(&["a"]);
    message(
        &mut subscriptions,
        r#"{"type":"subscribed","channel":"a","id":1}"#,
    );
    subscriptions.subscribe("a");
    subscriptions.subscribe("bad");
    for id in [2, 3] {
        let refused = format!(r#"{{"type":"error","message":"no","id":{id}}}"#);
        let report = message(&mut subscriptions, &refused);
        assert_eq!(report, Some(Report::Error("no".to_owned())));
    }
    assert_eq!(subscriptions.list().collect::<Vec<_>>(), [("a", true)]);
}

#[test]
fn after_a_lost_connection_each_channel_goes_on_where_it_was() {
    let mut subscriptions = started(&["a", "b"]);
    let confirmed = r#"{"type":"subscribed","channel":"a","id":1,"epoch":"x","seq":4}"#;
    message(&mut subscriptions, confirmed);
    message(
        &mut subscriptions,
        r#"{"type":"notification","channel":"a","payload":"p","seq":5}"#,
    );
    assert!(subscriptions.handle_disconnected().is_empty());
    assert_eq!(
        subscriptions.subscribe("c"),
        None,
        "asked for once connected"
    );
    assert_eq!(
        subscriptions.handle_connected(),
        [
            r#"{"type":"subscribe","channel":"a","id":4,"since":{"epoch":"x","seq":5}}"#,
            r#"{"type":"subscribe","channel":"b","id":5}"#,
            r#"{"type":"subscribe","channel":"c","id":6}"#,
        ]
    );
    for (answer, expected) in [
        (r#"{"type":"subscribed","channel":"b","id":5}"#, None),
        (
            r#"{"type":"subscribed","channel":"c","id":6}"#,
            Some(Report::Subscribed("c".to_owned())),
        ),
        (
            r#"{"type":"subscribed","channel":"a","id":4,"recovered":false}"#,
            Some(Report::Gap {
                channel: "a".to_owned(),
                cause: GapCause::Connection,
            }),
        ),
    ] {
        assert_eq!(message(&mut subscriptions, answer), expected);
    }
    assert!(subscriptions.is_settled());
}

#[test]
fn a_recovered_channel_has_no_gap() {
    let mut subscriptions = started(&["a"]);
    let confirmed = r#"{"type":"subscribed","channel":"a","id":1,"epoch":"x","seq":4}"#;
    message(&mut subscriptions, confirmed);
    subscriptions.handle_disconnected();
    subscriptions.handle_connected();
    let recovered =
        r#"{"type":"subscribed","channel":"a","id":2,"epoch":"x","seq":4,"recovered":true}"#;
    assert_eq!(message(&mut subscriptions, recovered), None);
}

#[test]
fn a_lost_connection_completes_an_unsubscribe() {
    let mut subscriptions = started(&["a"]);
    assert!(subscriptions.unsubscribe("a").is_some());
    assert_eq!(
        subscriptions.handle_disconnected(),
        [Report::Unsubscribed("a".to_owned())]
    );
    assert!(subscriptions.handle_connected().is_empty());
}
