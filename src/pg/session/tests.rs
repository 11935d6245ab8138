//! Sessions against scripted backends: what comes out, for any way the bytes come in.

mod listens;
mod noise;

use super::*;

fn config(url: &str) -> Config {
    Config::parse(url, &|_| None).unwrap()
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

/// One backend message.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &bytes.to_be_bytes(), body].concat()
}

fn idle() -> Vec<u8> {
    message(b'Z', b"I")
}

fn notification(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    let body = [b"\0\0\0\x07", channel, b"\0", payload, b"\0"].concat();
    message(b'A', &body)
}

fn failure(tag: u8, severity: &str, sqlstate: &str) -> Vec<u8> {
    message(
        tag,
        format!("S{severity}\0V{severity}\0C{sqlstate}\0Mtext\0\0").as_bytes(),
    )
}

fn server_error(severity: &str, sqlstate: &str) -> ServerError {
    ServerError {
        severity: severity.to_owned(),
        sqlstate: sqlstate.to_owned(),
        message: "text".to_owned(),
        ..ServerError::default()
    }
}

/// Start-up without a password, then the answer to the set-up query.
fn start_up(encoding: &str) -> Vec<u8> {
    let set_up = [
        message(b'T', b""),
        message(
            b'D',
            b"\0\x04\0\0\0\x03258\0\0\0\x01f\0\0\0\x03off\0\0\0\x0242",
        ),
        message(b'C', b""),
        idle(),
    ]
    .concat();
    let others = if encoding == "SQL_ASCII" {
        [message(b'C', b""), idle()].concat()
    } else {
        vec![]
    };
    [
        message(b'R', b"\0\0\0\0"),
        message(b'S', format!("server_encoding\0{encoding}\0").as_bytes()),
        message(b'S', b"server_version\x0015.1\0"),
        message(b'S', b"in_hot_standby\0off\0"),
        message(b'K', b"\0\0\x01\x02key_"),
        idle(),
        others,
        set_up,
    ]
    .concat()
}

fn transmit(session: &mut Session) -> Vec<u8> {
    let bytes = session.poll_transmit().unwrap_or_default().to_vec();
    session.handle_transmitted(bytes.len());
    bytes
}

/// An event that outlives its session.
fn owned(event: &Event<'_>) -> String {
    format!("{event:?}")
}

fn drain(session: &mut Session) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = session.poll_event() {
        events.push(owned(&event));
    }
    events
}

fn feed(session: &mut Session, input: &[u8]) -> Vec<String> {
    session.handle_input(input);
    drain(session)
}

fn ready() -> Session {
    let mut session = Session::new(&config("postgres://ann@db"), "alle");
    transmit(&mut session);
    assert_eq!(feed(&mut session, &start_up("UTF8")), ["Ready"]);
    transmit(&mut session);
    session
}

#[test]
fn whoever_serves_us_under_another_s_number_is_a_pooler() {
    assert!(!ready().is_relayed());
    let mut session = Session::new(&config("postgres://ann@db"), "alle");
    transmit(&mut session);
    let key = message(b'K', b"\0\0\x01\x03key_");
    let start_up = start_up("UTF8");
    let own_key = message(b'K', b"\0\0\x01\x02key_");
    let at = start_up.windows(own_key.len()).position(|it| it == own_key);
    let (before, behind) = start_up.split_at(at.unwrap());
    let input = [before, &key, &behind[key.len()..]].concat();
    assert_eq!(feed(&mut session, &input), ["Ready"]);
    assert!(session.is_relayed());
}

fn completed(ticket: u64, result: Result<(), ServerError>) -> String {
    let ticket = Ticket(ticket);
    owned(&Event::Completed { ticket, result })
}

fn failed(error: impl Into<SessionError>) -> String {
    owned(&Event::Failed(error.into()))
}

fn text(channel: &[u8], payload: &[u8]) -> String {
    owned(&Event::Notification {
        process_id: 7,
        channel,
        payload,
    })
}

