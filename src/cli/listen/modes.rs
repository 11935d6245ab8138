//! The modes that the terminal had before, given back however the program ends.
//!
//! A signal that ends it may find the loop in a write that the terminal holds up (Ctrl-S), so a
//! thread waits for those. Refuses to know what the modes mean.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: a thread may end the program"
)]

use std::{
    io,
    os::fd::AsFd,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::{
    process::getpgrp,
    termios::{OptionalActions, Termios, tcgetpgrp, tcsetattr},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// The modes to give back; `Some` while those of the terminal are ours.
#[derive(Clone, Default)]
pub(super) struct Modes(Arc<Mutex<Option<Termios>>>);

impl Modes {
    /// The terminal had `found`, and has ours.
    pub(super) fn keep(&self, found: Termios) {
        self.put(Some(found));
    }

    /// The terminal has somebody else's.
    pub(super) fn forget(&self) {
        self.put(None);
    }

    /// Gives the terminal back as it was found, if it is still ours.
    pub(super) fn restore(&self) {
        if let Some(found) = self.put(None)
            && is_ours()
        {
            let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &found);
        }
    }

    /// From now on a second SIGINT or SIGTERM ends the program wherever it hangs. Where it
    /// `changes_modes`, SIGHUP and SIGQUIT do what they do by default, and no sooner than the
    /// terminal is given back.
    pub(super) fn guard(&self, changes_modes: bool) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        if changes_modes {
            signals.add_signal(SIGHUP)?;
            signals.add_signal(SIGQUIT)?;
        }
        let modes = self.clone();
        thread::spawn(move || {
            let mut is_ending = false;
            for signal in signals.forever() {
                let ends = matches!(signal, SIGINT | SIGTERM);
                if ends && !is_ending {
                    is_ending = true;
                    continue;
                }
                modes.restore();
                if ends || emulate_default_handler(signal).is_err() {
                    process::exit(0);
                }
            }
        });
        Ok(())
    }

    fn put(&self, modes: Option<Termios>) -> Option<Termios> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut kept, modes)
    }
}

/// Whether this process may use the terminal. One that is not the controlling one knows no jobs.
pub(super) fn is_ours() -> bool {
    tcgetpgrp(io::stdin().as_fd()).map_or(true, |group| group == getpgrp())
}
