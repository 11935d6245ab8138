//! What happened, counted, and what there is at this moment, for monitoring.
//!
//! Structs of plain numbers that the core owns; passed by reference, never global. Refuses to know
//! when something counts. All values of labels are known when the crate is compiled: no client can
//! choose one. A new metric is one row of `table.rs`, beside the line that counts it and its test.

mod declare;
mod histogram;
mod process;
mod table;
mod tally;
mod text;

pub use self::{
    histogram::Histogram,
    process::Process,
    table::{Gauges, Metrics},
    tally::Tally,
    text::{Build, CONTENT_TYPE},
};
