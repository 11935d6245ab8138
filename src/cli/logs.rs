//! Log lines: to stderr, coloured only for a person who did not ask otherwise.
//!
//! Whoever reads stderr may hang, and strangers may give cause for any number of lines: so a thread
//! writes them, from a [`Queue`] with a bound, and one place of the source writes only so many a
//! second. What is dropped is counted. Nothing of a stranger's ends a line or commands a terminal.

mod queue;
mod rate;

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use alle::internals::escape::{escaped_in_json, escaped_where, is_command};
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
    format: LogFormat,
    is_coloured: bool,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// For a program: a JSON object (RFC 8259) a line.
    Json,
}

impl Logs {
    /// Writes what `filter` lets through from now on, coloured for a terminal where
    /// `is_coloured`.
    pub(crate) fn start(filter: Targets, format: LogFormat, is_coloured: bool) -> io::Result<Self> {
        let is_for_person = format == LogFormat::Text && io::stderr().is_terminal();
        let logs = Self {
            queue: Arc::default(),
            format,
            is_coloured: is_coloured && is_for_person,
        };
        queue::spawn_writer(Arc::clone(&logs.queue))?;
        let filter = filter.and(Rate::new(Arc::clone(&logs.queue)));
        let lines = fmt::layer()
            .with_writer(logs.clone())
            .with_ansi(logs.is_coloured);
        let lines = match format {
            LogFormat::Text => lines.with_filter(filter).boxed(),
            // The text of an event beside its other fields, as log shippers look for it.
            LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
        };
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
        let one_line = match self.0.format {
            // The escapes that are left are our colours.
            LogFormat::Text => {
                let is_coloured = self.0.is_coloured;
                escaped_where(text, |it| {
                    is_command(it) && !(is_coloured && it == '\u{1b}')
                })
            }
            LogFormat::Json => escaped_in_json(text, is_command),
        };
        self.0.queue.push(&one_line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For the last lines of a process.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
