//! How far a stream of lines has come: a bar for a person at stderr, a sentence at the end.
//!
//! Refuses to know what the lines are.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::fs::{FileType, fstat};

use super::account::Account;
use crate::cli::output::Output;

/// What was read and when it began.
pub(super) struct Progress {
    began: Instant,
    shown_at: Instant,
    /// Whether a person sees it.
    is_shown: bool,
    read_bytes: u64,
    /// Where stdin is a file.
    whole_bytes: Option<u64>,
}

impl Progress {
    /// Nothing was read yet.
    pub(super) fn new(output: &Output, now: Instant) -> Self {
        let file = fstat(io::stdin())
            .ok()
            .filter(|it| FileType::from_raw_mode(it.st_mode) == FileType::RegularFile);
        Self {
            began: now,
            shown_at: now,
            is_shown: output.stderr_is_terminal() && !output.look().is_dumb,
            read_bytes: 0,
            whole_bytes: file.and_then(|it| it.st_size.try_into().ok()),
        }
    }

    pub(super) fn read(&mut self, bytes: u64) {
        self.read_bytes += bytes;
    }

    /// When it is to be drawn again.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.is_shown
            .then(|| (self.shown_at + SHOW_INTERVAL).max(now))
    }

    /// Draws it, if it is time.
    pub(super) fn show(&mut self, account: &Account, now: Instant) {
        if !self.is_shown || now < self.shown_at + SHOW_INTERVAL {
            return;
        }
        self.shown_at = now;
        let took = now.saturating_duration_since(self.began);
        let bar = self.whole_bytes.map(|whole| bar(self.read_bytes, whole));
        let line = format!(
            "\r\x1b[K{}{} sent, {} a second",
            bar.unwrap_or_default(),
            account.sent(),
            rate(account.sent(), took)
        );
        Output::draw(&line);
    }

    /// Takes it from the screen.
    pub(super) fn finish(&mut self) {
        if self.is_shown {
            Output::draw("\r\x1b[K");
        }
        self.is_shown = false;
    }
}

/// What was achieved.
pub(super) fn summary(sent: u64, took: Duration) -> String {
    let things = if sent == 1 {
        "notification"
    } else {
        "notifications"
    };
    let rate = rate(sent, took);
    format!(
        "✓ {sent} {things} sent in {:.1} s ({rate} a second)",
        took.as_secs_f64()
    )
}

fn rate(sent: u64, took: Duration) -> u128 {
    u128::from(sent) * 1_000 / took.as_millis().max(1)
}

/// A bar of 20 letters and the hundredths.
fn bar(done: u64, whole: u64) -> String {
    let hundredths = (done.min(whole) * 100).checked_div(whole).unwrap_or(100);
    let full = usize::try_from(hundredths / 5).unwrap_or(0);
    format!(
        "[{}{}] {hundredths:3} %  ",
        "#".repeat(full),
        "-".repeat(20 - full)
    )
}

/// How often the progress is drawn.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_goes_from_nothing_to_the_whole() {
        for (done, whole, expected) in [
            (0, 10, "[--------------------]   0 %  "),
            (5, 10, "[##########----------]  50 %  "),
            (10, 10, "[####################] 100 %  "),
            (11, 10, "[####################] 100 %  "),
            (0, 0, "[####################] 100 %  "),
        ] {
            assert_eq!(bar(done, whole), expected);
        }
    }

    #[test]
    fn the_summary_has_the_rate() {
        let summary = |sent, millis| summary(sent, Duration::from_millis(millis));
        assert_eq!(
            summary(1_500, 500),
            "✓ 1500 notifications sent in 0.5 s (3000 a second)"
        );
        assert_eq!(
            summary(1, 0),
            "✓ 1 notification sent in 0.0 s (1000 a second)"
        );
    }
}
