//! What many clients are told at once: all of them, or the subscribers of a channel.
//!
//! Each frame is encoded once for each transport that somebody uses; nothing overtakes it, and it
//! overtakes nothing. Knows neither why something is told nor how it leaves.

use std::borrow::Cow;

use super::{
    channels::Channels,
    clients::Clients,
    encode::{Transport, append_message},
    position::Notified,
};
use crate::{
    channel::ChannelKey,
    delivery::Delivery,
    message::{GapReason, ServerMessage},
    metrics::Metrics,
    sse::event_id::EventId,
    ws::encoder,
};

/// Encodes frames into buffers of its own, which live on.
#[derive(Debug, Default)]
pub(super) struct Broadcast {
    /// One frame on its way into a batch.
    scratch: Vec<u8>,
    /// One event on its way into a batch.
    event: Vec<u8>,
}

impl Broadcast {
    /// Tells everybody something.
    pub(super) fn tell_all(
        &mut self,
        message: &ServerMessage<'_>,
        clients: &Clients,
        delivery: &mut Delivery,
    ) {
        let streams = clients.stream_count();
        let sockets = clients.open_count() - streams;
        for (transport, count) in Transport::ALL.into_iter().zip([sockets, streams]) {
            if count > 0 {
                self.scratch.clear();
                transport.append(message, None, &mut self.scratch);
                delivery.broadcast(transport.lane(), &self.scratch);
            }
        }
    }

    /// Tells every subscriber of the channel something; an event of it has the id, if there is one.
    pub(super) fn tell_subscribers(
        &mut self,
        key: ChannelKey,
        message: &ServerMessage<'_>,
        id: Option<&EventId<'_>>,
        channels: &Channels,
        delivery: &mut Delivery,
    ) {
        let audience = channels.audience(key);
        for (transport, audience) in Transport::ALL.into_iter().zip(audience) {
            self.scratch.clear();
            transport.append(message, id, &mut self.scratch);
            delivery.append(key, transport.lane(), audience, &self.scratch);
        }
    }

    /// Tells the subscribers of the channel that its notifications are counted anew, and that
    /// something was missed.
    pub(super) fn tell_gap(
        &mut self,
        key: ChannelKey,
        reason: GapReason,
        channels: &Channels,
        delivery: &mut Delivery,
        metrics: &mut Metrics,
    ) {
        let audience: usize = channels.audience(key).iter().sum();
        metrics.gaps += audience as u64;
        if audience == 0 {
            return;
        }
        let position = channels.position(key);
        let epoch = &*position.epoch.to_string();
        let message = ServerMessage::Gap {
            channel: channels.name(key).as_str(),
            epoch,
            seq: position.seq,
            reason,
        };
        let id = EventId {
            epoch,
            seq: position.seq,
            place: Some(position.began),
        };
        self.tell_subscribers(key, &message, Some(&id), channels, delivery);
    }

    /// Gives a notification to the subscribers of its channel, and keeps it for those that come
    /// back; its bytes may be anything.
    pub(super) fn notify(
        &mut self,
        notified: Notified,
        payload: &[u8],
        channels: &Channels,
        delivery: &mut Delivery,
        metrics: &mut Metrics,
    ) {
        let Notified {
            key,
            seq,
            place,
            audience: [by_socket, by_stream],
        } = notified;
        metrics.deliveries += (by_socket + by_stream) as u64;
        if by_socket + by_stream == 0 {
            metrics.notifications_unrouted += 1;
            if !delivery.has_history() {
                return;
            }
        }
        let payload = String::from_utf8_lossy(payload);
        let lossy = matches!(payload, Cow::Owned(_));
        metrics.notifications_lossy += u64::from(lossy);
        let message = ServerMessage::Notification {
            channel: channels.name(key).as_str(),
            payload: &payload,
            seq,
            lossy,
        };
        self.scratch.clear();
        append_message(&message, &mut self.scratch);
        let lane = Transport::WebSocket.lane();
        delivery.append(key, lane, by_socket, &self.scratch);
        let text = encoder::payload(&self.scratch);
        delivery.keep(key, seq, place, text);
        if by_stream > 0 {
            self.event.clear();
            let framing = channels.position(key).framing(Transport::EventStream);
            framing(seq, text, &mut self.event);
            let lane = Transport::EventStream.lane();
            delivery.append(key, lane, by_stream, &self.event);
        }
    }
}
