//! A sequence of events, against the whole core.
#![no_main]

use bodies::bridge::bridge_ops;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_ops(data));
