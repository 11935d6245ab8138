//! Reactions to PostgreSQL's sessions, or to the program that stands in their place: which channels
//! hold, and the notifications on them.
//!
//! Knows neither how a LISTEN is written nor when a session is connected again. What became of a
//! publish is `publishes`'s.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use super::{
    Hub,
    answering::Answered,
    consulting,
    encode::Transport,
    feed::{Fed, Incoming},
    group::Patience,
    membership::Wish,
    pending::Subscribe,
    upstream::Upstream,
    work::{GAP_UNITS, LINKS_A_UNIT, Work},
};
use crate::{
    backend::{
        Event, Role,
        command::{Command, Verb},
    },
    channel::{ChannelKey, LengthUnit},
    message::{ErrorCode, GapReason, PostgresStatus, ServerMessage},
    pg::session::ServerError,
};

impl Hub {
    /// Handles whatever the sessions have to report; call after every `handle_*` of the backend.
    pub fn handle_backend(&mut self) {
        match std::mem::replace(&mut self.upstream, Upstream::Busy) {
            Upstream::Postgres(mut backend) => {
                backend.drain_events(self.clock.now(), |event| self.handle_event(event));
                self.upstream = Upstream::Postgres(backend);
            }
            other @ (Upstream::Program | Upstream::Busy) => self.upstream = other,
        }
        self.go_on_with_answered();
        self.forward_commands();
    }

    fn handle_event(&mut self, event: Event<'_>) {
        match event {
            Event::Notification {
                channel, payload, ..
            } => self.handle_notification(channel, payload),
            Event::Up(Role::Listening, unit) => self.handle_listening_up(unit),
            Event::Down(Role::Listening) => self.handle_listening_down(),
            Event::Up(Role::Publishing, _) => self.handle_publishing(true),
            Event::Down(Role::Publishing) => {
                self.handle_publishing(false);
                self.membership.handle_publishing_down();
            }
            Event::Absent(Role::Listening) => self.announce(PostgresStatus::Down),
            Event::Up(Role::Authorizing, _)
            | Event::Absent(Role::Publishing | Role::Authorizing)
            | Event::TlsGivenUp(Role::Authorizing) => {}
            Event::Function(verdict) => self.postgres.function = Some(verdict),
            Event::Down(Role::Authorizing) => {
                self.postgres.function = None;
                if let Some(inquiries) = self.authorization.inquiries_mut() {
                    inquiries.handle_down();
                }
            }
            Event::Called(number, called) => {
                if let Some(inquiries) = self.authorization.inquiries_mut() {
                    let clock = &self.clock;
                    let has_failed = consulting::handle_called(inquiries, number, called, clock);
                    self.metrics.function_failures += u64::from(has_failed);
                }
            }
            Event::Refused(refusal) => self.postgres.refusal = refusal,
            Event::TlsGivenUp(Role::Listening) => self.metrics.listening_tls_given_up += 1,
            Event::TlsGivenUp(Role::Publishing) => self.metrics.publishing_tls_given_up += 1,
            Event::Proved(proved) => self.postgres.is_proved = proved,
            Event::Unfit(unfit) => self.postgres.unfit = unfit,
            Event::Committed(members) => self.metrics.transaction_size.observe(members),
            Event::Stalled(stall) => self.postgres.stall = stall,
            Event::QueueUsage(usage) => self.postgres.queue_usage = usage,
            Event::Listened(key, result) => self.handle_listened(key, result),
            Event::Unlistened(key) => self.channels.handle_unlistened(key),
            Event::Published(number, published) => self.handle_published(number, &published),
            Event::Control(control) => {
                let now = self.clock.now();
                self.membership.handle_control(control, &self.channels, now);
                // At this place of the order, before the next notification.
                self.carry_out_wishes();
            }
        }
    }

    // ---- channels

    /// The listening session takes commands.
    pub(super) fn handle_listening_up(&mut self, length_unit: LengthUnit) {
        self.postgres.unfit = None;
        self.postgres.length_unit = length_unit;
        self.metrics.listening_connects += 1;
        // Nobody heard what was missed: the server is another, or was restarted.
        if !self.membership.is_catching_up() && self.postgres.take_withheld() {
            self.announce(PostgresStatus::Down);
        }
        self.channels.handle_up();
        let unsettled = self.channels.interests().unsettled_count();
        if self.metrics.listening_connects > 1 {
            let missed = if unsettled == 0 {
                ""
            } else if self.membership.is_catching_up() {
                "; what was sent in between is asked of the group"
            } else {
                "; what was sent in between is lost, and subscribers are told of a gap"
            };
            tracing::info!(target: "alle::postgres", "listening again, channels: {unsettled}{missed}");
        }
        self.announce_up_if_settled();
    }

