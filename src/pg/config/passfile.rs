//! The password file: who needs which password where (PostgreSQL, "The Password File").
//!
//! Knows its lines, which are bytes; where it is looked for is decided above.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    password::Password,
    server::{Host, Server},
    surroundings::{Around, FileError},
    warning::Warning,
};

/// Lines of `host:port:database:user:password`.
pub(super) struct PasswordFile {
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
}

impl PasswordFile {
    /// The file that was `named`, else that of the home directory; unless it is missing, or others
    /// can read it: then it is left alone, with a warning.
    pub(super) fn open(named: Option<PathBuf>, around: &mut Around<'_>) -> Option<Self> {
        let is_named = named.is_some();
        let path = named.or_else(|| around.in_home(".pgpass"))?;
        let warning = match around.file(&path) {
            Ok(file) if file.is_private => {
                let bytes = file.bytes;
                return Some(Self { path, bytes });
            }
            Ok(_) => Warning::PasswordFileOpen { path },
            Err(FileError::Missing) if !is_named => return None,
            Err(FileError::Missing) => Warning::PasswordFileMissing { path },
            Err(FileError::Unusable(why)) => {
                let file = "password file";
                Warning::FileUnusable { file, path, why }
            }
        };
        around.warn(warning);
        None
    }

    /// The password of the first line that fits.
    pub(super) fn find(&self, server: &Server, database: &str, user: &str) -> Option<Password> {
        let port = server.port.to_string();
        let host = match (&server.host, &server.address) {
            (Host::Tcp(host), Some(address)) if host.is_empty() => address.to_string().into_bytes(),
            (Host::Tcp(host), _) => host.clone().into_bytes(),
            // The socket's usual directory goes by this name.
            (Host::Unix(path), _) if path == Path::new("/tmp") || path == Path::new(RUN) => {
                b"localhost".to_vec()
            }
            (Host::Unix(path), _) => path.as_os_str().as_bytes().to_vec(),
        };
        let wanted = [
            &host[..],
            port.as_bytes(),
            database.as_bytes(),
            user.as_bytes(),
        ];
        let lines = self.bytes.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !line.starts_with(b"#"));
        let mut found = lines.filter_map(|line| password_of(without_return(line), wanted));
        let found = found.next();
        found.filter(|text| !text.is_empty()).map(Password::new)
    }
}

fn without_return(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_suffix(b"\r") {
        line = rest;
    }
    line
}

/// What stands behind the four fields, if all of them fit.
fn password_of(line: &[u8], wanted: [&[u8]; 4]) -> Option<Vec<u8>> {
    let mut rest = line;
    for wanted in wanted {
        // An escaped asterisk is an asterisk.
        let is_any = rest.starts_with(b"*:");
        let (field, behind) = field(rest);
        rest = behind?;
        if !is_any && field != wanted {
            return None;
        }
    }
    Some(field(rest).0)
}

/// Up to the next colon, and what follows it; a backslash takes the next byte as it is.
fn field(text: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut field = Vec::new();
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' => field.extend(rest.next()),
            b':' => return (field, Some(rest.as_slice())),
            _ => field.push(byte),
        }
    }
    (field, None)
}

const RUN: &str = "/var/run/postgresql";
