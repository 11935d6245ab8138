//! What was typed, noted down: options with their values, the command, the operands.
//!
//! Knows which words are options and which of them take a value, and nothing of what they mean.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use crate::cli::{
    command::{COMPLETIONS, CommandName, HELP, MAN, Shell, Topic},
    failure::Failure,
    flags::{FLAGS, Flag, Request, Value},
    nearest::{did_you_mean, nearest},
};

/// A command line, taken apart.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// The command, if one was named.
    pub(super) command: Option<CommandName>,
    /// `-V` or `--version`.
    pub(super) version: bool,
    /// `-h` or `--help`.
    help: bool,
    /// `help` stood in the place of the command: the operands are what it is about.
    is_help: bool,
    /// Every other option, in order.
    options: Vec<TypedOption>,
    /// What follows the command and is no option.
    pub(super) operands: Vec<String>,
}

/// One option as it was typed.
#[derive(Debug)]
struct TypedOption {
    spelling: Spelling,
    /// Some exactly if it takes a value.
    value: Option<String>,
}

#[derive(Debug)]
enum Spelling {
    Short(char),
    Long(String),
}

impl Typed {
    /// The values of an option under `command`, as often as it was typed. One without a value was
    /// switched on.
    pub(super) fn values(&self, flag: &Flag, command: CommandName) -> Vec<String> {
        let typed = self.options.iter().filter(|typed| {
            let meant = typed.spelling.flag(command);
            meant.is_some_and(|it| it.long == flag.long)
        });
        let value = |typed: &TypedOption| typed.value.clone().unwrap_or_else(|| ON.to_owned());
        typed.map(value).collect()
    }

    /// An option that `command` does not have.
    pub(super) fn stranger(&self, command: CommandName) -> Option<String> {
        let mut spellings = self.options.iter().map(|typed| &typed.spelling);
        spellings
            .find(|spelling| spelling.flag(command).is_none())
            .map(Spelling::text)
    }

    /// What help was asked for, if any was.
    pub(super) fn topic(&self) -> Result<Option<Topic>, Failure> {
        if self.is_help {
            return topic(&self.operands).map(Some);
        }
        let of_command = self.command.map_or(Topic::Program, Topic::Command);
        Ok(self.help.then_some(of_command))
    }

    /// The first word is the command, or `help`; the others are its operands.
    fn take_word(&mut self, word: String) -> Result<(), Failure> {
        if self.command.is_some() || self.is_help {
            self.operands.push(word);
        } else if word == HELP {
            self.is_help = true;
        } else {
            self.command = Some(command(&word)?);
        }
        Ok(())
    }
}

impl Spelling {
    /// The row that it stands for under `command`.
    fn flag(&self, command: CommandName) -> Option<&'static Flag> {
        self.flags().find(|flag| flag.commands.contains(&command))
    }

    /// The rows it may stand for; all agree on whether there is a value.
    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        FLAGS.iter().filter(move |flag| match self {
            Self::Short(short) => flag.short == Some(*short),
            Self::Long(long) => flag.long == long,
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
    let mut parser = Parser::from_iter(arguments);
    let mut typed = Typed::default();
    loop {
        if let Some(number) = negative_operand(&mut parser, &typed) {
            typed.operands.push(number);
            continue;
        }
        let next = parser.next().map_err(|error| malformed(&typed, &error))?;
        let spelling = match next {
            None => return Ok(typed),
            Some(Arg::Value(word)) => {
                let word = text(&typed, word)?;
                typed.take_word(word)?;
                continue;
            }
            Some(Arg::Short(short)) => Spelling::Short(short),
            Some(Arg::Long(long)) => Spelling::Long(long.to_owned()),
        };
        let Some(flag) = spelling.flags().next() else {
            return Err(unknown_option(&typed, &spelling));
        };
        let value = if flag.takes_value() {
            let value = parser.value().map_err(|error| malformed(&typed, &error))?;
            Some(text(&typed, value)?)
        } else {
            None
        };
        match flag.value {
            Value::Request(Request::Help) => typed.help = true,
            Value::Request(Request::Version) => typed.version = true,
            Value::Switch(_)
            | Value::Text(..)
            | Value::Secret(..)
            | Value::Filter(_)
            | Value::File(_)
            | Value::Files(_)
            | Value::List(..)
            | Value::Count(..)
            | Value::CountOrAuto(_)
            | Value::Bytes(..)
            | Value::Span(..) => typed.options.push(TypedOption { spelling, value }),
        }
    }
}

/// Takes a negative number behind the command for an operand: no option is a digit, and whoever
/// publishes a temperature means no option.
fn negative_operand(parser: &mut Parser, typed: &Typed) -> Option<String> {
    typed.command?;
    let mut words = parser.try_raw_args()?;
    let number = words.peek().and_then(OsStr::to_str)?;
    let digits = number.strip_prefix('-')?;
    let is_number = digits.starts_with(|it: char| it.is_ascii_digit() || it == '.')
        && digits.parse::<f64>().is_ok();
    let number = is_number.then(|| number.to_owned());
    if number.is_some() {
        words.next();
    }
    number
}

fn command(word: &str) -> Result<CommandName, Failure> {
    CommandName::named(word).ok_or_else(|| {
        let words = CommandName::ALL.into_iter().map(CommandName::word);
        let hint = match word {
            "man" | "completions" => did_you_mean("help ", Some(word)),
            _ => did_you_mean("", nearest(word, words.chain([HELP]))),
        };
        Failure::usage(None, format!("unknown command '{word}'{hint}"))
    })
}

/// What `words` behind `help` are about.
fn topic(words: &[String]) -> Result<Topic, Failure> {
    let wrong = |reason: String| Err(Failure::usage(None, reason));
    let Some((word, rest)) = words.split_first() else {
        return Ok(Topic::Program);
    };
    let (topic, rest) = match word.as_str() {
        HELP => return topic(rest),
        MAN => (Topic::Man, rest),
        COMPLETIONS => {
            let Some((shell, rest)) = rest.split_first() else {
                return wrong(format!("{COMPLETIONS} needs a SHELL: {}", shells()));
            };
            let Some(shell) = Shell::named(shell) else {
                return wrong(format!(
                    "no {COMPLETIONS} for '{shell}', only for {}",
                    shells()
                ));
            };
            (Topic::Completions(shell), rest)
        }
        word => (Topic::Command(command(word)?), rest),
    };
    match rest.first() {
        None => Ok(topic),
        Some(stray) => wrong(format!("unexpected argument '{stray}'")),
    }
}

fn shells() -> String {
    Shell::ALL.map(Shell::word).join(", ")
}

fn unknown_option(typed: &Typed, spelling: &Spelling) -> Failure {
    let nearest = match spelling {
        Spelling::Short(_) => None,
        Spelling::Long(long) => {
            let of_command = FLAGS.iter().filter(|flag| {
                let command = typed.command;
                command.is_none_or(|command| flag.commands.contains(&command))
            });
            nearest(long, of_command.map(|flag| flag.long))
        }
    };
    let mut reason = format!("unknown option '{}'", spelling.text());
    reason.push_str(&did_you_mean("--", nearest));
    if nearest.is_none() && typed.command == Some(CommandName::Publish) {
        reason.push_str("; an operand that begins with a dash goes behind '--'");
    }
    Failure::usage(typed.command, reason)
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

/// What a switch without a value is set to.
const ON: &str = "true";
