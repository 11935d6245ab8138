//! What makes a foreign position ours: for each channel, the constant difference between our
//! numbers and those of other epochs.
//!
//! Two bridges that both hear a channel count the same notifications, so the difference is learned
//! once, at a message that both heard, and holds as long as our own epoch does. An offset that is
//! wrong by one is a loss that nobody sees: one that contradicts another is dropped with it.
//! Refuses to know who said it, and when.

use super::super::epoch::Epoch;

/// The offsets of one channel, those learned last at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets(Vec<(Epoch, i64)>);

/// Two bridges disagree about one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

impl Offsets {
    /// Our number is the other epoch's and this.
    pub(super) fn of(&self, epoch: Epoch) -> Option<i64> {
        let known = self.0.iter().find(|&&(known, _)| known == epoch);
        known.map(|&(_, offset)| offset)
    }

    /// Our number is `own` where that of `epoch` is `theirs`.
    pub(super) fn learn(
        &mut self,
        epoch: Epoch,
        own: u64,
        theirs: u64,
    ) -> Result<(), Contradiction> {
        let offset = difference(own, theirs).ok_or(Contradiction)?;
        let at = self.0.iter().position(|&(known, _)| known == epoch);
        if let Some((_, known)) = at.map(|at| self.0.remove(at))
            && known != offset
        {
            return Err(Contradiction);
        }
        if self.0.len() >= EPOCHS_MAX {
            self.0.remove(0);
        }
        // Most channels know one other epoch for each peer, and there are many channels.
        self.0.reserve_exact(1);
        self.0.push((epoch, offset));
        Ok(())
    }

    /// The offsets that are worth passing on: a position outlives generations of bridges.
    pub(super) fn passed_on(&self) -> Vec<(Epoch, i64)> {
        let from = self.0.len().saturating_sub(PASSED_ON_MAX);
        self.0[from..].to_vec()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// No epoch is there twice, and not too many are.
    pub(super) fn check_invariants(&self, own: Epoch) {
        assert!(self.0.len() <= EPOCHS_MAX);
        for (at, &(epoch, _)) in self.0.iter().enumerate() {
            assert_ne!(epoch, own, "our own numbers need no translation");
            assert!(self.0[..at].iter().all(|&(other, _)| other != epoch));
        }
    }
}

/// `own - theirs`.
fn difference(own: u64, theirs: u64) -> Option<i64> {
    let (own, theirs) = (i64::try_from(own).ok()?, i64::try_from(theirs).ok()?);
    own.checked_sub(theirs)
}

/// Epochs of other bridges that are known of a channel; the one learned first goes first.
const EPOCHS_MAX: usize = 16;
/// So many of them are passed on.
const PASSED_ON_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: u64) -> Epoch {
        Epoch { process: 1, number }
    }

    #[test]
    fn an_offset_is_the_difference_of_two_numbers_at_one_place() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.learn(epoch(1), 10, 3), Ok(()));
        assert_eq!(offsets.learn(epoch(2), 3, 10), Ok(()));
        assert_eq!(offsets.of(epoch(1)), Some(7));
        assert_eq!(offsets.of(epoch(2)), Some(-7));
        assert_eq!(offsets.of(epoch(3)), None);
        assert_eq!(offsets.learn(epoch(1), 12, 5), Ok(()), "the same");
        assert_eq!(offsets.len(), 2);
    }

    #[test]
    fn a_contradiction_leaves_nothing() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.learn(epoch(1), 10, 3), Ok(()));
        assert_eq!(offsets.learn(epoch(1), 10, 4), Err(Contradiction));
        assert_eq!(offsets.of(epoch(1)), None);
        assert_eq!(offsets.learn(epoch(1), 0, u64::MAX), Err(Contradiction));
    }

    #[test]
    fn the_epoch_learned_first_gives_way() {
        let mut offsets = Offsets::default();
        for number in 0..=EPOCHS_MAX as u64 {
            assert_eq!(offsets.learn(epoch(number), number, 0), Ok(()));
            offsets.check_invariants(epoch(99));
        }
        assert_eq!(offsets.of(epoch(0)), None);
        assert_eq!(offsets.of(epoch(1)), Some(1));
        assert_eq!(offsets.passed_on().len(), PASSED_ON_MAX);
        assert_eq!(offsets.passed_on()[0].0, epoch(9));
    }
}
