//! What the reactor does in its turns, over byte buffers.

use std::time::Duration;

use super::{Server, World};
use crate::{
    access::{
        intent::Intent,
        question::{Question, QuestionId},
        visitor::Visitor,
    },
    backend::{Order, Role},
    delivery::outgoing::Written,
    hub::{Action, Disconnect, Endpoints, Hub, Settings, drive, lifecycle::LifecycleEvent},
    id::ClientId,
    pg::config::Config,
};

/// What the program around the hub is asked and told.
#[derive(Default)]
pub(in crate::hub::tests) struct Program {
    /// Clients that want to come in.
    pub(in crate::hub::tests) asked: Vec<(ClientId, Visitor)>,
    /// What clients want to do.
    pub(in crate::hub::tests) wanted: Vec<(ClientId, Intent)>,
    /// The questions of both kinds, in their order.
    pub(in crate::hub::tests) questions: Vec<QuestionId>,
    pub(in crate::hub::tests) told: Vec<LifecycleEvent>,
    /// Those whose machine is watched for them.
    pub(in crate::hub::tests) watched: Vec<ClientId>,
}

impl World {
    /// There is no PostgreSQL, but a program that feeds the hub.
    pub(in crate::hub::tests) fn fed(settings: Settings) -> Self {
        let config = Config::parse("postgres://ann@db/x", &|_| None).unwrap();
        let mut world = Self::new(Settings::default(), config.into(), false);
        world.hub = Hub::with_feed(settings, world.now);
        world.hold_backend = true;
        world
    }

    /// A connection whose first bytes are its proxy's, in pieces of `piece` bytes.
    pub(in crate::hub::tests) fn connect_by_proxy(
        &mut self,
        endpoints: Endpoints,
        bytes: &[u8],
        piece: usize,
    ) -> Option<ClientId> {
        let client = self.hub.handle_accepted(endpoints, false)?;
        self.sockets.insert(client, super::Socket::default());
        for piece in bytes.chunks(piece) {
            if let Some(of_proxy) = self.hub.handle_preamble(client, piece) {
                self.input(client, &piece[of_proxy..]);
            }
            self.settle();
        }
        Some(client)
    }

    pub(in crate::hub::tests) fn stall(&mut self, client: ClientId, room: usize) {
        self.sockets.get_mut(&client).unwrap().room = Some(room);
    }

    pub(in crate::hub::tests) fn unstall(&mut self, client: ClientId) {
        self.sockets.get_mut(&client).unwrap().room = None;
        self.hub.handle_client_writable(client);
        self.settle();
    }

    /// The HTTP head that arrived, without what is behind it.
    pub(in crate::hub::tests) fn take_head(&mut self, client: ClientId) -> String {
        self.settle();
        let received = &mut self.sockets.get_mut(&client).unwrap().received;
        let end = received.windows(4).position(|it| it == b"\r\n\r\n");
        let head: Vec<u8> = received.drain(..end.unwrap() + 4).collect();
        String::from_utf8(head).unwrap()
    }

    /// A browser that asks for events is told to come again, by the one status at which it does.
    #[track_caller]
    pub(in crate::hub::tests) fn expect_to_come_again(
        &mut self,
        address: Option<&str>,
        fields: &str,
    ) {
        let client = self.connect_from(Endpoints {
            peer: address.map(|it| it.parse().unwrap()),
            local: None,
        });
        let request = format!("GET /sse?channel=a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        self.input(client, request.as_bytes());
        let answer = self.take_text(client);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("\nretry: ") && answer.contains("\"code\":1013"),
            "{answer}"
        );
    }

    /// What arrived since the last look, as text.
    pub(in crate::hub::tests) fn take_text(&mut self, client: ClientId) -> String {
        self.settle();
        let received = &mut self.sockets.get_mut(&client).unwrap().received;
        String::from_utf8(std::mem::take(received)).unwrap()
    }

    pub(in crate::hub::tests) fn pings(&mut self, client: ClientId) -> usize {
        self.take_frames(client)
            .iter()
            .filter(|frame| frame[0] == 0x89)
            .count()
    }

    /// The time of the world.
    pub(in crate::hub::tests) fn since_1970(&self) -> Duration {
        Duration::from_secs(1_300_000_000) + (self.now - self.began)
    }

    pub(super) fn tell_time(&mut self) {
        self.hub.set_time(self.now);
        self.hub.set_since_1970(self.since_1970());
    }

    /// Turns until nothing happens any more.
    pub(in crate::hub::tests) fn settle(&mut self) {
        while self.turn() {}
    }

