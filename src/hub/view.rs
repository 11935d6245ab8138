//! A look at the parts of the hub together: the numbers of a moment, what clients cost, and what
//! always holds.
//!
//! Reads, and changes nothing. Nothing on the way of a notification keeps a number up to date for
//! this.

use super::{
    asking::Asking, authorization::Authorization, channels::Channels, clients::Clients,
    encode::Transport, group::Group, host::Host, membership::Membership, opening::Openings,
    postgres::Postgres, publishing::Publishing, room::Room, unparsed::Unparsed,
};
use crate::{config::Limits, delivery::Delivery, metrics::Gauges};

/// The parts that are looked at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) limits: &'a Limits,
    pub(super) asking: &'a Asking,
    pub(super) authorization: &'a Authorization,
    pub(super) clients: &'a Clients,
    pub(super) channels: &'a Channels,
    pub(super) delivery: &'a Delivery,
    pub(super) publishing: &'a Publishing,
    pub(super) openings: &'a Openings,
    pub(super) unparsed: &'a Unparsed,
    pub(super) room: &'a Room,
    pub(super) postgres: &'a Postgres,
    pub(super) membership: &'a Membership,
    pub(super) host: &'a Host,
}

impl View<'_> {
    /// What there is at this moment.
    pub(super) fn gauges(self) -> Gauges {
        let Self {
            limits,
            clients,
            channels,
            publishing,
            postgres,
            host,
            ..
        } = self;
        let group = self.membership.group();
        let counts = group.map(|it| it.counts).unwrap_or_default();
        let sizes = self.delivery.sizes();
        let (open, handshaking) = (clients.open_count(), clients.unfinished_count());
        let process = host.process();
        Gauges {
            is_listening_up: channels.interests().is_up(),
            is_publishing_up: postgres.is_publishing_up,
            is_proved: postgres.is_proved,
            is_stalled: postgres.stall.is_some(),
            queue_usage: postgres.queue_usage,
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
            retained_bytes: sizes.retained_bytes + self.membership.held_bytes(),
            owned_bytes: self.owned_bytes(),
            function_waiting: self.authorization.waiting_count(),
            waiting_bytes: self.waiting_bytes(),
            unsent_bytes: sizes.unsent_bytes,
            history_bytes: sizes.history_bytes,
            group_peers: group.map_or(0, Group::peer_count),
            group_channels_mirrored: group.map_or(0, Group::mirrored_count),
            group_offsets: group.map_or(0, Group::offset_count),
            group_held_bytes: self.membership.held_bytes(),
            group_messages_sent: counts.messages_sent,
            group_messages_heard: counts.messages_heard,
            group_messages_refused: counts.messages_refused,
            group_contradictions: counts.contradictions,
            group_resumed: counts.resumed,
            group_filled: counts.filled,
            log_lines_dropped: host.log_lines_dropped(),
            clients_max: limits.clients_max.unwrap_or(usize::MAX),
            cpu_seconds: process.cpu_seconds,
            start_seconds: process.start_seconds,
            virtual_bytes: process.virtual_bytes,
            resident_bytes: process.resident_bytes,
            files_open: process.files_open,
            files_max: process.files_max,
        }
    }

    // ---- what clients cost

    /// What subscribes and publishes that wait for PostgreSQL, or for an answer about them, cost, in bytes.
    pub(super) fn waiting_bytes(self) -> usize {
        self.publishing.bytes() + self.channels.waiting_bytes() + self.asking.bytes()
    }

    /// Memory that is the own of all clients.
    pub(super) fn owned_bytes(self) -> usize {
        self.delivery.owned_bytes() + self.clients.partial_bytes() + self.unparsed.bytes()
    }

    /// Memory that is one client's own: answers it has not read, input that is not complete, or not
    /// worked off.
    fn owned_bytes_of(self, slot: u32) -> usize {
        self.delivery.backlog(slot).map_or(0, |it| it.owned_bytes())
            + self.clients.partial_bytes_of(slot)
            + self.unparsed.bytes_of(slot)
    }

    /// The open clients that make us keep most of their own, at most so many.
    pub(super) fn costliest(self, count: usize) -> Vec<u32> {
        let slots = self.clients.slots();
        let open = slots.filter(|&slot| self.clients.is_open(slot));
        let mut costliest: Vec<_> = open.map(|slot| (self.owned_bytes_of(slot), slot)).collect();
        costliest.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        costliest.truncate(count);
        costliest.into_iter().map(|(_, slot)| slot).collect()
    }

    // ---- what always holds

    /// The parts agree with each other, and nothing is kept for nobody. What holds within a part,
    /// that part checks itself.
    pub(super) fn check_invariants(self) {
        let Self {
            clients, delivery, ..
        } = self;
        clients.check_invariants();
        self.asking.check_invariants();
        self.authorization.check_invariants();
        self.channels.check_invariants();
        self.unparsed.check_invariants();
        delivery.check_invariants();
        self.membership.check_invariants();
        self.publishing
            .check_invariants(|client| clients.is_current(client));
        self.openings.check_invariants(|slot| {
            clients.is_open(slot) && clients.transport(slot) == Transport::EventStream
        });
        self.room.check_invariants(clients);
        if clients.is_empty() {
            assert_eq!(self.channels.links().count(), 0);
            delivery.check_vacant();
        }
        for slot in clients.slots() {
            assert!(clients.is_open(slot) || !delivery.is_owed(slot), "{slot}");
        }
    }
}
