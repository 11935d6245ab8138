//! The numbers of a moment, for whoever asks: what no counter says.
//!
//! Reads the parts of the hub and changes none. Nothing on the way of a notification keeps a number
//! up to date for this.

use super::{
    channels::Channels, clients::Clients, group::Group, host::Host, membership::Membership,
    postgres::Postgres, publishing::Publishing,
};
use crate::{config::Limits, delivery::Delivery, metrics::Gauges};

/// The parts that know them.
pub(super) struct Numbers<'a> {
    pub(super) limits: &'a Limits,
    pub(super) clients: &'a Clients,
    pub(super) channels: &'a Channels,
    pub(super) delivery: &'a Delivery,
    pub(super) publishing: &'a Publishing,
    pub(super) postgres: &'a Postgres,
    pub(super) membership: &'a Membership,
    pub(super) host: &'a Host,
    /// Memory that is the own of all clients.
    pub(super) owned_bytes: usize,
}

impl Numbers<'_> {
    /// What there is at this moment.
    pub(super) fn gather(&self) -> Gauges {
        let (clients, channels, publishing) = (self.clients, self.channels, self.publishing);
        let group = self.membership.group();
        let counts = group.map(|it| it.counts).unwrap_or_default();
        let sizes = self.delivery.sizes();
        let (open, handshaking) = (clients.open_count(), clients.unfinished_count());
        let process = self.host.process();
        Gauges {
            is_listening_up: channels.interests().is_up(),
            is_publishing_up: self.postgres.is_publishing_up,
            is_proved: self.postgres.is_proved,
            is_stalled: self.postgres.stall.is_some(),
            queue_usage: self.postgres.queue_usage,
            clients_handshake: handshaking,
            clients_open: open,
            streams: clients.stream_count(),
            clients_closing: clients.count() - open - handshaking,
            subscriptions: channels.links().count(),
            channels_listened: channels.interests().listened_count(),
            channels_used: channels.used_count(),
            channels_kept: channels.kept_count(),
            publishes_waiting: publishing.count(),
            backlogs: sizes.backlogs,
            backlog_bytes: sizes.backlog_bytes,
            retained_bytes: sizes.retained_bytes,
            owned_bytes: self.owned_bytes,
            waiting_bytes: publishing.bytes() + channels.waiting_bytes(),
            unsent_bytes: sizes.unsent_bytes,
            history_bytes: sizes.history_bytes,
            group_peers: group.map_or(0, Group::peer_count),
            group_channels_mirrored: group.map_or(0, Group::mirrored_count),
            group_offsets: group.map_or(0, Group::offset_count),
            group_messages_sent: counts.messages_sent,
            group_messages_heard: counts.messages_heard,
            group_messages_refused: counts.messages_refused,
            group_contradictions: counts.contradictions,
            log_lines_dropped: self.host.log_lines_dropped(),
            clients_max: self.limits.clients_max.unwrap_or(usize::MAX),
            cpu_seconds: process.cpu_seconds,
            start_seconds: process.start_seconds,
            virtual_bytes: process.virtual_bytes,
            resident_bytes: process.resident_bytes,
            files_open: process.files_open,
            files_max: process.files_max,
        }
    }
}