    /// The listening session is gone; nothing it was asked will be answered.
    fn handle_listening_down(&mut self) {
        self.postgres.is_proved = false;
        self.answering.clear();
        let may_resume = self.membership.handle_listening_down();
        self.channels.handle_down(may_resume);
        if may_resume {
            let until = self.clock.now() + DOWN_UNTOLD;
            self.postgres.withhold_down(until);
        } else {
            self.announce(PostgresStatus::Down);
        }
    }

    /// LISTEN was answered: its subscribers are told of the gap, and those that waited are
    /// subscribed; or either is told of the refusal.
    fn handle_listened(&mut self, key: ChannelKey, result: Result<(), ServerError>) {
        let now = self.clock.now();
        let (channels, delivery) = (&mut self.channels, &mut self.delivery);
        match result {
            Ok(()) if self.membership.hold_back(key, channels, delivery, now) => return,
            Ok(()) => {
                let is_wanted = self.channels.handle_listened(key);
                self.tell_gap(key, GapReason::PostgresReconnect);
                self.membership.handle_epoch(key, &self.channels);
                if is_wanted {
                    self.answer_all_waiting(key, Patience::Answers);
                }
            }
            Err(error) => self.handle_listen_refused(key, error),
        }
        self.answer_waiting();
        self.announce_up_if_settled();
    }

    fn handle_listen_refused(&mut self, key: ChannelKey, error: ServerError) {
        let channel = self.channels.name(key).as_str();
        if error.is_about_name() && !self.channels.links().has_subscriber(key) {
            tracing::debug!(target: "alle::postgres", "a name that cannot be: {error}");
        } else {
            tracing::warn!(target: "alle::postgres", channel, "LISTEN was refused: {error}");
        }
        let (text, sqlstate) = (error.message.as_str(), error.sqlstate.as_str());
        let refusal = ServerMessage::postgres_error(text, sqlstate, channel, None);
        let (channels, delivery) = (&self.channels, &mut self.delivery);
        self.broadcast
            .tell_subscribers(key, &refusal, None, channels, delivery);
        self.membership.handle_refused(key, &self.channels);
        let left = self.channels.waiting_count(key);
        self.channels.handle_refused(key, self.clock.now());
        self.answering.push_back(Answered {
            key,
            left,
            error: Some(error),
            patience: Patience::None,
            waits: self.openings.wait_count(),
        });
    }

    // ---- subscribes that waited

    /// Answers subscribes that waited for a LISTEN, as far as the turn's work goes.
    pub(super) fn answer_waiting(&mut self) {
        let now = self.clock.now();
        while let Some(mut answered) = self.answering.pop_front() {
            let key = answered.key;
            if !self.release_streams(key, answered.waits, answered.patience) {
                self.answering.push_front(answered);
                return;
            }
            // One that waits on is the first of an answer that follows.
            let mut waits_on = false;
            while answered.left > 0 {
                if self.work.is_spent() {
                    self.answering.push_front(answered);
                    return;
                }
                let (channels, patience) = (&self.channels, answered.patience);
                waits_on = answered.error.is_none()
                    && self.membership.waits_on(key, channels, patience, now);
                let next = if waits_on {
                    None
                } else {
                    self.channels.pop_waiting(key)
                };
                let Some((slot, request)) = next else {
                    break;
                };
                answered.left -= 1;
                self.work.spend(1);
                match &answered.error {
                    None => self.admit(slot, key, &request),
                    Some(error) => self.refuse_waiting(slot, key, &request, error),
                }
            }
            if !waits_on {
                self.channels.end_waiting(key, now);
            }
        }
    }

    /// Those that wait for the channel are subscribed, but for those with a position for which this
    /// is too early.
    fn answer_all_waiting(&mut self, key: ChannelKey, patience: Patience) {
        self.answering.push_back(Answered {
            key,
            left: usize::MAX,
            error: None,
            patience,
            waits: self.openings.wait_count(),
        });
    }

