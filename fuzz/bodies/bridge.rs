//! The assertions of a fuzzer about the whole hub: bytes are read as a sequence of events in any
//! order, and the hub is drained as its documentation demands.
//!
//! Whatever the events: nothing panics, the messages to a client are in order and complete, and
//! when all clients are gone nothing is left.

mod peer;
mod postgres;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alle::{
    Channel, Limits,
    internals::{
        access::{Access, tokens::Tokens},
        backend::{Order, Role},
        delivery::outgoing::Written,
        hub::{Action, Disconnect, Endpoints, Hub, Settings, drive},
        id::ClientId,
        pg::config::Config,
    },
};

use self::{
    peer::{Peer, message},
    postgres::Server,
};
use super::wire::{frame, upgrade_head};

/// Reads `data` as a sequence of operations and plays it.
pub fn bridge_ops(data: &[u8]) {
    let mut script = Script(data);
    let mut run = Run::new(script.byte());
    for _ in 0..OPERATIONS_MAX {
        if script.0.is_empty() {
            break;
        }
        run.play(&mut script);
        run.drain();
    }
    run.finish();
}

/// The rest of the input; zeros behind its end.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn bytes(&mut self, bytes: u8) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(usize::from(bytes).min(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[derive(Default)]
enum Link {
    #[default]
    None,
    /// Ordered, and not yet carried out.
    Ordered,
    Connected(Server),
}

struct Run {
    hub: Hub,
    now: Instant,
    peers: BTreeMap<ClientId, Peer>,
    links: [Link; 2],
    /// Listened to whatever the clients.
    pinned: Option<Channel>,
    /// Clients have to authenticate.
    has_tokens: bool,
}

