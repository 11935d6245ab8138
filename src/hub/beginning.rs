//! How subscriptions begin: what a client is told of where each of its channels stands, and what it
//! missed since it was here.
//!
//! Knows neither who may subscribe nor what a position of another bridge is to us, which is the
//! group's.

use std::time::Instant;

use super::{
    channels::Channels,
    encode::{Transport, append_message},
    group::{Judgement, Patience},
    membership::Membership,
    opening::{Opening, Resumption},
    pending::Subscribe,
    position::Position,
    work::{Work, message_units},
};
use crate::{
    channel::ChannelKey,
    delivery::{Delivery, Recovered},
    message::{GapReason, ServerMessage, Since},
    metrics::Metrics,
    sse::event_id::EventId,
};

/// What is looked at, and changed, when the channels of a client begin.
pub(super) struct Beginning<'a> {
    pub(super) channels: &'a Channels,
    pub(super) delivery: &'a mut Delivery,
    pub(super) metrics: &'a mut Metrics,
    pub(super) work: &'a mut Work,
}

impl Beginning<'_> {
    // ---- of a WebSocket's client, each by itself

    /// The subscription holds from now on. Behind the answer follows what the client missed since
    /// its position, if all of that is still there.
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        key: ChannelKey,
        request: &Subscribe,
        judgement: Judgement,
    ) {
        let position = self.channels.position(key);
        let since = request.since.as_ref();
        let recovered = match judgement {
            Judgement::Position(seq) => {
                let missed = self.recover_from(slot, key, &position, seq);
                let is_foreign = since.is_some_and(|it| !position.epoch.is_named(&it.epoch));
                self.metrics.group_resumes += u64::from(is_foreign && missed.is_some());
                missed.map(|missed| (seq, missed))
            }
            Judgement::Unknown | Judgement::Wait => None,
        };
        let missed_from = recovered.as_ref().map(|&(seq, _)| seq);
        if let Some(seq) = missed_from {
            self.metrics.deliveries += position.seq - seq;
        }
        let message = ServerMessage::Subscribed {
            channel: self.channels.name(key).as_str(),
            epoch: &position.epoch.to_string(),
            seq: missed_from.unwrap_or(position.seq),
            recovered: since.map(|_| missed_from.is_some()),
            id: request.id.as_ref(),
        };
        self.delivery
            .push(slot, |out| append_message(&message, out));
        if let Some((_, missed)) = recovered {
            self.work.spend(message_units(missed.bytes()));
            self.delivery.push_recovered(slot, &[missed]);
        }
    }

    /// What a WebSocket's client missed of the channel behind notification `seq`.
    fn recover_from(
        &mut self,
        slot: u32,
        key: ChannelKey,
        position: &Position,
        seq: u64,
    ) -> Option<Recovered> {
        let transport = Transport::WebSocket;
        let place = place_in(self.delivery, key, position, seq)?;
        let count = self.delivery.count_after(key, place)? as u64;
        if count != position.seq - seq {
            return None;
        }
        let frame = position.framing(transport);
        self.delivery
            .recover(slot, transport.lane(), key, place, 0, frame)
    }

    // ---- of a reader of events, all at one moment

    /// All of the stream's channels begin. First the reader learns where each stands and of which of
    /// them something is missing, all at the place it has come from; then follows what it missed, in
    /// the order of all channels. So wherever the stream is cut, its reader's position is true.
    pub(super) fn join(&mut self, slot: u32, opening: &Opening) {
        let mut missed = Vec::new();
        let mut reserved = 0;
        let (epoch, seq) = self.newest_of(&opening.channels);
        let here = EventId {
            epoch: &epoch,
            seq,
            place: Some(self.channels.place()),
        };
        for (at, &key) in opening.channels.iter().enumerate() {
            self.work.spend(1);
            let is_last = at + 1 == opening.channels.len();
            let position = self.channels.position(key);
            let recovered = match opening.resumption {
                Resumption::Now | Resumption::Unknown(_) | Resumption::Unjudged(_) => None,
                Resumption::Place(place, _) => self.recover(slot, key, &position, place, reserved),
            };
            // Where a position is unknown, it stays what it is until all is told.
            let (before, behind) = match &opening.resumption {
                Resumption::Now => (Some(here), Some(here)),
                Resumption::Place(_, id) => (EventId::parse(id), EventId::parse(id)),
                Resumption::Unknown(id) if is_last => (EventId::parse(id), Some(here)),
                Resumption::Unknown(id) | Resumption::Unjudged(id) => {
                    (EventId::parse(id), EventId::parse(id))
                }
            };
            let count = recovered.as_ref().map(|&(_, count)| count);
            let is_resumed = opening.resumption != Resumption::Now;
            self.tell_position(slot, key, &position, (before, behind), is_resumed, count);
            if let Some((recovered, count)) = recovered {
                reserved += recovered.bytes();
                self.metrics.deliveries += count;
                self.work.spend(message_units(recovered.bytes()));
                missed.push(recovered);
            }
        }
        self.delivery.push_recovered(slot, &missed);
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

    /// The epoch and number of the newest notification on one of the channels: between that and now there
    /// is nothing on them, and another bridge knows where that stands.
    fn newest_of(&self, keys: &[ChannelKey]) -> (String, u64) {
        let positions = keys.iter().map(|&key| self.channels.position(key));
        let newest = positions.max_by_key(|position| (position.seq > 0, position.last));
        newest.map_or_else(Default::default, |it| (it.epoch.to_string(), it.seq))
    }

    /// Tells the reader where a channel stands for it, and whether something of it is missing: unless
    /// so many notifications are recovered. Its own position is `ids`: before the gap, and behind it.
    fn tell_position(
        &mut self,
        slot: u32,
        key: ChannelKey,
        position: &Position,
        ids: (Option<EventId<'_>>, Option<EventId<'_>>),
        is_resumed: bool,
        recovered: Option<u64>,
    ) {
        let epoch = &*position.epoch.to_string();
        let seq = position.seq - recovered.unwrap_or(0);
        let channel = self.channels.name(key).as_str();
        let subscribed = ServerMessage::Subscribed {
            channel,
            epoch,
            seq,
            recovered: is_resumed.then_some(recovered.is_some()),
            id: None,
        };
        let (transport, (before, behind)) = (Transport::EventStream, ids);
        self.delivery.push(slot, |out| {
            transport.append(&subscribed, before.as_ref(), out)
        });
        if !is_resumed || recovered.is_some() {
            return;
        }
        let gap = ServerMessage::Gap {
            channel,
            epoch,
            seq,
            reason: GapReason::NotRecovered,
        };
        self.metrics.gaps += 1;
        self.delivery
            .push(slot, |out| transport.append(&gap, behind.as_ref(), out));
    }
}

