//! What a client costs, by a counting allocator: memory while it is idle, allocations while it is
//! sent to. In a test binary of its own, since the allocator is everybody's.

use std::{
    alloc::System,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use alle::{
    Channel,
    bridge::{Core, Settings, feed::Fed, hub::Written},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: the counts are of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Server {
    core: Core,
    now: Instant,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant"
    )]
    fn start() -> Self {
        let now = Instant::now();
        let core = Core::with_feed(Settings::default(), now);
        Self { core, now }
    }

    /// A real upgrade, then a real subscribe; both answers are read.
    fn connect(&mut self, channel: &str) {
        let client = self.core.handle_connected(self.now);
        let mut head = UPGRADE.to_vec();
        self.core.handle_client_input(client, &mut head, self.now);
        self.write_all();
        let mut message = [0; 64];
        let text = format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
        let bytes = frame(&text, &mut message);
        self.core
            .handle_client_input(client, &mut message[..bytes], self.now);
        self.write_all();
        self.end_turn();
    }

    /// Says how many writes it took.
    fn write_all(&mut self) -> usize {
        let mut writes = 0;
        while self.core.poll_transmit().is_some() {
            self.core.handle_transmitted(Written::All, self.now);
            writes += 1;
        }
        writes
    }

    fn end_turn(&mut self) {
        self.core.end_turn(self.now);
        while self.core.poll_disconnect().is_some() {}
        let feed = self.core.feed().expect("the program feeds it");
        while feed.poll_incoming().is_some() {}
    }

    /// One notification, written to everybody.
    fn fan_out(&mut self, fed: &Fed) -> usize {
        self.core.handle_fed(fed, self.now);
        let writes = self.write_all();
        self.end_turn();
        writes
    }
}

/// The core's share of the 128 bytes an idle client may cost: the reactor has 8 of them at most,
/// a socket by slot.
///
/// Between two counts at which every table is full, since tables double: what they have reserved
/// and never touched takes no memory, and must not be counted for some numbers of clients only.
#[test]
fn an_idle_client_with_one_subscription_costs_at_most_120_bytes() {
    let _alone = alone();
    let mut server = Server::start();
    for _ in 0..FULL_TABLE {
        server.connect("orders");
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..FULL_TABLE {
        server.connect("orders");
    }
    let change = region.change();
    assert_eq!(server.core.client_count(), 2 * FULL_TABLE);
    let held_bytes = change.bytes_allocated - change.bytes_deallocated;
    let client_bytes = held_bytes.div_ceil(FULL_TABLE);
    println!("{client_bytes} bytes a client");
    assert!(
        client_bytes <= CLIENT_BYTES_MAX,
        "{client_bytes} bytes a client"
    );
}

/// What a notification allocates is the same whoever hears it.
#[test]
fn a_fan_out_allocates_nothing_per_recipient() {
    let _alone = alone();
    let mut allocations = Vec::new();
    for clients in [10, RECIPIENTS] {
        let mut server = Server::start();
        for _ in 0..clients {
            server.connect("orders");
        }
        let orders = Channel::new("orders").expect("a good name");
        let fed = Fed::Notification(orders, "a payload of some length".to_owned());
        for _ in 0..3 {
            server.fan_out(&fed);
        }
        let region = Region::new(ALLOCATOR);
        let writes = server.fan_out(&fed);
        let change = region.change();
        assert_eq!(writes, clients, "everybody is written to once");
        allocations.push(change.allocations + change.reallocations);
    }
    println!("{allocations:?} allocations for 10 and {RECIPIENTS} recipients");
    assert_eq!(allocations[0], allocations[1]);
}

/// A text frame of a client, masked with zeros.
fn frame(text: &str, out: &mut [u8; 64]) -> usize {
    let length = u8::try_from(text.len()).expect("short");
    assert!(length <= 58);
    out[..2].copy_from_slice(&[0x81, 0x80 | length]);
    out[6..6 + text.len()].copy_from_slice(text.as_bytes());
    6 + text.len()
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const RECIPIENTS: usize = 10_000;
/// Vectors grow from 4 by doubling.
const FULL_TABLE: usize = 8_192;
const CLIENT_BYTES_MAX: usize = 120;
