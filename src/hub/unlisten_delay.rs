//! Deserted channels that stay listened to for a while, so that who comes back finds its ring.
//!
//! Knows since when nobody wants a channel; what UNLISTEN takes is `listening`'s.

use super::{deadlines::elapsed, parts::Hub};
use crate::{backend::interest::Interest, channel::ChannelKey, id::Tick};

impl Hub {
    /// Whether the deserted channel is to stay listened to for now.
    pub(super) fn linger(&mut self, key: ChannelKey, now: Tick) -> bool {
        let delay = self.listening.unlisten_delay;
        let state = self.listening.state_mut(key);
        if delay.is_zero() || state.interest != Interest::Listened {
            return false;
        }
        if state.deserted.is_none() {
            state.deserted = Some(now);
            self.listening.lingering.push_back((now, key));
        }
        true
    }

    /// Lets go of channels that were deserted for long enough.
    pub(super) fn end_lingerings(&mut self, now: Tick) {
        while let Some(&(since, key)) = self.listening.lingering.front() {
            if elapsed(since, now) < self.listening.unlisten_delay {
                return;
            }
            self.listening.lingering.pop_front();
            // A channel that was wanted meanwhile, or is another one by now, has another time.
            if self.listening.state_mut(key).deserted == Some(since) {
                self.end_lingering(key);
            }
        }
    }

    /// Lets go of the channel if it lingers.
    fn end_lingering(&mut self, key: ChannelKey) {
        if self.listening.state_mut(key).deserted.take().is_some() {
            self.unwant(key);
        }
    }
}
