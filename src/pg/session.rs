//! One session to a backend, from the StartupMessage to the end.
//!
//! Ties codec, authentication and commands together and counts who waits for which answer. Knows
//! no socket, no clock, no reconnecting, and not what a channel is wanted for.

mod calls;
mod departure;
mod incoming;
mod listens;
mod naming;
mod server;
mod start_up;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::BytesMut;

pub use self::{calls::Answer, departure::Departure, start_up::StartUp};
use self::{calls::Calls, incoming::Step, listens::Shared, naming::Name, server::Server};
use super::{
    auth::Authentication,
    codec::Codec,
    command,
    config::{Config, Server as Address},
    function::Form,
    outbox::Outbox,
};
use crate::channel::{Channel, Payload};

pub use super::{
    auth::{KeyDerivation, Protection, SaltedPassword},
    error::{AuthenticationError, BindingError, ProtocolError, Refusal, ServerError, SessionError},
};

/// Names one request; the session hands it back and reads nothing into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A frontend's end of the protocol, without IO.
///
/// - Boundary: [`handle_input`](Self::handle_input) takes what the socket read,
///   [`handle_transmitted`](Self::handle_transmitted) how much of what
///   [`poll_transmit`](Self::poll_transmit) lent was written.
/// - Verbs, legal between [`Event::Ready`] and the end: [`listen`](Self::listen),
///   [`unlisten`](Self::unlisten), [`notify`](Self::notify), [`heartbeat`](Self::heartbeat),
///   [`measure_queue`](Self::measure_queue). Each is a transaction of its own, pipelined behind the
///   earlier ones, and gets one [`Event::Completed`], in the order asked; or, when the session ends
///   first, one line of [`unanswered`](Self::unanswered).
///
/// After any of them drain [`poll_event`](Self::poll_event) until `None`, then write what
/// `poll_transmit` lends until it lends nothing or the socket is full:
///
/// ```
/// # use alle::internals::pg::{config::Config, session::{Event, Session}};
/// # let config = Config::parse("postgres://ann@db/x", &|_| None)?;
/// # let (read, mut socket) = (b"R\0\0\0\x08\0\0\0\0", Vec::new());
/// let mut session = Session::new(&config, "alle");
/// session.handle_input(read);
/// while let Some(event) = session.poll_event() {
///     match event {
///         Event::Ready => {}
///         Event::Notification { .. } => {}
///         Event::Completed { ticket: _, result: _ } => {}
///         Event::Notice(_) => {}
///         Event::Failed(_) => {}
///     }
/// }
/// if let Some(derivation) = session.take_key_derivation() {
///     // On a thread of its own: the server says how long it takes.
///     if let Some(key) = derivation.run(|| true) {
///         session.handle_key(&key);
///     }
/// }
/// while let Some(bytes) = session.poll_transmit() {
///     socket.extend_from_slice(bytes);
///     let written = bytes.len();
///     session.handle_transmitted(written);
/// }
/// # Ok::<(), alle::internals::pg::config::ConfigError>(())
/// ```
///
/// When the socket closes, drain events once more, then `unanswered`, and drop the session.
pub struct Session {
    codec: Codec,
    outbox: Outbox,
    /// What is queued before this position was lent: it stays as it is.
    lent: u64,
    phase: Phase,
    /// Asked and not answered, oldest first; empty before `Phase::Ready`.
    requests: VecDeque<Request>,
    server: Server,
    /// The first requests are LISTENs that are committed, and nobody was told yet.
    is_listened: bool,
    /// Stays once it is true, also when the session is over.
    is_admitted: bool,
    /// The server sent something.
    is_answered: bool,
    notifies_by_command: bool,
    calls: Calls,
}

/// What happened; borrows the bytes of a notification from the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Start-up, authentication and set-up are done. Comes once.
    Ready,
    /// Somebody published on a channel we listen to.
    Notification {
        /// The server's process that notified.
        process_id: u32,
        /// The channel's bytes, perhaps not UTF-8.
        channel: &'a [u8],
        /// The payload's bytes, perhaps not UTF-8.
        payload: &'a [u8],
    },
    /// A request was answered; where `result` is `Ok` it is committed.
    Completed {
        /// Whose.
        ticket: Ticket,
        /// How it went.
        result: Result<(), ServerError>,
    },
    /// The server has something to say that concerns no request.
    Notice(ServerError),
    /// The session is over and no event follows. Who still waits is in [`Session::unanswered`].
    Failed(SessionError),
}

/// Whether the server may have seen a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// A byte of it was written: the outcome is unknown.
    Yes,
    /// Nothing of it left: it did not happen.
    No,
}

enum Phase {
    Authenticating(Authentication),
    /// Let in; the backend sends its parameters.
    Starting,
    /// Our own first commands are on their way.
    SettingUp {
        /// How many of them still owe a ReadyForQuery; never zero.
        unanswered: u8,
    },
    Ready,
    /// Terminate is queued: answers may still come, no further request is taken.
    Closing,
    /// Over; nobody was told yet.
    Failing(SessionError),
    Over,
}

