//! Which bytes each client is owed: links between channels and clients, encoded frames, passes over
//! the subscribers, and what is kept for a client that falls behind or comes back.

pub mod backlog;
pub mod batch;
pub mod fanout;
pub mod history;
pub mod index;
