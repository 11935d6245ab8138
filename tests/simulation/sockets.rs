//! Between the hub and its clients: the bytes that move, their pieces, and lost connections.

use std::collections::BTreeSet;

use alle::internals::{
    delivery::outgoing::Written,
    hub::{Endpoints, drive},
    id::ClientId,
};

use super::World;
use crate::{
    client::{Client, Stage},
    oracle::StreamView,
};

impl World {
    pub(super) fn connect(&mut self) {
        if self.clients.len() >= self.clients_max {
            return;
        }
        self.truth.step += 1;
        let id = self.hub.handle_connected(Endpoints::default());
        self.client_count += 1;
        let (number, now) = (self.client_count, self.now);
        self.note(|_| format!("c{number} connects as {}.{}", id.slot, id.generation));
        let mut client = Client::new(number, self.capacity_max, now, &mut self.random);
        if self.readers > 0 && self.random.percent(self.readers) {
            client.read_events(self.stream_view());
        } else if self.random.percent(60) {
            let positions = self.positions.pop_back().unwrap_or_default();
            positions.into_iter().for_each(|since| client.resume(since));
        }
        let twin = self.clients.insert(id, client);
        assert!(twin.is_none(), "no two clients have the same name");
        self.ghosts.retain(|&ghost| ghost != id);
        self.after();
        // Mostly the upgrade follows at once.
        if self.random.percent(80) {
            let bytes = self.clients.get(&id).map_or(0, Client::waiting_bytes);
            self.send(id, bytes);
        }
    }

    /// Of some channels, perhaps from where another one was.
    fn stream_view(&mut self) -> StreamView {
        let max = self.limits.subscriptions_max.min(self.channels.len());
        let mut channels: Vec<_> = (0..=self.random.below(max))
            .map(|_| self.random.pick(&self.channels).to_owned())
            .collect();
        let mut seen = BTreeSet::new();
        channels.retain(|it| seen.insert(it.clone()));
        let mut resumed = None;
        if !self.stream_ids.is_empty() && self.random.percent(80) {
            let at = match self.random.percent(70) {
                true => 0,
                false => self.random.below(self.stream_ids.len()),
            };
            resumed = Some(self.stream_ids[at].clone());
        }
        if let Some((id, before)) = &mut resumed {
            if self.random.percent(5) {
                id.forge();
            }
            if self.random.percent(80) {
                channels.clone_from(before);
            }
        }
        StreamView::new(channels, resumed.map(|(id, _)| id))
    }

