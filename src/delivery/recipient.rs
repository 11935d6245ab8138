//! What a fan-out reads and writes of a client: 16 bytes.

/// The delivery record of one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipient {
    /// The client was given every frame of its channels up to this one.
    pub(super) seen: u64,
    /// The key of its outbound queue, or [`NO_BACKLOG`].
    pub(super) backlog: u32,
    pub(super) flags: u32,
}

impl Recipient {
    pub(super) fn is(self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Its lane: of no meaning before its first frame.
    pub(super) fn lane(self) -> usize {
        usize::from(self.is(SECOND_LANE))
    }

    /// The key of its outbound queue, where it has one.
    pub(super) fn backlog_key(self) -> Option<usize> {
        (self.backlog != NO_BACKLOG).then_some(self.backlog as usize)
    }
}

impl Default for Recipient {
    fn default() -> Self {
        Self {
            seen: 0,
            backlog: NO_BACKLOG,
            flags: 0,
        }
    }
}

pub(super) const NO_BACKLOG: u32 = u32::MAX;

/// It takes part in fan-outs.
pub(super) const OWED: u32 = 1;
/// It is in `Delivery::ready`.
pub(super) const READY: u32 = 2;
/// The socket took less than it was given and has not said since that it takes more.
pub(super) const BLOCKED: u32 = 4;
/// It is owed more than it may be, and gets nothing more.
pub(super) const OVERFLOWED: u32 = 8;
/// Its frames are those of the second lane.
pub(super) const SECOND_LANE: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_16_bytes() {
        assert_eq!(size_of::<Recipient>(), 16);
    }
}
