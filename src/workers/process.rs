//! One worker's process, as its parent sees it: the pipe to it, what it said last, and whether it
//! answers.
//!
//! Decides nothing about other processes. Never waits: the pipe does not block.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use super::{
    program::Program,
    wire::{self, KeptFile, Order, Place, Report},
};

/// A process that was started as a worker.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pipe: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    started_at: Instant,
    /// Since when a question is unanswered.
    asked_at: Option<Instant>,
    ask_at: Instant,
    /// It was told to accept clients.
    is_accepting: bool,
    /// What it said last; `None` before its first answer.
    readiness: Option<Result<(), String>>,
    /// The page of metrics that it sent last.
    page: String,
    /// The files in which it found its options, where they were not handed over.
    files: Vec<KeptFile>,
    /// Its pipe has ended, or says nothing that can be understood.
    is_cut_off: bool,
    is_killed: bool,
}

impl Process {
    /// Starts a worker.
    pub(super) fn start(
        program: &Program,
        socket: &OwnedFd,
        place: Place,
        now: Instant,
    ) -> io::Result<Self> {
        let (pipe, end) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let mut process = Self {
            child: program.spawn(socket.try_clone()?, end)?,
            pipe,
            input: Vec::new(),
            output: Vec::new(),
            started_at: now,
            asked_at: None,
            ask_at: now,
            is_accepting: false,
            readiness: None,
            page: String::new(),
            files: Vec::new(),
            is_cut_off: false,
            is_killed: false,
        };
        let files = program.files();
        process.order(&Order::Begin(place, files.map(<[_]>::len)));
        for file in files.unwrap_or_default() {
            process.order(&Order::File(file.clone()));
        }
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Whether orders wait for the pipe.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn up(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started_at)
    }

    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// The files that it read for its options; complete once it is ready.
    pub(super) fn files(&self) -> &[KeptFile] {
        &self.files
    }

    /// Whether it has said anything yet: its bridge runs.
    pub(super) fn has_answered(&self) -> bool {
        self.readiness.is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.readiness, Some(Ok(())))
    }

    /// Whether it serves: ready and answering, or why not.
    pub(super) fn readiness(&self, now: Instant) -> Result<(), String> {
        if let Some(silent) = self.silence(now).filter(|it| *it >= SILENCE_SHOWN) {
            return Err(format!("does not answer for {} s", silent.as_secs()));
        }
        match &self.readiness {
            None => Err("is being started".to_owned()),
            Some(Err(reason)) => Err(reason.clone()),
            Some(Ok(())) if !self.is_accepting => Err("is being started".to_owned()),
            Some(Ok(())) => Ok(()),
        }
    }

    fn silence(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.asked_at?))
    }

    /// Whether it has to be taken for hung.
    pub(super) fn is_hung(&self, now: Instant) -> bool {
        !self.is_killed && self.silence(now).is_some_and(|it| it >= SILENCE_MAX)
    }

    /// Its silence begins now, if it is silent.
    pub(super) fn forgive(&mut self, now: Instant) {
        if let Some(asked_at) = &mut self.asked_at {
            *asked_at = now;
        }
    }

    /// Lets it accept clients as soon as it is ready, or as waiting longer helps nobody: where
    /// PostgreSQL is away, clients are told that.
    pub(super) fn open_when_due(&mut self, now: Instant) {
        let is_due = self.is_ready() || self.up(now) >= HELD_MAX && self.has_answered();
        if is_due && !self.is_accepting {
            self.open();
        }
    }

    /// Lets it accept clients.
    pub(super) fn open(&mut self) {
        self.is_accepting = true;
        self.order(&Order::Accept);
    }

    /// Sends an order. What the pipe does not take waits; there is little, since nothing more is asked
    /// of a process that does not answer.
    pub(super) fn order(&mut self, order: &Order) {
        order.append_to(&mut self.output);
        self.write();
    }

    /// Asks how it is, if that is due.
    pub(super) fn ask_when_due(&mut self, now: Instant) {
        if self.asked_at.is_none() && now >= self.ask_at {
            self.asked_at = Some(now);
            self.order(&Order::Ask);
        }
    }

    /// When the next question is due, or the answer.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let at = self.asked_at.map_or(self.ask_at, |at| at + SILENCE_MAX);
        (!self.is_killed).then_some(at)
    }

    /// When [`Self::open_when_due`] does something of itself.
    pub(super) fn open_timeout(&self) -> Option<Instant> {
        let is_held = !self.is_accepting && self.has_answered();
        is_held.then(|| self.started_at + HELD_MAX)
    }

    pub(super) fn write(&mut self) {
        while !self.output.is_empty() {
            match self.pipe.write(&self.output) {
                Ok(written) if written > 0 => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => return self.cut_off(),
            }
        }
    }

    /// Takes what it said.
    pub(super) fn read(&mut self, now: Instant) {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..READS_MAX {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return self.cut_off(),
                Ok(read) => {
                    self.input.extend_from_slice(&buffer[..read]);
                    self.take_reports(now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.cut_off(),
            }
        }
    }

    fn take_reports(&mut self, now: Instant) {
        loop {
            let (report, length) = match wire::split(&self.input) {
                Ok(Some((text, length))) => (Report::parse(text), length),
                Ok(None) => return,
                Err(wire::Malformed) => return self.cut_off(),
            };
            self.input.drain(..length);
            match report {
                Some(Report::Readiness(readiness)) => self.readiness = Some(readiness),
                Some(Report::Metrics(page)) => {
                    self.page = page;
                    self.asked_at = None;
                    let pause = if self.is_accepting {
                        ASK_INTERVAL
                    } else {
                        ASK_INTERVAL_AT_START
                    };
                    self.ask_at = now + pause;
                }
                Some(Report::File(file)) => self.files.push(file),
                None => {}
            }
        }
    }

    fn cut_off(&mut self) {
        self.output.clear();
        self.is_cut_off = true;
    }

    /// How it ended, if it has; one that cannot be spoken to any more is ended.
    pub(super) fn end(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) if self.is_cut_off && !self.is_killed => {
                // It closes its end a moment before it has ended.
                self.kill();
                None
            }
            Ok(None) => None,
            Ok(Some(status)) => Some(describe(status)),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Ends it whatever it does.
    pub(super) fn kill(&mut self) {
        self.is_killed = true;
        // An error means that it has ended.
        let _ended = self.child.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    status.to_string()
}

/// Between an answer and the next question.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while it is awaited that a worker is ready.
const ASK_INTERVAL_AT_START: Duration = Duration::from_millis(20);
/// A worker that is not ready accepts clients all the same after this time: as long as a bridge waits
/// for the others of its group, and one second more.
const HELD_MAX: Duration = Duration::from_secs(4);
/// A worker that does not answer for so long is not ready.
const SILENCE_SHOWN: Duration = Duration::from_secs(3);
/// A worker that does not answer for so long is killed: its clients, and those that wait at its socket,
/// are better off elsewhere.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// One worker's answers of one turn.
const READS_MAX: usize = 64;
