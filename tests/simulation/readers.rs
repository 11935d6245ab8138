//! Readers of events that go from bridge to bridge of a group, in an order that follows from a seed.
//!
//! Two hubs read one order of commits, each at its own pace, and a reader is cut at any moment and comes
//! back at either of them with its last id: mostly ahead of what that bridge has heard so far. Nothing
//! ever fails here, and all is kept; so each reader hears every notification of its channels once, in the
//! order of commits, and is told of no gap.

#[path = "order.rs"]
mod order;

use std::time::{Duration, Instant};

use alle::{
    Channel, Limits,
    internals::{
        backend::{Order, Role},
        delivery::outgoing::Written,
        hub::{
            Action, Endpoints, Hub, Settings, drive,
            group::{GroupKey, GroupSettings},
        },
        id::ClientId,
        pg::config::Config,
    },
};
use serde_json::Value;

use self::order::{Commits, Session};
use crate::random::Random;

/// Two bridges, the commits that they hear, and readers.
pub struct Group {
    random: Random,
    now: Instant,
    commits: Commits,
    bridges: Vec<Bridge>,
    readers: Vec<Reader>,
    notified: u64,
    /// What has happened so far.
    pub happenings: usize,
    /// How often a reader came back.
    pub hops: u64,
}

struct Bridge {
    hub: Hub,
    sessions: [Option<Session>; 2],
    /// What was written to each client that is there.
    written: Vec<(ClientId, Vec<u8>)>,
}

struct Reader {
    channels: Vec<&'static str>,
    at: Option<(usize, ClientId)>,
    last_event_id: String,
    inbox: Vec<u8>,
    has_head: bool,
    /// The number of the last notification that it heard.
    heard: u64,
}

impl Group {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant; nothing depends on which"
    )]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now = Instant::now();
        let key = GroupKey::new(&[7; 32]).expect("long enough");
        let bridges = (0..2).map(|_| Bridge::new(&mut random, key.clone(), now));
        let bridges = bridges.collect();
        let readers = (0..1 + random.below(4)).map(|_| Reader::new(&mut random));
        Self {
            readers: readers.collect(),
            bridges,
            now,
            commits: Commits::default(),
            notified: 0,
            happenings: 0,
            hops: 0,
            random,
        }
    }

    /// Plays this many happenings, then lets all come to its end.
    pub fn play(&mut self, happenings: usize) {
        for _ in 0..60 {
            self.pass(Duration::from_millis(50));
            self.settle();
        }
        // Every channel is known to both from here on, and both have said where they stand.
        for reader in 0..self.readers.len() {
            self.connect(reader, reader % 2);
        }
        let mut everything = Reader::new(&mut self.random);
        everything.channels = CHANNELS.to_vec();
        self.readers.push(everything);
        self.connect(self.readers.len() - 1, 0);
        for _ in 0..20 {
            self.pass(Duration::from_millis(50));
            self.settle();
        }
        // An id that names no notification is a position at its own bridge alone.
        for channel in CHANNELS {
            self.notify(channel);
        }
        self.settle();
        for _ in 0..happenings {
            self.happen();
        }
        for reader in 0..self.readers.len() {
            if self.readers[reader].at.is_none() {
                self.connect(reader, 0);
            }
        }
        for _ in 0..100 {
            self.pass(Duration::from_millis(50));
            self.settle();
        }
        for reader in &self.readers {
            let last = self.commits.last_of(&reader.channels);
            assert_eq!(reader.heard, last, "the end of {:?}", reader.channels);
        }
    }

    fn happen(&mut self) {
        self.happenings += 1;
        let bridge = self.random.below(2);
        let reader = self.random.below(self.readers.len());
        match self.random.below(100) {
            0..20 => {
                let channel = self.random.pick(&CHANNELS);
                self.notify(channel);
            }
            20..45 => {
                let count = self.random.pick(&[0, 1, 1, 2, 5]);
                self.bridges[bridge].hear_some(&self.commits, count, self.now);
            }
            45..65 => {
                self.bridges[bridge].speak(&mut self.commits, self.now);
            }
            65..80 => self.bridges[bridge].write(),
            80..88 => self.read(reader),
            88..92 => self.cut(reader),
            92..97 if self.readers[reader].at.is_none() => self.connect(reader, bridge),
            _ => {
                let span = self.random.pick(&[0, 1, 5, 20]);
                self.pass(Duration::from_millis(span));
            }
        }
        for bridge in &self.bridges {
            bridge.hub.check_invariants();
        }
    }

    fn notify(&mut self, channel: &str) {
        self.notified += 1;
        self.commits.notify(channel, self.notified);
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        for bridge in &mut self.bridges {
            bridge.pass(self.now);
        }
    }

    /// Everything that is on its way arrives.
    fn settle(&mut self) {
        let mut is_busy = true;
        while std::mem::take(&mut is_busy) {
            for bridge in &mut self.bridges {
                is_busy |= bridge.speak(&mut self.commits, self.now);
                is_busy |= bridge.hear_some(&self.commits, usize::MAX, self.now);
                bridge.write();
            }
        }
        for reader in 0..self.readers.len() {
            self.read(reader);
        }
    }

    fn connect(&mut self, reader: usize, bridge: usize) {
        let Reader {
            channels,
            last_event_id,
            ..
        } = &self.readers[reader];
        let query: Vec<_> = channels.iter().map(|it| format!("channel={it}")).collect();
        let id = match last_event_id.as_str() {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        self.hops += u64::from(!id.is_empty());
        let query = query.join("&");
        let head = format!("GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\n{id}\r\n");
        let client = self.bridges[bridge].connect(head.into_bytes());
        let reader = &mut self.readers[reader];
        reader.inbox.clear();
        reader.has_head = false;
        reader.at = Some((bridge, client));
    }

    /// The reader reads what was written to it.
    fn read(&mut self, reader: usize) {
        let reader = &mut self.readers[reader];
        if let Some((bridge, client)) = reader.at {
            let written = &mut self.bridges[bridge].written;
            if let Some((_, bytes)) = written.iter_mut().find(|(id, _)| *id == client) {
                reader.inbox.append(bytes);
            }
            reader.hear(&self.commits);
        }
    }

    /// The connection ends; what was written and not read is lost.
    fn cut(&mut self, reader: usize) {
        if let Some((bridge, client)) = self.readers[reader].at.take() {
            self.bridges[bridge].cut(client);
        }
    }
}

