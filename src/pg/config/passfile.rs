//! The password file: who needs which password where (PostgreSQL, "The Password File").
//!
//! Knows its lines; where it is looked for is decided above.

use std::path::Path;

use super::{Host, Password, Server, Surroundings};

/// Lines of `host:port:database:user:password`.
pub(super) struct PasswordFile(String);

impl PasswordFile {
    /// The file, unless it is missing or others can read it: then it is left alone, with a warning.
    pub(super) fn open(path: &Path, around: Surroundings<'_>) -> Option<Self> {
        let file = (around.file)(path)?;
        if file.is_private {
            return Some(Self(file.text));
        }
        tracing::warn!(
            "password file {} is not used: others may read it (chmod 0600)",
            path.display()
        );
        None
    }

    /// The password of the first line that fits.
    pub(super) fn find(&self, server: &Server, database: &str, user: &str) -> Option<Password> {
        let port = server.port.to_string();
        let host = match (&server.host, server.address) {
            (Host::Tcp(host), Some(address)) if host.is_empty() => address.to_string(),
            (Host::Tcp(host), _) => host.clone(),
            // The socket's usual directory goes by this name.
            (Host::Unix(path), _) if path == Path::new("/tmp") || path == Path::new(RUN) => {
                "localhost".to_owned()
            }
            (Host::Unix(path), _) => path.to_str()?.to_owned(),
        };
        let wanted = [host.as_str(), &port, database, user];
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let mut found = lines.filter_map(|line| password_of(line.trim_end_matches('\r'), wanted));
        found
            .next()
            .filter(|text| !text.is_empty())
            .map(Password::new)
    }
}

/// What stands behind the four fields, if all of them fit.
fn password_of(line: &str, wanted: [&str; 4]) -> Option<String> {
    let mut rest = line;
    for wanted in wanted {
        // An escaped asterisk is an asterisk.
        let is_any = rest.starts_with("*:");
        let (field, behind) = field(rest);
        rest = behind?;
        if !is_any && field != wanted {
            return None;
        }
    }
    Some(field(rest).0)
}

/// Up to the next colon, and what follows it; a backslash takes the next character as it is.
fn field(text: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => field.extend(rest.next()),
            ':' => return (field, Some(rest.as_str())),
            _ => field.push(c),
        }
    }
    (field, None)
}

const RUN: &str = "/var/run/postgresql";
