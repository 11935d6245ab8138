//! What a row of the table of options has, and how its value takes effect.
//!
//! Knows the kinds of values and the sentences that say what is wrong with one. Refuses to know
//! which options there are.

use std::{borrow::Cow, fmt, path::PathBuf, time::Duration};

use super::units::{self, UnitError};
use crate::cli::{
    command::CommandName,
    settings::{self, Settings},
};

/// One row of [`FLAGS`](super::FLAGS). Two rows may have one spelling, if no command has both.
pub(crate) struct Flag {
    /// `-w` is the address of the bridge everywhere: where it binds, or where it is.
    pub(crate) short: Option<char>,
    /// Without its dashes.
    pub(crate) long: &'static str,
    /// What it takes, in which unit, and what that changes.
    pub(crate) value: Value,
    /// Where the value comes from if it was not typed.
    pub(crate) variable: Variable,
    /// What holds without any value.
    pub(crate) default: Default,
    /// The commands that take it.
    pub(crate) commands: &'static [CommandName],
    /// A sentence for whoever reads the help. Empty: shown nowhere, because it does nothing.
    pub(crate) help: &'static str,
}

/// What an option takes, and its effect.
pub(crate) enum Value {
    /// No value; it asks for something else than the command.
    Request(Request),
    /// No value when it is typed, `true`, `false`, `1` or `0` in a variable.
    Switch(fn(&mut Settings, bool)),
    /// Any text, named so; the last one counts.
    Text(&'static str, fn(&mut Settings, &str) -> Result<(), String>),
    /// As text, and nothing of it may be shown.
    Secret(&'static str, fn(&mut Settings, &str) -> Result<(), String>),
    /// Which log lines are written.
    Filter(fn(&mut Settings, &str) -> Result<(), String>),
    /// The path of a file, never empty: a variable that was left unfilled in a script must not
    /// mean that there is no file.
    File(fn(&mut Settings, &str)),
    /// Paths of files, comma separated, from all the times it was typed; none of them empty, as with
    /// one file.
    Files(fn(&mut Settings, Vec<PathBuf>)),
    /// Items, named so, from all the times it was typed, where commas separate them; in a file's
    /// array an item may have a comma, and there may be none. An empty one stands for a list without
    /// any.
    List(
        &'static str,
        fn(&mut Settings, &[String]) -> Result<(), String>,
    ),
    /// A whole number, at least so large.
    Count(usize, fn(&mut Settings, usize)),
    /// A whole number, or `auto`.
    CountOrAuto(fn(&mut Settings, &str) -> Result<(), String>),
    /// A number of bytes, at least so large.
    Bytes(usize, fn(&mut Settings, usize)),
    /// A span of time, at most so long.
    Span(Duration, fn(&mut Settings, Duration)),
}

/// What is asked for instead of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The help text.
    Help,
    /// The version.
    Version,
}

/// The variable of an option.
pub(crate) enum Variable {
    /// There is none: the option does nothing here, or is no setting.
    None,
    /// `ALLE_` and the name of the option. It means exactly what the option with its value means,
    /// the empty one included.
    OfName,
    /// A name that was there before the rule; empty, it counts as not set.
    Named(&'static str),
    /// The variable of this name holds what the option would find: this, in words.
    Content(
        &'static str,
        &'static str,
        fn(&mut Settings, &str) -> Result<(), String>,
    ),
}

/// What holds where an option has no value.
pub(crate) enum Default {
    /// Nothing that is worth a word.
    None,
    /// As if this had been typed.
    Typed(&'static str),
    /// What the effect leaves alone, in words.
    Described(&'static str),
}

impl Flag {
    /// The name of its variable.
    pub(crate) fn variable(&self) -> Option<Cow<'static, str>> {
        match self.variable {
            Variable::None => None,
            Variable::OfName => {
                let name = self.long.replace('-', "_").to_ascii_uppercase();
                Some(format!("{VARIABLE_PREFIX}{name}").into())
            }
            Variable::Named(name) | Variable::Content(name, ..) => Some(name.into()),
        }
    }

    /// Whether a value follows it on the command line.
    pub(crate) fn takes_value(&self) -> bool {
        self.placeholder().is_some()
    }

    /// What stands for its value in help texts.
    pub(crate) fn placeholder(&self) -> Option<&'static str> {
        match self.value {
            Value::Request(_) | Value::Switch(_) => None,
            Value::Text(name, _) | Value::Secret(name, _) | Value::List(name, _) => Some(name),
            Value::Filter(_) => Some("FILTER"),
            Value::File(_) | Value::Files(_) => Some("FILE"),
            Value::Count(..) | Value::CountOrAuto(_) => Some("N"),
            Value::Bytes(..) => Some("BYTES"),
            Value::Span(..) => Some("SECONDS"),
        }
    }

