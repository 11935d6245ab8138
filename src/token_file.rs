//! The files by which clients are known, tokens and keys: read at the start, and again on request.
//!
//! Owns the limits on their sizes and the check of their permissions. Knows neither the form of a
//! token nor the source of a request.

mod keys;

use std::{error::Error, fmt, io, path::PathBuf};

pub use self::keys::KeyFileError;
use self::keys::KeyFiles;
use crate::{
    access::{
        Credentials,
        tokens::{Tokens, TokensError},
    },
    regular_file::{self, READABLE_BY_ANYBODY},
};

/// The files that there are; at least one.
#[derive(Debug)]
pub(crate) struct CredentialFiles {
    tokens: Option<TokenFile>,
    keys: Option<KeyFiles>,
}

impl CredentialFiles {
    /// The tokens, a key and a set of keys; `None` where there is none of them.
    pub(crate) fn new(
        tokens: Option<PathBuf>,
        key: Option<PathBuf>,
        set: Option<PathBuf>,
    ) -> Option<Self> {
        let files = Self {
            tokens: tokens.map(TokenFile::new),
            keys: KeyFiles::new(key, set),
        };
        (files.tokens.is_some() || files.keys.is_some()).then_some(files)
    }

    /// Reads what is in them at present.
    pub(crate) fn read(&mut self) -> Result<Credentials, ReloadError> {
        let tokens = self.tokens.as_mut().map(TokenFile::read).transpose();
        let keys = self.keys.as_mut().map(KeyFiles::read).transpose();
        Ok(Credentials {
            tokens: tokens.map_err(ReloadError::Tokens)?,
            keys: keys.map_err(ReloadError::Keys)?,
        })
    }

    /// What is in them, for a sentence.
    pub(crate) fn contents(&self) -> &'static str {
        match (&self.tokens, &self.keys) {
            (Some(_), Some(_)) => "the tokens and the keys of JWTs",
            (None, Some(_)) => "the keys of JWTs",
            (Some(_) | None, None) => "the tokens",
        }
    }
}

/// Which of the files of tokens and keys could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// That of tokens.
    Tokens(TokenFileError),
    /// One of keys.
    Keys(KeyFileError),
}

impl Error for ReloadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            Self::Tokens(error) => error,
            Self::Keys(error) => error,
        })
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
        }
    }
}

/// The path of the tokens.
#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    /// The warning that anybody can read the file was logged.
    complained: bool,
}

impl TokenFile {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            complained: false,
        }
    }

    /// Reads its present tokens.
    fn read(&mut self) -> Result<Tokens, TokenFileError> {
        let (text, is_open) = self.text().map_err(|error| self.failed(error.into()))?;
        let tokens = Tokens::parse(&text).map_err(|error| self.failed(error.into()))?;
        if is_open && !self.complained {
            self.complained = true;
            let path = self.path.display();
            tracing::warn!(
                target: "alle::bridge",
                "anybody on this machine can read {path}: chmod o-r {path}"
            );
        }
        let short = tokens.short_count();
        if short > 0 {
            let (path, min) = (self.path.display(), Tokens::SAFE_BYTES_MIN);
            tracing::warn!(
                target: "alle::bridge",
                "{short} of the tokens in {path} can be guessed: a token is at least {min} random \
                 characters long (`openssl rand -base64 24` makes one)"
            );
        }
        Ok(tokens)
    }

    /// Its text, and whether anybody on the machine can read it.
    fn text(&self) -> io::Result<(String, bool)> {
        let (bytes, mode) = regular_file::read(&self.path, BYTES_MAX)?;
        let is_open = mode & READABLE_BY_ANYBODY != 0;
        let text = String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))?;
        Ok((text, is_open))
    }

    fn failed(&self, cause: TokenFileCause) -> TokenFileError {
        TokenFileError {
            path: self.path.clone(),
            cause,
        }
    }
}

/// Why the tokens of a file could not be read.
#[derive(Debug)]
pub struct TokenFileError {
    path: PathBuf,
    cause: TokenFileCause,
}

#[derive(Debug)]
enum TokenFileCause {
    Io(io::Error),
    Tokens(TokensError),
}

impl From<io::Error> for TokenFileCause {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TokensError> for TokenFileCause {
    fn from(error: TokensError) -> Self {
        Self::Tokens(error)
    }
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token file {}: ", self.path.display())?;
        match &self.cause {
            TokenFileCause::Io(error) => error.fmt(f),
            TokenFileCause::Tokens(error) => error.fmt(f),
        }
    }
}

impl Error for TokenFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            TokenFileCause::Io(error) => Some(error),
            TokenFileCause::Tokens(error) => Some(error),
        }
    }
}

/// Room for the most tokens, of a usual length, with their permissions.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;

    /// The path may be swapped during a read: a pipe would block the only thread for good.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread that would wait for good is not the test's"
    )]
    fn a_pipe_swapped_in_is_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let [tokens, pipe, swapped, place] = ["tokens", "pipe", "swapped", "place"].map(path);
        fs::write(&tokens, "token").unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        fs::hard_link(&tokens, &place).unwrap();
        let (sender, outcomes) = std::sync::mpsc::sync_channel(0);
        let mut file = TokenFile::new(place.clone());
        let reader = std::thread::spawn(move || {
            while sender
                .send(file.read().map_err(|error| error.to_string()))
                .is_ok()
            {}
        });
        for other in [&pipe, &tokens].into_iter().cycle().take(5_000) {
            fs::hard_link(other, &swapped).unwrap();
            fs::rename(&swapped, &place).unwrap();
            match outcomes.recv_timeout(Duration::from_secs(20)) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => assert!(error.ends_with("not a regular file"), "{error}"),
                Err(error) => panic!("it waits: {error}"),
            }
        }
        drop(outcomes);
        reader.join().unwrap();
    }

    #[test]
    fn a_file_has_at_most_4_mib_and_is_a_file() {
        let temporary = tempfile::NamedTempFile::new().unwrap();
        let path = temporary.path();
        let mut file = TokenFile::new(path.to_owned());
        for (bytes, is_read) in [
            (BYTES_MAX - 1, true),
            (BYTES_MAX, true),
            (BYTES_MAX + 1, false),
        ] {
            let mut text = "token\n#".to_owned();
            text.extend(std::iter::repeat_n(
                'x',
                usize::try_from(bytes).unwrap() - text.len(),
            ));
            fs::write(path, text).unwrap();
            assert_eq!(file.read().is_ok(), is_read, "{bytes}");
        }
        fs::write(path, b"tok\xffen").unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
        let error = TokenFile::new("/dev/null".into()).read().unwrap_err();
        assert_eq!(
            error.to_string(),
            "token file /dev/null: not a regular file"
        );
    }
}
