//! The published numbers and their fate: the truth to which deliveries are compared.
//!
//! A stream is one publisher's numbers on one channel, from 0: one number, one transaction's
//! notification, in that order. Knows no socket and no client.

use std::{
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::histogram::Histogram;

/// One publisher on one channel.
pub type Stream = usize;
/// Counts within a stream.
pub type Number = usize;

/// The knowledge about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not answered yet.
    UnderWay,
    /// Committed.
    Acknowledged,
    /// Not committed.
    Refused,
    /// Committed at most once, perhaps late: the connection of its request is lost.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The time before it was handed over.
    pub begun: Instant,
    pub outcome: Outcome,
    /// The time at which the outcome was known.
    pub settled: Option<Instant>,
    pub is_heard: bool,
}

/// All streams; shared by publishers and clients.
pub struct Ledger {
    streams: Mutex<Vec<Vec<Entry>>>,
    channels: Vec<usize>,
    /// The latest `begun` of all numbers received.
    heard_begun: Mutex<Instant>,
    /// From `begun` to a client, for live numbers since the last call.
    latencies: Mutex<Histogram>,
}

impl Ledger {
    /// One stream for each of `channels`.
    pub fn new(channels: Vec<usize>) -> Self {
        Self {
            streams: Mutex::new(vec![Vec::new(); channels.len()]),
            channels,
            heard_begun: Mutex::new(Instant::now()),
            latencies: Mutex::default(),
        }
    }

    pub fn channel(&self, stream: Stream) -> usize {
        self.channels[stream]
    }

    pub fn streams_of(&self, channel: usize) -> impl Iterator<Item = Stream> {
        let channels = self.channels.iter().enumerate();
        channels.filter_map(move |(stream, &of)| (of == channel).then_some(stream))
    }

    /// The next number of a stream, about to be handed over.
    pub fn begin(&self, stream: Stream) -> Number {
        let mut streams = self.lock();
        streams[stream].push(Entry {
            begun: Instant::now(),
            outcome: Outcome::UnderWay,
            settled: None,
            is_heard: false,
        });
        streams[stream].len() - 1
    }

    pub fn settle(&self, stream: Stream, number: Number, outcome: Outcome) {
        let entry = &mut self.lock()[stream][number];
        entry.outcome = outcome;
        entry.settled = Some(Instant::now());
    }

    pub fn outcome(&self, stream: Stream, number: Number) -> Outcome {
        self.lock()[stream][number].outcome
    }

    /// A client received it; `None` if it was never published.
    pub fn hear(&self, stream: Stream, number: Number) -> Option<Entry> {
        let entry = {
            let mut streams = self.lock();
            let entry = streams.get_mut(stream)?.get_mut(number)?;
            entry.is_heard = true;
            *entry
        };
        let mut latest = lock(&self.heard_begun);
        *latest = entry.begun.max(*latest);
        Some(entry)
    }

    /// A number begun at that time arrived live.
    pub fn time(&self, begun: Instant) {
        lock(&self.latencies).add(begun.elapsed());
    }

    pub fn take_latencies(&self) -> Histogram {
        std::mem::take(&mut lock(&self.latencies))
    }

    /// Whether a client received a number begun after `instant`.
    pub fn is_heard_from(&self, instant: Instant) -> bool {
        *lock(&self.heard_begun) > instant
    }

    pub fn entries(&self, stream: Stream) -> Vec<Entry> {
        self.lock()[stream].clone()
    }

    /// The last acknowledged number of a stream.
    pub fn last_acknowledged(&self, stream: Stream) -> Option<Number> {
        let streams = self.lock();
        let is_acknowledged = |entry: &Entry| entry.outcome == Outcome::Acknowledged;
        streams[stream].iter().rposition(is_acknowledged)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Entry>>> {
        lock(&self.streams)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `3:17:xxxx`, stream and number and a filling.
pub fn payload(stream: Stream, number: Number, fill_bytes: usize) -> String {
    let mut text = format!("{stream}:{number}:");
    for _ in 0..fill_bytes {
        text.push('x');
    }
    text
}

/// The stream and the number of a payload, if it is whole.
pub fn parse(payload: &str) -> Option<(Stream, Number)> {
    let mut parts = payload.splitn(3, ':');
    let stream = parts.next()?.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    let is_filled = parts.next()?.bytes().all(|byte| byte == b'x');
    is_filled.then_some((stream, number))
}

pub fn channel_name(channel: usize) -> String {
    let mut name = String::new();
    // Names that must be quoted, too.
    let _ = match channel % 4 {
        0 => write!(name, "c{channel}"),
        1 => write!(name, "Channel {channel}"),
        2 => write!(name, "c\"{channel}\""),
        _ => write!(name, "çà.{channel}"),
    };
    name
}
