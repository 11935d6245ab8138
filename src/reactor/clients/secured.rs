//! Clients under TLS: the same reads and writes, with one layer in between.
//!
//! Knows when the hub is told what; the layer does not.

use std::io;

use super::{ClientSockets, ENDED, QUEUED, SECURED, SHAKING};
use crate::{
    delivery::outgoing::{Outgoing, Written},
    hub::Hub,
    id::ClientId,
    reactor::{client_tls::Input, socket},
};

impl ClientSockets {
    /// The flags of a new connection.
    pub(super) fn begin_tls(&mut self, slot: usize, is_admin: bool) -> u8 {
        let Some(tls) = &mut self.tls else {
            return 0;
        };
        tls.clear(slot);
        if is_admin && !tls.is_for_admin {
            return 0;
        }
        SECURED | SHAKING
    }

    /// How many clients [`Self::shake_next`] has to read.
    pub(in crate::reactor) fn shaking_count(&self) -> usize {
        self.shaking.len()
    }

    /// Reads once from the next client whose handshake is under way.
    pub(in crate::reactor) fn shake_next(&mut self, hub: &mut Hub, buffer: &mut [u8]) {
        let Some(client) = self.shaking.pop_front() else {
            return;
        };
        if !hub.is_current(client) {
            return;
        }
        self.flags[client.slot as usize] &= !QUEUED;
        if self.read(client, hub, buffer) {
            self.queue(client);
        }
    }

    /// Whether there may be more bytes that no event announces.
    pub(super) fn read_secured(
        &mut self,
        client: ClientId,
        hub: &mut Hub,
        buffer: &mut [u8],
    ) -> bool {
        let slot = client.slot as usize;
        let (Some(tls), Some(Some(stream))) = (&mut self.tls, self.sockets.get(slot)) else {
            return false;
        };
        let is_more = match tls.read(slot, stream, buffer, hub.metrics_mut()) {
            Input::Plain { is_more } => is_more,
            // Until its answers are out; the end is read again then.
            Input::End if hub.handle_client_finished(client) => return false,
            Input::End | Input::Lost => {
                self.lose(client, hub);
                return false;
            }
            Input::Clear => {
                self.flags[slot] &= !(SECURED | SHAKING);
                hub.handle_clear_text(client);
                return true;
            }
        };
        if !tls.plain().is_empty() {
            hub.handle_client_input(client, tls.plain());
        }
        if self.flags[slot] & SHAKING != 0 && !tls.is_shaking(slot) {
            self.flags[slot] &= !SHAKING;
            // What the hub had to say before could not be said.
            self.handle_writable(client, hub);
        }
        self.tell_kept(client, hub);
        is_more || self.flags[slot] & ENDED != 0
    }

    /// The socket of a client may take bytes again.
    pub(super) fn handle_writable(&mut self, client: ClientId, hub: &mut Hub) {
        if !hub.is_current(client) {
            return;
        }
        let slot = client.slot as usize;
        let (Some(tls), Some(Some(stream))) = (&mut self.tls, self.sockets.get(slot)) else {
            return;
        };
        if self.flags[slot] & SECURED == 0 {
            hub.handle_client_writable(client);
            return;
        }
        match tls.flush(slot, stream) {
            Ok(true) => hub.handle_client_writable(client),
            Ok(false) => {}
            Err(_) => {
                self.lose(client, hub);
                return;
            }
        }
        self.tell_kept(client, hub);
    }

    /// Writes what the hub lends; its socket is there.
    pub(super) fn write_secured(&mut self, slot: u32, bytes: &Outgoing<'_>) -> io::Result<Written> {
        let slot = slot as usize;
        match (&mut self.tls, self.sockets.get(slot)) {
            (Some(tls), Some(Some(stream))) if self.flags[slot] & SECURED != 0 => {
                tls.write(slot, stream, bytes)
            }
            (_, Some(Some(stream))) => socket::write(stream, bytes),
            _ => Ok(Written::Full(0)),
        }
    }

    /// Tells the hub how many bytes are kept here for the client.
    pub(super) fn tell_kept(&self, client: ClientId, hub: &mut Hub) {
        if let Some(tls) = &self.tls {
            hub.handle_kept(client, tls.kept_bytes(client.slot as usize));
        }
    }

    /// Nothing more is sent in the slot, and TLS says so.
    pub(super) fn finish_tls(&mut self, slot: usize) {
        if let (Some(tls), Some(Some(stream))) = (&mut self.tls, self.sockets.get(slot)) {
            tls.finish(slot, stream);
        }
    }

    /// The slot has no connection any more.
    pub(super) fn end_tls(&mut self, slot: usize) {
        if let Some(tls) = &mut self.tls {
            tls.clear(slot);
        }
    }
}
