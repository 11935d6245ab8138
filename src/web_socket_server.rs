//! [`WebSocketServer`]: the bridge's client side alone, fed by the program around it.
//!
//! Knows nothing of PostgreSQL: notifications come in through a receiver, what clients ask goes
//! out through another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, TryRecvError},
    },
    time::Duration,
};

use crate::{
    bridge::{
        Core, Settings,
        feed::{Incoming, Taken},
    },
    channel::Channel,
    config::Limits,
    control::{Handle, Owner},
    notifications::{Notifications, Queue, Store},
    reactor::Reactor,
    server::BridgeError,
    shell,
    ws::access::Access,
};

/// A WebSocket server that speaks the bridge's protocol and delivers what it is fed.
///
/// Together with a [`PostgresListener`](crate::PostgresListener) it makes a bridge of one's own,
/// with whatever is to happen in between:
///
/// ```no_run
/// use alle::{Incoming, PostgresListener, WebSocketServer};
///
/// let (pg_listener, notification_rx) =
///     PostgresListener::connect("postgresql://localhost/postgres", 1000)?;
/// let (ws_server, incoming_rx) = WebSocketServer::new("127.0.0.1:8080");
/// std::thread::spawn(move || {
///     for request in incoming_rx {
///         let done = match &request {
///             Incoming::Subscribe(channel) => pg_listener.listen(channel.as_str()),
///             Incoming::Unsubscribe(channel) => pg_listener.unlisten(channel.as_str()),
///             Incoming::Notify(channel, payload) => {
///                 pg_listener.notify(channel.as_str(), payload.as_str())
///             }
///         };
///         if let Err(error) = done {
///             eprintln!("{request:?}: {error}");
///         }
///     }
/// });
/// ws_server.start(notification_rx)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It answers its clients itself: `subscribed` at once, which promises no more than that what it
/// is fed from then on is delivered, and `notified` when the request waits to be received. What
/// [`IncomingRequests`] says of requests that nobody receives keeps its memory bounded.
/// [`Received::Gap`](crate::Received::Gap) reaches the subscribers of the channel as a `gap`,
/// [`Received::Overflow`](crate::Received::Overflow) those of every channel. When the listener
/// ends, the server stays.
#[derive(Debug)]
pub struct WebSocketServer {
    bind_addr: String,
    limits: Limits,
    allow_origins: Vec<String>,
    allow_hosts: Vec<String>,
    owner: Owner,
    requests: RequestSender,
}

impl WebSocketServer {
    /// Nothing happens before [`Self::start`]. `bind_addr` is `HOST:PORT`; port 0 picks a free
    /// one, which [`Handle::local_addr`] tells.
    pub fn new(bind_addr: impl Into<String>) -> (Self, IncomingRequests) {
        let queue = Arc::new(Queue::new(Requests::default()));
        let server = Self {
            bind_addr: bind_addr.into(),
            limits: Limits::default(),
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            owner: Owner::default(),
            requests: RequestSender {
                queue: Arc::clone(&queue),
            },
        };
        (server, IncomingRequests { queue })
    }

    /// Lets pages of these origins connect, beside the server's own; `*` for all.
    #[must_use]
    pub fn with_allow_origins(mut self, origins: Vec<String>) -> Self {
        self.allow_origins = origins;
        self
    }

    /// Lets requests for these hosts in on a loopback address, beside localhost.
    #[must_use]
    pub fn with_allow_hosts(mut self, hosts: Vec<String>) -> Self {
        self.allow_hosts = hosts;
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Stops the server, and tells its address, from another thread.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.owner.0))
    }

    /// Serves on this thread until stopped, by [`Handle::stop`]. Inside of an async runtime it
    /// belongs on a blocking thread.
    ///
    /// # Errors
    ///
    /// [`BridgeError::Address`] and [`BridgeError::Bind`] if the address cannot be resolved or
    /// bound, [`BridgeError::Io`] if the system refuses something else. Clients cannot fail it.
    pub fn start(self, notifications: Notifications) -> Result<(), BridgeError> {
        let address = shell::resolve(&self.bind_addr)?;
        let settings = Settings {
            limits: self.limits,
            access: Access {
                loopback_bind: address.ip().is_loopback(),
                allow_origins: self.allow_origins,
                allow_hosts: self.allow_hosts,
            },
            seed: shell::seed()?,
            ..Settings::default()
        };
        let core = Core::with_feed(settings, shell::now());
        let bind = |error| BridgeError::Bind(address, error);
        let mut reactor = Reactor::new(core, address, Arc::clone(&self.owner.0)).map_err(bind)?;
        reactor.set_feed(notifications, self.requests);
        let address = reactor.local_addr().map_err(BridgeError::Io)?;
        tracing::info!("listening on ws://{address}");
        reactor.run().map_err(BridgeError::Io)
    }
}

/// What the clients of a [`WebSocketServer`] ask for; iterating over it, or over a reference to
/// it, is calling [`recv`](Self::recv).
///
/// Nobody has to receive. Meanwhile a subscribe and an unsubscribe of the same channel cancel each
/// other, so that no more of them wait than there are channels; publishes wait up to
/// [`Self::PUBLISHES_MAX`], further ones are refused with `rate_limited`. Once this is dropped,
/// publishes are refused with `postgres_down`.
#[derive(Debug)]
pub struct IncomingRequests {
    queue: Arc<Queue<Requests>>,
}