    fn refuse_waiting(
        &mut self,
        slot: u32,
        key: ChannelKey,
        request: &Subscribe,
        error: &ServerError,
    ) {
        let channel = self.channels.name(key).clone();
        if error.is_about_name() {
            let (code, id) = (ErrorCode::BadChannel, request.id.as_ref());
            self.send_error(slot, code, &error.message, Some(channel.as_str()), id);
            return;
        }
        self.metrics.errors.add(ErrorCode::PostgresError.label());
        let (text, sqlstate) = (error.message.as_str(), error.sqlstate.as_str());
        let id = request.id.as_ref();
        let refusal = ServerMessage::postgres_error(text, sqlstate, channel.as_str(), id);
        self.answer(slot, &refusal);
        if self.clients.is_open(slot) && self.clients.transport(slot) == Transport::EventStream {
            self.openings.note_refused(slot, key);
            self.join_if_answered(slot);
        }
    }

    /// Carries out what the group wants.
    fn carry_out_wishes(&mut self) {
        let now = self.clock.now();
        while let Some(wish) = self
            .membership
            .poll_wish(&mut self.channels, &mut self.metrics, now)
        {
            match wish {
                Wish::Release(key, patience) => {
                    self.answer_all_waiting(key, patience);
                    self.answer_waiting();
                }
                Wish::TellGap(key) => {
                    if self.postgres.take_withheld() {
                        self.announce(PostgresStatus::Down);
                    }
                    self.tell_gap(key, GapReason::PostgresReconnect);
                }
            }
        }
    }

    /// Delivers what was missed and what came meanwhile, a slice in each turn. When that is done, the
    /// channels that were held back count.
    fn replay(&mut self) {
        let mut bytes = 0;
        while bytes < REPLAYED_BYTES_A_TURN {
            let Some(late) = self.membership.poll_replayed() else {
                break;
            };
            bytes += late.bytes();
            let notified = self.channels.count(late.key);
            let (channels, delivery) = (&self.channels, &mut self.delivery);
            self.broadcast
                .notify_late(notified, &late, channels, delivery, &mut self.metrics);
        }
        let Some((keys, late)) = self.membership.poll_released() else {
            return;
        };
        for key in keys {
            if self.channels.handle_released(key) {
                self.answer_all_waiting(key, Patience::Answers);
            }
        }
        for key in late {
            self.handle_listened(key, Ok(()));
        }
        self.answer_waiting();
        self.announce_up_if_settled();
    }

    // ---- notifications

    /// PostgreSQL sent a notification; the bytes may be anything.
    fn handle_notification(&mut self, channel: &[u8], payload: &[u8]) {
        self.metrics.notifications += 1;
        let Some(notified) = self.channels.notify(channel) else {
            self.handle_uncounted(channel, payload);
            return;
        };
        let (channels, delivery) = (&self.channels, &mut self.delivery);
        self.broadcast
            .notify(notified, payload, channels, delivery, &mut self.metrics);
    }

    /// A notification does not count: nobody wants its channel, or that is held back.
    #[cold]
    fn handle_uncounted(&mut self, channel: &[u8], payload: &[u8]) {
        let (channels, retained) = (&self.channels, self.delivery.retained_bytes());
        let left = self.limits.retained_bytes_max.saturating_sub(retained);
        if self.membership.hold(channel, payload, channels, left) {
            self.carry_out_wishes();
        } else {
            self.metrics.notifications_unrouted += 1;
        }
    }

    /// A notification of the program that feeds us. One that lost something of every channel is told of by a
    /// gap in each, a slice in each turn; what else is said of a channel has its gap told before.
    pub fn handle_fed(&mut self, fed: &Fed) {
        match fed {
            Fed::Notification(channel, payload) => {
                self.tell_gap_before(channel.as_str());
                self.handle_notification(channel.as_str().as_bytes(), payload.as_bytes());
            }
            Fed::Gap(channel) => {
                if let Some(key) = self.channels.find(channel.as_str()) {
                    self.handle_missed(key, GapReason::PostgresReconnect);
                }
            }
            Fed::Overflow => {
                self.channels.handle_all_missed();
                // Those who leave have their share of the turn, however often this comes.
                self.tell_gaps(Work::is_input_spent);
            }
        }
        self.forward_commands();
    }

    /// Tells of gaps that are still to come, as far as the turn's work and the memory for what is unsent
    /// go.
    pub(super) fn tell_gaps(&mut self, is_spent: fn(&Work) -> bool) {
        while self.channels.has_gaps() && !is_spent(&self.work) && !self.is_backend_paused() {
            self.work.spend(GAP_UNITS);
            if let Some(key) = self.channels.poll_gap() {
                self.handle_missed(key, GapReason::Overflow);
            }
        }
    }

