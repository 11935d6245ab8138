//! Clients under TLS: the same reads and writes, with one layer in between.
//!
//! Knows when the hub is told what; the layer does not.

use std::{io, sync::Arc};

use mio::Waker;

use super::{ADMIN, ClientSockets, ENDED, READ_BYTES, SECURED, SHAKING};
use crate::{
    delivery::outgoing::{Outgoing, Written},
    hub::Hub,
    id::ClientId,
    metrics::Metrics,
    reactor::{
        client_tls::{ClientTls, Input, TlsSource},
        socket,
    },
};

impl ClientSockets {
    /// The flags of a new connection.
    pub(super) fn begin_tls(&mut self, slot: usize, is_admin: bool) -> u8 {
        let Some(tls) = &mut self.tls else {
            return 0;
        };
        tls.clear(slot);
        match is_admin {
            false => SECURED | SHAKING,
            true if tls.is_for_admin() => SECURED | SHAKING | ADMIN,
            true => 0,
        }
    }

    /// Clients that come from now on speak TLS.
    pub(in crate::reactor) fn set_tls(
        &mut self,
        from: TlsSource,
        waker: Arc<Waker>,
        metrics: &mut Metrics,
    ) -> io::Result<()> {
        let tls = ClientTls::new(from, waker)?;
        metrics.tls_certificate_expiry = tls.ends_at();
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Whether clients speak TLS.
    pub(in crate::reactor) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads the certificates again, soon.
    pub(in crate::reactor) fn renew_tls(&self) {
        if let Some(tls) = &self.tls {
            tls.renew();
        }
    }

    /// Takes over certificates that were read again, if some were.
    pub(in crate::reactor) fn take_renewed_tls(&mut self, metrics: &mut Metrics) {
        let Some(tls) = &mut self.tls else {
            return;
        };
        match tls.poll_renewed() {
            Some(Ok(())) => {
                metrics.tls_certificate_expiry = tls.ends_at();
                tracing::info!(target: "alle::bridge", "the certificates were read again");
            }
            Some(Err(error)) => {
                metrics.tls_renewals_failed += 1;
                tracing::error!(
                    target: "alle::bridge",
                    "the certificates stay as they were: {error}"
                );
            }
            None => {}
        }
    }

    /// How many clients [`Self::shake_next`] has to read.
    pub(in crate::reactor) fn shaking_count(&self) -> usize {
        self.shaking.len()
    }

    /// Reads once from the next client whose handshake is under way.
    pub(in crate::reactor) fn shake_next(&mut self, hub: &mut Hub, buffer: &mut [u8]) {
        let next = self.shaking.pop_front();
        self.read_queued(next, hub, buffer);
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
        let mut first = 0;
        if !tls.has_begun(slot) {
            first = match socket::read(stream, &mut buffer[..READ_BYTES]) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return false,
                Err(_) => 0,
            };
            if first == 0 {
                self.lose(client, hub);
                return false;
            }
            match hub.handle_preamble(client, &buffer[..first]) {
                Some(of_proxy) => {
                    buffer.copy_within(of_proxy..first, 0);
                    first -= of_proxy;
                }
                None => first = 0,
            }
            if first == 0 {
                // What comes behind may be here already.
                return true;
            }
            // Each method of HTTP begins so, and no record of TLS (RFC 8446, 5.1).
            if buffer[0].is_ascii_uppercase() {
                self.flags[slot] &= !(SECURED | SHAKING);
                hub.handle_clear_text(client);
                return true;
            }
            tls.begin(slot, self.flags[slot] & ADMIN != 0);
        }
        let is_more = match tls.read(slot, stream, first, buffer, hub.metrics_mut()) {
            Input::Plain { is_more } => is_more,
            // Until its answers are out; the end is read again then.
            Input::End if hub.handle_client_finished(client) => return false,
            Input::End | Input::Lost => {
                self.lose(client, hub);
                return false;
            }
        };
        let has_shaken = self.flags[slot] & SHAKING != 0 && !tls.is_shaking(slot);
        if has_shaken {
            self.flags[slot] &= !SHAKING;
            if let Some(certificate) = tls.certificate(slot) {
                hub.handle_certificate(client, &certificate.identity, certificate.ends_at);
            }
        }
        if !tls.plain().is_empty() {
            hub.handle_client_input(client, tls.plain());
        }
        if has_shaken {
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
