//! Reading a regular file whole, up to a limit.
//!
//! Knows nothing of what is in it.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{Mode, OFlags};

/// Its bytes, and whether anybody on the machine can read it. A pipe could not be read again, and
/// would block: the open file is checked, since the path may lead elsewhere a moment later.
pub(super) fn read(path: &Path, bytes_max: u64) -> io::Result<(Vec<u8>, bool)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let is_readable_by_anybody = metadata.mode() & READABLE_BY_ANYBODY != 0;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("over {bytes_max} bytes long")));
    }
    Ok((bytes, is_readable_by_anybody))
}

/// `o+r` of chmod(1).
const READABLE_BY_ANYBODY: u32 = 0o004;
