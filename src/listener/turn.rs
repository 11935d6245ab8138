//! The listener's thread: its loop.
//!
//! Moves requests of callers to [`Channels`] or to the [`Backend`], and the results back. Decides
//! only how long to wait; knows no socket.

#![expect(
    clippy::disallowed_methods,
    reason = "the loop reads the clock, once before it begins"
)]

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use mio::Waker;
use slab::Slab;

use super::{
    ListenerError, PostgresListener,
    channels::Channels,
    requests::{Reply, Request, answer},
};
use crate::{
    backend::{
        Backend, Event, Failure, FailureKind, Role,
        command::{Notify, Published},
    },
    operation::Promise,
    pg::config::Config,
    queue::{
        Queue,
        notifications::{Arrivals, Notification, Notifications, Received},
    },
    reactor::BackendReactor,
};

/// Everything the thread owns.
pub(super) struct Listening {
    sessions: BackendReactor,
    callers: Callers,
    /// Until the first attempt to connect has succeeded.
    starting: Option<Starting>,
    began: Instant,
}

/// The requests to the thread, and the answers it owes.
struct Callers {
    channels: Channels,
    /// The callers that wait for the outcome of a publish, by its number.
    notifies: Slab<Reply>,
    requests: mpsc::Receiver<Request>,
    arrivals: Sender,
    /// `Ending` once no caller is left.
    flow: Flow,
    /// To be told of the end.
    ended: Option<Promise<()>>,
}

/// The first attempt to connect: both ends of the listener are the answer to it. Where nobody waits
/// for that any more, they are dropped, and that ends the thread.
struct Starting {
    promise: Promise<Result<Ends, ListenerError>>,
    ends: Ends,
}

/// What the caller of `connect` gets.
pub(super) type Ends = (PostgresListener, Notifications);

/// The sending end of the queue; however the thread ends, the receiver learns of it.
struct Sender(Arc<Queue<Arrivals>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    /// No caller is left: the publishes under way are finished, until then at the latest.
    Ending(Instant),
    End,
}

impl Listening {
    /// What the thread needs; nothing happens before [`Self::spawn`].
    pub(super) fn new(
        config: Config,
        seed: u64,
        queue: Arc<Queue<Arrivals>>,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Self, ListenerError> {
        let began = Instant::now();
        let backend = Backend::new(config, seed, began);
        let sessions = BackendReactor::new(backend).map_err(ListenerError::Io)?;
        Ok(Self {
            sessions,
            callers: Callers {
                channels: Channels::default(),
                notifies: Slab::new(),
                requests,
                arrivals: Sender(queue),
                flow: Flow::GoOn,
                ended: None,
            },
            starting: None,
            began,
        })
    }

    /// Ends the wait of the thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        self.sessions.waker()
    }

    /// Starts the thread. The promise is kept with the result of the first attempt to connect; after
    /// a failure the thread ends.
    pub(super) fn spawn(
        mut self,
        promise: Promise<Result<Ends, ListenerError>>,
        ends: Ends,
    ) -> Result<(), ListenerError> {
        self.starting = Some(Starting { promise, ends });
        let thread = thread::Builder::new().name("alle listener".to_owned());
        // It is never joined: whoever drops a listener may be a task that must not block.
        thread
            .spawn(move || self.run())
            .map(drop)
            .map_err(ListenerError::Io)
    }

    fn run(mut self) {
        loop {
            match self.turn() {
                Ok(Flow::GoOn | Flow::Ending(_)) => {}
                Ok(Flow::End) => break,
                Err(error) => {
                    tracing::error!(
                        target: "alle::postgres",
                        "the listener cannot wait for its sockets: {error}"
                    );
                    break;
                }
            }
        }
        self.sessions.terminate();
        let Self {
            sessions, callers, ..
        } = self;
        drop(sessions);
        if let Some(ended) = callers.ended {
            ended.keep(());
        }
    }

    fn turn(&mut self) -> io::Result<Flow> {
        let starting = self.starting.as_ref().map(|_| self.start_deadline());
        let ending = match self.callers.flow {
            Flow::Ending(until) => Some(until),
            Flow::GoOn | Flow::End => None,
        };
        let until = [self.callers.channels.poll_timeout(), starting, ending];
        let callers = &mut self.callers;
        let react = |backend: &mut Backend, now| callers.react(backend, now);
        let now = self
            .sessions
            .turn(until.into_iter().flatten().min(), react)?;
        match self.callers.flow {
            Flow::GoOn => Ok(self.start(now)),
            Flow::Ending(until) if now >= until || self.callers.notifies.is_empty() => {
                Ok(Flow::End)
            }
            flow @ (Flow::Ending(_) | Flow::End) => Ok(flow),
        }
    }

    /// The first attempt has failed by then. It grows with the addresses that are found.
    fn start_deadline(&self) -> Instant {
        self.began + self.sessions.backend().round_timeout() + MARGIN
    }

