//! Channels whose confirmed LISTEN is held back for a while: nothing counts until it is found out
//! where they stand.
//!
//! Does not know what finds it out.

use super::Channels;
use crate::{channel::ChannelKey, hub::epoch::Epoch};

impl Channels {
    /// The epoch, of which nobody was told, begins with this number.
    pub(in super::super) fn begin_at(&mut self, key: ChannelKey, seq: u64) {
        let state = self.state_mut(key);
        state.before = state.before.wrapping_add(state.seq).wrapping_sub(seq);
        state.seq = seq;
    }

    /// Whether this process gave the epoch its name, also if that has ended since.
    pub(in super::super) fn has_named(&self, epoch: &str) -> bool {
        Epoch::parse(epoch).is_some_and(|it| it.process == self.epoch_seed)
    }

    /// Notifications of the channel, whatever the epoch: the difference between two moments is what came
    /// in between.
    pub(in super::super) fn counted(&self, key: ChannelKey) -> u64 {
        let state = self.state(key);
        state.before.wrapping_add(state.seq)
    }

    /// LISTEN was confirmed a while ago, and the channel counts from now on, where it stands. Whether
    /// it is wanted still.
    pub(in super::super) fn handle_released(&mut self, key: ChannelKey) -> bool {
        self.interests.handle_listened(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        super::{
            super::{pending::Subscribe, unlisten_delay::UnlistenDelay},
            *,
        },
        *,
    };
    use crate::channel::Channel;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn subscribe(channels: &mut Channels) -> Option<(ChannelKey, Subscribe)> {
        let request = Subscribe {
            id: None,
            since: None,
        };
        let asked = channels.subscribe(0, Channel::new("a").unwrap(), request, 10);
        asked.map_err(|(_, _)| "too many").unwrap()
    }

    /// PostgreSQL is asked for no UNLISTEN in between, and the epoch is another one all the same.
    #[test]
    fn what_is_wanted_again_before_its_unlisten_missed_what_came_while_the_session_was_away() {
        let (mut channels, now) = (
            Channels::new(10, UnlistenDelay::new(Some(Duration::ZERO)), 1),
            start(),
        );
        channels.handle_up();
        assert!(subscribe(&mut channels).is_none());
        let key = channels.find("a").unwrap();
        assert!(channels.poll_command().is_some());
        assert!(channels.handle_listened(key));
        channels.pop_waiting(key);
        channels.link(0, key, 0);
        let before = channels.position(key).epoch;
        channels.handle_down(false);
        channels.handle_up();
        assert!(channels.poll_command().is_some());
        channels.unsubscribe(0, key, now);
        assert!(!channels.handle_listened(key));
        assert!(subscribe(&mut channels).is_some(), "it is listened to");
        assert_ne!(channels.position(key).epoch, before);
    }
}
