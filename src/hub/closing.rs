//! How clients leave: by their own end, by ours, and what is kept until the last byte is out.
//!
//! Nothing is freed and no link cut while something walks: who leaves is marked, and reaped at the
//! end of the turn.

use super::{
    eviction::EvictionClass,
    parts::{ADMIN, DEAD, Disconnect, Hub, NO_BACKLOG, OPEN, Phase, Recipient},
};
use crate::{
    id::{ClientId, Tick},
    ws::close::{self, CloseReason},
};

impl Hub {
    /// Begins to close an open connection; the close frame follows at a frame boundary. A client
    /// that cannot follow loses what lies behind the frame begun, any other gets what it is owed.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason, now: Tick) {
        if matches!(reason, CloseReason::SlowConsumer | CloseReason::PingTimeout) {
            if let Some(key) = self.backlog_key_of(slot) {
                self.backlogs[key].backlog.cut_at_frame(&mut self.batches);
            }
        } else {
            self.deliver(slot, now);
        }
        // What it was owed may have been too much for it.
        if self.is_open(slot) {
            self.note_close(slot, reason);
            self.leave(slot, Phase::Closing, now);
            self.push_own(slot, now, |out| {
                close::close_frame(reason.code(), reason.text(), out);
            });
        }
    }

    /// Queues `write`'s bytes behind what is queued already, and hangs up behind them.
    pub(super) fn hang_up(&mut self, slot: u32, now: Tick, write: impl FnOnce(&mut Vec<u8>)) {
        self.leave(slot, Phase::Flushing, now);
        self.push_own(slot, now, write);
    }

    /// The peer's close frame answers ours: what is queued still leaves, then we hang up.
    pub(super) fn finish_closing(&mut self, slot: u32, now: Tick) {
        let has_backlog = self.hot[slot as usize].backlog != NO_BACKLOG;
        let client = &mut self.clients[slot as usize];
        client.since = now;
        if has_backlog {
            client.phase = Phase::Flushing;
        } else {
            client.phase = Phase::Lingering;
            self.disconnects
                .push_back((self.id(slot), Disconnect::Shutdown));
        }
    }

    /// Lets the socket go at once.
    pub(super) fn drop_client(&mut self, slot: u32, how: Disconnect) {
        self.disconnects.push_back((self.id(slot), how));
        self.bury(slot);
    }

    /// Lets one go that was told to, before its end has come: it sees whether that was all.
    pub(super) fn drop_ending(&mut self, slot: u32) {
        let all_sent = self.backlog_key_of(slot).is_none();
        let how = if all_sent {
            Disconnect::Drop
        } else {
            Disconnect::Reset
        };
        self.drop_client(slot, how);
    }

    /// The socket is gone.
    pub(super) fn handle_closed(&mut self, id: ClientId) {
        if self.is_alive(id) {
            self.bury(id.slot);
        }
    }

    /// Cuts the links of clients that left and frees their slots. Nothing walks now.
    pub(super) fn reap(&mut self, now: Tick) {
        while let Some(slot) = self.to_unlink.pop() {
            self.leave_channels(slot, now);
        }
        while let Some(slot) = self.dead.pop() {
            self.clients.remove(slot as usize);
            let hot = &mut self.hot[slot as usize];
            *hot = Recipient {
                seen: 0,
                backlog: NO_BACKLOG,
                generation: hot.generation.wrapping_add(1),
                flags: 0,
            };
        }
        self.close_slowest(now);
    }

    /// Closes the slowest clients until what all of them refer to is within its bound.
    fn close_slowest(&mut self, now: Tick) {
        while self.batches.retained_bytes() > self.limits.retained_bytes_max {
            let open = self
                .backlogs
                .iter()
                .filter(|(_, stalled)| self.is_open(stalled.slot));
            let slowest = open.max_by_key(|(_, stalled)| stalled.backlog.shared_bytes());
            let Some((_, slowest)) = slowest else { return };
            if slowest.backlog.shared_bytes() == 0 {
                // A pass holds it all: nobody is slow.
                return;
            }
            let (slot, before) = (slowest.slot, self.batches.retained_bytes());
            self.close(slot, CloseReason::SlowConsumer, now);
            if self.batches.retained_bytes() == before && self.fanout.has_work() {
                // What it held is held by others too, or by a pass: let that go on first.
                return;
            }
        }
    }

    /// The client takes no part any more: its links are cut at the end of the turn.
    fn leave(&mut self, slot: u32, phase: Phase, now: Tick) {
        if self.is_paused(self.id(slot)) {
            // Its close frame, or its end, is to be seen.
            self.resumed.push_back(self.id(slot));
        }
        let hot = &mut self.hot[slot as usize];
        if hot.is(OPEN) {
            hot.flags &= !OPEN;
            self.open_clients -= 1;
            self.addresses.leave(slot);
            self.to_unlink.push(slot);
        }
        self.end_handshake(slot);
        let client = &mut self.clients[slot as usize];
        client.phase = phase;
        client.since = now;
        self.note(self.id(slot), EvictionClass::Ending, now);
    }

    fn bury(&mut self, slot: u32) {
        self.end_handshake(slot);
        let hot = &mut self.hot[slot as usize];
        if hot.is(OPEN) {
            self.open_clients -= 1;
            self.addresses.leave(slot);
            self.to_unlink.push(slot);
            self.metrics.closes.add(close::LOST_LABEL);
        }
        if hot.backlog != NO_BACKLOG {
            let mut stalled = self.backlogs.remove(hot.backlog as usize);
            stalled.backlog.clear(&mut self.batches);
        }
        hot.backlog = NO_BACKLOG;
        self.admin_count -= usize::from(hot.is(ADMIN));
        hot.flags = DEAD | hot.flags & ADMIN;
        self.dead.push(slot);
    }

    pub(super) fn note_close(&mut self, slot: u32, reason: CloseReason) {
        tracing::debug!(client = slot, reason = reason.label(), "closing");
        self.metrics.closes.add(reason.label());
    }
}
