//! The directories of PostgreSQL's programs, and the user that runs them.
//!
//! Reads the environment and directories. Runs nothing but `id`.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf, absolute},
    process::Command,
};

use super::SandboxError;

/// The directory of `postgres` and `initdb`: `ALLE_PG_BIN`, else `PATH`, else the newest version
/// where Debian or Homebrew install them.
pub(super) fn find_bin_dir() -> Result<PathBuf, SandboxError> {
    if let Some(path) = env::var_os("ALLE_PG_BIN").filter(|path| !path.is_empty()) {
        // Absolute, for the supervisor works from the root directory.
        let path = absolute(path).map_err(|source| SandboxError::Io {
            attempt: "find the current directory",
            source,
        })?;
        return if is_bin_dir(&path) {
            Ok(path)
        } else {
            Err(SandboxError::WrongBinDir { path })
        };
    }
    path_dirs()
        .filter(|dir| is_bin_dir(dir))
        .map(|dir| link_target_dir(&dir).unwrap_or(dir))
        .chain(
            ["/usr/lib/postgresql"]
                .into_iter()
                .flat_map(|dir| versions(dir, "")),
        )
        .chain(
            HOMEBREW
                .into_iter()
                .flat_map(|dir| versions(dir, "postgresql")),
        )
        .find(|dir| is_bin_dir(dir))
        .ok_or(SandboxError::NotFound)
}

/// A client program: next to the server's, else on `PATH`.
pub(super) fn find_client(name: &str, bin_dir: &Path) -> PathBuf {
    [bin_dir.to_path_buf()]
        .into_iter()
        .chain(path_dirs())
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// Removes the variables that lead PostgreSQL's programs to another server: `PGHOST`, `PGDATA` and
/// so on.
pub(super) fn without_pg_variables(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command
}

/// A user and a group to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The user for the server if we are root, as which PostgreSQL refuses to run; `None` if we are
/// not.
pub(super) fn unprivileged_user() -> Result<Option<User>, SandboxError> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .map_err(|source| SandboxError::Io {
            attempt: "run id",
            source,
        })?;
    if output.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    // A file that is missing or not UTF-8 names no user.
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Ok(Some(postgres_user(&passwd).unwrap_or(NOBODY)))
}

fn postgres_user(passwd: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (uid != 0).then_some(User { uid, gid })
}

fn path_dirs() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A relative entry would mean another directory to the supervisor.
    env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_bin_dir(dir: &Path) -> bool {
    dir.join("postgres").is_file() && dir.join("initdb").is_file()
}

/// The target of a link `postgres` in `dir`: `psql` is there, often without a link of its own.
fn link_target_dir(dir: &Path) -> Option<PathBuf> {
    let target = fs::canonicalize(dir.join("postgres")).ok()?;
    target
        .parent()
        .filter(|dir| is_bin_dir(dir))
        .map(Path::to_path_buf)
}

/// The `bin` of each directory in `parent` whose name begins with `prefix`, newest version first.
fn versions(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| (version(&entry.file_name()), entry.path().join("bin")))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// The numbers in a name: `9.6` is before `15`, `postgresql` before `postgresql@17`.
fn version(name: &OsStr) -> Vec<u32> {
    let name = name.to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

const HOMEBREW: [&str; 2] = ["/opt/homebrew/opt", "/usr/local/opt"];

/// `nobody` where Linux has one; the number needs no entry in `/etc/passwd`.
const NOBODY: User = User {
    uid: 65_534,
    gid: 65_534,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_greater() {
        let version = |name: &str| version(OsStr::new(name));
        assert!(version("9.6") < version("15"));
        assert!(version("postgresql") < version("postgresql@9.6"));
        assert!(version("postgresql@17") > version("postgresql@9.6"));
    }

    #[test]
    fn the_postgres_user_is_found_unless_it_is_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/sh\n";
        assert_eq!(postgres_user(passwd), Some(User { uid: 101, gid: 104 }));
        assert_eq!(postgres_user("postgres:x:0:0::/:/bin/sh"), None);
        assert_eq!(postgres_user("postgres2:x:5:5::/:/bin/sh"), None);
        assert_eq!(postgres_user("postgres:x"), None);
        assert_eq!(postgres_user(""), None);
    }
}
