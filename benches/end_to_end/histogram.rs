//! Times, counted in steps of under 1.6 %, so that millions of them take no room.

use std::time::Duration;

/// How often each time was seen: 64 steps for each power of two of nanoseconds.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS * POWERS],
            total: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let step = step_of(nanoseconds).min(self.counts.len() - 1);
        self.counts[step] += 1;
        self.total += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The time that so many of a thousand did not exceed, in milliseconds.
    pub(crate) fn milliseconds_at(&self, per_mille: u64) -> f64 {
        let rank = (self.total * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(step) / 1e6;
            }
        }
        f64::NAN
    }
}

fn step_of(nanoseconds: u64) -> usize {
    let power = (64 - nanoseconds.leading_zeros() as usize).saturating_sub(STEP_BITS + 1);
    let within = usize::try_from(nanoseconds >> power).expect("at most 2 * STEPS");
    power * STEPS + within
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a few hundred at most, and powers of two"
)]
fn middle_of(step: usize) -> f64 {
    let power = (step / STEPS).saturating_sub(1);
    let within = step - power * STEPS;
    (within as f64 + 0.5) * (1_u64 << power) as f64
}

const STEP_BITS: usize = 6;
const STEPS: usize = 1 << STEP_BITS;
/// Up to 2^39 ns: nine minutes.
const POWERS: usize = 34;
