//! How connections end: by a close of ours, by one of the peer's, with their sockets, or with the
//! bridge.
//!
//! Nothing is freed and no link cut here: a connection that ends is marked, and reaped at the end
//! of the turn.

use std::time::Duration;

use super::{
    Action, Disconnect, Hub,
    answer::append_stream_end,
    clients::Phase,
    custom_protocol::Arrival,
    deadlines::{self, STEP, Times, Verdict},
    encode::Transport,
    eviction::EvictionClass,
    reaping::Reap,
    shutdown::{Leave, Step},
    unlisten_delay::Parting,
    work::{CLOSE_UNITS, LINKS_A_UNIT, LOOKS_A_UNIT},
};
use crate::{
    backend::command::Published,
    config::BridgeConfig,
    id::ClientId,
    message::{ErrorCode, ServerMessage},
    sse,
    ws::{
        close::{self, CloseReason},
        encoder,
    },
};

impl Hub {
    // ---- all of them

    /// Takes no more clients and is not ready any more, but serves those there are: within `span`,
    /// each of them is closed with 1001 at a random time. Then it stops. Plain HTTP is answered
    /// all the while. A span over [`BridgeConfig::DRAIN_MAX`] counts as that.
    pub fn drain(&mut self, span: Duration) {
        if !self.shutdown.has_begun() {
            let open = self.clients.slots().filter(|&it| self.clients.is_open(it));
            let clients = open.map(|slot| self.clients.id(slot));
            let span = span.min(BridgeConfig::DRAIN_MAX);
            self.shutdown.drain(clients, span, self.clock.now());
        }
    }

    /// Takes no more clients, closes those there are with 1001; those that await a publish get
    /// two seconds for it. A head under way gets one, for an answer that says so.
    pub fn stop(&mut self) {
        if !self.shutdown.is_stopping() {
            self.shutdown.stop(self.clock.now());
            self.membership.leave(self.clock.now());
            self.advance_shutdown();
        }
    }

    pub(super) fn advance_shutdown(&mut self) {
        let now = self.clock.now();
        if self.shutdown.drained_at().is_some_and(|at| at <= now) {
            self.stop();
            return;
        }
        while let Some(client) = self.shutdown.poll_closing(now) {
            if self.is_current(client) && self.publishing.client_count(client.slot) > 0 {
                // It is told first, and looked at again soon.
                self.shutdown.put_off(client, now + STEP);
            } else if self.is_current(client) {
                self.close(client.slot, CloseReason::GoingAway);
            }
        }
        if let Some(step) = self.shutdown.poll_step(now) {
            if step.all {
                self.give_up_publishes();
            }
            self.take_step(step);
        }
    }

    /// Closes clients with 1001, and drops connections whose head is incomplete, as far as this
    /// step says.
    fn take_step(&mut self, step: Step) {
        let end = self.clients.slots().end;
        while !self.work.is_spent() {
            let Some(slot) = self.shutdown.poll_slot(end) else {
                return;
            };
            let Some(phase) = self.clients.phase(slot) else {
                continue;
            };
            let awaits_publish = self.publishing.client_count(slot) > 0;
            match step.judge(self.clients.kind(slot), phase, awaits_publish) {
                Leave::No => {}
                Leave::Close => self.close(slot, CloseReason::GoingAway),
                Leave::Drop => self.drop_client(slot, Disconnect::Drop),
                Leave::Finish => self.finish_exchange(slot),
            }
        }
    }

    /// No outcome is waited for any more: each publisher is told that it is unknown.
    fn give_up_publishes(&mut self) {
        for (ticket, publish) in self.publishing.give_up() {
            if publish.client.is_none_or(|client| self.is_current(client)) {
                let (channel, id) = (Some(publish.channel.as_str()), publish.reply_to.id());
                let code = ErrorCode::UnknownOutcome;
                let text = "the bridge stops, and PostgreSQL did not answer in time";
                let failure = ServerMessage::error(code, text, channel, id);
                self.tell_outcome(ticket, &publish, &Published::Unknown, Some(&failure));
            }
        }
    }

    // ---- one connection

