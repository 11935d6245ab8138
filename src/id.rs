//! The names of a client and of a moment, as the core uses them.

/// Milliseconds since the start; wraps after 49 days, so only differences mean something.
pub(crate) type Tick = u32;

/// A client, for as long as it lives: a slot used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// Its place in every table of clients.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u16,
}
