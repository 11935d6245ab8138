//! The file of tokens on disk: read at the start, and again on request.
//!
//! Owns the limit on its size and the check of its permissions. Knows neither the form of a token
//! nor the source of a request.

use std::{
    error::Error,
    fmt, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use rustix::fs::{Mode, OFlags};

use crate::access::tokens::{Tokens, TokensError};

/// The path of the tokens.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    /// The warning that anybody can read the file was logged.
    complained: bool,
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            complained: false,
        }
    }

    /// Reads its present tokens.
    pub(crate) fn read(&mut self) -> Result<Tokens, TokenFileError> {
        let (text, mode) = self.text().map_err(|error| self.failed(error.into()))?;
        let tokens = Tokens::parse(&text).map_err(|error| self.failed(error.into()))?;
        if mode & READABLE_BY_ANYBODY != 0 && !self.complained {
            self.complained = true;
            let path = self.path.display();
            tracing::warn!("anybody on this machine can read {path}: chmod o-r {path}");
        }
        let short = tokens.short_count();
        if short > 0 {
            let (path, min) = (self.path.display(), Tokens::SAFE_BYTES_MIN);
            tracing::warn!(
                "{short} of the tokens in {path} can be guessed: a token is at least {min} random \
                 characters long (`openssl rand -base64 24` makes one)"
            );
        }
        Ok(tokens)
    }

    /// Its text and its permissions. A pipe could not be read again, and would block: the open file
    /// is checked, since the path may lead elsewhere a moment later.
    fn text(&self) -> io::Result<(String, u32)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = fs::File::from(rustix::fs::open(&self.path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mode = metadata.mode();
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(io::Error::other(format!("over {BYTES_MAX} bytes long")));
        }
        Ok((text, mode))
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
/// `o+r` of chmod(1).
const READABLE_BY_ANYBODY: u32 = 0o004;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::fs::{CWD, FileType};

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
