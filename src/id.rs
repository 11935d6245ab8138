//! The names of a client and of a moment, as the core uses them.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// The name of a client, for as long as it lives; the next one in its place has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// Its place in every table of clients.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Milliseconds since the start. They wrap after 49 days, so only differences mean something.
pub type Tick = u32;

/// The time between two ticks; none where `from` is the later one. Ticks wrap, so the nearer of
/// the two readings is taken.
pub fn elapsed(from: Tick, to: Tick) -> Duration {
    let between = to.wrapping_sub(from);
    let is_future = between > Tick::MAX / 2;
    Duration::from_millis(if is_future { 0 } else { u64::from(between) })
}

/// The time of a turn: one reading of the shell's clock, in the units that the core counts in.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    now: Instant,
    tick: Tick,
    micros: u64,
    since_1970: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            now,
            tick: 0,
            micros: 0,
            since_1970: Duration::ZERO,
        }
    }

    /// The time is `now` until it is set again.
    pub fn set(&mut self, now: Instant) {
        if self.now == now {
            return;
        }
        let elapsed = now.saturating_duration_since(self.started);
        let milliseconds = elapsed.as_millis() & u128::from(Tick::MAX);
        self.now = now;
        self.tick = Tick::try_from(milliseconds).expect("masked");
        // It never goes back: an earlier fact is not younger than a later one.
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.micros = self.micros.max(micros);
    }

    /// The time of the world is this, until it is set again. It may go back, and is for nothing but
    /// what others dated.
    pub fn set_since_1970(&mut self, since_1970: Duration) {
        self.since_1970 = since_1970;
    }

    /// The time of the world, since 1970; zero where nobody set it.
    pub fn since_1970(&self) -> Duration {
        self.since_1970
    }

    /// The moment.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The moment in milliseconds since the start.
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The moment in microseconds since the start; never falls.
    pub fn micros(&self) -> u64 {
        self.micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_of_the_future_is_now_and_ticks_wrap() {
        for (from, to, milliseconds) in [
            (0, 0, 0),
            (5, 12, 7),
            (12, 5, 0),
            (Tick::MAX, 4, 5),
            (4, Tick::MAX, 0),
        ] {
            assert_eq!(
                elapsed(from, to),
                Duration::from_millis(milliseconds),
                "{from}..{to}"
            );
        }
    }
}
