//! Publishes by SQL, past the bridge: single notifications, transactions of several, bursts.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    ledger::{self, Ledger, Number, Outcome, Stream},
    random::Random,
    sql::{Sql, literal},
};

/// A session that is opened again whenever it is lost.
pub struct SqlPublisher {
    is_closing: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl SqlPublisher {
    pub fn start(
        port: u16,
        streams: Vec<Stream>,
        rhythm: Rhythm,
        ledger: Arc<Ledger>,
        random: Random,
    ) -> Self {
        let is_closing = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_closing);
        let mut session = Session {
            port,
            sql: None,
            streams,
            rhythm,
            ledger,
            random,
        };
        let thread = thread::spawn(move || session.run(&told));
        Self { is_closing, thread }
    }

    /// Publishes once more on each stream, and returns when that is committed.
    pub fn close(self) -> Result<(), String> {
        self.is_closing.store(true, Ordering::SeqCst);
        self.thread.join().expect("a publisher does not panic")
    }
}

struct Session {
    port: u16,
    sql: Option<Sql>,
    streams: Vec<Stream>,
    rhythm: Rhythm,
    ledger: Arc<Ledger>,
    random: Random,
}

/// The rhythm of a publisher.
#[derive(Clone, Copy)]
pub enum Rhythm {
    /// Transactions of one notification, sometimes of several.
    Steady,
    /// The same, and sometimes more at once than a channel's history holds.
    Bursts,
    /// This many at a time, as large as permitted.
    Heavy(usize),
}

impl Session {
    fn run(&mut self, is_closing: &AtomicBool) -> Result<(), String> {
        while !is_closing.load(Ordering::SeqCst) {
            thread::park_timeout(PACE);
            let count = match (self.rhythm, self.random.below(100)) {
                (Rhythm::Heavy(count), _) => count,
                (Rhythm::Bursts, 0) => BURST,
                (Rhythm::Bursts | Rhythm::Steady, 1..=10) => 2 + self.random.below(7),
                (Rhythm::Bursts | Rhythm::Steady, _) => 1,
            };
            if count == BURST {
                let stream = self.random.pick(&self.streams);
                self.publish(&vec![stream; BURST]);
            } else {
                let streams: Vec<_> = (0..count)
                    .map(|_| self.random.pick(&self.streams))
                    .collect();
                self.publish(&streams);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for stream in self.streams.clone() {
            while !self.publish(&[stream]) {
                if Instant::now() > deadline {
                    return Err(format!("stream {stream} could not be published on"));
                }
                thread::park_timeout(PACE);
            }
        }
        Ok(())
    }

    /// Runs one transaction; returns whether it was committed.
    fn publish(&mut self, streams: &[Stream]) -> bool {
        if self.sql.is_none() {
            self.sql = Sql::try_connect(self.port, "postgres").ok();
        }
        let Some(sql) = &mut self.sql else {
            return false;
        };
        let mut text = String::from("SELECT ");
        let mut numbers: Vec<(Stream, Number)> = Vec::with_capacity(streams.len());
        for (at, &stream) in streams.iter().enumerate() {
            let number = self.ledger.begin(stream);
            numbers.push((stream, number));
            let channel = literal(&ledger::channel_name(self.ledger.channel(stream)));
            let fill_bytes = match self.rhythm {
                Rhythm::Heavy(_) => 7_000,
                Rhythm::Steady | Rhythm::Bursts => self.random.pick(&[0, 0, 0, 100, 1_000, 7_000]),
            };
            let payload = ledger::payload(stream, number, fill_bytes);
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}pg_notify({channel}, '{payload}')");
        }
        let outcome = match sql.try_run(text.as_bytes()) {
            Ok(Ok(_)) => Outcome::Acknowledged,
            Ok(Err(_)) => Outcome::Refused,
            Err(_) => {
                self.sql = None;
                Outcome::Unknown
            }
        };
        for (stream, number) in numbers {
            self.ledger.settle(stream, number, outcome);
        }
        outcome == Outcome::Acknowledged
    }
}

/// Between two transactions.
const PACE: Duration = Duration::from_millis(40);
/// More than a channel's history: a client that is away meanwhile cannot recover.
const BURST: usize = 150;
const PATIENCE: Duration = Duration::from_secs(60);