struct Request {
    ticket: Ticket,
    kind: Kind,
    /// Where in the outgoing stream it begins.
    position: u64,
    /// What the server said against it so far.
    error: Option<Box<ServerError>>,
    /// Of `Kind::Name`, where LISTEN follows if the server keeps the name, and `Kind::NotifyIfKept`.
    name: Option<Box<Name>>,
    /// Of a `Kind::Listen` that others may join.
    shared: Option<Box<Shared>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Before a LISTEN.
    Name,
    Listen,
    Unlisten,
    Notify,
    NotifyIfKept,
    Heartbeat,
    QueueUsage,
    LockHolder,
    Present,
    Check,
    Call(Form),
}

impl Phase {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}

impl Session {
    /// Begins a session with the first server of `config`, over a connection without TLS: the
    /// StartupMessage is queued at once.
    pub fn new(config: &Config, default_application_name: &str) -> Self {
        let server = &config.servers[0];
        Self::begin(config, server, Protection::None, default_application_name)
    }

    /// Begins a session with `server`, which is one of `config`'s: the StartupMessage is queued at
    /// once.
    pub fn begin(
        config: &Config,
        server: &Address,
        protection: Protection,
        default_application_name: &str,
    ) -> Self {
        let mut outbox = Outbox::default();
        let phase = match command::startup(config, default_application_name, outbox.tail()) {
            Ok(()) => Phase::Authenticating(Authentication::new(config, server, protection)),
            Err(error) => {
                outbox.clear();
                Phase::Failing(error.into())
            }
        };
        Self {
            codec: Codec::default(),
            outbox,
            lent: 0,
            phase,
            requests: VecDeque::new(),
            server: Server::default(),
            is_listened: false,
            is_admitted: false,
            is_answered: false,
            notifies_by_command: false,
            calls: Calls::default(),
        }
    }

    /// Whether requests are taken: from [`Event::Ready`] to the end.
    pub fn is_ready(&self) -> bool {
        self.phase.is_ready()
    }

    /// How many requests are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Whether the server believes who we are, and may as well have refused us before.
    pub fn is_admitted(&self) -> bool {
        self.is_admitted
    }

    /// Whether the queue is being measured.
    pub fn is_measuring_queue(&self) -> bool {
        let mut kinds = self.requests.iter().map(|request| request.kind);
        kinds.any(|kind| kind == Kind::QueueUsage)
    }

    /// Takes what the socket read.
    pub fn handle_input(&mut self, input: &[u8]) {
        self.is_answered |= !input.is_empty();
        match self.phase {
            Phase::Authenticating(_)
            | Phase::Starting
            | Phase::SettingUp { .. }
            | Phase::Ready
            | Phase::Closing => self.codec.push(input),
            Phase::Failing(_) | Phase::Over => {}
        }
    }

