//! Help, manual page and completions: laid out from the table of options and the pages.
//!
//! Chooses who lays out what was asked for. Knows no option by name and prints nothing.

mod completions;
mod man;
#[cfg(test)]
mod markdown;
mod pages;
mod text;

use super::command::{CommandName, HELP, Shell, Topic};

/// The usage line of a command, or of the program.
pub(crate) fn line(command: Option<CommandName>) -> &'static str {
    command.map_or(&pages::PROGRAM, pages::page).usage
}

/// What to type for the whole help text.
pub(crate) fn help_command(command: Option<CommandName>) -> String {
    match command {
        None => format!("alle {HELP}"),
        Some(command) => format!("alle {HELP} {}", command.word()),
    }
}

/// What is shown of a topic.
pub(crate) fn help(topic: Topic) -> String {
    match topic {
        Topic::Program => text::program(),
        Topic::Command(command) => text::command(command),
        Topic::Man => man::page(),
        Topic::Completions(Shell::Bash) => completions::bash(),
        Topic::Completions(Shell::Zsh) => completions::zsh(),
        Topic::Completions(Shell::Fish) => completions::fish(),
    }
}
