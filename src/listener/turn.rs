//! The listener's thread: its loop, its sockets and its clock.
//!
//! Moves bytes between PostgreSQL and the pure [`Backend`], requests of callers to [`Channels`] or
//! the backend, and what came of them back. Decides nothing itself but when to wait.

#![expect(
    clippy::disallowed_methods,
    reason = "the loop reads the clock, once a turn"
)]

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Poll, Waker};
use slab::Slab;

use super::{
    ListenerError,
    channels::Channels,
    requests::{Reply, Request, answer},
};
use crate::{
    bridge::{
        backend::{Backend, Event, Failure, FailureError, Role},
        command::{Command, Notify, Published},
    },
    notifications::{Arrivals, Notification, Received},
    pg::config::Config,
    queue::Queue,
    reactor::BackendSockets,
};

/// Starts the thread. `started` hears once how the first attempt to connect went; if it failed,
/// the thread is about to end.
pub(super) fn spawn(
    config: Config,
    seed: u64,
    queue: Arc<Queue<Arrivals>>,
    requests: mpsc::Receiver<Request>,
    started: Reply,
) -> Result<(Arc<Waker>, JoinHandle<()>), ListenerError> {
    let poll = Poll::new().map_err(ListenerError::Io)?;
    let waker =
        Waker::new(poll.registry(), BackendSockets::waker_token()).map_err(ListenerError::Io)?;
    let waker = Arc::new(waker);
    let now = Instant::now();
    let backend = Backend::new(config, seed, now);
    let deadline = now + backend.round_timeout() + MARGIN;
    let link = Link {
        poll,
        sockets: BackendSockets::new(Arc::clone(&waker)),
        backend,
        channels: Channels::default(),
        notifies: Slab::new(),
        requests,
        arrivals: Sender(queue),
        starting: Some(Starting {
            reply: started,
            deadline,
        }),
        buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
    };
    let thread = thread::Builder::new()
        .name("alle listener".to_owned())
        .spawn(move || link.run())
        .map_err(ListenerError::Io)?;
    Ok((waker, thread))
}

/// Everything the thread owns.
struct Link {
    poll: Poll,
    sockets: BackendSockets,
    backend: Backend,
    channels: Channels,
    /// Who waits for the outcome of a publish; the key names it.
    notifies: Slab<Reply>,
    requests: mpsc::Receiver<Request>,
    arrivals: Sender,
    /// Until the first attempt to connect has succeeded.
    starting: Option<Starting>,
    buffer: Box<[u8]>,
}

/// The first attempt to connect.
struct Starting {
    reply: Reply,
    deadline: Instant,
}

