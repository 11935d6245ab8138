//! Memory and descriptors of the bridge's process over time.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::harness::Bridge;

/// How many kilobytes the process has in memory (proc(5), `VmRSS`).
pub fn resident_kb(bridge: &Bridge) -> u64 {
    let status = fs::read_to_string(bridge.proc("status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|it| it.trim().strip_suffix(" kB"));
    kilobytes.unwrap().parse().unwrap()
}

pub fn descriptors(bridge: &Bridge) -> usize {
    fs::read_dir(bridge.proc("fd")).unwrap().count()
}

/// Samples of a while.
pub struct Vitals {
    started: Instant,
    resident_kb: Vec<(Duration, u64)>,
    pub descriptors_max: usize,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            resident_kb: Vec::new(),
            descriptors_max: 0,
        }
    }
}

impl Vitals {
    pub fn sample(&mut self, bridge: &Bridge) {
        let at = self.started.elapsed();
        self.resident_kb.push((at, resident_kb(bridge)));
        self.descriptors_max = self.descriptors_max.max(descriptors(bridge));
    }

    pub fn lasted(&self) -> Duration {
        self.resident_kb.last().map_or(Duration::ZERO, |it| it.0)
    }

    pub fn resident_kb_max(&self) -> u64 {
        self.resident_kb.iter().map(|it| it.1).max().unwrap_or(0)
    }

    /// What it was after `warm_up` and what it came to.
    pub fn trend(&self, warm_up: Duration) -> Option<Trend> {
        let from = self.resident_kb.iter().position(|it| it.0 >= warm_up)?;
        let warm = &self.resident_kb[from..];
        let part = warm.len() / 4;
        (part > 0).then(|| Trend {
            first_kb: mean(&warm[..part]),
            last_kb: mean(&warm[warm.len() - part..]),
            slope_kb_per_minute: slope_per_minute(warm),
        })
    }
}

/// Means of the first and the last quarter, and the line of least squares through all.
pub struct Trend {
    pub first_kb: f64,
    pub last_kb: f64,
    pub slope_kb_per_minute: f64,
}

fn mean(samples: &[(Duration, u64)]) -> f64 {
    samples.iter().map(|it| it.1 as f64).sum::<f64>() / samples.len() as f64
}

fn slope_per_minute(samples: &[(Duration, u64)]) -> f64 {
    let minutes = |at: Duration| at.as_secs_f64() / 60.0;
    let middle = samples.iter().map(|it| minutes(it.0)).sum::<f64>() / samples.len() as f64;
    let height = mean(samples);
    let (mut rise, mut run) = (0.0, 0.0);
    for &(at, kilobytes) in samples {
        let apart = minutes(at) - middle;
        rise += apart * (kilobytes as f64 - height);
        run += apart * apart;
    }
    rise / run
}
