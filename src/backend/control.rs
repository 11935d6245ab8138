//! The control channel of a group: the listening session hears it from its start, and the
//! publishing one speaks on it.
//!
//! A message takes the way of a publish, in turn with those of clients, and is no client's. Refuses
//! to know what messages say.

use sha2::{Digest as _, Sha256};

use super::{
    Backend, Event,
    command::{Notify, Published},
    role::Role,
    ticket::Operation,
};
use crate::{
    channel::{Channel, Payload},
    pg::session::ServerError,
};

/// What concerns the group.
#[derive(Debug)]
pub enum Control<'a> {
    /// The session is about to be up: this backend serves it, of a server that was started then,
    /// in microseconds.
    Serving {
        /// Which session.
        role: Role,
        /// The backend, as its notifications name it.
        process_id: i32,
        /// The start of the server.
        server_start: i64,
    },
    /// A notification on the control channel.
    Message {
        /// The backend that sent it.
        process_id: i32,
        /// Its bytes may be anything.
        payload: &'a [u8],
    },
    /// A message that was given to [`Backend::tell`] was not committed, or nobody knows.
    Lost,
    /// The backends that are there, of those that were asked about.
    Present(Vec<i32>),
    /// The backends that are in the group beside ours.
    Members(Vec<i32>),
}

impl<'a> Control<'a> {
    /// The PID of a backend is positive, though the protocol counts in other numbers here and there.
    pub(super) fn message(process_id: u32, payload: &'a [u8]) -> Self {
        Self::Message {
            process_id: i32::try_from(process_id).unwrap_or(0),
            payload,
        }
    }
}

impl Backend {
    /// Hears this channel and speaks on it; before anything else happens.
    #[must_use]
    pub fn with_control(mut self, control: Option<Channel>) -> Self {
        self.control = control;
        self
    }

    /// Publishes a message on the control channel.
    pub fn tell(&mut self, payload: Payload) {
        match self.control.clone() {
            Some(channel) if self.is_up(Role::Publishing) => self.transactions.push(Notify {
                number: MESSAGE,
                source: MESSAGE,
                channel,
                payload,
            }),
            Some(_) | None => self.events.push_back(Event::Control(Control::Lost)),
        }
    }

    /// Asks PostgreSQL which of these backends are there; where `own_role`, those of our own role
    /// alone. Whether the publishing session takes the question.
    pub fn ask_present(&mut self, pids: &[i32], own_role: bool) -> bool {
        let session = self.connections[Role::Publishing.index()].ready_session_mut();
        let is_taken = session.is_some();
        if let Some(session) = session {
            session.find_present(pids, own_role, Operation::Present.ticket());
        }
        is_taken
    }

    /// PostgreSQL is asked which other backends are in the group; where `joins`, the publishing session
    /// counts as one of them from now on. Whether that takes the question.
    pub fn ask_members(&mut self, joins: bool) -> bool {
        let lock = self.control.as_ref().map(lock_of);
        let session = self.connections[Role::Publishing.index()].ready_session_mut();
        // Behind a pooler the lock would stay with whoever is given the backend next.
        let session = session.filter(|it| !it.is_relayed());
        let (Some(session), Some(lock)) = (session, lock) else {
            return false;
        };
        session.find_members(lock, joins, Operation::Members.ticket());
        true
    }

    /// The answer to a question about backends: none where PostgreSQL refused it.
    pub(super) fn found(
        &self,
        role: Role,
        result: &Result<(), ServerError>,
        found: impl FnOnce(Vec<i32>) -> Control<'static>,
    ) -> Option<Event<'static>> {
        let pids = match result {
            Ok(()) => self.session(role)?.present().to_vec(),
            Err(_) => Vec::new(),
        };
        Some(Event::Control(found(pids)))
    }

    /// The session begins to hear the control channel.
    pub(super) fn listen_to_control(&mut self) {
        let session = self.connections[Role::Listening.index()].ready_session_mut();
        if let (Some(session), Some(control)) = (session, &self.control) {
            session.listen(control, Operation::Control.ticket());
        }
    }

    /// The session is about to be up.
    pub(super) fn note_serving(&mut self, role: Role) {
        let session = self.session(role);
        let serving = session.and_then(|it| Some((it.serving_pid()?, it.server_start()?)));
        if let (Some(_), Some((process_id, server_start))) = (&self.control, serving) {
            self.events.push_back(Event::Control(Control::Serving {
                role,
                process_id,
                server_start,
            }));
        }
    }
}

/// The number of the advisory lock that the members of a group hold; those of a program that uses such
/// locks itself are hardly the same.
fn lock_of(control: &Channel) -> i64 {
    let hash = Sha256::digest(control.as_str().as_bytes());
    let bits = hash.first_chunk().expect("a hash has 32 bytes");
    i64::from_be_bytes(*bits)
}

/// The report of a publish that ended.
pub(super) fn outcome(number: u32, published: Published) -> Option<Event<'static>> {
    if number != MESSAGE {
        return Some(Event::Published(number, published));
    }
    let is_committed = matches!(published, Published::Committed);
    (!is_committed).then_some(Event::Control(Control::Lost))
}

/// The number of a message, and its source: no publish of a client has it.
const MESSAGE: u32 = u32::MAX;
