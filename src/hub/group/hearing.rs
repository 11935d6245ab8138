//! What a message of the group does.
//!
//! Each is judged first: whether it can be read, is of this server, and is its sender's. Then one
//! reaction for each kind. Whatever happens here happens at one place of PostgreSQL's order: where
//! our channels stand is asked now, and never again for this place.

use std::time::Instant;

use super::{
    Group, Heard, Leaving, Outcome,
    encoding::{BridgeId, channel_bytes_max},
    joining::PRESENCE_INTERVAL,
    ledger::OwnPlace,
    peers::{Belief, Disbelief, First},
    seal::{ENTRIES_BYTES_MAX, Header, Unreadable},
    wire::{Beginning, Message, Place},
};
use crate::channel::{Channel, ChannelKey};

impl Group {
    /// A notification on the control channel, of the backend with this PID; `heard` tells where a
    /// channel of ours stands, if we count its notifications.
    pub(in crate::hub) fn handle_message(
        &mut self,
        pid: i32,
        payload: &[u8],
        heard: &dyn Fn(&str) -> Option<Heard>,
        now: Instant,
    ) {
        // Until the session counts as up, nothing is known of its server.
        let Some(server_start) = self.listening else {
            return;
        };
        let (header, message) = match self.seal.open(pid, payload) {
            Ok(opened) => opened,
            Err(unreadable) => {
                self.refuse_unreadable(pid, unreadable);
                return;
            }
        };
        if header.server_start != server_start {
            self.refuse(pid, "of another server, or of before its restart");
            return;
        }
        // Without a publishing session we are not there, and say hello when we are again.
        let (Some(_), Some(identity)) = (&self.joined, self.identity) else {
            return;
        };
        // Said before our publishing session was lost, and late.
        if self.former == Some((header.id, header.pid)) {
            return;
        }
        if header.id == identity.id {
            self.handle_echo(header, message, heard, now);
            return;
        }
        let first = match &message {
            Some(Message::Hello) => Some(First::Hello),
            Some(Message::Welcome { to }) if *to == identity.id => Some(First::Welcome),
            Some(Message::Greet { to }) if *to == identity.id => Some(First::Greet),
            Some(_) | None => None,
        };
        match self.peers.hear(header, first, self.seal.has_key()) {
            Ok(Belief::Heard) => {
                self.counts.messages_heard += 1;
                match (first, message) {
                    (Some(first), _) => self.meet(header.id, first, now),
                    (None, Some(message)) => self.handle_peer(header, message, heard, now),
                    // A kind of a later version.
                    (None, None) => {}
                }
                self.presence_due.get_or_insert(now + PRESENCE_INTERVAL);
                self.tell_size();
            }
            Ok(Belief::Asked) => self.ask_present(),
            Err(Disbelief::Repeated) => self.refuse(pid, "not its sender's, or sent again"),
            Err(Disbelief::Stranger) => self.counts.messages_refused += 1,
            Err(Disbelief::Crowded) => {
                self.counts.messages_refused += 1;
                if !std::mem::replace(&mut self.complaints.crowded, true) {
                    tracing::warn!(
                        target: "alle::group",
                        "the group has too many bridges: some are not reckoned with"
                    );
                }
            }
        }
    }

    /// The log has one line for each bridge that comes or goes.
    pub(super) fn tell_size(&mut self) {
        let size = self.peers.count() + 1;
        if self
            .told_size
            .as_mut()
            .is_some_and(|told| std::mem::replace(told, size) != size)
        {
            tracing::info!(target: "alle::group", "bridges of the group, with this one: {size}");
        }
    }

    fn refuse_unreadable(&mut self, pid: i32, unreadable: Unreadable) {
        match unreadable {
            Unreadable::Version => {
                self.counts.messages_refused += 1;
                if !std::mem::replace(&mut self.complaints.version, true) {
                    tracing::warn!(
                        target: "alle::group",
                        "a bridge of the group speaks another version: its clients' positions mean \
                         nothing here"
                    );
                }
            }
            Unreadable::Malformed => self.refuse(pid, "malformed"),
            Unreadable::Forged => self.refuse(pid, "not sealed with the key of the group"),
        }
    }

    fn refuse(&mut self, pid: i32, why: &str) {
        self.counts.messages_refused += 1;
        if !std::mem::replace(&mut self.complaints.refused, true) {
            let control = self.seal.channel().as_str();
            tracing::warn!(
                target: "alle::group",
                "a message of backend {pid} on {control:?} is refused: it is {why}"
            );
        }
    }

    /// A message of our own is back.
    fn handle_echo(
        &mut self,
        header: Header,
        message: Option<Message>,
        heard: &dyn Fn(&str) -> Option<Heard>,
        now: Instant,
    ) {
        let (Some(identity), Some(joined)) = (&mut self.identity, &mut self.joined) else {
            return;
        };
        let is_next = identity.heard < header.counter && header.counter <= identity.sent;
        if header.pid != identity.pid || !is_next {
            if is_next {
                self.note_relayed();
            }
            self.refuse(header.pid, "ours, sent again");
            return;
        }
        identity.heard = header.counter;
        joined.unheard = joined.unheard.saturating_sub(1);
        match message {
            Some(Message::Hello) => joined.hello_heard_at = Some(now),
            Some(Message::Begin { entries }) => {
                self.handle_own_begin(header, &entries, heard, now);
            }
            Some(Message::Barrier) => self.barriers.handle_passed(),
            Some(Message::Goodbye) => self.leaving = Leaving::Done,
            Some(_) | None => {}
        }
    }

