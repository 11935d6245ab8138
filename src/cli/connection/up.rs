//! An open connection as a part of an event loop: nothing here blocks.
//!
//! Notices a bridge that fell silent. Knows frames, not messages.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use mio::{Interest, Registry, Token};
use socket2::SockRef;
use tungstenite::{Bytes, Error, Message as Frame, Utf8Bytes};

use super::Socket;

/// An open connection.
pub(crate) struct Up {
    socket: Socket,
    connected_at: Instant,
    last_input: Instant,
    /// Whether a ping went out since `last_input`.
    is_pinged: bool,
}

impl Up {
    /// Makes `socket` part of the loop behind `registry`.
    pub(crate) fn new(
        mut socket: Socket,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<Self> {
        SockRef::from(socket.get_ref().tcp()).set_nonblocking(true)?;
        registry.register(
            socket.get_mut().tcp_mut(),
            token,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Self {
            socket,
            connected_at: now,
            last_input: now,
            is_pinged: false,
        })
    }

    /// The next message, `None` when there is none yet; the error text when the connection has
    /// ended.
    pub(crate) fn poll_message(&mut self, now: Instant) -> Result<Option<Utf8Bytes>, String> {
        loop {
            let frame = match self.socket.read() {
                Ok(frame) => frame,
                Err(error) if is_would_block(&error) => return Ok(None),
                Err(error) => return Err(error.to_string()),
            };
            self.last_input = now;
            self.is_pinged = false;
            match frame {
                Frame::Text(text) => return Ok(Some(text)),
                Frame::Close(frame) => {
                    // The reply, for which the server waits.
                    let _ = self.socket.flush();
                    return Err(super::closed_by_server(frame.as_ref()));
                }
                Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
            }
        }
    }

    /// Sends `text` now or as soon as the socket takes it.
    pub(crate) fn send(&mut self, text: String) -> Result<(), String> {
        self.write(Frame::text(text))
    }

    /// Goes on with what the socket did not take before.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        match self.socket.flush() {
            Err(error) if !is_would_block(&error) => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Pings a silent bridge, and gives up on one that does not answer.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), String> {
        if now < self.deadline() {
            return Ok(());
        }
        if self.is_pinged {
            return Err("the server fell silent".to_owned());
        }
        self.is_pinged = true;
        self.write(Frame::Ping(Bytes::new()))
    }

    /// When `handle_timeout` has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        let answer_timeout = if self.is_pinged {
            PONG_TIMEOUT
        } else {
            Duration::ZERO
        };
        self.last_input + SILENCE_TIMEOUT + answer_timeout
    }

    /// Sends a close frame; its arrival no longer matters.
    pub(crate) fn close(&mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }

    /// How long the connection has lasted.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.connected_at)
    }

    fn write(&mut self, frame: Frame) -> Result<(), String> {
        match self.socket.send(frame) {
            Err(error) if !is_would_block(&error) => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn is_would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The bridge pings each 25 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(35);
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
