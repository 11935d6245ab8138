//! Connections there is no room for: each is told so, and none of them stays.
//!
//! A connection that is closed unread is a reset to its peer. So its head is read, it gets 503
//! with `Retry-After`, and a moment to take it.

use std::{net::IpAddr, time::Duration};

use super::{
    http::{self, Reply},
    hub::{ClientId, Disconnect, EXCESS, Hub, Phase, Tick},
    sweep::elapsed,
};

impl Hub {
    /// A socket was accepted. If that makes too many unfinished handshakes, the oldest of them is
    /// refused: who connects and says nothing keeps nobody out.
    pub(super) fn handle_client_connected(
        &mut self,
        address: Option<IpAddr>,
        now: Tick,
    ) -> ClientId {
        if self.handshaking >= self.limits.handshakes_max {
            self.refuse_oldest_handshake(now);
        }
        // Those that finished in between stay until the list is twice as long as it can have use.
        if self.unfinished.len() >= self.limits.handshakes_max.max(1) * 2 {
            let mut unfinished = std::mem::take(&mut self.unfinished);
            unfinished.retain(|&id| self.is_handshaking(id));
            self.unfinished = unfinished;
        }
        let id = self.handle_connected(0, now);
        self.addresses.note(id.slot, address);
        self.unfinished.push_back(id);
        id
    }

    /// A socket was accepted though nothing is left for it.
    pub(super) fn handle_excess(&mut self, now: Tick) -> ClientId {
        self.metrics.connections_excess += 1;
        let id = self.handle_connected(EXCESS, now);
        self.refused.push_back((now, id));
        id
    }

    /// Lets go of those that were refused a moment ago.
    pub(super) fn end_refused(&mut self, now: Tick) {
        while let Some(&(since, id)) = self.refused.front() {
            if elapsed(since, now) < REFUSAL_TIMEOUT {
                return;
            }
            self.refused.pop_front();
            if self.is_alive(id) {
                self.drop_client(id.slot, Disconnect::Drop);
            }
        }
    }

    fn refuse_oldest_handshake(&mut self, now: Tick) {
        while let Some(oldest) = self.unfinished.pop_front() {
            if !self.is_handshaking(oldest) {
                continue;
            }
            self.metrics.handshakes_crowded_out += 1;
            if let Reply::Respond(status, bytes) = http::no_room("too many unfinished handshakes\n")
            {
                self.metrics.http_responses.add(status.code());
                self.hang_up(oldest.slot, now, |out| out.extend_from_slice(&bytes));
            }
            self.refused.push_back((now, oldest));
            return;
        }
    }

    fn is_handshaking(&self, id: ClientId) -> bool {
        self.is_alive(id) && matches!(self.clients[id.slot as usize].phase, Phase::Handshake(_))
    }
}

/// For a refused connection in all: to send its head, and to take the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
