//! Server-Sent Events (HTML, 9.2), the server's side: finished events, and the ids in them.
//!
//! Knows no channel, no HTTP and no socket.

pub mod encoder;
pub mod event_id;
