//! What clients are owed, against the plainest model of it: whatever the order of notifications,
//! subscriptions and writes, each client reads the frames of its channels in the order they came.
//!
//! The model has a list of bytes a client, to which every frame of its channels is appended at once.

use alle::internals::{
    channel::ChannelKey,
    delivery::{
        Delivery,
        history::History,
        lane::{Indexes, LANES},
        outgoing::{Outgoing, Written},
    },
    metrics::Metrics,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    /// One transaction: a frame on each of the channels, so many bytes long.
    Notify(Vec<(u32, usize)>),
    /// A frame for everybody.
    Broadcast(usize),
    Subscribe(u32, u32),
    Unsubscribe(u32, u32),
    /// Bytes of the client's own, behind what its channels owe it.
    Answer(u32),
    /// So many writes; each socket takes all, or so many bytes of what it is given.
    Write(usize, Vec<Option<usize>>),
    /// The socket takes bytes again.
    Writable(u32),
    EndSlice,
}

struct World {
    delivery: Delivery,
    /// A client is of the lane that its slot says.
    indexes: Indexes,
    metrics: Metrics,
    clients: Vec<Client>,
    /// Makes each frame unlike any other.
    frames: usize,
    writes: usize,
    /// Those of them that were lent in pieces.
    in_pieces: usize,
}

#[derive(Default)]
struct Client {
    owed: Vec<u8>,
    read: Vec<u8>,
    is_full: bool,
}

impl World {
    fn new(clients: u32) -> Self {
        let mut delivery = Delivery::new(usize::MAX, History::new(0, 0), [<[u8]>::len; LANES]);
        for slot in 0..clients {
            delivery.attach(slot);
            delivery.begin(slot, lane(slot), |out| out.extend_from_slice(HEAD));
        }
        let client = || Client {
            owed: HEAD.to_vec(),
            ..Client::default()
        };
        let mut world = Self {
            delivery,
            indexes: Indexes::default(),
            metrics: Metrics::default(),
            clients: (0..clients).map(|_| client()).collect(),
            frames: 0,
            writes: 0,
            in_pieces: 0,
        };
        world.drain();
        world
    }

    fn play(&mut self, operation: &Operation) {
        match operation {
            Operation::Notify(frames) => {
                for &(key, bytes) in frames {
                    self.notify(key, bytes);
                }
            }
            &Operation::Broadcast(bytes) => {
                let frames = self.frames(bytes);
                for (lane, frame) in frames.iter().enumerate() {
                    self.delivery.broadcast(lane, frame);
                }
                for (slot, client) in (0..).zip(&mut self.clients) {
                    client.owed.extend_from_slice(&frames[lane(slot)]);
                }
            }
            &Operation::Subscribe(slot, key) => {
                self.delivery.deliver(slot, &self.indexes);
                self.subscribe(slot, key);
            }
            &Operation::Unsubscribe(slot, key) => {
                self.delivery.deliver(slot, &self.indexes);
                self.indexes[lane(slot)].unsubscribe(slot, ChannelKey(key));
                let mut lanes = self.indexes.iter();
                if lanes.all(|index| index.subscribers(ChannelKey(key)).is_empty()) {
                    self.delivery.forget(ChannelKey(key));
                }
            }
            &Operation::Answer(slot) => {
                let [answer, _] = self.frames(8);
                self.delivery.deliver(slot, &self.indexes);
                self.delivery
                    .push(slot, |out| out.extend_from_slice(&answer));
                self.clients[slot as usize].owed.extend_from_slice(&answer);
            }
            Operation::Write(writes, sockets) => {
                for at in 0..*writes {
                    let takes = sockets.get(at % sockets.len().max(1));
                    if !self.write(takes.copied().flatten()) {
                        break;
                    }
                }
            }
            &Operation::Writable(slot) => self.writable(slot),
            Operation::EndSlice => drop(self.delivery.end_slice()),
        }
        self.delivery.check_invariants();
    }

    fn notify(&mut self, key: u32, bytes: usize) {
        let frames = self.frames(bytes);
        let key = ChannelKey(key);
        for (lane, frame) in frames.iter().enumerate() {
            let subscribers = self.indexes[lane].subscribers(key);
            self.delivery.append(key, lane, subscribers.len(), frame);
            for &slot in subscribers {
                self.clients[slot as usize].owed.extend_from_slice(frame);
            }
        }
    }

    fn subscribe(&mut self, slot: u32, key: u32) {
        self.indexes[lane(slot)].subscribe(slot, ChannelKey(key));
    }

    /// One text in the encoding of each lane.
    fn frames(&mut self, bytes: usize) -> [Vec<u8>; LANES] {
        self.frames += 1;
        [('<', '>'), ('{', '}')].map(|(open, close)| {
            let mut frame = format!("{open}{}{close}", self.frames).into_bytes();
            frame.resize(bytes.max(frame.len()), b'.');
            frame
        })
    }

