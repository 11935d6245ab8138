//! The bridge as one of a group, where it is: between the group, the channels and PostgreSQL.
//!
//! The group decides what a position of another bridge means. Here its wishes of the channels are
//! carried out, and its questions and messages are given to PostgreSQL. Knows no client: what is
//! released to those, it says.

use std::time::Instant;

use super::{
    channels::Channels,
    group::{Group, GroupSettings, Judgement, Outcome, Patience},
};
use crate::{
    backend::{Backend, Control, Role},
    channel::ChannelKey,
    message::Since,
    metrics::Metrics,
};

/// The group that the bridge belongs to, if it belongs to one; without, nothing here does anything.
///
/// After [`Self::handle_control`] and before [`Self::advance`]: [`Self::poll_release`] until `None`.
#[derive(Debug, Default)]
pub(super) struct Membership {
    group: Option<Box<Group>>,
    /// What the group wants to know of PostgreSQL, and is not asked yet.
    presence: Option<Presence>,
}

/// A question of the group about backends.
#[derive(Debug)]
struct Presence {
    pids: Vec<i32>,
    /// Only those of our own role count.
    own_role: bool,
}

impl Membership {
    pub(super) fn new(settings: GroupSettings) -> Self {
        Self {
            group: Some(Box::new(Group::new(settings))),
            presence: None,
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
            Control::Lost => group.handle_message_lost(now),
            Control::Present(pids) => group.handle_present(&pids, now),
        }
    }

    /// A session is gone.
    pub(super) fn handle_down(&mut self, role: Role) {
        if let Some(group) = &mut self.group {
            match role {
                Role::Listening => group.handle_listening_down(),
                Role::Publishing => group.handle_publishing_down(),
            }
        }
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

    /// Carries out what the group wants of the channels, up to the next one on which subscribes are
    /// to be decided, with so much patience left.
    pub(super) fn poll_release(
        &mut self,
        channels: &mut Channels,
        metrics: &mut Metrics,
        now: Instant,
    ) -> Option<(ChannelKey, Patience)> {
        let group = self.group.as_mut()?;
        while let Some(outcome) = group.poll_outcome(now) {
            match outcome {
                Outcome::Mirror(channel) => {
                    let is_mirrored = channels.mirror(&channel);
                    metrics.group_mirrors_refused += u64::from(!is_mirrored);
                }
                Outcome::Unmirror(channel) => channels.unmirror(&channel),
                Outcome::Release(key, patience) => return Some((key, patience)),
                Outcome::AskPresent { pids, own_role } => {
                    self.presence = Some(Presence { pids, own_role });
                }
            }
        }
        None
    }

    /// Asks PostgreSQL what the group wants to know, and sends what it says.
    pub(super) fn advance(&mut self, backend: &mut Backend, now: Instant) {
        let Some(group) = &mut self.group else {
            return;
        };
        if let Some(Presence { pids, own_role }) = self.presence.take() {
            if !backend.ask_present(&pids, own_role) {
                group.handle_unasked();
            }
        }
        while backend.is_up(Role::Publishing) {
            let Some(payload) = group.poll_message(now) else {
                return;
            };
            backend.tell(payload);
        }
    }

    // ---- positions

    /// What a client's position is in our own numbers. [`Judgement::Wait`] holds the subscribe back
    /// until [`Self::poll_release`] has its channel.
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
