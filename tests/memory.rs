//! What a client costs, by a counting allocator: memory while it is idle, allocations while it is
//! sent to. In a test binary of its own, since the allocator is everybody's.

#![expect(
    clippy::print_stdout,
    reason = "the figures, for who asks with --nocapture"
)]

#[path = "../benches/support/server.rs"]
mod server;
#[path = "memory/worst.rs"]
mod worst;

use std::{
    alloc::System,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alle::{Channel, Limits, internals::hub::feed::Fed};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::{server::Server, worst::Worst};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: the counts are of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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
    assert_eq!(server.hub.client_count(), 2 * FULL_TABLE);
    let held_bytes = change.bytes_allocated - change.bytes_deallocated;
    let client_bytes = held_bytes.div_ceil(FULL_TABLE);
    println!("{client_bytes} bytes a client");
    assert!(
        client_bytes <= CLIENT_BYTES_MAX,
        "{client_bytes} bytes a client"
    );
}

/// Clients that each ask for as much as they may, and read nothing: what they make us keep is what
/// `docs/operating.md` says. `ALLE_WORST_CLIENTS=1000` plays as many as the formula there speaks of.
#[test]
fn the_worst_clients_cost_what_the_documentation_says() {
    let _alone = alone();
    let clients = std::env::var("ALLE_WORST_CLIENTS").ok();
    let clients = clients.map_or(WORST_CLIENTS, |it| it.parse().expect("a number"));
    let bound = Limits::default().owned_bytes_max / 1_000 * clients;
    let mut worst = Worst::new(bound);
    let region = Region::new(ALLOCATOR);
    for _ in 0..clients {
        worst.connect();
    }
    let change = region.change();
    let held_bytes = change.bytes_allocated - change.bytes_deallocated;
    let client_bytes = held_bytes / clients;
    println!("{client_bytes} bytes for each of the worst clients");
    assert!(client_bytes <= WORST_CLIENT_BYTES_MAX, "{client_bytes}");
    let owned_bytes = worst.owned_bytes();
    assert!(
        owned_bytes <= bound && owned_bytes > bound / 2,
        "{owned_bytes}"
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
        let heard = [Fed::Notification(
            orders,
            "a payload of some length".to_owned(),
        )];
        for _ in 0..3 {
            server.fan_out(&heard);
        }
        let counts = [(); 5].map(|()| {
            let region = Region::new(ALLOCATOR);
            let writes = server.fan_out(&heard);
            let change = region.change();
            assert_eq!(writes, clients, "everybody is written to once");
            change.allocations + change.reallocations
        });
        // What runs the tests has threads of its own, which now and then add to a count.
        allocations.extend(counts.into_iter().min());
    }
    println!("{allocations:?} allocations for 10 and {RECIPIENTS} recipients");
    assert_eq!(allocations[0], allocations[1]);
}

const RECIPIENTS: usize = 10_000;
/// Vectors grow from 4 by doubling.
const FULL_TABLE: usize = 8_192;
const CLIENT_BYTES_MAX: usize = 120;
const WORST_CLIENTS: usize = 200;
/// `docs/operating.md`, "Limits".
const WORST_CLIENT_BYTES_MAX: usize = 220 * 1024;
