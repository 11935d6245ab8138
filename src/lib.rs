//! WebSocket clients on PostgreSQL LISTEN/NOTIFY.

pub mod channel;
pub mod pg;
pub mod ws;

#[doc(hidden)]
pub mod sandbox;
