//! The terminal on stdin: its modes, whether it is ours at present, and what is typed there.
//!
//! A program in the background must neither read its terminal nor change it: the system would stop
//! it (termios(3), "job control"). Nothing tells a program that runs that it was brought to the
//! front, so it has to look. Refuses to know what the bytes mean.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, getpgid, getpgrp, getpid, getppid, getsid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcgetwinsize, tcsetattr},
};

use super::modes::{Modes, is_ours};

/// The terminal, left as it was found.
pub(super) struct Keyboard {
    /// Whether each key is wanted at once, and no echo: else whole lines, as the terminal gives
    /// them.
    by_key: bool,
    /// Those to restore.
    modes: Modes,
    is_in_front: bool,
}

/// What was read.
pub(super) enum Read {
    /// Nothing was typed, or it is not for us.
    Nothing,
    /// So many bytes.
    Bytes(usize),
    /// The end of a line's input, or the terminal is gone.
    End,
}

impl Keyboard {
    /// Watches stdin, a terminal, and takes it over if it is ours.
    pub(super) fn open(
        by_key: bool,
        modes: Modes,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let stdin = io::stdin().as_raw_fd();
        registry.register(&mut SourceFd(&stdin), token, Interest::READABLE)?;
        let mut keyboard = Self {
            by_key,
            modes,
            is_in_front: false,
        };
        keyboard.look();
        Ok(keyboard)
    }

    /// Whether the terminal was ours at the last look.
    pub(super) fn is_in_front(&self) -> bool {
        self.is_in_front
    }

    /// Looks whether the terminal is ours now; takes it over if it has become so.
    pub(super) fn look(&mut self) -> bool {
        let is_ours = is_ours();
        if is_ours && !self.is_in_front && self.by_key {
            self.take_over();
        }
        if !is_ours {
            // Its modes are the shell's by now.
            self.modes.forget();
        }
        self.is_in_front = is_ours;
        is_ours
    }

    /// Reads what was typed, without waiting.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let stdin = io::stdin();
        let mut watched = [PollFd::new(&stdin, PollFlags::IN)];
        let at_once = Timespec::default();
        match poll(&mut watched, Some(&at_once)) {
            Ok(1..) if self.look() => {}
            Ok(_) | Err(_) => return Read::Nothing,
        }
        match rustix::io::read(stdin.as_fd(), buffer) {
            Ok(0) => Read::End,
            Ok(length) => Read::Bytes(length),
            Err(Errno::INTR | Errno::AGAIN) => Read::Nothing,
            // The background, of which nobody would hear (an orphaned process group).
            Err(Errno::IO) if !self.look() => Read::Nothing,
            Err(_) => Read::End,
        }
    }

    /// Gives the terminal back as it was found.
    pub(super) fn release(&mut self) {
        self.modes.restore();
        self.is_in_front = false;
    }

    /// Stops the program, as Ctrl-Z is meant to; returns when it is continued. The next
    /// [look](Self::look) says where.
    pub(super) fn stop(&mut self) {
        self.release();
        // The system ignores the second where nobody could continue us; the first it never does.
        let signal = if has_shell() {
            Signal::STOP
        } else {
            Signal::TTOU
        };
        let _ = kill_process(getpid(), signal);
    }

    fn take_over(&self) {
        let stdin = io::stdin();
        let Ok(found) = tcgetattr(stdin.as_fd()) else {
            return;
        };
        let mut ours = found.clone();
        // Signals stay the terminal's: Ctrl-C works whatever we do.
        ours.local_modes.remove(
            LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::IEXTEN,
        );
        ours.special_codes[SpecialCodeIndex::VMIN] = 1;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Before they change: a signal may come between.
        self.modes.keep(found);
        if tcsetattr(stdin.as_fd(), OptionalActions::Now, &ours).is_err() {
            self.modes.forget();
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.release();
    }
}

/// Whether a shell with job control started us: our parent is in our session and not in our group.
fn has_shell() -> bool {
    let Some(parent) = getppid() else {
        return false;
    };
    let is_same_session = getsid(Some(parent)).is_ok_and(|it| getsid(None) == Ok(it));
    is_same_session && getpgid(Some(parent)).is_ok_and(|it| it != getpgrp())
}

/// How many columns the screen on stdout has.
pub(super) fn columns() -> usize {
    let columns = tcgetwinsize(io::stdout().as_fd()).map_or(0, |size| size.ws_col);
    if columns == 0 {
        COLUMNS_USUAL
    } else {
        columns.into()
    }
}

const COLUMNS_USUAL: usize = 80;
