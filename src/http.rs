//! HTTP/1.1 (RFC 9110, RFC 9112), server side, on bytes somebody else has read: heads and bodies in,
//! responses out.
//!
//! Knows no path, no permission, no channel and no socket.

pub mod body;
pub mod fields;
pub mod forwarded;
pub mod percent;
pub mod proxy_protocol;
pub mod reader;
pub mod request;
pub mod response;

#[cfg(test)]
mod request_tests;
