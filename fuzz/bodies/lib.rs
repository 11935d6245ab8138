//! The assertions of the fuzzers. A library to cargo-fuzz, a module to `tests/corpora.rs`: so it
//! always compiles, and `cargo test` replays every input ever found.

#![allow(
    unreachable_pub,
    reason = "a module of a test, where nothing is reachable"
)]

pub mod bridge;
pub mod dsn;
pub mod echo;
pub mod http;
pub mod index;
pub mod message;
pub mod pg;
#[cfg(feature = "tls")]
pub mod tls;
pub mod wire;
pub mod ws;
