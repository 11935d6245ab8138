//! How many channels each client pays for, so that no few clients take all the places there are.
//!
//! Each channel in use is paid for by one of its clients. While half of the places are left a client
//! may pay for as many as it likes; from there on the more it pays for the earlier it is refused
//! another, by the square of the places left, as a switch shares its buffer. The last place goes to a
//! client that pays for none. Two clients that share their channels gain nothing, since one of them
//! pays. Knows neither names nor links: which client pays, its owner says.

use std::borrow::Cow;

use crate::{config::Limits, message::ErrorCode};

/// The channels that clients pay for.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By slot of the client; grown on first use.
    paid: Vec<u32>,
}

/// The places that there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// In all.
    pub(super) max: usize,
    /// Not used yet.
    pub(super) left: usize,
}

/// Of which there are as many as there may be, so that a subscribe is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// The client has, or waits for, as many channels as it may.
    Subscriptions,
    /// As many subscribes, of its own or of all, wait already.
    Waiting,
    /// So many channels more may be used, and the client pays for too many to open one.
    Channels { left: usize },
}

impl TooMany {
    /// What the client is told.
    pub(super) fn refusal(self, limits: &Limits) -> (ErrorCode, Cow<'static, str>) {
        let (channels, subscriptions) = (limits.channels_max, limits.subscriptions_max);
        match self {
            Self::Subscriptions => (
                ErrorCode::TooManySubscriptions,
                format!("a client may have {subscriptions} subscriptions").into(),
            ),
            Self::Waiting => (
                ErrorCode::RateLimited,
                "too many subscribes are waiting for PostgreSQL".into(),
            ),
            Self::Channels { left: 0 } => (
                ErrorCode::TooManyChannels,
                format!("the bridge may listen to {channels} channels, and each of them is in use")
                    .into(),
            ),
            Self::Channels { left } => (
                ErrorCode::TooManyChannels,
                format!(
                    "the bridge may listen to {channels} channels, and the {left} that are left \
                     are for clients with fewer of their own"
                )
                .into(),
            ),
        }
    }
}

impl Shares {
    /// How many channels the client pays for.
    pub(super) fn of(&self, slot: u32) -> usize {
        self.paid
            .get(slot as usize)
            .map_or(0, |&paid| paid as usize)
    }

    /// Whether the client may open another channel, where it may have `subscriptions_max`.
    pub(super) fn may_open(&self, slot: u32, subscriptions_max: usize, places: Places) -> bool {
        // A share of 1 while half is left: (2 left / max)^2.
        let [paid, subscriptions, left, max] =
            [self.of(slot), subscriptions_max, places.left, places.max].map(|it| it as u128);
        let share = (4 * left * left).saturating_mul(subscriptions);
        paid * max * max < share
    }

    /// The client that pays for one channel changes.
    pub(super) fn handle_payer(&mut self, before: Option<u32>, after: Option<u32>) {
        if before == after {
            return;
        }
        if let Some(slot) = before {
            debug_assert!(self.of(slot) > 0, "it paid for that channel");
            self.paid[slot as usize] -= 1;
        }
        if let Some(slot) = after {
            if self.paid.len() <= slot as usize {
                self.paid.resize(slot as usize + 1, 0);
            }
            self.paid[slot as usize] += 1;
        }
    }

    /// The counts are those of the payers.
    pub(super) fn check_invariants(&self, payers: impl Iterator<Item = u32>) {
        let mut left = self.paid.clone();
        for slot in payers {
            left[slot as usize] -= 1;
        }
        assert!(left.iter().all(|&paid| paid == 0), "{left:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 20_000;
    const SUBSCRIPTIONS: usize = 1_000;

    fn may_open(shares: &Shares, slot: u32, left: usize) -> bool {
        let places = Places { max: PLACES, left };
        shares.may_open(slot, SUBSCRIPTIONS, places)
    }

    #[test]
    fn the_fewer_places_are_left_the_fewer_channels_a_client_may_pay_for() {
        for (left, paid_max) in [
            (0, 0),
            (1, 1),
            (316, 1),
            (317, 2),
            (2_000, 40),
            (5_000, 250),
            (9_999, 1_000),
            (10_000, 1_000),
        ] {
            let mut shares = Shares::default();
            while shares.of(3) < SUBSCRIPTIONS && may_open(&shares, 3, left) {
                shares.handle_payer(None, Some(3));
            }
            assert_eq!(shares.of(3), paid_max, "{left}");
        }
    }

    /// Each takes what it can get, one after the other or in turns; and a newcomer comes.
    #[test]
    fn greedy_clients_leave_places_for_a_newcomer() {
        for (clients, newcomer) in [(1, 1_000), (10, 800), (60, 25), (300, 1)] {
            for is_in_turns in [false, true] {
                let mut shares = Shares::default();
                let mut left = PLACES;
                let mut is_over = false;
                while !is_over {
                    is_over = true;
                    for slot in 0..clients {
                        while shares.of(slot) < SUBSCRIPTIONS && may_open(&shares, slot, left) {
                            shares.handle_payer(None, Some(slot));
                            left -= 1;
                            is_over = false;
                            if is_in_turns {
                                break;
                            }
                        }
                    }
                }
                while shares.of(clients) < SUBSCRIPTIONS && may_open(&shares, clients, left) {
                    shares.handle_payer(None, Some(clients));
                    left -= 1;
                }
                let got = shares.of(clients);
                assert!(got >= newcomer, "{got} beside {clients}, {is_in_turns}");
            }
        }
    }

    #[test]
    fn limits_of_any_size_are_reckoned_with() {
        let mut shares = Shares::default();
        shares.handle_payer(None, Some(0));
        let max = u32::MAX as usize;
        let places = |left| Places { max, left };
        assert!(shares.may_open(0, usize::MAX, places(max)));
        assert!(shares.may_open(1, usize::MAX, places(1)));
        assert!(!shares.may_open(1, usize::MAX, places(0)));
        let none = Places { max: 0, left: 0 };
        assert!(!shares.may_open(0, 0, none));
    }
}
