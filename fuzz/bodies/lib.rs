//! What the fuzzers assert. A library to cargo-fuzz, a module to `tests/corpora.rs`: so it always
//! compiles, and every input ever found is replayed by `cargo test`.

#![allow(
    unreachable_pub,
    reason = "a module of a test, where nothing is reachable"
)]

pub mod bridge;
pub mod dsn;
pub mod echo;
pub mod index;
pub mod message;
pub mod pg;
pub mod wire;
pub mod ws;
