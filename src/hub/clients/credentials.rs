//! What clients came in with, and whether they know of its end.
//!
//! Knows no rule: what a credential lets its client do is `access`'s to say.

use std::time::Duration;

use super::{Clients, Phase};
use crate::{access::Credential, id::Tick};

/// The end of a client's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Ending {
    /// Until then.
    pub(in crate::hub) left: Duration,
    /// The client was told.
    pub(in crate::hub) is_told: bool,
}

impl Clients {
    /// What the client came in with, if messages flow.
    pub(in crate::hub) fn credential(&self, slot: u32) -> Option<&Credential> {
        self.phase(slot)?.credential()
    }

    /// The end of what the client came in with, where it has one.
    pub(in crate::hub) fn ending(&self, slot: u32, since_1970: Duration) -> Option<Ending> {
        let end = self.credential(slot)?.ends_at()?;
        Some(Ending {
            left: end.saturating_sub(since_1970),
            is_told: self.records[slot as usize].is_end_told,
        })
    }

    /// It is told that its token comes to its end.
    pub(in crate::hub) fn note_end_told(&mut self, slot: u32) {
        self.records[slot as usize].is_end_told = true;
    }

    /// The client says who it is, for the first time or again. Whether it may do something else than
    /// before. Wrong tokens are not forgiven: a client with a right one has no more wrong ones to try
    /// than any other.
    pub(in crate::hub) fn authenticate(&mut self, slot: u32, new: Credential, now: Tick) -> bool {
        let client = &mut self.records[slot as usize];
        client.is_end_told = false;
        // The end of the new one may be nearer.
        self.looks[slot as usize] = now;
        let failures = match &mut client.phase {
            Phase::Open {
                token: Some(old), ..
            } if old.grants_the_same(&new) => {
                **old = new;
                return false;
            }
            Phase::Unauthenticated { failures } | Phase::Open { failures, .. } => *failures,
            Phase::Handshake(_)
            | Phase::Http(_)
            | Phase::Closing
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Removed => return false,
        };
        let phase = Phase::Open {
            pinged: false,
            failures,
            token: Some(Box::new(new)),
        };
        self.set_phase(slot, phase, now);
        true
    }
}

impl Ending {
    /// Whether it is time to tell the client.
    pub(in crate::hub) fn is_to_be_told(&self) -> bool {
        !self.is_told && self.left <= NOTICE
    }

    /// How long there is nothing to do about it.
    pub(in crate::hub) fn next_look(self) -> Duration {
        if self.is_told {
            self.left
        } else {
            self.left.saturating_sub(NOTICE)
        }
    }
}

/// So long before the end of its token a client is told.
const NOTICE: Duration = Duration::from_secs(60);
