//! All channels: who is subscribed and who waits to be, what is wanted of PostgreSQL, and the
//! position that each has come to.
//!
//! A channel is wanted while it is pinned, has a subscriber, is awaited, or is kept for a client that
//! may come back. Knows neither phases of clients nor frames; what a client is told, the hub says.

use std::time::Instant;

mod gaps;
mod invariants;
mod mirroring;
mod resuming;

use self::{gaps::Gaps, mirroring::Mirroring};
use super::{
    epoch::Epoch,
    links::Links,
    pending::{Pending, Subscribe},
    position::{Notified, Position},
    shares::{Places, Shares, TooMany},
    unlisten_delay::{KeptChannels, Parting, UnlistenDelay},
};
use crate::{
    backend::{
        command::Command,
        interest::Interest,
        interests::{Interests, OWN},
    },
    channel::{Channel, ChannelKey},
    delivery::lane::LANES,
};

/// Every channel that anybody wants, or wanted a short while ago.
///
/// After any method: [`Self::poll_command`]. Once a turn, when nothing walks:
/// [`Self::poll_released`].
#[derive(Debug)]
pub(super) struct Channels {
    interests: Interests,
    links: Links,
    pending: Pending,
    /// By channel; grown on first use.
    states: Vec<State>,
    /// Channels that stay listened to though nobody uses them.
    kept: KeptChannels,
    /// So many channels may be wanted at a time.
    channels_max: usize,
    shares: Shares,
    mirroring: Mirroring,
    gaps: Gaps,
    /// Channels that may be idle: looked at again at the end of the turn.
    maybe_idle: Vec<ChannelKey>,
    /// The random half of every epoch of this process.
    epoch_seed: u64,
    epochs: u64,
    /// Counts the notifications and the epochs of all channels: the last place in their order.
    place: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Counts the unbroken stretches of the process; names the current one.
    epoch: u64,
    /// Notifications in this epoch.
    seq: u64,
    /// Those of the epochs before, less the number with which this one began: it wraps.
    before: u64,
    /// The place at which the epoch began.
    began: u64,
    /// The place of the last notification in it, or else of its beginning.
    last: u64,
    /// Listened to whether anybody is subscribed or not.
    is_pinned: bool,
    /// It is in `Channels::maybe_idle`.
    is_maybe_idle: bool,
}

impl Channels {
    /// At most `channels_max` are wanted at a time; `epoch_seed` is random.
    pub(super) fn new(channels_max: usize, delay: UnlistenDelay, epoch_seed: u64) -> Self {
        Self {
            interests: Interests::default(),
            links: Links::default(),
            pending: Pending::default(),
            states: Vec::new(),
            kept: KeptChannels::new(delay),
            channels_max,
            shares: Shares::default(),
            mirroring: Mirroring::default(),
            gaps: Gaps::default(),
            maybe_idle: Vec::new(),
            epoch_seed,
            epochs: 0,
            place: 0,
        }
    }

    /// The links between clients and channels.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// The last place in the order of all channels.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// What is wanted of PostgreSQL.
    pub(super) fn interests(&self) -> &Interests {
        &self.interests
    }

    /// The key of a channel that is known.
    pub(super) fn find(&self, name: &str) -> Option<ChannelKey> {
        self.interests.find(name)
    }

    /// The name of a channel that is known.
    pub(super) fn name(&self, key: ChannelKey) -> &Channel {
        self.interests.name(key)
    }

    /// The channel's subscribers, how many of each lane.
    pub(super) fn audience(&self, key: ChannelKey) -> [usize; LANES] {
        self.links.audience(key)
    }

    /// The channel's position.
    pub(super) fn position(&self, key: ChannelKey) -> Position {
        let state = self.state(key);
        Position {
            epoch: Epoch {
                process: self.epoch_seed,
                number: state.epoch,
            },
            seq: state.seq,
            began: state.began,
            last: state.last,
        }
    }

    /// How many channels are in use: the others that are listened to give way to them.
    pub(super) fn used_count(&self) -> usize {
        self.interests.wanted_count() - self.kept.len() - self.mirroring.spare_count()
    }

