//! What a backend may send, against a session.
#![no_main]

use bodies::pg::backend_bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| backend_bytes(data));