    /// One turn; whether anything happened in it, or is to happen in the next one.
    pub(in crate::hub::tests) fn turn(&mut self) -> bool {
        let mut quiet = true;
        while !self.hold_writes && self.write_one() {
            quiet = false;
        }
        self.hub.end_turn();
        self.units_max = self.units_max.max(self.hub.last_units());
        quiet &= !self.hub.work.is_behind();
        quiet &= self.hold_writes || !self.hub.has_transmit();
        quiet &= !self.carry_out();
        quiet &= !self.move_backend_bytes();
        if self.is_checked {
            self.hub.check_invariants();
        }
        !quiet
    }

    fn write_one(&mut self) -> bool {
        let sockets = &mut self.sockets;
        drive::transmit(&mut self.hub, |client, bytes| {
            let socket = sockets.get_mut(&client).expect("a client that is there");
            match &mut socket.room {
                Some(room) if *room < bytes.len() => {
                    let taken = std::mem::take(room);
                    socket.received.extend_from_slice(&bytes[..taken]);
                    Written::Full(taken)
                }
                _ => {
                    socket.received.extend_from_slice(bytes);
                    Written::All
                }
            }
        })
    }

    /// Whether there was anything to do but to read a client again.
    fn carry_out(&mut self) -> bool {
        let mut was_busy = false;
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Resume(client) => {
                    self.resumed.push(client);
                    if self.hub.unparsed_bytes(client) > 0 {
                        self.hub.handle_client_input(client, &mut []);
                    }
                    continue;
                }
                Action::Disconnect(_, Disconnect::Shutdown) => {}
                Action::Disconnect(client, Disconnect::Drop | Disconnect::Reset) => {
                    self.sockets.remove(&client);
                }
                Action::Backend(order) => self.carry_out_order(order),
                Action::Ask(question, about) => {
                    let (program, client) = (&mut self.program, question.client);
                    program.questions.push(question);
                    match about {
                        Question::Visit(visitor) => program.asked.push((client, visitor)),
                        Question::Do(intent) => program.wanted.push((client, intent)),
                    }
                }
                Action::Watch(client) => self.program.watched.push(client),
                Action::Tell(event) => self.program.told.push(event),
                Action::Published(..) => panic!("there is no program"),
                Action::Request(_) => assert!(self.hub.backend().is_none(), "a PostgreSQL"),
                Action::Message(..) => panic!("there is a PostgreSQL"),
            }
            was_busy = true;
        }
        was_busy
    }

    fn carry_out_order(&mut self, order: Order) {
        let backend = self.hub.backend().unwrap();
        match order {
            Order::Resolve(role) => {
                let config = backend.config(role).clone();
                backend.handle_resolved(role, config, self.now);
            }
            Order::Connect(role) => {
                self.backends[role.index()] = Server::default();
                if self.hold_connections[role.index()] {
                    self.is_connecting[role.index()] = true;
                } else {
                    self.connect_session(role);
                }
            }
            Order::Leave(role) => {
                self.backends[role.index()] = Server::default();
                self.given_up[role.index()] += 1;
                if !self.hold_leaving {
                    backend.handle_left(role);
                }
            }
            Order::Cancel(role) => self.cancelled[role.index()] += 1,
            Order::Disconnect(role) => {
                self.backends[role.index()] = Server::default();
                self.is_connecting[role.index()] = false;
            }
            Order::Open(..) | Order::Close(..) => unreachable!("no server is looked up"),
            Order::DeriveKey(_) => unreachable!("this server asks for no password"),
        }
    }

    pub(super) fn connect_session(&mut self, role: Role) {
        let backend = self.hub.backend().unwrap();
        if self.refuse_connections {
            backend.handle_lost(role, "failed: refused", self.now);
        } else {
            backend.handle_connected(role);
        }
        self.hub.handle_backend();
    }

    fn move_backend_bytes(&mut self) -> bool {
        let mut moved = false;
        for role in Role::PAIR {
            while !self.hold_backend {
                let backend = self.hub.backend().unwrap();
                let Some(bytes) = backend.poll_transmit(role).map(<[u8]>::to_vec) else {
                    break;
                };
                backend.handle_transmitted(role, bytes.len());
                self.backends[role.index()].inbox.extend(bytes);
                moved = true;
            }
            let is_locked = self.is_locked && role == Role::Publishing;
            let refusal = self.refuses_to_notify;
            let answer = self.backends[role.index()].read(is_locked, refusal);
            if !answer.is_empty() {
                if let Some(backend) = self.hub.backend() {
                    backend.handle_input(role, &answer, self.now);
                }
                self.hub.handle_backend();
                moved = true;
            }
            let tokens = std::mem::take(&mut self.backends[role.index()].tokens);
            if !tokens.is_empty() && !self.is_deaf {
                self.backend_says(Role::Listening, &tokens);
            }
        }
        moved
    }
}