#[test]
fn start_up_ends_in_ready_and_knows_its_server() {
    let session = ready();
    assert!(session.is_ready());
    assert_eq!(session.server_version(), Some("15.1"));
    assert_eq!(session.server_encoding(), Some("UTF8"));
    assert_eq!(session.backend_pid(), Some(0x102));
    assert!(!session.in_hot_standby());
}

#[test]
fn a_sql_ascii_server_is_asked_for_raw_bytes_before_anything_else() {
    let mut session = Session::new(&config("postgres://ann@db"), "alle");
    transmit(&mut session);
    assert_eq!(feed(&mut session, &start_up("SQL_ASCII")), ["Ready"]);
    let mut expected = BytesMut::new();
    command::set_client_encoding_sql_ascii(&mut expected);
    command::set_up(&mut expected);
    assert_eq!(transmit(&mut session), expected);
}

#[test]
fn failures_of_the_set_up_are_survived() {
    let mut session = Session::new(&config("postgres://ann@db"), "alle");
    feed(&mut session, &[message(b'R', b"\0\0\0\0"), idle()].concat());
    assert!(!session.is_ready());
    let answer = [failure(b'E', "ERROR", "42501"), idle()].concat();
    assert_eq!(feed(&mut session, &answer), ["Ready"]);
}

#[test]
fn a_configured_nul_fails_before_a_byte_is_sent() {
    let config = Config {
        user: "a\0b".to_owned(),
        ..config("postgres://ann@db")
    };
    let mut session = Session::new(&config, "alle");
    assert_eq!(session.poll_transmit(), None);
    assert_eq!(drain(&mut session), [failed(ProtocolError::Nul)]);
    assert_eq!(feed(&mut session, &start_up("UTF8")), [""; 0]);
}

/// A whole life recorded: md5, set-up, every request, notifications in between, both kinds of
/// error, an end. It is fed in pieces of every size, and in two with every split.
#[test]
fn events_are_the_same_for_every_split_point() {
    let salted = [message(b'R', b"\0\0\0\x05salt"), start_up("UTF8")].concat();
    let rest = [
        [
            message(b'C', b"LISTEN\0"),
            notification(b"c", b"between"),
            idle(),
        ]
        .concat(),
        notification(b"c", b"idle \xff"),
        failure(b'N', "WARNING", "01000"),
        [
            message(b'1', b""),
            message(b'2', b""),
            failure(b'E', "ERROR", "22023"),
            idle(),
        ]
        .concat(),
        message(b'S', b"in_hot_standby\0on\0"),
        [message(b'I', b""), message(b'~', b"unknown"), idle()].concat(),
        failure(b'E', "ERROR", "XX000"),
        failure(b'E', "FATAL", "57P01"),
        idle(),
    ]
    .concat();
    let expected = vec![
        "Ready".to_owned(),
        text(b"c", b"between"),
        completed(1, Ok(())),
        text(b"c", b"idle \xff"),
        owned(&Event::Notice(server_error("WARNING", "01000"))),
        completed(2, Err(server_error("ERROR", "22023"))),
        completed(3, Ok(())),
        owned(&Event::Notice(server_error("ERROR", "XX000"))),
        failed(SessionError::Server(server_error("FATAL", "57P01"))),
    ];

    let life = |split: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| {
        let mut session = Session::new(&config("postgres://ann:pw@db"), "alle");
        let mut events = Vec::new();
        for piece in split(&salted) {
            transmit(&mut session);
            events.extend(feed(&mut session, &piece));
        }
        session.listen(&channel("c"), Ticket(1));
        session.notify([(&channel("c"), &Payload::new("p").unwrap())], Ticket(2));
        session.heartbeat(Ticket(3));
        transmit(&mut session);
        for piece in split(&rest) {
            events.extend(feed(&mut session, &piece));
        }
        assert!(session.in_hot_standby());
        events
    };
    for size in 1..rest.len() {
        let chunks = |bytes: &[u8]| bytes.chunks(size).map(<[u8]>::to_vec).collect();
        assert_eq!(life(&chunks), expected, "chunks of {size}");
        let halves = |bytes: &[u8]| {
            let (front, back) = bytes.split_at(size.min(bytes.len()));
            vec![front.to_vec(), back.to_vec()]
        };
        assert_eq!(life(&halves), expected, "split at {size}");
    }
}

