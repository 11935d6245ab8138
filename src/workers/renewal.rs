//! A renewal of all workers, one after the other, each once its successor is ready.
//!
//! Owns how far it has come. Decides nothing of what a place does by itself.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use super::{process::Process, program::Program, seat::Seat};

/// A renewal under way.
#[derive(Debug)]
pub(super) struct Renewal {
    /// The place that is renewed, from 0.
    at: usize,
    /// The process that is to serve there.
    fresh: Option<u32>,
    /// When the step has taken too long.
    deadline: Instant,
    /// What the workers are renewed from.
    program: Program,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    UnderWay,
    Done,
    /// A successor did not become ready: the worker before it goes on.
    GivenUp,
}

impl Renewal {
    /// Begins with the first place.
    pub(super) fn new(program: Program, now: Instant) -> Self {
        Self {
            at: 0,
            fresh: None,
            deadline: now,
            program,
        }
    }

    /// The number of the worker that is being renewed.
    pub(super) fn number(&self) -> usize {
        self.at + 1
    }

    /// What a worker that ended is started again from: at a place that is done, the same as its
    /// neighbours there. `settled` is that of the others.
    pub(super) fn program<'a>(&'a self, number: usize, settled: &'a Program) -> &'a Program {
        if number < self.number() {
            &self.program
        } else {
            settled
        }
    }

    /// What all of them were renewed from.
    pub(super) fn into_program(self) -> Program {
        self.program
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.fresh.map(|_| self.deadline)
    }

    /// Goes on as far as it can; `reopen` makes a socket for a place whose own was closed.
    pub(super) fn turn(
        &mut self,
        seats: &mut [Seat],
        drain: Duration,
        reopen: impl Fn() -> std::io::Result<OwnedFd>,
        now: Instant,
    ) -> Progress {
        let Some(seat) = seats.get_mut(self.at) else {
            return Progress::Done;
        };
        let number = seat.number();
        let Some(id) = self.fresh else {
            let reopened = seat.is_given_up().then(reopen).transpose();
            match reopened.and_then(|socket| seat.renew(&self.program, socket, now)) {
                Ok(id) => self.fresh = Some(id),
                Err(error) => {
                    tracing::error!(
                        target: "alle::bridge",
                        "worker {number} cannot be renewed: {error}"
                    );
                    return Progress::GivenUp;
                }
            }
            self.deadline = now + READY_TIMEOUT;
            return Progress::UnderWay;
        };
        if seat.has_leaving() {
            if now >= self.deadline {
                seat.kill_leaving();
                self.deadline = now + LEAVING_TIMEOUT;
            }
            return Progress::UnderWay;
        }
        match seat.fresh(id) {
            None => Progress::GivenUp,
            Some(process) if process.is_ready() => {
                self.program.keep(process.files());
                if seat.current().map(Process::id) == Some(id) {
                    // The one before has gone.
                    self.at += 1;
                    self.fresh = None;
                } else {
                    seat.hand_over(drain);
                    self.deadline = now + drain + LEAVING_TIMEOUT;
                }
                Progress::UnderWay
            }
            Some(_) if now >= self.deadline => {
                tracing::error!(
                    target: "alle::bridge",
                    "worker {number} is not renewed: its successor {id} was not ready within {} s",
                    READY_TIMEOUT.as_secs()
                );
                seat.give_up_successor();
                Progress::GivenUp
            }
            Some(_) => Progress::UnderWay,
        }
    }
}

/// A successor has so long to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// A worker ends within five seconds of its order to stop.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(7);
