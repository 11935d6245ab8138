//! Log lines: to stderr, coloured only for a person who did not ask otherwise.
//!
//! Whoever reads stderr may hang, and strangers may give cause for any number of lines: so a thread
//! writes them, from a [`Queue`] with a bound, and one place of the source writes only so many a
//! second. What is dropped is counted. Nothing of a stranger's ends a line or commands a terminal.

mod queue;
mod rate;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use alle::internals::escape::{escaped_where, is_command};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
};

use self::{queue::Queue, rate::Rate};

/// The log of this process.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    queue: Arc<Queue>,
    is_coloured: bool,
}

impl Logs {
    /// Writes what `filter` lets through from now on; `no_color` as in <https://no-color.org>.
    pub(crate) fn start(filter: Targets, no_color: Option<OsString>) -> io::Result<Self> {
        let logs = Self {
            queue: Arc::default(),
            is_coloured: io::stderr().is_terminal() && no_color.is_none_or(|it| it.is_empty()),
        };
        queue::spawn_writer(Arc::clone(&logs.queue))?;
        let lines = fmt::layer()
            .with_writer(logs.clone())
            .with_ansi(logs.is_coloured)
            .with_filter(filter.and(Rate::new(Arc::clone(&logs.queue))));
        // Fails only where a subscriber exists already; there is none, this runs first and once.
        let _ = tracing::subscriber::set_global_default(registry().with(lines));
        Ok(logs)
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.queue.dropped)
    }

    /// Waits until all lines are written, or stderr takes none; whether they are.
    pub(crate) fn flush(&self) -> bool {
        self.queue.flush(FLUSH_TIMEOUT)
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line.
pub(crate) struct Line<'a>(&'a Logs);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // The escapes that are left are our colours.
        let is_coloured = self.0.is_coloured;
        let one_line = escaped_where(text, |it| {
            is_command(it) && !(is_coloured && it == '\u{1b}')
        });
        self.0.queue.push(&one_line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For the last lines of a process.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
