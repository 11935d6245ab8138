//! Questions, one by one: who asks, who waits, who is told.

use super::*;
use crate::access::Permissions;

#[expect(clippy::disallowed_methods, reason = "a point to count from")]
fn start() -> Instant {
    Instant::now()
}

fn secret(token: &str) -> Secret {
    Secret::new(token)
}

fn ask(inquiries: &mut Inquiries, token: &str, slot: u32, now: Instant) -> Option<Answer> {
    let from = Origin {
        slot,
        address: None,
        path: Some("/ws"),
    };
    let answer = inquiries.ask(&secret(token), from, now);
    inquiries.check_invariants();
    answer
}

fn somebody(inquiry: &Inquiry) -> Answer {
    let permissions = Permissions::default();
    let credential = Credential::of_function(inquiry.token.clone(), None, permissions, None);
    Answer::Verdict(Some(credential))
}

fn polled(inquiries: &mut Inquiries) -> Vec<u32> {
    std::iter::from_fn(|| inquiries.poll(start()).map(|(number, _)| number)).collect()
}

fn concerned(inquiries: &mut Inquiries) -> Vec<Concern> {
    std::iter::from_fn(|| inquiries.poll_concern()).collect()
}

fn new() -> Inquiries {
    Inquiries::new(100, Duration::from_secs(30))
}

#[test]
fn one_question_is_asked_for_a_token_whoever_waits() {
    let now = start();
    let mut inquiries = new();
    for slot in 0..3 {
        assert_eq!(ask(&mut inquiries, "ann", slot, now), None);
    }
    assert_eq!(ask(&mut inquiries, "ann", 0, now), None, "asked twice");
    assert_eq!(polled(&mut inquiries), [0]);
    assert_eq!(ask(&mut inquiries, "ann", 3, now), None, "it is under way");
    assert!(polled(&mut inquiries).is_empty());
    inquiries.handle_answer(0, somebody, &Clock::new(now));
    assert_eq!(
        concerned(&mut inquiries),
        [0, 1, 2, 3].map(Concern::Waiting)
    );
    for slot in 0..5 {
        let answer = ask(&mut inquiries, "ann", slot, now);
        assert!(matches!(answer, Some(Answer::Verdict(Some(_)))), "{slot}");
    }
    assert_eq!(inquiries.waiting_count(), 0);
    inquiries.clear_verdicts();
    assert_eq!(ask(&mut inquiries, "ann", 0, now), None);
}

#[test]
fn at_most_64_are_under_way_and_1024_wait() {
    let now = start();
    let mut inquiries = new();
    for slot in 0..1_024 {
        let token = format!("token{slot}");
        assert_eq!(ask(&mut inquiries, &token, slot, now), None, "{slot}");
    }
    let answer = ask(&mut inquiries, "one more", 1_024, now);
    assert_eq!(answer, Some(Answer::Unavailable));
    let first = polled(&mut inquiries);
    assert_eq!(first.len(), 64);
    assert!(inquiries.handle_failure(first[7], "22012", &Clock::new(now)));
    inquiries.check_invariants();
    assert_eq!(ask(&mut inquiries, "token7", 7, now), Some(Answer::Failed));
    assert_eq!(polled(&mut inquiries), [64]);
    // A failure is no verdict: the next one asks again.
    assert_eq!(ask(&mut inquiries, "token7", 7, now), None);
}

#[test]
fn what_was_under_way_on_a_session_that_is_gone_is_asked_again_and_first() {
    let now = start();
    let mut inquiries = new();
    for slot in 0..66 {
        ask(&mut inquiries, &format!("token{slot}"), slot, now);
    }
    let first = polled(&mut inquiries);
    inquiries.handle_down();
    inquiries.check_invariants();
    assert_eq!(polled(&mut inquiries), first);
    inquiries.handle_again(5);
    inquiries.forget(5);
    inquiries.check_invariants();
    assert_eq!(polled(&mut inquiries), [64], "nobody waits for it any more");
}

#[test]
fn who_waits_for_30_s_is_told_so() {
    let now = start();
    let mut inquiries = new();
    ask(&mut inquiries, "ann", 0, now);
    polled(&mut inquiries);
    let later = now + Duration::from_secs(30);
    ask(&mut inquiries, "ann", 1, later);
    let almost = later - Duration::from_millis(1);
    inquiries.note_overdue(almost);
    assert!(concerned(&mut inquiries).is_empty());
    inquiries.note_overdue(later);
    assert_eq!(concerned(&mut inquiries), [Concern::Waiting(0)]);
    assert_eq!(
        ask(&mut inquiries, "ann", 0, later),
        Some(Answer::Unavailable)
    );
    assert!(inquiries.is_waiting(1) && !inquiries.is_waiting(0));
    inquiries.handle_answer(0, somebody, &Clock::new(later));
    assert_eq!(concerned(&mut inquiries), [Concern::Waiting(1)]);
}

#[test]
fn whoever_is_in_is_asked_about_again_without_waiting() {
    let now = start();
    let mut inquiries = new();
    let client = ClientId {
        slot: 7,
        generation: 1,
    };
    assert_eq!(inquiries.ask_again(&secret("ann"), client, None, now), None);
    assert_eq!(polled(&mut inquiries), [0]);
    assert!(!inquiries.is_waiting(7));
    inquiries.handle_answer(0, |_| Answer::Verdict(None), &Clock::new(now));
    assert_eq!(concerned(&mut inquiries), [Concern::Holder(client, None)]);
    let known = inquiries.ask_again(&secret("ann"), client, None, now);
    assert_eq!(known, Some(None));
}
