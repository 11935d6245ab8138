//! The operations of a session, each packed into the number that comes back with its answer.
//!
//! Knows nothing of the answers.

use crate::{
    channel::ChannelKey,
    pg::{function::Form, session::Ticket},
};

/// The operation that a ticket names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Listen(ChannelKey),
    Unlisten(ChannelKey),
    /// The oldest transaction of publishes under way.
    Publish,
    Heartbeat,
    LockHolder,
    /// The LISTEN of the control channel.
    Control,
    /// The question about the backends of peers.
    Present,
    /// The question about the backends that are in the group.
    Members,
    /// The LISTEN or the NOTIFY of the probe with this number.
    Probe(u32),
    /// Whether the function can be called in this form.
    Check(Form),
    /// The question of this number to the function.
    Call(u32),
}

impl Operation {
    pub(super) fn ticket(self) -> Ticket {
        let (kind, number) = match self {
            Self::Listen(key) => (0, key.0),
            Self::Unlisten(key) => (1, key.0),
            Self::Publish => (2, 0),
            Self::Heartbeat => (3, 0),
            Self::LockHolder => (4, 0),
            Self::Probe(number) => (5, number),
            Self::Control => (6, 0),
            Self::Present => (7, 0),
            Self::Check(Form::Three) => (8, 0),
            Self::Check(Form::One) => (8, 1),
            Self::Call(number) => (9, number),
            Self::Members => (10, 0),
        };
        Ticket(kind << 32 | u64::from(number))
    }

    pub(super) fn from_ticket(Ticket(ticket): Ticket) -> Self {
        let number = u32::try_from(ticket & u64::from(u32::MAX)).expect("masked");
        match ticket >> 32 {
            0 => Self::Listen(ChannelKey(number)),
            1 => Self::Unlisten(ChannelKey(number)),
            2 => Self::Publish,
            3 => Self::Heartbeat,
            4 => Self::LockHolder,
            5 => Self::Probe(number),
            6 => Self::Control,
            7 => Self::Present,
            8 if number == 0 => Self::Check(Form::Three),
            8 => Self::Check(Form::One),
            9 => Self::Call(number),
            _ => Self::Members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_comes_back_from_its_ticket() {
        let mut operations = vec![
            Operation::Publish,
            Operation::Heartbeat,
            Operation::LockHolder,
            Operation::Control,
            Operation::Present,
            Operation::Check(Form::Three),
            Operation::Check(Form::One),
            Operation::Members,
        ];
        for number in [0, 7, u32::MAX] {
            operations.extend([
                Operation::Listen(ChannelKey(number)),
                Operation::Unlisten(ChannelKey(number)),
                Operation::Probe(number),
                Operation::Call(number),
            ]);
        }
        for operation in operations {
            assert_eq!(Operation::from_ticket(operation.ticket()), operation);
        }
    }
}
