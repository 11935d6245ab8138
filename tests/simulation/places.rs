//! Who uses which channel, as far as that can be told from outside: whether a subscribe may be
//! refused for want of a place, and how long a channel is kept after its last subscriber.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alle::Limits;

/// The channels that clients use, at most; and those kept for clients that may come back.
#[derive(Default)]
pub struct Places {
    pub now: Duration,
    channels_max: u128,
    subscriptions_max: u128,
    pub is_limited: bool,
    /// For how long a channel is kept for a client that was lost.
    lost_delay: Duration,
    /// By number of the client: the channels that it asked for, and is not known to have left.
    wanted: BTreeMap<u32, BTreeSet<String>>,
    /// Clients that are gone, whose links are cut at the end of the turn; whether they were lost.
    gone: Vec<(u32, bool)>,
    /// Until then at least the channel is kept.
    kept_until: BTreeMap<String, Duration>,
    /// Until then at most.
    kept_until_max: BTreeMap<String, Duration>,
}

impl Places {
    pub fn new(limits: &Limits, is_limited: bool, lost_delay: Duration) -> Self {
        Self {
            channels_max: limits.channels_max as u128,
            subscriptions_max: limits.subscriptions_max as u128,
            is_limited,
            lost_delay,
            ..Self::default()
        }
    }

    pub fn pin(&mut self, channel: &str) {
        // Nobody has this number.
        self.want(0, channel);
    }

    pub fn want(&mut self, client: u32, channel: &str) {
        let wanted = self.wanted.entry(client).or_default();
        wanted.insert(channel.to_owned());
    }

    pub fn unwant(&mut self, client: u32, channel: &str) {
        if let Some(wanted) = self.wanted.get_mut(&client) {
            wanted.remove(channel);
        }
    }

    /// Whether the client, which asks for a channel now, may be refused for want of a place: its
    /// share follows from the places that are left, and those are at least the ones that no client
    /// can be using.
    pub fn may_be_refused(&self, client: u32) -> bool {
        let used: BTreeSet<_> = self.wanted.values().flatten().collect();
        let left = self.channels_max.saturating_sub(used.len() as u128);
        let own = self.wanted.get(&client).map_or(0, BTreeSet::len) as u128;
        own * self.channels_max.pow(2) >= 4 * left.pow(2) * self.subscriptions_max
    }

    /// The client is gone without a word, and was subscribed to these.
    pub fn lose<'a>(&mut self, subscribed: impl Iterator<Item = &'a str>) {
        for channel in subscribed {
            let until = self.now + self.lost_delay;
            let kept = self.kept_until.entry(channel.to_owned()).or_default();
            *kept = until.max(*kept);
        }
    }

    /// Nothing is left of the client.
    pub fn leave(&mut self, client: u32, is_lost: bool) {
        self.gone.push((client, is_lost));
    }

    pub fn end_turn(&mut self) {
        for (client, is_lost) in std::mem::take(&mut self.gone) {
            let wanted = self.wanted.remove(&client).unwrap_or_default();
            for channel in wanted.into_iter().filter(|_| is_lost) {
                let until = self.now + self.lost_delay;
                self.kept_until_max.insert(channel, until);
            }
        }
    }

    /// The listening session is gone: nothing is there to come back to.
    pub fn lose_session(&mut self) {
        self.kept_until.clear();
        self.kept_until_max.clear();
    }

    /// The hub asks for UNLISTEN.
    pub fn check_unlisten(&mut self, channel: &str) {
        let until = self.kept_until.remove(channel).unwrap_or_default();
        assert!(
            until <= self.now || self.is_limited,
            "{channel} is unlistened at {:?}, a client may come back until {until:?}",
            self.now
        );
    }

    /// Whether the channel, which nobody uses, may still be listened to.
    pub fn may_be_kept(&self, channel: &str) -> bool {
        let until = self.kept_until_max.get(channel);
        until.is_some_and(|&until| until > self.now)
    }
}
