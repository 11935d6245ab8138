//! Sessions against bytes of any kind.

use proptest::prelude::*;

use super::*;

/// Tags a backend uses with bodies it would not, between runs of plain noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop::sample::select(b"AENSZKRTDCI12nstvGHWdc~".to_vec());
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        Just(b"I".to_vec()),
        Just(b"\0\0\0\x07c\0p\0".to_vec()),
        Just(b"SERROR\0C42622\0\0".to_vec()),
    ];
    let framed = (tag, body).prop_map(|(tag, body)| message(tag, &body));
    let piece = prop_oneof![9 => framed, 1 => prop::collection::vec(any::<u8>(), 0..9)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// No bytes in no pieces panic, and requests are answered in order or not at all.
    #[test]
    fn nothing_a_backend_sends_is_a_surprise(
        noise in noise(),
        size in 1_usize..40,
        begin in any::<bool>(),
    ) {
        let mut session =
            if begin { Session::new(&config("postgres://ann:pw@db"), "alle") } else { ready() };
        let asked = if begin { 0 } else { 9 };
        for ticket in 0..asked {
            session.listen(&channel("c"), Ticket(ticket));
        }
        let mut next = 0;
        let mut over = false;
        for input in noise.chunks(size) {
            transmit(&mut session);
            session.handle_input(input);
            while let Some(event) = session.poll_event() {
                prop_assert!(!over, "an event after the end");
                match event {
                    Event::Completed { ticket, .. } => {
                        prop_assert_eq!(ticket, Ticket(next));
                        next += 1;
                    }
                    Event::Failed(_) => over = true,
                    Event::Ready | Event::Notification { .. } | Event::Notice(_) => {}
                }
            }
        }
        let rest: Vec<_> = session.unanswered().map(|(ticket, _)| ticket).collect();
        prop_assert_eq!(rest, (next..asked).map(Ticket).collect::<Vec<_>>());
    }
}
