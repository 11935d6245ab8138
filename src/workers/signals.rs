//! The signals of the parent: flags, and a pipe that ends its wait.
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
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    renew: Arc<AtomicBool>,
}

impl Signals {
    /// From now on; a second SIGINT or SIGTERM ends the process at once, whatever hangs.
    pub(super) fn new() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let signals = Self {
            woken,
            stop: Arc::default(),
            reload: Arc::default(),
            renew: Arc::default(),
        };
        let is_ending = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&is_ending))?;
            flag::register(signal, Arc::clone(&is_ending))?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        flag::register(SIGUSR2, Arc::clone(&signals.renew))?;
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR2, SIGCHLD] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Readable when there is something new.
    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// Nothing is new any more.
    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self.woken.read(&mut bytes).is_ok_and(|read| read > 0) {}
    }

    /// SIGINT or SIGTERM came.
    pub(super) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
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
