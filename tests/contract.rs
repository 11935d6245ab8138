//! The contract as a stranger meets it: the real program between real sockets and a real PostgreSQL.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests are a shell: they open sockets and wait, with a time-out, for what they expect"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "contract/client.rs"]
mod client;
#[path = "contract/harness.rs"]
mod harness;
#[path = "contract/listening.rs"]
mod listening;
#[path = "support/program.rs"]
#[expect(dead_code, reason = "the other test of the program needs the rest")]
mod program;
#[path = "contract/protocol.rs"]
mod protocol;
#[path = "contract/raw.rs"]
mod raw;
#[path = "contract/semantics.rs"]
mod semantics;
#[path = "contract/sql.rs"]
mod sql;