/// The place of the channel's notification `seq` in the order of all channels, where that is known.
fn place_in(delivery: &Delivery, key: ChannelKey, position: &Position, seq: u64) -> Option<u64> {
    match seq {
        _ if seq == position.seq => Some(position.last),
        0 => Some(position.began),
        _ => delivery.place_of(key, seq),
    }
}

/// What is found out about the position of a reader.
pub(super) enum Located {
    /// It can go on there, or nobody knows where.
    At(Resumption),
    /// The group is to say first what the position is on these channels.
    Awaited(Vec<ChannelKey>),
}

/// Where a position is that a reader has, among the channels that it asks for. One of another bridge is
/// known in a group, by its channel's notification alone: there it may lie in the future, or the peers may
/// be yet to say where they stand, and the reader waits if it has the patience.
pub(super) fn locate(
    id: &str,
    keys: &[ChannelKey],
    (channels, delivery): (&Channels, &Delivery),
    membership: &mut Membership,
    patience: Patience,
    now: Instant,
) -> Located {
    let parsed = EventId::parse(id);
    // A place of ours outlives the epoch that it was told with.
    let place = parsed.and_then(|it| it.place.filter(|_| channels.has_named(it.epoch)));
    if let Some(place) = place {
        return Located::At(match place <= channels.place() {
            true => Resumption::Place(place, id.to_owned()),
            false => Resumption::Unknown(id.to_owned()),
        });
    }
    let mut awaited = Vec::new();
    let found = parsed.and_then(|id| {
        let since = Since {
            epoch: id.epoch.into(),
            seq: id.seq,
        };
        keys.iter().find_map(|&key| {
            match membership.judge(key, Some(&since), channels, patience, now) {
                Judgement::Position(seq) => Some((id, key, seq)),
                Judgement::Wait => {
                    awaited.push(key);
                    None
                }
                Judgement::Unknown => None,
            }
        })
    });
    let Some((position, key, seq)) = found else {
        return match awaited.is_empty() {
            true => Located::At(Resumption::Unknown(id.to_owned())),
            false => Located::Awaited(awaited),
        };
    };
    let told = place_of(position, key, seq, (channels, delivery));
    Located::At(match told {
        Some((place, id)) => Resumption::Place(place, id),
        None => Resumption::Unknown(id.to_owned()),
    })
}

/// The place of a position on the channel, where that is known, and the position as an id.
fn place_of(
    id: EventId<'_>,
    key: ChannelKey,
    seq: u64,
    (channels, delivery): (&Channels, &Delivery),
) -> Option<(u64, String)> {
    let position = channels.position(key);
    let is_ours = position.epoch.is_named(id.epoch);
    let place = place_in(delivery, key, &position, seq);
    // It may be before the channel's beginning: other channels began earlier.
    let place = place.filter(|&place| place <= channels.place())?;
    let mut told = Vec::new();
    let place_of_ours = is_ours.then_some(place).or(id.place);
    EventId {
        place: place_of_ours,
        ..id
    }
    .append_to(&mut told);
    Some((place, String::from_utf8_lossy(&told).into_owned()))
}
