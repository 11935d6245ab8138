//! A backend that sends any bytes, against a session that has to withstand them.
//!
//! Compiled by the tests and by cargo-fuzz alike; knows only what `alle::internals::pg` promises in public.

use alle::{
    Channel, Payload,
    internals::pg::{
        config::Config,
        session::{Event, Session, Ticket},
    },
};

/// Feeds `data` to a session, in pieces, and asserts the invariants that hold for any bytes.
///
/// The first byte is the size of the pieces, the second one says where to begin: even values leave
/// start-up to the data; odd ones play it first, then half of the value is how many requests wait.
pub fn backend_bytes(data: &[u8]) {
    let Some((&[size, begin], data)) = data.split_first_chunk() else {
        return;
    };
    let config = Config::parse("postgres://ann:pw@localhost/x", &|_| None)
        .expect("the connection string is a good one");
    let mut run = Run::new(&config);
    if begin % 2 == 1 {
        run.feed(START_UP);
        assert!(run.session.is_ready(), "a plain start-up works");
        run.ask(begin / 2);
    }
    for input in data.chunks(usize::from(size).max(1)) {
        run.feed(input);
    }
    run.finish();
}

struct Run {
    session: Session,
    ready: bool,
    over: bool,
    asked: u64,
    completed: u64,
}

impl Run {
    fn new(config: &Config) -> Self {
        let mut session = Session::new(config, "alle");
        assert!(
            session.poll_transmit().is_some(),
            "the StartupMessage is queued at once"
        );
        Self {
            session,
            ready: false,
            over: false,
            asked: 0,
            completed: 0,
        }
    }

    fn ask(&mut self, requests: u8) {
        let channel = Channel::new("a\"b").expect("a good name");
        let payload = Payload::new("p").expect("a good payload");
        for kind in 0..requests {
            let ticket = Ticket(self.asked);
            match kind % 4 {
                0 => self.session.listen(&channel, ticket),
                1 => self.session.notify([(&channel, &payload)], ticket),
                2 => self.session.unlisten(&channel, ticket),
                _ => self.session.heartbeat(ticket),
            }
            self.asked += 1;
        }
    }

    fn feed(&mut self, input: &[u8]) {
        while let Some(bytes) = self.session.poll_transmit() {
            let bytes = bytes.len().div_ceil(2);
            self.session.handle_transmitted(bytes);
        }
        self.session.handle_input(input);
        while let Some(event) = self.session.poll_event() {
            assert!(!self.over, "nothing follows the end");
            match event {
                Event::Ready => {
                    assert!(!self.ready, "ready comes once");
                    self.ready = true;
                }
                Event::Notification {
                    channel, payload, ..
                } => {
                    assert!(!channel.contains(&0) && !payload.contains(&0));
                }
                Event::Completed { ticket, .. } => {
                    assert_eq!(ticket, Ticket(self.completed), "answers come in order");
                    self.completed += 1;
                }
                Event::Notice(notice) => assert!(!notice.to_string().contains('\n')),
                Event::Failed(error) => {
                    assert!(!error.to_string().contains('\n'));
                    self.over = true;
                }
            }
        }
        assert_eq!(self.session.is_ready(), self.ready && !self.over);
        if self.over {
            assert_eq!(
                self.session.poll_transmit(),
                None,
                "nothing is said after the end"
            );
        }
        self.check_requests();
    }

    fn check_requests(&self) {
        let in_flight = u64::try_from(self.session.in_flight()).expect("few requests");
        assert_eq!(
            in_flight,
            self.asked - self.completed,
            "each request is answered once"
        );
    }

    fn finish(mut self) {
        self.check_requests();
        let waiting = self.session.unanswered().map(|(ticket, _)| ticket);
        assert!(waiting.eq((self.completed..self.asked).map(Ticket)));
        assert_eq!(self.session.poll_event(), None);
        assert_eq!(self.session.in_flight(), 0);
    }
}

/// AuthenticationOk, ReadyForQuery, and one more that answers the set-up.
const START_UP: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IZ\0\0\0\x05I";
