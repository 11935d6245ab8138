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

/// Its bytes and its permissions. A pipe could not be read again, and
/// would block: the open file is checked, since the path may lead elsewhere a moment later.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<(Vec<u8>, u32)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("over {bytes_max} bytes long")));
    }
    Ok((bytes, metadata.mode()))
}

/// `o+r` of chmod(1).
pub(crate) const READABLE_BY_ANYBODY: u32 = 0o004;
