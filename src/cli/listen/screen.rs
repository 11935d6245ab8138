//! The texts of `alle listen`, and the stream of each.
//!
//! On a terminal everything goes to stdout, around a prompt. Otherwise stdout is for
//! notifications alone and the rest is on stderr, where a lost connection is always reported.

use std::io::{self, IsTerminal};

use super::subscriptions::{GapCause, Report};
use crate::cli::{connection::WsUrl, output::Output};

/// The screen, or the files that stand for it.
pub(super) struct Screen<'a> {
    output: &'a mut Output,
    is_json: bool,
    /// The stream of everything but notifications.
    talk: Talk,
    prompt: Prompt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prompt {
    /// No person types.
    Never,
    /// Not before the first texts are out.
    Later,
    Hidden,
    Shown,
}

impl<'a> Screen<'a> {
    /// Nothing shown yet.
    pub(super) fn new(output: &'a mut Output, is_json: bool) -> Self {
        let is_person = output.stdout_is_terminal() && !is_json;
        let prompt = if is_person && io::stdin().is_terminal() {
            Prompt::Later
        } else {
            Prompt::Never
        };
        let talk = if is_person {
            Talk::Stdout
        } else {
            Talk::Stderr
        };
        Self {
            output,
            is_json,
            talk,
            prompt,
        }
    }

    /// Whether stdout still has a reader.
    pub(super) fn is_open(&self) -> bool {
        self.output.is_open()
    }

    pub(super) fn connecting(&mut self, url: &WsUrl) {
        self.say(&format!("Connecting to WebSocket: {url}"));
    }

    /// The first connection stands and `channels` are asked for.
    pub(super) fn connected(&mut self, channels: &[String]) {
        if channels.is_empty() {
            self.say("Listening on channels: none yet (try: sub <channel>)");
        } else {
            self.say(&format!("Listening on channels: {}", channels.join(", ")));
        }
        self.say("");
        self.commands();
        self.say("");
        self.say("Press Ctrl+C to stop");
        self.say("");
        for channel in channels {
            self.say(&format!("✓ Subscribing to channel '{channel}'"));
        }
        if !channels.is_empty() {
            self.say("");
        }
    }

    /// Every first subscription has its answer.
    pub(super) fn waiting(&mut self) {
        self.say("Waiting for notifications...");
        self.say("");
        self.allow_prompt();
    }

    pub(super) fn commands(&mut self) {
        for line in COMMANDS {
            self.say(line);
        }
    }

    pub(super) fn list<'b>(&mut self, channels: impl Iterator<Item = (&'b str, bool)>) {
        let mut channels = channels.peekable();
        if channels.peek().is_none() {
            self.say("Subscribed channels: none");
            return;
        }
        self.say("Subscribed channels:");
        for (channel, is_confirmed) in channels {
            let note = if is_confirmed {
                ""
            } else {
                " (not confirmed yet)"
            };
            self.say(&format!("  - {channel}{note}"));
        }
    }

    pub(super) fn incomplete(&mut self, word: &str) {
        self.say(&format!("Which channel? {word} <channel>"));
    }

    pub(super) fn unknown(&mut self, line: &str) {
        self.say(&format!("Unknown command '{line}', help shows them all"));
    }

    pub(super) fn exiting(&mut self) {
        self.say("Exiting...");
    }

    pub(super) fn report(&mut self, report: &Report) {
        match report {
            // With --json the message itself was printed.
            Report::Notification { .. } if self.is_json => {}
            Report::Notification { channel, payload } => {
                self.hide_prompt();
                self.output.line(&format!("[{channel}] {payload}"));
            }
            Report::Subscribed(channel) => {
                self.say(&format!("✓ Subscribed to channel '{channel}'"));
            }
            Report::Unsubscribed(channel) => {
                self.say(&format!("✓ Unsubscribed from channel '{channel}'"));
            }
            Report::Gap { channel, cause } => {
                let cause = match cause {
                    GapCause::Postgres => "PostgreSQL was away",
                    GapCause::Connection => "the connection was lost",
                };
                self.say(&format!(
                    "! possible gap on channel '{channel}': notifications may have been missed \
                     while {cause}"
                ));
            }
            Report::Error(message) => self.say(&format!("Error: {message}")),
            Report::Postgres { is_up: true } => self.say("✓ PostgreSQL is back"),
            Report::Postgres { is_up: false } => {
                self.say("! PostgreSQL is down, the bridge keeps trying");
                self.allow_prompt();
            }
        }
    }

    /// With `--json`, a message as it came. Line breaks in JSON are only ever between its tokens.
    pub(super) fn message(&mut self, json: &str) {
        if self.is_json {
            self.output.line(&json.replace(['\n', '\r'], " "));
        }
    }

    pub(super) fn lost(&mut self, reason: &str) {
        self.complain(&format!("! Connection lost: {reason}; reconnecting..."));
    }

    pub(super) fn back(&mut self) {
        self.complain("✓ Connected again, and subscribed to the same channels");
    }

    pub(super) fn strange(&mut self, text: &str) {
        let start: String = text.chars().take(80).collect();
        self.complain(&format!("! Not a message of a bridge: {start}"));
    }

    /// A line was typed: the prompt is above it now.
    pub(super) fn line_typed(&mut self) {
        if self.prompt != Prompt::Never {
            self.prompt = Prompt::Hidden;
        }
    }

    /// The end of a turn: a person may type.
    pub(super) fn show_prompt(&mut self) {
        if self.prompt == Prompt::Hidden {
            self.output.text("> ");
            self.prompt = Prompt::Shown;
        }
    }

    /// The end: the next text on this terminal begins on a line of its own.
    pub(super) fn finish(&mut self) {
        if self.prompt == Prompt::Shown {
            self.output.text("\n");
            self.prompt = Prompt::Hidden;
        }
    }

    fn allow_prompt(&mut self) {
        if self.prompt == Prompt::Later {
            self.prompt = Prompt::Hidden;
        }
    }

    fn say(&mut self, line: &str) {
        match self.talk {
            Talk::Stdout => {
                self.hide_prompt();
                self.output.line(line);
            }
            Talk::Stderr => self.output.complain(line),
        }
    }

    fn complain(&mut self, line: &str) {
        self.hide_prompt();
        self.output.complain(line);
    }

    /// Back to the start of the line, and clear it.
    fn hide_prompt(&mut self) {
        if self.prompt == Prompt::Shown {
            self.output.text("\r\x1b[K");
            self.prompt = Prompt::Hidden;
        }
    }
}

const COMMANDS: [&str; 6] = [
    "Commands:",
    "  sub <channel>    - Subscribe to a channel",
    "  unsub <channel>  - Unsubscribe from a channel",
    "  list             - List subscribed channels",
    "  help             - Show this help",
    "  quit / exit      - Exit the program",
];
