//! What the shell keeps for clients, in bytes: none for most, so it takes nothing of their records.
//!
//! Owns the numbers; knows nothing of what the bytes are.

use std::collections::HashMap;

/// By slot of the client.
#[derive(Debug, Default)]
pub(super) struct ShellBytes {
    kept: HashMap<u32, usize>,
    bytes: usize,
}

impl ShellBytes {
    /// So many are kept for the client from now on.
    pub(super) fn note(&mut self, slot: u32, bytes: usize) {
        let before = match bytes {
            0 if self.kept.is_empty() => return,
            0 => self.kept.remove(&slot),
            bytes => self.kept.insert(slot, bytes),
        };
        self.bytes = self.bytes + bytes - before.unwrap_or(0);
    }

    /// For the client.
    pub(super) fn bytes_of(&self, slot: u32) -> usize {
        self.kept.get(&slot).copied().unwrap_or(0)
    }

    /// For all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of all is that of each.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.bytes, self.kept.values().sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_once_and_forgotten_with_its_client() {
        let mut shell = ShellBytes::default();
        for (slot, bytes, of_all) in [(3, 0, 0), (3, 7, 7), (4, 10, 17), (3, 2, 12), (4, 0, 2)] {
            shell.note(slot, bytes);
            assert_eq!((shell.bytes_of(slot), shell.bytes()), (bytes, of_all));
            shell.check_invariants();
        }
        assert_eq!(shell.bytes_of(9), 0);
    }
}
