//! What lies around the program, counts, and cannot be used: the connection is tried without it.
//!
//! The facts and their sentences, none with a password in it. Says nothing to anybody: whoever
//! resolved does, once.

use std::{fmt, path::PathBuf};

/// A file or a socket that is left alone, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Others than its owner may read the password file.
    PasswordFileOpen {
        /// Where it is.
        path: PathBuf,
    },
    /// The password file that was asked for is not there.
    PasswordFileMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file is there and cannot be used.
    FileUnusable {
        /// Which kind of file.
        file: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why, as the end of a sentence that begins with the file.
        why: String,
    },
    /// A socket in a directory where anybody may put one is neither root's nor ours.
    SocketOfStranger {
        /// Where it is.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PasswordFileOpen { path } => write!(
                f,
                "password file \"{}\" is not used: it has group or world access; permissions \
                 should be u=rw (0600) or less",
                path.display()
            ),
            Self::PasswordFileMissing { path } => {
                write!(f, "password file \"{}\" does not exist", path.display())
            }
            Self::FileUnusable { file, path, why } => {
                write!(f, "{file} \"{}\" is not used: it {why}", path.display())
            }
            Self::SocketOfStranger { path, owner } => write!(
                f,
                "socket \"{}\" is not used: it belongs to user {owner}, not to root or to this \
                 program's user (name its directory as the host, with requirepeer, if you trust it)",
                path.display()
            ),
        }
    }
}
