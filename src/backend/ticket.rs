//! What a session was asked, packed into the number it gives back.

use crate::{channel::ChannelKey, pg::session::Ticket};

/// What a ticket stands for.
pub(super) enum Purpose {
    Listen(ChannelKey),
    Unlisten(ChannelKey),
    /// The oldest transaction that publishes.
    Publish,
    Heartbeat,
    /// What the proof that one hears the other takes of either.
    Probe(u32),
}

impl Purpose {
    pub(super) fn ticket(self) -> Ticket {
        let (kind, number) = match self {
            Self::Listen(key) => (0, key.0),
            Self::Unlisten(key) => (1, key.0),
            Self::Publish => (2, 0),
            Self::Heartbeat => (3, 0),
            Self::Probe(number) => (4, number),
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
            _ => Self::Probe(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_comes_back() {
        for number in [0, 7, u32::MAX] {
            let back = |asked: Purpose| Purpose::from_ticket(asked.ticket());
            let key = ChannelKey(number);
            assert!(matches!(back(Purpose::Listen(key)), Purpose::Listen(it) if it == key));
            assert!(matches!(back(Purpose::Unlisten(key)), Purpose::Unlisten(it) if it == key));
        }
        let back = |asked: Purpose| Purpose::from_ticket(asked.ticket());
        assert!(matches!(back(Purpose::Publish), Purpose::Publish));
        assert!(matches!(back(Purpose::Heartbeat), Purpose::Heartbeat));
        assert!(matches!(back(Purpose::Probe(7)), Purpose::Probe(7)));
    }
}
