//! A connection string and what lies around it.
#![no_main]

use bodies::dsn::pg_url;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pg_url(data));
