//! Reactions to what PostgreSQL's sessions report: which channels hold, and what they carry.
//!
//! Knows what was asked of the listening session and what it confirmed; neither how that is written
//! nor when the session is connected again.

use super::encode::append_message;
use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    listen_retry::Retry,
    parts::{Hub, Subscribe},
};
use crate::{
    backend::{
        Unfit,
        command::Command,
        interest::{self, Interest},
    },
    channel::{Channel, ChannelKey, LengthUnit},
    id::Tick,
    message::{GapReason, PostgresStatus, ServerMessage},
    pg::session::ServerError,
};

/// What is known of PostgreSQL, and of each channel there.
#[derive(Debug)]
pub(super) struct Listening {
    /// By channel.
    channels: Vec<ChannelState>,
    /// LISTEN can be sent.
    pub(super) session_up: bool,
    /// How the server counts the bytes of names and payloads.
    pub(super) measure: LengthUnit,
    /// What is published was heard, as far as we know.
    pub(super) proved: bool,
    /// How full PostgreSQL's queue was when last measured, from 0 to 1.
    pub(super) queue_usage: f64,
    /// Why the last server that let us in would not do.
    unfit: Option<Unfit>,
    /// Publishes can be sent.
    pub(super) publishing_up: bool,
    /// What clients were told last.
    pub(super) announced: PostgresStatus,
    /// Channels to be listened to, in the order they were wanted; some are not any more, which
    /// then cost PostgreSQL nothing.
    pub(super) to_listen: VecDeque<ChannelKey>,
    /// LISTENs and UNLISTENs not yet answered.
    asked: usize,
    /// Channels not yet listened to again since the session came up.
    unsettled: usize,
    /// When refused channels are asked for again, and how long after that.
    pub(super) retry: Option<Retry>,
    /// Deserted channels, in the order they were; some are wanted again by now.
    pub(super) lingering: VecDeque<(Tick, ChannelKey)>,
    /// For how long they linger.
    pub(super) unlisten_delay: Duration,
    /// The random half of every epoch of this process.
    pub(super) epoch_seed: u64,
    epochs: u64,
}

#[derive(Debug, Default)]
pub(super) struct ChannelState {
    pub(super) interest: Interest,
    /// Counts the confirmed LISTENs of the process; names the current one.
    epoch: u64,
    /// Notifications in this epoch.
    seq: u64,
    /// Listened to whether somebody is subscribed or not.
    pinned: bool,
    /// Counted in `Listening::unsettled`.
    settling: bool,
    /// Unanswered subscribes by slot of the client, in the order asked.
    pub(super) waiting: BTreeMap<u32, Vec<Subscribe>>,
    /// The last one left then; it stays listened to for a while.
    pub(super) deserted: Option<Tick>,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            session_up: false,
            measure: LengthUnit::Utf8,
            proved: false,
            queue_usage: 0.0,
            unfit: None,
            publishing_up: false,
            announced: PostgresStatus::Down,
            to_listen: VecDeque::new(),
            asked: 0,
            unsettled: 0,
            retry: None,
            lingering: VecDeque::new(),
            unlisten_delay: Duration::ZERO,
            epoch_seed: 0,
            epochs: 0,
        }
    }
}

impl Listening {
    pub(super) fn state_mut(&mut self, key: ChannelKey) -> &mut ChannelState {
        if self.channels.len() <= key.index() {
            self.channels
                .resize_with(key.index() + 1, ChannelState::default);
        }
        &mut self.channels[key.index()]
    }

    /// The channel's epoch and seq.
    pub(super) fn position(&self, key: ChannelKey) -> (String, u64) {
        let state = &self.channels[key.index()];
        (
            format!("{:016x}{:x}", self.epoch_seed, state.epoch),
            state.seq,
        )
    }

    /// Why not every wanted channel is heard and publishable, if so.
    pub(super) fn readiness(&self) -> Result<(), &'static str> {
        if !self.session_up {
            Err(match self.unfit {
                None => "PostgreSQL is not connected",
                Some(Unfit::Standby) => "PostgreSQL is a standby, where nobody can listen",
                Some(Unfit::Pooler) => "a pooler stands before PostgreSQL: notifications get lost",
                Some(Unfit::Deaf) => "notifications sent to PostgreSQL do not come back",
            })
        } else if self.unsettled > 0 {
            Err("channels are being listened to")
        } else if self
            .channels
            .iter()
            .any(|state| state.interest == Interest::Refused)
        {
            Err("PostgreSQL refused to listen to a channel")
        } else if !self.publishing_up {
            Err("the publishing session is not connected")
        } else if !self.proved {
            Err("no notification of the publishing session was heard yet")
        } else {
            Ok(())
        }
    }

    /// Channels that are heard.
    pub(super) fn listened_count(&self) -> usize {
        let is_heard = |state: &&ChannelState| state.interest == Interest::Listened;
        self.channels.iter().filter(is_heard).count()
    }

    /// Whether another LISTEN may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.session_up && self.asked < ASKED_MAX
    }

    /// Whether something falls due though no client is there.
    pub(super) fn has_deadlines(&self) -> bool {
        self.retry.is_some() || !self.lingering.is_empty()
    }

    fn next_epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.epochs
    }
}