impl Run {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant; nothing depends on which"
    )]
    fn new(variant: u8) -> Self {
        let mut limits = Limits::default();
        if variant & 1 != 0 {
            limits.subscriptions_max = 2;
            limits.client_publishes_max = 2;
            limits.waiting_bytes_max = 1_000;
        }
        if variant & 2 != 0 {
            limits.client_queue_bytes_max = 600;
            limits.message_bytes_max = 200;
        }
        if variant & 4 != 0 {
            limits.retained_bytes_max = 2_000;
            limits.unsent_bytes_max = 500;
        }
        let mut access = Access::default();
        if variant & 64 != 0 {
            limits.client_rate_max = Some(8);
            limits.address_clients_max = Some(3);
            access.tokens = Some(tokens(0));
        }
        let pinned = (variant & 8 != 0).then(|| channel(0));
        let settings = Settings {
            limits,
            access,
            channels: pinned.iter().cloned().collect(),
            // Else channels would be kept after the end, for clients that may come back.
            unlisten_delay: Some(Duration::ZERO),
            epoch_seed: u64::from(variant),
            backend_seed: u64::from(variant),
            ..Settings::default()
        };
        let config = Config::parse("postgres://ann:pw@localhost/x", &|_| None)
            .expect("the connection string is a good one");
        let now = Instant::now();
        let mut run = Self {
            hub: Hub::new(settings, config, now),
            now,
            peers: BTreeMap::new(),
            links: Default::default(),
            pinned,
            has_tokens: variant & 64 != 0,
        };
        if variant & 16 != 0 {
            // Ticks wrap after 49.7 days.
            run.pass(Duration::from_millis((1 << 32) - 20_000));
        }
        run.pass(Duration::ZERO);
        if variant & 32 != 0 {
            run.settle();
        }
        run
    }

    fn play(&mut self, script: &mut Script<'_>) {
        match script.byte() % 20 {
            0 => self.connect(),
            1 => self.input(script, |_| upgrade_head()),
            2..=4 => self.input(script, message),
            5 => self.input(script, |script| {
                let first = [0x88, 0x89, 0x8a, 0x80, 0x82][usize::from(script.byte() % 5)];
                let bytes = script.byte() % 126;
                frame(first, script.bytes(bytes))
            }),
            6 => self.input(script, |script| {
                let bytes = script.byte();
                script.bytes(bytes).to_vec()
            }),
            7 => {
                if let Some(client) = self.choose(script) {
                    self.peers.remove(&client);
                    self.hub.handle_client_closed(client);
                }
            }
            8 => {
                if let Some(client) = self.choose(script) {
                    self.hub.handle_client_writable(client);
                    if let Some(peer) = self.peers.get_mut(&client) {
                        peer.is_full = false;
                    }
                }
            }
            9 => {
                for _ in 0..=script.byte() % 64 {
                    self.transmit(None);
                }
            }
            10 => {
                self.transmit(Some(script.byte()));
            }
            11 => self.hub.end_turn(),
            12 => self.pass(SPANS[usize::from(script.byte()) % SPANS.len()]),
            13 => self.play_link(script),
            14 => self.settle(),
            15 if self.has_tokens => {
                self.hub.handle_tokens(tokens(script.byte()));
            }
            _ => self.play_postgres(script),
        }
    }

    fn play_link(&mut self, script: &mut Script<'_>) {
        let role = Role::PAIR[usize::from(script.byte() % 2)];
        let choice = script.byte() % 4;
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        match (&self.links[role.index()], choice) {
            (Link::None, _) => {}
            (Link::Ordered, 0..=2) => {
                backend.handle_connected(role);
                self.links[role.index()] = Link::Connected(Server::default());
            }
            (Link::Ordered | Link::Connected(_), _) => {
                backend.handle_lost(role, "failed", self.now)
            }
        }
    }

    fn play_postgres(&mut self, script: &mut Script<'_>) {
        let role = Role::PAIR[usize::from(script.byte() % 2)];
        match script.byte() % 5 {
            0 => {
                let bytes = usize::from(script.byte()) + 1;
                self.hand_over(role, bytes);
            }
            1 => {
                let answers = script.byte() % 8;
                let chunk = usize::from(script.byte()) + 1;
                let refuse = script.byte().is_multiple_of(4);
                for _ in 0..=answers {
                    self.answer(role, refuse, chunk);
                }
            }
            2 => {
                let name = script.byte();
                let bytes = usize::from(script.byte()) * 8;
                let chunk = usize::from(script.byte()) + 1;
                if let Link::Connected(server) = &mut self.links[0] {
                    server.notify(channel(name).as_str(), &vec![b'x'; bytes]);
                }
                self.feed(Role::Listening, chunk);
            }
            3 => {
                let name = script.byte();
                let bytes = script.byte() % 16;
                let payload: Vec<u8> = script.bytes(bytes).iter().map(|b| *b.max(&1)).collect();
                if let Link::Connected(server) = &mut self.links[0] {
                    server.notify(channel(name).as_str(), &payload);
                }
                self.feed(Role::Listening, usize::MAX);
            }
            _ => {
                let bytes = script.byte() % 16;
                let garbage = script.bytes(bytes);
                if let Link::Connected(server) = &mut self.links[role.index()] {
                    server.say(garbage);
                }
                self.feed(role, usize::MAX);
            }
        }
    }

    fn connect(&mut self) {
        if self.peers.len() < PEERS_MAX {
            let address = [192, 0, 2, u8::from(self.peers.len().is_multiple_of(3))];
            let client = self
                .hub
                .handle_connected(Endpoints::from_peer(address.into()));
            let twin = self.peers.insert(client, Peer::default());
            assert!(twin.is_none(), "no two clients have the same name");
        }
    }

    /// Input of some client, in one piece or two.
    fn input(&mut self, script: &mut Script<'_>, make: impl FnOnce(&mut Script<'_>) -> Vec<u8>) {
        let client = self.choose(script);
        let cut = usize::from(script.byte());
        let mut bytes = make(script);
        let Some(client) = client else { return };
        let cut = if cut % 4 == 0 {
            cut.min(bytes.len())
        } else {
            0
        };
        let (first, second) = bytes.split_at_mut(cut);
        for piece in [first, second] {
            // The reactor does not read a client that the hub does not want to read.
            if !piece.is_empty() && !self.hub.is_paused(client) {
                self.hub.handle_client_input(client, piece);
            }
        }
    }

    fn choose(&self, script: &mut Script<'_>) -> Option<ClientId> {
        let at = usize::from(script.byte()) % self.peers.len().max(1);
        self.peers.keys().nth(at).copied()
    }

    /// Lets time pass, and handles the timeouts that fall due.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.hub.set_time(self.now);
        for _ in 0..8 {
            if self.hub.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            self.hub.handle_timeout();
            self.drain();
        }
        panic!("a due timeout is handled or postponed: time does not stand still");
    }

    /// Writes the hub's next bytes, all of them or fewer.
    fn transmit(&mut self, part: Option<u8>) -> bool {
        let peers = &mut self.peers;
        drive::transmit(&mut self.hub, |client, mut bytes| {
            let peer = peers.get_mut(&client);
            let peer = peer.expect("bytes are written to a connected client");
            assert!(!peer.is_full, "a full socket says when it takes more");
            let written = match part {
                None => Written::All,
                Some(part) => {
                    bytes = &bytes[..usize::from(part) % bytes.len()];
                    peer.is_full = true;
                    Written::Full(bytes.len())
                }
            };
            peer.receive(bytes);
            written
        })
    }

    fn drain(&mut self) {
        self.hub.handle_backend();
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Disconnect(client, Disconnect::Shutdown) => {
                    if let Some(peer) = self.peers.get_mut(&client) {
                        peer.handle_shutdown();
                    }
                }
                Action::Disconnect(client, Disconnect::Drop | Disconnect::Reset) => {
                    self.peers.remove(&client);
                }
                Action::Resume(id) => self.hub.handle_client_input(id, &mut []),
                Action::Backend(Order::Resolve(role)) => {
                    let backend = self.hub.backend().expect("there is a PostgreSQL");
                    let config = backend.config(role).clone();
                    backend.handle_resolved(role, config, self.now);
                }
                Action::Backend(Order::Open(..) | Order::Close(..)) => {
                    unreachable!("no server is looked up")
                }
                Action::Backend(Order::DeriveKey(_)) => {
                    unreachable!("this server asks for no password");
                }
                Action::Backend(Order::Connect(role)) => {
                    let is_free = matches!(self.links[role.index()], Link::None);
                    assert!(is_free, "one socket at a time");
                    self.links[role.index()] = Link::Ordered;
                }
                Action::Backend(Order::Leave(role)) => {
                    self.links[role.index()] = Link::None;
                    let backend = self.hub.backend().expect("there is a PostgreSQL");
                    backend.handle_left(role);
                }
                // What it would cancel ended with its connection.
                Action::Backend(Order::Cancel(_)) | Action::Watch(_) => {}
                Action::Backend(Order::Disconnect(role)) => self.links[role.index()] = Link::None,
                Action::Request(_) | Action::Message(..) => panic!("there is a PostgreSQL"),
                Action::Ask(..) | Action::Tell(_) | Action::Published(..) => {
                    panic!("there is no program")
                }
            }
        }
    }

    /// Hands so many of the hub's bytes to PostgreSQL.
    fn hand_over(&mut self, role: Role, bytes_max: usize) -> bool {
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        let Link::Connected(server) = &mut self.links[role.index()] else {
            return false;
        };
        let Some(bytes) = backend.poll_transmit(role) else {
            return false;
        };
        let bytes = &bytes[..bytes.len().min(bytes_max)];
        server.receive(bytes);
        let bytes = bytes.len();
        backend.handle_transmitted(role, bytes);
        true
    }

    /// PostgreSQL answers its oldest request, if there is one.
    fn answer(&mut self, role: Role, refuse: bool, chunk: usize) -> bool {
        let Link::Connected(server) = &mut self.links[role.index()] else {
            return false;
        };
        let Some(committed) = server.answer(refuse) else {
            return false;
        };
        if let Link::Connected(listening) = &mut self.links[0] {
            for (name, payload) in committed {
                listening.notify(&name, payload.as_bytes());
            }
        }
        self.feed(role, chunk);
        self.feed(Role::Listening, chunk);
        self.drain();
        true
    }

    /// The answers of PostgreSQL arrive, unless the hub does not want to read now.
    fn feed(&mut self, role: Role, chunk: usize) -> bool {
        let Link::Connected(server) = &mut self.links[role.index()] else {
            return false;
        };
        if self.hub.is_backend_paused() {
            return server.has_said();
        }
        let said = server.take_said();
        for piece in said.chunks(chunk) {
            let backend = self.hub.backend().expect("there is a PostgreSQL");
            backend.handle_input(role, piece, self.now);
            self.hub.handle_backend();
        }
        !said.is_empty()
    }

    /// Lets everything succeed: connections are made, PostgreSQL answers, sockets take all.
    fn settle(&mut self) {
        for _ in 0..SETTLING_TURNS_MAX {
            let mut busy = false;
            for role in Role::PAIR {
                if let Link::Ordered = self.links[role.index()] {
                    let backend = self.hub.backend().expect("there is a PostgreSQL");
                    backend.handle_connected(role);
                    self.links[role.index()] = Link::Connected(Server::default());
                    busy = true;
                }
                busy |= self.hand_over(role, usize::MAX);
                busy |= self.feed(role, usize::MAX);
                busy |= self.answer(role, false, usize::MAX);
            }
            for (&client, peer) in &mut self.peers {
                peer.is_full = false;
                self.hub.handle_client_writable(client);
            }
            while self.transmit(None) {
                busy = true;
            }
            self.hub.end_turn();
            self.drain();
            // The end of a turn may have answered a client: the next turn writes that.
            if !busy && !self.hub.has_transmit() {
                return;
            }
        }
        panic!("two cooperating peers come to an end");
    }

    fn finish(mut self) {
        self.settle();
        assert!(self.peers.keys().all(|&client| self.hub.is_current(client)));
        for (client, _) in std::mem::take(&mut self.peers) {
            self.hub.handle_client_closed(client);
            assert!(!self.hub.is_current(client));
        }
        self.hub.end_turn();
        assert_eq!(self.hub.client_count(), 0, "every slot is free");
        assert!(!self.hub.has_transmit());
        self.settle();
        if let Link::Connected(server) = &self.links[Role::Listening.index()] {
            server.check_listens(self.pinned.as_ref());
        }
    }
}

/// Some tokens, named like channels; the permissions of two of them change.
fn tokens(number: u8) -> Tokens {
    let text = ["a\nb", "a\nb subscribe=a,c", "c\nb publish=c", "b\nc"];
    Tokens::parse(text[usize::from(number % 4)]).expect("good tokens")
}

fn channel(number: u8) -> Channel {
    Channel::new(["a", "b", "c", "D e"][usize::from(number % 4)]).expect("a good name")
}

const SPANS: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(26),
    Duration::from_secs(3_600),
];
const OPERATIONS_MAX: usize = 1_000;
const PEERS_MAX: usize = 12;
const SETTLING_TURNS_MAX: usize = 20_000;
