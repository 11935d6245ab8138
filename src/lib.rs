//! WebSocket clients on PostgreSQL LISTEN/NOTIFY.

pub mod backlog;
pub mod batch;
pub mod channel;
pub mod fanout;
pub mod frame;
pub mod index;
pub mod message;
pub mod pg;
pub mod ws;

#[doc(hidden)]
pub mod sandbox;