impl Hub {
    /// Listens to the channel from now on, whoever subscribes.
    pub(super) fn pin(&mut self, channel: Channel) {
        let key = self.index.intern(channel);
        self.listening.state_mut(key).pinned = true;
        self.want(key);
    }

    /// Somebody wants the channel: it is listened to, now or when there is room.
    pub(super) fn want(&mut self, key: ChannelKey) {
        let has_room = self.listening.has_room();
        let interest = &mut self.listening.state_mut(key).interest;
        let was_waiting = *interest == Interest::Waiting;
        let command = interest.want(has_room);
        if *interest == Interest::Waiting && !was_waiting && self.listening.session_up {
            self.listening.to_listen.push_back(key);
        }
        self.send_command(key, command);
    }

    /// Listens to what waits, as far as there is room.
    pub(super) fn listen_to_waiting(&mut self) {
        while self.listening.has_room() {
            let Some(key) = self.listening.to_listen.pop_front() else {
                return;
            };
            let command = self.listening.state_mut(key).interest.ready();
            self.send_command(key, command);
        }
    }

    /// The listening session takes commands.
    pub(super) fn handle_listening_up(&mut self, measure: LengthUnit) {
        self.listening.session_up = true;
        self.listening.unfit = None;
        self.metrics.listening_connects += 1;
        self.listening.measure = measure;
        let keys: Vec<_> = self.index.channels().collect();
        for key in keys {
            let state = self.listening.state_mut(key);
            if state.interest == Interest::Waiting {
                state.settling = true;
                self.listening.unsettled += 1;
                self.listening.to_listen.push_back(key);
            }
        }
        if self.listening.unsettled > 0 {
            tracing::info!("listening again, channels: {}", self.listening.unsettled);
        }
        self.listen_to_waiting();
        if self.listening.unsettled == 0 {
            self.announce(PostgresStatus::Up);
        }
    }

    /// The listening session is gone; nothing it was asked will be answered.
    pub(super) fn handle_listening_down(&mut self) {
        self.listening.session_up = false;
        self.listening.proved = false;
        self.listening.to_listen.clear();
        self.listening.asked = 0;
        self.listening.unsettled = 0;
        self.listening.retry = None;
        let keys: Vec<_> = self.index.channels().collect();
        for key in keys {
            let state = self.listening.state_mut(key);
            state.interest.lost();
            state.settling = false;
            if state.deserted.take().is_some() {
                // Only now, for there is nothing left to UNLISTEN.
                self.unwant(key);
            } else {
                self.release_if_idle(key);
            }
        }
        debug_assert_eq!(self.listening.asked, 0, "nothing is asked of no session");
        self.announce(PostgresStatus::Down);
    }

    pub(super) fn handle_publishing(&mut self, up: bool) {
        self.listening.publishing_up = up;
        self.metrics.publishing_connects += u64::from(up);
    }

    pub(super) fn handle_proved(&mut self, proved: bool) {
        self.listening.proved = proved;
    }

    pub(super) fn handle_unfit(&mut self, unfit: Option<Unfit>) {
        self.listening.unfit = unfit;
    }

    /// LISTEN was answered: those who waited are subscribed, those who were are told of the gap.
    pub(super) fn handle_listened(
        &mut self,
        key: ChannelKey,
        result: Result<(), ServerError>,
        now: Tick,
    ) {
        self.listening.asked -= 1;
        match result {
            Ok(()) => {
                let epoch = self.listening.next_epoch();
                let state = self.listening.state_mut(key);
                let command = state.interest.listened();
                if state.interest == Interest::Listened {
                    state.epoch = epoch;
                    state.seq = 0;
                    self.history.clear(key);
                    self.report_gap(key, GapReason::PostgresReconnect);
                    self.admit_waiting(key, now);
                }
                self.send_command(key, command);
            }
            Err(error) => self.handle_listen_refused(key, &error, now),
        }
        self.settle(key);
        self.listen_to_waiting();
    }

    pub(super) fn handle_unlistened(&mut self, key: ChannelKey) {
        self.listening.asked -= 1;
        let command = self.listening.state_mut(key).interest.unlistened();
        self.send_command(key, command);
        self.release_if_idle(key);
        self.listen_to_waiting();
    }

    /// PostgreSQL sent a notification; the bytes may be anything.
    pub(super) fn handle_notification(&mut self, channel: &[u8], payload: &[u8]) {
        self.metrics.notifications += 1;
        let key = std::str::from_utf8(channel)
            .ok()
            .and_then(|name| self.index.find(name));
        let Some(key) = key else {
            self.metrics.notifications_unrouted += 1;
            return;
        };
        let state = self.listening.state_mut(key);
        if state.interest != Interest::Listened {
            // It came before its LISTEN was confirmed: `subscribed` or `gap` will follow it.
            self.metrics.notifications_unrouted += 1;
            return;
        }
        state.seq += 1;
        let seq = state.seq;
        let audience = self.index.subscribers(key).len();
        self.metrics.deliveries += audience as u64;
        if audience == 0 {
            self.metrics.notifications_unrouted += 1;
            if !self.history.is_on() {
                return;
            }
        }
        let payload = String::from_utf8_lossy(payload);
        let lossy = matches!(payload, Cow::Owned(_));
        self.metrics.notifications_lossy += u64::from(lossy);
        let channel = self.index.name(key).as_str();
        self.scratch.clear();
        let message = ServerMessage::Notification {
            channel,
            payload: &payload,
            seq,
            lossy,
        };
        append_message(&message, &mut self.scratch);
        if self.history.is_on() {
            self.history.push(key, seq, &self.scratch);
        }
        self.fan_out_scratch(key);
    }

