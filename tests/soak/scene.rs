//! Sets the scene, lets it be quiet, besieges it, and closes the account.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use alle::internals::sandbox::{Sandbox, StopMode};

use crate::{
    audit,
    behaviours::{hostile, stalled},
    crowd::{Crowd, Phase, Shared, Size},
    foes::Foes,
    harness::{Bridge, wait_until},
    ledger::Ledger,
    program::alle_with,
    random::Random,
    report::Report,
    sql_publisher::{Rhythm, SqlPublisher},
    vitals::{Vitals, descriptors, resident_kb},
};

/// The size of the soak.
#[derive(Clone, Copy)]
pub struct Scale {
    pub good: Size,
    pub stalled: usize,
    /// In all; as many of each behaviour, and at least one.
    pub hostile: usize,
    /// How long a stalled one reads nothing: at least, at most.
    pub deaf: [Duration; 2],
    /// Notifications of 7,000 bytes each 40 ms, to all stalled clients.
    pub heavy: usize,
    /// `--client-queue`
    pub client_queue_bytes: usize,
    pub quiet: Duration,
    pub siege: Duration,
}

pub struct Scene {
    scale: Scale,
    bridge: Bridge,
    server: Sandbox,
    ledger: Arc<Ledger>,
    crowd: Crowd,
    sql: Vec<SqlPublisher>,
    random: Random,
    report: Report,
}

impl Scene {
    /// All good clients are connected and active.
    pub fn set_up(scale: Scale) -> Self {
        let mut random = Random::new(0);
        let server = Sandbox::start().unwrap();
        let queue = scale.client_queue_bytes.to_string();
        let url = server.url();
        let bridge = Bridge::run(alle_with(&[
            "serve",
            "-w",
            "127.0.0.1:0",
            "-p",
            &url,
            "--unlisten-delay",
            "3",
            "--client-queue",
            &queue,
        ]));
        bridge.wait_until_ready();
        let report = Report {
            descriptors_alone: fewest_descriptors(&bridge),
            resident_alone_kb: resident_kb(&bridge),
            ..Report::default()
        };
        let channels = scale.good.channels;
        // Each channel has a stream through the bridge and one by SQL; one more is for the stalled.
        let of_streams = (0..channels).chain(0..channels).chain([channels]);
        let ledger = Arc::new(Ledger::new(of_streams.collect()));
        let shared = Shared::new(bridge.address, Arc::clone(&ledger), channels);
        let ours: Vec<_> = (0..channels).collect();
        let crowd = Crowd::start(shared, scale.good, &ours, &mut random).unwrap();
        let by_sql = (channels..2 * channels).collect();
        let mut publish = |streams, rhythm| {
            let random = Random::new(random.bits());
            SqlPublisher::start(server.port(), streams, rhythm, Arc::clone(&ledger), random)
        };
        let sql = vec![
            publish(by_sql, Rhythm::Steady),
            publish(vec![2 * channels], Rhythm::Heavy(scale.heavy)),
        ];
        wait_until("everybody is there", || {
            descriptors(&bridge) >= report.descriptors_alone + scale.good.clients * 9 / 10
        });
        Self {
            scale,
            bridge,
            server,
            ledger,
            crowd,
            sql,
            random,
            report,
        }
    }

    pub fn play(mut self) -> Report {
        let started = Instant::now();
        self.calm(self.scale.quiet / 10);
        self.ledger.take_latencies();
        self.report.metrics[0] = self.metrics();
        self.calm(self.scale.quiet);
        self.report.metrics[1] = self.metrics();
        self.report.quiet = self.ledger.take_latencies();
        self.report.resident_quiet_kb = resident_kb(&self.bridge);
        self.besiege();
        let mut report = self.close();
        report.crowd.lasted = started.elapsed();
        report
    }

