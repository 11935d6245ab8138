//! The signals of the parent: flags, and pipes that end its wait.
//!
//! Knows no worker.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2},
    flag,
    low_level::pipe,
};

/// What came since it was asked last.
#[derive(Debug)]
pub(super) struct Signals {
    woken: UnixStream,
    /// A byte for each SIGINT and SIGTERM: how many came matters.
    stops: UnixStream,
    stop_count: usize,
    is_over: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    renew: Arc<AtomicBool>,
}

impl Signals {
    /// From now on.
    pub(super) fn new() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let (stops, stopper) = UnixStream::pair()?;
        stops.set_nonblocking(true)?;
        let signals = Self {
            woken,
            stops,
            stop_count: 0,
            is_over: Arc::default(),
            reload: Arc::default(),
            renew: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&signals.is_over))?;
            pipe::register(signal, stopper.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        flag::register(SIGUSR2, Arc::clone(&signals.renew))?;
        for signal in [SIGHUP, SIGUSR2, SIGCHLD] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }

    /// One of them is readable when there is something new.
    pub(super) fn pipes(&self) -> [BorrowedFd<'_>; 2] {
        [self.woken.as_fd(), self.stops.as_fd()]
    }

    /// Nothing is new any more, but for what is taken then.
    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self.woken.read(&mut bytes).is_ok_and(|read| read > 0) {}
    }

    /// So many SIGINT and SIGTERM came so far.
    pub(super) fn count_stops(&mut self) -> usize {
        // Whoever sends more means the same by all of them.
        let mut bytes = [0; 64];
        self.stop_count += self.stops.read(&mut bytes).unwrap_or(0);
        self.stop_count
    }

    /// The next one ends the process at once, whatever hangs: no worker is left.
    pub(super) fn end_at_the_next(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// SIGHUP came.
    pub(super) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::SeqCst)
    }

    /// SIGUSR2 came.
    pub(super) fn take_renew(&self) -> bool {
        self.renew.swap(false, Ordering::SeqCst)
    }
}
