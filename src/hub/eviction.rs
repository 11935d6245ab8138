//! Connections that stand in others' way: where there are too many, the oldest of them goes.
//!
//! Knows who is in which crowd. How many are too many, and how one goes, whoever asks decides.

use super::{
    by_age::ByAge,
    parts::{Hub, Phase},
};
use crate::id::{ClientId, Tick};

/// What some connections have in common.
#[derive(Clone, Copy, Debug)]
pub(super) enum EvictionClass {
    /// They came to the admin address.
    Admin,
    /// Their heads are incomplete.
    Unfinished,
    /// There is no room for them: they may stay for a moment.
    Refused,
    /// They have not said who they are.
    Unauthenticated,
    /// Clients that were told to go, or have their answer.
    Ending,
}

/// Who is in each crowd, by age.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    admin: ByAge,
    unfinished: ByAge,
    refused: ByAge,
    guests: ByAge,
    ending: ByAge,
}

impl Eviction {
    fn of(&mut self, crowd: EvictionClass) -> &mut ByAge {
        match crowd {
            EvictionClass::Admin => &mut self.admin,
            EvictionClass::Unfinished => &mut self.unfinished,
            EvictionClass::Refused => &mut self.refused,
            EvictionClass::Unauthenticated => &mut self.guests,
            EvictionClass::Ending => &mut self.ending,
        }
    }
}

impl Hub {
    /// Notes when the connection came into the crowd, if it is in it.
    pub(super) fn note(&mut self, id: ClientId, crowd: EvictionClass, now: Tick) {
        if self.is_in(id, crowd) {
            let mut by_age = std::mem::take(self.crowds.of(crowd));
            by_age.push(id, now, |id| self.is_in(id, crowd));
            *self.crowds.of(crowd) = by_age;
        }
    }

    /// Who is longest in the crowd, and since when.
    pub(super) fn oldest(&mut self, crowd: EvictionClass) -> Option<(ClientId, Tick)> {
        let mut by_age = std::mem::take(self.crowds.of(crowd));
        let oldest = by_age.oldest(|id| self.is_in(id, crowd));
        *self.crowds.of(crowd) = by_age;
        oldest
    }

    /// Of one that was noted, or is to be.
    pub(super) fn is_in(&self, id: ClientId, crowd: EvictionClass) -> bool {
        if !self.is_alive(id) {
            return false;
        }
        let phase = &self.clients[id.slot as usize].phase;
        match crowd {
            // Who is noted there stays until its end.
            EvictionClass::Admin | EvictionClass::Refused => true,
            EvictionClass::Unfinished => matches!(phase, Phase::Handshake(_)),
            EvictionClass::Unauthenticated => matches!(phase, Phase::Unauthenticated { .. }),
            EvictionClass::Ending => {
                let is_told = matches!(phase, Phase::Closing | Phase::Flushing | Phase::Lingering);
                is_told && !self.is_admin(id.slot)
            }
        }
    }
}
