//! Event streams: who gets one, where it goes on, and how it ends.
//!
//! A stream is a client whose channels are in its request: all of them begin at one moment, once
//! PostgreSQL has answered for each. Knows neither how a position is written nor how an event is.

use std::time::Duration;

use super::{
    Hub,
    answer::{Answer, append_stream_end, append_stream_head, retry_after_end},
    clients::Phase,
    encode::Transport,
    group::{Judgement, Patience},
    opening::{Opening, Resumption},
    pending::Subscribe,
    position::Position,
    reply::Stream,
    shares::TooMany,
    unlisten_delay::Parting,
    work::message_units,
};
use crate::{
    channel::{Channel, ChannelKey},
    delivery::Recovered,
    http::response::Status,
    message::{GapReason, PostgresStatus, ServerMessage, Since},
    sse::{encoder, event_id::EventId},
    ws::close::CloseReason,
};

impl Hub {
    /// A stream that ends as soon as it has begun: its reader tries again.
    pub(super) fn stream_refusal(
        &mut self,
        reason: CloseReason,
        text: &str,
        fields: &str,
    ) -> Answer {
        let retry = retry_after_end(&mut self.random);
        Answer::stream_end(retry, reason.code(), text, fields)
    }

    // ---- its beginning

    /// The connection becomes a stream, which is silent until PostgreSQL has answered for its channels.
    pub(super) fn open_stream(&mut self, slot: u32, stream: Stream) {
        let Stream {
            token,
            channels,
            last_event_id,
            fields,
        } = stream;
        self.metrics.http_responses.add(Status::Ok.code());
        self.metrics.streams_begun += 1;
        self.enter(slot, token, Transport::EventStream);
        let retry = RETRY_MAX.mul_f64(self.random.fraction());
        let milliseconds = u32::try_from(retry.as_millis()).unwrap_or(u32::MAX);
        let lane = Transport::EventStream.lane();
        self.delivery
            .push_head(slot, lane, |out| append_stream_head(&fields, out));
        self.delivery
            .push(slot, |out| encoder::append_retry(milliseconds, out));
        let is_told_down = self.postgres.is_announced_down();
        if is_told_down {
            self.tell_status(slot, PostgresStatus::Down);
        }
        let resumption = match last_event_id {
            None => Resumption::Now,
            Some(id) => match self.place_of(&id, &channels) {
                Some(place) => Resumption::Place(place),
                None => Resumption::Unknown(id),
            },
        };
        self.openings.insert(
            slot,
            Opening {
                resumption,
                channels: Vec::new(),
                unanswered: 0,
                is_refused: false,
                is_told_down,
            },
        );
        for channel in channels {
            self.subscribe_stream(slot, channel);
        }
        self.join_if_answered(slot);
    }

    fn tell_status(&mut self, slot: u32, postgres: PostgresStatus) {
        self.metrics.statuses += 1;
        let status = ServerMessage::Status { postgres };
        let transport = self.clients.transport(slot);
        self.delivery
            .push(slot, |out| transport.append(&status, None, out));
    }

    fn subscribe_stream(&mut self, slot: u32, channel: Channel) {
        self.work.spend(1);
        let request = Subscribe {
            id: None,
            since: None,
        };
        let max = self.limits.subscriptions_max;
        let name = channel.clone();
        let is_room = self.waiting_bytes() + request.bytes() <= self.limits.waiting_bytes_max;
        let error = match is_room.then(|| self.channels.subscribe(slot, channel, request, max)) {
            Some(Ok(listened)) => {
                self.note_wanted(slot, &name, listened.is_some());
                return;
            }
            Some(Err((error, _))) => error,
            None => TooMany::Waiting,
        };
        let (code, text) = self.too_many(error);
        self.send_error(slot, code, &text, Some(name.as_str()), None);
        if let Some(opening) = self.openings.get_mut(slot) {
            opening.is_refused = true;
        }
    }