    fn note_relayed(&mut self) {
        if !std::mem::replace(&mut self.complaints.relayed, true) {
            tracing::warn!(
                target: "alle::group",
                "messages to the group come from changing backends: a pooler stands before \
                 PostgreSQL, and the group does not work through it (see --pg-publish-url)"
            );
        }
    }

    /// A peer says who it is, or that it knows us.
    pub(super) fn meet(&mut self, id: BridgeId, first: First, now: Instant) {
        match first {
            First::Hello => {
                self.mirrors.leave_behind(id, now);
                self.say(Message::Welcome { to: id });
            }
            First::Welcome => {
                self.peers.note_welcome(id);
                self.catch_up.handle_have(now);
                self.say(Message::Greet { to: id });
                // It missed what was announced before.
                if self.joined.as_ref().is_some_and(|it| it.has_begun) {
                    self.ledger.unsay_all();
                }
            }
            First::Greet => {
                self.peers.note_greet(id);
                self.say_what_we_have(id);
            }
        }
    }

    /// What our clients want, and what we listen to for others, who may be gone.
    fn say_what_we_have(&mut self, to: BridgeId) {
        let own = parts(self.ledger.own().cloned(), channel_bytes_max);
        let kept = parts(self.mirrors.channels().cloned(), channel_bytes_max);
        let last = own.len() + kept.len() - 1;
        let own = own.into_iter().map(|part| (true, part));
        let parts = own.chain(kept.into_iter().map(|part| (false, part)));
        for (part, (is_own, channels)) in parts.enumerate() {
            self.say(Message::Have {
                to,
                is_own,
                is_last: part == last,
                channels,
            });
        }
    }

    fn handle_peer(
        &mut self,
        header: Header,
        message: Message,
        heard: &dyn Fn(&str) -> Option<Heard>,
        now: Instant,
    ) {
        let peer = header.id;
        let us = self.identity.map(|identity| identity.id);
        let is_us = |to| us == Some(to);
        match message {
            Message::Have {
                to,
                is_own,
                is_last,
                channels,
            } if is_us(to) => {
                for channel in &channels {
                    self.mirror(channel, is_own.then_some(peer), now);
                }
                if is_last {
                    self.peers.note_end(peer);
                }
                self.catch_up.handle_have(now);
            }
            Message::Begin { entries } => {
                self.catch_up.note_foreign_begin();
                self.handle_begin(header, &entries, heard, now);
            }
            Message::Began { begin, seqs } => {
                for (index, seq) in seqs.into_iter().enumerate() {
                    let place = self.comparisons.place(peer, begin, index);
                    if let (Some((Some(own), epoch)), Some(seq)) = (place, seq) {
                        self.learn(own, &[(epoch, seq)]);
                    }
                }
            }
            Message::At {
                to,
                begin,
                places,
                is_last,
            } => {
                for place in &places {
                    match self.catch_up.announced(begin, place.index) {
                        Some(key) if is_us(to) => self.handle_missed_place(key, peer, place, now),
                        Some(_) | None => self.handle_place(to, begin, place),
                    }
                }
                if is_last && is_us(to) {
                    self.comparisons.handle_done(begin, peer);
                    self.catch_up.handle_done(begin, peer);
                }
            }
            Message::Left { channels } => self.handle_left(peer, channels),
            Message::Goodbye => {
                self.peers.retire(peer);
                self.part_from(peer, now);
            }
            Message::Fill { to, number, wishes } if is_us(to) => {
                self.serving.push(peer, number, wishes);
            }
            Message::Filled {
                to,
                number,
                part,
                pieces,
            } if is_us(to) => self.catch_up.handle_filled(peer, number, part, pieces, now),
            Message::Have { .. }
            | Message::Hello
            | Message::Welcome { .. }
            | Message::Greet { .. }
            | Message::Fill { .. }
            | Message::Filled { .. }
            | Message::Barrier => {}
        }
    }

    fn handle_left(&mut self, peer: BridgeId, channels: Vec<Channel>) {
        for channel in channels {
            if self.mirrors.unwant(&channel, peer) {
                self.catch_up.handle_unwanted(&channel);
                self.outcomes.push_back(Outcome::Unmirror(channel));
            }
        }
    }

    /// The channel is to be heard here too: clients of a peer want it, or of one that may be gone.
    fn mirror(&mut self, channel: &Channel, peer: Option<BridgeId>, now: Instant) {
        let is_new = match peer {
            Some(peer) => self.mirrors.want(channel, peer),
            None => self.mirrors.keep(channel, now),
        };
        if is_new {
            self.catch_up.expect(channel);
            self.outcomes.push_back(Outcome::Mirror(channel.clone()));
        }
    }