impl Bridge {
    fn new(random: &mut Random, key: GroupKey, now: Instant) -> Self {
        let mut limits = Limits::default();
        limits.history_frames_max = 100_000;
        let settings = Settings {
            limits,
            channels: Vec::<Channel>::new(),
            group: Some(GroupSettings {
                control: GroupSettings::control_channel("g").expect("a short name"),
                key: Some(key),
                seed: random.bits(),
                is_private: false,
                fill_bytes_max: 1 << 20,
            }),
            epoch_seed: random.bits(),
            backend_seed: random.bits(),
            ..Settings::default()
        };
        let config = Config::parse("postgres://ann@localhost/x", &|_| None).expect("a good URL");
        Self {
            hub: Hub::new(settings, config, now),
            sessions: [None, None],
            written: Vec::new(),
        }
    }

    fn pass(&mut self, now: Instant) {
        self.hub.set_time(now);
        for _ in 0..20 {
            if self.hub.poll_timeout().is_none_or(|due| due > now) {
                break;
            }
            self.hub.handle_timeout();
            self.after(now);
        }
    }

    /// The work after each call of the hub.
    fn after(&mut self, now: Instant) {
        self.hub.handle_backend();
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Backend(Order::Resolve(role)) => {
                    let backend = self.hub.backend().expect("there is a PostgreSQL");
                    let config = backend.config(role).clone();
                    backend.handle_resolved(role, config, now);
                }
                Action::Backend(Order::Connect(role)) => {
                    self.sessions[role.index()] = Some(Session::default());
                    let backend = self.hub.backend().expect("there is a PostgreSQL");
                    backend.handle_connected(role);
                }
                Action::Disconnect(client, _) => {
                    panic!("nobody is disconnected here: {client:?}")
                }
                Action::Resume(client) => self.hub.handle_client_input(client, &mut []),
                Action::Watch(_) => {}
                Action::Backend(_)
                | Action::Request(_)
                | Action::Message(..)
                | Action::Ask(..)
                | Action::Tell(_)
                | Action::Published(..) => panic!("nothing fails here"),
            }
            self.hub.handle_backend();
        }
        self.hub.end_turn();
    }

    /// What the hub says arrives at PostgreSQL, and is done there at once.
    fn speak(&mut self, commits: &mut Commits, now: Instant) -> bool {
        let mut has_spoken = false;
        for role in Role::PAIR {
            let backend = self.hub.backend().expect("there is a PostgreSQL");
            let Some(bytes) = backend.poll_transmit(role).map(<[u8]>::to_vec) else {
                continue;
            };
            backend.handle_transmitted(role, bytes.len());
            if let Some(session) = &mut self.sessions[role.index()] {
                session.receive(&bytes, commits);
            }
            has_spoken = true;
            self.after(now);
        }
        has_spoken
    }

    /// What PostgreSQL has to say arrives, up to so many notifications.
    fn hear_some(&mut self, commits: &Commits, count: usize, now: Instant) -> bool {
        let mut has_heard = false;
        for role in Role::PAIR {
            if let Some(session) = &mut self.sessions[role.index()] {
                let bytes = session.say(commits, count);
                if !bytes.is_empty() {
                    let backend = self.hub.backend().expect("there is a PostgreSQL");
                    backend.handle_input(role, &bytes, now);
                    has_heard = true;
                    self.after(now);
                }
            }
        }
        has_heard
    }

    fn write(&mut self) {
        let written = &mut self.written;
        while drive::transmit(&mut self.hub, |client, bytes| {
            let known = written.iter_mut().find(|(id, _)| *id == client);
            let (_, sent) = known.expect("a client that is there");
            sent.extend_from_slice(bytes);
            Written::All
        }) {}
        self.hub.end_turn();
    }

    fn connect(&mut self, mut head: Vec<u8>) -> ClientId {
        let client = self.hub.handle_connected(Endpoints::default());
        self.written.push((client, Vec::new()));
        self.hub.handle_client_input(client, &mut head);
        client
    }

    fn cut(&mut self, client: ClientId) {
        self.hub.handle_client_closed(client);
        self.hub.end_turn();
        self.written.retain(|(id, _)| *id != client);
    }
}

