//! What there is at this moment, gathered when somebody asks: nothing on the way of a notification
//! keeps it up to date.

use super::parts::Hub;
use crate::metrics::Gauges;

impl Hub {
    pub(super) fn gauges(&self) -> Gauges {
        let backlogs = self.backlogs.iter();
        Gauges {
            is_listening_up: self.listening.session_up,
            is_publishing_up: self.listening.publishing_up,
            is_proved: self.listening.proved,
            queue_usage: self.listening.queue_usage,
            clients_handshake: self.handshaking,
            clients_open: self.open_clients,
            clients_closing: self.client_count() - self.open_clients - self.handshaking,
            subscriptions: self.index.link_count(),
            channels_listened: self.listening.listened_count(),
            publishes_waiting: self.publishes.len(),
            backlogs: self.backlogs.len(),
            backlog_bytes: backlogs.map(|(_, it)| it.backlog.bytes()).sum(),
            retained_bytes: self.batches.retained_bytes(),
            unsent_bytes: self.fanout.unsent_bytes(),
            history_bytes: self.history.bytes(),
        }
    }
}