    /// A peer announces channels, and this is the place: who counts them too says where it stands.
    fn handle_begin(
        &mut self,
        header: Header,
        entries: &[Beginning],
        heard: &dyn Fn(&str) -> Option<Heard>,
        now: Instant,
    ) {
        let peer = header.id;
        // Kept for a while, so no longer than it has to be.
        let mut noted = Vec::with_capacity(entries.len());
        let mut places = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if entry.is_own {
                self.mirror(&entry.channel, Some(peer), now);
            }
            let own = self.place(&entry.channel, heard);
            noted.push((own.as_ref().map(|(own, _)| *own), entry.epoch));
            if let Some((OwnPlace { epoch, seq, .. }, others)) = own {
                places.push(Place {
                    index,
                    epoch,
                    seq,
                    others,
                });
            }
        }
        self.comparisons.note(peer, header.counter, noted, now);
        let parts = parts(places, Place::bytes_max);
        let last = parts.len() - 1;
        for (part, places) in parts.into_iter().enumerate() {
            self.say(Message::At {
                to: peer,
                begin: header.counter,
                places,
                is_last: part == last,
            });
        }
    }

    /// Our own announcement is back, and this is the place: we say where we stand, as the others do.
    fn handle_own_begin(
        &mut self,
        header: Header,
        entries: &[Beginning],
        heard: &dyn Fn(&str) -> Option<Heard>,
        now: Instant,
    ) {
        let Some(keys) = self.comparisons.take_sent(header.counter) else {
            return;
        };
        // An epoch that ended on the way was announced in vain.
        let announced = keys.iter().zip(entries);
        let announced = announced
            .map(|(&key, it)| (self.ledger.epoch(key) == Some(it.epoch)).then_some(key))
            .collect();
        self.catch_up.note_begin(header.counter, announced);
        let places = entries.iter().map(|entry| {
            let own = self.place(&entry.channel, heard).map(|(own, _)| own);
            (own.filter(|own| own.epoch == entry.epoch), entry.epoch)
        });
        let places: Vec<_> = places.collect();
        // The numbers of channels that are held back follow.
        if !self.catch_up.is_on() || places.iter().any(|(own, _)| own.is_some()) {
            self.say_began(header.counter, &places);
        }
        self.comparisons
            .note(header.id, header.counter, places, now);
        let peers = self.peers.fresh().collect();
        self.comparisons.ask(header.counter, keys, peers, now);
    }

    pub(super) fn say_began(&mut self, begin: u64, places: &[(Option<OwnPlace>, super::Epoch)]) {
        let seqs = places.iter().map(|(own, _)| own.map(|own| own.seq));
        let seqs = seqs.collect();
        self.say(Message::Began { begin, seqs });
    }

    /// Where we stand on a channel, and what else we translate there.
    fn place(
        &self,
        channel: &Channel,
        heard: &dyn Fn(&str) -> Option<Heard>,
    ) -> Option<(OwnPlace, Vec<(super::Epoch, i64)>)> {
        let Heard { key, epoch, seq } = heard(channel.as_str())?;
        let others = self.ledger.passed_on(key, epoch)?;
        Some((OwnPlace { key, epoch, seq }, others))
    }

    /// A peer says where it stood at a place that we heard too.
    fn handle_place(&mut self, by: BridgeId, begin: u64, place: &Place) {
        let known = self.comparisons.place(by, begin, place.index);
        if let Some((Some(own), _)) = known {
            self.learn_from(own, place);
        }
    }

    /// Where we stand at `own`, another bridge stands there.
    pub(super) fn learn_from(&mut self, own: OwnPlace, place: &Place) {
        // What lies furthest back first: where there is no room, that goes first.
        let others = place.others.iter().filter_map(|&(epoch, offset)| {
            let theirs = place.seq.checked_add_signed(offset.checked_neg()?)?;
            Some((epoch, theirs))
        });
        let mut known: Vec<_> = others.collect();
        known.push((place.epoch, place.seq));
        self.learn(own, &known);
    }

    fn learn(&mut self, own: OwnPlace, known: &[(super::Epoch, u64)]) {
        for &(epoch, theirs) in known {
            if self.ledger.learn(own, epoch, theirs).is_err() {
                self.note_contradiction(own.key);
            }
        }
    }

    pub(super) fn note_contradiction(&mut self, key: ChannelKey) {
        self.counts.contradictions += 1;
        let channel = self.ledger.name(key).map(Channel::as_str);
        tracing::error!(
            target: "alle::group",
            channel, "bridges of the group count a channel differently"
        );
    }
}

/// Items, parted so that each part fits a message; there is one at least.
fn parts<T>(items: impl IntoIterator<Item = T>, bytes_max: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut last, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        bytes += bytes_max(&item);
        if bytes > ENTRIES_BYTES_MAX {
            bytes = bytes_max(&item);
            parts.push(std::mem::take(&mut last));
        }
        last.push(item);
    }
    parts.push(last);
    parts
}
