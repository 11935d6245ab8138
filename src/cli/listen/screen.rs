//! The texts of `alle listen`, and the stream of each.
//!
//! On a terminal everything goes to stdout, around the line that is being typed. Otherwise stdout
//! is for notifications alone and the rest is on stderr, where a lost connection is always
//! reported. Refuses to know the terminal's modes and the clock.

mod front;

use std::time::SystemTime;

use self::front::Front;
use super::{
    editor::{Completion, Input},
    subscriptions::{GapCause, Report},
};
use crate::cli::{
    connection::WsUrl,
    output::{Output, Style},
};

/// The screen, or the files that stand for it.
pub(super) struct Screen<'a> {
    output: &'a mut Output,
    options: ScreenOptions,
    /// The stream of everything but notifications.
    talk: Talk,
    front: Front,
    /// What this turn shows on a terminal: written at its end, around the line that is typed.
    page: String,
    time: SystemTime,
}

/// What is shown, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScreenOptions {
    /// Messages as they came.
    pub(super) is_json: bool,
    /// No greeting and no confirmations.
    pub(super) is_quiet: bool,
    /// The time before each notification.
    pub(super) has_timestamps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    Stdout,
    Stderr,
}

/// The channels of a connection that is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// The same as before.
    All,
    /// Some were refused.
    Some,
    /// There is none.
    None,
}

impl<'a> Screen<'a> {
    /// Nothing shown yet. `is_typed_at` says that stdin is a terminal.
    pub(super) fn new(
        output: &'a mut Output,
        options: ScreenOptions,
        is_typed_at: bool,
        columns: usize,
    ) -> Self {
        let is_person = output.stdout_is_terminal() && !options.is_json;
        let front = if !is_person || !is_typed_at {
            Front::nobody()
        } else if output.look().is_dumb {
            Front::plain()
        } else {
            Front::editor(columns)
        };
        let talk = if is_person {
            Talk::Stdout
        } else {
            Talk::Stderr
        };
        Self {
            output,
            options,
            talk,
            front,
            page: String::new(),
            time: SystemTime::UNIX_EPOCH,
        }
    }

    /// Whether the line is edited here, and not by the terminal.
    pub(super) fn has_editor(&self) -> bool {
        self.front.has_editor()
    }

    /// Whether stdout still has a reader.
    pub(super) fn is_open(&self) -> bool {
        self.output.is_open()
    }

    /// From now on it is this late.
    pub(super) fn set_time(&mut self, time: SystemTime) {
        self.time = time;
    }

    pub(super) fn connecting(&mut self, url: &WsUrl) {
        if !self.options.is_quiet {
            self.say(&format!("Connecting to WebSocket: {url}"));
        }
    }

    /// The first connection stands and `channels` are asked for.
    pub(super) fn connected(&mut self, channels: &[String]) {
        if self.options.is_quiet {
            return;
        }
        if channels.is_empty() {
            self.say("Listening on channels: none yet (try: sub <channel>)");
        } else {
            self.say(&format!("Listening on channels: {}", channels.join(", ")));
        }
        self.say("");
        for line in COMMANDS {
            self.say(line);
        }
        self.say("");
        self.say("Press Ctrl+C to stop");
        self.say("");
        for channel in channels {
            self.good(&format!("Subscribing to channel '{channel}'"));
        }
        if !channels.is_empty() {
            self.say("");
        }
    }

    /// Every first subscription has its answer.
    pub(super) fn waiting(&mut self) {
        if !self.options.is_quiet {
            self.say("Waiting for notifications...");
            self.say("");
        }
        self.front.allow();
    }

