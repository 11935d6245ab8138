//! Plain HTTP for operators, answered for all workers: few connections, one request each, and a
//! deadline on all that a peer does.
//!
//! Owns listener and connections, and the rules about `Host` and `Origin`. Refuses to know what a page
//! says.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use crate::{
    access::origins::OriginPolicy,
    http::{
        request::{self, HEAD_BYTES_MAX, Method, Request},
        response::{Response, Status},
    },
    metrics::CONTENT_TYPE,
};

/// The admin address.
#[derive(Debug)]
pub(super) struct Admin {
    listener: TcpListener,
    visits: Vec<Visit>,
    policy: OriginPolicy,
    /// After a shortage of descriptors: the time of the next attempt.
    resume_at: Option<Instant>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Health,
    Readiness,
    Metrics,
}

/// One connection.
#[derive(Debug)]
struct Visit {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    phase: Phase,
    /// Of this phase.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The head of the request is not complete.
    Reading,
    /// The answer is not written.
    Writing,
    /// The peer has not closed yet: what it sends is dropped, for a reset could destroy the answer.
    Closing,
    Over,
}

impl Admin {
    /// Answers at a socket that listens.
    pub(super) fn new(socket: OwnedFd, policy: OriginPolicy) -> io::Result<Self> {
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            visits: Vec::new(),
            policy,
            resume_at: None,
        })
    }

    /// The sockets to wait for: to be read, and to be written.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let listener = self.resume_at.is_none().then(|| self.listener.as_fd());
        let visits = self.visits.iter();
        let visits = visits.map(|it| (it.stream.as_fd(), it.phase == Phase::Writing));
        listener.map(|it| (it, false)).into_iter().chain(visits)
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let visits = self.visits.iter().map(|it| it.deadline);
        visits.chain(self.resume_at).min()
    }

    /// Takes connections, requests and time-outs; `page` says the status and the text of a page.
    pub(super) fn turn(&mut self, mut page: impl FnMut(Page) -> (Status, String), now: Instant) {
        self.accept(now);
        for visit in &mut self.visits {
            visit.turn(&self.policy, &mut page, now);
        }
        self.visits.retain(|it| it.phase != Phase::Over);
    }

    fn accept(&mut self, now: Instant) {
        if self.resume_at.is_some_and(|at| now >= at) {
            self.resume_at = None;
        }
        for _ in 0..VISITS_MAX {
            if self.resume_at.is_some() {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.receive(stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    tracing::warn!(
                        target: "alle::bridge",
                        "cannot accept at the admin address for now: {error}"
                    );
                    // The oldest one has to give its descriptor.
                    if !self.visits.is_empty() {
                        self.visits.remove(0);
                    }
                    self.resume_at = Some(now + ACCEPT_PAUSE);
                }
            }
        }
    }

    /// The oldest one makes room.
    fn receive(&mut self, stream: TcpStream, now: Instant) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        if self.visits.len() >= VISITS_MAX {
            self.visits.remove(0);
        }
        self.visits.push(Visit {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            phase: Phase::Reading,
            deadline: now + PHASE_TIMEOUT,
        });
    }
}

impl Visit {
    fn turn(
        &mut self,
        policy: &OriginPolicy,
        page: &mut impl FnMut(Page) -> (Status, String),
        now: Instant,
    ) {
        if self.phase == Phase::Reading {
            self.read();
            self.answer(policy, page, now);
        }
        if self.phase == Phase::Writing {
            self.write(now);
        }
        if self.phase == Phase::Closing {
            self.drop_input();
        }
        if now >= self.deadline {
            self.phase = Phase::Over;
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; HEAD_BYTES_MAX];
        while self.input.len() < HEAD_BYTES_MAX {
            let room = HEAD_BYTES_MAX - self.input.len();
            match self.stream.read(&mut buffer[..room]) {
                Ok(read) if read > 0 => self.input.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    self.phase = Phase::Over;
                    return;
                }
            }
        }
    }

    fn answer(
        &mut self,
        policy: &OriginPolicy,
        page: &mut impl FnMut(Page) -> (Status, String),
        now: Instant,
    ) {
        let local = self.stream.local_addr();
        let is_to_loopback = local.is_ok_and(|it| it.ip().to_canonical().is_loopback());
        let (answer, is_head) = match request::parse(&self.input) {
            Ok(None) => return,
            Ok(Some(request)) => (
                answer(&request, policy, is_to_loopback, page),
                request.method == Method::Head,
            ),
            Err(status) => (Answer::text(status, "the request cannot be read\n"), false),
        };
        Response {
            status: answer.status,
            content_type: answer.content_type,
            fields: answer.fields,
            body: &answer.text,
            public_tag: None,
            is_last: true,
        }
        .write(is_head, &mut self.output);
        self.input = Vec::new();
        self.phase = Phase::Writing;
        self.deadline = now + PHASE_TIMEOUT;
    }

    fn write(&mut self, now: Instant) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) if written > 0 => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    self.phase = Phase::Over;
                    return;
                }
            }
        }
        let closed = self.stream.shutdown(Shutdown::Write);
        self.phase = closed.map_or(Phase::Over, |()| Phase::Closing);
        self.deadline = now + CLOSING_TIMEOUT;
    }

    fn drop_input(&mut self) {
        let mut buffer = [0; HEAD_BYTES_MAX];
        for _ in 0..READS_MAX {
            match self.stream.read(&mut buffer) {
                Ok(read) if read > 0 => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    self.phase = Phase::Over;
                    return;
                }
            }
        }
    }
}

struct Answer {
    status: Status,
    content_type: &'static str,
    fields: &'static str,
    text: String,
}

impl Answer {
    fn text(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            content_type: TEXT,
            fields: "",
            text: text.into(),
        }
    }
}

fn answer(
    request: &Request<'_>,
    policy: &OriginPolicy,
    is_to_loopback: bool,
    page: &mut impl FnMut(Page) -> (Status, String),
) -> Answer {
    if let Err(refusal) = policy.check(request.host, request.origin, is_to_loopback) {
        return Answer::text(Status::Forbidden, format!("{refusal}\n"));
    }
    let known = PAGES.iter().find(|(path, _)| *path == request.path);
    match known {
        None => Answer::text(Status::NotFound, "not found\n"),
        Some(_) if !matches!(request.method, Method::Get | Method::Head) => Answer {
            fields: "Allow: GET, HEAD\r\n",
            ..Answer::text(Status::MethodNotAllowed, "method not allowed\n")
        },
        Some((_, asked)) => {
            let (status, text) = page(*asked);
            let is_metrics = *asked == Page::Metrics;
            Answer {
                content_type: if is_metrics { CONTENT_TYPE } else { TEXT },
                ..Answer::text(status, text)
            }
        }
    }
}

/// As at the admin address of a bridge.
const PAGES: [(&str, Page); 3] = [
    ("/healthz", Page::Health),
    ("/readyz", Page::Readiness),
    ("/metrics", Page::Metrics),
];
const TEXT: &str = "text/plain; charset=utf-8";
/// Connections at a time; past it, the oldest one goes.
const VISITS_MAX: usize = 16;
/// A head, and the reading of an answer, may take so long.
const PHASE_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);
/// With no descriptor left, accepting would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const READS_MAX: usize = 8;
