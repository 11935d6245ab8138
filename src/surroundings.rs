//! What lies around the program, as connection settings want it: variables, files, sockets, users.
//!
//! Blocks as long as a file system does: for the start, and for threads that may. Knows no
//! parameter and no format.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::{
        ffi::OsStringExt,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::Path,
};

use crate::pg::config::{Config, ConfigError, ConnectionString, File, FileError, Surroundings};

/// What `connection_string` means here and now.
pub(crate) fn resolve(connection_string: &ConnectionString) -> Result<Config, ConfigError> {
    connection_string.resolve(Surroundings {
        variable: &|name| std::env::var_os(name).map(OsStringExt::into_vec),
        file: &read_file,
        socket_owner: &socket_owner,
        user_id: rustix::process::geteuid().as_raw(),
    })
}

/// A file of settings or passwords. A directory, a pipe or a device is none, and is not opened: a
/// pipe may never answer.
fn read_file(path: &Path) -> Result<File, FileError> {
    let metadata = fs::metadata(path).map_err(file_error)?;
    if !metadata.is_file() {
        return Err(FileError::Unusable("is not a plain file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(file_error)?;
    let mut file = file.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(file_error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = format!("is larger than {FILE_BYTES_MAX} bytes");
        return Err(FileError::Unusable(why));
    }
    Ok(File {
        bytes,
        is_private: metadata.mode() & 0o077 == 0,
    })
}

fn file_error(error: io::Error) -> FileError {
    if matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) {
        return FileError::Missing;
    }
    FileError::Unusable(format!("cannot be read: {error}"))
}

fn socket_owner(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok()?;
    let is_socket = metadata.file_type().is_socket();
    is_socket.then(|| metadata.uid())
}

/// More than any file of settings has: one that is larger is another file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::{env, fs, os::unix::fs::PermissionsExt as _, process};

    use super::*;

    #[test]
    fn what_is_no_plain_file_or_too_large_is_not_read() {
        let directory = env::temp_dir().join(format!("alle-surroundings-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("file");
        assert_eq!(read_file(&path).unwrap_err(), FileError::Missing);
        assert_eq!(
            read_file(&path.join("below")).unwrap_err(),
            FileError::Missing
        );
        let why = "is not a plain file".to_owned();
        assert_eq!(read_file(&directory).unwrap_err(), FileError::Unusable(why));
        for (bytes, is_read) in [
            (FILE_BYTES_MAX - 1, true),
            (FILE_BYTES_MAX, true),
            (FILE_BYTES_MAX + 1, false),
        ] {
            fs::File::create(&path).unwrap().set_len(bytes).unwrap();
            assert_eq!(read_file(&path).is_ok(), is_read, "{bytes}");
        }
        for (mode, is_private) in [(0o600, true), (0o640, false), (0o604, false)] {
            fs::write(&path, b"\xff").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = read_file(&path).unwrap();
            assert_eq!(
                (&file.bytes[..], file.is_private),
                (&b"\xff"[..], is_private)
            );
        }
        assert_eq!(socket_owner(&path), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
