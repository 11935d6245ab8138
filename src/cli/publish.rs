//! `alle publish`: one notification, and the truth about what became of it.
//!
//! Blocking and straight on: connect, ask, read until the answer with our id. A reader of stdout
//! who went away does not keep the notification from being sent. A stream of lines is for
//! [`lines`].

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: it reads the clock"
)]

mod account;
mod lines;
mod progress;
mod reader;

use std::{
    io::{self, ErrorKind, Read},
    time::{Duration, Instant},
};

use tungstenite::{Error, Message as Frame};

use super::{
    args::{Payload, PublishOptions},
    command::CommandName,
    connection::{self, Socket},
    failure::Failure,
    output::Output,
    token,
    wire::{Message, Request, RequestId},
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
    let payload = match payload {
        Payload::Typed(payload) => Some(payload),
        Payload::Stdin => Some(payload_from_stdin()?),
        Payload::Lines => None,
    };
    output.line(&format!("Connecting to WebSocket: {ws_url}"));
    let mut socket = connection::open(&ws_url, token.as_ref(), TIMEOUT)
        .map_err(|error| Failure::Run(format!("cannot connect to {ws_url}: {error}")))?;
    let id = random_id()
        .map_err(|error| Failure::Run(format!("no random number: {error}{RANDOM_ADVICE}")))?;
    let Some(payload) = payload else {
        output.line(&format!(
            "Publishing to channel '{channel}': lines of stdin"
        ));
        lines::run(socket, &channel, &format!("{id}-"), output)?;
        return say_that_it_was_sent(output);
    };
    output.line(&format!("Publishing to channel '{channel}': {payload}"));
    let request = Request::Notify {
        channel: channel.as_str(),
        payload: &payload,
        id: RequestId::Text(&id),
    };
    socket
        .get_mut()
        .set_deadline(Some(Instant::now() + TIMEOUT))
        .map_err(|error| Failure::Run(error.to_string()))?;
    // It may have gone out before that failed.
    socket
        .send(Frame::text(request.to_json()))
        .map_err(|error| unknown(&format!("cannot send the notification: {error}")))?;
    wait_for_answer(&mut socket, channel.as_str(), &id)?;
    output.line("✓ Notification sent successfully");
    // Said as a courtesy; that it was committed does not depend on it.
    let _ = socket.close(None);
    say_that_it_was_sent(output)
}

/// It is committed: where nobody could be told on stdout, that is no reason to repeat it.
fn say_that_it_was_sent(output: &Output) -> Result<(), Failure> {
    output.finish().map_err(|failure| match failure {
        Failure::Run(reason) => {
            Failure::Unknown(format!("it was sent, do not repeat it; but {reason}"))
        }
        Failure::Usage { .. } | Failure::Unknown(_) => failure,
    })
}

/// The id of the only request. Nobody can answer it who did not read it.
fn random_id() -> Result<String, getrandom::Error> {
    Ok(format!("{:016x}", getrandom::u64()?))
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

/// Reads until the answer to our request; whatever else the bridge says is not for us. Without an
/// answer nobody knows what became of it.
fn wait_for_answer(socket: &mut Socket, channel: &str, id: &str) -> Result<(), Failure> {
    loop {
        let text = match socket.read() {
            Ok(Frame::Text(text)) => text,
            Ok(Frame::Close(frame)) => {
                // The answer to it, which the server waits for.
                let _ = socket.flush();
                return Err(unknown(&connection::closed_by_server(frame.as_ref())));
            }
            Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => continue,
            Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                return Err(unknown("no answer in 10 s"));
            }
            Err(error) => return Err(unknown(&format!("connection lost: {error}"))),
        };
        match Message::parse(&text) {
            Some(Message::Notified {
                channel: answered,
                id: Some(answer_id),
            }) if answered == channel && answer_id == id => return Ok(()),
            // Without an id the bridge could not even read the request, and it is our only one.
            Some(Message::Error {
                message,
                id: answer_id,
                code,
                ..
            }) if answer_id.as_ref().is_none_or(|it| it == id) => {
                if code == UNKNOWN_OUTCOME {
                    return Err(unknown(&message));
                }
                token::check_admission(&code, &message)?;
                return Err(Failure::Run(message));
            }
            _ => {}
        }
    }
}

fn unknown(reason: &str) -> Failure {
    Failure::Unknown(format!(
        "{reason}; it may have been committed: do not repeat it blindly"
    ))
}

const RANDOM_ADVICE: &str = "; the system has to offer getrandom(2), or /dev/random and /dev/urandom: \
                             mount /dev in a container or chroot";
/// The code of an answer that is lost with PostgreSQL.
const UNKNOWN_OUTCOME: &str = "unknown_outcome";
/// For opening the connection, and again for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The bridge takes no longer message; what PostgreSQL takes (7,999 bytes) it says itself.
const STDIN_BYTES_MAX: u64 = 64 * 1024;
