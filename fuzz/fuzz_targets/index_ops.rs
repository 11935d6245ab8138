//! Operations on the index, against its model.
#![no_main]

use bodies::index::index_ops;

libfuzzer_sys::fuzz_target!(|data: &[u8]| index_ops(data));
