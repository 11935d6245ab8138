//! The manual page alle(1), in the macros of man(7), which every implementation knows.

use std::fmt::Write as _;

use super::{
    pages::{self, Page},
    text::{default, units, variable},
};
use crate::cli::{
    command::{COMPLETIONS, CommandName, HELP, MAN, Shell},
    flags::{self, Flag},
};

/// The whole page.
pub(super) fn page() -> String {
    let mut page = Roff(String::new());
    page.line(&format!(
        ".TH ALLE 1 {DATE} \"alle {}\" \"User Commands\"",
        env!("CARGO_PKG_VERSION")
    ));
    // A name that is broken at the end of a line cannot be searched for.
    page.line(".nh");
    page.section("NAME");
    let summary = pages::PROGRAM.summary;
    page.line(&format!("alle \\- {}", escaped(summary)));
    page.section("SYNOPSIS");
    let shells = Shell::ALL.map(Shell::word).join("|");
    page.synopsis(&[
        format!("alle {HELP} [COMMAND]"),
        format!("alle {HELP} {MAN}"),
        format!("alle {HELP} {COMPLETIONS} {shells}"),
    ]);
    page.section("DESCRIPTION");
    page.text(pages::PROGRAM.notes[0]);
    page.paragraphs(&pages::PROGRAM.notes[1..]);
    for command in CommandName::ALL {
        page.command(command);
    }
    page.section("EXIT STATUS");
    for (status, meaning) in EXIT_STATUS {
        page.term(status, meaning);
    }
    page.section("EXAMPLES");
    page.commands(&pages::PROGRAM);
    page.0
}

/// A page under construction.
struct Roff(String);

impl Roff {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.line(&format!(".SH {name}"));
    }

    /// The usage lines of all commands, and then `others`.
    fn synopsis(&mut self, others: &[String]) {
        let of_commands = CommandName::ALL.map(|it| pages::page(it).usage);
        let others = others.iter().map(String::as_str);
        for (number, usage) in of_commands.into_iter().chain(others).enumerate() {
            if number > 0 {
                self.line(".br");
            }
            let (program, rest) = usage.split_once(' ').unwrap_or((usage, ""));
            self.line(&format!(".B {program}"));
            self.text(rest);
        }
    }

    fn command(&mut self, command: CommandName) {
        let page = pages::page(command);
        self.section(&format!("\"ALLE {}\"", command.word().to_uppercase()));
        self.text(&format!("{}.", page.about));
        for (operand, meaning) in page.operands {
            self.term(&escaped(operand), meaning);
        }
        for flag in flags::shown(command) {
            self.flag(flag);
        }
        self.paragraphs(units(command).as_slice());
        self.paragraphs(page.notes);
        self.examples(page);
    }

    fn flag(&mut self, flag: &Flag) {
        let short = flag.short.map(|it| format!("\\fB\\-{it}\\fR, "));
        let value = flag.placeholder().map(|it| format!(" \\fI{it}\\fR"));
        let term = format!(
            "{}\\fB\\-\\-{}\\fR{}",
            short.unwrap_or_default(),
            escaped(flag.long),
            value.unwrap_or_default()
        );
        let mut meaning = format!("{}.", flag.help);
        if let Some(variable) = variable(flag) {
            let _ = write!(meaning, " Variable: {variable}.");
        }
        if let Some(default) = default(flag) {
            let _ = write!(meaning, " Default: {default}.");
        }
        self.term(&term, &meaning);
    }

    /// `term` may contain requests of roff.
    fn term(&mut self, term: &str, meaning: &str) {
        self.line(".TP");
        self.line(term);
        self.text(meaning);
    }

    fn paragraphs(&mut self, paragraphs: &[&str]) {
        for paragraph in paragraphs {
            self.line(".PP");
            self.text(paragraph);
        }
    }

    fn examples(&mut self, page: &Page) {
        self.line(".PP");
        self.commands(page);
    }

    fn commands(&mut self, page: &Page) {
        self.line(".nf");
        self.line(".RS 4");
        for example in page.examples {
            self.line(&escaped(example));
        }
        self.line(".RE");
        self.line(".fi");
    }

    /// Text in lines of a length that people edit.
    fn text(&mut self, text: &str) {
        let text = escaped(text);
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > LINE_BYTES_MAX {
                self.line(&line);
                line.clear();
            } else if !line.is_empty() {
                line.push(' ');
            }
            if line.is_empty() && word.starts_with('.') {
                // Else it would be a request.
                line.push_str("\\&");
            }
            line.push_str(word);
        }
        self.line(&line);
    }
}

/// As roff reads it back: a bare dash is a hyphen there, a bare apostrophe a closing quotation
/// mark, and neither can be copied into a shell.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('~', "\\(ti")
        .replace('^', "\\(ha")
        .replace('`', "\\(ga")
}

/// The day of this version; to be set with the number of the next one.
const DATE: &str = "2026-11-29";
const LINE_BYTES_MAX: usize = 80;
/// What the program ends with.
const EXIT_STATUS: [(&str, &str); 4] = [
    (
        "0",
        "What was asked for is done, or the reader of stdout went away.",
    ),
    ("1", "It failed while running."),
    ("2", "It was asked in a way that cannot work."),
    (
        "3",
        "Whether it did what was asked is unknown: a notification was handed over and its answer \
         lost, so that it may have been sent.",
    ),
];
