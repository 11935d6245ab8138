//! The HTTP head of a client.
#![no_main]

use bodies::http::request_head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| request_head(data));