#[test]
fn a_request_is_completed_at_ready_for_query_and_not_before() {
    let mut session = ready();
    session.listen(&channel("c"), Ticket(1));
    transmit(&mut session);
    assert_eq!(feed(&mut session, &message(b'C', b"LISTEN\0")), [""; 0]);
    assert_eq!(session.in_flight(), 1);
    assert_eq!(feed(&mut session, &idle()), [completed(1, Ok(()))]);
    assert_eq!(session.in_flight(), 0);
}

#[test]
fn a_cut_channel_name_fails_its_listen_and_no_other_request() {
    let cut = [
        failure(b'N', "NOTICE", NAME_CUT),
        message(b'C', b""),
        idle(),
    ]
    .concat();
    let notice = server_error("NOTICE", NAME_CUT);
    let mut session = ready();
    session.listen(&channel("c"), Ticket(1));
    session.unlisten(&channel("c"), Ticket(2));
    transmit(&mut session);
    assert_eq!(
        feed(&mut session, &cut),
        [completed(1, Err(notice.clone()))]
    );
    assert_eq!(
        feed(&mut session, &cut),
        [owned(&Event::Notice(notice)), completed(2, Ok(()))]
    );
}

#[test]
fn what_was_written_in_part_was_handed_over() {
    let one = {
        let mut session = ready();
        session.heartbeat(Ticket(1));
        session.poll_transmit().unwrap().len()
    };
    for written in 0..=3 * one {
        let mut session = ready();
        for ticket in 0..3 {
            session.heartbeat(Ticket(ticket));
        }
        session.handle_transmitted(written);
        assert_eq!(session.in_flight(), 3);
        let expected: Vec<_> = (0..3)
            .map(|ticket| {
                let begun = written > one * usize::try_from(ticket).unwrap();
                (
                    Ticket(ticket),
                    if begun {
                        HandedOver::Yes
                    } else {
                        HandedOver::No
                    },
                )
            })
            .collect();
        assert_eq!(
            session.unanswered().collect::<Vec<_>>(),
            expected,
            "{written} bytes"
        );
        assert_eq!(session.unanswered().count(), 0);
        assert_eq!((session.in_flight(), session.is_ready()), (0, false));
        assert_eq!(session.poll_transmit(), None);
        assert_eq!(session.poll_event(), None);
    }
}

#[test]
fn who_still_waits_at_the_end_is_found_in_unanswered() {
    let mut session = ready();
    session.heartbeat(Ticket(1));
    session.heartbeat(Ticket(2));
    transmit(&mut session);
    session.heartbeat(Ticket(3));
    feed(&mut session, &[message(b'I', b""), idle()].concat());
    let error = server_error("FATAL", "57P01");
    let events = feed(&mut session, &failure(b'E', "FATAL", "57P01"));
    assert_eq!(events, [failed(SessionError::Server(error))]);
    let waiting: Vec<_> = session.unanswered().collect();
    assert_eq!(
        waiting,
        [(Ticket(2), HandedOver::Yes), (Ticket(3), HandedOver::No)]
    );
}

#[test]
fn terminate_lets_earlier_answers_come() {
    let mut session = ready();
    session.heartbeat(Ticket(1));
    session.terminate();
    session.terminate();
    assert!(!session.is_ready());
    assert!(transmit(&mut session).ends_with(b"\0X\0\0\0\x04"));
    let answer = [message(b'I', b""), idle()].concat();
    assert_eq!(feed(&mut session, &answer), [completed(1, Ok(()))]);

    let mut session = Session::new(&config("postgres://ann@db"), "alle");
    session.terminate();
    assert!(transmit(&mut session).ends_with(b"\0\0X\0\0\0\x04"));
    assert_eq!(feed(&mut session, &start_up("UTF8")), [""; 0]);
}

