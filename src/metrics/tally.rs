//! One number for each member of a closed set.

/// Counts by key; every key is there from the start, with zero.
#[derive(Clone, Copy, Debug)]
pub struct Tally<K, const N: usize> {
    keys: [K; N],
    counts: [u64; N],
}

impl<K: Copy + PartialEq, const N: usize> Tally<K, N> {
    /// Nothing counted yet.
    pub fn new(keys: [K; N]) -> Self {
        Self {
            keys,
            counts: [0; N],
        }
    }

    /// One more of this.
    pub fn add(&mut self, key: K) {
        let place = self.keys.iter().position(|known| *known == key);
        debug_assert!(place.is_some(), "the set of keys is closed");
        if let Some(place) = place {
            self.counts[place] += 1;
        }
    }

    /// How many of this; 0 for what is no key.
    pub fn count(&self, key: K) -> u64 {
        let mut of_key = self.iter().filter(|(known, _)| *known == key);
        of_key.next().map_or(0, |(_, count)| count)
    }

    /// Every key with its number, in the order of the set.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> {
        self.keys.iter().copied().zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_from_the_start() {
        let mut tally = Tally::new(["a", "b"]);
        tally.add("b");
        tally.add("b");
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("a", 0), ("b", 2)]);
        assert_eq!((tally.count("b"), tally.count("c")), (2, 0));
    }
}
