//! A hub, a PostgreSQL that answers when it is told to, and sockets that are byte buffers.

mod shell;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::shell::Program;
use super::{
    frames::masked,
    server::{Refusal, Server, error, message},
};
use crate::{
    backend::{Configs, Role},
    config::Limits,
    hub::{Endpoints, Hub, Settings},
    id::ClientId,
    pg::config::Config,
    ws::encoder::frame_bytes,
};

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) now: Instant,
    /// The time of the world at the start.
    began: Instant,
    sockets: BTreeMap<ClientId, Socket>,
    backends: [Server; 2],
    /// Clients' sockets are not written to.
    pub(super) hold_writes: bool,
    /// Nothing goes to PostgreSQL.
    pub(super) hold_backend: bool,
    pub(super) resumed: Vec<ClientId>,
    pub(super) program: Program,
    /// Whether invariants are checked after each step: with many clients that takes long.
    pub(super) is_checked: bool,
    /// The most units of work that a turn had.
    pub(super) units_max: usize,
    pub(super) refuse_connections: bool,
    /// By role, whether connections neither come about nor fail.
    pub(super) hold_connections: [bool; 2],
    /// By role, whether one is held.
    is_connecting: [bool; 2],
    /// The answer to each NOTIFY.
    pub(super) refuses_to_notify: Option<Refusal>,
    /// Another session holds the lock for NOTIFY.
    pub(super) is_locked: bool,
    /// Sessions that were given up do not end.
    pub(super) hold_leaving: bool,
    /// By role, how often a session was given up while its connection stood.
    pub(super) given_up: [usize; 2],
    /// By role, how often one was to be cancelled.
    pub(super) cancelled: [usize; 2],
    /// What the publishing session says does not reach the listening one.
    pub(super) is_deaf: bool,
}

#[derive(Default)]
struct Socket {
    received: Vec<u8>,
    /// Takes so many bytes more; `None`: any number.
    room: Option<usize>,
}

