//! What is measured, and how the two take turns.
//!
//! A workload names its clients, its channels and how messages are published. Knows no socket.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    contender::{Contender, Site},
    crowd::{Crowd, SOURCE, Wish},
    machine,
    message::Channels,
    plot::Growth,
    round::{self, Measured, Pace, Plan},
};

/// One line of the table.
#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) clients: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Messages for all; the floor may send in another way, if that is the ideal one.
    FanOut {
        channels: Channels,
        alle: Plan,
        floor: Plan,
    },
    /// Handshakes and nothing else.
    Storm,
    /// Subscribed and idle: memory between a few and all of the clients.
    Idle { few: usize },
}

/// The rounds of both, in turn: the n-th of one beside the n-th of the other.
#[derive(Default)]
pub(crate) struct Pairs {
    pub(crate) alle: Vec<Measured>,
    pub(crate) floor: Vec<Measured>,
}

/// How many bytes of the server's own each idle client takes.
pub(crate) struct Memory {
    pub(crate) few: usize,
    pub(crate) bytes_per_client: f64,
}

pub(crate) enum Outcome {
    Pairs(Pairs),
    Memory(Memory),
}

/// All of them, with the clients that the descriptors allow.
pub(crate) fn all() -> Vec<Workload> {
    let room = machine::descriptors().saturating_sub(DESCRIPTORS_OTHER);
    let mut all = Vec::new();
    let mut add = |name: &str, clients: usize, kind| {
        let name = name.to_owned();
        all.push(Workload {
            name,
            clients,
            kind,
        });
    };
    for clients in GROWTH {
        add(
            GROWTH_NAME,
            clients.min(room),
            same(Channels::split(1), at_once(1, 1)),
        );
    }
    for burst in BURSTS {
        add(
            &format!("burst-{burst}"),
            1_000.min(room),
            same(Channels::split(1), at_once(burst, burst)),
        );
    }
    let (alle, floor) = (at_once(1, 64), at_once(64, 64));
    add(
        "closed-loop-64",
        1_000.min(room),
        Kind::FanOut {
            channels: Channels::split(1),
            alle,
            floor,
        },
    );
    let channels = 1_000.min(room / 10) as u64;
    // Half of the channels have a message on its way: none has two, so nobody gathers.
    let ten_each = usize::try_from(10 * channels).unwrap_or(room);
    add(
        "channels-x10",
        ten_each,
        same(Channels::split(channels), at_once(10, channels / 2)),
    );
    for (name, clients, kind) in crosses() {
        add(&name, clients.min(room), kind);
    }
    let paced = Plan {
        burst: 1,
        pace: Pace::PerSecond(50),
        spin: false,
    };
    add("paced-50", 1_000.min(room), same(Channels::split(1), paced));
    add("handshakes", 10_000.min(room), Kind::Storm);
    add(
        "idle",
        10_000.min(room),
        Kind::Idle {
            few: 2_000.min(room / 5),
        },
    );
    all.dedup_by(|one, other| one.name == other.name && one.clients == other.clients);
    all
}

/// Clients that hear several channels, and transactions that notify all of these.
fn crosses() -> Vec<(String, usize, Kind)> {
    let one = |(clients, channels)| {
        let plan = at_once(channels, channels);
        (
            format!("cross-{channels}"),
            clients,
            same(Channels::shared(channels), plan),
        )
    };
    let in_a_loop = Kind::FanOut {
        channels: Channels::shared(10),
        alle: at_once(1, 64),
        floor: at_once(64, 64),
    };
    let in_a_loop = ("cross-loop-64".to_owned(), 1_000, in_a_loop);
    CROSSES.into_iter().map(one).chain([in_a_loop]).collect()
}

/// So many in one transaction, while so many are not yet everywhere.
fn at_once(burst: u64, window: u64) -> Plan {
    Plan {
        burst,
        pace: Pace::Window(window),
        spin: false,
    }
}

/// Both send in the same way.
fn same(channels: Channels, plan: Plan) -> Kind {
    Kind::FanOut {
        channels,
        alle: plan,
        floor: plan,
    }
}

/// The same in small: each code path once.
pub(crate) fn smoke() -> Vec<Workload> {
    let shrink = |mut workload: Workload| {
        workload.clients = SMOKE_CLIENTS;
        match &mut workload.kind {
            Kind::FanOut { channels, .. } if channels.count > 1 => channels.count = 10,
            Kind::FanOut { .. } | Kind::Storm => {}
            Kind::Idle { few } => *few = SMOKE_CLIENTS / 2,
        }
        workload
    };
    let mut few: Vec<_> = all().into_iter().map(shrink).collect();
    few.dedup_by(|one, other| one.name == other.name);
    few.retain(|workload| !["burst-4", "burst-33", "burst-64"].contains(&workload.name.as_str()));
    few
}

impl Workload {
    /// Readers of closed loops never sleep: waking them is no part of what a delivery costs.
    pub(crate) fn keep_awake(&mut self) {
        if let Kind::FanOut { alle, floor, .. } = &mut self.kind {
            (alle.spin, floor.spin) = (true, true);
        }
    }

    /// Where it stands on the axes of the plot.
    pub(crate) fn growths(&self) -> impl Iterator<Item = (Growth, u64)> + use<> {
        let mut places = Vec::new();
        if let Kind::FanOut {
            channels,
            alle,
            floor,
        } = self.kind
            && let Pace::Window(window) = alle.pace
            // All that is on its way is one transaction, for either.
            && window == alle.burst
            && floor.burst == alle.burst
        {
            if channels.count == 1 && self.clients == 1_000 {
                places.push((Growth::Burst, alle.burst));
            }
            if self.name == GROWTH_NAME {
                places.push((Growth::Subscribers, self.clients as u64));
            }
            if channels.is_shared && self.clients == 100 {
                places.push((Growth::Channels, channels.count));
            }
        }
        places.into_iter()
    }

