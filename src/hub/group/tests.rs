//! Bridges of a group on one order of commits, without PostgreSQL: by hand, and by seeds.
//!
//! The oracle knows the whole order, and with it for each epoch how many notifications lie before
//! its start: each offset that any bridge believes is checked against that.

mod lost;
mod order;
mod seeds;

use std::time::Duration;

use self::order::{Order, SERVER_START, payload_of};
use super::{joining::PRESENCE_INTERVAL, *};
use crate::random::Random;

/// Two bridges that are up, have met and listen to `a`.
fn pair() -> Order {
    let mut order = Order::new(2, None);
    for bridge in 0..2 {
        order.come_up(bridge);
    }
    order.listen(0, "a", true);
    order.settle();
    order
}

#[test]
fn a_newcomer_mirrors_what_others_want_and_learns_where_they_stand() {
    let mut order = Order::new(2, None);
    order.come_up(0);
    order.listen(0, "a", true);
    order.listen(0, "b", false);
    order.settle();
    for _ in 0..3 {
        order.notify("a");
    }
    order.come_up(1);
    assert!(!order.is_ready(1));
    order.settle();
    assert!(order.is_ready(1), "{:?}", order.bridges[1].group);
    assert!(order.stands(1, "a") && !order.stands(1, "b"));
    order.notify("a");
    order.settle();
    // It goes on with the numbers of the one whose ring it took over.
    for (from, to, back) in [(0, 1, 0), (1, 0, 0), (0, 1, 3)] {
        let since = order.since(from, "a", back);
        let judged = order.judge(to, "a", &since);
        assert_eq!(judged, Judgement::Position(4 - back));
    }
    assert_eq!(order.payloads(1, "a"), ["1", "2", "3", "4"]);
}

#[test]
fn who_is_alone_says_hello_and_nothing_else() {
    let mut order = Order::new(1, None);
    order.come_up(0);
    for name in ["a", "b", "c"] {
        order.listen(0, name, true);
    }
    order.settle();
    assert!(order.is_ready(0));
    assert_eq!(order.bridges[0].group.counts.messages_sent, 1);
}

#[test]
fn a_position_outlives_generations_of_bridges() {
    let mut order = pair();
    let since = order.since(0, "a", 0);
    let mut last = 1;
    for _ in 0..5 {
        order.kill(1 - last);
        order.come_up(1 - last);
        order.settle();
        assert!(order.stands(1 - last, "a"));
        last = 1 - last;
    }
    order.notify("a");
    order.settle();
    let judged = order.judge(1 - last, "a", &since);
    // Only what its own ring may hold: the position lies at its start.
    assert!(matches!(judged, Judgement::Position(_)), "{judged:?}");
}

#[test]
fn a_position_in_the_future_waits_for_a_barrier() {
    let mut order = pair();
    order.notify("a");
    order.read_all(0);
    let since = order.since(0, "a", 0);
    assert_eq!(order.judge(1, "a", &since), Judgement::Wait);
    order.settle();
    assert_eq!(order.released(1), [("a".to_owned(), Patience::None)]);
    assert_eq!(order.judge(1, "a", &since), Judgement::Position(1));
    let lie = Since {
        seq: since.seq + 1,
        ..since
    };
    assert_eq!(order.judge(1, "a", &lie), Judgement::Wait);
    order.settle();
    assert_eq!(order.released(1).len(), 1);
    let judged = order.judge_at_last(1, "a", &lie);
    assert_eq!(judged, Judgement::Unknown);
}

