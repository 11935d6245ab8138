//! The index with 100,000 clients, beside the maps of strings one would write first.
//!
//! Every client has three channels: one that all have, one of a thousand, one of a hundred
//! thousand. What is measured is one client joining a fourth, leaving it, and going altogether.

#![expect(
    clippy::disallowed_methods,
    reason = "only a part of each iteration is to be timed"
)]

use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    time::{Duration, Instant},
};

use alle::{
    Channel,
    internals::{backend::interests::Interests, delivery::index::Index},
};
use criterion::{Bencher, BenchmarkGroup, Criterion, measurement::WallTime};

/// What both can do.
trait Links {
    fn subscribe(&mut self, client: u32, channel: &str);
    fn unsubscribe(&mut self, client: u32, channel: &str);
    fn disconnect(&mut self, client: u32);
    /// The sum of the subscribers' names, so that all are looked at.
    fn walk(&self, channel: &str) -> u64;
}

/// The index, and the names of its channels.
#[derive(Default)]
struct Dense {
    names: Interests,
    index: Index,
}

impl Links for Dense {
    fn subscribe(&mut self, client: u32, channel: &str) {
        let key = self.names.find(channel).unwrap_or_else(|| {
            self.names
                .intern(Channel::new(channel).expect("a good name"))
        });
        self.index.subscribe(client, key);
    }

    fn unsubscribe(&mut self, client: u32, channel: &str) {
        let key = self.names.find(channel).expect("a known channel");
        self.index.unsubscribe(client, key);
    }

    fn disconnect(&mut self, client: u32) {
        while self.index.unsubscribe_any(client).is_some() {}
    }

    fn walk(&self, channel: &str) -> u64 {
        let key = self.names.find(channel).expect("a known channel");
        self.index
            .subscribers(key)
            .iter()
            .map(|&client| u64::from(client))
            .sum()
    }
}

/// Names for everything, each side a map of sets.
#[derive(Default)]
struct Naive {
    channels: HashMap<String, HashSet<u64>>,
    clients: HashMap<u64, HashSet<String>>,
}

impl Links for Naive {
    fn subscribe(&mut self, client: u32, channel: &str) {
        let client = u64::from(client);
        self.channels
            .entry(channel.to_owned())
            .or_default()
            .insert(client);
        self.clients
            .entry(client)
            .or_default()
            .insert(channel.to_owned());
    }

    fn unsubscribe(&mut self, client: u32, channel: &str) {
        let client = u64::from(client);
        if let Some(clients) = self.channels.get_mut(channel) {
            clients.remove(&client);
            if clients.is_empty() {
                self.channels.remove(channel);
            }
        }
        if let Some(channels) = self.clients.get_mut(&client) {
            channels.remove(channel);
        }
    }

    fn disconnect(&mut self, client: u32) {
        for channel in self.clients.remove(&u64::from(client)).unwrap_or_default() {
            if let Some(clients) = self.channels.get_mut(&channel) {
                clients.remove(&u64::from(client));
                if clients.is_empty() {
                    self.channels.remove(&channel);
                }
            }
        }
    }

    fn walk(&self, channel: &str) -> u64 {
        self.channels[channel].iter().sum()
    }
}

fn channels_of(client: u32) -> [String; 3] {
    [
        "all".to_owned(),
        format!("of a thousand {}", client % 1_000),
        format!("own {client}"),
    ]
}

/// So that neighbours do not come one after the other.
fn scattered(turn: u32) -> u32 {
    turn.wrapping_mul(48_271) % CLIENTS
}

/// Times `measured` alone for as many clients as asked, a thousand at a time, and neither what
/// has to come before nor what makes it undone.
fn part_timed<L>(
    bencher: &mut Bencher<'_>,
    links: &mut L,
    prepare: impl Fn(&mut L, u32),
    measured: impl Fn(&mut L, u32),
    restore: impl Fn(&mut L, u32),
) {
    let mut turn = 0;
    bencher.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        let mut left = u32::try_from(iterations).expect("few");
        while left > 0 {
            let clients = turn..turn + left.min(1_000);
            clients
                .clone()
                .for_each(|turn| prepare(links, scattered(turn)));
            let begin = Instant::now();
            clients
                .clone()
                .for_each(|turn| measured(links, scattered(turn)));
            total += begin.elapsed();
            clients
                .clone()
                .for_each(|turn| restore(links, scattered(turn)));
            left -= left.min(1_000);
            turn = clients.end % CLIENTS;
        }
        total
    });
}

fn bench_links<L: Links>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut links: L) {
    for client in 0..CLIENTS {
        for channel in channels_of(client) {
            links.subscribe(client, &channel);
        }
    }
    let links = &mut links;
    let subscribe = |links: &mut L, client| links.subscribe(client, "a fourth");
    let unsubscribe = |links: &mut L, client| links.unsubscribe(client, "a fourth");
    let come_back = |links: &mut L, client| {
        for channel in channels_of(client) {
            links.subscribe(client, &channel);
        }
    };
    group.bench_function(format!("subscribe/{name}"), |bencher| {
        part_timed(bencher, links, |_, _| {}, subscribe, unsubscribe);
    });
    group.bench_function(format!("unsubscribe/{name}"), |bencher| {
        part_timed(bencher, links, subscribe, unsubscribe, |_, _| {});
    });
    group.bench_function(format!("disconnect_of_3/{name}"), |bencher| {
        part_timed(bencher, links, |_, _| {}, L::disconnect, come_back);
    });
    group.bench_function(format!("walk_100000/{name}"), |bencher| {
        bencher.iter(|| black_box(links.walk("all")));
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("index");
    bench_links(&mut group, "dense", Dense::default());
    bench_links(&mut group, "naive", Naive::default());
    group.finish();
    criterion.final_summary();
}

const CLIENTS: u32 = 100_000;
