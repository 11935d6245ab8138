//! A build without TLS: there is no certificate to be made.

use std::{fmt, time::SystemTime};

pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("--tls: this program was built without TLS (its feature `tls`)")
    }
}

pub(super) fn generate(_now: SystemTime) -> Result<Pair, Absent> {
    Err(Absent)
}
