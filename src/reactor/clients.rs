//! The sockets of clients: reads and writes in budgets, so that no client holds up the others.
//!
//! Knows the slot of a client and the state that the hub gives it; not the meaning of its bytes.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

mod secured;

use std::{
    collections::VecDeque,
    io::{self, Read},
    net::Shutdown,
    time::{Duration, Instant},
};

use mio::{Interest, Registry, net::TcpStream};
use socket2::SockRef;

use super::{client_tls::ClientTls, socket, source::Source};
use crate::{
    delivery::{fanout::SLICE_WRITES, outgoing::Written},
    hub::{Disconnect, Hub},
    id::ClientId,
};

/// All client sockets, by slot.
#[derive(Default)]
pub(super) struct ClientSockets {
    sockets: Vec<Option<TcpStream>>,
    /// By slot: [`QUEUED`], [`ENDED`], [`SECURED`], [`SHAKING`].
    flags: Vec<u8>,
    /// Sockets with bytes that no further event announces; each client once, so that a client that
    /// sends without end waits for its turn like the others.
    readable: VecDeque<ClientId>,
    /// The same of clients whose TLS handshakes are under way: each costs more than many messages.
    shaking: VecDeque<ClientId>,
    /// TLS, where clients speak that.
    tls: Option<Box<ClientTls>>,
    /// A socket was closed since the last look.
    freed: bool,
}

