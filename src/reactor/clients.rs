//! The sockets of clients: reads and writes in budgets, so that nobody waits for one of them.
//!
//! Knows a client by its slot and what the core says of it; not what its bytes mean.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

use std::{
    collections::VecDeque,
    io::{self, Read},
    net::Shutdown,
    time::{Duration, Instant},
};

use mio::{Interest, Registry, net::TcpStream};
use socket2::SockRef;

use super::{OnMessage, socket, source::Source};
use crate::{
    delivery::fanout::SLICE_WRITES,
    hub::{Core, parts::Disconnect, transmit::Written},
    id::ClientId,
};

/// All client sockets, by slot.
#[derive(Debug, Default)]
pub(super) struct ClientSockets {
    sockets: Vec<Option<TcpStream>>,
    /// By slot: [`QUEUED`], [`ENDED`].
    flags: Vec<u8>,
    /// Sockets with bytes that no event will tell us of again; each client once, so that who
    /// sends without end waits for its turn like anybody.
    readable: VecDeque<ClientId>,
    /// A socket was let go since the last look.
    freed: bool,
}

impl ClientSockets {
    /// Takes a new connection, known to the core as `client`.
    pub(super) fn add(
        &mut self,
        mut stream: TcpStream,
        client: ClientId,
        core: &mut Core,
        registry: &Registry,
    ) {
        let token = Source::Client(client).token();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut stream, token, interest) {
            tracing::warn!("cannot watch a connection: {error}");
            core.handle_client_closed(client);
            return;
        }
        let slot = client.slot as usize;
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
            self.flags.resize(slot + 1, 0);
        }
        self.sockets[slot] = Some(stream);
        self.flags[slot] = 0;
    }

    pub(super) fn handle_event(
        &mut self,
        client: ClientId,
        event: &mio::event::Event,
        core: &mut Core,
    ) {
        if event.is_writable() {
            core.handle_client_writable(client);
        }
        let ended = event.is_read_closed() || event.is_error();
        if (event.is_readable() || ended) && core.is_current(client) {
            self.flags[client.slot as usize] |= if ended { ENDED } else { 0 };
            self.queue(client);
        }
    }

    fn queue(&mut self, client: ClientId) {
        let flags = &mut self.flags[client.slot as usize];
        if *flags & QUEUED == 0 {
            *flags |= QUEUED;
            self.readable.push_back(client);
        }
    }

    /// Whether a socket was let go since this was asked last.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Whether [`Self::read`] has something to do.
    pub(super) fn is_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    /// Reads once from each socket that has something, until the budget is spent.
    pub(super) fn read(
        &mut self,
        core: &mut Core,
        buffer: &mut [u8],
        mut on_message: Option<&mut OnMessage>,
        now: Instant,
    ) {
        let buffer = &mut buffer[..READ_BYTES];
        let began = Instant::now();
        for turn in 1..=self.readable.len() {
            let Some(client) = self.readable.pop_front() else {
                return;
            };
            if !core.is_current(client) {
                continue;
            }
            self.flags[client.slot as usize] &= !QUEUED;
            if self.read_one(client, core, buffer, now) {
                self.queue(client);
            }
            if let Some(on_message) = &mut on_message {
                answer(core, on_message, now);
            }
            if turn % READS_PER_LOOK_AT_CLOCK == 0 && began.elapsed() > READ_BUDGET {
                return;
            }
        }
    }

    /// Whether there may be more, and no event will say so.
    fn read_one(
        &mut self,
        client: ClientId,
        core: &mut Core,
        buffer: &mut [u8],
        now: Instant,
    ) -> bool {
        // A paused client is read again when the core says so; until then its bytes, and its
        // end, wait in the socket.
        if core.is_paused(client) {
            return false;
        }
        let slot = client.slot as usize;
        let Some(Some(mut stream)) = self.sockets.get(slot).map(Option::as_ref) else {
            return false;
        };
        match stream.read(buffer) {
            Ok(0) => self.lose(client, core),
            Ok(bytes) => {
                core.handle_client_input(client, &mut buffer[..bytes], now);
                // A short read has emptied the socket (epoll(7)), unless its end is behind it.
                return bytes == buffer.len() || self.flags[slot] & ENDED != 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => self.lose(client, core),
        }
        false
    }

    /// Writes one slice: what is ready, as far as the budget goes.
    pub(super) fn write(&mut self, core: &mut Core, now: Instant) {
        // The turn has one time; only the budget is counted from here.
        let began = Instant::now();
        for turn in 1..=SLICE_WRITES {
            let Some(transmit) = core.poll_transmit(now) else {
                return;
            };
            let client = transmit.client;
            let written = match self.sockets.get(client.slot as usize) {
                Some(Some(stream)) => socket::write(stream, &transmit.bytes),
                _ => Ok(Written::Full(0)),
            };
            match written {
                Ok(written) => core.handle_transmitted(written, now),
                Err(_) => {
                    core.handle_transmitted(Written::Full(0), now);
                    self.lose(client, core);
                }
            }
            if turn % WRITES_PER_LOOK_AT_CLOCK == 0 && began.elapsed() > WRITE_BUDGET {
                return;
            }
        }
    }

    /// Lets go of sockets as the core says, and reads again whom it let wait.
    pub(super) fn carry_out(&mut self, core: &mut Core) {
        while let Some((client, disconnect)) = core.poll_disconnect() {
            let Some(socket) = self.sockets.get_mut(client.slot as usize) else {
                continue;
            };
            // An error of either means that the peer is gone already.
            match (disconnect, socket.as_ref()) {
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
        }
        while let Some(client) = core.poll_resumed() {
            if core.is_current(client) {
                // Its end may have come, and been left unread.
                self.flags[client.slot as usize] |= ENDED;
                self.queue(client);
            }
        }
    }

    fn lose(&mut self, client: ClientId, core: &mut Core) {
        self.sockets[client.slot as usize] = None;
        self.freed = true;
        core.handle_client_closed(client);
    }
}

/// Gives the program what a client's input came to, and the client the program's replies.
fn answer(core: &mut Core, on_message: &mut OnMessage, now: Instant) {
    while let Some((client, message)) = core.poll_message(now) {
        if let Some(reply) = on_message(message) {
            core.handle_reply(client, &reply, now);
        }
    }
}

/// In `ClientSockets::readable`.
const QUEUED: u8 = 1;
/// The peer sent its end: read until it shows.
const ENDED: u8 = 2;
/// One read of one client: what 32 large requests take.
const READ_BYTES: usize = 16 * 1024;
/// All clients' reads of one turn.
const READ_BUDGET: Duration = Duration::from_millis(1);
const READS_PER_LOOK_AT_CLOCK: usize = 8;
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
