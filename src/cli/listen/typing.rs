//! The reactions of a [`Listener`] to the person at its terminal: keys, lines, and the shell that
//! moves it between front and back.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    Flow, Listener, Stage, completion,
    editor::Input,
    input::{self, Typed},
    keyboard::{self, Read},
    subscriptions::Report,
};
use crate::cli::failure::Failure;

impl Listener<'_> {
    /// Reads what was typed, up to a budget. Before the first connection it waits.
    pub(super) fn read_keyboard(&mut self, now: Instant) -> Result<Flow, Failure> {
        let mut buffer = [0; 4_096];
        for taken in 1..=READS_PER_TURN_MAX {
            let read = match &mut self.keyboard {
                Some(keyboard) if self.is_in_front && self.stage != Stage::Connecting => {
                    keyboard.read(&mut buffer)
                }
                Some(_) | None => break,
            };
            match read {
                Read::Nothing => break,
                Read::End => return Ok(Flow::Break(())),
                Read::Bytes(length) => {
                    self.is_behind |= taken == READS_PER_TURN_MAX;
                    if self.handle_typed(&buffer[..length], now)?.is_break() {
                        return Ok(Flow::Break(()));
                    }
                }
            }
        }
        self.notice_place(now);
        Ok(Flow::Continue(()))
    }

    /// When to look whether the terminal is ours again.
    pub(super) fn look_deadline(&self) -> Option<Instant> {
        let is_away = self.keyboard.is_some() && !self.is_in_front;
        is_away.then_some(self.look_at)
    }

    /// Looks, if it is time.
    pub(super) fn look_around(&mut self, now: Instant) {
        if self.look_deadline().is_some_and(|deadline| deadline <= now) {
            self.look(now);
        }
    }

    /// The program was continued, in front or in the back.
    pub(super) fn handle_continued(&mut self, now: Instant) {
        // Other programs wrote, and nobody knows what.
        self.screen.leave_front(false);
        self.is_in_front = false;
        self.look(now);
    }

    /// Ctrl-Z: the line stays on the screen, the terminal is given back, and the program stops.
    pub(super) fn handle_stop(&mut self, now: Instant) {
        let Some(keyboard) = &mut self.keyboard else {
            return;
        };
        self.screen.leave_front(true);
        keyboard.stop();
        self.is_in_front = false;
        self.look_at = now + LOOK_INTERVAL;
    }

    pub(super) fn handle_resized(&mut self) {
        self.screen.resize(keyboard::columns());
    }

    pub(super) fn handle_line(&mut self, line: &str, now: Instant) -> Result<Flow, Failure> {
        self.screen.line_typed();
        match input::parse(line) {
            Typed::Subscribe(channel) => {
                let request = self.subscriptions.subscribe(channel);
                self.send(request, now)?;
            }
            Typed::Unsubscribe(channel) => {
                let request = self.subscriptions.unsubscribe(channel);
                if request.is_none() {
                    self.screen
                        .report(&Report::Unsubscribed(channel.to_owned()));
                }
                self.send(request, now)?;
            }
            Typed::Publish(channel, payload) => {
                let request = self.subscriptions.publish(channel, payload);
                if request.is_none() {
                    self.screen.not_sent();
                }
                self.send(request, now)?;
            }
            Typed::List => self.screen.list(self.subscriptions.list()),
            Typed::Clear => self.screen.clear(),
            Typed::Help => self.screen.commands(),
            Typed::Quit => {
                self.screen.exiting();
                return Ok(Flow::Break(()));
            }
            Typed::Empty => {}
            Typed::Incomplete(usage) => self.screen.incomplete(usage),
            Typed::TooLong => self.screen.too_long(),
            Typed::Unknown(line) => self.screen.unknown(line),
        }
        Ok(Flow::Continue(()))
    }

    fn handle_typed(&mut self, bytes: &[u8], now: Instant) -> Result<Flow, Failure> {
        if !self.screen.has_editor() {
            return self.handle_typed_lines(bytes, now);
        }
        self.screen.push(bytes);
        loop {
            let subscriptions = &self.subscriptions;
            let complete = |typed: &str| {
                let wanted = subscriptions.list().map(|(channel, _)| channel);
                completion::complete(typed, subscriptions.names(), wanted)
            };
            match self.screen.poll_input(complete) {
                None => return Ok(Flow::Continue(())),
                Some(Input::End) => return Ok(Flow::Break(())),
                Some(Input::Choices(choices)) => self.screen.choices(&choices),
                Some(Input::Line(line)) => {
                    if self.handle_line(&line, now)?.is_break() {
                        return Ok(Flow::Break(()));
                    }
                }
            }
        }
    }

    /// Lines of a terminal that edits them itself.
    fn handle_typed_lines(&mut self, bytes: &[u8], now: Instant) -> Result<Flow, Failure> {
        self.typed.extend_from_slice(bytes);
        while let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.typed.drain(..=end).collect();
            let flow = self.handle_line(&String::from_utf8_lossy(&line), now)?;
            if let ControlFlow::Break(()) = flow {
                return Ok(flow);
            }
        }
        // No terminal keeps so much of one line.
        self.typed.truncate(TYPED_BYTES_MAX);
        Ok(Flow::Continue(()))
    }

    fn look(&mut self, now: Instant) {
        self.look_at = now + LOOK_INTERVAL;
        if let Some(keyboard) = &mut self.keyboard {
            keyboard.look();
        }
        self.notice_place(now);
    }

    /// Follows where the keyboard found us.
    fn notice_place(&mut self, now: Instant) {
        let Some(keyboard) = &self.keyboard else {
            return;
        };
        match (self.is_in_front, keyboard.is_in_front()) {
            (true, false) => {
                self.screen.leave_front(false);
                self.look_at = now + LOOK_INTERVAL;
            }
            (false, true) => {
                self.screen.resize(keyboard::columns());
                self.screen.return_to_front();
            }
            (true, true) | (false, false) => return,
        }
        self.is_in_front = keyboard.is_in_front();
    }
}

const READS_PER_TURN_MAX: usize = 4;
const TYPED_BYTES_MAX: usize = 64 * 1024;
/// Nothing tells a program that it was brought to the front.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