    /// Reports the result of the first round of attempts to its caller, once it is known.
    fn start(&mut self, now: Instant) -> Flow {
        let Some(Starting { promise, ends }) = self.starting.take() else {
            return Flow::GoOn;
        };
        let backend = self.sessions.backend();
        let mut failures = Role::PAIR.into_iter().map(|role| backend.failure(role));
        if let Some(failure) = failures.find_map(|failure| failure) {
            promise.keep(Err(error_of(failure)));
            return Flow::End;
        }
        if now >= self.start_deadline() {
            promise.keep(Err(ListenerError::Connection {
                address: backend.config(Role::Listening).address(),
                error: io::ErrorKind::TimedOut.into(),
            }));
            return Flow::End;
        }
        if Role::PAIR.into_iter().all(|role| backend.is_up(role)) {
            promise.keep(Ok(ends));
        } else {
            self.starting = Some(Starting { promise, ends });
        }
        Flow::GoOn
    }
}

impl Callers {
    /// Passes the reports of the sessions to callers, and the requests of callers to the sessions.
    fn react(&mut self, backend: &mut Backend, now: Instant) {
        self.report(backend, now);
        if self.flow == Flow::GoOn {
            self.take_requests(backend, now);
        }
        self.channels.handle_timeout(now);
        while backend.can_ask() {
            let Some(command) = self.channels.poll_command() else {
                return;
            };
            backend.ask(command);
        }
    }

    fn take_requests(&mut self, backend: &mut Backend, now: Instant) {
        loop {
            match self.requests.try_recv() {
                Ok(Request::Listen(channel, reply)) => self.channels.listen(channel, reply),
                Ok(Request::Unlisten(channel, reply)) => self.channels.unlisten(&channel, reply),
                Ok(Request::Notify(channel, payload, reply)) => {
                    let number = self.notifies.insert(reply);
                    let number = u32::try_from(number).expect("bounded by CALLS_MAX");
                    backend.publish(Notify {
                        number,
                        // One for all: they are committed in the order of the calls.
                        source: 0,
                        channel,
                        payload,
                    });
                }
                Ok(Request::End(ended)) => {
                    self.ended = ended;
                    self.flow = Flow::Ending(now + FINISH);
                    return;
                }
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.flow = Flow::Ending(now + FINISH);
                    return;
                }
                Err(mpsc::TryRecvError::Empty) => return,
            }
        }
    }

    /// Hands over the reports of the sessions.
    fn report(&mut self, backend: &mut Backend, now: Instant) {
        let Self {
            channels,
            notifies,
            arrivals,
            ..
        } = self;
        backend.drain_events(now, |event| match event {
            Event::Notification {
                process_id,
                channel,
                payload,
            } => {
                if let Some(channel) = channels.find_listened(channel) {
                    arrivals.hand_over(Received::Notification(Notification {
                        channel: channel.clone(),
                        payload: String::from_utf8_lossy(payload).into_owned(),
                        process_id,
                    }));
                }
            }
            Event::Up(Role::Listening, _) => channels.handle_up(),
            Event::Down(Role::Listening) => channels.handle_down(),
            Event::Up(Role::Publishing | Role::Authorizing, _)
            | Event::Down(Role::Publishing | Role::Authorizing)
            | Event::Function(_)
            | Event::Called(..)
            | Event::Absent(_)
            | Event::Refused(_)
            | Event::TlsGivenUp(_)
            | Event::Proved(_)
            | Event::Unfit(_)
            | Event::Committed(_)
            | Event::QueueUsage(_)
            | Event::Stalled(_)
            | Event::Control(_) => {}
            Event::Listened(key, result) => {
                if let Some(channel) = channels.handle_listened(key, result, now) {
                    arrivals.hand_over(Received::Gap(channel));
                }
            }
            Event::Unlistened(key) => channels.handle_unlistened(key),
            Event::Published(number, published) => {
                if let Some(reply) = notifies.try_remove(number as usize) {
                    answer(reply, outcome(published));
                }
            }
        });
    }
}

fn error_of(failure: &Failure) -> ListenerError {
    let address = failure.address.clone();
    let error = match &failure.kind {
        FailureKind::Connection(..)
        | FailureKind::Unreached(_)
        | FailureKind::Unanswered(..)
        | FailureKind::Tls(_)
        | FailureKind::TargetMismatch(_) => io::Error::new(failure.io_kind(), failure.reason()),
        FailureKind::Unfit(unfit) => io::Error::other(format!("server {}", unfit.text())),
        FailureKind::Settings(error) => return ListenerError::Url(error.clone()),
        FailureKind::Session(error) => {
            let error = error.clone();
            return ListenerError::Session { address, error };
        }
    };
    ListenerError::Connection { address, error }
}

fn outcome(published: Published) -> Result<(), ListenerError> {
    match published {
        Published::Committed => Ok(()),
        Published::Refused(error) => Err(ListenerError::Refused(Box::new(error))),
        Published::Unknown => Err(ListenerError::UnknownOutcome),
        // Crowded is the answer of a program, never of PostgreSQL.
        Published::NotSent | Published::Crowded => Err(ListenerError::PostgresDown),
    }
}

impl Sender {
    fn hand_over(&self, received: Received) {
        // The receiver may be gone; publishing continues.
        let _taken = self.0.put(|arrivals| arrivals.push(received));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The backend's own time-outs come first, with more precise errors.
const MARGIN: Duration = Duration::from_secs(1);
/// For the publishes under way when the last caller is gone.
const FINISH: Duration = Duration::from_secs(2);
