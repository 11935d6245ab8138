//! Help texts: the pages and the table, within the width of a terminal.

use std::iter;

use super::pages::{self, Page};
use crate::cli::{
    command::{CommandName, HELP},
    flags::{self, Default, Flag, Value, Variable},
};

/// The help text of the program: its commands, and the options that all of them take.
pub(super) fn program() -> String {
    let mut text = Text::of(&pages::PROGRAM);
    text.heading("Commands:");
    let summaries = CommandName::ALL.map(|it| (it.word(), pages::page(it).summary));
    for (word, summary) in summaries
        .into_iter()
        .chain(iter::once((HELP, pages::HELP_SUMMARY)))
    {
        text.entry(word, summary, COMMAND_COLUMNS);
    }
    text.heading("Options, before or after the command:");
    text.flags(flags::shown(CommandName::Serve).filter(|flag| is_global(flag)));
    text.end(&pages::PROGRAM)
}

/// The help text of one command.
pub(super) fn command(command: CommandName) -> String {
    let page = pages::page(command);
    let mut text = Text::of(page);
    if !page.operands.is_empty() {
        text.heading("Arguments:");
        for (operand, meaning) in page.operands {
            text.entry(operand, meaning, FLAG_COLUMNS);
        }
    }
    text.heading("Options:");
    text.flags(flags::shown(command));
    if let Some(note) = units(command) {
        text.paragraph(note);
    }
    text.end(page)
}

/// Which units the options of a command take, where they take any.
pub(super) fn units(command: CommandName) -> Option<&'static str> {
    flags::shown(command)
        .any(|flag| matches!(flag.value, Value::Bytes(..) | Value::Span(..)))
        .then_some(UNITS)
}

/// Whether every command takes it.
pub(super) fn is_global(flag: &Flag) -> bool {
    CommandName::ALL
        .into_iter()
        .all(|command| flags::of(command).any(|it| it.long == flag.long))
}

/// The ways to write an option, with what stands for its value.
pub(super) fn spellings(flag: &Flag) -> String {
    let short = flag.short.map(|it| format!("-{it}, ")).unwrap_or_default();
    let value = flag.placeholder().map(|it| format!(" {it}"));
    format!("{short}--{}{}", flag.long, value.unwrap_or_default())
}

/// The variable, and what it holds if that is not what the option takes.
pub(super) fn variable(flag: &Flag) -> Option<String> {
    let name = flag.variable()?;
    Some(match flag.variable {
        Variable::Content(_, content, _) => format!("{name}: {content}"),
        Variable::None | Variable::OfName | Variable::Named(_) => name.into_owned(),
    })
}

/// What holds without the option, in words.
pub(super) fn default(flag: &Flag) -> Option<&'static str> {
    match flag.default {
        Default::None => None,
        Default::Typed(text) | Default::Described(text) => Some(text),
    }
}

/// A help text under construction.
struct Text(String);

impl Text {
    fn of(page: &Page) -> Self {
        let about = if page.about.is_empty() {
            page.summary
        } else {
            page.about
        };
        let mut text = Self(String::new());
        text.wrapped("", about, 0);
        text.0.push_str(&format!("\nUsage: {}\n", page.usage));
        text
    }

    fn heading(&mut self, heading: &str) {
        self.0.push_str(&format!("\n{heading}\n"));
    }

    fn flags(&mut self, flags: impl Iterator<Item = &'static Flag>) {
        for flag in flags {
            let spellings = spellings(flag);
            let indent = if flag.short.is_some() { "" } else { "    " };
            let variable = variable(flag).map(|it| format!(" [{it}]"));
            let default = default(flag).map(|it| format!(" [default: {it}]"));
            let help = format!(
                "{}{}{}",
                flag.help,
                variable.unwrap_or_default(),
                default.unwrap_or_default()
            );
            self.entry(&format!("{indent}{spellings}"), &help, FLAG_COLUMNS);
        }
    }

    /// A term and, from a column on, what it means: below it where it is too long.
    fn entry(&mut self, term: &str, meaning: &str, column: usize) {
        let term = format!("  {term}");
        if term.chars().count() + 2 <= column {
            self.wrapped(&format!("{term:<column$}"), meaning, column);
        } else {
            self.0.push_str(&format!("{term}\n"));
            self.wrapped(&" ".repeat(column), meaning, column);
        }
    }

    fn paragraph(&mut self, paragraph: &str) {
        self.0.push('\n');
        self.wrapped("", paragraph, 0);
    }

    /// Breaks `text` between words; its first line begins with `start`, the others at a column.
    fn wrapped(&mut self, start: &str, text: &str, column: usize) {
        let mut line = start.to_owned();
        let mut is_empty = true;
        for word in words(text) {
            let is_full = line.chars().count() + 1 + word.chars().count() > COLUMNS;
            if is_full && !is_empty {
                self.0.push_str(&format!("{line}\n"));
                line = " ".repeat(column);
            } else if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.0.push_str(&format!("{line}\n"));
    }

    fn end(mut self, page: &Page) -> String {
        for note in page.notes {
            self.paragraph(note);
        }
        let is_one = page.examples.len() == 1;
        self.heading(if is_one { "Example:" } else { "Examples:" });
        for example in page.examples {
            self.0.push_str(&format!("  {example}\n"));
        }
        self.0
    }
}

/// The words of `text`; what stands in brackets stays together if it fits into a line.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let bracketed = rest
            .starts_with('[')
            .then(|| rest.find(']'))
            .flatten()
            .filter(|end| *end < COLUMNS - FLAG_COLUMNS);
        let from = bracketed.unwrap_or(0);
        let end = rest[from..].find(' ').map_or(rest.len(), |at| from + at);
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// Said below the options of a command that has one of these.
const UNITS: &str = "BYTES may end in K, M or G, the powers of 1,024. SECONDS may end in ms, s, m, h \
                     or d. Neither takes a fraction.";
/// The width of a terminal that nobody made wider.
const COLUMNS: usize = 80;
/// Where the meaning of an option begins.
const FLAG_COLUMNS: usize = 29;
/// Where the summary of a command begins.
const COMMAND_COLUMNS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_text_has_its_usage_line_and_fits_80_columns() {
        let texts = CommandName::ALL.map(|it| (command(it), pages::page(it).usage));
        for (text, usage) in texts.into_iter().chain([(program(), pages::PROGRAM.usage)]) {
            assert!(text.contains(&format!("\nUsage: {usage}\n")), "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }

    #[test]
    fn help_shows_each_option_with_its_variable_and_its_default() {
        for command in CommandName::ALL {
            let text = super::command(command);
            let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for flag in flags::shown(command) {
                let mut wanted = vec![spellings(flag), flag.help.to_owned()];
                wanted.extend(variable(flag).map(|it| format!("[{it}]")));
                wanted.extend(default(flag).map(|it| format!("[default: {it}]")));
                for wanted in wanted {
                    assert!(
                        joined.contains(&wanted),
                        "{command:?} lacks {wanted:?}: {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_in_brackets_is_kept_on_one_line() {
        assert_eq!(words("a [default: 64] b"), ["a", "[default: 64]", "b"]);
        assert_eq!(words("a [b"), ["a", "[b"]);
        assert_eq!(words(""), Vec::<&str>::new());
    }
}
