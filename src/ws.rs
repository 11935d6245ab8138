//! The WebSocket protocol (RFC 6455), server side, on bytes somebody else has read.
//!
//! The opening handshake, an incremental frame decoder that holds nothing between
//! complete frames, and the table of close reasons. Knows no JSON, no channel, no socket.

pub mod close;
pub mod decoder;
pub mod encoder;
pub mod handshake;
mod header;
mod partial;

#[cfg(test)]
mod decoder_tests;
#[cfg(test)]
mod handshake_tests;