    /// The opening stream has the channel, or waits for it.
    fn note_wanted(&mut self, slot: u32, name: &Channel, is_listened: bool) {
        let key = self.channels.find(name.as_str());
        let (Some(key), Some(opening)) = (key, self.openings.get_mut(slot)) else {
            return;
        };
        opening.channels.push(key);
        if is_listened {
            self.channels.link(slot, key, Transport::EventStream.lane());
        } else {
            opening.unanswered += 1;
        }
    }

    /// PostgreSQL confirmed a channel for which the client's stream waited.
    pub(super) fn admit_stream(&mut self, slot: u32, key: ChannelKey) {
        self.channels.link(slot, key, Transport::EventStream.lane());
        self.note_answered(slot);
    }

    /// PostgreSQL refused one; the reader was told.
    pub(super) fn refuse_stream(&mut self, slot: u32, key: ChannelKey) {
        if let Some(opening) = self.openings.get_mut(slot) {
            opening.is_refused = true;
            opening.channels.retain(|it| *it != key);
        }
        self.note_answered(slot);
    }

    fn note_answered(&mut self, slot: u32) {
        if let Some(opening) = self.openings.get_mut(slot) {
            opening.unanswered -= 1;
        }
        self.join_if_answered(slot);
    }

    fn join_if_answered(&mut self, slot: u32) {
        let opening = self.openings.get_mut(slot);
        if opening.is_some_and(|it| it.unanswered == 0) {
            if let Some(opening) = self.openings.remove(slot) {
                self.join(slot, &opening);
            }
        }
    }

    /// All of the stream's channels begin. First the reader learns where each stands and of which of
    /// them something is missing, all at the place it has come from; then follows what it missed, in
    /// the order of all channels. So wherever the stream is cut, its reader's position is true.
    fn join(&mut self, slot: u32, opening: &Opening) {
        self.delivery.join(slot, Transport::EventStream.lane());
        // What came of PostgreSQL while the stream opened.
        match (opening.is_told_down, self.postgres.is_announced_down()) {
            (true, false) => self.tell_status(slot, PostgresStatus::Up),
            (false, true) => self.tell_status(slot, PostgresStatus::Down),
            (true, true) | (false, false) => {}
        }
        let mut missed = Vec::new();
        let mut reserved = 0;
        for (at, &key) in opening.channels.iter().enumerate() {
            self.work.spend(1);
            let is_last = at + 1 == opening.channels.len();
            let position = self.channels.position(key);
            let recovered = match opening.resumption {
                Resumption::Now | Resumption::Unknown(_) => None,
                Resumption::Place(place) => self.recover(slot, key, &position, place, reserved),
            };
            self.tell_position(slot, key, &position, opening, recovered.as_ref(), is_last);
            if let Some((recovered, count)) = recovered {
                reserved += recovered.bytes();
                self.metrics.deliveries += count;
                self.work.spend(message_units(recovered.bytes()));
                missed.push(recovered);
            }
        }
        self.delivery.push_recovered(slot, &missed);
        if opening.is_refused {
            let (reason, text) = (
                CloseReason::Overloaded,
                "a channel was refused, try again later",
            );
            self.note_close(slot, reason);
            self.end_stream(slot, reason, text, false);
        }
    }

    /// What is kept of the channel behind the place, and how many notifications that is; `None` if one
    /// is missing.
    fn recover(
        &mut self,
        slot: u32,
        key: ChannelKey,
        position: &Position,
        place: u64,
        reserved: usize,
    ) -> Option<(Recovered, u64)> {
        if place >= position.last {
            return Some((Recovered::default(), 0));
        }
        if place < position.began {
            return None;
        }
        // Without a history there is something behind the place, and nothing kept of it.
        let count = self.delivery.count_after(key, place).filter(|&it| it > 0)?;
        let lane = Transport::EventStream.lane();
        let frame = position.framing(Transport::EventStream);
        let recovered = self
            .delivery
            .recover(slot, lane, key, place, reserved, frame)?;
        Some((recovered, count as u64))
    }

