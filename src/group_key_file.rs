//! The file of a group's secret on disk, read once, at the start.
//!
//! Owns the check of its permissions and of its length. Refuses to know what the secret is for.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{hub::group::GroupKey, regular_file};

/// Reads the secret; white space at its end is none of it.
pub(crate) fn read(path: &Path) -> Result<GroupKey, GroupKeyError> {
    let failed = |cause| GroupKeyError {
        path: path.to_owned(),
        cause,
    };
    let (bytes, mode) =
        regular_file::read(path, BYTES_MAX).map_err(|error| failed(Cause::Io(error)))?;
    if mode & OTHERS != 0 {
        return Err(failed(Cause::Mode(mode & 0o777)));
    }
    let bytes = bytes.trim_ascii_end();
    GroupKey::new(bytes).ok_or_else(|| failed(Cause::Short(bytes.len())))
}

/// Why the secret of a group could not be read.
#[derive(Debug)]
pub struct GroupKeyError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Mode(u32),
    Short(usize),
}

impl fmt::Display for GroupKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "group key file {path}: ")?;
        match self.cause {
            Cause::Io(ref error) => error.fmt(f),
            Cause::Mode(mode) => write!(
                f,
                "others than its owner may use it (mode {mode:04o}): chmod 600 {path}"
            ),
            Cause::Short(bytes) => write!(
                f,
                "has {bytes} bytes, a key has {} or more (`openssl rand -base64 32` makes one)",
                GroupKey::BYTES_MIN
            ),
        }
    }
}

impl Error for GroupKeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::Mode(_) | Cause::Short(_) => None,
        }
    }
}

/// The group of the file and everybody.
const OTHERS: u32 = 0o077;
const BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn written(bytes: &[u8], mode: u32) -> Result<GroupKey, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_long_and_its_owners_alone() {
        assert!(written(&[b'x'; 32], 0o600).is_ok());
        assert!(written(&[b'x'; 40], 0o400).is_ok());
        for mode in [0o604, 0o640, 0o660] {
            let error = written(&[b'x'; 32], mode).unwrap_err();
            assert!(error.contains("chmod 600"), "{error}");
        }
        let error = written(&[&[b'x'; 31][..], b"\n\n"].concat(), 0o600).unwrap_err();
        assert!(error.contains("has 31 bytes"), "{error}");
        let error = written(&[b'x'; 64 * 1024 + 1], 0o600).unwrap_err();
        assert!(error.contains("over 65536 bytes"), "{error}");
    }

    #[test]
    fn a_directory_is_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
