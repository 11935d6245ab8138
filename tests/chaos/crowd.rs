//! All clients on one thread.

#[path = "crowd/member.rs"]
mod member;
#[path = "crowd/view.rs"]
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Poll};

pub use self::{
    member::Member,
    view::{Epochs, View},
};
use crate::{
    ledger::{self, Ledger, Stream},
    random::Random,
};

/// The knowledge that all clients share.
pub struct Shared {
    pub address: SocketAddr,
    pub ledger: Arc<Ledger>,
    /// Channels by name.
    pub names: BTreeMap<String, usize>,
    phase: AtomicU8,
    /// Every client is connected, has all it wants, and is told that PostgreSQL is up.
    is_gathered: AtomicBool,
}

/// The phases of the clients, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// They connect and leave, publish and change their subscriptions.
    Living,
    /// They come back, and subscribe to every channel they ever wanted.
    Gathering,
    /// One more number on each stream.
    Closing,
    /// No client publishes any more; the end is when each client has everything.
    Settling,
}

impl Shared {
    pub fn new(address: SocketAddr, ledger: Arc<Ledger>, channels: usize) -> Self {
        let names = (0..channels).map(|channel| (ledger::channel_name(channel), channel));
        Self {
            address,
            ledger,
            names: names.collect(),
            phase: AtomicU8::new(Phase::Living as u8),
            is_gathered: AtomicBool::new(false),
        }
    }

    pub fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) >= phase as u8
    }
}

/// The observations of the clients.
pub struct Seen {
    pub views: Vec<View>,
    pub epochs: usize,
    pub faults: Vec<String>,
}

/// Runs until told to settle, and then until each client has everything.
pub struct Crowd {
    shared: Arc<Shared>,
    thread: JoinHandle<Seen>,
}

impl Crowd {
    /// `streams` are published by the first clients, in turn.
    pub fn start(
        shared: Shared,
        size: Size,
        streams: &[Stream],
        random: &mut Random,
    ) -> io::Result<Self> {
        let shared = Arc::new(shared);
        let mut members: Vec<_> = (0..size.clients)
            .map(|key| {
                let of_key = |at: &usize| at % size.publishers == key;
                let own = (0..streams.len()).filter(of_key).map(|at| streams[at]);
                let wanted = wanted(key, size.channels, random);
                Member::new(key, wanted, own.collect(), Random::new(random.bits()))
            })
            .collect();
        let (poll, of_thread) = (Poll::new()?, Arc::clone(&shared));
        let thread = thread::spawn(move || {
            let mut epochs = Epochs::default();
            let faults = run(poll, &of_thread, &mut members, &mut epochs);
            Seen {
                views: members.into_iter().map(|member| member.view).collect(),
                epochs: epochs.len(),
                faults,
            }
        });
        Ok(Self { shared, thread })
    }

    /// From now on clients act as in `phase`.
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Whether all are connected, or never will be.
    pub fn is_gathered(&self) -> bool {
        self.shared.is_gathered.load(Ordering::SeqCst) || self.is_over()
    }

    /// Whether a promise was broken.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// The observations, once everything has arrived.
    pub fn settle(self) -> Seen {
        self.enter(Phase::Settling);
        self.thread.join().expect("clients do not panic")
    }
}

/// How many there are of what.
#[derive(Clone, Copy)]
pub struct Size {
    pub clients: usize,
    pub channels: usize,
    /// Clients that publish.
    pub publishers: usize,
}

/// One channel in turn, so that each has a listener, and some more; low ones are popular.
fn wanted(key: usize, channels: usize, random: &mut Random) -> BTreeSet<usize> {
    let mut wanted = BTreeSet::from([key % channels]);
    for _ in 0..random.below(4) {
        let below = 1 + random.below(channels);
        wanted.insert(random.below(below));
    }
    wanted
}

fn run(
    mut poll: Poll,
    shared: &Shared,
    members: &mut [Member],
    epochs: &mut Epochs,
) -> Vec<String> {
    let mut events = Events::with_capacity(1024);
    let mut ticked_at = Instant::now();
    let mut deadline = None;
    loop {
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.expect("polling works"),
        }
        for event in &events {
            members[event.token().0].handle_event(shared, epochs);
        }
        if ticked_at.elapsed() < TICK {
            continue;
        }
        ticked_at = Instant::now();
        for member in &mut *members {
            member.tick(poll.registry(), shared, epochs);
        }
        let faults = || {
            members
                .iter()
                .filter_map(|member| member.fault.clone())
                .collect()
        };
        if members.iter().any(|member| member.fault.is_some()) {
            return faults();
        }
        if !shared.is_in(Phase::Gathering) {
            continue;
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        let is_over = shared.is_in(Phase::Settling);
        let missing = members.iter().find_map(|member| {
            let absent = member.absent();
            let missing = absent.or_else(|| is_over.then(|| member.missing(shared)).flatten())?;
            Some(format!("client {}: {missing}", member.key))
        });
        match missing {
            None if is_over => return faults(),
            None => shared.is_gathered.store(true, Ordering::SeqCst),
            Some(missing) if Instant::now() > deadline => {
                return vec![format!("after all was mended: {missing}")];
            }
            Some(_) => {}
        }
    }
}

const TICK: Duration = Duration::from_millis(10);
/// A silent connection is given up after a ping interval and a pong timeout, 35 s.
const PATIENCE: Duration = Duration::from_secs(90);
