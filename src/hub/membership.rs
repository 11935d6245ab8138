//! The bridge as one of a group, where it is: between the group, the channels and PostgreSQL.
//!
//! The group decides what a position of another bridge means. Here its wishes of the channels are
//! carried out, and its questions and messages are given to PostgreSQL. Knows no client: what is
//! released to those, it says.

use std::time::Instant;

use super::{
    channels::Channels,
    group::{Group, GroupSettings, Judgement, Kept, Outcome, Patience, Replayed, Verdict},
};
use crate::{
    backend::{Backend, Control, Role},
    channel::{Channel, ChannelKey},
    delivery::Delivery,
    message::{Since, kept_payload},
    metrics::Metrics,
};

/// The group that the bridge belongs to, if it belongs to one; without, nothing here does anything.
///
/// After [`Self::handle_control`] and [`Self::hold`], and before [`Self::advance`]:
/// [`Self::poll_wish`] until `None`. After that, [`Self::poll_replayed`] as far as the turn goes, and
/// [`Self::poll_released`].
#[derive(Debug, Default)]
pub(super) struct Membership {
    group: Option<Box<Group>>,
    /// What the group wants to know of PostgreSQL, and is not asked yet.
    presence: Option<Presence>,
    /// It wants to know who else is in it.
    asks_members: bool,
}

/// A question of the group about backends.
#[derive(Debug)]
struct Presence {
    pids: Vec<i32>,
    /// Only those of our own role count.
    own_role: bool,
}

/// What the group wants of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Subscribes that wait on the channel are to be decided, with so much patience left.
    Release(ChannelKey, Patience),
    /// Something of the channel was missed, and it counts in a new epoch.
    TellGap(ChannelKey),
}

impl Membership {
    pub(super) fn new(settings: GroupSettings) -> Self {
        Self {
            group: Some(Box::new(Group::new(settings))),
            presence: None,
            asks_members: false,
        }
    }

    /// Whether there is a group.
    pub(super) fn is_in_group(&self) -> bool {
        self.group.is_some()
    }

    // ---- facts

    /// The sessions report what concerns the group.
    pub(super) fn handle_control(
        &mut self,
        control: Control<'_>,
        channels: &Channels,
        now: Instant,
    ) {
        let Some(group) = &mut self.group else {
            return;
        };
        match control {
            Control::Serving {
                role: Role::Listening,
                server_start,
                ..
            } => group.handle_listening_up(server_start, now),
            Control::Serving {
                role: Role::Publishing,
                process_id,
                server_start,
            } => group.handle_publishing_up(process_id, server_start, now),
            Control::Message {
                process_id,
                payload,
            } => group.handle_message(process_id, payload, &|name| channels.heard(name), now),
            Control::Serving {
                role: Role::Authorizing,
                ..
            } => {}
            Control::Lost => group.handle_message_lost(now),
            Control::Present(pids) => group.handle_present(&pids, now),
            Control::Members(pids) => group.handle_members(pids, now),
        }
    }

    /// The publishing session is gone.
    pub(super) fn handle_publishing_down(&mut self) {
        if let Some(group) = &mut self.group {
            group.handle_publishing_down();
        }
    }

    /// The listening session is gone. Whether others may have heard what is missed from now on, so
    /// that epochs go on.
    pub(super) fn handle_listening_down(&mut self) -> bool {
        let group = self.group.as_mut();
        group.is_some_and(|it| it.handle_listening_down())
    }

    /// Whether others may make up for what was missed.
    pub(super) fn is_catching_up(&self) -> bool {
        self.group.as_ref().is_some_and(|it| it.is_catching_up())
    }