    /// Whether there was anything to write.
    fn write(&mut self, takes: Option<usize>) -> bool {
        let transmit = self
            .delivery
            .poll_transmit(&self.indexes, &mut self.metrics);
        let Some(transmit) = transmit else {
            return false;
        };
        let client = &mut self.clients[transmit.slot as usize];
        assert!(!client.is_full, "a full socket is left alone");
        let bytes = match &transmit.bytes {
            Outgoing::One(bytes) => bytes.to_vec(),
            Outgoing::Many(pieces) => {
                self.in_pieces += 1;
                let (slices, count) = pieces.slices();
                slices[..count].iter().flat_map(|it| it.to_vec()).collect()
            }
        };
        let taken = takes.unwrap_or(bytes.len()).min(bytes.len());
        client.read.extend_from_slice(&bytes[..taken]);
        assert!(
            client.owed.starts_with(&client.read),
            "in the order they came"
        );
        client.is_full = taken < bytes.len();
        self.writes += 1;
        let written = if client.is_full {
            Written::Full(taken)
        } else {
            Written::All
        };
        self.delivery.handle_transmitted(written, &mut self.metrics);
        true
    }

    fn writable(&mut self, slot: u32) {
        self.clients[slot as usize].is_full = false;
        self.delivery.handle_writable(slot);
    }

    /// Every socket takes everything, until each client has read all it is owed.
    fn drain(&mut self) {
        for slot in 0..u32::try_from(self.clients.len()).expect("few") {
            self.writable(slot);
        }
        while self.delivery.has_transmit() {
            if !self.write(None) {
                self.delivery.end_slice();
            }
        }
        for client in &self.clients {
            assert!(client.owed == client.read, "nothing is missing");
        }
        self.delivery.check_invariants();
    }
}

fn lane(slot: u32) -> usize {
    slot as usize % LANES
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let client = || 0..CLIENTS;
    let channel = || 0..CHANNELS;
    // Most transactions fit into one write; some frames are larger than what is copied for one.
    let bytes = || prop_oneof![20 => 1_usize..100, 1 => 10_000_usize..50_000];
    let takes = prop_oneof![
        3 => Just(None),
        1 => (0_usize..400).prop_map(Some),
        1 => (0_usize..60_000).prop_map(Some),
    ];
    let operation = prop_oneof![
        8 => proptest::collection::vec((channel(), bytes()), 1..12).prop_map(Operation::Notify),
        1 => bytes().prop_map(Operation::Broadcast),
        3 => (client(), channel()).prop_map(|(slot, key)| Operation::Subscribe(slot, key)),
        1 => (client(), channel()).prop_map(|(slot, key)| Operation::Unsubscribe(slot, key)),
        1 => client().prop_map(Operation::Answer),
        8 => (1_usize..10, proptest::collection::vec(takes, 1..5))
            .prop_map(|(writes, sockets)| Operation::Write(writes, sockets)),
        4 => client().prop_map(Operation::Writable),
        2 => Just(Operation::EndSlice),
    ];
    proptest::collection::vec(operation, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_client_reads_its_channels_in_the_order_they_came(
        links in proptest::collection::vec((0..CLIENTS, 0..CHANNELS), 0..60),
        operations in operations(),
    ) {
        let mut world = World::new(CLIENTS);
        for (slot, key) in links {
            world.subscribe(slot, key);
        }
        for operation in &operations {
            world.play(operation);
        }
        world.drain();
    }
}

/// Ten clients of as many channels, a transaction that notifies all of them: one write a client.
#[test]
fn what_several_channels_owe_a_client_leaves_in_one_write() {
    for channels in [2, 3, 10, 100] {
        let mut world = World::new(10);
        for slot in 0..10 {
            for key in 0..channels {
                world.subscribe(slot, key);
            }
        }
        for rounds in 1..4 {
            world.writes = 0;
            for _ in 0..rounds {
                (0..channels).for_each(|key| world.notify(key, 100));
            }
            world.drain();
            assert_eq!(world.writes, 10, "{channels} channels, {rounds} each");
        }
    }
}

/// A client is written to once, though only some of the channels are its own.
#[test]
fn what_it_is_not_subscribed_to_makes_no_second_write() {
    let mut world = World::new(10);
    for slot in 0..10 {
        for key in 0..3 {
            world.subscribe(slot, (slot + 3 * key) % 10);
        }
    }
    world.writes = 0;
    (0..10).for_each(|key| world.notify(key, 100));
    world.drain();
    assert_eq!(world.writes, 10);
}

/// 64 KiB are copied together; what is more goes by reference, still in one write.
#[test]
fn what_is_too_much_to_be_copied_goes_in_pieces() {
    for (bytes, is_copied) in [(32_767, true), (32_768, true), (32_769, false)] {
        let mut world = World::new(2);
        for slot in 0..2 {
            world.subscribe(slot, 0);
            world.subscribe(slot, 1);
        }
        (world.writes, world.in_pieces) = (0, 0);
        world.notify(0, 32_768);
        world.notify(1, bytes);
        world.drain();
        assert_eq!(world.writes, 2, "{bytes}");
        assert_eq!(world.in_pieces == 0, is_copied, "{bytes}");
        assert_eq!(world.delivery.sizes().backlogs, 0);
    }
}

const CLIENTS: u32 = 6;
/// More than are looked up one by one among a client's own.
const CHANNELS: u32 = 9;
const HEAD: &[u8] = b"HTTP/1.1 101\r\n\r\n";