    /// Tells the reader where a channel stands for it, and whether something of it is missing.
    fn tell_position(
        &mut self,
        slot: u32,
        key: ChannelKey,
        position: &Position,
        opening: &Opening,
        recovered: Option<&(Recovered, u64)>,
        is_last: bool,
    ) {
        let epoch = &*position.epoch.to_string();
        let seq = position.seq - recovered.map_or(0, |&(_, count)| count);
        let here = EventId {
            epoch,
            seq,
            place: Some(self.channels.place()),
        };
        // Where a position is unknown, it stays what it is until all is told.
        let id = match &opening.resumption {
            Resumption::Now => Some(here),
            Resumption::Place(place) => Some(EventId {
                place: Some(*place),
                ..here
            }),
            Resumption::Unknown(id) => EventId::parse(id),
        };
        let channel = self.channels.name(key).as_str();
        let is_resumed = opening.resumption != Resumption::Now;
        let subscribed = ServerMessage::Subscribed {
            channel,
            epoch,
            seq,
            recovered: is_resumed.then_some(recovered.is_some()),
            id: None,
        };
        let transport = Transport::EventStream;
        self.delivery
            .push(slot, |out| transport.append(&subscribed, id.as_ref(), out));
        if !is_resumed || recovered.is_some() {
            return;
        }
        let gap = ServerMessage::Gap {
            channel,
            epoch,
            seq,
            reason: GapReason::NotRecovered,
        };
        let is_unknown = matches!(opening.resumption, Resumption::Unknown(_));
        let id = if is_unknown && is_last {
            Some(here)
        } else {
            id
        };
        self.metrics.gaps += 1;
        self.delivery
            .push(slot, |out| transport.append(&gap, id.as_ref(), out));
    }

    /// The place of a position as a reader has it, among the channels that it asks for. One of another
    /// bridge is known in a group, by its channel's notification alone.
    fn place_of(&mut self, id: &str, channels: &[Channel]) -> Option<u64> {
        let id = EventId::parse(id)?;
        let since = Since {
            epoch: id.epoch.into(),
            seq: id.seq,
        };
        for name in channels {
            let Some(key) = self.channels.find(name.as_str()) else {
                continue;
            };
            let position = self.channels.position(key);
            let place = match self.judge(key, Some(&since), Patience::None) {
                Judgement::Position(_)
                    if position.epoch.is_named(id.epoch) && id.place.is_some() =>
                {
                    id.place
                }
                Judgement::Position(seq) => self.place_in(key, &position, seq),
                Judgement::Unknown | Judgement::Wait => continue,
            };
            // It may be before the channel's beginning: other channels began earlier.
            return place.filter(|&place| place <= self.channels.place());
        }
        None
    }

    // ---- its end

    /// Ends an open stream; its last event says why. Its reader comes again, and learns then what it
    /// may.
    pub(super) fn end_stream(
        &mut self,
        slot: u32,
        reason: CloseReason,
        message: &str,
        cuts_backlog: bool,
    ) {
        let retry = retry_after_end(&mut self.random);
        self.end(slot, Phase::Flushing, Parting::Lost, cuts_backlog);
        self.delivery.push(slot, |out| {
            let code = reason.code();
            if is_about_token(reason) {
                let end = ServerMessage::AuthEnd { code, message };
                Transport::EventStream.append(&end, None, out);
            } else {
                append_stream_end(retry, code, message, out);
            }
        });
    }
}

/// Whether a reader is to get another token.
fn is_about_token(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::TokenMissing
            | CloseReason::TokenWrong
            | CloseReason::TokenGone
            | CloseReason::TokenExpired
    )
}

/// After a cut, readers come back over this span, each at its own time.
const RETRY_MAX: Duration = Duration::from_secs(3);