#[test]
fn before_authentication_only_its_own_messages_pass() {
    for tag in (0..=u8::MAX).filter(|tag| !b"ENRSvGHWdc".contains(tag)) {
        let mut session = Session::new(&config("postgres://ann@db"), "alle");
        let events = feed(&mut session, &message(tag, b"\0\0\0\x07c\0p\0"));
        assert_eq!(events, [failed(ProtocolError::Unexpected { tag })]);
        assert_eq!(feed(&mut session, &start_up("UTF8")), [""; 0]);
    }
    for (passing, event) in [
        (message(b'v', b"\0\x03\0\0\0\0\0\0"), None),
        (message(b'S', b"a\0b\0"), None),
        (
            failure(b'N', "NOTICE", "00000"),
            Some(Event::Notice(server_error("NOTICE", "00000"))),
        ),
    ] {
        let mut session = Session::new(&config("postgres://ann@db"), "alle");
        let expected: Vec<_> = event.iter().map(owned).collect();
        assert_eq!(feed(&mut session, &passing), expected);
        assert_eq!(feed(&mut session, &start_up("UTF8")), ["Ready"]);
    }
    let mut session = Session::new(&config("postgres://ann@db"), "alle");
    let error = SessionError::Server(server_error("ERROR", "3D000"));
    assert_eq!(
        feed(&mut session, &failure(b'E', "ERROR", "3D000")),
        [failed(error)]
    );
}

#[test]
fn a_backend_out_of_step_ends_the_session() {
    for (input, error) in [
        (idle(), ProtocolError::Unexpected { tag: b'Z' }),
        (message(b'C', b""), ProtocolError::Unexpected { tag: b'C' }),
        (
            message(b'R', b"\0\0\0\0"),
            ProtocolError::Unexpected { tag: b'R' },
        ),
        (
            message(b'Z', b"T"),
            ProtocolError::TransactionOpen { status: b'T' },
        ),
        (
            message(b'Z', b"E"),
            ProtocolError::TransactionOpen { status: b'E' },
        ),
        (message(b'Z', b"x"), ProtocolError::Malformed { tag: b'Z' }),
        (message(b'Z', b""), ProtocolError::Malformed { tag: b'Z' }),
        (
            message(b'A', b"\0\0\0\x07c\0p"),
            ProtocolError::Malformed { tag: b'A' },
        ),
        (message(b'E', b"x"), ProtocolError::Malformed { tag: b'E' }),
        (
            message(b'S', b"a\0b\0c"),
            ProtocolError::Malformed { tag: b'S' },
        ),
        (message(b'K', b"\0"), ProtocolError::Malformed { tag: b'K' }),
        (message(b'W', b""), ProtocolError::Copy { tag: b'W' }),
        (message(b'd', b""), ProtocolError::Copy { tag: b'd' }),
        (
            b"A\x40\0\0\0".to_vec(),
            ProtocolError::Length {
                tag: b'A',
                bytes: 1 << 30,
            },
        ),
        (
            b"A\0\0\0\x03".to_vec(),
            ProtocolError::Length {
                tag: b'A',
                bytes: 3,
            },
        ),
    ] {
        let mut session = ready();
        assert_eq!(feed(&mut session, &input), [failed(error)]);
        assert_eq!(session.poll_transmit(), None);
        assert_eq!(feed(&mut session, &notification(b"c", b"p")), [""; 0]);
    }
}

#[test]
fn an_answer_to_what_was_not_written_is_no_answer() {
    let mut session = ready();
    session.heartbeat(Ticket(1));
    let events = feed(&mut session, &idle());
    assert_eq!(events, [failed(ProtocolError::Unexpected { tag: b'Z' })]);
    assert_eq!(
        session.unanswered().collect::<Vec<_>>(),
        [(Ticket(1), HandedOver::No)]
    );
}

const NAME_CUT: &str = "42622";