#[test]
fn an_epoch_that_is_not_known_yet_waits_for_the_answers() {
    let mut order = pair();
    order.listen(0, "b", true);
    order.say(0);
    order.read_all(0);
    order.say(0);
    order.listen(1, "b", true);
    let since = order.since(0, "b", 0);
    assert_eq!(order.judge(1, "b", &since), Judgement::Wait);
    order.settle();
    assert_eq!(order.released(1), [("b".to_owned(), Patience::Barrier)]);
    assert!(matches!(
        order.judge(1, "b", &since),
        Judgement::Position(_)
    ));
    let unknown = Since {
        epoch: Epoch {
            process: 1,
            number: 1,
        }
        .to_string()
        .into(),
        seq: 0,
    };
    assert_eq!(order.judge(1, "b", &unknown), Judgement::Unknown);
    for epoch in ["", "nonsense"] {
        let epoch = epoch.into();
        let since = Since { epoch, seq: 0 };
        assert_eq!(order.judge(1, "b", &since), Judgement::Unknown);
    }
}

#[test]
fn nothing_is_learned_of_a_server_that_was_restarted() {
    let mut order = pair();
    let since = order.since(0, "a", 0);
    assert!(matches!(
        order.judge(1, "a", &since),
        Judgement::Position(_)
    ));
    for bridge in 0..2 {
        order.go_down(bridge);
    }
    order.server_start += 1;
    for bridge in 0..2 {
        order.come_up(bridge);
        order.listen(bridge, "a", true);
    }
    order.settle();
    assert_eq!(order.judge(1, "a", &since), Judgement::Unknown);
    let since = order.since(0, "a", 0);
    assert!(matches!(
        order.judge(1, "a", &since),
        Judgement::Position(_)
    ));
}

/// Each message that was ever said is said again by another backend and by its own: nothing
/// changes, and each is counted.
#[test]
fn a_message_that_is_sent_again_changes_nothing() {
    for key in [None, GroupKey::new(&[3; 32])] {
        let mut order = Order::new(3, key);
        for bridge in 0..2 {
            order.come_up(bridge);
            order.listen(bridge, "a", true);
        }
        order.settle();
        let recorded: Vec<_> = order.recorded();
        assert!(recorded.len() > 8);
        order.notify("a");
        order.come_up(2);
        order.settle();
        let before: Vec<_> = order.bridges.iter().map(|it| it.group.counts).collect();
        for (pid, payload) in &recorded {
            for pid in [*pid, 666] {
                order.forge(pid, payload);
            }
        }
        order.settle();
        let messages = 2 * recorded.len() as u64;
        for (bridge, before) in order.bridges.iter().zip(before) {
            let counts = bridge.group.counts;
            // Only our own hello is answered without proof, by a welcome to nobody.
            assert!(counts.messages_refused - before.messages_refused >= messages - 6);
            assert_eq!(counts.contradictions, 0);
        }
        order.check();
    }
}

#[test]
fn a_begin_recorded_before_our_time_teaches_us_nothing() {
    let mut order = Order::new(2, GroupKey::new(&[3; 32]));
    order.come_up(0);
    order.listen(0, "a", true);
    order.settle();
    order.come_up(1);
    order.settle();
    let recorded = order.recorded();
    let old = order.since(0, "a", 0);
    for bridge in 0..2 {
        order.kill(bridge);
    }
    for _ in 0..7 {
        order.notify("a");
    }
    order.come_up(0);
    order.listen(0, "a", true);
    order.settle();
    // A backend of the forger has got the PID of the dead one.
    for (pid, payload) in &recorded {
        order.forge(*pid, payload);
        order.say(0);
    }
    order.settle();
    assert_eq!(order.judge(0, "a", &old), Judgement::Unknown);
    assert_eq!(order.bridges[0].group.offset_count(), 0);
}

#[test]
fn without_a_key_only_backends_of_our_role_are_believed() {
    let mut order = Order::new(2, None);
    order.strangers.insert(1);
    for bridge in 0..2 {
        order.come_up(bridge);
        order.listen(bridge, "a", true);
    }
    order.settle();
    assert_eq!(order.bridges[0].group.peer_count(), 0);
    assert_eq!(order.bridges[0].group.offset_count(), 0);
    assert!(order.bridges[0].group.counts.messages_refused > 0);
}