    /// Half a period quiet, backends terminated; half a period, and PostgreSQL is restarted.
    fn besiege(&mut self) {
        let address = self.bridge.address;
        let ways = hostile(address);
        let names: Vec<_> = ways.iter().map(|way| way.name).collect();
        let each = self.scale.hostile.div_ceil(ways.len());
        let mut army: Vec<_> = ways.into_iter().map(|way| (way, each)).collect();
        let busy = self.scale.good.channels;
        army.push((stalled(address, busy), self.scale.stalled));
        let random = Random::new(self.random.bits());
        let foes = Foes::start(address, army, self.scale.deaf, random).unwrap();
        self.report.vitals = Vitals::default();
        let rounds = self.scale.siege.as_secs().div_ceil(PERIOD.as_secs()).max(1);
        let half = self.scale.siege / u32::try_from(2 * rounds).unwrap();
        for _ in 0..rounds {
            self.calm(half);
            self.harm("terminate both backends", |server| {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name LIKE 'alle%'";
                server.load_sql("postgres", sql).unwrap();
            });
            self.calm(half);
            self.harm("PostgreSQL: immediate stop, and start", |server| {
                server.stop(StopMode::Immediate).unwrap();
                server.start_again().unwrap();
            });
        }
        wait_until(
            "each behaviour was shown, and a slow consumer closed",
            || {
                let told = foes.told();
                let slow = told.ended.get("stalled reader");
                names.iter().all(|name| told.begun.contains_key(name))
                    && slow.is_some_and(|it| it.contains_key("close 4008"))
            },
        );
        self.report.metrics[2] = self.metrics();
        self.report.foes = foes.withdraw();
    }

    fn metrics(&self) -> String {
        self.bridge.get("/metrics").body
    }

    /// Waits, without any harm.
    fn calm(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.report.vitals.sample(&self.bridge);
            thread::park_timeout(left.min(SAMPLE_INTERVAL));
        }
    }

    /// Numbers that are late because PostgreSQL was down do not count as slow.
    fn harm(&mut self, name: &str, harm: impl FnOnce(&Sandbox)) {
        self.report.siege.merge(&self.ledger.take_latencies());
        harm(&self.server);
        let mended = Instant::now();
        wait_until("something is heard again", || {
            self.ledger.is_heard_from(mended) || self.crowd.is_over()
        });
        let heard_after = mended.elapsed();
        let record = self.report.faults.entry(name.to_owned()).or_default();
        record.count += 1;
        record.heard_after.push(heard_after);
        self.calm((self.scale.quiet / 10).min(SETTLING_MAX));
        self.ledger.take_latencies();
    }

    /// Every good client receives everything; then all leave.
    fn close(self) -> Report {
        let mut report = self.report;
        let alone = report.descriptors_alone;
        self.crowd.enter(Phase::Gathering);
        while !self.crowd.is_gathered() {
            thread::park_timeout(Duration::from_millis(2));
        }
        let open = alone + self.scale.good.clients;
        let is_over = self.crowd.is_over();
        wait_until("no descriptor but those of connected clients", || {
            descriptors(&self.bridge) <= open || is_over
        });
        report.descriptors_gathered = descriptors(&self.bridge);
        report.resident_end_kb = resident_kb(&self.bridge);
        self.crowd.enter(Phase::Closing);
        let unpublished: Vec<_> = self
            .sql
            .into_iter()
            .filter_map(|it| it.close().err())
            .collect();
        let streams = 2 * self.scale.good.channels + 1;
        report.crowd = audit::Report::new(&self.ledger, streams, self.crowd.settle());
        report.crowd.broken.extend(unpublished);
        report.crowd.channels = self.scale.good.channels;
        report.crowd.faults = std::mem::take(&mut report.faults);
        wait_until("no descriptor but its own", || {
            descriptors(&self.bridge) <= alone
        });
        report.descriptors_end = descriptors(&self.bridge);
        report
    }
}

/// The bridge's own: the connections that asked whether it is ready may still be closing.
fn fewest_descriptors(bridge: &Bridge) -> usize {
    let count = |_| {
        thread::park_timeout(Duration::from_millis(5));
        descriptors(bridge)
    };
    (0..20).map(count).min().unwrap()
}

const PERIOD: Duration = Duration::from_secs(60);
/// After harm, before latencies count again.
const SETTLING_MAX: Duration = Duration::from_secs(2);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
