//! A file of text that the command line names, read whole.
//!
//! A pipe is taken too, as from `<(command)` of a shell: what it says was for us alone. Knows nothing
//! of what is in it.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Its text, of so many bytes at most, and whether anybody on this machine can read it.
pub(super) fn read(path: &Path, bytes_max: u64) -> io::Result<(String, bool)> {
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("over {bytes_max} bytes long")));
    }
    let is_public = metadata.is_file() && metadata.mode() & READABLE_BY_ANYBODY != 0;
    Ok((text, is_public))
}

/// `o+r` of chmod(1).
const READABLE_BY_ANYBODY: u32 = 0o004;