#[test]
fn bridges_with_different_keys_are_not_a_group() {
    let mut order = Order::new(2, GroupKey::new(&[3; 32]));
    order.bridges[1].group = order.group(1, GroupKey::new(&[4; 32]));
    for bridge in 0..2 {
        order.come_up(bridge);
        order.listen(bridge, "a", true);
    }
    order.settle();
    for bridge in &mut order.bridges {
        assert_eq!(bridge.group.peer_count(), 0);
        assert!(bridge.group.counts.messages_refused > 0);
    }
}

#[test]
fn nonsense_on_the_channel_is_refused_and_counted() {
    let mut order = pair();
    for payload in ["", "x", "1 ", "1 AAAA", "2 AAAA", "99999 ?", "1 \u{fffd}"] {
        let before = order.bridges[0].group.counts.messages_refused;
        order.forge(5, payload);
        order.settle();
        let after = order.bridges[0].group.counts.messages_refused;
        assert_eq!(after, before + 1, "{payload:?}");
    }
}

#[test]
fn a_peer_that_is_gone_leaves_its_channels_and_no_wait() {
    let mut order = pair();
    order.kill(0);
    order.pass(PRESENCE_INTERVAL);
    order.settle();
    assert_eq!(order.bridges[1].group.peer_count(), 0);
    assert!(order.stands(1, "a"), "its clients are on their way");
    order.pass(Duration::from_secs(61));
    order.settle();
    assert!(!order.stands(1, "a"));
}

/// A bridge that stops says so: nobody waits for its answers, and its channels are kept.
#[test]
fn a_goodbye_is_believed_at_once() {
    let mut order = pair();
    assert!(!order.bridges[0].group.has_left());
    order.leave(0);
    order.listen(1, "b", true);
    order.settle();
    assert!(order.bridges[0].group.has_left());
    assert_eq!(order.bridges[1].group.peer_count(), 0);
    assert!(order.is_ready(1) && order.stands(1, "a"));
    // Alone, nobody is told and nothing is waited for.
    order.leave(1);
    assert!(order.bridges[1].group.has_left());
    assert!(!order.say(1));
}

#[test]
fn a_goodbye_that_is_not_committed_is_not_waited_for() {
    let mut order = pair();
    order.leave(0);
    order.pass(Duration::from_millis(249));
    assert!(!order.bridges[0].group.has_left());
    order.pass(Duration::from_millis(1));
    assert!(order.bridges[0].group.has_left());
}

/// What a later version says besides is heard and passed over; what it says in another form is not
/// believed.
#[test]
fn a_peer_of_a_later_version_is_understood_as_far_as_possible() {
    let mut order = pair();
    let before = order.bridges[1].group.counts;
    order.say_of_another_kind(0);
    order.settle();
    let after = order.bridges[1].group.counts;
    assert_eq!(after.messages_heard, before.messages_heard + 1);
    assert_eq!(after.messages_refused, before.messages_refused);
    order.notify("a");
    order.settle();
    let since = order.since(0, "a", 0);
    assert_eq!(order.judge(1, "a", &since), Judgement::Position(1));
    order.forge(101, "2 AAAA");
    order.settle();
    let refused = order.bridges[1].group.counts.messages_refused;
    assert_eq!(refused, after.messages_refused + 1);
    assert!(order.is_ready(1));
}

#[test]
fn a_channel_that_no_peer_wants_is_mirrored_no_longer() {
    let mut order = pair();
    assert!(order.stands(1, "a"));
    order.set_own(0, "a", false);
    order.settle();
    assert!(!order.stands(1, "a"));
    order.set_own(0, "a", true);
    order.settle();
    assert!(order.stands(1, "a"));
}

