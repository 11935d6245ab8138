//! [`PostgresListener`]: LISTEN, UNLISTEN and NOTIFY as calls from any thread or task.
//!
//! The side of the callers: checks arguments, and hands requests to the listener's thread, which
//! answers them. Knows nothing of sessions and sockets.

mod channels;
mod requests;
mod turn;

use std::{
    error::Error,
    fmt, io,
    sync::{Arc, mpsc},
};

use mio::Waker;

use self::{
    requests::{Reply, Request, Unanswered},
    turn::{Ends, Listening},
};
use crate::{
    channel::{Channel, ChannelError, Payload, PayloadError},
    operation::Operation,
    pg::{
        config::ConfigError,
        session::{ServerError, SessionError},
    },
    queue::{
        Queue,
        notifications::{Arrivals, Notifications},
    },
    startup,
};

/// A connection to PostgreSQL that listens to channels and notifies them.
///
/// ```no_run
/// use alle::PostgresListener;
///
/// let (pg_listener, notification_rx) =
///     PostgresListener::connect("postgresql://localhost/postgres", 1000).wait()?;
/// pg_listener.listen("my_channel").wait()?;
/// pg_listener.notify("my_channel", "Hello from Rust!").wait()?;
/// println!("{:?}", notification_rx.recv().wait());
/// # Ok::<(), alle::ListenerError>(())
/// ```
///
/// In a program with an async runtime, whichever that is, `.await` stands where `.wait()` stands
/// here.
///
/// A thread of its own keeps two sessions, one that listens and one that publishes, and reconnects
/// them without end when they are lost: at once, then after 100 ms, doubling to 2 s. Every channel
/// is then listened to again, and [`Received::Gap`](crate::Received::Gap) marks the place.
///
/// The methods may be called from several threads at once. What they ask for is under way when they
/// return, in the order of the calls; the [`Operation`] is PostgreSQL's answer. So many calls may be
/// on their way at a time, up to [`Self::CALLS_MAX`]. To drop an operation takes nothing back.
///
/// To drop the listener does not block: in the background the calls under way get two seconds, and
/// both sessions are closed. [`Self::close`] tells when that is done. Notifications received before
/// can still be taken from [`Notifications`].
#[derive(Debug)]
pub struct PostgresListener {
    requests: mpsc::Sender<Request>,
    unanswered: Unanswered,
    waker: Arc<Waker>,
}

impl PostgresListener {
    /// The most calls of one listener that PostgreSQL has not answered; further ones fail with
    /// [`ListenerError::Crowded`].
    pub const CALLS_MAX: usize = 4_096;

    /// Connects, and waits until both sessions are ready: five seconds at most for each server, or
    /// `connect_timeout`.
    ///
    /// `url` is a connection string (PostgreSQL, "Connection Strings"); the parts it omits come
    /// from the service file, the `PG*` variables and the password file. `capacity` is the number
    /// of notifications that may wait to be received, at least one;
    /// [`Received::Overflow`](crate::Received::Overflow) takes the place of those that arrive at a
    /// full queue.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Url`] if `url` is malformed; [`ListenerError::Connection`] and
    /// [`ListenerError::Session`] if the first attempt fails, which is not repeated, unlike later
    /// ones; [`ListenerError::Io`] if the operating system refuses a thread or a poll.
    pub fn connect(
        url: &str,
        capacity: usize,
    ) -> Operation<Result<(Self, Notifications), ListenerError>> {
        Self::begin(url, capacity).unwrap_or_else(|error| Operation::ready(Err(error)))
    }

    fn begin(
        url: &str,
        capacity: usize,
    ) -> Result<Operation<Result<Ends, ListenerError>>, ListenerError> {
        let config = startup::postgres_config(url).map_err(ListenerError::Url)?;
        let seed = startup::seed().map_err(ListenerError::Io)?;
        let queue = Arc::new(Queue::new(Arrivals::new(capacity)));
        let notifications = Notifications::new(Arc::clone(&queue));
        let (requests, received) = mpsc::channel();
        let thread = Listening::new(config, seed, queue, received)?;
        let listener = Self {
            requests,
            unanswered: Unanswered::default(),
            waker: thread.waker(),
        };
        let (promise, operation) = Operation::pending(|_| Err(ListenerError::Ended));
        thread.spawn(promise, (listener, notifications))?;
        Ok(operation)
    }

