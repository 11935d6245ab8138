//! The files of keys for JWTs: one key, and a set of them.
//!
//! Owns the limit on their size and the check of their permissions. Knows no format.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    access::jwt::{KeyFault, Keys},
    regular_file::{self, READABLE_BY_ANYBODY},
};

/// The paths of the keys; at least one of them is there.
#[derive(Debug)]
pub(super) struct KeyFiles {
    key: Option<PathBuf>,
    set: Option<PathBuf>,
    /// The warning that anybody can read a secret was logged.
    complained: bool,
}

impl KeyFiles {
    /// None, where there is no path.
    pub(super) fn new(key: Option<PathBuf>, set: Option<PathBuf>) -> Option<Self> {
        let is_some = key.is_some() || set.is_some();
        is_some.then_some(Self {
            key,
            set,
            complained: false,
        })
    }

    /// Reads the present keys.
    pub(super) fn read(&mut self) -> Result<Keys, KeyFileError> {
        let mut keys = Keys::default();
        let files = [&self.key, &self.set];
        for (path, is_set) in files.into_iter().zip([false, true]) {
            let Some(path) = path else {
                continue;
            };
            let had_secret = keys.has_secret();
            let is_open = add(path, is_set, &mut keys).map_err(|cause| KeyFileError {
                path: path.clone(),
                cause,
            })?;
            if is_open && keys.has_secret() && !had_secret && !self.complained {
                self.complained = true;
                let path = path.display();
                tracing::warn!(
                    target: "alle::bridge",
                    "anybody on this machine can read {path}, and sign tokens: chmod o-r {path}"
                );
            }
        }
        Ok(keys)
    }
}

/// Whether anybody on the machine can read the file.
fn add(path: &Path, is_set: bool, keys: &mut Keys) -> Result<bool, KeyFileCause> {
    let (bytes, mode) = regular_file::read(path, BYTES_MAX).map_err(KeyFileCause::Io)?;
    let is_open = mode & READABLE_BY_ANYBODY != 0;
    if !is_set {
        keys.add_key(&bytes).map_err(KeyFileCause::Key)?;
        return Ok(is_open);
    }
    let passed_over = keys.add_set(&bytes).map_err(KeyFileCause::Key)?;
    if passed_over > 0 {
        let path = path.display();
        tracing::warn!(
            target: "alle::bridge",
            "{passed_over} of the keys in {path} are passed over: they are not for signatures by \
             HS256, RS256, PS256, ES256 or EdDSA"
        );
    }
    Ok(is_open)
}

/// Why the keys of a file could not be read.
#[derive(Debug)]
pub struct KeyFileError {
    path: PathBuf,
    cause: KeyFileCause,
}

#[derive(Debug)]
enum KeyFileCause {
    Io(io::Error),
    Key(KeyFault),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key file {}: ", self.path.display())?;
        match &self.cause {
            KeyFileCause::Io(error) => error.fmt(f),
            KeyFileCause::Key(fault) => fault.fmt(f),
        }
    }
}

impl Error for KeyFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            KeyFileCause::Io(error) => Some(error),
            KeyFileCause::Key(fault) => Some(fault),
        }
    }
}

/// A hundred RSA keys of 8,192 bits, with their certificates beside them.
const BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &[u8]) -> Result<Keys, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let files = KeyFiles::new(Some(file.path().to_owned()), None);
        files.unwrap().read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_at_most_1_mib_and_is_a_file() {
        let bytes_max = usize::try_from(BYTES_MAX).unwrap();
        for (bytes, is_read) in [
            (31, false),
            (32, true),
            (bytes_max - 1, true),
            (bytes_max, true),
            (bytes_max + 1, false),
        ] {
            assert_eq!(read(&vec![b'x'; bytes]).is_ok(), is_read, "{bytes}");
        }
        let mut files = KeyFiles::new(None, Some("/dev/null".into())).unwrap();
        let error = files.read().unwrap_err().to_string();
        assert_eq!(error, "key file /dev/null: not a regular file");
        assert!(KeyFiles::new(None, None).is_none());
    }

    #[test]
    fn a_fault_is_told_with_the_path_and_without_the_key() {
        let error = read(b"s3cret").unwrap_err();
        assert!(
            error.starts_with("key file /") && error.contains("32 bytes"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}
