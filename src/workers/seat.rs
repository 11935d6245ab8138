//! The place of one worker: its socket, the process that serves there, and while it is renewed, the one
//! before and the one behind it.
//!
//! Owns what follows from the end of a process. Knows no other place.

use std::{
    fmt,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::net::{Shutdown, shutdown};

use super::{
    pages::Pages,
    process::Process,
    program::Program,
    tries::{Next, Tries},
    wire::{Order, Place},
};
use crate::ticket_keys::TicketKeys;

/// One of the workers.
#[derive(Debug)]
pub(super) struct Seat {
    place: Place,
    /// Kept here as well, so that connections wait at it whatever becomes of a process.
    socket: OwnedFd,
    /// For each process, the first thing behind its place.
    ticket_keys: Option<TicketKeys>,
    current: Option<Process>,
    /// It is started to take over from `current`.
    successor: Option<Process>,
    /// It closes its clients, and ends.
    leaving: Option<Process>,
    tries: Tries,
    start_at: Option<Instant>,
    is_given_up: bool,
    /// Starts after the first one that were not asked for.
    restarts: u64,
    /// What processes counted that are no more.
    ended: Pages,
}

impl Seat {
    /// A place whose worker is started in the first turn.
    pub(super) fn new(place: Place, socket: OwnedFd, now: Instant) -> Self {
        Self {
            place,
            socket,
            ticket_keys: None,
            current: None,
            successor: None,
            leaving: None,
            tries: Tries::default(),
            start_at: Some(now),
            is_given_up: false,
            restarts: 0,
            ended: Pages::default(),
        }
    }

    pub(super) fn number(&self) -> usize {
        self.place.number
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Ends soon after a start, one after the other.
    pub(super) fn tries(&self) -> u32 {
        self.tries.count()
    }

    pub(super) fn ended(&self) -> &Pages {
        &self.ended
    }

    pub(super) fn current(&self) -> Option<&Process> {
        self.current.as_ref()
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        let all = [&self.current, &self.successor, &self.leaving];
        all.into_iter().flatten()
    }

    fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        let all = [&mut self.current, &mut self.successor, &mut self.leaving];
        all.into_iter().flatten()
    }

    /// Whether somebody serves here, or why not.
    pub(super) fn readiness(&self, now: Instant) -> Result<(), String> {
        match &self.current {
            Some(process) => process.readiness(now),
            None if self.is_given_up => Err(format!(
                "was given up: it ended {} times within 10 s of its start, and the log says how",
                self.tries.count()
            )),
            None => Err("has ended, and is started again".to_owned()),
        }
    }

    /// Whether its worker runs, or never will.
    pub(super) fn is_settled(&self) -> bool {
        self.is_given_up || self.current.as_ref().is_some_and(Process::has_answered)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.processes().next().is_none()
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let of_processes = self.processes().filter_map(Process::poll_timeout);
        let opening = self.current().and_then(Process::open_timeout);
        of_processes.chain(opening).chain(self.start_at).min()
    }

    /// Takes what the processes said, and what has become of them.
    pub(super) fn turn(&mut self, now: Instant) {
        for process in self.processes_mut() {
            process.write();
            process.read(now);
            process.ask_when_due(now);
        }
        if let Some(current) = &mut self.current {
            current.open_when_due(now);
            self.tries.note_up(current.up(now));
        }
        let number = self.number();
        for process in self.processes_mut() {
            if process.is_hung(now) {
                let id = process.id();
                tracing::error!(
                    target: "alle::bridge",
                    "worker {number} (process {id}) does not answer, and is killed"
                );
                process.kill();
            }
        }
        self.reap(now);
    }

    /// The time in which we were away counts for nobody's silence.
    pub(super) fn forgive(&mut self, now: Instant) {
        for process in self.processes_mut() {
            process.forgive(now);
        }
    }

    fn reap(&mut self, now: Instant) {
        let number = self.number();
        for (process, is_expected) in [(&mut self.leaving, true), (&mut self.successor, false)] {
            let Some(how) = process.as_mut().and_then(Process::end) else {
                continue;
            };
            if let Some(process) = process.take() {
                self.ended.add_counters(process.page());
                let id = process.id();
                if is_expected {
                    tracing::info!(
                        target: "alle::bridge",
                        "worker {number}: its predecessor {id} has ended: {how}"
                    );
                } else {
                    tracing::error!(
                        target: "alle::bridge",
                        "worker {number}: its successor {id} ended: {how}"
                    );
                }
            }
        }
        let Some(how) = self.current.as_mut().and_then(Process::end) else {
            return;
        };
        if let Some(process) = self.current.take() {
            self.ended.add_counters(process.page());
            self.note_end(&process, &how, now);
        }
    }

    /// The worker ended without having been told to.
    fn note_end(&mut self, process: &Process, how: &str, now: Instant) {
        let (number, id) = (self.number(), process.id());
        let up = process.up(now);
        let after = Seconds(up);
        if self.successor.is_some() {
            tracing::error!(
                target: "alle::bridge",
                "worker {number} (process {id}) ended after {after}: {how}"
            );
            self.current = self.successor.take();
            return;
        }
        match self.tries.note_end(up) {
            Next::Again(delay) => {
                let again = Seconds(delay);
                tracing::error!(
                    target: "alle::bridge",
                    "worker {number} (process {id}) ended after {after}: {how}; it is started again \
                     in {again}"
                );
                self.start_at = Some(now + delay);
            }
            Next::GiveUp => self.give_up(&format!("(process {id}) ended after {after}: {how}")),
        }
    }

    /// Nobody is led to its socket any more.
    fn give_up(&mut self, why: &str) {
        let (number, count) = (self.number(), self.tries.count());
        tracing::error!(
            target: "alle::bridge",
            "worker {number} {why}; that was {count} times within 10 s of its start: it is given up, \
             and its socket closed"
        );
        self.is_given_up = true;
        self.close_socket();
    }

    /// Connections are refused here, or come to the other workers' sockets.
    pub(super) fn close_socket(&self) {
        // Whoever else has it, a process that hangs say, has it closed, too (shutdown(2)).
        if let Err(error) = shutdown(&self.socket, Shutdown::Read) {
            tracing::debug!(
                target: "alle::bridge",
                "the socket of worker {} stays: {error}", self.number()
            );
        }
    }

    /// Starts the worker, if that is due.
    pub(super) fn start_when_due(
        &mut self,
        program: &Program,
        now: Instant,
    ) -> std::io::Result<()> {
        if self.start_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        self.start_at = None;
        let process = self.spawn(program, now)?;
        self.seat(process);
        Ok(())
    }

    /// The same, and a start that fails is one that came to nothing.
    pub(super) fn start_again_when_due(&mut self, program: &Program, now: Instant) {
        let is_due = self.start_at.is_some_and(|at| now >= at);
        if !is_due {
            return;
        }
        self.restarts += 1;
        let Err(error) = self.start_when_due(program, now) else {
            return;
        };
        match self.tries.note_end(Duration::ZERO) {
            Next::Again(delay) => {
                let (number, again) = (self.number(), Seconds(delay));
                tracing::error!(
                    target: "alle::bridge",
                    "worker {number} cannot be started: {error}; it is tried again in {again}"
                );
                self.start_at = Some(now + delay);
            }
            Next::GiveUp => self.give_up(&format!("cannot be started: {error}")),
        }
    }

    fn spawn(&self, program: &Program, now: Instant) -> std::io::Result<Process> {
        let mut process = Process::start(program, &self.socket, self.place.clone(), now)?;
        if let Some(keys) = &self.ticket_keys {
            process.order(&Order::TicketKeys(keys.clone()));
        }
        Ok(process)
    }

    /// The process is the worker.
    fn seat(&mut self, process: Process) {
        let (number, id) = (self.number(), process.id());
        tracing::info!(target: "alle::bridge", "worker {number} is process {id}");
        self.current = Some(process);
    }

    // ---- renewal

    /// Starts a successor, and tells its process. Where nobody serves, that is the worker itself;
    /// `reopened` is its socket then, if the other one was closed.
    pub(super) fn renew(
        &mut self,
        program: &Program,
        reopened: Option<OwnedFd>,
        now: Instant,
    ) -> std::io::Result<u32> {
        if let Some(socket) = reopened {
            self.socket = socket;
            self.is_given_up = false;
            self.tries = Tries::default();
        }
        let process = self.spawn(program, now)?;
        let (number, id) = (self.number(), process.id());
        if self.current.is_some() {
            tracing::info!(
                target: "alle::bridge",
                "worker {number}: process {id} is started as its successor"
            );
            self.successor = Some(process);
        } else {
            self.start_at = None;
            self.seat(process);
        }
        Ok(id)
    }

    /// The process with this number that is not on its way out.
    pub(super) fn fresh(&self, id: u32) -> Option<&Process> {
        let mut fresh = [&self.current, &self.successor].into_iter().flatten();
        fresh.find(|it| it.id() == id)
    }

    /// The successor serves from now on, and its predecessor closes its clients over this time.
    pub(super) fn hand_over(&mut self, drain: Duration) {
        let Some(mut successor) = self.successor.take() else {
            return;
        };
        successor.open();
        let (number, id) = (self.number(), successor.id());
        if let Some(mut current) = self.current.replace(successor) {
            current.order(&Order::Retire(drain));
            let predecessor = current.id();
            let over = if drain.is_zero() {
                String::new()
            } else {
                format!(" over {}", Seconds(drain))
            };
            tracing::info!(
                target: "alle::bridge",
                "worker {number}: its successor {id} is ready and accepts clients; its predecessor \
                 {predecessor} closes its own{over}, and ends"
            );
            self.leaving = Some(current);
        }
    }

    /// The one before has not ended yet.
    pub(super) fn has_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Ends the one before, which has had its time.
    pub(super) fn kill_leaving(&mut self) {
        let number = self.number();
        if let Some(leaving) = &mut self.leaving {
            let id = leaving.id();
            tracing::warn!(
                target: "alle::bridge",
                "worker {number}: its predecessor {id} did not end in time, and is killed"
            );
            leaving.kill();
        }
    }

    /// The successor is not wanted any more.
    pub(super) fn give_up_successor(&mut self) {
        if let Some(successor) = &mut self.successor {
            successor.kill();
        }
    }

    // ---- all together

    /// Tells each process; nobody is started any more.
    pub(super) fn stop(&mut self, order: &Order) {
        self.start_at = None;
        for process in self.processes_mut() {
            // Clients that wait are told as well, and not kept waiting.
            process.open();
            process.order(order);
        }
    }

    /// Each process has these keys for tickets from now on, and so has one that is started.
    pub(super) fn set_ticket_keys(&mut self, keys: TicketKeys) {
        for process in self.processes_mut() {
            process.order(&Order::TicketKeys(keys.clone()));
        }
        self.ticket_keys = Some(keys);
    }

    /// Reads the files again in each process.
    pub(super) fn reload(&mut self) {
        for process in self.processes_mut() {
            process.order(&Order::Reload);
        }
    }

    /// Those that have ended are gone; nothing follows.
    pub(super) fn reap_all(&mut self, now: Instant) {
        for process in [&mut self.current, &mut self.successor, &mut self.leaving] {
            if let Some(it) = process {
                it.write();
                it.read(now);
            }
            process.take_if(|it| it.end().is_some());
        }
    }

    /// Ends whoever is left, with these words; whether somebody was.
    pub(super) fn kill_all(&mut self, why: &str) -> bool {
        let mut was_there = false;
        let number = self.number();
        for process in self.processes_mut() {
            let id = process.id();
            tracing::error!(
                target: "alle::bridge",
                "worker {number} (process {id}) {why}"
            );
            process.kill();
            was_there = true;
        }
        was_there
    }
}

/// A span for people.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_millis() as f64 / 1_000.0)
    }
}
