//! `alle listen`: one loop over a socket, stdin and signals.
//!
//! Decides nothing about subscriptions ([`subscriptions`]) and shows nothing itself ([`screen`]).
//! On a terminal the line is edited by [`editor`], between keys that [`keyboard`] reads and the
//! screen; elsewhere neither is there.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: it reads the clock, once a turn"
)]

mod completion;
mod editor;
mod inbox;
mod input;
mod keyboard;
mod link;
mod modes;
mod screen;
mod subscriptions;
mod typing;

use std::{
    io::{self, ErrorKind, IsTerminal},
    ops::ControlFlow,
    sync::mpsc::Receiver,
    time::{Duration, Instant, SystemTime},
};

use alle::internals::access::secret::Secret;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGCONT, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook_mio::v1_0::Signals;

use self::{
    inbox::{Arrival, Inbox},
    keyboard::Keyboard,
    link::Link,
    modes::Modes,
    screen::{Back, Screen, ScreenOptions},
    subscriptions::{Report, Subscriptions},
};
use super::{
    args::ListenOptions,
    command::CommandName,
    connection::{ConnectError, Socket, Up},
    failure::Failure,
    output::Output,
    token,
    wire::Message,
};

/// Listens until a signal, `quit`, the end of a terminal's stdin, or the loss of stdout's reader.
pub(crate) fn run(options: ListenOptions, output: &mut Output) -> Result<(), Failure> {
    let poll = Poll::new().map_err(no_loop)?;
    let waker = Waker::new(poll.registry(), WAKER).map_err(no_loop)?;
    let (inbox, arrivals) = Inbox::new(waker);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(no_loop)?;
    poll.registry()
        .register(&mut signals, SIGNALS, Interest::READABLE)
        .map_err(no_loop)?;
    let token = options.token.read(CommandName::Listen)?;
    let is_terminal = io::stdin().is_terminal();
    let shown = ScreenOptions {
        is_json: options.json,
        is_quiet: options.quiet,
        has_timestamps: options.timestamps,
    };
    let mut screen = Screen::new(output, shown, is_terminal, keyboard::columns());
    let modes = Modes::default();
    modes.guard(screen.has_editor()).map_err(no_loop)?;
    let mut keyboard = None;
    if is_terminal {
        signals.add_signal(SIGCONT).map_err(no_loop)?;
        if screen.has_editor() {
            signals.add_signal(SIGTSTP).map_err(no_loop)?;
            signals.add_signal(SIGWINCH).map_err(no_loop)?;
        }
        let opened = Keyboard::open(screen.has_editor(), modes, poll.registry(), KEYBOARD);
        keyboard = Some(opened.map_err(no_loop)?);
    }
    let is_in_front = keyboard.as_ref().is_some_and(Keyboard::is_in_front);
    if !is_in_front {
        screen.leave_front(false);
    }
    screen.connecting(&options.ws_url);
    link::open(&options.ws_url, token.as_ref(), &inbox);
    let mut listener = Listener {
        subscriptions: Subscriptions::new(&options.channels),
        options,
        token,
        token_fault: None,
        screen,
        link: Link::Opening,
        stage: Stage::Connecting,
        attempt: 0,
        is_behind: false,
        ask_at: None,
        asked_again: 0,
        delayed_count: 0,
        was_refused: false,
        keyboard,
        is_in_front,
        look_at: Instant::now(),
        typed: Vec::new(),
        poll,
        inbox,
        arrivals,
    };
    let ended = listener.run(&mut signals);
    listener.screen.finish();
    ended
}

struct Listener<'a> {
    options: ListenOptions,
    token: Option<Secret>,
    /// Why it could not be read again, which was said.
    token_fault: Option<String>,
    screen: Screen<'a>,
    subscriptions: Subscriptions,
    link: Link,
    stage: Stage,
    /// Attempts to connect since the last stable connection.
    attempt: u32,
    /// Whether the last turn used up its budget: no event announces the rest.
    is_behind: bool,
    /// When to ask again for the channels that were refused for now.
    ask_at: Option<Instant>,
    /// How often that was done in vain.
    asked_again: u32,
    /// How many there were when it was last done.
    delayed_count: usize,
    /// Whether a channel was refused since the connection was lost.
    was_refused: bool,
    /// Where stdin is a terminal.
    keyboard: Option<Keyboard>,
    /// Whether that terminal was ours when the screen was last told.
    is_in_front: bool,
    /// When to look again whether it is.
    look_at: Instant,
    /// The start of a line, from a terminal that edits it.
    typed: Vec<u8>,
    poll: Poll,
    inbox: Inbox,
    arrivals: Receiver<Arrival>,
}

/// The announcements made so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first connection: a failure here is final.
    Connecting,
    /// Connected for the first time, and some subscriptions are unanswered.
    Starting,
    /// Everything announced.
    Live,
    /// The connection was lost, or is back and some subscriptions are unanswered.
    Resuming,
}

