//! Frames of a client, in any pieces.
#![no_main]

use bodies::echo::client_bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_bytes(data));
