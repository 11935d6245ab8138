//! All channels towards PostgreSQL: their names, the [`Interest`] in each, and the one queue of
//! LISTENs and UNLISTENs that are still to be sent.
//!
//! Sources of LISTENs take turns in it, so that one that wants many channels delays no other; all
//! UNLISTENs are one source, and so are the LISTENs that are no new wish. A channel that
//! comes and goes while it waits costs PostgreSQL nothing. Knows
//! neither clients nor sessions: whoever has a session takes a command whenever it has room for
//! one, and says what became of it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{command::Command, fair_queue::FairQueue, interest::Interest};
use crate::{
    backoff::Backoff,
    channel::{Channel, ChannelKey},
};

/// The channels of one listening session.
///
/// After any method: [`Self::poll_command`], as long as the session takes commands.
#[derive(Debug, Default)]
pub struct Interests {
    entries: Slab<Entry>,
    keys: HashMap<Channel, ChannelKey>,
    /// Channels that owe PostgreSQL a command, some more than once, and some that do not any more.
    /// Empty while there is no session.
    queue: FairQueue<ChannelKey>,
    /// There is a session to ask.
    is_up: bool,
    /// Channels not yet listened to again since the session came.
    unsettled: usize,
    /// Channels that are wanted.
    wanted: usize,
    /// Channels that are [`Interest::Listened`].
    listened: usize,
    /// Channels that are [`Interest::Refused`].
    refused: usize,
    retry: Option<Retry>,
}

#[derive(Debug)]
struct Entry {
    name: Channel,
    interest: Interest,
    /// It is counted in `Interests::unsettled`.
    is_unsettled: bool,
}

/// When refused channels are asked for again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    /// How often they were asked for again before.
    attempt: u32,
}

impl Retry {
    fn new(attempt: u32, now: Instant) -> Self {
        Self {
            at: now + LISTEN_BACKOFF.delay(attempt, 0),
            attempt,
        }
    }
}

impl Interests {
    /// The key of `name`, where it is known.
    pub fn find(&self, name: &str) -> Option<ChannelKey> {
        self.keys.get(name).copied()
    }

    /// The key of `name`, made known now if it was not.
    pub fn intern(&mut self, name: Channel) -> ChannelKey {
        if let Some(key) = self.find(name.as_str()) {
            return key;
        }
        let key = self.entries.insert(Entry {
            name: name.clone(),
            interest: Interest::Idle,
            is_unsettled: false,
        });
        let key = ChannelKey(u32::try_from(key).expect("fewer than 2^32 channels fit in memory"));
        self.keys.insert(name, key);
        key
    }

    /// Forgets the channel if it is known and idle; whether that was so.
    pub fn release(&mut self, key: ChannelKey) -> bool {
        let entry = self.entries.get(key.index());
        if entry.is_none_or(|entry| entry.interest != Interest::Idle) {
            return false;
        }
        let entry = self.entries.remove(key.index());
        self.keys.remove(&entry.name);
        true
    }

    /// Whether a channel of this key is known.
    pub fn contains(&self, key: ChannelKey) -> bool {
        self.entries.contains(key.index())
    }

    /// The name of a known channel.
    pub fn name(&self, key: ChannelKey) -> &Channel {
        &self.entries[key.index()].name
    }

    /// The state of a known channel.
    pub fn interest(&self, key: ChannelKey) -> Interest {
        self.entries[key.index()].interest
    }

    /// Every known channel.
    pub fn keys(&self) -> impl Iterator<Item = ChannelKey> {
        self.entries
            .iter()
            .map(|(key, _)| ChannelKey(u32::try_from(key).expect("keys were made from u32")))
    }

    /// How many channels are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no channel is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is a session to ask.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Channels not yet listened to again, nor refused, since the session came.
    pub fn unsettled_count(&self) -> usize {
        self.unsettled
    }

    /// Channels that are wanted.
    pub fn wanted_count(&self) -> usize {
        self.wanted
    }