    /// How many channels nobody uses that are listened to for clients that may come back.
    pub(super) fn kept_count(&self) -> usize {
        self.kept.len()
    }

    /// How many of its own channels a client has or waits for.
    pub(super) fn wanted_count(&self, slot: u32) -> usize {
        self.links.client_count(slot) + self.pending.request_count(slot)
    }

    /// How many subscribes of the client wait: a search among them looks at each.
    pub(super) fn request_count(&self, slot: u32) -> usize {
        self.pending.request_count(slot)
    }

    /// Every channel that the client is subscribed to, or waits for.
    pub(super) fn wanted_by(&self, slot: u32) -> impl Iterator<Item = &Channel> {
        let subscribed = self.links.of_client(slot);
        let keys = self.pending.channels(slot).chain(subscribed);
        keys.map(|key| self.name(key))
    }

    // ---- clients

    /// Listens to the channel from now on, whoever subscribes.
    pub(super) fn pin(&mut self, channel: Channel) {
        let key = self.interests.intern(channel);
        self.state_mut(key).is_pinned = true;
        self.interests.want(key, OWN);
    }

    /// A client asks for a channel. The request comes back with the channel's key if that is
    /// listened to; else it waits. A client may have, or wait for, `subscriptions_max` channels.
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        channel: Channel,
        request: Subscribe,
        subscriptions_max: usize,
    ) -> Result<Option<(ChannelKey, Subscribe)>, (TooMany, Subscribe)> {
        let known = self.find(channel.as_str());
        let is_subscribed = known.is_some_and(|key| self.links.contains(slot, key));
        let is_awaited = known.is_some_and(|key| self.pending.contains(slot, key));
        let is_had = is_subscribed || is_awaited;
        let subscribed = self.links.client_count(slot);
        if !is_had && subscribed + self.pending.channel_count(slot) >= subscriptions_max {
            return Err((TooMany::Subscriptions, request));
        }
        if self.pending.request_count(slot) >= subscriptions_max {
            return Err((TooMany::Waiting, request));
        }
        let is_wanted = known.is_some_and(|key| self.interests.interest(key).is_wanted());
        let is_used =
            is_wanted && known.is_some_and(|key| self.is_own(key) && !self.kept.contains(key));
        let max = self.channels_max;
        let left = max.saturating_sub(self.used_count());
        let places = Places { max, left };
        if !is_used && !self.shares.may_open(slot, subscriptions_max, places) {
            return Err((TooMany::Channels { left }, request));
        }
        if !is_wanted {
            self.make_room();
        }
        let key = self.interests.intern(channel);
        self.kept.take(key);
        self.interests.want(key, slot);
        self.mirroring.handle_own(key);
        // An earlier one that waits for its turn is answered first.
        if self.interests.interest(key) == Interest::Listened && !is_awaited {
            return Ok(Some((key, request)));
        }
        self.change_users(key, |channels| {
            channels.pending.push(slot, key, is_subscribed, request);
        });
        Ok(None)
    }

    /// The client is subscribed from now on, in its lane.
    pub(super) fn link(&mut self, slot: u32, key: ChannelKey, lane: usize) {
        self.change_users(key, |channels| channels.links.insert(slot, key, lane));
    }

    /// The client wants the channel no longer; its subscribes that waited for it.
    pub(super) fn unsubscribe(
        &mut self,
        slot: u32,
        key: ChannelKey,
        now: Instant,
    ) -> Vec<Subscribe> {
        let overtaken = self.change_users(key, |channels| {
            channels.links.remove(slot, key);
            channels.pending.take(slot, key)
        });
        self.leave(key, Parting::Done, now);
        overtaken
    }

    /// The client is gone: cuts its links, at most `links_max`. Says how many that were; fewer mean
    /// that none is left.
    pub(super) fn disconnect(
        &mut self,
        slot: u32,
        parting: Parting,
        links_max: usize,
        now: Instant,
    ) -> usize {
        let mut links = 0;
        while let Some(key) = self.next_of(slot).filter(|_| links < links_max) {
            self.change_users(key, |channels| {
                let pending = channels.pending.pop_client(slot);
                pending.or_else(|| channels.links.pop_client(slot))
            });
            self.leave(key, parting, now);
            links += 1;
        }
        links
    }

    /// The channel that a client which leaves is cut from next.
    fn next_of(&self, slot: u32) -> Option<ChannelKey> {
        let awaited = self.pending.channels(slot).next();
        awaited.or_else(|| self.links.of_client(slot).next_back())
    }

    // ---- PostgreSQL

    /// What the listening session is to be asked next.
    pub(super) fn poll_command(&mut self) -> Option<Command<'_>> {
        self.interests.poll_command()
    }

    /// The listening session takes commands. The channels with most subscribers come first.
    pub(super) fn handle_up(&mut self) {
        let links = &self.links;
        self.interests
            .handle_up(|key| links.audience(key).iter().sum());
    }

    /// The listening session is gone. Unless their epochs may go on, channels that were kept need no
    /// UNLISTEN any more.
    pub(super) fn handle_down(&mut self, may_resume: bool) {
        self.interests.handle_down();
        // Whoever comes back now finds another epoch.
        if !may_resume {
            for key in self.kept.clear() {
                self.unwant(key);
            }
        }
        let keys: Vec<_> = self.interests.keys().collect();
        for key in keys {
            self.note_maybe_idle(key);
        }
    }

    /// LISTEN was confirmed, and the channel counts in a new epoch. Whether it is wanted still.
    pub(super) fn handle_listened(&mut self, key: ChannelKey) -> bool {
        self.begin_epoch(key);
        self.interests.handle_listened(key)
    }

    /// LISTEN was refused.
    pub(super) fn handle_refused(&mut self, key: ChannelKey, now: Instant) {
        self.interests.handle_refused(key, now);
        self.unwant_if_deserted(key, now);
    }

    /// What the subscribes that wait cost, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// How many subscribes wait for the answer to the channel's LISTEN.
    pub(super) fn waiting_count(&self, key: ChannelKey) -> usize {
        self.pending.channel_len(key)
    }

    /// The next of them. After the last one, [`Self::end_waiting`].
    pub(super) fn pop_waiting(&mut self, key: ChannelKey) -> Option<(u32, Subscribe)> {
        self.change_users(key, |channels| channels.pending.pop_channel(key))
    }

    /// Those that waited have their answer: a channel that nobody is subscribed to is deserted.
    pub(super) fn end_waiting(&mut self, key: ChannelKey, now: Instant) {
        if self.interests.contains(key) {
            self.unwant_if_deserted(key, now);
        }
    }

    /// UNLISTEN was answered.
    pub(super) fn handle_unlistened(&mut self, key: ChannelKey) {
        self.interests.handle_unlistened(key);
        self.note_maybe_idle(key);
    }

    /// A notification came; the channel's name may be anything. `None` if it does not count: the
    /// channel is unknown, or `subscribed` or `gap` will follow.
    pub(super) fn notify(&mut self, channel: &[u8]) -> Option<Notified> {
        let key = self.find(std::str::from_utf8(channel).ok()?)?;
        if !self.interests.interest(key).is_counted() {
            return None;
        }
        Some(self.count(key))
    }

    /// A notification of the channel counts.
    #[inline]
    pub(super) fn count(&mut self, key: ChannelKey) -> Notified {
        self.place += 1;
        let state = &mut self.states[key.index()];
        state.seq += 1;
        state.last = self.place;
        Notified {
            key,
            seq: state.seq,
            place: self.place,
            audience: self.audience(key),
        }
    }

    // ---- time

    /// When [`Self::handle_timeout`] and [`Self::end_kept`] are wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [self.kept.poll_timeout(), self.interests.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Asks again for refused channels.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.interests.handle_timeout(now);
    }

    /// Lets go of one channel that was kept for long enough; whether there was one.
    pub(super) fn end_kept(&mut self, now: Instant) -> bool {
        let due = self.kept.poll_due(now);
        due.inspect(|&key| self.unwant(key)).is_some()
    }

    /// The next channel that is known no longer: its key may come to name another.
    pub(super) fn poll_released(&mut self) -> Option<ChannelKey> {
        while let Some(key) = self.maybe_idle.pop() {
            let state = &mut self.states[key.index()];
            state.is_maybe_idle = false;
            let is_kept = state.is_pinned || self.pending.has_channel(key);
            if !is_kept && self.interests.release(key) {
                debug_assert!(
                    !self.links.has_subscriber(key),
                    "an idle channel is deserted"
                );
                self.states[key.index()] = State::default();
                self.kept.forget(key);
                self.mirroring.forget(key);
                return Some(key);
            }
        }
        None
    }

    // ---- parts

    /// Another channel is to be wanted: where there are as many as may be, one that is kept gives
    /// way, and where none is, the one that was mirrored first.
    fn make_room(&mut self) {
        if self.interests.wanted_count() >= self.channels_max {
            let kept = self.kept.pop_first();
            if let Some(key) = kept.or_else(|| self.mirroring.first_spare()) {
                self.mirroring.forget(key);
                self.unwant(key);
            }
        }
    }

    /// The client that pays for the channel: its first subscriber or, while there is none, the first
    /// that waits for it. One that is listened to from the start costs nobody anything.
    fn payer(&self, key: ChannelKey) -> Option<u32> {
        if self.state(key).is_pinned {
            return None;
        }
        let subscriber = self.links.first_subscriber(key);
        subscriber.or_else(|| self.pending.first_client(key))
    }

    /// Changes who uses the channel.
    fn change_users<T>(&mut self, key: ChannelKey, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.payer(key);
        let changed = change(self);
        self.shares.handle_payer(before, self.payer(key));
        changed
    }

    /// The channel's notifications are counted anew.
    pub(super) fn begin_epoch(&mut self, key: ChannelKey) {
        self.epochs += 1;
        // The last notification before an epoch is no position in it: the epoch has a place of its own.
        self.place += 1;
        let (epoch, place) = (self.epochs, self.place);
        let state = self.state_mut(key);
        state.before = state.before.wrapping_add(state.seq);
        (state.epoch, state.seq) = (epoch, 0);
        (state.began, state.last) = (place, place);
    }

    /// A client left the channel; where that has a position to come back to, it may for a while.
    fn leave(&mut self, key: ChannelKey, parting: Parting, now: Instant) {
        let is_listened = self.interests.interest(key) == Interest::Listened;
        if is_listened && !self.kept.contains(key) {
            self.kept.handle_left(key, parting, now);
        }
        self.unwant_if_deserted(key, now);
    }

    /// When nobody wants the channel any more, PostgreSQL is to forget it: now, or when nobody is
    /// expected back any more.
    fn unwant_if_deserted(&mut self, key: ChannelKey, now: Instant) {
        if self.is_used(key) || self.kept.contains(key) {
            return;
        }
        if !self.kept.keep(key, now) {
            self.unwant(key);
        }
    }

    fn is_used(&self, key: ChannelKey) -> bool {
        self.state(key).is_pinned || self.links.has_subscriber(key) || self.pending.has_channel(key)
    }

    /// Nobody here wants the channel any more. Where peers do, it stays listened to.
    fn unwant(&mut self, key: ChannelKey) {
        if !self.mirroring.handle_unwanted(key) {
            self.interests.unwant(key);
        }
        self.note_maybe_idle(key);
    }

    fn note_maybe_idle(&mut self, key: ChannelKey) {
        let is_idle = self.interests.interest(key) == Interest::Idle;
        let state = self.state_mut(key);
        if is_idle && !std::mem::replace(&mut state.is_maybe_idle, true) {
            self.maybe_idle.push(key);
        }
    }

    fn state(&self, key: ChannelKey) -> State {
        self.states.get(key.index()).copied().unwrap_or_default()
    }

    fn state_mut(&mut self, key: ChannelKey) -> &mut State {
        if self.states.len() <= key.index() {
            self.states.resize(key.index() + 1, State::default());
        }
        &mut self.states[key.index()]
    }
}
