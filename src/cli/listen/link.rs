//! The connection of a listener over time: being opened, up, or down until the next attempt.
//!
//! Spreads the attempts of many clients at random. Knows no message.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: opening a connection blocks, so a thread does it"
)]

use std::{
    thread,
    time::{Duration, Instant},
};

use alle::internals::{access::secret::Secret, backoff::Backoff};

use super::inbox::{Arrival, Inbox};
use crate::cli::connection::{self, Up, WsUrl};

/// The state of the connection.
pub(super) enum Link {
    /// A thread opens it.
    Opening,
    /// Open, not blocking, registered.
    Up(Box<Up>),
    /// Tried again at `retry_at`.
    Down { retry_at: Instant },
}

/// Opens a connection on a thread of its own; the outcome arrives in `inbox`.
pub(super) fn open(url: &WsUrl, token: Option<&Secret>, inbox: &Inbox) {
    let (url, token, inbox) = (url.clone(), token.cloned(), inbox.clone());
    thread::spawn(move || {
        let opened = connection::open(&url, token.as_ref(), OPEN_TIMEOUT).map(Box::new);
        inbox.send(Arrival::Opened(opened));
    });
}

/// How long to wait before what the bridge did not grant is tried again.
pub(super) fn delay(attempt: u32) -> Duration {
    BACKOFF.delay(attempt, getrandom::u64().unwrap_or(u64::MAX))
}

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The waits between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), BACKOFF_MAX).with_full_jitter();
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// After so long a connection the next attempt is immediate.
pub(super) const STABLE_AFTER: Duration = BACKOFF_MAX;
