//! What lies around the program and counts besides the connection string, lent by the shell.
//!
//! Knows how to ask it: variables as text, the home directory and the names of users by
//! passwd(5). Opens nothing itself, and knows no parameter.

use std::{
    ffi::OsString,
    fmt,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::{error::ConfigError, warning::Warning};

/// What lies around the program: lent by the shell, which alone does IO.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The bytes of a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// What a file holds.
    pub file: &'a dyn Fn(&Path) -> Result<File, FileError>,
    /// The user that owns the socket of this path, if there is a socket.
    pub socket_owner: &'a dyn Fn(&Path) -> Option<u32>,
    /// The effective user of this process.
    pub user_id: u32,
}

/// A file that the shell read.
#[derive(Clone)]
pub struct File {
    /// Its bytes, in whatever encoding.
    pub bytes: Vec<u8>,
    /// Whether its owner alone may read and write it.
    pub is_private: bool,
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is none.
    Missing,
    /// It is there, and the reason completes the sentence "file ... ".
    Unusable(String),
}

/// The surroundings during one resolution, and what was found wrong with them.
pub(super) struct Around<'a> {
    lent: Surroundings<'a>,
    warnings: Vec<Warning>,
    /// passwd(5), once it was read.
    users: Option<Vec<u8>>,
}

impl<'a> Around<'a> {
    pub(super) fn new(lent: Surroundings<'a>) -> Self {
        Self {
            lent,
            warnings: Vec::new(),
            users: None,
        }
    }

    /// The bytes of a variable; an empty one counts as not set.
    pub(super) fn variable(&self, name: &str) -> Option<Vec<u8>> {
        (self.lent.variable)(name).filter(|bytes| !bytes.is_empty())
    }

    /// The same as text.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let bytes = self.variable(name);
        bytes.map(|bytes| text_of(bytes, name)).transpose()
    }

    pub(super) fn file(&self, path: &Path) -> Result<File, FileError> {
        (self.lent.file)(path)
    }

    pub(super) fn socket_owner(&self, path: &Path) -> Option<u32> {
        (self.lent.socket_owner)(path)
    }

    pub(super) fn user_id(&self) -> u32 {
        self.lent.user_id
    }

    /// A file below the home directory: that of `HOME`, else that of our entry in passwd(5).
    pub(super) fn in_home(&mut self, name: &str) -> Option<PathBuf> {
        let home = match self.variable("HOME") {
            Some(home) => home,
            None => self.ourselves()?.home.to_owned(),
        };
        let home = PathBuf::from(OsString::from_vec(home));
        Some(home.join(name)).filter(|path| path.is_absolute())
    }

    /// The name of the user that runs this process: by its number, since anything may have set a
    /// variable.
    pub(super) fn user_name(&mut self) -> Option<String> {
        String::from_utf8(self.ourselves()?.name.to_owned()).ok()
    }

    /// The number of the user of this name.
    pub(super) fn user_id_of(&mut self, name: &str) -> Option<u32> {
        self.user(|user| user.name == name.as_bytes())?.id
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// What was found wrong, for whoever resolved.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    fn ourselves(&mut self) -> Option<User<'_>> {
        let id = self.lent.user_id;
        self.user(|user| user.id == Some(id))
    }

    fn user(&mut self, is_wanted: impl Fn(&User<'_>) -> bool) -> Option<User<'_>> {
        if self.users.is_none() {
            let path = Path::new(PASSWD);
            self.users = Some(match self.file(path) {
                Ok(file) => file.bytes,
                Err(FileError::Missing) => Vec::new(),
                Err(FileError::Unusable(why)) => {
                    let (file, path) = ("user database", path.to_owned());
                    self.warn(Warning::FileUnusable { file, path, why });
                    Vec::new()
                }
            });
        }
        let users = self.users.as_deref().unwrap_or_default();
        let mut users = users.split(|&byte| byte == b'\n').filter_map(User::parse);
        users.find(is_wanted)
    }
}

/// A line of passwd(5).
struct User<'a> {
    name: &'a [u8],
    id: Option<u32>,
    home: &'a [u8],
}

impl<'a> User<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let id = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok();
        let home = fields.nth(2)?;
        Some(Self { name, id, home })
    }
}

/// Text without NUL, or the fault of `part`.
pub(super) fn text_of(bytes: Vec<u8>, part: &'static str) -> Result<String, ConfigError> {
    if bytes.contains(&0) {
        return Err(ConfigError::Nul { part });
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8 { part })
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

const PASSWD: &str = "/etc/passwd";