impl Reader {
    fn new(random: &mut Random) -> Self {
        let mut channels: Vec<_> = CHANNELS.to_vec();
        channels.retain(|_| random.percent(60));
        if channels.is_empty() {
            channels.push(random.pick(&CHANNELS));
        }
        Self {
            channels,
            at: None,
            last_event_id: String::new(),
            inbox: Vec::new(),
            has_head: false,
            heard: 0,
        }
    }

    /// Every event that has arrived whole.
    fn hear(&mut self, commits: &Commits) {
        while let Some(end) = self.inbox.windows(2).position(|it| it == b"\n\n") {
            let block: Vec<u8> = self.inbox.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("events are UTF-8");
            self.hear_block(&block, commits);
        }
        if !self.has_head {
            let end = self.inbox.windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.inbox.drain(..end + 4).collect();
                assert!(
                    head.starts_with(b"HTTP/1.1 200 "),
                    "{}",
                    head.escape_ascii()
                );
                self.has_head = true;
                self.hear(commits);
            }
        }
    }

    fn hear_block(&mut self, block: &str, commits: &Commits) {
        // Where the head was not taken off it stands before the first event.
        let block = match block.split_once("\r\n\r\n") {
            Some((head, block)) if !self.has_head => {
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                self.has_head = true;
                block
            }
            Some(_) | None => block,
        };
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        if let Some(data) = field("data: ") {
            let message: Value = serde_json::from_str(data).expect("an event is a message");
            match message["type"].as_str() {
                Some("notification") => {
                    let number = message["payload"].as_str().and_then(|it| it.parse().ok());
                    let expected = commits.next_of(&self.channels, self.heard);
                    assert_eq!(number, expected, "behind {}", self.heard);
                    self.heard = number.expect("a number");
                }
                Some("subscribed") => {
                    assert_ne!(
                        message["recovered"], false,
                        "{message} {:?} {:?}",
                        self.channels, self.last_event_id
                    );
                }
                _ => panic!("nobody is told that: {message}"),
            }
        }
        if let Some(id) = field("id: ") {
            id.clone_into(&mut self.last_event_id);
        }
    }
}

const CHANNELS: [&str; 3] = ["a", "b", "c"];
