//! LISTENs that share a transaction.

use super::*;

/// Several requests are under way.
fn busy() -> Session {
    let mut session = ready();
    for _ in 0..4 {
        session.heartbeat(Ticket(0));
    }
    transmit(&mut session);
    session
}

/// Those are answered.
fn answer_heartbeats(session: &mut Session) {
    let answer = [message(b'I', b""), idle()].concat().repeat(4);
    assert_eq!(feed(session, &answer).len(), 4);
}

fn ask(session: &mut Session, names: &[&str], first: u64) {
    for (name, ticket) in names.iter().zip(first..) {
        session.listen_along(&channel(name), Ticket(ticket));
    }
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), &[0]].concat())
}

#[test]
fn listens_share_a_transaction_until_the_first_of_them_is_on_its_way() {
    let mut session = busy();
    ask(&mut session, &["a", "b\"", "c"], 1);
    let first = query("LISTEN \"a\"; LISTEN \"b\"\"\"; LISTEN \"c\"");
    assert_eq!(session.poll_transmit(), Some(&first[..]));
    session.handle_transmitted(1);
    ask(&mut session, &["d"], 4);
    session.heartbeat(Ticket(5));
    ask(&mut session, &["e", "f"], 6);
    let rest = [
        query("LISTEN \"d\""),
        query(""),
        query("LISTEN \"e\"; LISTEN \"f\""),
    ]
    .concat();
    assert_eq!(transmit(&mut session), [&first[1..], &rest].concat());
    answer_heartbeats(&mut session);
    assert_eq!(session.in_flight(), 7);
    let complete = |count| message(b'C', b"LISTEN\0").repeat(count);
    let answer = [complete(3), idle()].concat();
    let ok = |ticket| completed(ticket, Ok(()));
    assert_eq!(feed(&mut session, &answer), [ok(1), ok(2), ok(3)]);
    let answer = [
        complete(1),
        idle(),
        message(b'I', b""),
        idle(),
        complete(2),
        notification(b"e", b"between"),
        idle(),
    ]
    .concat();
    let events = [ok(4), ok(5), text(b"e", b"between"), ok(6), ok(7)];
    assert_eq!(feed(&mut session, &answer), events);
    assert_eq!(session.in_flight(), 0);
}

#[test]
fn only_so_many_share_a_transaction() {
    let mut session = busy();
    for ticket in 0..129 {
        session.listen_along(&channel("c"), Ticket(ticket));
    }
    let sent = transmit(&mut session);
    let sent = String::from_utf8_lossy(&sent);
    let queries: Vec<_> = sent
        .split('\0')
        .map(|it| it.matches("LISTEN").count())
        .collect();
    let queries: Vec<_> = queries.into_iter().filter(|&it| it > 0).collect();
    assert_eq!(queries, [64, 64, 1]);
}

/// PostgreSQL rolled all of them back, or heard another channel than was asked for.
#[test]
fn where_one_is_refused_each_is_asked_for_again_alone() {
    for refusal in [
        [message(b'C', b"LISTEN\0"), failure(b'E', "ERROR", "XX000")].concat(),
        [
            failure(b'N', "NOTICE", NAME_CUT),
            message(b'C', b"LISTEN\0"),
        ]
        .concat(),
    ] {
        let mut session = busy();
        ask(&mut session, &["a", "b"], 1);
        transmit(&mut session);
        answer_heartbeats(&mut session);
        let refusal = [refusal, idle()].concat();
        assert_eq!(feed(&mut session, &refusal), [""; 0]);
        assert_eq!(session.in_flight(), 2);
        let again = [query("LISTEN \"a\""), query("LISTEN \"b\"")].concat();
        assert_eq!(transmit(&mut session), again);
        let answer = [
            message(b'C', b"LISTEN\0"),
            idle(),
            failure(b'E', "ERROR", "XX000"),
            idle(),
        ]
        .concat();
        let error = Err(server_error("ERROR", "XX000"));
        let events = [completed(1, Ok(())), completed(2, error)];
        assert_eq!(feed(&mut session, &answer), events);
    }
}

#[test]
fn those_of_a_session_that_ends_are_all_unanswered() {
    let mut session = busy();
    ask(&mut session, &["a", "b"], 1);
    assert!(session.poll_transmit().is_some());
    session.handle_transmitted(1);
    ask(&mut session, &["c"], 3);
    let unanswered: Vec<_> = session.unanswered().skip(4).collect();
    let expected = [
        (Ticket(1), HandedOver::Yes),
        (Ticket(2), HandedOver::Yes),
        (Ticket(3), HandedOver::No),
    ];
    assert_eq!(unanswered, expected);
}

/// Each is answered as soon as it can be.
#[test]
fn few_share_no_transaction() {
    let mut session = ready();
    ask(&mut session, &["a", "b", "c", "d", "e", "f"], 1);
    let alone = ["a", "b", "c", "d"].map(|name| query(&format!("LISTEN \"{name}\"")));
    let shared = query("LISTEN \"e\"; LISTEN \"f\"");
    assert_eq!(transmit(&mut session), [alone.concat(), shared].concat());
}
