//! The work of one turn, in units, against its budget: nothing that clients do makes a turn longer.
//!
//! A unit is about what the smallest message costs. Whoever has work that may be large asks
//! `Work::is_spent` before each piece and leaves the rest for the next turn. Knows no clock: the
//! bound holds by construction, on any machine.

/// The units of the turn.
#[derive(Debug, Default)]
pub(super) struct Work {
    units: usize,
    /// Units of the turn before.
    last_units: usize,
    /// The turn before left something for this one.
    is_behind: bool,
}

impl Work {
    /// So many units are done.
    pub(super) fn spend(&mut self, units: usize) {
        self.units += units;
    }

    /// Whether the rest is for the next turn.
    pub(super) fn is_spent(&self) -> bool {
        self.units >= UNITS_PER_TURN
    }

    /// Whether nothing more is to be read in this turn: where the one before left something, half of
    /// this one is for that, or those who never stop sending would have it wait for ever.
    pub(super) fn is_input_spent(&self) -> bool {
        let share = if self.is_behind { 2 } else { 1 };
        self.units >= UNITS_PER_TURN / share
    }

    /// The turn ends; `is_behind` tells whether it leaves something for the next one.
    pub(super) fn end_turn(&mut self, is_behind: bool) {
        self.last_units = std::mem::take(&mut self.units);
        self.is_behind = is_behind;
    }

    /// Whether the next turn is wanted at once.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Units of the turn before.
    pub(super) fn last_units(&self) -> usize {
        self.last_units
    }
}

/// Some 2 ms of what costs a unit.
pub const UNITS_PER_TURN: usize = 2_000;
/// Bytes of a message that cost a unit.
const BYTES_A_UNIT: usize = 2_048;
/// Comparisons of a name with a pattern that cost a unit.
const COMPARISONS_A_UNIT: usize = 16;
/// Tokens that are read again for a unit.
pub(super) const TOKENS_A_UNIT: usize = 8;
/// Links that are cut, or channels that are let go of, for a unit.
pub(super) const LINKS_A_UNIT: usize = 4;
/// Channels of a client that are looked at, one after the other, for a unit.
pub(super) const LOOKS_A_UNIT: usize = 256;
/// Verifying a JWT: its signature, mostly.
pub(super) const JWT_UNITS: usize = 150;
/// Telling of a gap: a frame that is the first of its channel, and so a batch, too.
pub(super) const GAP_UNITS: usize = 2;
/// Closing a client.
pub(super) const CLOSE_UNITS: usize = 4;

/// What a message of so many bytes costs, whatever it asks for.
pub(super) fn message_units(bytes: usize) -> usize {
    1 + bytes / BYTES_A_UNIT
}

/// What so many comparisons of a name with a pattern cost.
pub(super) fn rule_units(comparisons: usize) -> usize {
    1 + comparisons / COMPARISONS_A_UNIT
}