impl ClientSockets {
    /// Takes a new connection, known to the hub as `client`.
    pub(super) fn add(
        &mut self,
        mut stream: TcpStream,
        client: ClientId,
        is_admin: bool,
        hub: &mut Hub,
        registry: &Registry,
    ) {
        let token = Source::Client(client).token();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut stream, token, interest) {
            tracing::warn!(target: "alle::client", "cannot watch a connection: {error}");
            hub.handle_client_closed(client);
            return;
        }
        let slot = client.slot as usize;
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
            self.flags.resize(slot + 1, 0);
        }
        self.sockets[slot] = Some(stream);
        self.flags[slot] = self.begin_tls(slot, is_admin);
    }

    pub(super) fn handle_event(
        &mut self,
        client: ClientId,
        event: &mio::event::Event,
        hub: &mut Hub,
    ) {
        if event.is_writable() {
            if self.tls.is_none() {
                hub.handle_client_writable(client);
            } else {
                self.handle_writable(client, hub);
            }
        }
        let ended = event.is_read_closed() || event.is_error();
        if (event.is_readable() || ended) && hub.is_current(client) {
            self.flags[client.slot as usize] |= if ended { ENDED } else { 0 };
            self.queue(client);
        }
    }

    fn queue(&mut self, client: ClientId) {
        let flags = &mut self.flags[client.slot as usize];
        if *flags & QUEUED == 0 {
            *flags |= QUEUED;
            let queue = match *flags & SHAKING {
                0 => &mut self.readable,
                _ => &mut self.shaking,
            };
            queue.push_back(client);
        }
    }

    /// Whether a socket was closed since the last call.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// How many sockets [`Self::read_next`] has to read.
    pub(super) fn readable_count(&self) -> usize {
        self.readable.len()
    }

    /// Reads once from the next socket in turn.
    pub(super) fn read_next(&mut self, hub: &mut Hub, buffer: &mut [u8]) {
        let next = self.readable.pop_front();
        self.read_queued(next, hub, buffer);
    }

    /// Reads once from a client that was queued; it may be gone by now.
    fn read_queued(&mut self, next: Option<ClientId>, hub: &mut Hub, buffer: &mut [u8]) {
        let Some(client) = next.filter(|&client| hub.is_current(client)) else {
            return;
        };
        self.flags[client.slot as usize] &= !QUEUED;
        if self.read(client, hub, buffer) {
            self.queue(client);
        }
    }

    /// Whether there may be more bytes that no event announces.
    fn read(&mut self, client: ClientId, hub: &mut Hub, buffer: &mut [u8]) -> bool {
        // A paused client is read again when the hub says so; until then its bytes, and its
        // end, wait in the socket.
        if hub.is_paused(client) {
            return false;
        }
        if hub.unparsed_bytes(client) > 0 {
            hub.handle_client_input(client, &mut []);
            return hub.unparsed_bytes(client) == 0;
        }
        let slot = client.slot as usize;
        if self.flags[slot] & SECURED != 0 {
            return self.read_secured(client, hub, buffer);
        }
        let Some(Some(mut stream)) = self.sockets.get(slot).map(Option::as_ref) else {
            return false;
        };
        let buffer = &mut buffer[..READ_BYTES];
        match stream.read(buffer) {
            // Until its answers are out; the end is read again then.
            Ok(0) if hub.handle_client_finished(client) => {}
            Ok(0) => self.lose(client, hub),
            Ok(bytes) => {
                // Whatever is to be taken off the client's bytes comes behind the proxy's.
                if let Some(of_proxy) = hub.handle_preamble(client, &buffer[..bytes]) {
                    hub.handle_client_input(client, &mut buffer[of_proxy..bytes]);
                }
                // A short read has emptied the socket (epoll(7)), unless its end is behind it.
                return bytes == buffer.len() || self.flags[slot] & ENDED != 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => self.lose(client, hub),
        }
        false
    }

    /// Writes one slice: what is ready, as far as the budget goes.
    pub(super) fn write(&mut self, hub: &mut Hub) {
        if self.tls.is_none() {
            self.write_slice::<false>(hub);
        } else {
            self.write_slice::<true>(hub);
        }
    }

    /// Compiled twice, so that nothing is asked for each delivery in clear text.
    fn write_slice<const MAY_BE_SECURED: bool>(&mut self, hub: &mut Hub) {
        // The turn has one time; this clock is for the budget alone.
        let began = Instant::now();
        for turn in 1..=SLICE_WRITES {
            let Some(transmit) = hub.poll_transmit() else {
                return;
            };
            let slot = transmit.slot;
            let written = match self.sockets.get(slot as usize) {
                Some(Some(_)) if MAY_BE_SECURED => self.write_secured(slot, &transmit.bytes),
                Some(Some(stream)) => socket::write(stream, &transmit.bytes),
                _ => Ok(Written::Full(0)),
            };
            match written {
                Ok(written) => {
                    hub.handle_transmitted(written);
                    if MAY_BE_SECURED && matches!(written, Written::Full(_)) {
                        self.tell_kept(hub.client_at(slot), hub);
                    }
                }
                Err(_) => {
                    hub.handle_transmitted(Written::Full(0));
                    self.lose(hub.client_at(slot), hub);
                }
            }
            if turn % WRITES_PER_LOOK_AT_CLOCK == 0 && began.elapsed() > WRITE_BUDGET {
                return;
            }
        }
    }

    /// Closes the socket.
    pub(super) fn disconnect(&mut self, client: ClientId, how: Disconnect) {
        let slot = client.slot as usize;
        let is_secured = self.flags.get(slot).is_some_and(|it| it & SECURED != 0);
        if is_secured && how != Disconnect::Reset {
            self.finish_tls(slot);
        }
        let Some(socket) = self.sockets.get_mut(slot) else {
            return;
        };
        // An error of either means that the peer is gone.
        match (how, socket.as_ref()) {
            // TLS shuts it down once what waits there is gone.
            (Disconnect::Shutdown, Some(_)) if is_secured => {}
            (Disconnect::Shutdown, Some(stream)) => {
                let _gone = stream.shutdown(Shutdown::Write);
            }
            (Disconnect::Reset, Some(stream)) => {
                let _gone = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                *socket = None;
            }
            (Disconnect::Drop | Disconnect::Shutdown | Disconnect::Reset, _) => *socket = None,
        }
        self.freed |= socket.is_none();
        if socket.is_none() && is_secured {
            self.end_tls(slot);
        }
    }

    /// The client is to be read again.
    pub(super) fn resume(&mut self, client: ClientId, hub: &Hub) {
        if hub.is_current(client) {
            // Its end may have arrived unread.
            self.flags[client.slot as usize] |= ENDED;
            self.queue(client);
        }
    }

    /// The client never sends anything again.
    pub(super) fn watch(&self, client: ClientId, hub: &Hub) {
        let socket = self.sockets[client.slot as usize].as_ref();
        if let Some(socket) = socket.filter(|_| hub.is_current(client)) {
            socket::give_up_unacknowledged(socket);
        }
    }

    fn lose(&mut self, client: ClientId, hub: &mut Hub) {
        if self.tls.is_some() {
            self.finish_tls(client.slot as usize);
            self.end_tls(client.slot as usize);
        }
        self.sockets[client.slot as usize] = None;
        self.freed = true;
        hub.handle_client_closed(client);
    }
}

/// In `ClientSockets::readable`.
const QUEUED: u8 = 1;
/// The peer sent its end: read until it is reached.
const ENDED: u8 = 2;
/// The client speaks TLS.
const SECURED: u8 = 4;
/// Its TLS handshake is under way.
const SHAKING: u8 = 8;
/// It speaks TLS at the admin address.
const ADMIN: u8 = 16;
/// One read of one client: room for 32 large requests.
const READ_BYTES: usize = 16 * 1024;
/// All writes of one turn.
const WRITE_BUDGET: Duration = Duration::from_micros(250);
const WRITES_PER_LOOK_AT_CLOCK: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_socket_takes_4_bytes_of_our_memory() {
        assert_eq!(size_of::<Option<TcpStream>>(), 4);
    }

    #[test]
    fn budgets_are_looked_at_within_a_slice() {
        const { assert!(WRITES_PER_LOOK_AT_CLOCK <= SLICE_WRITES) };
    }
}