    pub(super) fn ask(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).expect("chosen");
        if client.stream.is_some() {
            return;
        }
        let mut positions = client.view.positions(&self.truth);
        positions.extend(self.positions.iter().flatten().cloned());
        for _ in 0..=self.random.below(3) {
            let (channels, random) = (&self.channels, &mut self.random);
            client.ask(channels, self.publishing, &positions, random);
        }
    }

    pub(super) fn choose(&mut self) -> Option<ClientId> {
        let at = self.random.below(self.clients.len());
        self.clients.keys().nth(at).copied()
    }

    pub(super) fn send(&mut self, id: ClientId, bytes: usize) {
        // The reactor does not read a client that the hub does not want to read.
        if bytes == 0 || self.hub.is_paused(id) {
            return;
        }
        self.truth.step += 1;
        let client = self.clients.get_mut(&id).expect("chosen");
        let mut bytes = client.copy_bytes(bytes);
        client.silence = client.silence.max(self.now - client.fed_at);
        client.fed_at = self.now;
        let (number, length) = (client.number, bytes.len());
        self.note(|_| format!("c{number} says {length} bytes"));
        self.hub.handle_client_input(id, &mut bytes);
        self.note_parsed(id, length);
        self.after();
    }

    /// The hub continues with the rest of the client's input.
    pub(super) fn resume(&mut self, id: ClientId) {
        if self.hub.unparsed_bytes(id) > 0 {
            self.truth.step += 1;
            self.hub.handle_client_input(id, &mut []);
            self.note_parsed(id, 0);
        }
    }

    /// The hub was given this many bytes: a request counts as sent once it was processed.
    fn note_parsed(&mut self, id: ClientId, bytes: usize) {
        let left = self.hub.unparsed_bytes(id);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.handle_parsed(bytes, left, self.now, &mut self.truth);
        let (number, asked) = (client.number, client.take_asked());
        self.note(|_| format!("c{number} is heard: {asked:?}"));
    }

    pub(super) fn read(&mut self, id: ClientId, bytes: usize) {
        let client = self.clients.get_mut(&id).expect("chosen");
        let had_closed = client.stage == Stage::Closed;
        client.read(bytes, &mut self.truth, &mut self.trace, self.keep);
        if client.stage == Stage::Closed && !had_closed {
            let code = client.close_code;
            self.check_close(id, code);
            let client = self.clients.get_mut(&id).expect("here");
            if client.stream.is_none() && self.random.percent(70) {
                client.close(true);
            }
        }
        let client = &self.clients[&id];
        if client.is_shut_down && client.socket.is_empty() {
            client.check_end();
            self.reset(id);
        } else if self.random.percent(70) {
            self.tell_writable(id);
        }
    }

    pub(super) fn tell_writable(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).expect("chosen");
        if client.socket.len() < client.capacity {
            client.is_full = false;
            self.truth.step += 1;
            self.hub.handle_client_writable(id);
            self.after();
        }
    }

    /// The model knows the reason for which the server ends this connection.
    pub(super) fn check_close(&self, id: ClientId, code: Option<u16>) {
        let client = &self.clients[&id];
        let standstill = client.standstill.max(self.now - client.moved_at);
        let silence = client.silence.max(self.now - client.fed_at);
        let is_slow = self.is_small || standstill >= self.limits.stall_timeout;
        let is_silent = client.stream.is_none()
            && silence >= self.limits.ping_interval + self.limits.pong_timeout;
        let is_refused = |stream: &StreamView| stream.may_end(&self.truth);
        let may_end = client.stream.as_ref().is_some_and(is_refused);
        let is_justified = match code {
            Some(4008) => is_slow,
            Some(1011) => is_silent,
            Some(1013) => may_end,
            Some(1008) => {
                let now = client.part_began.map(|since| self.now - since);
                now.unwrap_or_default().max(client.part_time) >= self.limits.message_timeout
            }
            Some(1000 | 1002) => client.is_closing,
            Some(_) => false,
            None => {
                let is_late = silence >= self.limits.handshake_timeout;
                let is_over = client.is_closing || may_end;
                is_slow || is_silent || is_over || !client.is_upgraded && is_late
            }
        };
        assert!(
            is_justified,
            "c{} is closed with {code:?} for no reason",
            client.number
        );
    }

    pub(super) fn reset(&mut self, id: ClientId) {
        let client = self.clients.get(&id).filter(|it| !it.is_closing);
        if let Some(client) = client.filter(|_| self.hub.is_open(id)) {
            let subscribed = client.subscribed();
            let live = subscribed.iter().filter(|it| self.truth.is_live(it));
            let live: Vec<_> = live.map(String::as_str).collect();
            self.truth.places.lose(live.into_iter());
        }
        if !self.forget(id) {
            return;
        }
        self.truth.step += 1;
        self.hub.handle_client_closed(id);
        self.after();
    }

    /// Nothing is left of the connection but the client's positions.
    pub(super) fn forget(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.remove(&id) else {
            return false;
        };
        self.note(|_| format!("c{} is gone", client.number));
        self.ghosts.push(id);
        self.truth.places.leave(client.number, !client.is_done);
        if let Some(stream) = client.stream {
            if let Some(id) = stream.last_id.clone() {
                let channels = stream.channels().to_vec();
                self.stream_ids.push_front((id, channels));
                self.stream_ids.truncate(POSITIONS_MAX);
            }
            return true;
        }
        if self.positions.len() == POSITIONS_MAX {
            self.positions.pop_front();
        }
        self.positions.push_back(client.view.positions(&self.truth));
        true
    }

    /// An event of a socket that is closed already.
    pub(super) fn ghost(&mut self) {
        if self.ghosts.is_empty() {
            return;
        }
        let at = self.random.below(self.ghosts.len());
        let id = self.ghosts[at];
        self.truth.step += 1;
        self.note(|_| format!("a late event of {}.{}", id.slot, id.generation));
        match self.random.below(3) {
            0 => self.hub.handle_client_closed(id),
            1 => self.hub.handle_client_writable(id),
            _ => {
                let text = br#"{"type":"subscribe","channel":"a","id":999999}"#;
                let mut bytes = crate::wire::frame(0x81, text);
                self.hub.handle_client_input(id, &mut bytes);
            }
        }
        self.after();
    }

    pub(super) fn transmit(&mut self) -> bool {
        let (clients, now) = (&mut self.clients, self.now);
        let mut note = String::new();
        let was_some = drive::transmit(&mut self.hub, |id, bytes| {
            let client = clients.get_mut(&id);
            let client = client.expect("bytes are written to a connected client");
            assert!(!client.is_full, "a full socket says when it takes more");
            let room = client.capacity.saturating_sub(client.socket.len());
            let taken = bytes.len().min(room);
            client.socket.extend_from_slice(&bytes[..taken]);
            client.standstill = client.standstill.max(now - client.moved_at);
            if taken > 0 {
                client.moved_at = now;
            }
            note = format!("{taken} of {} bytes to c{}", bytes.len(), client.number);
            client.is_full = taken < bytes.len();
            match client.is_full {
                false => Written::All,
                true => Written::Full(taken),
            }
        });
        if was_some {
            self.truth.step += 1;
            self.note(|_| note);
            self.after();
        }
        was_some
    }

    pub(super) fn end_turn(&mut self) {
        self.truth.step += 1;
        self.note(|_| "the turn ends".to_owned());
        self.hub.end_turn();
        self.truth.places.end_turn();
        self.after();
    }
}

/// The number of clients that are remembered.
const POSITIONS_MAX: usize = 8;
