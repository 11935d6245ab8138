//! The HTTP requests of a client, one behind the other.
#![no_main]

use bodies::http::request_stream;

libfuzzer_sys::fuzz_target!(|data: &[u8]| request_stream(data));
