//! PostgreSQL's frontend/backend protocol, version 3.0, as a state machine without IO.
//!
//! Bytes in, events out; verbs in, bytes out (PostgreSQL, "Frontend/Backend Protocol"). Knows
//! nothing of WebSocket clients, of which channels are wanted, or of when to reconnect.

mod auth;
pub mod codec;
mod command;
pub mod config;
pub mod error;
pub mod function;
mod outbox;
pub mod session;
mod text;
