//! Channels that clients of other bridges want: we listen to them too, so that those clients find
//! here what they missed there.
//!
//! A bridge that dies leaves its channels to us for a while: its clients are on their way. Refuses
//! to know whether clients of ours want a channel as well, and whether there is room for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::encoding::BridgeId;
use crate::channel::Channel;

/// All channels that peers want, or wanted a short while ago.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    by_channel: BTreeMap<Channel, Mirror>,
    /// No later than the first [`Mirror::until`].
    due: Option<Instant>,
}

#[derive(Debug, Default)]
struct Mirror {
    peers: Vec<BridgeId>,
    /// When it is let go; `None` if `peers` is not empty.
    until: Option<Instant>,
}

impl Mirrors {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_channel.len()
    }

    /// Every channel.
    pub(super) fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.by_channel.keys()
    }

    /// Clients of the peer want the channel. Returns whether that is mirrored only now.
    pub(super) fn want(&mut self, channel: &Channel, peer: BridgeId) -> bool {
        let is_new = !self.by_channel.contains_key(channel);
        let mirror = self.by_channel.entry(channel.clone()).or_default();
        mirror.until = None;
        if !mirror.peers.contains(&peer) {
            mirror.peers.push(peer);
        }
        is_new
    }

    /// Clients of a bridge that may be gone want the channel: unless another one does, it is kept for
    /// a while. Returns whether that is mirrored only now.
    pub(super) fn keep(&mut self, channel: &Channel, now: Instant) -> bool {
        let is_new = !self.by_channel.contains_key(channel);
        if is_new {
            let until = now + LEFT_BEHIND_FOR;
            self.due.get_or_insert(until);
            let mirror = self.by_channel.entry(channel.clone()).or_default();
            mirror.until = Some(until);
        }
        is_new
    }

    /// Clients of the peer do not want the channel any more. Returns whether nobody does.
    pub(super) fn unwant(&mut self, channel: &Channel, peer: BridgeId) -> bool {
        let Some(mirror) = self.by_channel.get_mut(channel) else {
            return false;
        };
        let before = mirror.peers.len();
        mirror.peers.retain(|&other| other != peer);
        let is_last = before > 0 && mirror.peers.is_empty();
        if is_last {
            self.by_channel.remove(channel);
        }
        is_last
    }

    /// The peer is gone, or is about to say anew what it wants: until then, or for a while, its
    /// channels are kept.
    pub(super) fn leave_behind(&mut self, peer: BridgeId, now: Instant) {
        let until = now + LEFT_BEHIND_FOR;
        for mirror in self.by_channel.values_mut() {
            let before = mirror.peers.len();
            mirror.peers.retain(|&other| other != peer);
            if before > 0 && mirror.peers.is_empty() {
                mirror.until = Some(until);
                self.due.get_or_insert(until);
            }
        }
    }

    /// Channels that were left behind for long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Channel> {
        let mut unwanted = Vec::new();
        if self.due.is_some_and(|due| due <= now) {
            self.by_channel.retain(|channel, mirror| {
                let is_over = mirror.until.is_some_and(|until| until <= now);
                if is_over {
                    unwanted.push(channel.clone());
                }
                !is_over
            });
            self.due = self.by_channel.values().filter_map(|it| it.until).min();
        }
        unwanted
    }

    /// Nothing is mirrored any more; what was.
    pub(super) fn clear(&mut self) -> Vec<Channel> {
        std::mem::take(self).by_channel.into_keys().collect()
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// A channel that nobody wants is let go some time.
    pub(super) fn check_invariants(&self) {
        for (channel, mirror) in &self.by_channel {
            assert_eq!(mirror.peers.is_empty(), mirror.until.is_some(), "{channel}");
            let is_due = |until| self.due.is_some_and(|due| due <= until);
            assert!(mirror.until.is_none_or(is_due), "{channel}");
        }
    }
}

/// Clients come back within seconds, unless their network is gone for longer.
const LEFT_BEHIND_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const B: BridgeId = BridgeId(2);
    const C: BridgeId = BridgeId(3);

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    #[test]
    fn a_channel_is_mirrored_as_long_as_a_peer_wants_it() {
        let mut mirrors = Mirrors::default();
        let a = channel("a");
        assert!(mirrors.want(&a, B));
        assert!(!mirrors.want(&a, C) && !mirrors.want(&a, C));
        assert!(!mirrors.unwant(&a, B) && !mirrors.unwant(&a, B));
        assert!(mirrors.unwant(&a, C));
        assert!(!mirrors.unwant(&a, C), "once");
        assert_eq!(mirrors.count(), 0);
    }

    #[test]
    fn a_channel_of_nobody_that_is_known_is_kept_for_a_while() {
        let now = start();
        let mut mirrors = Mirrors::default();
        let (a, b) = (channel("a"), channel("b"));
        assert!(mirrors.keep(&a, now) && !mirrors.keep(&a, now));
        assert!(mirrors.want(&b, B) && !mirrors.keep(&b, now));
        mirrors.check_invariants();
        assert_eq!(mirrors.handle_timeout(now + LEFT_BEHIND_FOR), [a]);
        assert_eq!(mirrors.channels().collect::<Vec<_>>(), [&b]);
    }

    #[test]
    fn a_peer_that_is_gone_leaves_its_channels_for_a_while() {
        let now = start();
        let mut mirrors = Mirrors::default();
        let (a, b) = (channel("a"), channel("b"));
        mirrors.want(&a, B);
        mirrors.want(&b, B);
        mirrors.leave_behind(B, now);
        mirrors.leave_behind(B, now + LEFT_BEHIND_FOR);
        mirrors.check_invariants();
        assert!(!mirrors.want(&b, C), "it was kept");
        let until = now + LEFT_BEHIND_FOR;
        assert_eq!(mirrors.poll_timeout(), Some(until));
        let before = until - Duration::from_nanos(1);
        assert!(mirrors.handle_timeout(before).is_empty());
        assert_eq!(mirrors.handle_timeout(until), [a]);
        assert_eq!((mirrors.count(), mirrors.poll_timeout()), (1, None));
        mirrors.check_invariants();
        assert_eq!(mirrors.clear(), [b]);
    }
}
