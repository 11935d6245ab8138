//! Input of clients that is left for later: the rest of a read at whose middle the turn's work was
//! done, or the client had asked for more than it may.
//!
//! Owns the bytes and their number, and which clients go on in the next turn.

use std::collections::HashMap;

use crate::id::ClientId;

/// By slot of the client.
#[derive(Debug, Default)]
pub(super) struct Unparsed {
    inputs: HashMap<u32, Vec<u8>>,
    bytes: usize,
    /// Clients whose input goes on in the next turn.
    stopped: Vec<ClientId>,
}

impl Unparsed {
    /// Keeps the rest of the client's input, which had none left.
    pub(super) fn keep(&mut self, slot: u32, rest: &[u8]) {
        self.bytes += rest.len();
        let before = self.inputs.insert(slot, rest.to_vec());
        debug_assert!(before.is_none(), "what was left was taken before");
    }

    /// The client's input goes on in the next turn.
    pub(super) fn stop(&mut self, client: ClientId) {
        self.stopped.push(client);
    }

    /// Those clients, in the order in which they stopped.
    pub(super) fn take_stopped(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.stopped)
    }

    /// Takes what is left of the client's input, where something is.
    pub(super) fn take(&mut self, slot: u32) -> Option<Vec<u8>> {
        let rest = self.inputs.remove(&slot)?;
        self.bytes -= rest.len();
        Some(rest)
    }

    /// Bytes left of the client's input.
    pub(super) fn bytes_of(&self, slot: u32) -> usize {
        self.inputs.get(&slot).map_or(0, Vec::len)
    }

    /// Bytes left of all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts are those of the inputs.
    pub(super) fn check_invariants(&self) {
        assert_eq!(
            self.bytes,
            self.inputs.values().map(Vec::len).sum::<usize>()
        );
        assert!(self.inputs.values().all(|input| !input.is_empty()));
    }
}
