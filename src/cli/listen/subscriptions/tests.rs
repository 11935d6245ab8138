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
fn a_refused_subscription_is_forgotten_and_one_that_stands_is_not() {
    let mut subscriptions = started(&["a"]);
    message(
        &mut subscriptions,
        r#"{"type":"subscribed","channel":"a","id":1}"#,
    );
    subscriptions.subscribe("a");
    subscriptions.subscribe("bad");
    let stands = Report::Error {
        channel: Some("a".to_owned()),
        message: "no".to_owned(),
    };
    assert_eq!(refuse(&mut subscriptions, 2), Some(stands));
    assert_eq!(refuse(&mut subscriptions, 3), Some(refused("bad")));
    assert_eq!(subscriptions.list().collect::<Vec<_>>(), [("a", true)]);
}

fn refuse(subscriptions: &mut Subscriptions, id: u64) -> Option<Report> {
    let text = format!(r#"{{"type":"error","message":"no","id":{id}}}"#);
    message(subscriptions, &text)
}

fn refused(channel: &str) -> Report {
    Report::Refused {
        channel: channel.to_owned(),
        message: "no".to_owned(),
    }
}

/// It was confirmed, but on another connection: nothing more would be heard of it.
#[test]
fn a_subscription_refused_when_it_is_renewed_is_forgotten() {
    let mut subscriptions = started(&["a"]);
    message(
        &mut subscriptions,
        r#"{"type":"subscribed","channel":"a","id":1,"epoch":"E","seq":3}"#,
    );
    subscriptions.handle_disconnected();
    subscriptions.handle_connected();
    assert_eq!(refuse(&mut subscriptions, 2), Some(refused("a")));
    assert!(subscriptions.is_empty());
}

/// A bridge that was started again has its other clients to serve, too.
#[test]
fn a_subscription_that_is_refused_for_now_is_asked_for_again() {
    let confirmed =
        |id| format!(r#"{{"type":"subscribed","channel":"a","id":{id},"epoch":"E","seq":3}}"#);
    for code in PASSING_CODES {
        let mut subscriptions = started(&["a"]);
        message(&mut subscriptions, &confirmed(1));
        subscriptions.handle_disconnected();
        subscriptions.handle_connected();
        let delayed = Report::Delayed {
            channel: "a".to_owned(),
            message: "no".to_owned(),
        };
        assert_eq!(refuse_for(&mut subscriptions, 2, code), Some(delayed));
        assert!(!subscriptions.is_settled());
        let again =
            r#"{"type":"subscribe","channel":"a","id":3,"since":{"epoch":"E","seq":3}}"#.to_owned();
        assert_eq!(subscriptions.ask_delayed(), [again]);
        let told = refuse_for(&mut subscriptions, 3, code);
        assert_eq!(told, None, "told once");
        subscriptions.ask_delayed();
        let gap = Report::Gap {
            channel: "a".to_owned(),
            cause: GapCause::Connection,
        };
        assert_eq!(message(&mut subscriptions, &confirmed(4)), Some(gap));
        assert!(subscriptions.is_settled());
        assert_eq!(subscriptions.delayed_count(), 0);
    }
}

#[test]
fn what_is_refused_for_now_waits_no_longer_than_it_is_wanted() {
    let mut subscriptions = started(&["a", "b", "c"]);
    for id in 1..=3 {
        refuse_for(&mut subscriptions, id, "rate_limited");
    }
    subscriptions.unsubscribe("a");
    subscriptions.subscribe("b");
    assert_eq!(subscriptions.delayed_count(), 1);
    subscriptions.handle_disconnected();
    assert_eq!(subscriptions.delayed_count(), 0);
    assert_eq!(subscriptions.handle_connected().len(), 2);
}

#[test]
fn at_most_64_channels_are_asked_for_again_at_once_and_each_has_its_turn() {
    let names: Vec<String> = (0..=ASKED_AGAIN_MAX).map(|it| it.to_string()).collect();
    let mut subscriptions = Subscriptions::new(&names);
    subscriptions.handle_connected();
    for id in 1..=65 {
        refuse_for(&mut subscriptions, id, "rate_limited");
    }
    assert_eq!(subscriptions.ask_delayed().len(), ASKED_AGAIN_MAX);
    for id in 66..130 {
        refuse_for(&mut subscriptions, id, "rate_limited");
    }
    let last = names.iter().max().unwrap();
    assert!(subscriptions.ask_delayed()[0].contains(&format!(r#""channel":"{last}""#)));
}

fn refuse_for(subscriptions: &mut Subscriptions, id: u64, code: &str) -> Option<Report> {
    let text = format!(r#"{{"type":"error","message":"no","id":{id},"code":"{code}"}}"#);
    message(subscriptions, &text)
}

#[test]
fn a_publish_is_answered_or_said_to_be_unanswered() {
    let mut subscriptions = started(&[]);
    let request = subscriptions.publish("c", "p").unwrap();
    assert_eq!(
        request,
        r#"{"type":"notify","channel":"c","payload":"p","id":1}"#
    );
    for not_ours in [
        r#"{"type":"notified","channel":"other","id":1}"#,
        r#"{"type":"notified","channel":"c","id":2}"#,
        r#"{"type":"notified","channel":"c"}"#,
    ] {
        assert_eq!(message(&mut subscriptions, not_ours), None);
    }
    let notified = r#"{"type":"notified","channel":"c","id":1}"#;
    let report = message(&mut subscriptions, notified);
    assert_eq!(report, Some(Report::Published("c".to_owned())));
    assert_eq!(message(&mut subscriptions, notified), None, "answered once");
    subscriptions.publish("c", "p");
    let lost = subscriptions.handle_disconnected();
    assert_eq!(lost, [Report::Unanswered("c".to_owned())]);
    assert_eq!(subscriptions.publish("c", "p"), None, "no connection");
}

#[test]
fn at_256_unanswered_requests_further_ones_wait() {
    let mut subscriptions = started(&[]);
    for _ in 0..REQUESTS_MAX {
        assert!(!subscriptions.is_busy());
        subscriptions.publish("c", "p");
    }
    assert!(subscriptions.is_busy());
    subscriptions.handle_disconnected();
    assert!(!subscriptions.is_busy());
}

#[test]
fn names_are_offered_again_but_not_those_that_were_refused() {
    let mut subscriptions = started(&["a"]);
    subscriptions.subscribe("b");
    subscriptions.publish("c", "");
    subscriptions.publish(&"x".repeat(64), "");
    subscriptions.unsubscribe("a");
    assert_eq!(subscriptions.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    refuse(&mut subscriptions, 2);
    assert_eq!(subscriptions.names().collect::<Vec<_>>(), ["a", "c"]);
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
