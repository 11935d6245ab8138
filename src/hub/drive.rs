//! Driving a [`Hub`] without a reactor, as tests and fuzzers do.

use super::Hub;
use crate::{
    delivery::outgoing::{Outgoing, Transmit, Written},
    id::ClientId,
};

/// Gives the next bytes, in one piece, to `write`, which says what the client's socket took.
/// Whether there were any.
pub fn transmit(hub: &mut Hub, write: impl FnOnce(ClientId, &[u8]) -> Written) -> bool {
    let has_transmit = hub.has_transmit();
    let Some(Transmit { slot, bytes }) = hub.poll_transmit() else {
        return false;
    };
    assert!(has_transmit, "a hub that has something says so");
    let bytes = match bytes {
        Outgoing::One(bytes) => bytes.to_vec(),
        Outgoing::Many(pieces) => {
            let (slices, count) = pieces.slices();
            slices[..count].iter().flat_map(|it| it.to_vec()).collect()
        }
    };
    assert!(!bytes.is_empty(), "nothing is no reason for a system call");
    let written = write(hub.client_at(slot), &bytes);
    hub.handle_transmitted(written);
    true
}
