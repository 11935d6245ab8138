//! What a crowd received, and what it should not have.

use std::{fmt, ops::AddAssign, time::Instant};

use crate::{histogram::Histogram, message::Number};

/// Counts of one round, or of several.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    pub(crate) latency: Histogram,
    pub(crate) faults: Faults,
    /// Of the newest delivery.
    pub(crate) last_at: Option<Instant>,
}

/// Everything that must be zero.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    pub(crate) missing: u64,
    pub(crate) duplicate: u64,
    pub(crate) out_of_order: u64,
    /// Frames that nobody should get, such as errors, and damaged ones.
    pub(crate) unexpected: u64,
    pub(crate) closed: u64,
    /// One of the unexpected.
    pub(crate) sample: Option<String>,
}

impl Tally {
    /// What a whole stands for: what came and what was jumped over.
    pub(crate) fn accounted(&self) -> u64 {
        self.deliveries + self.faults.missing
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.latency.merge(&other.latency);
        self.faults += &other.faults;
    }

    /// A delivery of `number` where `next` was due, of messages that are `step` apart.
    pub(crate) fn count(
        &mut self,
        number: Number,
        next: &mut Number,
        step: u64,
        has_gap: &mut bool,
    ) {
        if number < *next {
            // What came too late had been counted as missing.
            if *has_gap {
                self.faults.out_of_order += 1;
            } else {
                self.faults.duplicate += 1;
            }
            return;
        }
        let skipped = (number - *next) / step;
        *has_gap |= skipped > 0;
        self.faults.missing += skipped;
        *next = number + step;
        self.deliveries += 1;
    }
}

impl Faults {
    pub(crate) fn any(&self) -> bool {
        self.missing + self.duplicate + self.out_of_order + self.unexpected + self.closed > 0
    }

    pub(crate) fn handle_unexpected(&mut self, text: &[u8]) {
        self.unexpected += 1;
        let text = &text[..text.len().min(200)];
        self.sample
            .get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
    }
}

impl AddAssign<&Self> for Faults {
    fn add_assign(&mut self, other: &Self) {
        self.missing += other.missing;
        self.duplicate += other.duplicate;
        self.out_of_order += other.out_of_order;
        self.unexpected += other.unexpected;
        self.closed += other.closed;
        if self.sample.is_none() {
            self.sample.clone_from(&other.sample);
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            missing,
            duplicate,
            out_of_order,
            unexpected,
            closed,
            sample,
        } = self;
        write!(
            f,
            "{missing} missing, {duplicate} duplicate, {out_of_order} out of order, \
             {unexpected} unexpected, {closed} closed"
        )?;
        sample
            .iter()
            .try_for_each(|sample| write!(f, "; one was {sample:?}"))
    }
}
