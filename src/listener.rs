//! [`PostgresListener`]: LISTEN, UNLISTEN and NOTIFY as blocking calls from any thread.
//!
//! The calls' side: it checks arguments, hands requests to the listener's thread and waits for
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
/// A thread of its own keeps two sessions, one that hears and one that speaks, and connects them
/// again for ever when they are lost: at once, then after 100 ms doubling to 2 s. Every channel is
/// listened to again then, and [`Received::Gap`](crate::Received::Gap) says where that was.
///
/// Methods may be called from several threads at once. They block until PostgreSQL answered, or
/// until it is known that it will not: inside of an async runtime they belong on a blocking thread
/// (`tokio::task::spawn_blocking`). Dropping it takes leave of PostgreSQL and ends the thread; what
/// was received before can still be taken from [`Notifications`].
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
    /// `url` is a connection string (PostgreSQL, "Connection Strings"); what it leaves out comes
    /// from the service file, the `PG*` variables and the password file. `capacity` is how many
    /// notifications may wait to be received, at least one;
    /// [`Received::Overflow`](crate::Received::Overflow) stands for what came while it was
    /// exhausted.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Url`] if `url` is malformed; [`ListenerError::Connection`] and
    /// [`ListenerError::Session`] if the first attempt fails: later ones are repeated, this one is
    /// not; [`ListenerError::Io`] if the system refuses a thread or its means of waiting.
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

    /// Listens to `channel`; every notification of it that is committed after this returned is
    /// received. Listening to it already is no error.
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

    /// Listens to `channel` no more: nothing of it is queued after this returned. Not listening to
    /// it is no error, nor is a PostgreSQL that is down.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`] and [`ListenerError::Ended`].
    pub fn unlisten(&self, channel: &str) -> Result<(), ListenerError> {
        let channel = Channel::new(channel).map_err(ListenerError::Channel)?;
        self.ask(|reply| Request::Unlisten(channel, reply))
    }

    /// Notifies `channel`; returns when PostgreSQL committed it. Calls of one thread are committed
    /// in their order.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Channel`] and [`ListenerError::Payload`];
    /// [`ListenerError::PostgresDown`] if it was not sent, [`ListenerError::Refused`] if PostgreSQL
    /// did not want it, [`ListenerError::UnknownOutcome`] if the connection was lost before the
    /// answer: it is never sent again; [`ListenerError::Ended`].
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
        // Either fails only where the thread has ended, and then there is nothing to end.
        let _sent = self.requests.send(Request::End);
        let _woken = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its thread; here nobody could do anything about it.
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
        /// The server's.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The server did not let us in, or we did not trust it.
    Session {
        /// The server's.
        address: String,
        /// Why.
        error: Box<SessionError>,
    },
    /// This cannot name a channel.
    Channel(ChannelError),
    /// This cannot be a payload.
    Payload(PayloadError),
    /// PostgreSQL is not connected; nothing was done.
    PostgresDown,
    /// PostgreSQL refused it.
    Refused(Box<ServerError>),
    /// The connection was lost before PostgreSQL answered: it may have been committed or not.
    UnknownOutcome,
    /// An `unlisten` from another thread overtook this `listen`.
    Cancelled,
    /// The system refuses something.
    Io(io::Error),
    /// The listener's thread ended, which only a fault of the system or of ours does.
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
