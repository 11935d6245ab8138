//! Signals: which ones are taken, and what each of them begins.
//!
//! Owns no state: what a shutdown is, the reactor and the hub know.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use mio::Interest;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use signal_hook_mio::v1_0::Signals;

use super::{Reactor, source::Source};

impl Reactor {
    /// SIGINT and SIGTERM stop the bridge after its clients were closed over the time of `drain`; a
    /// second one ends it at once.
    pub(crate) fn handle_signals(&mut self, drain: Duration) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let token = Source::Signals.token();
        self.poll
            .registry()
            .register(&mut signals, token, Interest::READABLE)?;
        self.signals = Some(signals);
        self.drain = drain;
        Ok(())
    }

    /// The second signal ends the process from within its handler: no part that hangs
    /// holds it up. To be called after [`Self::handle_signals`].
    pub(crate) fn exit_at_second_signal(&self) -> io::Result<()> {
        let is_ending = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&is_ending))?;
            flag::register(signal, Arc::clone(&is_ending))?;
        }
        Ok(())
    }

    /// SIGHUP reads the files of tokens and keys again, if there are some; a SIGHUP after our terminal was
    /// closed stops the bridge. Without this call the signal has its default action. To be called
    /// after [`Self::handle_signals`].
    pub(crate) fn handle_reloads(&self) -> io::Result<()> {
        let signals = self.signals.as_ref();
        signals.map_or(Ok(()), |signals| signals.add_signal(SIGHUP))
    }

    pub(super) fn handle_signal(&mut self) {
        let Some(signals) = &mut self.signals else {
            return;
        };
        let (hang_ups, stops): (Vec<_>, Vec<_>) =
            signals.pending().partition(|&signal| signal == SIGHUP);
        // The closing of a terminal may send several: they begin the shutdown and never cut it
        // short.
        let is_over = !hang_ups.is_empty() && self.terminal.has_gone();
        if !hang_ups.is_empty() && !is_over {
            if !std::mem::replace(&mut self.has_told_reload, true) {
                tracing::info!(
                    target: "alle::bridge",
                    "SIGHUP reads files of tokens, keys and certificates: the configuration holds \
                     until the next start"
                );
            }
            let has_files = self.credential_files.is_some() || self.clients.has_tls();
            if !has_files && !self.hub.has_function() {
                tracing::info!(
                    target: "alle::bridge",
                    "SIGHUP: there is no token file to read again"
                );
            }
            // Whoever sent the signal reads the log.
            let _read = self.reread_credentials();
        }
        let is_shutting_down = self.hub.is_shutting_down();
        if !stops.is_empty() || is_over && !is_shutting_down {
            self.aborted = !stops.is_empty() && is_shutting_down || stops.len() > 1;
            self.begin_shutdown(match stops.first() {
                Some(&SIGINT) => "SIGINT",
                Some(_) => "SIGTERM",
                None => "its terminal has gone",
            });
            if self.drain.is_zero() {
                self.hub.stop();
            } else {
                self.hub.drain(self.drain);
            }
        }
    }
}
