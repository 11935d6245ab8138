//! What was typed, noted down: options with their values, the command, the rest.
//!
//! Knows which words are options and which of them take a value, and nothing of what they mean.

use std::ffi::OsString;

use lexopt::Arg;

use super::{
    CommandName,
    options::{self, Name, OPTIONS, OptionSpec},
};
use crate::cli::Failure;

/// A command line, taken apart.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// The command, if one was named.
    pub(super) command: Option<CommandName>,
    /// `-h`, `--help` or `help`.
    pub(super) help: bool,
    /// `help` stood in the place of the command: behind the one it is about there is nothing.
    is_help: bool,
    /// `-V` or `--version`.
    pub(super) version: bool,
    /// Every other option, in order.
    pub(super) options: Vec<TypedOption>,
    /// What follows the command and is no option.
    pub(super) positionals: Vec<String>,
}

/// One option as it was typed.
#[derive(Debug)]
pub(super) struct TypedOption {
    spelling: Spelling,
    /// Some exactly if it takes a value.
    pub(super) value: Option<String>,
}

#[derive(Debug)]
enum Spelling {
    Short(char),
    Long(String),
}

impl TypedOption {
    /// What it means under `command`, `None` if nothing.
    pub(super) fn name(&self, command: CommandName) -> Option<Name> {
        let mut specs = self.spelling.specs();
        specs
            .find(|spec| spec.commands.contains(&command))
            .map(|spec| spec.name)
    }

    /// How it was written.
    pub(super) fn spelling(&self) -> String {
        self.spelling.text()
    }
}

impl Spelling {
    /// The rows of the table it may stand for; all agree on whether there is a value.
    fn specs(&self) -> impl Iterator<Item = &'static OptionSpec> {
        OPTIONS.iter().filter(move |spec| match self {
            Self::Short(short) => spec.short == Some(*short),
            Self::Long(long) => spec.long == long,
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Short(short) => format!("-{short}"),
            Self::Long(long) => format!("--{long}"),
        }
    }
}

/// Takes `arguments` apart, the program's name first.
pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Typed, Failure> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut typed = Typed::default();
    loop {
        let next = parser.next().map_err(|error| malformed(&typed, &error))?;
        let spelling = match next {
            None => return Ok(typed),
            Some(Arg::Value(word)) => {
                let word = text(&typed, word)?;
                read_word(&mut typed, word)?;
                continue;
            }
            Some(Arg::Short(short)) => Spelling::Short(short),
            Some(Arg::Long(long)) => Spelling::Long(long.to_owned()),
        };
        let Some(spec) = spelling.specs().next() else {
            return Err(unknown_option(&typed, &spelling));
        };
        let value = if spec.takes_value {
            let value = parser.value().map_err(|error| malformed(&typed, &error))?;
            Some(text(&typed, value)?)
        } else {
            None
        };
        if spec.name == Name::Help {
            typed.help = true;
        } else if spec.name == Name::Version {
            typed.version = true;
        } else {
            typed.options.push(TypedOption { spelling, value });
        }
    }
}

/// The first word is the command, `help` may stand before it, the others are its arguments.
fn read_word(typed: &mut Typed, word: String) -> Result<(), Failure> {
    if typed.is_help && typed.command.is_some() {
        return Err(Failure::usage(
            None,
            format!("unexpected argument '{word}'"),
        ));
    }
    if typed.command.is_some() {
        typed.positionals.push(word);
    } else if word == "help" {
        typed.help = true;
        typed.is_help = true;
    } else if let Some(command) = options::command(&word) {
        typed.command = Some(command);
    } else {
        let hint = options::nearest_command(&word);
        return Err(Failure::usage(
            None,
            format!("unknown command '{word}'{}", did_you_mean("", hint)),
        ));
    }
    Ok(())
}

fn unknown_option(typed: &Typed, spelling: &Spelling) -> Failure {
    let nearest = match spelling {
        Spelling::Short(_) => None,
        Spelling::Long(long) => options::nearest_option(long, typed.command),
    };
    let reason = format!(
        "unknown option '{}'{}",
        spelling.text(),
        did_you_mean("--", nearest)
    );
    Failure::usage(typed.command, reason)
}

fn did_you_mean(prefix: &str, nearest: Option<&str>) -> String {
    nearest
        .map(|nearest| format!("; did you mean '{prefix}{nearest}'?"))
        .unwrap_or_default()
}

fn malformed(typed: &Typed, error: &lexopt::Error) -> Failure {
    Failure::usage(typed.command, error.to_string())
}

fn text(typed: &Typed, word: OsString) -> Result<String, Failure> {
    word.into_string().map_err(|word| {
        Failure::usage(
            typed.command,
            format!("argument {word:?} is not valid UTF-8"),
        )
    })
}