    /// Listens to `channel`: every notification of it that is committed after the call is answered
    /// is received. To listen to it already is no error.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`], [`ListenerError::PostgresDown`] if PostgreSQL is not connected
    /// or was lost before it answered, [`ListenerError::Refused`],
    /// [`ListenerError::Cancelled`] if an [`unlisten`](Self::unlisten) overtook this,
    /// [`ListenerError::Crowded`] and [`ListenerError::Ended`]. After an error the channel is
    /// listened to if it was before.
    pub fn listen(&self, channel: &str) -> Operation<Result<(), ListenerError>> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel);
        self.ask(|reply| Ok(Request::Listen(channel?, reply)))
    }

    /// Stops listening to `channel`: no notification of it is queued after the call is answered. It
    /// is no error if the channel was not listened to, or if PostgreSQL is down.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`], [`ListenerError::Crowded`] and [`ListenerError::Ended`].
    pub fn unlisten(&self, channel: &str) -> Operation<Result<(), ListenerError>> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel);
        self.ask(|reply| Ok(Request::Unlisten(channel?, reply)))
    }

    /// Notifies `channel`; answered when PostgreSQL has committed the notification. The
    /// notifications of a listener are committed in the order of the calls; those that are called
    /// for while PostgreSQL commits others share one transaction.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`] and [`ListenerError::Payload`]; [`ListenerError::PostgresDown`]
    /// if the notification was not sent, [`ListenerError::Refused`] if PostgreSQL refused it,
    /// [`ListenerError::UnknownOutcome`] if the connection was lost before the answer: the
    /// notification is never sent again; [`ListenerError::Crowded`] and [`ListenerError::Ended`].
    pub fn notify(&self, channel: &str, payload: &str) -> Operation<Result<(), ListenerError>> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel);
        let payload = Payload::new(payload).map_err(ListenerError::Payload);
        self.ask(|reply| Ok(Request::Notify(channel?, payload?, reply)))
    }

    /// Gives the calls under way two seconds, closes both sessions, and tells when that is done. To
    /// drop the listener does the same and tells nobody.
    pub fn close(self) -> Operation<()> {
        let (promise, operation) = Operation::pending(|_| ());
        self.send(Request::End(Some(promise)));
        operation
    }

    fn ask(
        &self,
        request: impl FnOnce(Reply) -> Result<Request, ListenerError>,
    ) -> Operation<Result<(), ListenerError>> {
        let Some(place) = self.unanswered.take_place(Self::CALLS_MAX) else {
            return Operation::ready(Err(ListenerError::Crowded));
        };
        let (promise, operation) = Operation::pending(|_| Err(ListenerError::Ended));
        match request(Reply::new(promise, Some(place))) {
            Ok(request) => {
                self.send(request);
                operation
            }
            Err(error) => Operation::ready(Err(error)),
        }
    }

    /// If the thread has ended, the request is dropped, and that answers it.
    fn send(&self, request: Request) {
        let _sent = self.requests.send(request);
        let _woken = self.waker.wake();
    }
}

impl Drop for PostgresListener {
    fn drop(&mut self) {
        self.send(Request::End(None));
    }
}

/// Why a call of [`PostgresListener`] failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenerError {
    /// The connection string is malformed.
    Url(ConfigError),
    /// The server cannot be connected to, or the connection was lost before both sessions were
    /// ready; a time-out is [`io::ErrorKind::TimedOut`].
    Connection {
        /// The address of the server.
        address: String,
        /// The cause.
        error: io::Error,
    },
    /// The server refused the session, or we did not trust the server.
    Session {
        /// The address of the server.
        address: String,
        /// The cause.
        error: Box<SessionError>,
    },
    /// The text cannot name a channel.
    Channel(ChannelError),
    /// The text cannot be a payload.
    Payload(PayloadError),
    /// PostgreSQL is not connected; nothing was done.
    PostgresDown,
    /// PostgreSQL refused the request.
    Refused(Box<ServerError>),
    /// The connection was lost before PostgreSQL answered: the request may or may not be committed.
    UnknownOutcome,
    /// An `unlisten` overtook this `listen`.
    Cancelled,
    /// [`PostgresListener::CALLS_MAX`] calls are unanswered already; nothing was done.
    Crowded,
    /// The operating system refused a resource.
    Io(io::Error),
    /// The listener's thread ended: a fault of the operating system or of this crate.
    Ended,
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "PostgreSQL URL: {error}"),
            Self::Connection { address, error } => {
                write!(f, "cannot connect to PostgreSQL at {address}: {error}")
            }
            Self::Session { address, error } => {
                write!(f, "PostgreSQL at {address}: {error}")?;
                match error.remedy() {
                    Some(remedy) => write!(f, " ({remedy})"),
                    None => Ok(()),
                }
            }
            Self::Channel(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::PostgresDown => f.write_str("PostgreSQL is not connected"),
            Self::Refused(error) => write!(f, "PostgreSQL refused it: {error}"),
            Self::UnknownOutcome => {
                f.write_str("the connection to PostgreSQL was lost before it answered")
            }
            Self::Cancelled => f.write_str("an unlisten overtook this listen"),
            Self::Crowded => write!(
                f,
                "{} calls are unanswered already",
                PostgresListener::CALLS_MAX
            ),
            Self::Io(error) => error.fmt(f),
            Self::Ended => f.write_str("the listener's thread ended"),
        }
    }
}

impl Error for ListenerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            Self::Connection { error, .. } | Self::Io(error) => Some(error),
            Self::Session { error, .. } => Some(error),
            Self::Channel(error) => Some(error),
            Self::Payload(error) => Some(error),
            Self::Refused(error) => Some(error),
            Self::PostgresDown
            | Self::UnknownOutcome
            | Self::Cancelled
            | Self::Crowded
            | Self::Ended => None,
        }
    }
}