    /// The feed of a stand-alone server dropped something.
    pub(super) fn handle_overflow(&mut self) {
        let keys: Vec<_> = self.index.channels().collect();
        for key in keys {
            self.begin_epoch(key, GapReason::Overflow);
        }
    }

    /// The feed of a stand-alone server missed something of this channel.
    pub(super) fn handle_feed_gap(&mut self, channel: &Channel) {
        if let Some(key) = self.index.find(channel.as_str()) {
            self.begin_epoch(key, GapReason::PostgresReconnect);
        }
    }

    fn begin_epoch(&mut self, key: ChannelKey, reason: GapReason) {
        let epoch = self.listening.next_epoch();
        let state = self.listening.state_mut(key);
        if state.interest == Interest::Listened {
            state.epoch = epoch;
            state.seq = 0;
            self.history.clear(key);
            self.report_gap(key, reason);
        }
    }

    fn send_command(&mut self, key: ChannelKey, command: Option<interest::Command>) {
        let Some(command) = command else { return };
        self.listening.asked += 1;
        let channel = self.index.name(key).clone();
        self.commands.push_back(match command {
            interest::Command::Listen => Command::Listen(key, channel),
            interest::Command::Unlisten => Command::Unlisten(key, channel),
        });
    }

    /// When the last one who wanted the channel is gone, PostgreSQL is told.
    pub(super) fn unwant_if_deserted(&mut self, key: ChannelKey, now: Tick) {
        let deserted = self.index.subscribers(key).is_empty();
        let state = self.listening.state_mut(key);
        if !deserted || state.pinned || !state.waiting.is_empty() || self.linger(key, now) {
            return;
        }
        self.unwant(key);
    }

    pub(super) fn unwant(&mut self, key: ChannelKey) {
        let command = self.listening.state_mut(key).interest.unwant();
        self.send_command(key, command);
        let state = self.listening.state_mut(key);
        if state.interest == Interest::Idle && state.settling {
            self.settle(key);
        } else {
            self.release_if_idle(key);
        }
    }

    /// A frame of the channel: nothing overtakes it and it overtakes nothing.
    fn report_gap(&mut self, key: ChannelKey, reason: GapReason) {
        let audience = self.index.subscribers(key).len();
        self.metrics.gaps += audience as u64;
        if audience == 0 {
            return;
        }
        let (epoch, seq) = self.listening.position(key);
        let channel = self.index.name(key).as_str();
        self.scratch.clear();
        let message = ServerMessage::Gap {
            channel,
            epoch: &epoch,
            seq,
            reason,
        };
        append_message(&message, &mut self.scratch);
        self.fan_out_scratch(key);
    }

    fn admit_waiting(&mut self, key: ChannelKey, now: Tick) {
        for (slot, requests) in std::mem::take(&mut self.listening.state_mut(key).waiting) {
            self.clients[slot as usize].forget_waiting(key, requests.len());
            for request in requests {
                self.admit(slot, key, &request, now);
            }
        }
        // Those who waited may all have been closed meanwhile.
        self.unwant_if_deserted(key, now);
    }

    fn settle(&mut self, key: ChannelKey) {
        let state = self.listening.state_mut(key);
        if std::mem::take(&mut state.settling) {
            self.listening.unsettled -= 1;
            if self.listening.unsettled == 0 {
                self.announce(PostgresStatus::Up);
            }
            self.release_if_idle(key);
        }
    }

    fn announce(&mut self, status: PostgresStatus) {
        if self.listening.announced != status {
            self.listening.announced = status;
            tracing::debug!("clients are told that PostgreSQL is {status:?}");
            self.metrics.statuses += self.open_clients as u64;
            self.broadcast(&ServerMessage::Status { postgres: status });
        }
    }

    fn release_if_idle(&mut self, key: ChannelKey) {
        let state = self.listening.state_mut(key);
        let is_idle = state.interest == Interest::Idle && !state.settling;
        if is_idle && !state.pinned && state.waiting.is_empty() {
            debug_assert!(
                self.index.subscribers(key).is_empty(),
                "an idle channel is deserted"
            );
            *state = ChannelState::default();
            self.history.clear(key);
            self.fanout.forget(key, &mut self.batches);
            self.index.release(key);
        }
    }
}

/// LISTENs and UNLISTENs under way at a time: what comes and goes meanwhile is never asked for.
const ASKED_MAX: usize = 256;
