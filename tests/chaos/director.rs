//! Sets the scene, plays the rounds, and closes the account.

use std::{
    collections::BTreeMap,
    env,
    net::SocketAddr,
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use alle::internals::sandbox::{Sandbox, StopMode};

use crate::{
    audit::{FaultRecord, Report},
    crowd::{Crowd, Phase, Shared, Size},
    harness::Bridge,
    ledger::Ledger,
    log_reader::LogReader,
    plan::{ClientFault, Round, ServerFault},
    program::{alle_with, environment::clean},
    proxy::{Order, Proxy, Side},
    random::Random,
    raw::Raw,
    sql::Sql,
    sql_publisher::{Rhythm, SqlPublisher},
};

pub struct Director {
    seed: u64,
    size: Size,
    ledger: Arc<Ledger>,
    streams: usize,
    sql: Vec<SqlPublisher>,
    crowd: Crowd,
    bridge: Bridge,
    log_reader: LogReader,
    proxy: Proxy,
    server: Sandbox,
    faults: BTreeMap<String, FaultRecord>,
    broken: Vec<String>,
    /// Faults that took too long, and the log of the bridge.
    slow: Vec<String>,
    /// The most backends that served the bridge while the lock for NOTIFY was held.
    backends_max: usize,
}

impl Director {
    /// All clients are connected and active.
    pub fn set_up(size: Size, seed: u64) -> Self {
        let mut random = Random::new(seed ^ SCENE);
        let server = Sandbox::start().unwrap();
        let (bridge_sender, bridge_receiver) = mpsc::channel();
        let postgres = SocketAddr::from(([127, 0, 0, 1], server.port()));
        let proxy = Proxy::start(postgres, bridge_receiver, random.bits()).unwrap();
        let url = format!("postgresql://postgres@{}/postgres", proxy.postgres);
        let log_reader = LogReader::new();
        let bridge = Bridge::run(log_reader.in_front_of(&serve(&url)));
        bridge.wait_until_ready();
        bridge_sender.send(bridge.address).unwrap();
        // The first half is published through the bridge, the second by SQL.
        let channels = (0..size.channels).chain(0..size.channels);
        let ledger = Arc::new(Ledger::new(channels.collect()));
        let streams = 2 * size.channels;
        let ours: Vec<_> = (0..size.channels).collect();
        let shared = Shared::new(proxy.clients, Arc::clone(&ledger), size.channels);
        let crowd = Crowd::start(shared, size, &ours, &mut random).unwrap();
        let sql = (0..SQL_PUBLISHERS).map(|at| {
            let streams = (size.channels + at..streams).step_by(SQL_PUBLISHERS);
            let random = Random::new(random.bits());
            SqlPublisher::start(
                server.port(),
                streams.collect(),
                Rhythm::Bursts,
                Arc::clone(&ledger),
                random,
            )
        });
        Self {
            seed,
            size,
            sql: sql.collect(),
            ledger,
            streams,
            crowd,
            bridge,
            log_reader,
            proxy,
            server,
            faults: BTreeMap::new(),
            broken: Vec::new(),
            slow: Vec::new(),
            backends_max: 0,
        }
    }

    /// Plays rounds until there are no more, or the time is over.
    pub fn play(
        mut self,
        rounds: impl Iterator<Item = Round>,
        duration: Option<Duration>,
    ) -> Report {
        let started = Instant::now();
        self.wait_until_heard("at the start", started);
        for round in rounds {
            if duration.is_some_and(|it| started.elapsed() >= it)
                || self.crowd.is_over()
                || !self.broken.is_empty()
            {
                break;
            }
            hold(round.calm);
            self.play_round(&round);
        }
        self.crowd.enter(Phase::Gathering);
        while !self.crowd.is_gathered() {
            thread::park_timeout(Duration::from_millis(2));
        }
        self.crowd.enter(Phase::Closing);
        for publisher in self.sql {
            self.broken.extend(publisher.close().err());
        }
        let mut report = Report::new(&self.ledger, self.streams, self.crowd.settle());
        report.seed = self.seed;
        report.lasted = started.elapsed();
        report.channels = self.size.channels;
        report.faults = self.faults;
        report.slow = self.slow;
        report.backends_max = self.backends_max;
        report.broken.append(&mut self.broken);
        report
    }

    fn play_round(&mut self, round: &Round) {
        let harmed: Vec<String> = [
            round.clients.map(|(fault, _)| fault.to_string()),
            round.server.map(|(fault, _)| fault.to_string()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let Some((fault, _)) = round.clients {
            self.harm_clients(fault);
        }
        if let Some((fault, _)) = round.server {
            self.harm_server(fault);
        }
        let lasts = round
            .server
            .map_or_else(|| round.clients.map(|it| it.1), |it| Some(it.1));
        match round.server {
            Some((ServerFault::LockHeld, _)) => self.hold_lock(lasts.unwrap_or_default()),
            Some(_) | None => hold(lasts.unwrap_or_default()),
        }
        self.proxy.order(Side::Clients, Order::Mend);
        if let Some((fault, _)) = round.server {
            self.mend_server(fault);
        }
        let heard = self.wait_until_heard(&harmed.join(", "), Instant::now());
        if let Some(heard) = heard.filter(|it| *it > SLOW) {
            let (log, what) = (self.bridge.log(), harmed.join(", "));
            let from = log.len().saturating_sub(LOG_BYTES_SHOWN);
            let log = log.get(from..).unwrap_or_default();
            self.slow.push(format!("{what}: {heard:?}\n{log}"));
        }
        // If both sides were harmed, the repair of the server counts.
        let cause = harmed.last().cloned();
        for fault in harmed {
            let record = self.faults.entry(fault).or_default();
            record.count += 1;
        }
        if let Some(record) = cause.and_then(|cause| self.faults.get_mut(&cause)) {
            record.heard_after.extend(heard);
        }
    }

    fn harm_clients(&self, fault: ClientFault) {
        let order = match fault {
            ClientFault::CutSome => Order::Cut { percent: 30 },
            ClientFault::CutMidMessage => Order::CutMidMessage { percent: 30 },
            ClientFault::CutAll => Order::Cut { percent: 100 },
            ClientFault::Delay => Order::Delay(Duration::from_millis(80)),
            ClientFault::BlackHole => Order::BlackHole { percent: 30 },
        };
        self.proxy.order(Side::Clients, order);
    }

    fn harm_server(&self, fault: ServerFault) {
        let order = match fault {
            ServerFault::Kill => return self.server.kill9().unwrap(),
            ServerFault::FastRestart => return self.server.stop(StopMode::Fast).unwrap(),
            ServerFault::PausePostgres => return self.server.pause().unwrap(),
            ServerFault::PauseBridge => return self.bridge.signal("STOP"),
            ServerFault::TerminateListening => return self.terminate("= 'alle'"),
            ServerFault::TerminatePublishing => return self.terminate("= 'alle publish'"),
            ServerFault::TerminateBoth => return self.terminate("LIKE 'alle%'"),
            ServerFault::Cut => Order::Cut { percent: 100 },
            ServerFault::CutMidMessage => Order::CutMidMessage { percent: 100 },
            ServerFault::Delay => Order::Delay(Duration::from_millis(80)),
            ServerFault::BlackHole => Order::BlackHole { percent: 100 },
            ServerFault::Refuse => Order::Refuse,
            ServerFault::LockHeld => return self.set_standby("ghost"),
            ServerFault::LogUnread => return self.leave_log_unread(),
        };
        self.proxy.order(Side::Postgres, order);
    }

    /// Commits wait for a standby of this name, if it is not empty.
    fn set_standby(&self, name: &str) {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        self.server.load_sql("postgres", &set).unwrap();
        let reload = "SELECT pg_reload_conf()";
        self.server.load_sql("postgres", reload).unwrap();
    }

    /// Meanwhile each look finds at most one backend more than the sessions that the bridge holds.
    fn hold_lock(&mut self, lasts: Duration) {
        let mut sql = Sql::connect(self.server.port(), "postgres");
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            let count = sql.one(BACKENDS).parse().unwrap();
            self.backends_max = self.backends_max.max(count);
            if count > BACKENDS_MAX {
                self.broken
                    .push(format!("{count} backends serve the bridge"));
                return;
            }
            hold(LOOK_INTERVAL.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// The pipe is full from then on: each of these connections is a line of the log.
    fn leave_log_unread(&self) {
        self.log_reader.stop();
        for _ in 0..LINES_TO_FILL {
            let mut foe = Raw::upgraded(self.bridge.address);
            // A frame that is not masked.
            foe.write(&[0x81, 0]);
            foe.close_code();
        }
    }

    fn mend_server(&self, fault: ServerFault) {
        match fault {
            ServerFault::Kill | ServerFault::FastRestart => self.server.start_again().unwrap(),
            ServerFault::PausePostgres => self.server.resume().unwrap(),
            ServerFault::PauseBridge => self.bridge.signal("CONT"),
            ServerFault::LockHeld => self.set_standby(""),
            ServerFault::LogUnread => self.log_reader.go_on(),
            ServerFault::TerminateListening
            | ServerFault::TerminatePublishing
            | ServerFault::TerminateBoth => {}
            ServerFault::Cut
            | ServerFault::CutMidMessage
            | ServerFault::Delay
            | ServerFault::BlackHole
            | ServerFault::Refuse => self.proxy.order(Side::Postgres, Order::Mend),
        }
    }

    fn terminate(&self, application_name: &str) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name {application_name}"
        );
        self.server.load_sql("postgres", &sql).unwrap();
    }

    /// The time until a client received a number published after `mended_at`.
    fn wait_until_heard(&mut self, after: &str, mended_at: Instant) -> Option<Duration> {
        while !self.ledger.is_heard_from(mended_at) {
            if self.crowd.is_over() {
                return None;
            }
            if mended_at.elapsed() > PATIENCE {
                self.broken
                    .push(format!("{after}: nothing was heard again"));
                return None;
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        Some(mended_at.elapsed())
    }
}

/// The program under test; `ALLE_CHAOS_BINARY` names another one than that built with this test.
fn serve(postgres_url: &str) -> Command {
    let arguments = ["serve", "-w", "127.0.0.1:0", "-p", postgres_url];
    let more = ["--unlisten-delay", "3", "--log-level", "alle=debug,info"];
    let arguments = [&arguments[..], &more].concat();
    match env::var("ALLE_CHAOS_BINARY") {
        Ok(binary) => {
            let mut command = Command::new(binary);
            clean(&mut command);
            command.args(arguments);
            command
        }
        Err(_) => alle_with(&arguments),
    }
}

/// A fault lasts as long as the plan says; its consequences are awaited by a condition.
fn hold(duration: Duration) {
    let until = Instant::now() + duration;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

const SQL_PUBLISHERS: usize = 2;
const BACKENDS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'alle%'";
/// Two sessions, and one that was given up and has not ended.
const BACKENDS_MAX: usize = 3;
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// More than a pipe of 64 KiB holds.
const LINES_TO_FILL: usize = 1_200;
/// A connection that swallows everything is given up after 25 s, and connecting takes up to 5 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two attempts to connect.
const SLOW: Duration = Duration::from_secs(2);
const LOG_BYTES_SHOWN: usize = 3_000;
/// Apart from the plan's.
const SCENE: u64 = 0x5CE1_1E00;
