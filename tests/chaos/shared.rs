//! The base of chaos and the soak: a crowd and its ledger, and parts of other tests.

#[path = "audit.rs"]
pub mod audit;
#[path = "../contract/client.rs"]
#[expect(dead_code, reason = "the contract's tests need it")]
pub mod client;
#[path = "crowd.rs"]
pub mod crowd;
#[path = "../contract/harness.rs"]
#[expect(dead_code, reason = "the contract's tests need the rest")]
pub mod harness;
#[path = "../../benches/end_to_end/histogram.rs"]
#[allow(dead_code, reason = "the benchmark and the soak read it")]
pub mod histogram;
#[path = "ledger.rs"]
#[allow(dead_code, reason = "the soak reads times")]
pub mod ledger;
#[path = "../support/patient.rs"]
pub mod patient;
#[path = "../support/program.rs"]
#[expect(dead_code, reason = "the other tests of the program need the rest")]
pub mod program;
#[path = "../simulation/random.rs"]
#[expect(dead_code, reason = "the simulation needs the rest")]
pub mod random;
#[path = "../contract/raw.rs"]
#[expect(dead_code, reason = "the contract's tests need the rest")]
pub mod raw;
#[path = "../support/schema.rs"]
#[expect(dead_code, reason = "the contract's tests need the rest")]
pub mod schema;
#[path = "../contract/sql.rs"]
#[expect(dead_code, reason = "the contract's tests need the rest")]
pub mod sql;
#[path = "sql_publisher.rs"]
#[expect(dead_code, reason = "chaos has bursts, the soak other rhythms")]
pub mod sql_publisher;
