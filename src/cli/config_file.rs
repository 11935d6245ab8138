//! The file of `--config`: TOML, a key for each option of `alle serve`, under the option's name.
//!
//! Owns the form of the file and the place of each value in it. Knows from the table which keys
//! there are and what kind of value each takes; refuses to know what a value means.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    command::CommandName,
    flags::{self, Flag, Value},
    nearest::{did_you_mean, nearest},
    settings,
    text_file::Files,
};

/// A file of settings.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    entries: BTreeMap<&'static str, Entry>,
    faults: Vec<String>,
    is_readable_by_anybody: bool,
}

/// The value of one key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As if each had been typed behind the option; of a list, its items, if it has any.
    pub(crate) values: Vec<String>,
    /// Where it stands.
    pub(crate) place: Place,
}

/// A place in a file, as editors and compilers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

impl ConfigFile {
    /// Reads a file. Fails where it is no TOML at all; single keys that are wrong are
    /// [`Self::faults`].
    pub(crate) fn read(path: &Path, files: &mut Files) -> Result<Self, String> {
        let (text, is_public) = files
            .read(path, BYTES_MAX)
            .map_err(|error| format!("configuration file {}: {error}", path.display()))?;
        let mut file = Self::parse(path, &text)?;
        file.is_readable_by_anybody = is_public;
        Ok(file)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let place = |at: usize| place(path, text, at);
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            // Of the two or three lines that TOML's parser has to say, the first is the cause.
            let cause = error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            format!("{}: {cause}", place(at))
        })?;
        let mut file = Self {
            path: path.to_owned(),
            entries: BTreeMap::new(),
            faults: Vec::new(),
            is_readable_by_anybody: false,
        };
        for (key, value) in table.get_ref() {
            match file.entry(key.get_ref(), value) {
                Ok((flag, values)) => {
                    let place = place(value.span().start);
                    file.entries.insert(flag.long, Entry { values, place });
                }
                Err(reason) => file
                    .faults
                    .push(format!("{}: {reason}", place(key.span().start))),
            }
        }
        Ok(file)
    }

    /// The option that a key names, and its value as it would have been typed.
    fn entry(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(&'static Flag, Vec<String>), String> {
        let Some(flag) = keys().find(|flag| flag.long == key) else {
            let hint = did_you_mean(
                "",
                nearest(&key.replace('_', "-"), keys().map(|it| it.long)),
            );
            return Err(format!("unknown key '{key}'{hint}"));
        };
        let values = typed(flag, value.get_ref(), self.directory())
            .ok_or_else(|| format!("'{key}' takes {}", wanted(flag)))?;
        Ok((flag, values))
    }

    /// What the file says of an option.
    pub(crate) fn of(&self, flag: &Flag) -> Option<&Entry> {
        self.entries.get(flag.long)
    }

    /// A sentence for each key that is wrong, with its place.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Whether anybody on this machine can read it.
    pub(crate) fn is_readable_by_anybody(&self) -> bool {
        self.is_readable_by_anybody
    }

    /// Its path, as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What its relative paths are relative to.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or_else(|| Path::new(""))
    }
}

/// The options that a file may set.
fn keys() -> impl Iterator<Item = &'static Flag> {
    flags::shown(CommandName::Serve)
        .filter(|flag| !matches!(flag.value, Value::Request(_)) && flag.long != flags::CONFIG)
}

/// A value as it would have been typed; `None` if it is of another type.
fn typed(flag: &Flag, value: &DeValue<'_>, directory: &Path) -> Option<Vec<String>> {
    let one = match flag.value {
        Value::Request(_) => None,
        Value::Switch(_) => value.as_bool().map(|it| it.to_string()),
        Value::Text(..) | Value::Secret(..) | Value::Filter(_) => text(value),
        Value::File(_) => text(value).map(|path| inside(directory, &path)),
        Value::Files(_) => {
            let paths = list(flag, value)?;
            let paths = settings::never_none(&paths);
            return Some(paths.iter().map(|path| inside(directory, path)).collect());
        }
        Value::List(..) => return list(flag, value),
        Value::Count(..) => whole(value),
        Value::Bytes(..) | Value::Span(..) | Value::CountOrAuto(_) => {
            whole(value).or_else(|| text(value))
        }
    };
    one.map(|it| vec![it])
}

/// Where a relative path leads. An empty one stays empty, and is refused with the words for it.
fn inside(directory: &Path, path: &str) -> String {
    match path {
        "" => String::new(),
        path => directory.join(path).display().to_string(),
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A whole number, without a sign and not in hexadecimal digits, since it is read again as one that
/// was typed.
fn whole(value: &DeValue<'_>) -> Option<String> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix())
        .ok()
        .map(|it| it.to_string())
}

/// Strings, each of them one item, or one as it would have been typed.
fn list(flag: &Flag, value: &DeValue<'_>) -> Option<Vec<String>> {
    let Some(items) = value.as_array() else {
        return text(value).map(|it| flag.items(it));
    };
    items.iter().map(|item| text(item.get_ref())).collect()
}

/// What a key takes, in TOML's words.
fn wanted(flag: &Flag) -> &'static str {
    match flag.value {
        Value::Request(_) => "nothing",
        Value::Switch(_) => "true or false",
        Value::Text(..) | Value::Secret(..) | Value::Filter(_) | Value::File(_) => "a string",
        Value::List(..) | Value::Files(_) => "a string, or a list of strings",
        Value::Count(..) => "a whole number",
        Value::CountOrAuto(_) => "a whole number, or \"auto\"",
        Value::Bytes(..) => "a whole number, or a string as \"16M\"",
        Value::Span(..) => "a whole number, or a string as \"10s\"",
    }
}

/// The line and the column, from 1, of a byte of `text`.
fn place(path: &Path, text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    Place {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// Far more than all options take.
const BYTES_MAX: u64 = 1024 * 1024;
