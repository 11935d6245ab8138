//! The variables of the environment, and those among them that are probably misspelt.
//!
//! Knows from the table which variables there are; what one means, the table says.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use alle::internals::workers::Worker;

use crate::cli::{
    flags::{FLAGS, VARIABLE_PREFIX},
    nearest::{did_you_mean, nearest},
};

/// The variables as they were at the start. Never shown: some hold secrets.
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Those of this list, as from [`std::env::vars_os`].
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// Whether a parent started this process as one of its workers.
    pub(crate) fn is_of_worker(&self) -> bool {
        self.0.contains_key(OsStr::new(Worker::VARIABLE))
    }

    /// The value of one variable.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        let value = self.0.get(&OsString::from(name));
        match value.map(|value| value.clone().into_string()) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(format!("the variable {name} is not valid UTF-8")),
        }
    }

    /// A sentence about each variable that looks as if it were ours and is not.
    pub(super) fn unknown(&self) -> Vec<String> {
        let variables = self.0.iter();
        variables
            .filter_map(|(name, value)| {
                let name = name.to_str()?;
                let rest = name.strip_prefix(VARIABLE_PREFIX)?;
                let is_known = known().any(|it| it == name) || is_service_link(rest, value);
                (!is_known).then(|| sentence(name, rest))
            })
            .collect()
    }
}

fn sentence(name: &str, rest: &str) -> String {
    let known: Vec<String> = known().collect();
    let ours = known
        .iter()
        .filter_map(|it| it.strip_prefix(VARIABLE_PREFIX));
    let hint = did_you_mean(VARIABLE_PREFIX, nearest(rest, ours));
    format!("unknown variable {name}{hint}")
}

/// Every variable that means something to any command.
fn known() -> impl Iterator<Item = String> {
    let of_options = FLAGS.iter().filter_map(|flag| flag.variable());
    of_options
        .map(String::from)
        .chain(OF_LIBRARY.map(String::from))
}

/// Whether Kubernetes set it, for a service whose name is or begins with `alle` ("Discovering
/// services"): nobody typed it. `ALLE_PORT` is one if it holds a URL, and else a mistake.
fn is_service_link(rest: &str, value: &OsStr) -> bool {
    let words: Vec<&str> = rest.split('_').collect();
    let is_pair = |pair: &[&str]| match pair {
        ["SERVICE", "HOST" | "PORT"] => true,
        ["PORT", port] => port.parse::<u16>().is_ok(),
        _ => false,
    };
    let is_url = || value.to_str().is_some_and(|it| it.contains("://"));
    words.windows(2).any(is_pair) || (words.last() == Some(&"PORT") && is_url())
}

/// Where `alle demo` finds PostgreSQL's programs: the library looks there itself. And by what a
/// worker knows that it is one.
const OF_LIBRARY: [&str; 2] = ["ALLE_PG_BIN", Worker::VARIABLE];
