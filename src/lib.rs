//! WebSocket clients on PostgreSQL LISTEN/NOTIFY.

pub mod backlog;
pub mod batch;
pub mod bridge;
pub mod channel;
pub mod config;
pub mod fanout;
pub mod frame;
pub mod index;
pub mod message;
pub mod metrics;
pub mod pg;
pub mod ws;

#[doc(hidden)]
pub mod sandbox;