/// The sending end of the queue; however the thread ends, the receiver learns of it.
struct Sender(Arc<Queue<Arrivals>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

impl Link {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.turn(&mut events) {
                Ok(Flow::GoOn) => {}
                Ok(Flow::End) => break,
                Err(error) => {
                    tracing::error!("the listener cannot wait for its sockets: {error}");
                    break;
                }
            }
        }
        self.backend.terminate();
        self.sockets.write(&mut self.backend, Instant::now());
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<Flow> {
        let timeout = self.timeout(Instant::now());
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let now = Instant::now();
        self.dispatch(events, now);
        self.sockets.read(&mut self.backend, &mut self.buffer, now);
        self.report(now);
        if self.take_requests() == Flow::End {
            return Ok(Flow::End);
        }
        self.backend.handle_timeout(now);
        self.channels.handle_timeout(now);
        self.report(now);
        self.sockets.write(&mut self.backend, now);
        self.report(now);
        let registry = self.poll.registry();
        self.sockets.carry_out(&mut self.backend, registry, now);
        Ok(self.start(now))
    }

    fn timeout(&self, now: Instant) -> Duration {
        if self.sockets.is_readable() {
            return Duration::ZERO;
        }
        let backend = self.backend.poll_timeout();
        let starting = self.starting.as_ref().map(|starting| starting.deadline);
        let others = [self.channels.poll_timeout(), starting];
        let until = others.into_iter().flatten().fold(backend, Instant::min);
        until.saturating_duration_since(now)
    }

    fn dispatch(&mut self, events: &Events, now: Instant) {
        let Self {
            sockets,
            backend,
            poll,
            ..
        } = self;
        for event in events {
            match BackendSockets::role_of(event.token()) {
                Some(role) => sockets.handle_event(role, event, backend, poll.registry(), now),
                None => sockets.handle_wake(backend, poll.registry(), now),
            }
        }
    }

    fn take_requests(&mut self) -> Flow {
        loop {
            match self.requests.try_recv() {
                Ok(Request::Listen(channel, reply)) => self.channels.listen(channel, reply),
                Ok(Request::Unlisten(channel, reply)) => self.channels.unlisten(&channel, reply),
                Ok(Request::Notify(channel, payload, reply)) => {
                    let number = self.notifies.insert(reply);
                    let number = u32::try_from(number).expect("each waits in a thread of its own");
                    // Each waits in a thread of its own: there is no order among them to keep.
                    self.backend.push(Command::Notify(Notify {
                        number,
                        source: number,
                        channel,
                        payload,
                    }));
                }
                Ok(Request::End) | Err(mpsc::TryRecvError::Disconnected) => return Flow::End,
                Err(mpsc::TryRecvError::Empty) => return Flow::GoOn,
            }
        }
    }

    /// Hands over what the sessions have to report, and asks them what follows from it.
    fn report(&mut self, now: Instant) {
        let Self {
            backend,
            channels,
            notifies,
            arrivals,
            ..
        } = self;
        backend.drain_events(now, |event| match event {
            Event::Notification { channel, payload } => {
                if let Some(channel) = channels.find_listened(channel) {
                    arrivals.hand_over(Received::Notification(Notification {
                        channel: channel.clone(),
                        payload: String::from_utf8_lossy(payload).into_owned(),
                    }));
                }
            }
            Event::Up(Role::Listening, _) => channels.handle_up(),
            Event::Down(Role::Listening) => channels.handle_down(),
            Event::Up(Role::Publishing, _)
            | Event::Down(Role::Publishing)
            | Event::Proved(_)
            | Event::Unfit(_)
            | Event::Committed(_)
            | Event::QueueUsage(_) => {}
            Event::Listened(key, result) => {
                if let Some(channel) = channels.handle_listened(key, result, now) {
                    arrivals.hand_over(Received::Gap(channel));
                }
            }
            Event::Unlistened(key) => channels.handle_unlistened(key),
            Event::Published(number, published) => {
                if let Some(reply) = notifies.try_remove(number as usize) {
                    answer(&reply, outcome(published));
                }
            }
        });
        while let Some(command) = channels.poll_command() {
            backend.push(command);
        }
    }

    /// Tells who waits for the first round of attempts how it went, once that is known.
    fn start(&mut self, now: Instant) -> Flow {
        let Some(Starting { reply, deadline }) = &self.starting else {
            return Flow::GoOn;
        };
        let mut failures = Role::ALL.into_iter().map(|role| self.backend.failure(role));
        if let Some(failure) = failures.find_map(|failure| failure) {
            answer(reply, Err(error_of(failure)));
            return Flow::End;
        }
        if now >= *deadline {
            let error = ListenerError::Connection {
                address: self.backend.config(Role::Listening).address(),
                error: io::ErrorKind::TimedOut.into(),
            };
            answer(reply, Err(error));
            return Flow::End;
        }
        if Role::ALL.into_iter().all(|role| self.backend.is_up(role)) {
            answer(reply, Ok(()));
            self.starting = None;
        }
        Flow::GoOn
    }
}

fn error_of(failure: &Failure) -> ListenerError {
    let address = failure.address.clone();
    match failure.error.clone() {
        FailureError::Connection(kind, why) => ListenerError::Connection {
            address,
            error: io::Error::new(kind, why),
        },
        FailureError::Unfit(unfit) => ListenerError::Connection {
            address,
            error: io::Error::other(format!("server {}", unfit.text())),
        },
        FailureError::Session(error) => ListenerError::Session { address, error },
    }
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
        // Nobody may want them any more; publishing goes on.
        let _taken = self.0.put(|arrivals| arrivals.push(received));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The backend's own time-outs come first, with better words.
const MARGIN: Duration = Duration::from_secs(1);
/// For every read.
const BUFFER_BYTES: usize = 64 * 1024;
/// Two sockets and a waker.
const EVENTS: usize = 4;
