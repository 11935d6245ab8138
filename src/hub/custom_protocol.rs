//! Messages in a protocol of the program's own: on their way to it, and its replies on theirs.
//!
//! Owns their order: what a client's close frame, or its violation, comes behind is answered first.
//! Refuses to know what they say.

use std::{collections::VecDeque, time::Instant};

use super::{Core, parts::Hub};
use crate::{
    id::{ClientId, Tick},
    ws::{
        close::{self, CloseReason},
        encoder,
    },
};

/// A message of a client, or to it, in whatever protocol they speak with the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// What the program is to be told, in order. Empty between two calls of the shell's: only what one
/// read of one client holds is ever in it.
#[derive(Debug, Default)]
pub(super) struct CustomProtocol(VecDeque<Arrival>);

#[derive(Debug)]
enum Arrival {
    Message(ClientId, RawMessage),
    /// The client is heard no more, and is sent this code.
    End(ClientId, CloseReason, u16),
}

impl CustomProtocol {
    pub(super) fn push(&mut self, client: ClientId, message: RawMessage) {
        self.0.push_back(Arrival::Message(client, message));
    }
}

impl Core {
    /// The next message for the program, under [`Core::with_messages`]; to be asked for after each
    /// [`Core::handle_client_input`] until there is none.
    pub fn poll_message(&mut self, now: Instant) -> Option<(ClientId, RawMessage)> {
        let tick = self.tick(now);
        self.hub.poll_message(tick)
    }

    /// The program's reply.
    pub fn handle_reply(&mut self, client: ClientId, reply: &RawMessage, now: Instant) {
        let tick = self.tick(now);
        self.hub.handle_reply(client, reply, tick);
    }
}

impl Hub {
    /// Hangs up behind a close frame with `code`, once the messages before it are answered.
    pub(super) fn end(&mut self, slot: u32, reason: CloseReason, code: u16, now: Tick) {
        let id = self.id(slot);
        match &mut self.arrivals {
            Some(CustomProtocol(queue)) if !queue.is_empty() => {
                queue.push_back(Arrival::End(id, reason, code));
            }
            Some(_) | None => self.say_goodbye(slot, reason, code, now),
        }
    }

    fn say_goodbye(&mut self, slot: u32, reason: CloseReason, code: u16, now: Tick) {
        self.note_close(slot, reason);
        self.hang_up(slot, now, |out| {
            close::close_frame(code, reason.text(), out);
        });
    }

    fn poll_message(&mut self, now: Tick) -> Option<(ClientId, RawMessage)> {
        loop {
            match self.arrivals.as_mut()?.0.pop_front()? {
                Arrival::Message(client, message) => return Some((client, message)),
                Arrival::End(client, ..) if !self.is_alive(client) => {}
                Arrival::End(client, reason, code) if self.is_open(client.slot) => {
                    self.say_goodbye(client.slot, reason, code, now);
                }
                // A reply was too much for it, and its own close frame came meanwhile.
                Arrival::End(client, ..) => self.finish_closing(client.slot, now),
            }
        }
    }

    fn handle_reply(&mut self, client: ClientId, reply: &RawMessage, now: Tick) {
        if self.is_alive(client) && self.is_open(client.slot) {
            self.push_own(client.slot, now, |out| match reply {
                RawMessage::Text(text) => encoder::append_text(text, out),
                RawMessage::Binary(bytes) => encoder::append_binary(bytes, out),
            });
        }
    }
}
