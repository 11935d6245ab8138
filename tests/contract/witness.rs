//! A session that publishes all the time, and a client that knows the numbers it has to receive.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use crate::{client::Client, harness::Bridge, sql::Sql};

const CHANNEL: &str = "steady";

/// Publishes 1, 2, 3, ... one after the other, in a session of its own, at the first of some
/// servers that is up; stops when dropped.
pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ports: Vec<u16>,
    stop: AtomicBool,
    committed: AtomicU64,
    /// The numbers whose outcome is unknown.
    unknown: Mutex<BTreeSet<u64>>,
}

impl Publisher {
    /// Publishes to the servers on these ports.
    pub fn start(ports: &[u16]) -> Self {
        let shared = Arc::new(Shared {
            ports: ports.to_vec(),
            stop: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            unknown: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || of_thread.publish()));
        Self { shared, thread }
    }

    /// The last number that is committed for sure.
    pub fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::SeqCst)
    }

    fn is_unknown(&self, number: u64) -> bool {
        self.shared.unknown.lock().unwrap().contains(&number)
    }
}

impl Shared {
    fn publish(&self) {
        let mut session = None;
        let mut number = 0;
        while !self.stop.load(Ordering::SeqCst) {
            thread::park_timeout(INTERVAL);
            let connect = |port: &u16| Sql::try_connect(*port, "postgres").ok();
            let Some(mut sql) = session
                .take()
                .or_else(|| self.ports.iter().find_map(connect))
            else {
                continue;
            };
            number += 1;
            if sql.try_notify(CHANNEL, &number.to_string()).is_ok() {
                self.committed.store(number, Ordering::SeqCst);
                session = Some(sql);
            } else {
                self.unknown.lock().unwrap().insert(number);
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A server that no longer answers holds it up for a while: the test does not wait for
            // that.
            thread.thread().unpark();
        }
    }
}

/// A subscriber of the publisher that checks every number: unless it was told of a gap, each
/// committed number follows the one before it.
pub struct Witness<'a> {
    client: Client,
    publisher: &'a Publisher,
    /// The last number; `None` at a gap.
    last: Option<u64>,
}

/// A message to a witness.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Number(u64),
    Down,
    Gap,
    Up,
}

impl<'a> Witness<'a> {
    pub fn subscribe(bridge: &Bridge, publisher: &'a Publisher) -> Self {
        let mut client = bridge.client();
        client.wait_at_most(PATIENCE);
        client.subscribe(CHANNEL);
        let mut witness = Self {
            client,
            publisher,
            last: None,
        };
        witness.hear_a_number_after(0);
        witness
    }

    /// The next message that matters.
    #[track_caller]
    fn hear(&mut self) -> Heard {
        loop {
            let message = self.client.next();
            return match (&message["type"], &message["postgres"]) {
                (Value::String(kind), _) if kind == "notification" => {
                    let number: u64 = message["payload"].as_str().unwrap().parse().unwrap();
                    if self.publisher.is_unknown(number) {
                        continue;
                    }
                    self.check(number);
                    Heard::Number(number)
                }
                (Value::String(kind), _) if kind == "gap" => {
                    assert_eq!(message["channel"], CHANNEL);
                    self.last = None;
                    Heard::Gap
                }
                (_, Value::String(status)) if status == "down" => Heard::Down,
                (_, Value::String(status)) if status == "up" => Heard::Up,
                _ => panic!("{message}"),
            };
        }
    }

    /// Receives numbers and nothing else until one is beyond `number`.
    #[track_caller]
    pub fn hear_a_number_after(&mut self, number: u64) {
        loop {
            let heard = self.hear();
            let Heard::Number(heard) = heard else {
                panic!("{heard:?} before a number over {number}");
            };
            if heard > number {
                return;
            }
        }
    }

    /// Receives numbers until PostgreSQL is reported as down.
    #[track_caller]
    pub fn hear_of_the_outage(&mut self) {
        self.hear_numbers_until(&Heard::Down);
    }

    /// After `down`: a gap and nothing before it, then `up` and numbers again.
    #[track_caller]
    pub fn hear_of_the_return(&mut self) {
        assert_eq!(self.hear(), Heard::Gap);
        self.hear_numbers_until(&Heard::Up);
        self.hear_a_number_after(0);
    }

    #[track_caller]
    fn hear_numbers_until(&mut self, last: &Heard) {
        loop {
            let heard = self.hear();
            if heard == *last {
                return;
            }
            assert!(
                matches!(heard, Heard::Number(_)),
                "{heard:?} before {last:?}"
            );
        }
    }

    fn check(&mut self, number: u64) {
        if let Some(last) = self.last {
            let next = (last + 1..).find(|next| !self.publisher.is_unknown(*next));
            assert_eq!(Some(number), next, "after {last}, and without a gap");
        }
        self.last = Some(number);
    }
}

/// Longer than the time after which silence counts as a loss.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two notifications, about.
const INTERVAL: Duration = Duration::from_millis(1);
