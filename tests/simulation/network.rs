//! One run: all events between the hub, its clients and PostgreSQL, in an order and with weights
//! that follow from the seed.

#[path = "sessions.rs"]
mod sessions;
#[path = "sockets.rs"]
mod sockets;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use alle::{
    Channel, Limits,
    internals::{
        backend::{Order, Role},
        hub::{Action, Disconnect, Hub, Settings},
        id::ClientId,
        pg::config::Config,
    },
};

use crate::{
    backend::{Database, Mood, Process},
    client::{Client, Stage},
    lifecycle::Told,
    oracle::{Places, Since, StreamId, Tap, Truth},
    random::Random,
};

#[derive(Default)]
enum Link {
    #[default]
    None,
    /// Ordered, and not yet carried out.
    Ordered,
    Connected {
        process: Box<Process>,
        /// Nothing is forwarded any more, and neither end is told.
        is_black_hole: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    Connect,
    Ask,
    ToHub,
    Read,
    Stall,
    Reset,
    Close,
    Transmit,
    TransmitMany,
    EndTurn,
    OtherCommit,
    HandOver,
    Work,
    Feed,
    /// PostgreSQL is far quicker than the clients.
    FlowBackends,
    LinkOrdered,
    LinkDies,
    LinkFlaps,
    Tick,
    Jump,
    Ghost,
    Writable,
    Flow,
    Storm,
}

pub struct World {
    random: Random,
    hub: Hub,
    /// What the hub has told of clients.
    told: Told,
    /// The instant of the start, and the time since.
    start: Instant,
    now: Duration,
    limits: Limits,
    is_small: bool,
    clients: BTreeMap<ClientId, Client>,
    /// Ids of clients that are gone; events for them may still arrive.
    ghosts: Vec<ClientId>,
    /// The positions of clients that disconnected; a new one may resume from there.
    positions: VecDeque<Vec<Since>>,
    /// The ids at which readers of events were cut, with the channels that they asked for.
    stream_ids: VecDeque<(StreamId, Vec<String>)>,
    /// How many of the clients read events, in percent.
    readers: usize,
    client_count: u32,
    clients_max: usize,
    capacity_max: usize,
    publishing: usize,
    /// How often the publishing session's socket is not even asked to take bytes, in percent.
    reluctance: usize,
    links: [Link; 2],
    taps: [Tap; 2],
    /// Bytes that the hub offers for each session and that are not handed over.
    offered: [usize; 2],
    database: Database,
    seen_commits: usize,
    other_payloads: u32,
    mood: Mood,
    refuses: bool,
    /// Channels are kept for clients that said that they are done, too.
    is_done_kept: bool,
    pub truth: Truth,
    channels: Vec<&'static str>,
    pinned: Option<&'static str>,
    weights: Vec<(Happening, usize)>,
    pub trace: Vec<String>,
    keep: bool,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant; nothing depends on which"
    )]
    pub fn new(seed: u64, keep: bool) -> Self {
        let mut random = Random::new(seed);
        let (limits, is_small, is_limited) = limits(&mut random);
        let channels = NAMES[..2 + random.below(NAMES.len() - 1)].to_vec();
        let pinned = random.percent(30).then(|| channels[0]);
        let usual = Limits::default();
        // A recovery larger than a client's limit is not sent.
        let is_history_tight = limits.history_bytes_max < usual.history_bytes_max
            || limits.client_queue_bytes_max < usual.client_queue_bytes_max;
        let three = Duration::from_secs(3);
        let unlisten_delay = random.pick(&[None, None, Some(Duration::ZERO), Some(three)]);
        let lost_delay = unlisten_delay.unwrap_or(UNLISTEN_DELAY_MAX);
        let mut places = Places::new(&limits, is_limited, lost_delay);
        pinned.into_iter().for_each(|channel| places.pin(channel));
        let truth = Truth::new(places, limits.history_frames_max, is_history_tight);
        let settings = Settings {
            limits: limits.clone(),
            unlisten_delay,
            channels: pinned.iter().map(|name| channel(name)).collect(),
            epoch_seed: random.bits(),
            backend_seed: random.bits(),
            tells_lifecycle: true,
            ..Settings::default()
        };
        let config = Config::parse("postgres://ann@localhost/x", &|_| None).expect("a good URL");
        let start = Instant::now();
        let trouble = |random: &mut Random, percent| {
            if random.percent(40) {
                random.below(percent)
            } else {
                0
            }
        };
        Self {
            hub: Hub::new(settings, config, start),
            told: Told::default(),
            start,
            now: Duration::ZERO,
            limits,
            is_small,
            clients: BTreeMap::new(),
            ghosts: Vec::new(),
            positions: VecDeque::new(),
            stream_ids: VecDeque::new(),
            readers: if seed % 3 == 2 { 50 } else { 0 },
            client_count: 0,
            clients_max: random.pick(&[1, 2, 3, 5, 8, 24]),
            capacity_max: random.pick(&[40, 300, 3_000, 100_000]),
            publishing: random.pick(&[0, 20, 50, 80]),
            reluctance: random.pick(&[0, 50, 90]),
            links: Default::default(),
            taps: Default::default(),
            offered: [0; 2],
            database: Database::default(),
            seen_commits: 0,
            other_payloads: 0,
            mood: Mood {
                refuse_listen: trouble(&mut random, 40),
                refuse_notify: trouble(&mut random, 40),
                refuse_start: trouble(&mut random, 60),
                chatter: trouble(&mut random, 10),
            },
            refuses: false,
            is_done_kept: unlisten_delay.is_some_and(|delay| !delay.is_zero()),
            truth,
            channels,
            pinned,
            weights: weights(&mut random, seed % 3 == 2),
            trace: Vec::new(),
            keep,
            random,
        }
    }

    /// Plays this many happenings, then brings all to a good end.
    pub fn play(&mut self, steps: usize) {
        if self.random.percent(10) {
            // Ticks wrap after 49.7 days.
            self.pass(Duration::from_millis((1 << 32) - 20_000));
        }
        self.pass(Duration::ZERO);
        if self.random.percent(60) {
            self.flow(Mood::GOOD);
        }
        let total: usize = self.weights.iter().map(|&(_, weight)| weight).sum();
        for _ in 0..steps {
            let mut at = self.random.below(total);
            let mut chosen = Happening::EndTurn;
            for &(happening, weight) in &self.weights {
                if at < weight {
                    chosen = happening;
                    break;
                }
                at -= weight;
            }
            self.happen(chosen);
        }
        self.finish();
    }

    #[expect(clippy::too_many_lines, reason = "a table of what may happen")]
    fn happen(&mut self, happening: Happening) {
        let role = self.random.pick(&Role::PAIR);
        match happening {
            Happening::Connect => self.connect(),
            Happening::Ask => {
                if let Some(id) = self.choose() {
                    self.ask(id);
                }
            }
            Happening::ToHub => {
                if let Some(id) = self.choose() {
                    let bytes = self.clients[&id].waiting_bytes();
                    let part = self.random.part(bytes);
                    self.send(id, part);
                }
            }
            Happening::Read => {
                if let Some(id) = self.choose().filter(|id| !self.clients[id].is_stalled) {
                    let part = self.random.part(self.clients[&id].socket.len());
                    self.read(id, part);
                }
            }
            Happening::Stall => {
                if let Some(id) = self.choose() {
                    let client = self.clients.get_mut(&id).expect("chosen");
                    client.is_stalled = !client.is_stalled;
                }
            }
            Happening::Reset => {
                if let Some(id) = self.choose() {
                    let is_reader = self.clients[&id].stream.is_some();
                    self.reset(id);
                    // A browser is back before anything else happens, or later.
                    if is_reader && self.random.percent(80) {
                        self.end_turn();
                        self.connect();
                    }
                }
            }
            Happening::Close => {
                let properly = self.random.percent(70);
                if let Some(id) = self.choose() {
                    let client = self.clients.get_mut(&id).expect("chosen");
                    if client.stream.is_none() {
                        client.close(properly);
                    }
                }
            }
            Happening::Transmit => drop(self.transmit()),
            Happening::TransmitMany => {
                for _ in 0..self.random.below(80) {
                    if !self.transmit() {
                        break;
                    }
                }
            }
            Happening::EndTurn => self.end_turn(),
            Happening::OtherCommit => self.other_commit(),
            Happening::HandOver => {
                let part = self.random.part(self.offered[role.index()]);
                self.hand_over(role, part);
            }
            Happening::Work => {
                for _ in 0..self.random.pick(&[1, 1, 2, 5, 30]) {
                    self.work(role, self.mood);
                }
            }
            Happening::Feed => drop(self.feed(role, false)),
            Happening::FlowBackends => drop(self.flow_backends(self.mood)),
            Happening::LinkOrdered => self.carry_out_order(role),
            Happening::LinkDies => self.link_dies(role),
            Happening::LinkFlaps => {
                self.refuses = !self.refuses;
                self.note(|world| format!("PostgreSQL refuses connections: {}", world.refuses));
                if self.refuses {
                    Role::PAIR.into_iter().for_each(|role| self.link_dies(role));
                }
            }
            Happening::Tick => {
                let span = self.random.pick(&[1, 20, 100, 251, 600, 2_100]);
                self.pass(Duration::from_millis(span));
            }
            Happening::Jump => {
                let span = self
                    .random
                    .pick(&[5_100, 10_100, 26_000, 61_000, 3_600_000]);
                self.pass(Duration::from_millis(span));
            }
            Happening::Ghost => self.ghost(),
            Happening::Writable => {
                if let Some(id) = self.choose() {
                    self.tell_writable(id);
                }
            }
            Happening::Flow => self.flow(self.mood),
            Happening::Storm => {
                while let Some(id) = self.choose() {
                    self.reset(id);
                }
                self.end_turn();
                for _ in 0..self.clients_max {
                    self.connect();
                }
            }
        }
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.truth.places.now = self.now;
        self.hub.set_time(self.at());
        self.note(|world| format!("it is {:?}", world.now));
        for _ in 0..8 {
            if self.hub.poll_timeout().is_none_or(|due| due > self.at()) {
                return;
            }
            self.truth.step += 1;
            self.hub.handle_timeout();
            self.after();
        }
        panic!("a due timeout is handled or postponed: time does not stand still");
    }

    /// The work after each call of the hub.
    fn after(&mut self) {
        self.hub.handle_backend();
        self.look_at_writes();
        let mut resumed = VecDeque::new();
        loop {
            // The hub's reports about PostgreSQL are of earlier events.
            let Some(action) = self.hub.poll_action() else {
                // What the hub asked PostgreSQL by now was asked before the next message is read.
                self.look_at_writes();
                let Some(id) = resumed.pop_front() else {
                    break;
                };
                self.resume(id);
                continue;
            };
            match action {
                Action::Disconnect(id, how) => self.handle_disconnect(id, how),
                Action::Resume(id) => resumed.push_back(id),
                Action::Backend(order) => {
                    self.handle_order(order);
                    self.hub.handle_backend();
                    self.look_at_writes();
                }
                Action::Watch(_) => {}
                Action::Request(_) | Action::Message(..) => panic!("there is a PostgreSQL"),
                Action::Tell(event) => self.told.handle(event),
                Action::Ask(..) | Action::Published(..) => panic!("there is no program"),
            }
        }
        for &id in self.clients.keys() {
            assert!(self.hub.is_current(id), "a client is forgotten");
        }
        assert_eq!(self.told.client_count(), self.hub.load().clients);
        self.hub.check_invariants();
    }

    fn handle_order(&mut self, order: Order) {
        self.note(|_| format!("{order:?}"));
        match order {
            Order::Resolve(role) => {
                let now = self.at();
                let backend = self.hub.backend().expect("there is a PostgreSQL");
                let config = backend.config(role).clone();
                backend.handle_resolved(role, config, now);
            }
            Order::Connect(role) => {
                let is_free = matches!(self.links[role.index()], Link::None);
                assert!(is_free, "one socket at a time");
                self.links[role.index()] = Link::Ordered;
            }
            Order::Leave(role) => {
                self.handle_order(Order::Disconnect(role));
                let backend = self.hub.backend().expect("there is a PostgreSQL");
                backend.handle_left(role);
            }
            // What it would cancel ended with its connection.
            Order::Cancel(_) => {}
            Order::Disconnect(role) => {
                self.end_link(role);
                self.offered[role.index()] = 0;
                self.taps[role.index()].lose(role == Role::Listening, &mut self.truth);
            }
            Order::Open(..) | Order::Close(..) => unreachable!("no server is looked up"),
            Order::DeriveKey(_) => unreachable!("this server asks for no password"),
        }
    }

    fn handle_disconnect(&mut self, id: ClientId, how: Disconnect) {
        self.note(|_| format!("{how:?} {}.{}", id.slot, id.generation));
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        match how {
            Disconnect::Shutdown => client.is_shut_down = true,
            Disconnect::Drop | Disconnect::Reset => {
                self.check_close(id, None);
                self.forget(id);
            }
        }
    }

    fn look_at_writes(&mut self) {
        for role in Role::PAIR {
            // A socket that takes nothing for a while: publishes gather.
            if role == Role::Listening || !self.random.percent(self.reluctance) {
                self.look_at_write(role);
            }
        }
    }

    fn look_at_write(&mut self, role: Role) {
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        let offered = backend.poll_transmit(role).unwrap_or_default();
        let before = self.offered[role.index()];
        if offered.len() > before {
            let written = &offered[before..];
            if self.keep {
                let text = written.escape_ascii().to_string();
                let text: String = text.chars().take(200).collect();
                let step = self.truth.step;
                self.trace
                    .push(format!("step {step}: for the {role} session: {text}"));
            }
            self.taps[role.index()].write(written, &mut self.truth);
            self.offered[role.index()] = offered.len();
        }
    }

    /// All bytes on their way between the hub and PostgreSQL arrive.
    fn flow_backends(&mut self, mood: Mood) -> bool {
        let mut was_busy = false;
        for _ in 0..FLOW_TURNS_MAX {
            let mut busy = false;
            for role in Role::PAIR {
                self.carry_out_order(role);
                busy |= self.hand_over(role, usize::MAX);
                while self.work(role, mood) {
                    busy = true;
                }
                busy |= self.feed(role, true);
            }
            if self.hub.poll_timeout().is_some_and(|due| due <= self.at()) {
                self.pass(Duration::ZERO);
                busy = true;
            }
            if !busy {
                return was_busy;
            }
            was_busy = true;
        }
        panic!("a cooperating PostgreSQL comes to an end");
    }

    /// All bytes on their way arrive.
    fn flow(&mut self, mood: Mood) {
        for turn in 0..FLOW_TURNS_MAX {
            let mut busy = false;
            if turn > 20 {
                // A socket of a few bytes would take for ever.
                for client in self.clients.values_mut() {
                    client.capacity = client.capacity.saturating_mul(2);
                }
            }
            busy |= self.flow_backends(mood);
            let ids: Vec<_> = self.clients.keys().copied().collect();
            for id in ids {
                let Some(client) = self.clients.get(&id) else {
                    continue;
                };
                let (waiting, is_stalled) = (client.waiting_bytes(), client.is_stalled);
                if waiting > 0 && !self.hub.is_paused(id) {
                    self.send(id, waiting);
                    busy = true;
                }
                if !is_stalled && self.clients.contains_key(&id) {
                    busy |= !self.clients[&id].socket.is_empty();
                    self.read(id, usize::MAX);
                    if self.clients.get(&id).is_some_and(|it| it.is_full) {
                        self.tell_writable(id);
                    }
                }
            }
            while self.transmit() {
                busy = true;
            }
            self.end_turn();
            if !busy {
                return;
            }
        }
        panic!("two cooperating peers come to an end");
    }

    fn finish(&mut self) {
        self.note(|_| "---- from here on all goes well".to_owned());
        self.refuses = false;
        for client in self.clients.values_mut() {
            client.is_stalled = false;
            client.is_mute = false;
            client.capacity = client.capacity.max(1_000);
        }
        self.mood = Mood::GOOD;
        self.flow(Mood::GOOD);
        let deadline = self.now + SETTLING_TIME_MAX;
        loop {
            let is_up = matches!(
                self.links,
                [
                    Link::Connected {
                        is_black_hole: false,
                        ..
                    },
                    Link::Connected {
                        is_black_hole: false,
                        ..
                    }
                ]
            );
            let fault = self.clients.values().find_map(|client| {
                let is_bound = client.stage == Stage::Frames && !client.is_closing;
                let fault = is_bound.then(|| client.fault(&self.truth)).flatten();
                fault.map(|fault| format!("c{}: {fault}", client.number))
            });
            let is_pinned = self
                .pinned
                .is_none_or(|pinned| self.taps[0].listened().any(|it| it == pinned));
            if is_up && is_pinned && fault.is_none() {
                break;
            }
            assert!(self.now < deadline, "after all is quiet: {fault:?}");
            self.pass(Duration::from_secs(1));
            self.flow(Mood::GOOD);
        }
        self.truth.check_publishes();
        if self.random.percent(50) {
            self.leave_properly();
        }
        while let Some(id) = self.choose() {
            self.reset(id);
        }
        self.end_turn();
        // The UNLISTENs of their channels are delayed.
        self.pass(UNLISTEN_DELAY_MAX);
        assert_eq!(self.hub.client_count(), 0, "every slot is free");
        assert!(
            !self.hub.has_transmit(),
            "no write is left without a client"
        );
        self.flow(Mood::GOOD);
        self.hub.check_invariants();
        let listened: Vec<_> = self.taps[0].listened().collect();
        assert_eq!(
            listened,
            Vec::from_iter(self.pinned),
            "listened to without a subscriber"
        );
        let is_bound = self.hub.history_bytes() <= self.limits.history_bytes_max;
        assert!(is_bound, "the history keeps to its bytes");
        if self.pinned.is_none() {
            assert_eq!(self.hub.history_bytes(), 0, "history of nothing");
        }
    }

    /// Everybody says that it is done, and nothing is kept for any of them.
    fn leave_properly(&mut self) {
        let readers = self.clients.iter().filter(|(_, it)| it.stream.is_some());
        let readers: Vec<_> = readers.map(|(&id, _)| id).collect();
        readers.into_iter().for_each(|id| self.reset(id));
        for (&id, client) in &mut self.clients {
            client.is_done = self.hub.is_open(id) && !client.is_closing;
            client.close(true);
        }
        self.flow(Mood::GOOD);
        self.end_turn();
        self.flow(Mood::GOOD);
        if self.is_done_kept || !self.clients.is_empty() {
            return;
        }
        for channel in self.taps[0].listened() {
            let may_be_kept = self.truth.places.may_be_kept(channel);
            let is_pinned = self.pinned == Some(channel);
            assert!(
                may_be_kept || is_pinned,
                "{channel}: nobody comes back to it"
            );
        }
    }

    fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.keep {
            let line = what(self);
            self.trace.push(format!("step {}: {line}", self.truth.step));
        }
    }
}

fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a good name")
}

/// Whether clients may be closed, and requests refused, for the limits.
fn limits(random: &mut Random) -> (Limits, bool, bool) {
    let mut limits = Limits::default();
    let mut is_small = false;
    let mut is_limited = false;
    if random.percent(25) {
        limits.client_queue_bytes_max = 500 + random.below(4_000);
        is_small = true;
    }
    if random.percent(15) {
        limits.retained_bytes_max = 4_000 + random.below(60_000);
        is_small = true;
    }
    if random.percent(20) {
        limits.subscriptions_max = 1 + random.below(3);
        limits.channels_max = 1 + random.below(4);
        limits.waiting_bytes_max = 1_000 + random.below(4_000);
        is_limited = true;
    }
    if random.percent(30) {
        limits.client_publishes_max = 1 + random.below(4);
    }
    limits.history_frames_max = random.pick(&[0, 1, 5, 64]);
    if random.percent(30) {
        limits.history_bytes_max = random.below(6_000);
    }
    if random.percent(25) {
        limits.unsent_bytes_max = 200 + random.below(4_000);
    }
    (limits, is_small, is_limited)
}

/// Each run prefers other events.
fn weights(random: &mut Random, has_readers: bool) -> Vec<(Happening, usize)> {
    use Happening as It;
    let usual = [
        (It::Connect, 30),
        (It::Ask, 80),
        (It::ToHub, 120),
        (It::Read, 120),
        (It::Stall, 8),
        (It::Transmit, 150),
        (It::TransmitMany, 30),
        (It::EndTurn, 80),
        (It::OtherCommit, 60),
        (It::HandOver, 80),
        (It::Work, 200),
        (It::Feed, 120),
        (It::FlowBackends, 8),
        (It::LinkOrdered, 40),
        (It::Tick, 25),
        (It::Ghost, 8),
        (It::Writable, 20),
        (It::Flow, 6),
    ];
    let rare = [
        (It::Reset, 6),
        (It::Close, 2),
        (It::LinkDies, 5),
        (It::LinkFlaps, 2),
        (It::Jump, 2),
        (It::Storm, 1),
    ];
    let usual = usual.map(|(it, weight)| (it, weight * random.pick(&[1, 2, 2, 4])));
    // In some runs few things go wrong, so that much is under way when one does.
    let trouble = random.pick(&[0, 1, 1, 3]);
    let rare = rare.map(|(it, weight)| (it, weight * trouble * random.pick(&[0, 1, 1, 3])));
    // Readers of events say nothing: they are cut, and come back.
    let cut = (It::Reset, if has_readers { 30 } else { 0 });
    usual.into_iter().chain(rare).chain([cut]).collect()
}

const NAMES: [&str; 6] = ["a", "b", "Two Words", "q\"uote", "ünï", "z.z"];
/// The longest that there is, and the default for clients that were lost.
const UNLISTEN_DELAY_MAX: Duration = Duration::from_secs(10);
const FLOW_TURNS_MAX: usize = 1_000;
/// Refused channels are asked for again after at most 30 s, as is a session after a wrong password.
const SETTLING_TIME_MAX: Duration = Duration::from_secs(180);
