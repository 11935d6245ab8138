//! What a proxy says of its client, and what a stranger says of itself.
#![no_main]

use bodies::http::proxy_words;

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy_words(data));