    /// The next event; drain until `None`.
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        loop {
            match self.step() {
                Step::Idle => return None,
                Step::Silent => {}
                Step::Event(event) => return Some(event),
                Step::Notification {
                    process_id,
                    channel,
                    payload,
                } => {
                    return Some(Event::Notification {
                        process_id,
                        channel: self.codec.bytes(channel),
                        payload: self.codec.bytes(payload),
                    });
                }
            }
        }
    }

    /// What is still to be written, in one piece; `None` if nothing is.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        self.lent = self.outbox.position();
        Some(self.outbox.waiting()).filter(|bytes| !bytes.is_empty())
    }

    /// Takes note that so many bytes more were written.
    pub fn handle_transmitted(&mut self, bytes: usize) {
        self.outbox.handle_written(bytes);
    }

    /// Asks to hear `channel`. Where the server's encoding may change the name it is asked for that
    /// first, and one that it does not keep to the letter is refused.
    pub fn listen(&mut self, channel: &Channel, ticket: Ticket) {
        if naming::is_doubtful(channel, self.server_encoding()) {
            self.request(Kind::Name, ticket, |out| command::name(channel, out));
            if let Some(request) = self.requests.back_mut() {
                request.name = Some(Box::new(Name::new(channel)));
            }
        } else {
            self.request(Kind::Listen, ticket, |out| command::listen(channel, out));
        }
    }

    /// Asks to hear `channel` no more.
    pub fn unlisten(&mut self, channel: &Channel, ticket: Ticket) {
        self.request(Kind::Unlisten, ticket, |out| {
            command::unlisten(channel, out)
        });
    }

    /// Publishes each payload on its channel, in this order and all or none of them.
    ///
    /// PostgreSQL takes equal pairs in one transaction for one: the caller keeps them apart. Where the
    /// server has another encoding, the caller publishes one by one, for equal pairs are not known then;
    /// a name that it does not keep to the letter is refused.
    pub fn notify<'a>(
        &mut self,
        notifications: impl IntoIterator<Item = (&'a Channel, &'a Payload)>,
        ticket: Ticket,
    ) {
        let is_plain = self.notifies_by_command;
        let mut notifications = notifications.into_iter().peekable();
        let first = notifications.peek().copied();
        if let Some((channel, payload)) =
            first.filter(|(channel, _)| naming::is_doubtful(channel, self.server_encoding()))
        {
            debug_assert!(notifications.count() == 1, "where the server converts");
            self.request(Kind::NotifyIfKept, ticket, |out| {
                command::notify_if_kept(channel, payload, out);
            });
            if let Some(request) = self.requests.back_mut() {
                request.name = Some(Box::new(Name::unless_kept(channel)));
            }
            return;
        }
        self.request(Kind::Notify, ticket, |out| {
            if is_plain {
                command::notify_plainly(notifications, out);
            } else {
                command::notify(notifications, out);
            }
        });
    }

    /// From now on, publishes go by the command NOTIFY, which needs no privilege; it cuts names of
    /// channels that are too long for the server.
    pub fn notify_by_command(&mut self) {
        self.notifies_by_command = true;
    }

    /// Whether they do.
    pub fn notifies_by_command(&self) -> bool {
        self.notifies_by_command
    }

    /// Asks for a sign of life.
    pub fn heartbeat(&mut self, ticket: Ticket) {
        self.request(Kind::Heartbeat, ticket, command::heartbeat);
    }

    /// Asks how full the queue of notifications is: a sign of life, too.
    pub fn measure_queue(&mut self, ticket: Ticket) {
        self.request(Kind::QueueUsage, ticket, command::queue_usage);
    }

    /// Asks which process holds the lock for NOTIFY.
    pub fn find_lock_holder(&mut self, ticket: Ticket) {
        self.server.lock_holder = None;
        self.request(Kind::LockHolder, ticket, command::lock_holder);
    }

    /// The process that held that lock when last asked for.
    pub fn lock_holder(&self) -> Option<i32> {
        self.server.lock_holder
    }

    /// Asks which of these backends are there; where `own_role`, those of our role alone.
    pub fn find_present(&mut self, pids: &[i32], own_role: bool, ticket: Ticket) {
        self.server.present.clear();
        self.request(Kind::Present, ticket, |out| {
            command::present(pids, own_role, out);
        });
    }

    /// Asks which other backends hold the advisory lock of this number: [`Self::present`]. Where `joins`,
    /// the session holds it as well, until its end.
    pub fn find_members(&mut self, lock: i64, joins: bool, ticket: Ticket) {
        self.server.present.clear();
        self.request(Kind::Present, ticket, |out| {
            command::members(lock, joins, out);
        });
    }

    /// The backends that were there when last asked for.
    pub fn present(&self) -> &[i32] {
        &self.server.present
    }

    /// Takes leave, behind whatever is queued; the server closes the connection.
    ///
    /// Before [`Event::Ready`] this is the end of the session.
    pub fn terminate(&mut self) {
        match self.phase {
            Phase::Ready => self.phase = Phase::Closing,
            Phase::Authenticating(_) | Phase::Starting | Phase::SettingUp { .. } => {
                self.phase = Phase::Over;
            }
            Phase::Closing | Phase::Failing(_) | Phase::Over => return,
        }
        command::terminate(self.outbox.tail());
    }

    /// Ends the session, the connection having died, and says of each request that got no answer
    /// whether the server may have seen it.
    pub fn unanswered(&mut self) -> impl Iterator<Item = (Ticket, HandedOver)> {
        self.end();
        let outbox = &self.outbox;
        self.requests.drain(..).map(|request| {
            let written = outbox.has_written(request.position);
            (
                request.ticket,
                if written {
                    HandedOver::Yes
                } else {
                    HandedOver::No
                },
            )
        })
    }

    fn request(&mut self, kind: Kind, ticket: Ticket, write: impl FnOnce(&mut BytesMut)) {
        debug_assert!(self.is_ready(), "a request before Ready or after the end");
        self.queue(kind, ticket, write);
    }

    /// What comes behind the farewell is not written.
    fn queue(&mut self, kind: Kind, ticket: Ticket, write: impl FnOnce(&mut BytesMut)) {
        let position = if self.is_ready() {
            let position = self.outbox.position();
            write(self.outbox.tail());
            position
        } else {
            NEVER_WRITTEN
        };
        self.push_request(kind, ticket, position);
    }

    fn push_request(&mut self, kind: Kind, ticket: Ticket, position: u64) {
        self.requests.push_back(Request {
            ticket,
            kind,
            position,
            error: None,
            name: None,
            shared: None,
        });
    }
}

/// The position of what was not queued.
const NEVER_WRITTEN: u64 = u64::MAX;