#[test]
fn a_thousand_channels_are_announced_in_messages_that_fit() {
    let mut order = Order::new(2, GroupKey::new(&[3; 32]));
    order.come_up(0);
    for channel in 0..1_000 {
        order.listen(0, &format!("channel number {channel}"), true);
    }
    order.settle();
    let before = order.control_bytes();
    order.come_up(1);
    order.settle();
    assert!(order.is_ready(1));
    assert_eq!(order.bridges[1].group.offset_count(), 1_000);
    assert_eq!(order.bridges[0].group.offset_count(), 1_000);
    let bytes = order.control_bytes() - before;
    assert!(bytes < 128 * 1_000, "{bytes}");
    let longest = order.recorded().iter().map(|it| it.1.len()).max();
    assert!(longest.is_some_and(|it| it <= 7_600), "{longest:?}");
}

#[test]
fn a_bridge_is_not_ready_while_a_peer_owes_it_an_answer() {
    let mut order = pair();
    order.kill(1);
    order.come_up(1);
    order.listen(1, "a", true);
    // Hello and welcome, greet and have.
    for _ in 0..2 {
        assert!(order.say(1));
        order.read_all(0);
        order.read_all(1);
        while order.say(0) {}
        order.read_all(0);
        order.read_all(1);
    }
    order.bridges[0].is_frozen = true;
    while order.say(1) {
        order.read_all(1);
    }
    assert!(
        !order.is_ready(1),
        "the other one has not said where it stands"
    );
    order.bridges[0].is_frozen = false;
    order.settle();
    assert!(order.is_ready(1));
}

/// Not at once: a queue that is full would refuse it again, and again.
#[test]
fn a_bridge_whose_message_was_refused_comes_again_after_a_while() {
    let mut order = pair();
    let since = order.since(0, "a", 0);
    order.refuse(1);
    assert!(!order.say(1), "it is not there for now");
    order.pass(Duration::from_millis(999));
    assert!(!order.say(1));
    order.pass(Duration::from_millis(1));
    let before = order.bridges[1].group.counts.messages_refused;
    order.settle();
    assert_eq!(order.bridges[1].group.counts.messages_refused, before);
    assert_eq!(order.judge(1, "a", &since), Judgement::Position(0));
    assert!(order.is_ready(1));
}

#[test]
fn a_bridge_waits_for_a_mute_peer_no_longer_than_that() {
    let mut order = pair();
    order.bridges[0].is_frozen = true;
    order.go_down(1);
    order.come_up(1);
    order.settle();
    assert!(!order.is_ready(1), "a peer owes an answer");
    order.pass(READY_TIMEOUT);
    assert!(order.is_ready(1));
}

#[test]
fn forged_messages_have_the_form_of_real_ones() {
    let order = pair();
    assert!(order.recorded().iter().all(|(_, it)| it.starts_with("1 ")));
    assert!(payload_of(&order.recorded()[0].1).is_some());
    assert_eq!(order.server_start, SERVER_START);
}

/// However long it takes, up to a limit: PostgreSQL knows that it is there.
#[test]
fn a_slow_peer_is_waited_for_and_one_that_is_gone_is_not() {
    let mut order = pair();
    order.kill(1);
    order.bridges[0].is_frozen = true;
    order.come_up(1);
    order.read_all(1);
    for _ in 0..3 {
        while order.say(1) {
            order.read_all(1);
        }
        order.pass(Duration::from_millis(250));
        assert!(!order.is_ready(1));
    }
    order.bridges[0].is_frozen = false;
    order.settle();
    assert!(order.is_ready(1) && order.stands(1, "a"));

    order.kill(1);
    order.bridges[0].is_frozen = true;
    order.come_up(1);
    order.say(1);
    order.read_all(1);
    assert!(!order.is_ready(1));
    order.kill(0);
    order.pass(Duration::from_millis(250));
    for _ in 0..2 {
        assert!(!order.say(1), "there is nobody to tell anything");
    }
    assert!(order.is_ready(1), "PostgreSQL was asked again");
}
