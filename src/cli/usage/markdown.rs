//! The table of options in `docs/operating.md`, held to the table in the code.
//!
//! A test, and what lays the table out for it: the program itself shows no Markdown.

use std::collections::BTreeSet;

use super::text::{default, spellings, variable};
use crate::cli::{
    command::CommandName,
    flags::{Default, FLAGS, Flag},
};

#[path = "../../laid_out.rs"]
mod laid_out;

#[test]
fn the_table_of_options_in_the_docs_is_that_of_the_program() {
    laid_out::check("docs/operating.md", "src/cli/flags.rs", &table());
}

/// Two options with one variable would be set by it together.
#[test]
fn a_variable_belongs_to_one_option_and_a_spelling_to_one_option_of_a_command() {
    for command in CommandName::ALL {
        let (mut variables, mut spellings) = (BTreeSet::new(), BTreeSet::new());
        for flag in FLAGS.iter().filter(|it| it.commands.contains(&command)) {
            let variable = flag.variable();
            assert!(
                variable.is_none_or(|it| variables.insert(it)),
                "{}",
                flag.long
            );
            assert!(spellings.insert(flag.long.to_owned()), "{}", flag.long);
            let short = flag.short.map(String::from);
            assert!(short.is_none_or(|it| spellings.insert(it)), "{}", flag.long);
        }
    }
    for (one, other) in FLAGS
        .iter()
        .flat_map(|one| FLAGS.iter().map(move |it| (one, it)))
    {
        if one.long == other.long || (one.short.is_some() && one.short == other.short) {
            // It is read before the command is known.
            assert_eq!(one.takes_value(), other.takes_value(), "{}", one.long);
        }
    }
}

fn table() -> String {
    let mut table = String::from("\n| option | variable | default | for | effect |\n");
    table.push_str("| --- | --- | --- | --- | --- |\n");
    for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty()) {
        let spellings = spellings(flag);
        let variable = variable(flag).map(|it| match it.split_once(": ") {
            Some((name, content)) => format!("`{name}`: {content}"),
            None => format!("`{it}`"),
        });
        let default = default(flag).map(|it| match flag.default {
            Default::Described(words) => words.to_owned(),
            Default::None | Default::Typed(_) => format!("`{it}`"),
        });
        let cells = [
            format!("`{spellings}`"),
            variable.unwrap_or_default(),
            default.unwrap_or_default(),
            commands(flag),
            flag.help.replace('*', "\\*").replace('<', "&lt;"),
        ];
        table.push_str(&format!(
            "| {} |\n",
            cells.map(|it| it.replace('|', "\\|")).join(" | ")
        ));
    }
    table.push('\n');
    table
}

fn commands(flag: &Flag) -> String {
    if flag.commands.len() == CommandName::ALL.len() {
        return "all".to_owned();
    }
    // These two take whatever `alle serve` takes.
    let named = flag.commands.iter().filter(|it| match it {
        CommandName::Check | CommandName::Config => false,
        CommandName::Serve
        | CommandName::Listen
        | CommandName::Publish
        | CommandName::Demo
        | CommandName::Doctor
        | CommandName::Health
        | CommandName::Token => true,
    });
    let words: Vec<_> = named.map(|it| it.word()).collect();
    words.join(", ")
}
