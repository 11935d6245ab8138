//! The keys of tickets, by which a client of TLS comes again without a full handshake: one service has
//! the same in all of its processes.
//!
//! Owns their rotation. Knows no TLS, and not what a ticket has in it.

use std::{
    fmt, mem,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// The bytes of a key.
pub(crate) type Key = [u8; 32];

/// The keys of one moment.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TicketKeys {
    /// Makes no tickets yet: a process that has it already opens those of one that was told sooner that
    /// it is the current one.
    next: Key,
    current: Key,
    last: Key,
}

impl TicketKeys {
    /// Random ones; `random` makes a key.
    ///
    /// # Errors
    ///
    /// That of `random`.
    pub(crate) fn new<Error>(random: impl Fn() -> Result<Key, Error>) -> Result<Self, Error> {
        Ok(Self {
            next: random()?,
            current: random()?,
            last: random()?,
        })
    }

    /// Those that were sent as [`Self::all`].
    pub(crate) fn received([next, current, last]: [Key; 3]) -> Self {
        Self {
            next,
            current,
            last,
        }
    }

    /// Each key takes the place of the one before it.
    pub(crate) fn rotate(&mut self, next: Key) {
        self.last = mem::replace(&mut self.current, mem::replace(&mut self.next, next));
    }

    /// The key of new tickets.
    #[cfg(feature = "tls")]
    pub(crate) fn current(&self) -> &Key {
        &self.current
    }

    /// The keys of tickets that count: the next one, the current one, the last one.
    pub(crate) fn all(&self) -> [&Key; 3] {
        [&self.next, &self.current, &self.last]
    }
}

/// Without the keys.
impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

/// The keys of this process: whoever rotates them sets others.
#[derive(Clone, Debug)]
pub(crate) struct SharedTicketKeys(Arc<RwLock<TicketKeys>>);

impl SharedTicketKeys {
    pub(crate) fn new(keys: TicketKeys) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    pub(crate) fn set(&self, keys: TicketKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    #[cfg(feature = "tls")]
    pub(crate) fn now(&self) -> TicketKeys {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A key makes tickets for so long, and opens them for as long again.
pub(crate) const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);
