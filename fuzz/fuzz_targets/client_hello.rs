//! TLS towards clients: any bytes in any pieces, and a real client on a network that cuts and forges.
#![no_main]

use bodies::tls::client_hello;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_hello(data));
