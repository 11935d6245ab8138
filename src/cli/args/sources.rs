//! Where the value of an option comes from: the command line, or else its variable, or else the
//! file of `--config`, or else the default.
//!
//! Finds values and says where they stood; the table gives them their effect. Reads that file, and
//! the files in which `@FILE` says that a secret is.

use std::{
    fmt,
    path::{self, Path, PathBuf},
};

use super::{Environment, typed::Typed};
use crate::cli::{
    command::CommandName,
    config_file::{ConfigFile, Place},
    flags::{self, Default, Flag, Value, Variable},
    text_file::Files,
};

/// The places where values are, for one command.
pub(super) struct Sources<'a> {
    command: CommandName,
    typed: &'a Typed,
    environment: &'a Environment,
    files: &'a mut Files,
    file: Option<ConfigFile>,
    warnings: Vec<String>,
}

/// The values of one option.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// As often as it was typed, and at least once; none at all is an empty list of a file.
    pub(crate) values: Vec<String>,
    /// Where they stood.
    pub(crate) origin: Origin,
}

/// Where a value stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On the command line.
    CommandLine,
    /// In the variable of this name.
    Variable(String),
    /// In the file of `--config`.
    File(Place),
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(place) => place.fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Origin {
    /// What is wrong with a value, and where that stands if nobody sees it before him.
    pub(super) fn blamed(&self, reason: &str) -> String {
        match self {
            Self::CommandLine | Self::Default => reason.to_owned(),
            Self::Variable(name) => format!("{reason} (from the variable {name})"),
            Self::File(place) => format!("{place}: {reason}"),
        }
    }
}

impl<'a> Sources<'a> {
    /// Opens the file of `--config`, where one is named.
    pub(super) fn open(
        command: CommandName,
        typed: &'a Typed,
        environment: &'a Environment,
        files: &'a mut Files,
    ) -> Result<Self, String> {
        let mut sources = Self {
            command,
            typed,
            environment,
            files,
            file: None,
            warnings: Vec::new(),
        };
        let config = flags::of(command).find(|flag| flag.long == flags::CONFIG);
        let given = config.map(|flag| sources.given(flag)).transpose()?;
        if let Some(Given { values, origin }) = given.flatten() {
            let path = values.last().map_or("", String::as_str);
            // An empty path is refused with the words for it when its row is applied.
            if !path.is_empty() {
                let file = ConfigFile::read(Path::new(path), sources.files);
                sources.file = Some(file.map_err(|reason| origin.blamed(&reason))?);
            }
        }
        Ok(sources)
    }

    /// What is wrong in the file, whichever command reads it.
    pub(super) fn faults(&self) -> &[String] {
        self.file.as_ref().map_or(&[], ConfigFile::faults)
    }

    /// What is probably a mistake, and keeps nothing from running.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// The values of an option, `None` where it has not even a default.
    pub(super) fn given(&mut self, flag: &Flag) -> Result<Option<Given>, String> {
        let Some(mut given) = self.found(flag)? else {
            return Ok(None);
        };
        if matches!(flag.value, Value::Secret(..)) && !flag.help.is_empty() {
            self.warn_of_readers(flag, &given);
            for value in &mut given.values {
                if let Some(path) = self.of_secret(value, &given.origin) {
                    *value = self
                        .secret(flag, &path)
                        .map_err(|reason| given.origin.blamed(&reason))?;
                }
            }
        }
        Ok(Some(given))
    }

    /// The values for another file, wherever that is: their paths are absolute.
    pub(super) fn shown(&self, flag: &Flag) -> Result<Option<Given>, String> {
        let Some(mut given) = self.found(flag)? else {
            return Ok(None);
        };
        for value in &mut given.values {
            if matches!(flag.value, Value::File(_) | Value::Files(_)) {
                *value = absolute(Path::new(value))?;
            } else if matches!(flag.value, Value::Secret(..))
                && let Some(path) = self.of_secret(value, &given.origin)
            {
                *value = format!("@{}", absolute(&path)?);
            }
        }
        Ok(Some(given))
    }

    /// The file that a value names in place of a secret, if it names one.
    fn of_secret(&self, value: &str, origin: &Origin) -> Option<PathBuf> {
        let path = value.strip_prefix('@')?;
        Some(match (origin, &self.file) {
            (Origin::File(_), Some(file)) => file.directory().join(path),
            _ => path.into(),
        })
    }

    /// The values as they stand, lists as their items, `@FILE` not yet followed.
    pub(super) fn found(&self, flag: &Flag) -> Result<Option<Given>, String> {
        let typed = self.typed.values(flag, self.command);
        if !typed.is_empty() {
            return Ok(Some(Given {
                values: typed.into_iter().flat_map(|it| flag.items(it)).collect(),
                origin: Origin::CommandLine,
            }));
        }
        if let Some((name, value)) = self.variable(flag)? {
            return Ok(Some(Given {
                values: flag.items(value),
                origin: Origin::Variable(name),
            }));
        }
        if let Some(entry) = self.file.as_ref().and_then(|file| file.of(flag)) {
            return Ok(Some(Given {
                values: entry.values.clone(),
                origin: Origin::File(entry.place.clone()),
            }));
        }
        Ok(match flag.default {
            Default::Typed(value) => Some(Given {
                values: flag.items(value.to_owned()),
                origin: Origin::Default,
            }),
            Default::None | Default::Described(_) => None,
        })
    }

    /// The name and the value of the variable, where it is set.
    fn variable(&self, flag: &Flag) -> Result<Option<(String, String)>, String> {
        let Some(name) = flag.variable() else {
            return Ok(None);
        };
        let Some(value) = self.environment.text(&name)? else {
            return Ok(None);
        };
        if value.is_empty() && matches!(flag.variable, Variable::Named(_)) {
            return Ok(None);
        }
        Ok(Some((name.into_owned(), value)))
    }

    /// The content of the file of a secret, without the end of its last line.
    fn secret(&mut self, flag: &Flag, path: &Path) -> Result<String, String> {
        let (long, shown) = (flag.long, path.display());
        let (mut text, is_public) = self
            .files
            .read(path, BYTES_MAX)
            .map_err(|error| format!("the file {shown} of --{long}: {error}"))?;
        if is_public {
            self.warnings.push(readable(path));
        }
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() {
            return Err(format!("the file {shown} of --{long} is empty"));
        }
        Ok(text)
    }

    /// A secret that stands in the file of `--config` itself is as public as that.
    fn warn_of_readers(&mut self, flag: &Flag, given: &Given) {
        let Some(file) = &self.file else { return };
        let is_in_it = matches!(given.origin, Origin::File(_));
        let is_plain = given.values.iter().any(|value| !value.starts_with('@'));
        if is_in_it && is_plain && file.is_readable_by_anybody() {
            let warning = format!(
                "{}, which holds '{}': use a file of its own, '@FILE', or chmod o-r",
                readable(file.path()),
                flag.long
            );
            self.warnings.push(warning);
        }
    }
}

/// An empty one is refused when its row is applied.
fn absolute(path: &Path) -> Result<String, String> {
    if path.as_os_str().is_empty() {
        return Ok(String::new());
    }
    let absolute = path::absolute(path);
    let absolute = absolute.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(absolute.display().to_string())
}

fn readable(path: &Path) -> String {
    format!("anybody on this machine can read {}", path.display())
}

/// More than any key or connection string.
const BYTES_MAX: u64 = 64 * 1024;