    /// Begins to close an open connection; the close frame follows at a frame boundary. A client
    /// that cannot follow loses what lies behind the frame begun, any other gets what it is owed.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason) {
        if !self.clients.is_open(slot) {
            return;
        }
        if !cuts_backlog(reason) {
            self.delivery.deliver(slot, self.channels.links().indexes());
        }
        let reason = if self.delivery.has_overflowed(slot) {
            CloseReason::SlowConsumer
        } else {
            reason
        };
        let links = self.channels.links().client_count(slot);
        self.work.spend(CLOSE_UNITS + links / LOOKS_A_UNIT);
        self.note_close(slot, reason, reason.code());
        if self.clients.transport(slot) == Transport::EventStream {
            self.end_stream(slot, reason, reason.text(), cuts_backlog(reason));
            return;
        }
        let phase = if reason == CloseReason::Overloaded {
            // Nothing more is read of it, its close frame neither.
            self.clients.drop_partial(slot);
            self.clients.note_shell_bytes(slot, 0);
            self.unparsed.take(slot);
            Phase::Flushing
        } else {
            Phase::Closing
        };
        self.end(slot, phase, Parting::Lost, cuts_backlog(reason));
        self.delivery.push(slot, |out| {
            close::close_frame(reason.code(), reason.text(), out);
        });
    }

    /// Ends an open stream; its last event says why. Its reader comes again, and learns then what it
    /// may.
    pub(super) fn end_stream(
        &mut self,
        slot: u32,
        reason: CloseReason,
        message: &str,
        cuts_backlog: bool,
    ) {
        let (retry, code) = (self.retries.after_end(), reason.code());
        self.end(slot, Phase::Flushing, Parting::Lost, cuts_backlog);
        self.delivery.push(slot, |out| {
            if reason.is_about_token() {
                let end = ServerMessage::AuthEnd { code, message };
                Transport::EventStream.append(&end, None, out);
            } else {
                append_stream_end(retry, code, message, out);
            }
        });
    }

    /// No more is read of the client: it is sent a close frame with `code`, once its messages before
    /// that are answered, and the connection ends behind it.
    pub(super) fn reply_close(&mut self, slot: u32, reason: CloseReason, code: u16) {
        let id = self.clients.id(slot);
        match &mut self.custom_protocol {
            Some(queue) if !queue.is_empty() => queue.push(Arrival::End(id, reason, code)),
            Some(_) | None => self.finish_messages(slot, reason, code),
        }
    }

    /// All messages of the client are answered; a reply may have been too much for it, so that we
    /// close it already.
    pub(super) fn finish_messages(&mut self, slot: u32, reason: CloseReason, code: u16) {
        if !self.clients.is_open(slot) {
            self.finish_closing(slot);
            return;
        }
        let (reason, code) = if self.delivery.has_overflowed(slot) {
            (CloseReason::SlowConsumer, CloseReason::SlowConsumer.code())
        } else {
            (reason, code)
        };
        self.note_close(slot, reason, code);
        let parting = if reason == CloseReason::Normal {
            Parting::by_code(code)
        } else {
            Parting::Lost
        };
        self.end_with(slot, parting, |out| {
            close::close_frame(code, reason.text(), out);
        });
    }

    /// Queues the bytes of `write` behind what is queued already, and ends the connection behind
    /// them.
    pub(super) fn end_with(
        &mut self,
        slot: u32,
        parting: Parting,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.end(slot, Phase::Flushing, parting, false);
        self.delivery.push(slot, write);
    }

    /// The peer's close frame answers ours: what is queued still leaves, then we shut down.
    pub(super) fn finish_closing(&mut self, slot: u32) {
        let now = self.clock.tick();
        if self.delivery.backlog(slot).is_some() {
            self.clients.end(slot, Phase::Flushing, now);
        } else {
            self.clients.end(slot, Phase::Lingering, now);
            self.shut_down(slot);
        }
    }

    /// The client takes no part any more: its links are cut at the end of the turn.
    pub(super) fn end(&mut self, slot: u32, phase: Phase, parting: Parting, cuts_backlog: bool) {
        if self.clients.hold(slot, false) {
            // Its close frame, or its end, is to be seen.
            let resume = Action::Resume(self.clients.id(slot));
            self.actions.push_back(resume);
        }
        if self.clients.is_open(slot) {
            self.unlink(slot, parting);
        }
        self.asking.forget(slot);
        self.authorization.forget(slot);
        self.delivery.end(slot, cuts_backlog);
        self.clients.end(slot, phase, self.clock.tick());
        self.note(EvictionClass::Ending, slot);
    }

    fn unlink(&mut self, slot: u32, parting: Parting) {
        self.room.close(slot);
        self.openings.forget(slot);
        if let Some(credential) = self.clients.credential(slot) {
            self.authorization.release(credential);
        }
        self.reaping.push(Reap::Links(slot, parting));
    }

    fn shut_down(&mut self, slot: u32) {
        let id = self.clients.id(slot);
        let action = Action::Disconnect(id, Disconnect::Shutdown);
        self.actions.push_back(action);
    }

    /// Lets the socket go at once.
    pub(super) fn drop_client(&mut self, slot: u32, how: Disconnect) {
        let id = self.clients.id(slot);
        self.actions.push_back(Action::Disconnect(id, how));
        self.remove(slot);
    }

    /// Ends a connection that is being closed, without waiting any longer: the peer sees by a reset
    /// that something is missing.
    pub(super) fn terminate(&mut self, slot: u32) {
        let how = match self.delivery.backlog(slot) {
            None => Disconnect::Drop,
            Some(_) => Disconnect::Reset,
        };
        self.drop_client(slot, how);
    }

    /// A client's socket ended or failed; the shell has let it go.
    pub fn handle_client_closed(&mut self, client: ClientId) {
        if self.is_current(client) {
            self.remove(client.slot);
        }
    }

    /// A client has sent its last byte. Whether its socket is to stay: it may read on, and has answers to
    /// come. [`Action::Resume`] tells when to ask again.
    pub fn handle_client_finished(&mut self, client: ClientId) -> bool {
        let slot = client.slot;
        if !self.is_current(client) {
            return false;
        }
        let has_answers_to_come = match self.clients.phase(slot) {
            Some(Phase::Http(exchange)) => {
                exchange.unanswered_count() > 0 || self.delivery.backlog(slot).is_some()
            }
            Some(Phase::Flushing) => self.delivery.backlog(slot).is_some(),
            Some(_) | None => false,
        };
        if has_answers_to_come {
            self.end_requests(slot);
            self.clients.hold(slot, true);
        }
        has_answers_to_come
    }

    fn remove(&mut self, slot: u32) {
        if self.clients.is_open(slot) {
            self.tell_end(slot, None, close::LOST_LABEL);
            self.unlink(slot, Parting::Lost);
            self.metrics.closes.add(close::LOST_LABEL);
        }
        self.delivery.detach(slot);
        self.unparsed.take(slot);
        self.endpoints.forget(slot);
        self.log.clients.forget(slot);
        self.publishing.disconnect(slot);
        self.asking.forget(slot);
        self.authorization.forget(slot);
        self.clients.remove(slot);
        self.reaping.push(Reap::Slot(slot));
    }

    pub(super) fn note_close(&mut self, slot: u32, reason: CloseReason, code: u16) {
        self.tell_end(slot, Some(code), reason.label());
        self.metrics.closes.add(reason.label());
    }

    // ---- sockets that take bytes, or do not

    /// A client's socket takes bytes again.
    pub fn handle_client_writable(&mut self, client: ClientId) {
        if self.is_current(client) {
            self.delivery.handle_writable(client.slot);
        }
    }

    /// Bytes of the client's backlog went out.
    pub(super) fn handle_backlog_moved(&mut self, slot: u32) {
        let is_flushing = matches!(self.clients.phase(slot), Some(Phase::Flushing));
        if is_flushing && self.delivery.backlog(slot).is_none() {
            // The whole of it has one deadline.
            let began = self.clients.phase_began(slot);
            self.clients.end(slot, Phase::Lingering, began);
            self.shut_down(slot);
        }
        self.resume(slot);
    }

    /// Closes clients that are owed more than they may be.
    pub(super) fn close_overflowed(&mut self) {
        while !self.work.is_spent() {
            let Some(slot) = self.delivery.poll_overflowed() else {
                return;
            };
            self.close(slot, CloseReason::SlowConsumer);
        }
    }

    /// Closes the slowest clients until what all of them refer to is within its bound, as far as
    /// one turn goes. Whether the next one is to go on.
    pub(super) fn close_slowest(&mut self) -> bool {
        let max = self.limits.retained_bytes_max;
        let max = max.saturating_sub(self.membership.held_bytes());
        if self.delivery.retained_bytes() <= max {
            return false;
        }
        self.delivery.clear_recoveries();
        for slot in self.delivery.slowest(CLOSES_PER_TURN) {
            let before = self.delivery.retained_bytes();
            if before <= max {
                return false;
            }
            self.close(slot, CloseReason::SlowConsumer);
            if self.delivery.retained_bytes() == before && self.delivery.has_work() {
                // What it held is held by others too, or by a pass: let that go on first.
                return false;
            }
        }
        // Where nobody is slow, a pass holds it all, and goes on anyway.
        self.delivery.retained_bytes() > max && !self.delivery.has_work()
    }

    /// Cuts links of clients that ended, frees their slots, and lets go of what their channels were, as
    /// far as the turn's work goes.
    pub(super) fn reap(&mut self) {
        let (channels, clients, now) = (&mut self.channels, &mut self.clients, self.clock.now());
        self.reaping.advance(channels, clients, &mut self.work, now);
        let mut released = 0;
        while !self.work.is_spent() {
            let Some(key) = self.channels.poll_released() else {
                break;
            };
            self.delivery.forget(key);
            self.membership.forget(key);
            released += 1;
            self.work.spend(usize::from(released % LINKS_A_UNIT == 0));
        }
        self.announce_up_if_settled();
    }

    /// Closes the clients that make us keep most of their own until all of it is within its bound, as
    /// far as one turn goes. Whether the next one is to go on.
    pub(super) fn close_costliest(&mut self) -> bool {
        let max = self.limits.owned_bytes_max;
        if self.owned_bytes() <= max {
            return false;
        }
        for slot in self.view().costliest(CLOSES_PER_TURN) {
            if self.owned_bytes() <= max {
                return false;
            }
            self.close(slot, CloseReason::Overloaded);
        }
        self.owned_bytes() > max
    }

    // ---- deadlines

    /// Looks at the clients of this step for which something may be due. A deadline moves far more
    /// often than it falls due, so nothing is done when it moves: each look plans the next one. A
    /// backlog may come to a standstill at any time: a client that has one is looked at each time.
    pub(super) fn sweep(&mut self) {
        let Some(slots) = self.deadlines.poll(self.clients.slots(), self.clock.now()) else {
            return;
        };
        let now = self.clock.tick();
        for slot in slots {
            if self.clients.is_look_due(slot, now) || self.delivery.backlog(slot).is_some() {
                self.check_deadlines(slot);
                let next = self.clients.phase(slot).map_or(Duration::MAX, |phase| {
                    deadlines::next_look(phase, self.times(slot), &self.limits)
                });
                self.clients.plan_look(slot, now, next);
            }
        }
        self.end_refused();
        self.end_overdue();
        self.delivery.expire_recoveries();
    }

    fn times(&self, slot: u32) -> Times {
        let is_unread = self.is_over_quota(slot) || self.unparsed.bytes_of(slot) > 0;
        Times::of(slot, &self.clients, &self.delivery, &self.clock, is_unread)
    }

    fn check_deadlines(&mut self, slot: u32) {
        let Some(phase) = self.clients.phase(slot) else {
            return;
        };
        let now = self.clock.tick();
        if self.authorization.is_waiting(slot) {
            // The wait is ours.
            self.clients.excuse(slot, now);
            return;
        }
        match deadlines::judge(phase, self.times(slot), &self.limits) {
            Verdict::Wait => {}
            Verdict::Excuse => {
                self.delivery.copy_out_small(slot);
                self.clients.excuse(slot, now);
            }
            Verdict::Ping => {
                self.clients.note_ping(slot, now);
                let append = match self.clients.transport(slot) {
                    Transport::WebSocket => encoder::append_ping,
                    Transport::EventStream => sse::encoder::append_comment,
                };
                self.delivery.push(slot, append);
            }
            Verdict::TellEnd(seconds) => {
                self.clients.note_end_told(slot);
                self.answer(slot, &ServerMessage::AuthExpiring { seconds });
            }
            Verdict::Close(reason) => self.close(slot, reason),
            Verdict::Drop => {
                self.metrics.handshakes_timed_out += 1;
                if self.asking.is_waiting(slot) {
                    self.give_up_asking(slot);
                } else {
                    self.drop_client(slot, Disconnect::Drop);
                }
            }
            Verdict::Terminate => self.terminate(slot),
            Verdict::LetGo => self.drop_client(slot, Disconnect::Drop),
            Verdict::TimeOutRequest => self.time_out_request(slot),
        }
    }
}

/// Slowest clients that are closed in one turn.
pub(super) const CLOSES_PER_TURN: usize = 64;

/// Whether a client that is closed for this reason could not take what is owed to it anyway.
fn cuts_backlog(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::SlowConsumer | CloseReason::PingTimeout | CloseReason::Overloaded
    )
}