    /// Channels with a confirmed LISTEN that are wanted.
    pub fn listened_count(&self) -> usize {
        self.listened
    }

    /// Channels that PostgreSQL refused and that will be asked for again.
    pub fn refused_count(&self) -> usize {
        self.refused
    }

    /// The channel is wanted by this source: any number below [`SOURCES_MAX`], or [`OWN`].
    pub fn want(&mut self, key: ChannelKey, source: u32) {
        self.change(key, Interest::want);
        // It may wait already, behind many others of another source.
        if self.interest(key) == Interest::Waiting {
            self.enqueue(key, source);
        }
    }

    /// The channel is not wanted any more.
    pub fn unwant(&mut self, key: ChannelKey) {
        self.change(key, Interest::unwant);
    }

    /// What the session is to be asked next; from here on that counts as asked.
    pub fn poll_command(&mut self) -> Option<Command<'_>> {
        while let Some(key) = self.queue.pop() {
            let entry = self.entries.get_mut(key.index());
            if let Some(verb) = entry.and_then(|entry| entry.interest.ask()) {
                return Some(Command {
                    verb,
                    key,
                    channel: &self.entries[key.index()].name,
                });
            }
        }
        None
    }

    /// There is a session to ask. Channels of a higher `rank` are listened to first.
    pub fn handle_up(&mut self, rank: impl Fn(ChannelKey) -> usize) {
        self.is_up = true;
        let mut waiting: Vec<_> = self
            .keys()
            .filter(|&key| self.interest(key) == Interest::Waiting)
            .collect();
        waiting.sort_by_cached_key(|&key| std::cmp::Reverse(rank(key)));
        self.unsettled = waiting.len();
        for key in waiting {
            self.entries[key.index()].is_unsettled = true;
            self.enqueue(key, OWN);
        }
    }

    /// The session is gone, and with it everything it was asked.
    pub fn handle_down(&mut self) {
        self.is_up = false;
        self.queue.clear();
        self.unsettled = 0;
        self.listened = 0;
        self.refused = 0;
        self.retry = None;
        for (_, entry) in &mut self.entries {
            entry.is_unsettled = false;
            entry.interest.lost();
        }
    }

    /// LISTEN was confirmed. Whether the channel is listened to from now on; else nobody wants it
    /// any more.
    pub fn handle_listened(&mut self, key: ChannelKey) -> bool {
        self.change(key, Interest::listened);
        self.interest(key) == Interest::Listened
    }

    /// LISTEN was refused; it will be asked for again if the channel is wanted.
    pub fn handle_refused(&mut self, key: ChannelKey, now: Instant) {
        self.change(key, Interest::refused);
        if self.interest(key) == Interest::Refused {
            self.retry.get_or_insert_with(|| Retry::new(0, now));
        }
    }

    /// UNLISTEN was answered.
    pub fn handle_unlistened(&mut self, key: ChannelKey) {
        self.change(key, Interest::unlistened);
        if self.interest(key) == Interest::Waiting {
            self.enqueue(key, OWN);
        }
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.retry.map(|retry| retry.at)
    }

    /// Asks again for channels that PostgreSQL refused, if their time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(due) = self.retry.filter(|retry| retry.at <= now) else {
            return;
        };
        let refused: Vec<_> = self
            .keys()
            .filter(|&key| self.interest(key) == Interest::Refused)
            .collect();
        self.retry = (!refused.is_empty()).then(|| Retry::new(due.attempt + 1, now));
        for key in refused {
            self.change(key, Interest::want);
            self.enqueue(key, OWN);
        }
    }

    /// A transition of one channel, and what follows from it for the counts and the queue.
    fn change(&mut self, key: ChannelKey, transition: impl FnOnce(&mut Interest)) {
        let entry = &mut self.entries[key.index()];
        self.wanted -= usize::from(entry.interest.is_wanted());
        self.listened -= usize::from(entry.interest == Interest::Listened);
        self.refused -= usize::from(entry.interest == Interest::Refused);
        transition(&mut entry.interest);
        self.wanted += usize::from(entry.interest.is_wanted());
        self.listened += usize::from(entry.interest == Interest::Listened);
        self.refused += usize::from(entry.interest == Interest::Refused);
        let is_under_way = matches!(
            entry.interest,
            Interest::Waiting | Interest::Listening { .. }
        );
        if entry.is_unsettled && !is_under_way {
            entry.is_unsettled = false;
            self.unsettled -= 1;
        }
        if entry.interest == Interest::Unwanted {
            self.enqueue(key, UNLISTENS);
        }
    }

    fn enqueue(&mut self, key: ChannelKey, source: u32) {
        if self.is_up {
            let entries = &self.entries;
            self.queue.push(source, key, |key| {
                let entry = entries.get(key.index());
                entry.is_some_and(|it| it.interest.is_to_be_asked())
            });
        }
    }

    /// Counts are those of the channels, and each channel that owes a command is in the queue.
    pub fn check_invariants(&self) {
        let count = |is: fn(&Entry) -> bool| self.entries.iter().filter(|(_, it)| is(it)).count();
        assert_eq!(self.keys.len(), self.entries.len());
        assert_eq!(self.unsettled, count(|it| it.is_unsettled));
        assert_eq!(self.wanted, count(|it| it.interest.is_wanted()));
        let queued: HashSet<_> = self.queue.iter().copied().collect();
        assert_eq!(self.listened, count(|it| it.interest == Interest::Listened));
        assert_eq!(self.refused, count(|it| it.interest == Interest::Refused));
        for (key, entry) in &self.entries {
            assert_eq!(
                self.find(entry.name.as_str()).map(ChannelKey::index),
                Some(key)
            );
            let is_owed = self.is_up && entry.interest.is_to_be_asked();
            let key = ChannelKey(u32::try_from(key).expect("keys were made from u32"));
            assert!(!is_owed || queued.contains(&key), "{entry:?}");
        }
    }
}

