//! Lines on their way to stderr: bounded, so that a reader who hangs costs lines and nothing else.
//!
//! Knows neither where a line comes from nor how it looks.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: it reads the clock"
)]

use std::{
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, poll};

/// Lines that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// A line waits, or was dropped.
    changed: Condvar,
    /// All lines are written.
    emptied: Condvar,
    /// Lines that nobody will see.
    pub(super) dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines, at most [`BYTES_MAX`].
    bytes: Vec<u8>,
    /// Taken out, and not written yet.
    is_writing: bool,
    /// Dropped, and not told yet.
    untold: u64,
}

impl Queue {
    /// Takes a line, or drops it where there is no room.
    pub(super) fn push(&self, line: &str) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() < BYTES_MAX {
            waiting.bytes.extend_from_slice(line.as_bytes());
            waiting.bytes.push(b'\n');
            self.changed.notify_one();
        } else {
            self.count_dropped(&mut waiting, 1);
        }
    }

    /// A line is dropped before it came here.
    pub(super) fn note_dropped(&self) {
        self.count_dropped(&mut self.lock(), 1);
    }

    /// Waits until there is nothing to write, for so long at most; whether there is nothing.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let is_behind = |it: &mut Waiting| it.is_writing || !it.bytes.is_empty();
        let emptied = &self.emptied;
        let waited = emptied.wait_timeout_while(self.lock(), timeout, is_behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits for lines and takes them, or none where dropped ones are to be told, not before
    /// `tell_at`.
    fn take(&self, tell_at: Instant) -> Vec<u8> {
        let mut waiting = self.lock();
        loop {
            let left = tell_at.saturating_duration_since(Instant::now());
            if !waiting.bytes.is_empty() || waiting.untold > 0 && left.is_zero() {
                waiting.is_writing = true;
                return std::mem::take(&mut waiting.bytes);
            }
            self.emptied.notify_all();
            waiting = if waiting.untold > 0 {
                let changed = self.changed.wait_timeout(waiting, left);
                changed.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let changed = self.changed.wait(waiting);
                changed.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// What was taken is written, but for so many lines.
    fn finish(&self, lost: u64) {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.count_dropped(&mut waiting, lost);
    }

    /// How many dropped lines are to be told now.
    fn take_untold(&self) -> u64 {
        std::mem::take(&mut self.lock().untold)
    }

    fn count_dropped(&self, waiting: &mut Waiting, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        waiting.untold += lines;
        if lines > 0 {
            self.changed.notify_one();
        }
    }

    /// Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that writes the lines of `queue` to stderr, for as long as the process runs.
pub(super) fn spawn_writer(queue: Arc<Queue>) -> io::Result<()> {
    let writer = thread::Builder::new().name("log".to_owned());
    writer
        .spawn(move || write(&queue, &mut io::stderr()))
        .map(drop)
}

fn write(queue: &Queue, stderr: &mut (impl Write + AsFd)) {
    let mut tell_at = Instant::now();
    loop {
        let bytes = queue.take(tell_at);
        let lost = write_all(stderr, &bytes);
        queue.finish(lost);
        let now = Instant::now();
        if lost == 0 && now >= tell_at {
            let untold = queue.take_untold();
            if untold > 0 {
                tell_at = now + TELL_INTERVAL;
                tracing::warn!(
                    target: "alle::bridge",
                    "{untold} lines of this log were dropped: more came than one cause may write \
                     in a second, or than stderr took"
                );
            }
        }
    }
}

/// Writes `bytes`, for as long as it takes; how many lines are lost where it fails.
fn write_all(stderr: &mut (impl Write + AsFd), mut bytes: &[u8]) -> u64 {
    while !bytes.is_empty() {
        match stderr.write(bytes) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares the terminal or the pipe made it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut writable = [PollFd::new(stderr, PollFlags::OUT)];
                let _ = poll(&mut writable, None);
            }
            Ok(_) | Err(_) => {
                let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
                return u64::try_from(lines).unwrap_or(u64::MAX);
            }
        }
    }
    0
}

/// What waits: some 5,000 lines.
const BYTES_MAX: usize = 1024 * 1024;
/// Dropped lines are told at most once in this time.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_a_mebibyte_and_counts_what_it_drops() {
        let line = "x".repeat(1_023);
        let queue = Queue::default();
        for _ in 0..BYTES_MAX / 1_024 {
            queue.push(&line);
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 0);
        queue.push("");
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
        assert!(!queue.flush(Duration::ZERO));
        assert_eq!(queue.take(Instant::now()).len(), BYTES_MAX);
        assert!(!queue.flush(Duration::ZERO), "they are not written yet");
        queue.finish(3);
        assert!(queue.flush(Duration::ZERO));
        assert_eq!(queue.take_untold(), 4);
        queue.push("");
        assert_eq!(queue.take(Instant::now()), b"\n");
    }

    #[test]
    fn what_cannot_be_written_costs_its_lines() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(write_all(file.as_file_mut(), b"a\nb\n"), 0);
        let mut unwritable = std::fs::File::open(file.path()).unwrap();
        assert_eq!(write_all(&mut unwritable, b"a\nb\n"), 2);
    }
}