    /// Something else of the channel is next: its gap, if one is to come, goes before that.
    pub(super) fn tell_gap_before(&mut self, channel: &str) {
        if let Some(key) = self.channels.find_gap(channel) {
            self.work.spend(GAP_UNITS);
            self.handle_missed(key, GapReason::Overflow);
        }
    }

    fn handle_missed(&mut self, key: ChannelKey, reason: GapReason) {
        if self.channels.handle_missed(key) {
            self.tell_gap(key, reason);
        }
    }

    /// The channel's notifications are counted anew: its subscribers are told of a gap.
    fn tell_gap(&mut self, key: ChannelKey, reason: GapReason) {
        self.delivery.forget_history(key);
        let (channels, delivery) = (&self.channels, &mut self.delivery);
        self.broadcast
            .tell_gap(key, reason, channels, delivery, &mut self.metrics);
    }

    // ---- how PostgreSQL is

    /// Clients are told when every channel is listened to again, or wanted no longer.
    pub(super) fn announce_up_if_settled(&mut self) {
        let interests = self.channels.interests();
        if interests.is_up() && interests.unsettled_count() == 0 {
            self.postgres.take_withheld();
            self.announce(PostgresStatus::Up);
        }
    }

    /// Clients are told of a lost session that others did not make up for in time.
    pub(super) fn tell_withheld(&mut self, now: Instant) {
        if self.postgres.take_withheld_until(now) {
            self.announce(PostgresStatus::Down);
        }
    }

    fn announce(&mut self, status: PostgresStatus) {
        if self.postgres.announce(status) {
            tracing::debug!(target: "alle::postgres", "clients are told: {status:?}");
            self.metrics.statuses += self.clients.open_count() as u64;
            let message = ServerMessage::Status { postgres: status };
            let (clients, delivery) = (&self.clients, &mut self.delivery);
            self.broadcast.tell_all(&message, clients, delivery);
        }
    }

    /// Why not every wanted channel is heard and publishable, if so.
    pub fn readiness(&self) -> Result<(), Cow<'static, str>> {
        if self.shutdown.has_begun() {
            return Err("shutting down".into());
        }
        let interests = self.channels.interests();
        self.postgres.listening_readiness(interests)?;
        if !self.authorization.access().is_publishing_forbidden() {
            self.postgres.publishing_readiness()?;
        }
        if self.has_function() {
            self.postgres.function_readiness()?;
        }
        let now = self.clock.now();
        Ok(self.membership.readiness(&self.channels, now)?)
    }

    /// Gives the commands of the channels to the upstream, as far as that takes them.
    pub(super) fn forward_commands(&mut self) {
        let inquiries = self.authorization.inquiries_mut();
        if let (Upstream::Postgres(backend), Some(inquiries)) = (&mut self.upstream, inquiries) {
            self.metrics.function_calls += consulting::forward(inquiries, backend, &self.clock);
        }
        if self.membership.is_in_group() {
            self.membership.note_changes(&mut self.channels);
            self.carry_out_wishes();
        }
        match &mut self.upstream {
            Upstream::Postgres(backend) => {
                let now = self.clock.now();
                self.membership
                    .advance(backend, &self.channels, &self.delivery, now);
                while backend.can_ask() {
                    let Some(command) = self.channels.poll_command() else {
                        break;
                    };
                    backend.ask(command);
                }
            }
            Upstream::Program => {
                while let Some(Command { verb, key, channel }) = self.channels.poll_command() {
                    let channel = channel.clone();
                    match verb {
                        Verb::Listen => {
                            self.request(Incoming::Subscribe(channel));
                            self.handle_listened(key, Ok(()));
                        }
                        Verb::Unlisten => {
                            self.request(Incoming::Unsubscribe(channel));
                            self.channels.handle_unlistened(key);
                        }
                    }
                }
            }
            Upstream::Busy => return,
        }
        if self.membership.is_in_group() {
            self.carry_out_wishes();
            self.replay();
        }
    }

    /// Lets go of channels that were kept for clients that did not come back, as far as the turn's
    /// work goes.
    pub(super) fn end_kept(&mut self) {
        let now = self.clock.now();
        let mut ended = 0;
        while !self.work.is_spent() && self.channels.end_kept(now) {
            ended += 1;
            self.work.spend(usize::from(ended % LINKS_A_UNIT == 0));
        }
    }
}

/// From the loss of a listening session on, so long are clients not told of it where others may have
/// heard what is missed.
const DOWN_UNTOLD: Duration = Duration::from_secs(1);
/// More than is read from PostgreSQL in a turn.
const REPLAYED_BYTES_A_TURN: usize = 128 * 1024;