impl World {
    pub(super) fn connected() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        Self::with_settings(Settings {
            limits,
            ..Settings::default()
        })
    }

    pub(super) fn with_unlisten_delay(unlisten_delay: Duration) -> Self {
        Self::with_settings(Settings {
            unlisten_delay: Some(unlisten_delay),
            ..Settings::default()
        })
    }

    /// Connected, and yet nothing is heard.
    pub(super) fn deaf() -> Self {
        Self::start(Settings::default(), true)
    }

    /// Nothing is known of PostgreSQL yet: the first connections are under way.
    pub(super) fn begun() -> Self {
        let config = Config::parse("postgres://ann@db/x", &|_| None).unwrap();
        let mut world = Self::new(Settings::default(), config.into(), false);
        world.hold_connections = [true; 2];
        world.pass(Duration::ZERO);
        world
    }

    pub(super) fn with_settings(settings: Settings) -> Self {
        Self::start(settings, false)
    }

    fn start(settings: Settings, is_deaf: bool) -> Self {
        let config = Config::parse("postgres://ann@db/x", &|_| None).unwrap();
        Self::start_with(settings, config.into(), is_deaf)
    }

    /// The publishing session goes another way than the listening one.
    pub(super) fn with_another_way() -> Self {
        let config = |url| Config::parse(url, &|_| None).unwrap();
        let configs = Configs {
            listening: config("postgres://ann@db/x"),
            publishing: config("postgres://ann@pooler/x"),
        };
        Self::start_with(Settings::default(), configs, false)
    }

    fn start_with(settings: Settings, configs: Configs, is_deaf: bool) -> Self {
        let mut world = Self::new(settings, configs, is_deaf);
        world.pass(Duration::ZERO);
        world
    }

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn new(settings: Settings, configs: Configs, is_deaf: bool) -> Self {
        let now = Instant::now();
        let settings = Settings {
            epoch_seed: 0x5eed_5eed_5eed_5eed,
            backend_seed: 0xbac_bac_bac_bac,
            ..settings
        };
        Self {
            hub: Hub::new(settings, configs, now),
            now,
            began: now,
            sockets: BTreeMap::new(),
            backends: Default::default(),
            hold_writes: false,
            hold_backend: false,
            resumed: Vec::new(),
            program: Program::default(),
            is_checked: true,
            units_max: 0,
            refuse_connections: false,
            hold_connections: [false; 2],
            is_connecting: [false; 2],
            refuses_to_notify: None,
            is_locked: false,
            hold_leaving: false,
            given_up: [0; 2],
            cancelled: [0; 2],
            is_deaf,
        }
    }

    // ---- clients

    pub(super) fn connect(&mut self) -> ClientId {
        self.connect_from(Endpoints::default())
    }

    pub(super) fn connect_from(&mut self, endpoints: Endpoints) -> ClientId {
        let client = self.hub.handle_connected(endpoints);
        self.sockets.insert(client, Socket::default());
        client
    }

    pub(super) fn connect_admin(&mut self) -> ClientId {
        let client = self.hub.handle_admin_connected(Endpoints {
            peer: None,
            local: Some(Ipv4Addr::LOCALHOST.into()),
        });
        self.sockets.insert(client, Socket::default());
        self.settle();
        client
    }

    pub(super) fn connect_excess(&mut self) -> ClientId {
        let client = self.hub.handle_excess(Endpoints::default());
        self.sockets.insert(client, Socket::default());
        client
    }

    pub(super) fn client(&mut self) -> ClientId {
        let (client, status) = self.upgrade(None, "");
        assert_eq!(status, "101");
        client
    }

    /// Asks for an upgrade with more header lines; the status of the answer.
    pub(super) fn upgrade(&mut self, address: Option<&str>, fields: &str) -> (ClientId, String) {
        let client = self.connect_from(Endpoints {
            peer: address.map(|it| it.parse().unwrap()),
            local: None,
        });
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        );
        self.input(client, head.as_bytes());
        let received = &mut self.sockets.get_mut(&client).unwrap().received;
        let head_bytes = received.windows(4).position(|it| it == b"\r\n\r\n");
        let head: Vec<u8> = received.drain(..head_bytes.unwrap() + 4).collect();
        (client, String::from_utf8_lossy(&head[9..12]).into_owned())
    }

    pub(super) fn subscriber(&mut self, channel: &str) -> ClientId {
        let client = self.client();
        self.send(
            client,
            &format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
        );
        self.postgres_answers_all();
        assert_eq!(self.types(client), ["subscribed"]);
        client
    }

    pub(super) fn send(&mut self, client: ClientId, text: &str) {
        self.input(client, &masked(0x81, text.as_bytes()));
    }

    pub(super) fn received(&self, client: ClientId) -> String {
        String::from_utf8_lossy(&self.sockets[&client].received).into_owned()
    }

    pub(super) fn send_pong(&mut self, client: ClientId) {
        self.input(client, &masked(0x8A, b""));
    }

    pub(super) fn input(&mut self, client: ClientId, bytes: &[u8]) {
        self.input_unsettled(client, bytes);
        self.settle();
    }

    /// The same in the middle of a turn.
    pub(super) fn input_unsettled(&mut self, client: ClientId, bytes: &[u8]) {
        self.hub.handle_client_input(client, &mut bytes.to_vec());
    }

    pub(super) fn disconnect(&mut self, client: ClientId) {
        self.sockets.remove(&client);
        self.hub.handle_client_closed(client);
        self.settle();
    }

    pub(super) fn is_connected(&self, client: ClientId) -> bool {
        self.sockets.contains_key(&client)
    }

    /// The texts that arrived since the last look.
    pub(super) fn texts(&mut self, client: ClientId) -> Vec<String> {
        self.frames_and_close(client).0
    }

    pub(super) fn messages(&mut self, client: ClientId) -> Vec<Value> {
        self.texts(client)
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    pub(super) fn types(&mut self, client: ClientId) -> Vec<String> {
        let messages = self.messages(client);
        messages
            .iter()
            .map(|it| it["type"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(super) fn frames_and_close(&mut self, client: ClientId) -> (Vec<String>, Option<u16>) {
        let mut texts = Vec::new();
        let mut close = None;
        for frame in self.take_frames(client) {
            let header = if frame[1] < 126 { 2 } else { 4 };
            let payload = &frame[header..];
            match frame[0] {
                0x81 => texts.push(String::from_utf8(payload.to_vec()).unwrap()),
                0x88 => close = Some(u16::from_be_bytes([payload[0], payload[1]])),
                _ => {}
            }
        }
        (texts, close)
    }

    fn take_frames(&mut self, client: ClientId) -> Vec<Vec<u8>> {
        self.settle();
        let received = &mut self.sockets.get_mut(&client).unwrap().received;
        let bytes = std::mem::take(received);
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (frame, behind) = rest.split_at(frame_bytes(rest));
            frames.push(frame.to_vec());
            rest = behind;
        }
        frames
    }

    // ---- time

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.hub.handle_timeout();
        self.settle();
        while let Some(at) = self.hub.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.tell_time();
            self.hub.handle_timeout();
            self.settle();
            self.answer_heartbeats();
            if self.is_stopped() {
                break;
            }
        }
        self.now = until;
        self.tell_time();
    }

    pub(super) fn stop(&mut self) {
        self.hub.stop();
        self.settle();
    }

    pub(super) fn drain(&mut self, span: Duration) {
        self.hub.drain(span);
        self.settle();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.hub.is_stopped()
    }

    pub(super) fn channels(&self) -> usize {
        self.hub.channel_count()
    }

    // ---- PostgreSQL

    /// What the listening session was asked since the last look.
    pub(super) fn postgres_asked(&mut self) -> Vec<String> {
        self.settle();
        std::mem::take(&mut self.backends[0].asked)
    }

    /// What the publishing session was asked in plain SQL since the last look.
    pub(super) fn publisher_asked(&mut self) -> Vec<String> {
        self.settle();
        std::mem::take(&mut self.backends[1].asked)
    }

    /// How often the session measured the queue.
    pub(super) fn postgres_measured(&self, role: Role) -> usize {
        self.backends[role.index()].measured
    }

    /// CommandComplete for the oldest LISTEN.
    pub(super) fn postgres_completes(&mut self) {
        assert!(!self.backends[0].unanswered.is_empty());
        self.backends[0].completed = true;
        self.backend_says(Role::Listening, &message(b'C', b"LISTEN\0"));
    }

    /// ReadyForQuery for it.
    pub(super) fn postgres_is_ready(&mut self) {
        assert!(self.backends[0].completed);
        self.backends[0].completed = false;
        self.backends[0].unanswered.pop_front();
        self.backend_says(Role::Listening, &message(b'Z', b"I"));
    }

    pub(super) fn postgres_answers_one(&mut self) {
        self.postgres_completes();
        self.postgres_is_ready();
    }

    /// Everything asked of both sessions succeeds, what follows from the answers too.
    pub(super) fn postgres_answers_all(&mut self) {
        self.settle();
        for role in Role::PAIR {
            while self.backends[role.index()].unanswered.pop_front().is_some() {
                let mut answer = message(b'C', b"OK\0");
                answer.extend(message(b'Z', b"I"));
                self.backend_says(role, &answer);
            }
        }
    }

    pub(super) fn postgres_refuses(&mut self, sqlstate: &str, text: &str) {
        self.session_refuses(Role::Listening, sqlstate, text);
    }

    /// The same for a publish.
    pub(super) fn publish_is_refused(&mut self, sqlstate: &str, text: &str) {
        self.session_refuses(Role::Publishing, sqlstate, text);
    }

    fn session_refuses(&mut self, role: Role, sqlstate: &str, text: &str) {
        self.settle();
        self.backends[role.index()]
            .unanswered
            .pop_front()
            .expect("something is asked");
        let mut answer = error(sqlstate, text);
        answer.extend(message(b'Z', b"I"));
        self.backend_says(role, &answer);
    }

    pub(super) fn notify(&mut self, channel: &str, payload: &str) {
        let body = [
            &[0, 0, 0, 1],
            channel.as_bytes(),
            b"\0",
            payload.as_bytes(),
            b"\0",
        ]
        .concat();
        self.backend_says(Role::Listening, &message(b'A', &body));
    }

    /// Both connections end, and nobody listens on the port any more.
    pub(super) fn postgres_dies(&mut self) {
        self.refuse_connections = true;
        self.sessions_end();
    }

    /// Both connections end.
    pub(super) fn sessions_end(&mut self) {
        for role in Role::PAIR {
            self.backends[role.index()] = Server::default();
            if let Some(backend) = self.hub.backend() {
                backend.handle_lost(role, "was closed by the server", self.now);
            }
        }
        self.hub.handle_backend();
        self.settle();
    }

    /// PostgreSQL is back, and the bridge finds out.
    pub(super) fn reconnect(&mut self) {
        self.reconnect_within(Duration::from_secs(3));
    }

    /// The same, and it has so long to find out.
    pub(super) fn reconnect_within(&mut self, time: Duration) {
        self.refuse_connections = false;
        self.pass(time);
    }

    /// Connections come about or fail again.
    pub(super) fn let_connect(&mut self, role: Role) {
        self.hold_connections[role.index()] = false;
        if std::mem::take(&mut self.is_connecting[role.index()]) {
            self.connect_session(role);
        }
        self.settle();
    }

    /// The session that was given up ends.
    pub(super) fn given_up_ends(&mut self, role: Role) {
        self.hub.backend().unwrap().handle_left(role);
        self.hub.handle_backend();
        self.settle();
    }

    /// The lock for NOTIFY is free again.
    pub(super) fn unlock(&mut self) {
        self.is_locked = false;
        self.postgres_answers_all();
    }

    pub(super) fn backend_says(&mut self, role: Role, bytes: &[u8]) {
        if let Some(backend) = self.hub.backend() {
            backend.handle_input(role, bytes, self.now);
        }
        self.hub.handle_backend();
        self.settle();
    }

    fn answer_heartbeats(&mut self) {
        for role in Role::PAIR {
            let server = &mut self.backends[role.index()];
            if server.unanswered.front().is_some_and(|it| it.is_empty()) {
                server.unanswered.pop_front();
                let mut answer = message(b'I', b"");
                answer.extend(message(b'Z', b"I"));
                self.backend_says(role, &answer);
            }
        }
    }
}