impl IncomingRequests {
    /// Publishes that wait to be received; more are refused.
    pub const PUBLISHES_MAX: usize = 1_024;

    /// Waits for the next one; `None` when the server is gone and all it left was received.
    pub fn recv(&self) -> Option<Incoming> {
        self.queue.recv()
    }

    /// Waits at most `timeout` for the next one.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came, [`RecvTimeoutError::Disconnected`] if none will:
    /// the server is gone and all it left was received.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Incoming, RecvTimeoutError> {
        self.queue.recv_timeout(timeout)
    }

    /// The next one, if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if it is not, [`TryRecvError::Disconnected`] if none will come: the
    /// server is gone and all it left was received.
    pub fn try_recv(&self) -> Result<Incoming, TryRecvError> {
        self.queue.try_recv()
    }

    /// Everything until the server is gone, each waited for.
    pub fn iter(&self) -> impl Iterator<Item = Incoming> + '_ {
        self
    }
}

impl Iterator for IncomingRequests {
    type Item = Incoming;

    fn next(&mut self) -> Option<Incoming> {
        self.recv()
    }
}

impl Iterator for &IncomingRequests {
    type Item = Incoming;

    fn next(&mut self) -> Option<Incoming> {
        self.recv()
    }
}

impl Drop for IncomingRequests {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct RequestSender {
    queue: Arc<Queue<Requests>>,
}

impl RequestSender {
    pub(crate) fn hand_over(&self, request: Incoming) -> Taken {
        self.queue
            .put(|requests| requests.push(request))
            .unwrap_or(Taken::Never)
    }
}

impl Drop for RequestSender {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Requests that wait to be received.
#[derive(Debug, Default)]
struct Requests {
    /// By when they came: of each channel at most one subscribe or unsubscribe, and at most
    /// `PUBLISHES_MAX` publishes.
    items: BTreeMap<u64, Incoming>,
    /// Where in `items` the subscribe or unsubscribe of a channel is.
    changes: HashMap<Channel, u64>,
    next: u64,
}

impl Requests {
    fn push(&mut self, request: Incoming) -> Taken {
        match &request {
            Incoming::Subscribe(channel) | Incoming::Unsubscribe(channel) => {
                // They come in turns, so that what still waits is the contrary.
                if let Some(position) = self.changes.remove(channel) {
                    self.items.remove(&position);
                    return Taken::Yes;
                }
                self.changes.insert(channel.clone(), self.next);
            }
            Incoming::Notify(..) => {
                if self.items.len() - self.changes.len() >= IncomingRequests::PUBLISHES_MAX {
                    return Taken::Full;
                }
            }
        }
        self.items.insert(self.next, request);
        self.next += 1;
        Taken::Yes
    }
}

impl Store for Requests {
    type Item = Incoming;

    fn pop(&mut self) -> Option<Incoming> {
        let (_, request) = self.items.pop_first()?;
        match &request {
            Incoming::Subscribe(channel) | Incoming::Unsubscribe(channel) => {
                self.changes.remove(channel);
            }
            Incoming::Notify(..) => {}
        }
        Some(request)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Payload;

    fn subscribe(name: &str) -> Incoming {
        Incoming::Subscribe(Channel::new(name).unwrap())
    }

    fn unsubscribe(name: &str) -> Incoming {
        Incoming::Unsubscribe(Channel::new(name).unwrap())
    }

    fn notify() -> Incoming {
        Incoming::Notify(Channel::new("a").unwrap(), Payload::new("").unwrap())
    }

    #[test]
    fn changes_that_nobody_received_cancel_each_other() {
        let mut requests = Requests::default();
        for _ in 0..100 {
            for request in [subscribe("a"), notify(), unsubscribe("a"), subscribe("b")] {
                requests.push(request);
                assert!(requests.changes.len() <= 2);
            }
            requests.push(unsubscribe("b"));
        }
        assert_eq!(requests.items.len(), 100, "the publishes");

        requests = Requests::default();
        requests.push(subscribe("a"));
        requests.push(subscribe("b"));
        assert_eq!(requests.pop(), Some(subscribe("a")));
        requests.push(unsubscribe("a"));
        assert_eq!(requests.pop(), Some(subscribe("b")));
        assert_eq!(requests.pop(), Some(unsubscribe("a")));
        assert_eq!(requests.pop(), None);
        assert!(requests.is_empty() && requests.changes.is_empty());
    }

    #[test]
    fn publishes_beyond_the_limit_are_refused() {
        let mut requests = Requests::default();
        requests.push(subscribe("a"));
        for _ in 0..IncomingRequests::PUBLISHES_MAX {
            assert_eq!(requests.push(notify()), Taken::Yes);
        }
        assert_eq!(requests.push(notify()), Taken::Full);
        assert_eq!(requests.push(subscribe("b")), Taken::Yes);
        assert_eq!(requests.pop(), Some(subscribe("a")));
        assert_eq!(requests.push(notify()), Taken::Full);
        assert_eq!(requests.pop(), Some(notify()));
        assert_eq!(requests.push(notify()), Taken::Yes);
    }

    #[test]
    fn nothing_is_taken_once_the_receiver_is_gone() {
        let (server, incoming) = WebSocketServer::new("127.0.0.1:0");
        assert_eq!(server.requests.hand_over(notify()), Taken::Yes);
        drop(incoming);
        assert_eq!(server.requests.hand_over(notify()), Taken::Never);
    }
}
