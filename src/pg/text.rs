//! The protocol's `String` (PostgreSQL, "Message Data Types"): bytes up to a NUL, in any encoding.
//!
//! Knows no message. How much of a text is kept is its reader's to say.

use std::{ffi::CStr, str::FromStr};

/// The text at the start, and what stands behind its NUL.
pub(super) fn text_until_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = CStr::from_bytes_until_nul(bytes).ok()?.to_bytes();
    Some((text, &bytes[text.len() + 1..]))
}

/// The value that a text stands for, as columns have it.
pub(super) fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