/// Numbers of sources are below this.
pub const SOURCES_MAX: u32 = u32::MAX - 2;
/// The source of UNLISTENs.
const UNLISTENS: u32 = SOURCES_MAX;
/// The source of LISTENs that are no new wish: of channels listened to from the start, refused, or
/// listened to before.
pub const OWN: u32 = SOURCES_MAX + 1;
/// A refused channel is asked for again by this schedule. Without jitter: one session asks for all
/// its channels at once.
const LISTEN_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), RETRY_MAX);
const RETRY_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(interests: &mut Interests) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some(Command { verb, channel, .. }) = interests.poll_command() {
            asked.push(format!("{verb:?} {channel}"));
        }
        interests.check_invariants();
        asked
    }

    fn wanted(names: &[&str]) -> (Interests, Vec<ChannelKey>) {
        let mut interests = Interests::default();
        let keys = names.iter().map(|name| {
            let key = interests.intern(Channel::new(name).unwrap());
            interests.want(key, 0);
            key
        });
        let keys = keys.collect();
        (interests, keys)
    }

    #[test]
    fn the_channels_of_the_highest_rank_are_listened_to_first() {
        let (mut interests, keys) = wanted(&["a", "b", "c"]);
        assert!(asked(&mut interests).is_empty(), "no session to ask");
        interests.handle_up(|key| [1, 3, 2][key.index()]);
        assert_eq!(interests.unsettled_count(), 3);
        assert_eq!(asked(&mut interests), ["Listen b", "Listen c", "Listen a"]);
        assert!(interests.handle_listened(keys[1]));
        interests.unwant(keys[2]);
        assert!(!interests.handle_listened(keys[2]));
        assert_eq!(interests.unsettled_count(), 1);
        assert_eq!(asked(&mut interests), ["Unlisten c"]);
    }

    #[test]
    fn a_channel_that_comes_and_goes_in_the_queue_is_never_asked_for() {
        let (mut interests, keys) = wanted(&["a"]);
        interests.handle_up(|_| 0);
        interests.unwant(keys[0]);
        assert!(asked(&mut interests).is_empty());
        assert!(interests.release(keys[0]));
        assert!(interests.is_empty());

        let (mut interests, keys) = wanted(&["b"]);
        interests.handle_up(|_| 0);
        assert_eq!(asked(&mut interests), ["Listen b"]);
        assert!(interests.handle_listened(keys[0]));
        interests.unwant(keys[0]);
        interests.want(keys[0], 0);
        assert!(asked(&mut interests).is_empty(), "it never stopped");
        assert_eq!(interests.listened_count(), 1);
        assert!(!interests.release(keys[0]));
    }

    #[test]
    fn a_key_in_the_queue_may_have_become_another_channel() {
        let (mut interests, keys) = wanted(&["a"]);
        interests.handle_up(|_| 0);
        interests.unwant(keys[0]);
        assert!(interests.release(keys[0]));
        let key = interests.intern(Channel::new("b").unwrap());
        assert_eq!(key, keys[0]);
        interests.want(key, 0);
        assert_eq!(asked(&mut interests), ["Listen b"]);
    }

    #[test]
    fn a_source_that_wants_many_channels_delays_no_other() {
        let names: Vec<_> = (0..1_000).map(|it| format!("many {it}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (mut interests, keys) = wanted(&["shared"]);
        interests.handle_up(|_| 0);
        assert_eq!(asked(&mut interests), ["Listen shared"]);
        assert!(interests.handle_listened(keys[0]));
        let mut many: Vec<_> = Vec::new();
        for name in names {
            let key = interests.intern(Channel::new(name).unwrap());
            interests.want(key, 1);
            many.push(key);
        }
        interests.unwant(keys[0]);
        let own = interests.intern(Channel::new("own").unwrap());
        interests.want(own, 2);
        interests.want(many[900], 2);
        let asked = asked(&mut interests);
        assert_eq!(
            asked[..3],
            ["Listen many 0", "Unlisten shared", "Listen own"]
        );
        assert_eq!(asked[4], "Listen many 900");
        assert_eq!(asked.len(), 1_002);
    }

    #[test]
    fn a_refused_channel_is_asked_for_again_at_doubling_times() {
        #[expect(clippy::disallowed_methods, reason = "a point to count from")]
        let mut now = Instant::now();
        let (mut interests, keys) = wanted(&["a"]);
        interests.handle_up(|_| 0);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(asked(&mut interests), ["Listen a"]);
            interests.handle_refused(keys[0], now);
            assert_eq!(interests.refused_count(), 1);
            let due = now + Duration::from_secs(seconds);
            assert_eq!(interests.poll_timeout(), Some(due));
            interests.handle_timeout(due - Duration::from_nanos(1));
            assert!(asked(&mut interests).is_empty());
            interests.handle_timeout(due);
            now = due;
        }
        assert_eq!(asked(&mut interests), ["Listen a"]);
        assert!(interests.handle_listened(keys[0]));
        interests.handle_timeout(now + RETRY_MAX);
        assert_eq!(interests.poll_timeout(), None);
    }

    #[test]
    fn a_lost_session_is_owed_nothing_and_the_next_one_all_that_is_wanted() {
        let (mut interests, keys) = wanted(&["a", "b", "c"]);
        interests.handle_up(|_| 0);
        assert_eq!(asked(&mut interests).len(), 3);
        assert!(interests.handle_listened(keys[0]));
        assert!(interests.handle_listened(keys[1]));
        interests.unwant(keys[1]);
        interests.handle_down();
        assert!(asked(&mut interests).is_empty());
        assert!(interests.release(keys[1]), "PostgreSQL has forgotten it");
        interests.handle_up(|_| 0);
        assert_eq!(asked(&mut interests), ["Listen a", "Listen c"]);
    }
}
