//! What the reactor does in its turns, over byte buffers.

use super::{Server, World};
use crate::{
    backend::{Order, Role},
    hub::{
        parts::Disconnect,
        transmit::{Outgoing, Written},
    },
};

impl World {
    /// Turns until nothing happens any more.
    pub(super) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while !self.hold_writes && self.write_one() {
                quiet = false;
            }
            self.core.end_turn(self.now);
            while let Some((client, disconnect)) = self.core.poll_disconnect() {
                quiet = false;
                if disconnect != Disconnect::Shutdown {
                    self.sockets.remove(&client);
                }
            }
            while let Some(client) = self.core.poll_resumed() {
                self.resumed.push(client);
            }
            quiet &= !self.move_backend_bytes();
            self.core.check_invariants();
            if quiet {
                return;
            }
        }
    }

    fn write_one(&mut self) -> bool {
        let Some(transmit) = self.core.poll_transmit(self.now) else {
            return false;
        };
        let bytes = match transmit.bytes {
            Outgoing::One(bytes) => bytes.to_vec(),
            Outgoing::Many(pieces) => {
                let (slices, count) = pieces.slices();
                slices[..count].iter().flat_map(|it| it.to_vec()).collect()
            }
        };
        let socket = self
            .sockets
            .get_mut(&transmit.client)
            .expect("a client that is there");
        let written = match &mut socket.room {
            Some(room) if *room < bytes.len() => {
                let taken = std::mem::take(room);
                socket.received.extend_from_slice(&bytes[..taken]);
                Written::Full(taken)
            }
            _ => {
                socket.received.extend_from_slice(&bytes);
                Written::All
            }
        };
        self.core.handle_transmitted(written, self.now);
        true
    }

    fn move_backend_bytes(&mut self) -> bool {
        let mut moved = false;
        while let Some(order) = self.core.backend().and_then(|backend| backend.poll_order()) {
            moved = true;
            let (Order::Connect(role) | Order::Disconnect(role)) = order;
            self.backends[role.index()] = Server::default();
            if matches!(order, Order::Connect(_)) {
                let backend = self.core.backend().unwrap();
                if self.refuse_connections {
                    backend.handle_lost(role, "failed: refused", self.now);
                } else {
                    backend.handle_connected(role);
                }
                self.core.handle_backend(self.now);
            }
        }
        for role in Role::ALL {
            while !self.hold_backend {
                let backend = self.core.backend().unwrap();
                let Some(bytes) = backend.poll_transmit(role).map(<[u8]>::to_vec) else {
                    break;
                };
                backend.handle_transmitted(role, bytes.len());
                self.backends[role.index()].inbox.extend(bytes);
                moved = true;
            }
            let answer = self.backends[role.index()].read();
            if !answer.is_empty() {
                if let Some(backend) = self.core.backend() {
                    backend.handle_input(role, &answer, self.now);
                }
                self.core.handle_backend(self.now);
                moved = true;
            }
            let tokens = std::mem::take(&mut self.backends[role.index()].tokens);
            if !tokens.is_empty() && !self.is_deaf {
                self.backend_says(Role::Listening, &tokens);
            }
        }
        moved
    }
}
