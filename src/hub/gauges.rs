//! The numbers of a moment, for whoever asks: what no counter says.
//!
//! Reads the parts of the hub and changes none.

use std::sync::atomic::Ordering;

use super::Hub;
use crate::metrics::Gauges;

impl Hub {
    /// What there is at this moment, gathered when somebody asks: nothing on the way of a
    /// notification keeps it up to date.
    pub(super) fn gauges(&self) -> Gauges {
        let group = self.group.as_deref();
        let counts = group.map(|it| it.counts).unwrap_or_default();
        let sizes = self.delivery.sizes();
        let (open, handshaking) = (self.clients.open_count(), self.clients.unfinished_count());
        let process = self.process.map(|figures| figures()).unwrap_or_default();
        Gauges {
            is_listening_up: self.channels.interests().is_up(),
            is_publishing_up: self.postgres.is_publishing_up,
            is_proved: self.postgres.is_proved,
            is_stalled: self.postgres.stall.is_some(),
            queue_usage: self.postgres.queue_usage,
            clients_handshake: handshaking,
            clients_open: open,
            streams: self.clients.stream_count(),
            clients_closing: self.clients.count() - open - handshaking,
            subscriptions: self.channels.links().count(),
            channels_listened: self.channels.interests().listened_count(),
            channels_used: self.channels.used_count(),
            channels_kept: self.channels.kept_count(),
            publishes_waiting: self.publishing.count(),
            backlogs: sizes.backlogs,
            backlog_bytes: sizes.backlog_bytes,
            retained_bytes: sizes.retained_bytes,
            owned_bytes: self.owned_bytes(),
            waiting_bytes: self.waiting_bytes(),
            unsent_bytes: sizes.unsent_bytes,
            history_bytes: sizes.history_bytes,
            group_peers: group.map_or(0, |it| it.peer_count()),
            group_channels_mirrored: group.map_or(0, |it| it.mirrored_count()),
            group_offsets: group.map_or(0, |it| it.offset_count()),
            group_messages_sent: counts.messages_sent,
            group_messages_heard: counts.messages_heard,
            group_messages_refused: counts.messages_refused,
            group_contradictions: counts.contradictions,
            log_lines_dropped: self.log_lines_dropped.load(Ordering::Relaxed),
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