    /// The LISTEN of the channel is confirmed. Whether it is held back until it is known what was
    /// missed, and [`Self::poll_released`].
    pub(super) fn hold_back(
        &mut self,
        key: ChannelKey,
        channels: &mut Channels,
        delivery: &mut Delivery,
        now: Instant,
    ) -> bool {
        let Some(group) = self.group.as_mut().filter(|it| it.is_catching_up()) else {
            return false;
        };
        if !group.is_suspended(key, channels.position(key).epoch) {
            channels.begin_epoch(key);
            delivery.forget_history(key);
        }
        let position = channels.position(key);
        let (name, is_own) = (channels.name(key), channels.is_own(key));
        group.hold_back(key, name, position.epoch, position.seq, is_own, now);
        true
    }

    /// The LISTEN of the channel was refused.
    pub(super) fn handle_refused(&mut self, key: ChannelKey, channels: &Channels) {
        if let Some(group) = &mut self.group {
            group.handle_unlistened(Some(key), channels.name(key));
        }
    }

    /// A notification that does not count. Whether it is one of a channel that is held back, which all
    /// together may cost `bytes_max`.
    pub(super) fn hold(
        &mut self,
        channel: &[u8],
        payload: &[u8],
        channels: &Channels,
        bytes_max: usize,
    ) -> bool {
        let Some(group) = self.group.as_mut().filter(|it| it.is_catching_up()) else {
            return false;
        };
        let name = std::str::from_utf8(channel).ok();
        let key = name.and_then(|name| channels.find(name));
        key.is_some_and(|key| group.hold(key, payload, bytes_max))
    }

