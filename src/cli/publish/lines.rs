//! `alle publish --lines`: each line of stdin is a notification, in order; one that is refused
//! ends it.
//!
//! Lines are on their way before the ones ahead of them are answered, else a far bridge would make
//! it slow. Where that could go wrong it waits: the first line, and one that is too long, travel
//! alone. What was sent behind a refused line all the same is told.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::Instant,
};

use alle::Channel;
use mio::{Events, Poll, Token, Waker};

use super::{
    TIMEOUT, UNKNOWN_OUTCOME,
    account::{Account, Answer},
    progress::{self, Progress},
    reader::{self, Read},
};
use crate::cli::{
    connection::{Socket, Up},
    failure::Failure,
    output::Output,
    token,
    wire::{self, Message, Request, RequestId},
};

/// Publishes each line of stdin to `channel`, and says how many and how fast.
pub(super) fn run(
    socket: Socket,
    channel: &Channel,
    prefix: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let poll = Poll::new().map_err(no_loop)?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(no_loop)?);
    let now = Instant::now();
    let up = Up::new(socket, poll.registry(), SOCKET, now).map_err(no_loop)?;
    let mut lines = Lines {
        channel,
        prefix,
        up,
        reads: reader::start(Arc::clone(&waker)),
        is_at_end: false,
        wrong: None,
        held: None,
        account: Account::default(),
        answered_at: now,
        progress: Progress::new(output, now),
    };
    let ended = lines.run(poll);
    drop(waker);
    lines.progress.finish();
    ended?;
    let sent = lines.account.sent();
    output.line(&progress::summary(sent, now.elapsed()));
    lines.up.close();
    Ok(())
}

/// The stream of lines, and how far it has come.
struct Lines<'a> {
    channel: &'a Channel,
    /// Begins each id, so that nobody answers what was not asked yet.
    prefix: &'a str,
    up: Up,
    reads: Receiver<Read>,
    is_at_end: bool,
    /// Why the line behind the last one cannot be sent.
    wrong: Option<String>,
    /// A line that was read and has to wait.
    held: Option<String>,
    account: Account,
    /// The last time that an answer came, or that none was awaited.
    answered_at: Instant,
    progress: Progress,
}

impl Lines<'_> {
    fn run(&mut self, mut poll: Poll) -> Result<(), Failure> {
        let mut events = Events::with_capacity(16);
        loop {
            let now = Instant::now();
            self.read_answers(now)?;
            if !self.account.has_failed() {
                self.send_lines(now)?;
            }
            self.check_time(now)?;
            if self.account.awaited().is_none() && self.is_done() {
                return self.outcome();
            }
            self.progress.show(&self.account, now);
            let deadline = self.deadline(now).saturating_duration_since(now);
            match poll.poll(&mut events, Some(deadline)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(no_loop(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Whether nothing more will be sent.
    fn is_done(&self) -> bool {
        self.account.has_failed() || self.held.is_none() && (self.is_at_end || self.wrong.is_some())
    }

    fn outcome(&self) -> Result<(), Failure> {
        if self.account.has_failed() {
            return Err(self.account.failure());
        }
        match &self.wrong {
            Some(reason) => Err(Failure::Run(self.account.wrong_line(reason))),
            None => Ok(()),
        }
    }

    fn read_answers(&mut self, now: Instant) -> Result<(), Failure> {
        loop {
            let text = match self.up.poll_message(now) {
                Ok(Some(text)) => text,
                Ok(None) => break,
                Err(reason) => return Err(self.lost(&reason)),
            };
            let answered = match Message::parse(&text) {
                Some(Message::Notified { channel, id }) if channel == self.channel.as_str() => {
                    let id = id.as_ref().and_then(wire::text_id);
                    self.number(id)
                        .map(|number| self.account.answer(number, Answer::Sent))
                }
                Some(Message::Error {
                    message, code, id, ..
                }) => {
                    token::check_admission(&code, &message)?;
                    let is_unknown = code == UNKNOWN_OUTCOME;
                    let answer = if is_unknown {
                        Answer::Unknown(message)
                    } else {
                        Answer::Refused(message)
                    };
                    // Without an id, the bridge could not read the oldest one.
                    let number = match &id {
                        None => self.account.awaited(),
                        Some(id) => self.number(wire::text_id(id)),
                    };
                    number.map(|number| self.account.answer(number, answer))
                }
                _ => None,
            };
            if answered == Some(true) {
                self.answered_at = now;
            }
        }
        self.up.flush().map_err(|reason| self.lost(&reason))
    }

    /// The number of the line that has this id.
    fn number(&self, id: Option<&str>) -> Option<u64> {
        id?.strip_prefix(self.prefix)?.parse().ok()
    }

    fn send_lines(&mut self, now: Instant) -> Result<(), Failure> {
        while let Some(line) = self.next_line() {
            let number = self.account.next();
            let id = format!("{}{number}", self.prefix);
            let request = Request::Notify {
                channel: self.channel.as_str(),
                payload: &line,
                id: RequestId::Text(&id),
            };
            let request = request.to_json();
            if !self.account.takes(request.len(), is_doubtful(&line)) {
                self.held = Some(line);
                return Ok(());
            }
            if self.account.awaited().is_none() {
                self.answered_at = now;
            }
            self.account.send(request.len(), is_doubtful(&line));
            self.up.send(request).map_err(|reason| self.lost(&reason))?;
        }
        Ok(())
    }

    fn next_line(&mut self) -> Option<String> {
        if let Some(line) = self.held.take() {
            return Some(line);
        }
        if self.is_at_end || self.wrong.is_some() {
            return None;
        }
        match self.reads.try_recv() {
            Ok(Read::Line(line, bytes)) => {
                self.progress.read(bytes);
                return Some(line);
            }
            Ok(Read::Wrong(reason)) => self.wrong = Some(reason),
            Ok(Read::End) | Err(TryRecvError::Disconnected) => self.is_at_end = true,
            Err(TryRecvError::Empty) => {}
        }
        None
    }

    fn check_time(&mut self, now: Instant) -> Result<(), Failure> {
        if self.account.awaited().is_some() && now >= self.answered_at + TIMEOUT {
            return Err(self.lost("no answer in 10 s"));
        }
        self.up
            .handle_timeout(now)
            .map_err(|reason| self.lost(&reason))
    }

    fn deadline(&self, now: Instant) -> Instant {
        let answer = self.account.awaited().map(|_| self.answered_at + TIMEOUT);
        let shown = self.progress.deadline(now);
        let others = answer.into_iter().chain(shown);
        others.fold(self.up.deadline(), Instant::min)
    }

    fn lost(&mut self, reason: &str) -> Failure {
        self.account.lost(reason)
    }
}

/// Whether PostgreSQL may refuse this line and take the next one.
fn is_doubtful(line: &str) -> bool {
    line.len() > PAYLOAD_BYTES_SURE || line.contains('\0')
}

fn no_loop(error: io::Error) -> Failure {
    Failure::Run(format!("cannot wait for the socket and stdin: {error}"))
}

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// In other encodings than UTF-8 more may fit.
const PAYLOAD_BYTES_SURE: usize = 7_999;
