//! Reactions to PostgreSQL's sessions, or to the program that stands in their place: which channels
//! hold, and the notifications on them.
//!
//! Knows neither how a LISTEN is written nor when a session is connected again.

use std::borrow::Cow;

use super::{
    Action, Hub, Upstream,
    answering::Answer,
    encode::{Transport, append_message},
    feed::{Fed, Incoming, Request, Taken},
    group::Patience,
    pending::Subscribe,
    position::Notified,
};
use crate::{
    backend::{
        Event, Role,
        command::{Command, Published, Verb},
    },
    channel::{Channel, ChannelKey, LengthUnit},
    message::{ErrorCode, GapReason, PostgresStatus, ServerMessage},
    pg::session::ServerError,
    sse::event_id::EventId,
    ws::encoder,
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
                if let Some(group) = &mut self.group {
                    group.handle_publishing_down();
                }
            }
            Event::Absent(Role::Listening) => self.announce(PostgresStatus::Down),
            Event::Absent(Role::Publishing) => {}
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
            Event::Control(control) => self.handle_control(control),
        }
    }

    /// The listening session takes commands.
    pub(super) fn handle_listening_up(&mut self, length_unit: LengthUnit) {
        self.postgres.unfit = None;
        self.postgres.length_unit = length_unit;
        self.metrics.listening_connects += 1;
        self.channels.handle_up();
        let unsettled = self.channels.interests().unsettled_count();
        if unsettled > 0 {
            tracing::info!("listening again, channels: {unsettled}");
        }
        self.announce_up_if_settled();
    }

    /// The listening session is gone; nothing it was asked will be answered.
    fn handle_listening_down(&mut self) {
        self.postgres.is_proved = false;
        self.answering.clear();
        if let Some(group) = &mut self.group {
            group.handle_listening_down();
        }
        self.channels.handle_down();
        self.announce(PostgresStatus::Down);
    }

    pub(super) fn handle_publishing(&mut self, is_up: bool) {
        self.postgres.is_publishing_up = is_up;
        self.metrics.publishing_connects += u64::from(is_up);
    }

    /// LISTEN was answered: its subscribers are told of the gap, and those that waited are
    /// subscribed; or either is told of the refusal.
    pub(super) fn handle_listened(&mut self, key: ChannelKey, result: Result<(), ServerError>) {
        match result {
            Ok(()) => {
                if self.channels.handle_listened(key) {
                    self.handle_new_epoch(key, GapReason::PostgresReconnect);
                    self.note_epoch(key);
                    self.answer_all_waiting(key, Patience::Answers);
                }
            }
            Err(error) => self.handle_listen_refused(key, error),
        }
        self.answer_waiting();
        self.announce_up_if_settled();
    }

    /// Answers subscribes that waited for a LISTEN, as far as the turn's work goes.
    pub(super) fn answer_waiting(&mut self) {
        while let Some(mut answering) = self.answering.pop_front() {
            let key = answering.key;
            // One that waits on is the first of an answer that follows.
            let mut waits_on = false;
            while answering.left > 0 {
                if self.work.is_spent() {
                    self.answering.push_front(answering);
                    return;
                }
                waits_on = answering.error.is_none() && self.waits_on(key, answering.patience);
                let next = if waits_on {
                    None
                } else {
                    self.channels.pop_waiting(key)
                };
                let Some((slot, request)) = next else {
                    break;
                };
                answering.left -= 1;
                self.work.spend(1);
                match &answering.error {
                    None => self.admit(slot, key, &request),
                    Some(error) => self.refuse_waiting(slot, key, &request, error),
                }
            }
            if !waits_on {
                self.channels.end_waiting(key, self.clock.now());
            }
        }
    }

    /// Those that wait for the channel are subscribed, but for those with a position for which this
    /// is too early.
    pub(super) fn answer_all_waiting(&mut self, key: ChannelKey, patience: Patience) {
        self.answering.push_back(Answer {
            key,
            left: usize::MAX,
            error: None,
            patience,
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
            self.refuse_stream(slot, key);
        }
    }

    fn handle_listen_refused(&mut self, key: ChannelKey, error: ServerError) {
        let channel = self.channels.name(key).clone();
        if error.is_about_name() && !self.channels.links().has_subscriber(key) {
            tracing::debug!("a name that cannot be: {error}");
        } else {
            tracing::warn!(
                channel = channel.as_str(),
                "PostgreSQL refused to LISTEN: {error}"
            );
        }
        let (text, sqlstate) = (error.message.as_str(), error.sqlstate.as_str());
        let refusal = ServerMessage::postgres_error(text, sqlstate, channel.as_str(), None);
        self.fan_out(key, &refusal);
        let left = self.channels.waiting_count(key);
        self.channels.handle_refused(key, self.clock.now());
        self.answering.push_back(Answer {
            key,
            left,
            error: Some(error),
            patience: Patience::None,
        });
    }

    /// PostgreSQL sent a notification; the bytes may be anything.
    pub(super) fn handle_notification(&mut self, channel: &[u8], payload: &[u8]) {
        self.metrics.notifications += 1;
        let Some(notified) = self.channels.notify(channel) else {
            self.metrics.notifications_unrouted += 1;
            return;
        };
        let Notified {
            key,
            seq,
            place,
            audience,
        } = notified;
        let [by_socket, by_stream] = audience;
        self.metrics.deliveries += (by_socket + by_stream) as u64;
        if by_socket + by_stream == 0 {
            self.metrics.notifications_unrouted += 1;
            if !self.delivery.has_history() {
                return;
            }
        }
        let payload = String::from_utf8_lossy(payload);
        let lossy = matches!(payload, Cow::Owned(_));
        self.metrics.notifications_lossy += u64::from(lossy);
        let message = ServerMessage::Notification {
            channel: self.channels.name(key).as_str(),
            payload: &payload,
            seq,
            lossy,
        };
        self.scratch.clear();
        append_message(&message, &mut self.scratch);
        let lane = Transport::WebSocket.lane();
        self.delivery.append(key, lane, by_socket, &self.scratch);
        let text = encoder::payload(&self.scratch);
        self.delivery.keep(key, seq, place, text);
        if by_stream > 0 {
            let mut event = std::mem::take(&mut self.event);
            event.clear();
            let position = self.channels.position(key);
            position.framing(Transport::EventStream)(seq, text, &mut event);
            let lane = Transport::EventStream.lane();
            self.delivery.append(key, lane, by_stream, &event);
            self.event = event;
        }
    }

    /// The feed of a stand-alone server dropped something.
    pub(super) fn handle_feed_overflow(&mut self) {
        let keys: Vec<_> = self.channels.interests().keys().collect();
        for key in keys {
            self.handle_missed(key, GapReason::Overflow);
        }
    }

    /// The feed of a stand-alone server missed something of this channel.
    pub(super) fn handle_feed_gap(&mut self, channel: &Channel) {
        if let Some(key) = self.channels.find(channel.as_str()) {
            self.handle_missed(key, GapReason::PostgresReconnect);
        }
    }

    fn handle_missed(&mut self, key: ChannelKey, reason: GapReason) {
        if self.channels.handle_missed(key) {
            self.handle_new_epoch(key, reason);
        }
    }

    /// The channel's notifications are counted anew: its subscribers are told of a gap.
    fn handle_new_epoch(&mut self, key: ChannelKey, reason: GapReason) {
        self.delivery.forget_history(key);
        let audience: usize = self.channels.audience(key).iter().sum();
        self.metrics.gaps += audience as u64;
        if audience == 0 {
            return;
        }
        let position = self.channels.position(key);
        let epoch = position.epoch.to_string();
        let message = ServerMessage::Gap {
            channel: self.channels.name(key).as_str(),
            epoch: &epoch,
            seq: position.seq,
            reason,
        };
        let id = EventId {
            epoch: &epoch,
            seq: position.seq,
            place: Some(position.began),
        };
        let frames = Transport::ALL.map(|transport| {
            let mut frame = Vec::new();
            transport.append(&message, Some(&id), &mut frame);
            frame
        });
        self.append_frames(key, &frames);
    }

    /// Clients are told when every channel is listened to again, or wanted no longer.
    pub(super) fn announce_up_if_settled(&mut self) {
        let interests = self.channels.interests();
        if interests.is_up() && interests.unsettled_count() == 0 {
            self.announce(PostgresStatus::Up);
        }
    }

    fn announce(&mut self, status: PostgresStatus) {
        if self.postgres.announce(status) {
            tracing::debug!("clients are told that PostgreSQL is {status:?}");
            self.metrics.statuses += self.clients.open_count() as u64;
            self.broadcast(&ServerMessage::Status { postgres: status });
        }
    }

    /// Why not every wanted channel is heard and publishable, if so.
    pub fn readiness(&self) -> Result<(), Cow<'static, str>> {
        let interests = self.channels.interests();
        if self.shutdown.has_begun() {
            Err("shutting down".into())
        } else if !interests.is_up() {
            Err(self.postgres.absence().into())
        } else if interests.unsettled_count() > 0 {
            Err("channels are being listened to".into())
        } else if interests.refused_count() > 0 {
            Err("PostgreSQL refused to listen to a channel".into())
        } else {
            if !self.authorization.access().is_publishing_forbidden() {
                self.postgres.publishing_readiness()?;
            }
            self.group_readiness().map_err(Cow::from)
        }
    }

    /// Gives the commands of the channels to the upstream, as far as that takes them.
    pub(super) fn forward_commands(&mut self) {
        if self.group.is_some() {
            self.advance_group();
        }
        loop {
            match &mut self.upstream {
                Upstream::Postgres(backend) => {
                    while backend.can_ask() {
                        let Some(command) = self.channels.poll_command() else {
                            return;
                        };
                        backend.ask(command);
                    }
                    return;
                }
                Upstream::Program => {
                    let Some(Command { verb, key, channel }) = self.channels.poll_command() else {
                        return;
                    };
                    let channel = channel.clone();
                    match verb {
                        Verb::Listen => {
                            self.request(Incoming::Subscribe(channel), None);
                            self.handle_listened(key, Ok(()));
                        }
                        Verb::Unlisten => {
                            self.request(Incoming::Unsubscribe(channel), None);
                            self.channels.handle_unlistened(key);
                        }
                    }
                }
                Upstream::Busy => return,
            }
        }
    }

    pub(super) fn request(&mut self, incoming: Incoming, ticket: Option<u32>) {
        let request = Request { incoming, ticket };
        self.actions.push_back(Action::Request(request));
    }

    // ---- a program instead of PostgreSQL

    /// A notification of the program that feeds us.
    pub fn handle_fed(&mut self, fed: &Fed) {
        match fed {
            Fed::Notification(channel, payload) => {
                self.handle_notification(channel.as_str().as_bytes(), payload.as_bytes());
            }
            Fed::Gap(channel) => self.handle_feed_gap(channel),
            Fed::Overflow => self.handle_feed_overflow(),
        }
        self.forward_commands();
    }

    /// What the program that feeds us did with a publish.
    pub fn handle_taken(&mut self, ticket: u32, taken: Taken) {
        let published = match taken {
            Taken::Yes => Published::Committed,
            Taken::Full => Published::Crowded,
            Taken::Never => Published::NotSent,
        };
        self.handle_published(ticket, &published);
    }
}
