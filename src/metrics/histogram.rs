//! How often a value was how large, in fixed buckets.

/// Observed values by bucket. Observing costs a search in a few bounds and two additions.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// The largest value of each bucket, ascending; there is one more bucket above them all.
    bounds: &'static [u64],
    /// By bucket, each for itself; those behind `bounds.len()` stay zero.
    counts: [u64; BUCKETS_MAX],
    sum: u64,
    /// As many make one unit of the page.
    per_unit: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        debug_assert!(bounds.len() < BUCKETS_MAX && bounds.is_sorted());
        Self {
            bounds,
            counts: [0; BUCKETS_MAX],
            sum: 0,
            per_unit,
        }
    }

    /// Counts a value, in the unit of the histogram.
    pub fn observe(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum = self.sum.wrapping_add(value);
    }

    /// How many values were observed.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn per_unit(&self) -> f64 {
        self.per_unit
    }

    /// Each bound with how many values were at most that.
    pub(super) fn cumulated(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.bounds.iter().zip(self.counts);
        counts.scan(0, |below, (&bound, count)| {
            *below += count;
            Some((bound, *below))
        })
    }
}

/// The one above all bounds included.
const BUCKETS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_a_bound_is_below_it() {
        let mut histogram = Histogram::new(&[1, 10, 100], 1.0);
        for value in [0, 1, 2, 9, 10, 11, 100, 101] {
            histogram.observe(value);
        }
        let cumulated: Vec<_> = histogram.cumulated().collect();
        assert_eq!(cumulated, [(1, 2), (10, 5), (100, 7)]);
        assert_eq!((histogram.count(), histogram.sum()), (8, 234));
    }

    #[test]
    fn the_sum_wraps_as_counters_do() {
        let mut histogram = Histogram::new(&[1_000], 1.0);
        histogram.observe(1_500);
        histogram.observe(u64::MAX);
        assert_eq!((histogram.count(), histogram.sum()), (2, 1_499));
    }
}
