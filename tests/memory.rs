//! The cost of a client, by a counting allocator: memory while it is idle, allocations during a
//! delivery. In a test binary of its own, since the allocator is the process's.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test reads its environment, and prints the figures, shown with --nocapture"
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
/// Between two counts at which every table is full, since tables double: reserved memory that was
/// never touched costs nothing, and must not be counted for some numbers of clients only.
#[test]
fn an_idle_client_with_one_subscription_costs_at_most_120_bytes() {
    idle_client_costs_at_most(CLIENT_BYTES_MAX, |server| server.connect(&["orders"]));
}

#[test]
fn an_idle_reader_of_events_costs_no_more() {
    idle_client_costs_at_most(CLIENT_BYTES_MAX, |server| server.stream(&["orders"]));
}

fn idle_client_costs_at_most(bytes_max: usize, connect: impl Fn(&mut Server)) {
    let _alone = alone();
    let mut server = Server::start();
    for _ in 0..FULL_TABLE {
        connect(&mut server);
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..FULL_TABLE {
        connect(&mut server);
    }
    let change = region.change();
    assert_eq!(server.hub.client_count(), 2 * FULL_TABLE);
    let held_bytes = change.bytes_allocated - change.bytes_deallocated;
    let client_bytes = held_bytes.div_ceil(FULL_TABLE);
    println!("{client_bytes} bytes a client");
    assert!(client_bytes <= bytes_max, "{client_bytes} bytes a client");
}

/// Clients that each ask for as much as they may, and read nothing: the memory they cost is that of
/// `docs/operating.md`. `ALLE_WORST_CLIENTS=1000` plays as many as in the formula there.
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

/// The allocations for a notification do not depend on the number of recipients, nor do those for a
/// transaction that notifies several channels of each.
#[test]
fn a_fan_out_allocates_nothing_per_recipient() {
    let _alone = alone();
    for channels in [&["orders"][..], &["orders", "bills", "returns"]] {
        let connects: [fn(&mut Server, &[&str]); 2] =
            [|it, of| it.connect(of), |it, of| it.stream(of)];
        for connect in connects {
            let allocations = |clients| allocations(clients, channels, connect);
            let [few, many] = [10, RECIPIENTS].map(allocations);
            println!(
                "{few} and {many} allocations for 10 and {RECIPIENTS} recipients of {channels:?}"
            );
            assert_eq!(few, many);
        }
    }
}

/// Of one turn that hears a notification on each channel, all of which each client subscribes.
fn allocations(clients: usize, channels: &[&str], connect: fn(&mut Server, &[&str])) -> usize {
    let mut server = Server::start();
    for _ in 0..clients {
        connect(&mut server, channels);
    }
    let notification = |name: &&str| {
        let channel = Channel::new(name).expect("a good name");
        Fed::Notification(channel, "a payload of some length".to_owned())
    };
    let heard: Vec<_> = channels.iter().map(notification).collect();
    for _ in 0..3 {
        server.fan_out(&heard);
    }
    // The test runner has threads of its own, which now and then add to a count.
    let counts = (0..5).map(|_| {
        let region = Region::new(ALLOCATOR);
        let writes = server.fan_out(&heard);
        let change = region.change();
        assert_eq!(writes, clients, "everybody is written to once");
        change.allocations + change.reallocations
    });
    counts.min().expect("five of them")
}

const RECIPIENTS: usize = 10_000;
/// Vectors grow from 4 by doubling.
const FULL_TABLE: usize = 8_192;
const CLIENT_BYTES_MAX: usize = 120;
const WORST_CLIENTS: usize = 200;
/// `docs/operating.md`, "Limits".
const WORST_CLIENT_BYTES_MAX: usize = 220 * 1024;