    pub(crate) fn run(&self, site: &Site, rounds: usize, length: Duration) -> io::Result<Outcome> {
        match self.kind {
            Kind::FanOut {
                channels,
                alle,
                floor,
            } => self.fan_outs(site, channels, (alle, floor), (rounds, length)),
            Kind::Storm => self.storms(site, rounds),
            Kind::Idle { few } => self.idle(site, few),
        }
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name)))
    }

    fn fan_outs(
        &self,
        site: &Site,
        channels: Channels,
        (alle_plan, floor_plan): (Plan, Plan),
        (rounds, length): (usize, Duration),
    ) -> io::Result<Outcome> {
        let mut alle = Lane::new(Contender::alle(site, channels)?, channels, alle_plan);
        let mut floor = Lane::new(Contender::floor(site, channels)?, channels, floor_plan);
        // Both crowds stay where there are descriptors enough for both.
        let both_fit = 2 * self.clients + DESCRIPTORS_OTHER <= machine::descriptors();
        let mut pairs = Pairs::default();
        for round in 0..rounds {
            // Neither is always the one that comes after the other.
            let floor_first = round % 2 == 1;
            if floor_first {
                pairs
                    .floor
                    .push(floor.round(self.clients, length, both_fit)?);
            }
            pairs.alle.push(alle.round(self.clients, length, both_fit)?);
            if !floor_first {
                pairs
                    .floor
                    .push(floor.round(self.clients, length, both_fit)?);
            }
        }
        Ok(Outcome::Pairs(pairs))
    }

    fn storms(&self, site: &Site, rounds: usize) -> io::Result<Outcome> {
        let mut pairs = Pairs::default();
        for _ in 0..rounds {
            pairs
                .alle
                .push(self.storm(&Contender::alle(site, Channels::split(1))?)?);
            pairs
                .floor
                .push(self.storm(&Contender::floor(site, Channels::split(1))?)?);
        }
        Ok(Outcome::Pairs(pairs))
    }

    fn storm(&self, contender: &Contender) -> io::Result<Measured> {
        machine::settle();
        let (began, cpu_before) = (Instant::now(), machine::cpu_time(contender.process()));
        let channels = Channels::split(1);
        let crowd = Crowd::connect(contender.address, self.clients, channels, Wish::Upgrade)?;
        let wall = began.elapsed();
        machine::settle();
        let cpu = machine::cpu_time(contender.process()) - cpu_before;
        let (tally, units) = (crowd.tally.clone(), crowd.len() as u64);
        Ok(Measured {
            tally,
            units,
            cpu,
            wall,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn idle(&self, site: &Site, few: usize) -> io::Result<Outcome> {
        let channels = Channels::split(1);
        let alle = Contender::alle(site, channels)?;
        let mut crowd = Crowd::connect(alle.address, few, channels, Wish::Subscribe)?;
        machine::settle();
        let before = machine::private_bytes(alle.process());
        crowd.grow(alle.address, self.clients, Wish::Subscribe)?;
        machine::settle();
        let after = machine::private_bytes(alle.process());
        let clients = (self.clients - few) as f64;
        let bytes_per_client = (after as f64 - before as f64) / clients;
        Ok(Outcome::Memory(Memory {
            few,
            bytes_per_client,
        }))
    }
}

/// A contender and its clients, from round to round.
struct Lane {
    contender: Contender,
    crowd: Option<Crowd>,
    channels: Channels,
    plan: Plan,
}

impl Lane {
    fn new(contender: Contender, channels: Channels, plan: Plan) -> Self {
        Self {
            contender,
            crowd: None,
            channels,
            plan,
        }
    }

    fn round(&mut self, clients: usize, length: Duration, keep: bool) -> io::Result<Measured> {
        let mut cold = None;
        let mut crowd = match self.crowd.take() {
            Some(crowd) => crowd,
            None => {
                let mut crowd = self.gather(clients)?;
                // The first messages find everything cold: they count only if one goes astray.
                cold = Some(self.measure(&mut crowd, length / 4)?.tally.faults);
                crowd
            }
        };
        let mut measured = self.measure(&mut crowd, length)?;
        if let Some(faults) = cold {
            measured.tally.faults += &faults;
        }
        if keep {
            self.crowd = Some(crowd);
        } else {
            self.contender.deregister(crowd.registry())?;
        }
        Ok(measured)
    }

    fn gather(&mut self, clients: usize) -> io::Result<Crowd> {
        let address = self.contender.address;
        let crowd = Crowd::connect(address, clients, self.channels, Wish::Subscribe)?;
        self.contender.register(crowd.registry(), SOURCE)?;
        Ok(crowd)
    }

    fn measure(&mut self, crowd: &mut Crowd, length: Duration) -> io::Result<Measured> {
        round::run(&mut self.contender, crowd, self.channels, self.plan, length)
    }
}

pub(crate) const GROWTH_NAME: &str = "one-at-a-time";
const GROWTH: [usize; 5] = [100, 1_000, 5_000, 10_000, 19_000];
/// Clients, and channels that each of them hears; a transaction notifies all of these.
const CROSSES: [(usize, u64); 7] = [
    (100, 1),
    (100, 3),
    (1_000, 3),
    (100, 10),
    (1_000, 10),
    (100, 30),
    (100, 100),
];
const BURSTS: [u64; 5] = [4, 16, 33, 64, 128];
const SMOKE_CLIENTS: usize = 50;
/// What is not a client: polls, PostgreSQL, the log, what the server keeps for itself.
const DESCRIPTORS_OTHER: usize = 200;