    /// What is held back costs so many bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.group.as_ref().map_or(0, |it| it.held_bytes())
    }

    /// The bridge stops: the others are told, and [`Self::has_left`] soon.
    pub(super) fn leave(&mut self, now: Instant) {
        if let Some(group) = &mut self.group {
            group.leave(now);
        }
    }

    /// Whether the others know that the bridge stops, or cannot be told.
    pub(super) fn has_left(&self) -> bool {
        self.group.as_ref().is_none_or(|it| it.has_left())
    }

    /// The channel counts in a new epoch.
    pub(super) fn handle_epoch(&mut self, key: ChannelKey, channels: &Channels) {
        if let Some(group) = &mut self.group {
            let epoch = channels.position(key).epoch;
            group.handle_epoch(key, channels.name(key), epoch, channels.is_own(key));
        }
    }

    /// The channel is known no longer.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        if let Some(group) = &mut self.group {
            group.forget(key);
        }
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.group.as_ref()?.poll_timeout()
    }

    /// The time has come for whatever was due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(group) = &mut self.group {
            group.handle_timeout(now);
        }
    }

    // ---- what follows

    /// The group is told which channels clients came to want, or want no longer.
    pub(super) fn note_changes(&mut self, channels: &mut Channels) {
        while let Some(key) = channels.poll_changed() {
            if let Some(group) = &mut self.group {
                group.handle_own(key, channels.is_own(key));
            }
        }
    }

    /// Carries out what the group wants of the channels, up to the next wish that concerns clients.
    pub(super) fn poll_wish(
        &mut self,
        channels: &mut Channels,
        metrics: &mut Metrics,
        now: Instant,
    ) -> Option<Wish> {
        let group = self.group.as_mut()?;
        while let Some(outcome) = group.poll_outcome(now) {
            match outcome {
                Outcome::Mirror(channel) => {
                    let is_mirrored = channels.mirror(&channel);
                    metrics.group_mirrors_refused += u64::from(!is_mirrored);
                    if !is_mirrored {
                        group.handle_unlistened(None, &channel);
                    }
                }
                Outcome::Unmirror(channel) => channels.unmirror(&channel),
                Outcome::Settle(_, Verdict::Resumed) => {}
                Outcome::Settle(key, Verdict::Begun(seq)) => channels.begin_at(key, seq),
                Outcome::Settle(key, Verdict::Missed) => {
                    channels.begin_epoch(key);
                    let (epoch, is_own) = (channels.position(key).epoch, channels.is_own(key));
                    group.handle_epoch(key, channels.name(key), epoch, is_own);
                    return Some(Wish::TellGap(key));
                }
                Outcome::Release(key, patience) => return Some(Wish::Release(key, patience)),
                Outcome::AskMembers => self.asks_members = true,
                Outcome::AskPresent { pids, own_role } => {
                    self.presence = Some(Presence { pids, own_role });
                }
            }
        }
        None
    }

    /// Asks PostgreSQL what the group wants to know, and sends what it says.
    pub(super) fn advance(
        &mut self,
        backend: &mut Backend,
        channels: &Channels,
        delivery: &Delivery,
        now: Instant,
    ) {
        let Some(group) = &mut self.group else {
            return;
        };
        if std::mem::take(&mut self.asks_members) && !backend.ask_members(true) {
            group.handle_members(Vec::new(), now);
        }
        if let Some(Presence { pids, own_role }) = self.presence.take()
            && !backend.ask_present(&pids, own_role)
        {
            group.handle_unasked();
        }
        let rings = |channel: &Channel, epoch, from| {
            let at = channels.heard(channel.as_str())?;
            let kept = (at.epoch == epoch).then(|| delivery.kept_from(at.key, from))??;
            let (payload, is_lossy) = kept_payload(kept.text)?;
            Some(Kept {
                seq: kept.seq,
                place: kept.place,
                payload,
                is_lossy,
            })
        };
        while backend.is_up(Role::Publishing) {
            let Some(payload) = group.poll_message(&rings, now) else {
                return;
            };
            backend.tell(payload);
        }
    }

    /// The next notification that is to be delivered late.
    pub(super) fn poll_replayed(&mut self) -> Option<Replayed> {
        self.group.as_mut()?.poll_replayed()
    }

    /// Whether notifications are to be delivered late.
    pub(super) fn is_replaying(&self) -> bool {
        self.group.as_ref().is_some_and(|it| it.is_replaying())
    }

    /// Nothing is held back any more: these channels count from now on, and those that came too late
    /// have yet to begin.
    pub(super) fn poll_released(&mut self) -> Option<(Vec<ChannelKey>, Vec<ChannelKey>)> {
        self.group.as_mut()?.poll_released()
    }

    // ---- positions

    /// What a client's position is in our own numbers. [`Judgement::Wait`] holds the subscribe back
    /// until [`Wish::Release`] has its channel.
    pub(super) fn judge(
        &mut self,
        key: ChannelKey,
        since: Option<&Since>,
        channels: &Channels,
        patience: Patience,
        now: Instant,
    ) -> Judgement {
        let Some(since) = since else {
            return Judgement::Unknown;
        };
        let position = channels.position(key);
        if position.epoch.is_named(&since.epoch) {
            return Judgement::Position(since.seq);
        }
        match &mut self.group {
            Some(group) => group.judge(key, position.seq, since, patience, now),
            None => Judgement::Unknown,
        }
    }

    /// Whether the first subscribe that waits for the channel is to wait on.
    pub(super) fn waits_on(
        &mut self,
        key: ChannelKey,
        channels: &Channels,
        patience: Patience,
        now: Instant,
    ) -> bool {
        if self.group.is_none() || patience == Patience::None {
            return false;
        }
        let first = channels.peek_waiting(key);
        let since = first.and_then(|request| request.since.as_ref());
        self.judge(key, since, channels, patience, now) == Judgement::Wait
    }

    // ---- what there is to say

    /// Why the peers have not said where they stand, if so.
    pub(super) fn readiness(&self, channels: &Channels, now: Instant) -> Result<(), &'static str> {
        match &self.group {
            Some(group) => group.readiness(&|name| channels.heard(name), now),
            None => Ok(()),
        }
    }

    /// The group, for its numbers.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_deref()
    }

    /// The group agrees with itself.
    pub(super) fn check_invariants(&self) {
        if let Some(group) = &self.group {
            group.check_invariants();
        }
    }
}
