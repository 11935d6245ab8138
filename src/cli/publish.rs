//! `alle publish`: one notification, and the truth about what became of it.
//!
//! Blocking and straight on: connect, ask, read until the answer with our id. A reader of stdout
//! who went away does not keep the notification from being sent.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: it reads the clock"
)]

use std::{
    io::{self, ErrorKind, Read},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tungstenite::{Error, Message as Frame};

use super::{
    args::PublishOptions,
    command::CommandName,
    connection::{self, Socket},
    failure::Failure,
    output::Output,
    token,
    wire::{self, Message, Request},
};

/// Sends one notification and waits until PostgreSQL committed it.
pub(crate) fn run(options: PublishOptions, output: &mut Output) -> Result<(), Failure> {
    let PublishOptions {
        ws_url,
        token,
        channel,
        payload,
    } = options;
    let token = token.read(CommandName::Publish)?;
    let payload = if payload == "-" {
        payload_from_stdin()?
    } else {
        payload
    };
    output.line(&format!("Connecting to WebSocket: {ws_url}"));
    let mut socket = connection::open(&ws_url, token.as_ref(), TIMEOUT)
        .map_err(|error| Failure::Run(format!("cannot connect to {ws_url}: {error}")))?;
    output.line(&format!("Publishing to channel '{channel}': {payload}"));
    let request = Request::Notify {
        channel: channel.as_str(),
        payload: &payload,
        id: ID,
    };
    let deadline = Instant::now() + TIMEOUT;
    let _ = SockRef::from(socket.get_ref().tcp()).set_write_timeout(Some(TIMEOUT));
    socket
        .send(Frame::text(request.to_json()))
        .map_err(|error| Failure::Run(format!("cannot send the notification: {error}")))?;
    wait_for_answer(&mut socket, deadline)?;
    output.line("✓ Notification sent successfully");
    // Said as a courtesy; that it was committed does not depend on it.
    let _ = socket.close(None);
    Ok(())
}

/// Everything on stdin, without the line's end that `echo` adds.
fn payload_from_stdin() -> Result<String, Failure> {
    let mut payload = String::new();
    let stdin = io::stdin().lock();
    stdin
        .take(STDIN_BYTES_MAX + 1)
        .read_to_string(&mut payload)
        .map_err(|error| Failure::Run(format!("cannot read the payload from stdin: {error}")))?;
    if payload.len() as u64 > STDIN_BYTES_MAX {
        return Err(Failure::Run(format!(
            "the payload on stdin has more than {STDIN_BYTES_MAX} bytes"
        )));
    }
    if payload.ends_with('\n') {
        payload.pop();
        if payload.ends_with('\r') {
            payload.pop();
        }
    }
    Ok(payload)
}

/// Reads until the answer to our request; whatever else the bridge says is not for us.
fn wait_for_answer(socket: &mut Socket, deadline: Instant) -> Result<(), Failure> {
    loop {
        if Instant::now() >= deadline {
            return Err(unknown("no answer in 10 s"));
        }
        connection::set_read_timeout(SockRef::from(socket.get_ref().tcp()), deadline)
            .map_err(|error| unknown(&error.to_string()))?;
        let text = match socket.read() {
            Ok(Frame::Text(text)) => text,
            Ok(Frame::Close(frame)) => {
                // The answer to it, which the server waits for.
                let _ = socket.flush();
                return Err(unknown(&connection::closed_by_server(frame.as_ref())));
            }
            Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => continue,
            Err(Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                continue;
            }
            Err(error) => return Err(unknown(&format!("connection lost: {error}"))),
        };
        match Message::parse(&text) {
            Some(Message::Notified { id }) if wire::our_id(id.as_ref()) == Some(ID) => {
                return Ok(());
            }
            // Without an id the bridge could not even read the request, and it is our only one.
            Some(Message::Error { message, id, code })
                if id.is_none() || wire::our_id(id.as_ref()) == Some(ID) =>
            {
                token::check_admission(&code, &message)?;
                return Err(Failure::Run(message));
            }
            _ => {}
        }
    }
}

fn unknown(reason: &str) -> Failure {
    Failure::Run(format!(
        "{reason}; whether the notification was sent is unknown"
    ))
}

/// For opening the connection, and again for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The bridge takes no longer message; what PostgreSQL takes (7,999 bytes) it says itself.
const STDIN_BYTES_MAX: u64 = 64 * 1024;

const ID: u64 = 1;
