//! Why an operation of a sandbox failed.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

/// Why an operation of a sandbox failed.
#[derive(Debug)]
pub enum SandboxError {
    /// No directory known to us holds `postgres` and `initdb`.
    NotFound,
    /// `ALLE_PG_BIN` names a directory without `postgres` and `initdb`.
    WrongBinDir {
        /// The value of the variable.
        path: PathBuf,
    },
    /// A program could not be run, or a file not be read.
    Io {
        /// The attempt: "run psql".
        attempt: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// No directory could be made where temporary files go.
    NoDirectory {
        /// The directories tried.
        tried: Vec<PathBuf>,
    },
    /// `initdb` failed.
    Initialize {
        /// Its output.
        output: String,
    },
    /// The server ended before it was ready.
    Start {
        /// Its log since the start.
        log: String,
    },
    /// `psql` failed.
    Psql {
        /// Its output to stderr.
        output: String,
    },
    /// The shell that supervises the server is gone, or gave an unexpected answer.
    Supervisor,
    /// A step took too long.
    TimedOut {
        /// The step: "initdb".
        what: &'static str,
        /// The time it was given.
        timeout: Duration,
    },
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str(INSTALL),
            Self::WrongBinDir { path } => {
                write!(
                    f,
                    "ALLE_PG_BIN: no postgres and initdb in {}",
                    path.display()
                )
            }
            Self::Io { attempt, source } => write!(f, "cannot {attempt}: {source}"),
            Self::NoDirectory { tried } => {
                f.write_str("cannot make a directory for PostgreSQL in")?;
                for (index, path) in tried.iter().enumerate() {
                    let before = if index == 0 { " " } else { ", " };
                    write!(f, "{before}{}", path.display())?;
                }
                f.write_str("; set TMPDIR to a short path that its user may write to")
            }
            Self::Initialize { output } => write!(f, "initdb failed: {}", output.trim_end()),
            Self::Start { log } => write!(f, "PostgreSQL did not start: {}", log.trim_end()),
            Self::Psql { output } => write!(f, "psql failed: {}", output.trim_end()),
            Self::Supervisor => f.write_str("the shell supervising PostgreSQL is gone"),
            Self::TimedOut { what, timeout } => {
                write!(f, "{what} took longer than {} s", timeout.as_secs())
            }
        }
    }
}

impl Error for SandboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Io { source, .. } = self {
            Some(source)
        } else {
            None
        }
    }
}

const INSTALL: &str = "\
PostgreSQL's server programs (postgres, initdb) were not found; install them, or name their directory in ALLE_PG_BIN
  Debian, Ubuntu:  apt-get install --no-install-recommends postgresql
  Fedora, RHEL:    dnf install postgresql-server
  macOS:           brew install postgresql@17";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_says_how_to_install_on_each_system_in_one_line() {
        let text = SandboxError::NotFound.to_string();
        for command in ["apt-get install", "dnf install", "brew install"] {
            assert_eq!(
                text.lines().filter(|line| line.contains(command)).count(),
                1,
                "{command}"
            );
        }
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn no_directory_names_each_place_tried() {
        let tried = vec![PathBuf::from("/a"), PathBuf::from("/b")];
        let text = SandboxError::NoDirectory { tried }.to_string();
        assert!(
            text.starts_with("cannot make a directory for PostgreSQL in /a, /b; "),
            "{text}"
        );
    }
}
