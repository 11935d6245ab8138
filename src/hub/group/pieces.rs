//! Notifications on their way from one bridge to another: those that are wished for, and the pieces in
//! which they come.
//!
//! A piece is a whole payload, or a part of one that is larger than a message. Knows the form alone.

use super::{
    super::epoch::Epoch,
    encoding::{EPOCH_BYTES_MAX, Malformed, NUMBER_BYTES_MAX, Reader, Writer, channel_bytes_max},
};
use crate::channel::Channel;

/// An entry of a `Fill`: notifications of one channel, in the numbers of an epoch of the
/// bridge that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) channel: Channel,
    pub(super) epoch: Epoch,
    /// Each one behind this one; `None` for as many as are kept.
    pub(super) after: Option<u64>,
    /// The last one.
    pub(super) through: u64,
}

/// An entry of a `Filled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A notification, or a part of one.
    Text {
        /// Of the wish.
        wish: usize,
        /// Its number in the epoch of the wish.
        seq: u64,
        /// Its place in the sender's order of all channels.
        place: u64,
        is_lossy: bool,
        /// Nothing more of its payload follows.
        is_end: bool,
        bytes: Vec<u8>,
    },
    /// The wish cannot be granted, or no further.
    Gone { wish: usize },
}

impl Wish {
    pub(super) fn bytes_max(&self) -> usize {
        channel_bytes_max(&self.channel) + EPOCH_BYTES_MAX + 2 * NUMBER_BYTES_MAX
    }

    pub(super) fn append_to(&self, out: &mut Writer<'_>) {
        out.channel(&self.channel);
        out.epoch(self.epoch);
        out.number(self.after.map_or(0, |after| after.saturating_add(1)));
        out.number(self.through);
    }

    pub(super) fn parse(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            channel: input.channel()?,
            epoch: input.epoch()?,
            after: input.number()?.checked_sub(1),
            through: input.number()?,
        })
    }
}

impl Piece {
    /// The longest form of what stands beside the payload.
    pub(super) const HEAD_BYTES_MAX: usize = 1 + 4 * NUMBER_BYTES_MAX;

    pub(super) fn append_to(&self, out: &mut Writer<'_>) {
        match self {
            Self::Text {
                wish,
                seq,
                place,
                is_lossy,
                is_end,
                bytes,
            } => {
                out.byte(TEXT + u8::from(*is_lossy) * LOSSY + u8::from(*is_end) * END);
                out.number(*wish as u64);
                out.number(*seq);
                out.number(*place);
                out.text(bytes);
            }
            Self::Gone { wish } => {
                out.byte(GONE);
                out.number(*wish as u64);
            }
        }
    }

    pub(super) fn parse(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = input.byte()?;
        let wish = input.index()?;
        match flags & !(LOSSY | END) {
            TEXT => Ok(Self::Text {
                wish,
                seq: input.number()?,
                place: input.number()?,
                is_lossy: flags & LOSSY != 0,
                is_end: flags & END != 0,
                bytes: input.text()?.to_vec(),
            }),
            GONE if flags == GONE => Ok(Self::Gone { wish }),
            _ => Err(Malformed),
        }
    }
}

/// The kinds of pieces, and what a text may be.
const TEXT: u8 = 0;
const GONE: u8 = 4;
const LOSSY: u8 = 1;
const END: u8 = 2;