/// Whether the loop continues.
type Flow = ControlFlow<()>;

impl Listener<'_> {
    fn run(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        let mut events = Events::with_capacity(16);
        let mut timeout = Some(Duration::ZERO);
        loop {
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(no_loop(error));
                }
                Ok(()) | Err(_) => {}
            }
            let now = Instant::now();
            if self.handle_signals(signals, now).is_break() || self.turn(now)?.is_break() {
                break;
            }
            timeout = self.timeout(now);
        }
        self.screen.finish();
        if let Link::Up(up) = &mut self.link {
            up.close();
        }
        Ok(())
    }

    fn handle_signals(&mut self, signals: &mut Signals, now: Instant) -> Flow {
        for signal in signals.pending() {
            match signal {
                SIGCONT => self.handle_continued(now),
                SIGTSTP => self.handle_stop(now),
                SIGWINCH => self.handle_resized(),
                _ => return Flow::Break(()),
            }
        }
        Flow::Continue(())
    }

    /// How long the loop may wait.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let of_link = match &self.link {
            _ if self.is_behind => Some(now),
            Link::Up(up) => Some(up.deadline()),
            Link::Down { retry_at } => Some(*retry_at),
            Link::Opening => None,
        };
        let deadline = of_link
            .into_iter()
            .chain(self.look_deadline())
            .chain(self.ask_at)
            .min()?;
        Some(deadline.saturating_duration_since(now))
    }

    /// Does everything that needs no wait, up to a budget.
    fn turn(&mut self, now: Instant) -> Result<Flow, Failure> {
        self.is_behind = false;
        if self.options.timestamps {
            self.screen.set_time(SystemTime::now());
        }
        for taken in 1..=ARRIVALS_PER_TURN_MAX {
            // Its answer wakes the loop.
            if self.subscriptions.is_busy() {
                break;
            }
            let Ok(arrival) = self.arrivals.try_recv() else {
                break;
            };
            self.is_behind = taken == ARRIVALS_PER_TURN_MAX;
            if self.handle_arrival(arrival, now)?.is_break() {
                return Ok(Flow::Break(()));
            }
        }
        self.look_around(now);
        if self.read_keyboard(now)?.is_break() {
            return Ok(Flow::Break(()));
        }
        self.read(now)?;
        self.handle_timeouts(now)?;
        self.ask_again(now)?;
        self.announce();
        self.screen.end_turn();
        if !self.screen.is_open() {
            return Ok(Flow::Break(()));
        }
        Ok(Flow::Continue(()))
    }

    fn handle_arrival(&mut self, arrival: Arrival, now: Instant) -> Result<Flow, Failure> {
        match arrival {
            Arrival::Opened(Ok(socket)) => self.handle_opened(*socket, now)?,
            Arrival::Opened(Err(error)) => self.handle_not_opened(&error, now)?,
            Arrival::Line(line) => return self.handle_line(&line, now),
            Arrival::InputEnd => {}
        }
        Ok(Flow::Continue(()))
    }

    fn handle_opened(&mut self, socket: Socket, now: Instant) -> Result<(), Failure> {
        let up = Up::new(socket, self.poll.registry(), SOCKET, now).map_err(no_loop)?;
        self.link = Link::Up(Box::new(up));
        if self.stage == Stage::Connecting {
            self.stage = Stage::Starting;
            self.screen.connected(&self.options.channels);
            // Not earlier: commands of a script need a connection.
            if self.keyboard.is_none() {
                input::start(self.inbox.clone());
            }
        }
        for request in self.subscriptions.handle_connected() {
            self.send(Some(request), now)?;
        }
        Ok(())
    }

    fn handle_not_opened(&mut self, error: &ConnectError, now: Instant) -> Result<(), Failure> {
        if self.stage == Stage::Connecting || error.is_unauthorized() {
            let url = &self.options.ws_url;
            return Err(Failure::Run(format!("cannot connect to {url}: {error}")));
        }
        self.retry_later(now);
        Ok(())
    }

    /// Handles messages of the bridge up to a budget, so that signals and stdin get their turn.
    fn read(&mut self, now: Instant) -> Result<(), Failure> {
        for taken in 1..=MESSAGES_PER_TURN_MAX {
            let Link::Up(up) = &mut self.link else {
                return Ok(());
            };
            let text = match up.poll_message(now) {
                Ok(Some(text)) => text,
                Ok(None) => break,
                Err(reason) => return self.handle_lost(&reason, now),
            };
            self.is_behind |= taken == MESSAGES_PER_TURN_MAX;
            self.screen.message(&text);
            let Some(message) = Message::parse(&text) else {
                self.screen.strange(&text);
                continue;
            };
            if let Message::Error { message, code, .. } = &message {
                token::check_admission(code, message)?;
            }
            if let Some(report) = self.subscriptions.handle_message(message) {
                self.screen.report(&report);
                self.handle_refused(&report)?;
            }
            if !self.screen.is_open() {
                return Ok(());
            }
            // Between two messages, not at the end: the announcement is true from this one on.
            self.announce();
        }
        let Link::Up(up) = &mut self.link else {
            return Ok(());
        };
        up.flush().or_else(|reason| self.handle_lost(&reason, now))
    }

    /// Without a person who could name another channel, nothing would ever be heard.
    fn handle_refused(&mut self, report: &Report) -> Result<(), Failure> {
        if !matches!(report, Report::Refused { .. }) {
            return Ok(());
        }
        self.was_refused = true;
        if self.keyboard.is_none() && self.subscriptions.is_empty() {
            return Err(Failure::Run(
                "no channel is left to listen to: the bridge refused each of them".to_owned(),
            ));
        }
        Ok(())
    }

    fn handle_timeouts(&mut self, now: Instant) -> Result<(), Failure> {
        match &mut self.link {
            Link::Up(up) => up
                .handle_timeout(now)
                .or_else(|reason| self.handle_lost(&reason, now)),
            Link::Down { retry_at } if now >= *retry_at => {
                self.link = Link::Opening;
                self.read_token_again();
                link::open(&self.options.ws_url, self.token.as_ref(), &self.inbox);
                Ok(())
            }
            Link::Down { .. } | Link::Opening => Ok(()),
        }
    }

    /// It may have been replaced, and be why the connection was lost.
    fn read_token_again(&mut self) {
        match self.options.token.read_again() {
            Ok(None) => {}
            Ok(token) => {
                self.token = token;
                self.token_fault = None;
            }
            Err(reason) if self.token_fault.as_ref() == Some(&reason) => {}
            Err(reason) => {
                self.screen.token_kept(&reason);
                self.token_fault = Some(reason);
            }
        }
    }

    /// Asks for the channels that were refused for now, a while after the refusal.
    fn ask_again(&mut self, now: Instant) -> Result<(), Failure> {
        let count = self.subscriptions.delayed_count();
        if count == 0 {
            self.ask_at = None;
            if self.subscriptions.is_settled() {
                self.asked_again = 0;
            }
            return Ok(());
        }
        let ask_at = *self
            .ask_at
            .get_or_insert_with(|| now + link::delay(self.asked_again));
        if now < ask_at {
            return Ok(());
        }
        self.ask_at = None;
        self.asked_again = if count < self.delayed_count {
            0
        } else {
            self.asked_again.saturating_add(1)
        };
        self.delayed_count = count;
        for request in self.subscriptions.ask_delayed() {
            self.send(Some(request), now)?;
        }
        Ok(())
    }

    fn handle_lost(&mut self, reason: &str, now: Instant) -> Result<(), Failure> {
        if !self.options.reconnect {
            let url = &self.options.ws_url;
            return Err(Failure::Run(format!("connection to {url} lost: {reason}")));
        }
        if matches!(&self.link, Link::Up(up) if up.age(now) >= link::STABLE_AFTER) {
            self.attempt = 0;
        }
        self.screen.lost(reason);
        for report in self.subscriptions.handle_disconnected() {
            self.screen.report(&report);
        }
        if self.stage == Stage::Live {
            self.stage = Stage::Resuming;
            self.was_refused = false;
        }
        self.retry_later(now);
        Ok(())
    }

    fn retry_later(&mut self, now: Instant) {
        self.link = Link::Down {
            retry_at: now + link::delay(self.attempt),
        };
        self.attempt = self.attempt.saturating_add(1);
    }

    fn announce(&mut self) {
        if !matches!(self.link, Link::Up(_)) || !self.subscriptions.is_settled() {
            return;
        }
        match self.stage {
            Stage::Starting => self.screen.waiting(),
            Stage::Resuming => self.screen.back(if self.subscriptions.is_empty() {
                Back::None
            } else if self.was_refused {
                Back::Some
            } else {
                Back::All
            }),
            Stage::Connecting | Stage::Live => {}
        }
        self.stage = Stage::Live;
    }

    fn send(&mut self, request: Option<String>, now: Instant) -> Result<(), Failure> {
        match (request, &mut self.link) {
            (Some(request), Link::Up(up)) => up
                .send(request)
                .or_else(|reason| self.handle_lost(&reason, now)),
            (_, Link::Up(_) | Link::Down { .. } | Link::Opening) => Ok(()),
        }
    }
}

fn no_loop(error: io::Error) -> Failure {
    Failure::Run(format!("cannot wait for socket and signals: {error}"))
}

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
const SIGNALS: Token = Token(2);
const KEYBOARD: Token = Token(3);

const ARRIVALS_PER_TURN_MAX: usize = 64;
const MESSAGES_PER_TURN_MAX: usize = 256;
