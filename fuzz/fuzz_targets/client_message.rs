//! A text message of a client.
#![no_main]

use bodies::message::client_message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_message(data));