    /// The items of a value as it was typed: several where it is a list, and never none.
    pub(crate) fn items(&self, typed: String) -> Vec<String> {
        match self.value {
            Value::List(..) => settings::split(&typed),
            Value::Files(_) => typed.split(',').map(|it| it.trim().to_owned()).collect(),
            Value::Request(_)
            | Value::Switch(_)
            | Value::Text(..)
            | Value::Secret(..)
            | Value::Filter(_)
            | Value::File(_)
            | Value::Count(..)
            | Value::CountOrAuto(_)
            | Value::Bytes(..)
            | Value::Span(..) => vec![typed],
        }
    }

    /// Gives `values` (as often as it was typed, at least once, and lists as their
    /// [items](Self::items), of which a file may have none) their effect.
    pub(crate) fn apply(&self, settings: &mut Settings, values: &[String]) -> Result<(), String> {
        let last = values.last().map_or("", String::as_str);
        let long = self.long;
        match self.value {
            Value::Request(_) => Ok(()),
            Value::Switch(set) => units::switch(last)
                .map(|is_on| set(settings, is_on))
                .map_err(|_| {
                    format!("--{long} is set by true or 1, unset by false or 0, not '{last}'")
                }),
            Value::Text(_, set)
            | Value::Secret(_, set)
            | Value::Filter(set)
            | Value::CountOrAuto(set) => set(settings, last),
            Value::List(_, set) => set(settings, values),
            Value::File(_) if last.is_empty() => {
                Err(format!("--{long} takes the path of a file, not ''"))
            }
            Value::File(set) => {
                set(settings, last);
                Ok(())
            }
            Value::Files(set) => {
                if values.iter().any(String::is_empty) {
                    return Err(format!("--{long} takes paths of files, none of them ''"));
                }
                set(settings, values.iter().map(PathBuf::from).collect());
                Ok(())
            }
            Value::Count(min, set) => units::count(last)
                .and_then(|count| at_least(min, count))
                .map(|count| set(settings, count))
                .map_err(|_| format!("--{long} takes a whole number from {min} up, not '{last}'")),
            Value::Bytes(min, set) => units::bytes(last)
                .and_then(|bytes| at_least(min, bytes))
                .map(|bytes| set(settings, bytes))
                .map_err(|error| match error {
                    UnitError::Malformed => {
                        format!("--{long} takes bytes, as 65536, 64K, 16M or 1G, not '{last}'")
                    }
                    UnitError::OutOfRange if min == 0 => format!(
                        "--{long} takes from 0 to {} bytes, not '{last}'",
                        usize::MAX
                    ),
                    UnitError::OutOfRange => format!(
                        "--{long} takes from {}K to {} bytes, not '{last}': one message alone can be \
                         {}K",
                        min / 1_024,
                        usize::MAX,
                        min / 1_024
                    ),
                }),
            Value::Span(max, set) => units::span(last)
                .and_then(|span| at_most(max, span))
                .map(|span| set(settings, span))
                .map_err(|error| match error {
                    UnitError::Malformed => format!(
                        "--{long} takes seconds, or a whole number with ms, s, m, h or d, not \
                         '{last}'"
                    ),
                    UnitError::OutOfRange => format!(
                        "--{long} takes from 0 to {} seconds, not '{last}'",
                        max.as_secs()
                    ),
                }),
        }
    }
}

/// By its name: a row is mostly functions.
impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.long)
    }
}

fn at_least(min: usize, number: usize) -> Result<usize, UnitError> {
    (number >= min)
        .then_some(number)
        .ok_or(UnitError::OutOfRange)
}

fn at_most(max: Duration, span: Duration) -> Result<Duration, UnitError> {
    (span <= max).then_some(span).ok_or(UnitError::OutOfRange)
}

/// Begins the variables of all options that came after the first five.
pub(crate) const VARIABLE_PREFIX: &str = "ALLE_";
