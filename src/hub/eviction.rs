//! Connections that can be evicted, in classes, the oldest of each first.
//!
//! A connection that left its class stays noted until it would be next, or the notes are twice as
//! many as can be of use. Does not know what a class is: the caller says who is still in it.

use std::collections::VecDeque;

use crate::id::{ClientId, Tick};

/// What some connections have in common.
#[derive(Clone, Copy, Debug)]
pub(super) enum EvictionClass {
    /// They came to the admin address.
    Admin,
    /// They have not said what they want, or not what they want next.
    Unfinished,
    /// They were refused for want of room, and may stay for a moment.
    Refused,
    /// They have not said who they are.
    Unauthenticated,
    /// They were told to go, or have their answer.
    Ending,
}

/// The connections of each class by age.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    classes: [ByAge; 5],
}

impl Eviction {
    /// The connection comes into the class now; `is_in` tells of any that was noted, and when.
    pub(super) fn note(
        &mut self,
        class: EvictionClass,
        id: ClientId,
        now: Tick,
        is_in: impl Fn(ClientId, Tick) -> bool,
    ) {
        self.classes[class as usize].push(id, now, is_in);
    }

    /// The connection that is longest in the class, and since when.
    pub(super) fn oldest(
        &mut self,
        class: EvictionClass,
        is_in: impl Fn(ClientId, Tick) -> bool,
    ) -> Option<(ClientId, Tick)> {
        self.classes[class as usize].oldest(is_in)
    }
}

/// Connections of one class by age, and some that left it.
#[derive(Debug, Default)]
struct ByAge {
    /// With the time at which each came into it.
    ids: VecDeque<(ClientId, Tick)>,
    /// At so many, those that left are sorted out.
    sort_out_at: usize,
}

impl ByAge {
    fn push(&mut self, id: ClientId, now: Tick, is_in: impl Fn(ClientId, Tick) -> bool) {
        if self.ids.len() >= self.sort_out_at {
            self.ids.retain(|&(id, came_at)| is_in(id, came_at));
            self.sort_out_at = SORT_OUT_MIN.max(self.ids.len() * 2);
        }
        self.ids.push_back((id, now));
    }

    fn oldest(&mut self, is_in: impl Fn(ClientId, Tick) -> bool) -> Option<(ClientId, Tick)> {
        while let Some(&(id, came_at)) = self.ids.front() {
            if is_in(id, came_at) {
                return Some((id, came_at));
            }
            self.ids.pop_front();
        }
        None
    }
}

/// Fewer are not worth the look.
const SORT_OUT_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slot: u32) -> ClientId {
        ClientId {
            slot,
            generation: 0,
        }
    }

    #[test]
    fn the_oldest_that_is_still_there_is_next() {
        let mut by_age = ByAge::default();
        for slot in 0..4 {
            by_age.push(client(slot), 10 + slot, |_, _| true);
        }
        assert_eq!(by_age.oldest(|_, _| true), Some((client(0), 10)));
        assert_eq!(by_age.oldest(|it, _| it.slot > 1), Some((client(2), 12)));
        assert_eq!(by_age.oldest(|_, _| false), None);
    }

    #[test]
    fn those_that_left_are_not_kept() {
        let mut by_age = ByAge::default();
        for slot in 0..10_000 {
            by_age.push(client(slot), slot, |it, _| slot - it.slot <= 100);
            assert!(by_age.ids.len() <= 202);
        }
        assert_eq!(
            by_age.oldest(|it, _| it.slot >= 9_900),
            Some((client(9_900), 9_900))
        );
    }
}
