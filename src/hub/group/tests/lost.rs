//! A bridge loses its listening session, and another one heard on, or did not.

use super::{order::RING_MAX, *};

#[test]
fn a_lost_listening_session_that_missed_nothing_goes_on() {
    let mut order = pair();
    order.notify("a");
    order.settle();
    order.lose_listening(1);
    order.settle();
    order.check_complete();
    let bridge = &order.bridges[1];
    assert_eq!((bridge.group.counts.resumed, bridge.gaps), (1, 0));
    assert_eq!(order.payloads(1, "a"), ["1"]);
}

#[test]
fn what_a_lost_listening_session_missed_is_filled_in() {
    let mut order = pair();
    for _ in 0..3 {
        order.notify("a");
    }
    order.settle();
    order.lose_listening(1);
    for _ in 0..9 {
        order.notify("a");
    }
    order.listen_again(1);
    order.notify("a");
    order.confirm_all(1);
    // Between the confirmation and the announcement, and behind that.
    order.notify("a");
    order.say(1);
    order.notify("a");
    order.settle();
    order.check_complete();
    let counts = order.bridges[1].group.counts;
    assert_eq!((counts.resumed, order.bridges[1].gaps), (1, 0));
    assert!(counts.filled >= 10);
    let all: Vec<_> = (1..=15).map(|number: u64| number.to_string()).collect();
    assert_eq!(order.payloads(1, "a"), all);
}

#[test]
fn without_a_peer_that_heard_it_there_is_a_gap() {
    // Both lose their sessions; the other one is frozen; its ring is too short; nobody is there.
    for case in 0..4 {
        let mut order = pair();
        match case {
            0 => {
                order.lose_listening(0);
                order.lose_listening(1);
            }
            1 => {
                order.lose_listening(1);
                order.bridges[0].is_frozen = true;
            }
            2 => {
                order.lose_listening(1);
                for _ in 0..=RING_MAX {
                    order.notify("a");
                }
            }
            _ => {
                order.kill(0);
                order.pass(PRESENCE_INTERVAL);
                order.settle();
                order.lose_listening(1);
            }
        }
        order.notify("a");
        for _ in 0..3 {
            order.settle();
        }
        let bridge = &order.bridges[1];
        assert_eq!((bridge.group.counts.resumed, bridge.gaps), (0, 1), "{case}");
        assert!(order.stands(1, "a"), "{case}");
        order.bridges[0].is_frozen = false;
        order.settle();
        order.check_complete();
    }
}

#[test]
fn a_peer_that_does_not_answer_is_waited_for_a_second() {
    let mut order = pair();
    order.lose_listening(1);
    order.bridges[0].is_frozen = true;
    order.listen_again(1);
    order.confirm_all(1);
    order.pass(Duration::from_millis(999));
    while order.say(1) {
        order.read_all(1);
    }
    assert_eq!(order.bridges[1].gaps, 0);
    order.pass(Duration::from_millis(1));
    assert_eq!(order.bridges[1].gaps, 1);
}

#[test]
fn after_a_restart_of_the_server_nothing_is_filled_in() {
    let mut order = pair();
    order.lose_listening(1);
    order.server_start += 1;
    order.listen_again(1);
    order.confirm_all(1);
    assert_eq!(order.bridges[1].gaps, 1, "at once");
}

/// They count in a bound of all that is retained, and a bridge that has no room for them tells a gap.
#[test]
fn notifications_that_are_held_back_are_counted_and_bounded() {
    for (held_bytes_max, resumed) in [(usize::MAX, 1), (99, 0)] {
        let mut order = pair();
        order.notify("a");
        order.settle();
        order.held_bytes_max = held_bytes_max;
        order.lose_listening(1);
        order.listen_again(1);
        order.confirm_all(1);
        order.bridges[0].is_frozen = true;
        // Hello, and the announcement.
        order.pass(Duration::from_millis(250));
        while order.say(1) {
            order.read_all(1);
        }
        assert_eq!(order.bridges[1].group.held_bytes(), 0);
        order.bridges[0].is_frozen = false;
        for _ in 0..4 {
            order.say(0);
            order.read_all(0);
            order.say(1);
            order.read_all(1);
        }
        for _ in 0..2 {
            order.notify("a");
        }
        order.read_all(1);
        let held = order.bridges[1].group.held_bytes();
        assert!(
            held <= held_bytes_max && (resumed == 0 || held == 100),
            "{held}"
        );
        order.settle();
        order.check_complete();
        let bridge = &order.bridges[1];
        assert_eq!(bridge.group.counts.resumed, resumed);
        assert_eq!(
            (bridge.gaps as u64, bridge.group.held_bytes()),
            (1 - resumed, 0)
        );
    }
}