    pub(super) fn commands(&mut self) {
        for line in COMMANDS.iter().chain(&FURTHER_COMMANDS) {
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

    /// Leaves nothing but the prompt on a terminal.
    pub(super) fn clear(&mut self) {
        self.page.clear();
        self.front.clear(&mut self.page);
    }

    pub(super) fn incomplete(&mut self, usage: &str) {
        let missing = if usage.ends_with("<payload>") {
            "Which channel, and what?"
        } else {
            "Which channel?"
        };
        self.say(&format!("{missing} {usage}"));
    }

    pub(super) fn too_long(&mut self) {
        self.bad("Error: ", "the line is too long for a command");
    }

    pub(super) fn unknown(&mut self, line: &str) {
        self.say(&format!("Unknown command '{line}', help shows them all"));
    }

    pub(super) fn not_sent(&mut self) {
        self.bad("Error: ", "there is no connection: nothing was sent");
    }

    pub(super) fn exiting(&mut self) {
        if !self.options.is_quiet {
            self.say("Exiting...");
        }
    }

    pub(super) fn report(&mut self, report: &Report) {
        match report {
            // With --json the message itself was printed.
            Report::Notification { .. } if self.options.is_json => {}
            Report::Notification { channel, payload } => self.notification(channel, payload),
            Report::Subscribed(channel) => {
                self.good(&format!("Subscribed to channel '{channel}'"));
            }
            Report::Unsubscribed(channel) => {
                self.good(&format!("Unsubscribed from channel '{channel}'"));
            }
            Report::Published(channel) => {
                self.good(&format!("Published to channel '{channel}'"));
            }
            Report::Unanswered(channel) => self.warn(&format!(
                "the notification on channel '{channel}' may have been sent: the connection was \
                 lost before the answer"
            )),
            Report::Gap { channel, cause } => {
                let cause = match cause {
                    GapCause::Postgres => "PostgreSQL was away",
                    GapCause::Connection => "the connection was lost",
                };
                self.warn(&format!(
                    "possible gap on channel '{channel}': notifications may have been missed \
                     while {cause}"
                ));
            }
            Report::Refused { channel, message } => self.bad(
                "✗ ",
                &format!("Channel '{channel}' was refused and is off the list: {message}"),
            ),
            Report::Delayed { channel, message } => {
                self.warn(&format!(
                    "channel '{channel}' is refused for now, and asked for again: {message}"
                ));
                self.front.allow();
            }
            Report::Error { channel, message } => match channel {
                Some(channel) => self.bad("Error: ", &format!("channel '{channel}': {message}")),
                None => self.bad("Error: ", message),
            },
            Report::Postgres { is_up: true } => self.good("PostgreSQL is back"),
            Report::Postgres { is_up: false } => {
                self.warn("PostgreSQL is down, the bridge keeps trying");
                self.front.allow();
            }
        }
    }

    /// With `--json`, a message as it came. Line breaks in JSON are only ever between its tokens.
    pub(super) fn message(&mut self, json: &str) {
        if self.options.is_json {
            self.output.line(&json.replace(['\n', '\r'], " "));
        }
    }

    pub(super) fn lost(&mut self, reason: &str) {
        self.complain(&format!("! Connection lost: {reason}; reconnecting..."));
    }

    pub(super) fn token_kept(&mut self, reason: &str) {
        self.complain(&format!("! {reason}; the token before is presented"));
    }

    pub(super) fn back(&mut self, back: Back) {
        self.complain(match back {
            Back::All => "✓ Connected again, and subscribed to the same channels",
            Back::Some => "✓ Connected again, and subscribed to the channels that are left",
            Back::None => "✓ Connected again; there is no channel (try: sub <channel>)",
        });
    }

    pub(super) fn strange(&mut self, text: &str) {
        let start: String = text.chars().take(80).collect();
        self.complain(&format!("! Not a message of a bridge: {start}"));
    }

    /// A line was typed, and the terminal has shown it.
    pub(super) fn line_typed(&mut self) {
        self.front.line_typed();
    }

    /// Takes the keys of a person.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.front.push(bytes);
    }

    /// What the keys mean, one after the other.
    pub(super) fn poll_input(&mut self, complete: impl Fn(&str) -> Completion) -> Option<Input> {
        self.front.poll(complete, &mut self.page)
    }

    /// How a word may go on.
    pub(super) fn choices(&mut self, choices: &[String]) {
        const SHOWN_MAX: usize = 100;
        for choice in choices.iter().take(SHOWN_MAX) {
            self.say(&format!("  {}", choice.trim_end()));
        }
        if choices.len() > SHOWN_MAX {
            self.say(&format!("  ... and {} more", choices.len() - SHOWN_MAX));
        }
    }

    pub(super) fn resize(&mut self, columns: usize) {
        self.front.resize(columns, &mut self.page);
    }

    /// The end of a turn: a person may type.
    pub(super) fn end_turn(&mut self) {
        self.front.show(&mut self.page);
        self.flush();
    }

    /// The terminal is no longer ours, or soon will not be: no prompt until it
    /// [is again](Self::return_to_front). `is_ours` while the line on it is still as we left it.
    pub(super) fn leave_front(&mut self, is_ours: bool) {
        self.front.leave(is_ours, &mut self.page);
        self.flush();
    }

    /// The terminal is ours again.
    pub(super) fn return_to_front(&mut self) {
        self.front.return_to();
    }

    /// The end: the next text on this terminal begins on a line of its own.
    pub(super) fn finish(&mut self) {
        self.leave_front(true);
    }

    fn notification(&mut self, channel: &str, payload: &str) {
        let time = if self.options.has_timestamps {
            format!("{} ", crate::cli::timestamp::utc(self.time))
        } else {
            String::new()
        };
        let name = format!("[{channel}]");
        let line = self.output.styled(&[
            (
                if time.is_empty() {
                    Style::Plain
                } else {
                    Style::Faint
                },
                &time,
            ),
            (Style::Channel, &name),
            (Style::Plain, " "),
            (Style::Plain, payload),
        ]);
        self.write(&line);
    }

    fn good(&mut self, text: &str) {
        if !self.options.is_quiet {
            self.say_in(Style::Good, "✓ ", text);
        }
    }

    fn warn(&mut self, text: &str) {
        self.say_in(Style::Warning, "! ", text);
    }

    fn bad(&mut self, mark: &str, text: &str) {
        self.say_in(Style::Bad, mark, text);
    }

    fn say(&mut self, line: &str) {
        self.say_in(Style::Plain, "", line);
    }

    fn say_in(&mut self, style: Style, mark: &str, text: &str) {
        match self.talk {
            Talk::Stdout => {
                let line = self.output.styled(&[(style, mark), (Style::Plain, text)]);
                self.write(&line);
            }
            Talk::Stderr => self.output.complain(&format!("{mark}{text}")),
        }
    }

    /// Writes to stdout: at once, or on a terminal at the end of the turn.
    fn write(&mut self, line: &str) {
        if self.talk == Talk::Stdout {
            self.front.hide(&mut self.page);
            self.page.push_str(line);
        } else {
            self.output.text(line);
        }
    }

    fn complain(&mut self, line: &str) {
        self.front.hide(&mut self.page);
        self.flush();
        self.output.complain(line);
    }

    fn flush(&mut self) {
        if !self.page.is_empty() {
            let page = std::mem::take(&mut self.page);
            self.output.text(&page);
        }
    }
}

/// As the greeting has them.
const COMMANDS: [&str; 6] = [
    "Commands:",
    "  sub <channel>    - Subscribe to a channel",
    "  unsub <channel>  - Unsubscribe from a channel",
    "  list             - List subscribed channels",
    "  help             - Show this help",
    "  quit / exit      - Exit the program",
];
/// As `help` has them too.
const FURTHER_COMMANDS: [&str; 3] = [
    "  pub <channel> <payload>",
    "                   - Publish a notification",
    "  clear            - Clear the screen",
];
