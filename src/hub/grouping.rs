//! Reactions to the group: what it wants is done, and what it says is sent.
//!
//! The group decides what a position of another bridge means; clients and channels are the hub's.

use super::{
    Hub, Upstream,
    group::{Judgement, Outcome, Patience},
};
use crate::{
    backend::{Control, Role},
    channel::ChannelKey,
    message::Since,
};

/// A question of the group about backends.
#[derive(Debug)]
pub(super) struct Presence {
    pids: Vec<i32>,
    /// Only those of our own role count.
    own_role: bool,
}

impl Hub {
    /// The sessions report what concerns the group.
    pub(super) fn handle_control(&mut self, control: Control<'_>) {
        let now = self.clock.now();
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
            } => {
                let channels = &self.channels;
                group.handle_message(process_id, payload, &|name| channels.heard(name), now);
            }
            Control::Lost => group.handle_message_lost(now),
            Control::Present(pids) => group.handle_present(&pids, now),
        }
        // At this place of the order, before the next notification.
        self.carry_out_outcomes();
    }

    /// Carries out what the group wants and sends what it says. Not while events of PostgreSQL are
    /// handled.
    pub(super) fn advance_group(&mut self) {
        self.note_own_changes();
        self.carry_out_outcomes();
        let now = self.clock.now();
        let (Upstream::Postgres(backend), Some(group)) = (&mut self.upstream, &mut self.group)
        else {
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

    /// The channel counts in a new epoch.
    pub(super) fn note_epoch(&mut self, key: ChannelKey) {
        let epoch = self.channels.position(key).epoch;
        if let Some(group) = &mut self.group {
            let is_own = self.channels.is_own(key);
            group.handle_epoch(key, self.channels.name(key), epoch, is_own);
        }
    }

    fn note_own_changes(&mut self) {
        while let Some(key) = self.channels.poll_changed() {
            let is_own = self.channels.is_own(key);
            if let Some(group) = &mut self.group {
                group.handle_own(key, is_own);
            }
        }
    }

    fn carry_out_outcomes(&mut self) {
        let now = self.clock.now();
        while let Some(outcome) = self.group.as_mut().and_then(|it| it.poll_outcome(now)) {
            match outcome {
                Outcome::Mirror(channel) => {
                    let is_mirrored = self.channels.mirror(&channel);
                    self.metrics.group_mirrors_refused += u64::from(!is_mirrored);
                }
                Outcome::Unmirror(channel) => self.channels.unmirror(&channel),
                Outcome::Release(key, patience) => {
                    self.answer_all_waiting(key, patience);
                    self.answer_waiting();
                }
                Outcome::AskPresent { pids, own_role } => {
                    self.presence = Some(Presence { pids, own_role });
                }
            }
        }
    }

    /// What a client's position is in our own numbers. [`Judgement::Wait`] holds the subscribe back
    /// until [`Outcome::Release`].
    pub(super) fn judge(
        &mut self,
        key: ChannelKey,
        since: Option<&Since>,
        patience: Patience,
    ) -> Judgement {
        let Some(since) = since else {
            return Judgement::Unknown;
        };
        let position = self.channels.position(key);
        if position.epoch.is_named(&since.epoch) {
            return Judgement::Position(since.seq);
        }
        let now = self.clock.now();
        match &mut self.group {
            Some(group) => group.judge(key, position.seq, since, patience, now),
            None => Judgement::Unknown,
        }
    }

    /// Whether the first subscribe that waits for the channel is to wait on.
    pub(super) fn waits_on(&mut self, key: ChannelKey, patience: Patience) -> bool {
        if self.group.is_none() || patience == Patience::None {
            return false;
        }
        let first = self.channels.peek_waiting(key);
        let Some(since) = first.and_then(|request| request.since.clone()) else {
            return false;
        };
        self.judge(key, Some(&since), patience) == Judgement::Wait
    }

    /// Why the peers have not said where they stand, if so.
    pub(super) fn group_readiness(&self) -> Result<(), &'static str> {
        let Some(group) = &self.group else {
            return Ok(());
        };
        group.readiness(&|name| self.channels.heard(name), self.clock.now())
    }
}
