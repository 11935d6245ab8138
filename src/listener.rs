//! [`PostgresListener`]: LISTEN, UNLISTEN and NOTIFY as blocking calls from any thread.
//!
//! The side of the callers: checks arguments, hands requests to the listener's thread and waits for
//! its answers. Knows nothing of sessions and sockets.

mod channels;
mod requests;
mod turn;

use std::{
    error::Error,
    fmt, io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use mio::Waker;

use self::requests::{Reply, Request};
use crate::{
    channel::{Channel, ChannelError, Payload, PayloadError},
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
///     PostgresListener::connect("postgresql://localhost/postgres", 1000)?;
/// pg_listener.listen("my_channel")?;
/// pg_listener.notify("my_channel", "Hello from Rust!")?;
/// println!("{:?}", notification_rx.recv());
/// # Ok::<(), alle::ListenerError>(())
/// ```
///
/// A thread of its own keeps two sessions, one that listens and one that publishes, and reconnects
/// them without end when they are lost: at once, then after 100 ms, doubling to 2 s. Every channel
/// is then listened to again, and [`Received::Gap`](crate::Received::Gap) marks the place.
///
/// The methods may be called from several threads at once. They block until PostgreSQL has
/// answered, or until the answer is known to be lost: inside an async runtime they belong on a
/// blocking thread (`tokio::task::spawn_blocking`). Dropping the listener closes both sessions and
/// ends the thread; notifications received before can still be taken from [`Notifications`].
#[derive(Debug)]
pub struct PostgresListener {
    requests: mpsc::Sender<Request>,
    waker: Arc<Waker>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

impl PostgresListener {
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
    pub fn connect(url: &str, capacity: usize) -> Result<(Self, Notifications), ListenerError> {
        let config = startup::postgres_config(url).map_err(ListenerError::Url)?;
        let seed = startup::seed().map_err(ListenerError::Io)?;
        let queue = Arc::new(Queue::new(Arrivals::new(capacity)));
        let notifications = Notifications::new(Arc::clone(&queue));
        let (requests, received) = mpsc::channel();
        let (started, start) = mpsc::sync_channel(1);
        let (waker, thread) = turn::spawn(config, seed, queue, received, started)?;
        let listener = Self {
            requests,
            waker,
            thread: Some(thread),
        };
        start.recv().unwrap_or(Err(ListenerError::Ended))?;
        Ok((listener, notifications))
    }

    /// Listens to `channel`: every notification of it that is committed after the call returned is
    /// received. To listen to it already is no error.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`], [`ListenerError::PostgresDown`] if PostgreSQL is not connected
    /// or was lost before it answered, [`ListenerError::Refused`],
    /// [`ListenerError::Cancelled`] if an [`unlisten`](Self::unlisten) overtook this, and
    /// [`ListenerError::Ended`]. After an error the channel is listened to if it was before.
    pub fn listen(&self, channel: &str) -> Result<(), ListenerError> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel)?;
        self.ask(|reply| Request::Listen(channel, reply))
    }

    /// Stops listening to `channel`: no notification of it is queued after the call returned. It is
    /// no error if the channel was not listened to, or if PostgreSQL is down.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`] and [`ListenerError::Ended`].
    pub fn unlisten(&self, channel: &str) -> Result<(), ListenerError> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel)?;
        self.ask(|reply| Request::Unlisten(channel, reply))
    }

    /// Notifies `channel`; returns when PostgreSQL has committed the notification. The calls of one
    /// thread are committed in their order.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`] and [`ListenerError::Payload`]; [`ListenerError::PostgresDown`]
    /// if the notification was not sent, [`ListenerError::Refused`] if PostgreSQL refused it,
    /// [`ListenerError::UnknownOutcome`] if the connection was lost before the answer: the
    /// notification is never sent again; [`ListenerError::Ended`].
    pub fn notify(&self, channel: &str, payload: &str) -> Result<(), ListenerError> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel)?;
        let payload = Payload::new(payload).map_err(ListenerError::Payload)?;
        self.ask(|reply| Request::Notify(channel, payload, reply))
    }

    fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), ListenerError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let ended = |_| ListenerError::Ended;
        self.requests.send(request(reply)).map_err(ended)?;
        self.waker.wake().map_err(ListenerError::Io)?;
        answer.recv().unwrap_or(Err(ListenerError::Ended))
    }
}

impl Drop for PostgresListener {
    fn drop(&mut self) {
        // Either fails only if the thread has ended already.
        let _sent = self.requests.send(Request::End);
        let _woken = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // The thread itself reported a panic; there is nothing left to do about it.
            let _joined = thread.join();
        }
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
    /// An `unlisten` from another thread overtook this `listen`.
    Cancelled,
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
            Self::PostgresDown | Self::UnknownOutcome | Self::Cancelled | Self::Ended => None,
        }
    }
}
