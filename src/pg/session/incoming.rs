//! What a backend's messages do to a session.
//!
//! One message, one step: a change of phase, an answer counted, an event, or the end (PostgreSQL,
//! "Message Flow"). Knows no verb of ours; what it sends is the exchange that start-up demands.

use std::{mem, ops::Range};

use super::{
    Event, Kind, Phase, Request, Session, Ticket,
    naming::{self, NAME_TOO_LONG},
};
use crate::{
    channel::Channel,
    pg::{
        codec::{Span, columns, split_notification},
        command,
        error::{ProtocolError, ServerError, SessionError, bounded_text},
        function::{self, Form},
        text::parsed,
    },
};

/// What one message came to.
pub(super) enum Step {
    /// More bytes are needed, or none will help.
    Idle,
    /// Nothing to tell.
    Silent,
    Notification {
        process_id: u32,
        channel: Range<usize>,
        payload: Range<usize>,
    },
    Event(Event<'static>),
}

/// What stands where the first message should.
enum Stray {
    No,
    /// It is none, and not all of it is there.
    Unfinished,
    Yes(SessionError),
}

/// A server that cannot fork says so without a length, as all versions did once: libpq knows it by
/// a length that no such message has (fe-connect.c, `MAX_ERRLEN`).
fn not_a_message(waiting: &[u8]) -> Stray {
    if waiting.starts_with(b"HTTP/") {
        return Stray::Yes(SessionError::NotPostgres { protocol: "HTTP" });
    }
    let Some(&[tag, a, b, c, d]) = waiting.first_chunk() else {
        return Stray::No;
    };
    let bytes = u32::from_be_bytes([a, b, c, d]);
    if tag != b'E' || (8..=FIRST_ERROR_BYTES_MAX).contains(&bytes) {
        return Stray::No;
    }
    let text = &waiting[1..];
    match text.iter().position(|&byte| byte == 0) {
        Some(end) => Stray::Yes(SessionError::NotBegun(bounded_text(
            text[..end].trim_ascii(),
        ))),
        None if text.len() > ServerError::TEXT_BYTES_MAX => {
            Stray::Yes(SessionError::NotBegun(bounded_text(text)))
        }
        None => Stray::Unfinished,
    }
}

/// Longer than an ErrorResponse before authentication ever is.
const FIRST_ERROR_BYTES_MAX: u32 = 30_000;

impl Session {
    /// Takes one message from the inbox.
    pub(super) fn step(&mut self) -> Step {
        match &mut self.phase {
            Phase::Over => return Step::Idle,
            Phase::Failing(_) => {
                let Phase::Failing(error) = mem::replace(&mut self.phase, Phase::Over) else {
                    return Step::Idle;
                };
                return Step::Event(Event::Failed(error));
            }
            Phase::Authenticating(_)
            | Phase::Starting
            | Phase::SettingUp { .. }
            | Phase::Ready
            | Phase::Closing => {}
        }
        if let Some(event) = self.poll_listened() {
            return Step::Event(event);
        }
        if let Phase::Authenticating(_) = self.phase {
            match not_a_message(self.codec.waiting()) {
                Stray::No => {}
                Stray::Unfinished => return Step::Idle,
                Stray::Yes(error) => {
                    self.end();
                    return Step::Event(Event::Failed(error));
                }
            }
        }
        let step = match self.codec.split() {
            Ok(None) => return Step::Idle,
            Ok(Some(message)) => self.handle_message(&message),
            Err(error) => Err(error.into()),
        };
        step.unwrap_or_else(|error| {
            self.end();
            Step::Event(Event::Failed(error))
        })
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
        self.codec.clear();
        self.outbox.clear();
    }

    /// What may come at any time is handled here, the rest by phase.
    fn handle_message(&mut self, message: &Span) -> Result<Step, SessionError> {
        let tag = message.tag;
        let body = self.codec.bytes(message.body.clone());
        let malformed = ProtocolError::Malformed { tag };
        match tag {
            b'E' => {
                let error = ServerError::parse(body).ok_or(malformed)?;
                self.handle_error(error)
            }
            b'N' => {
                let notice = ServerError::parse(body).ok_or(malformed)?;
                Ok(self.handle_notice(notice))
            }
            b'S' => {
                self.server.handle_parameter(body).ok_or(malformed)?;
                Ok(Step::Silent)
            }
            // The server knows 3.0 but not an option of the protocol; we asked for none.
            b'v' => Ok(Step::Silent),
            b'G' | b'H' | b'W' | b'd' | b'c' => Err(ProtocolError::Copy { tag }.into()),
            _ => match &mut self.phase {
                Phase::Authenticating(authentication) => {
                    // A notification too: who sends it has not proved who it is.
                    if tag != b'R' {
                        return Err(ProtocolError::Unexpected { tag }.into());
                    }
                    if authentication.handle_request(body, self.outbox.tail())? {
                        self.phase = Phase::Starting;
                        self.is_admitted = true;
                    }
                    Ok(Step::Silent)
                }
                Phase::Starting
                | Phase::SettingUp { .. }
                | Phase::Ready
                | Phase::Closing
                | Phase::Failing(_)
                | Phase::Over => self.handle_authenticated(message),
            },
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "an arm for each message, none of them long"
    )]
    fn handle_authenticated(&mut self, message: &Span) -> Result<Step, SessionError> {
        let tag = message.tag;
        let body = self.codec.bytes(message.body.clone());
        let malformed = ProtocolError::Malformed { tag };
        match tag {
            b'A' => {
                let raw = split_notification(body).ok_or(malformed)?;
                // Each of the two is followed by a NUL, and the second one ends the message.
                let payload = message.body.end - 1 - raw.payload.len()..message.body.end - 1;
                let channel = payload.start - 1 - raw.channel.len()..payload.start - 1;
                Ok(Step::Notification {
                    process_id: raw.process_id,
                    channel,
                    payload,
                })
            }
            b'K' => {
                let (process_id, key) = body.split_first_chunk().ok_or(malformed)?;
                self.server.backend_pid = Some(i32::from_be_bytes(*process_id));
                let key = <[u8; 4]>::try_from(key).ok();
                self.server.secret_key = key.map(i32::from_be_bytes);
                Ok(Step::Silent)
            }
            b'Z' => match body {
                b"I" => self.handle_ready(),
                &[status @ (b'T' | b'E')] => Err(ProtocolError::TransactionOpen { status }.into()),
                _ => Err(malformed.into()),
            },
            b'D' if matches!(self.phase, Phase::SettingUp { .. }) => {
                self.server.handle_row(&columns(body).ok_or(malformed)?);
                Ok(Step::Silent)
            }
            b'D' if self.asks_for(Kind::QueueUsage) => {
                let columns = columns(body).ok_or(malformed)?;
                self.server.queue_usage = columns.first().and_then(|text| parsed(text));
                Ok(Step::Silent)
            }
            b'D' if self.asks_for(Kind::Present) => {
                let columns = columns(body).ok_or(malformed)?;
                let pids = columns.first().copied().unwrap_or_default();
                let pids = pids.split(|&byte| byte == b',').filter_map(parsed);
                self.server.present = pids.collect();
                Ok(Step::Silent)
            }
            b'D' if self.asks_for(Kind::Name) => {
                let columns = columns(body).ok_or(malformed)?;
                let [bytes, text] = columns[..] else {
                    return Err(malformed.into());
                };
                let bytes = parsed(bytes).ok_or(malformed)?;
                let request = self.requests.front_mut();
                if let Some(name) = request.and_then(|request| request.name.as_mut()) {
                    name.handle_row(bytes, text);
                }
                Ok(Step::Silent)
            }
            b'D' if self.asks_for(Kind::NotifyIfKept) => {
                let request = self.requests.front_mut();
                if let Some(name) = request.and_then(|request| request.name.as_mut()) {
                    name.handle_kept();
                }
                Ok(Step::Silent)
            }
            b'D' if self.form_of_call().is_some() => {
                let row = function::row(body).ok_or(malformed)?;
                self.calls.handle_row(row);
                Ok(Step::Silent)
            }
            b'D' if self.asks_for(Kind::LockHolder) => {
                let columns = columns(body).ok_or(malformed)?;
                self.server.lock_holder = columns.first().and_then(|text| parsed(text));
                Ok(Step::Silent)
            }
            // Answers on the way to ReadyForQuery: what they say, it says too.
            b'1' | b'2' | b'3' | b'C' | b'D' | b'I' | b'T' | b'n' | b's' | b't'
                if self.awaits_answer() =>
            {
                Ok(Step::Silent)
            }
            b'1' | b'2' | b'3' | b'C' | b'D' | b'I' | b'R' | b'T' | b'n' | b's' | b't' => {
                Err(ProtocolError::Unexpected { tag }.into())
            }
            _ => {
                // A server that sends one may send millions.
                if !mem::replace(&mut self.server.is_foreign, true) {
                    let tag = tag.escape_ascii();
                    tracing::warn!(target: "alle::postgres", "unknown type '{tag}' is skipped");
                }
                Ok(Step::Silent)
            }
        }
    }

    fn awaits_answer(&self) -> bool {
        match self.phase {
            Phase::SettingUp { .. } => true,
            Phase::Ready | Phase::Closing => !self.requests.is_empty(),
            Phase::Authenticating(_) | Phase::Starting | Phase::Failing(_) | Phase::Over => false,
        }
    }

    fn asks_for(&self, kind: Kind) -> bool {
        let request = self.requests.front();
        request.is_some_and(|request| request.kind == kind)
    }

    /// The form of the call that is being answered, if it is one.
    fn form_of_call(&self) -> Option<Form> {
        match self.requests.front()?.kind {
            Kind::Call(form) => Some(form),
            Kind::Name
            | Kind::Listen
            | Kind::Unlisten
            | Kind::Notify
            | Kind::NotifyIfKept
            | Kind::Heartbeat
            | Kind::QueueUsage
            | Kind::LockHolder
            | Kind::Present
            | Kind::Check => None,
        }
    }

    fn handle_error(&mut self, error: ServerError) -> Result<Step, SessionError> {
        match self.phase {
            _ if error.is_fatal() => Err(SessionError::Server(error)),
            Phase::Authenticating(_) | Phase::Starting => Err(SessionError::Server(error)),
            Phase::SettingUp { .. } => {
                tracing::warn!(target: "alle::postgres", "settings stay as they are: {error}");
                Ok(Step::Silent)
            }
            Phase::Ready | Phase::Closing | Phase::Failing(_) | Phase::Over => {
                let Some(request) = self.requests.front_mut() else {
                    return Ok(Step::Event(Event::Notice(error)));
                };
                request.error.get_or_insert_with(|| Box::new(error));
                Ok(Step::Silent)
            }
        }
    }

    /// A cut name is a failed LISTEN: it would hear another channel than was asked for.
    fn handle_notice(&mut self, notice: ServerError) -> Step {
        match self.requests.front_mut() {
            Some(request) if request.kind == Kind::Listen && notice.sqlstate == NAME_TOO_LONG => {
                request.error.get_or_insert_with(|| Box::new(notice));
                Step::Silent
            }
            Some(_) | None => Step::Event(Event::Notice(notice)),
        }
    }

    /// ReadyForQuery, idle: whatever was running is committed or rolled back.
    fn handle_ready(&mut self) -> Result<Step, SessionError> {
        match &mut self.phase {
            Phase::Starting => {
                let mut unanswered = 1;
                if self.server.encoding.as_deref() == Some("SQL_ASCII") {
                    command::set_client_encoding_sql_ascii(self.outbox.tail());
                    unanswered += 1;
                }
                command::set_up(self.outbox.tail());
                self.phase = Phase::SettingUp { unanswered };
                Ok(Step::Silent)
            }
            Phase::SettingUp {
                unanswered: unanswered @ 2..,
            } => {
                *unanswered -= 1;
                Ok(Step::Silent)
            }
            Phase::SettingUp { .. } => {
                self.phase = Phase::Ready;
                Ok(Step::Event(Event::Ready))
            }
            Phase::Ready | Phase::Closing => {
                // An answer to what was not even written is no answer.
                let position = self.requests.front().map(|request| request.position);
                if !position.is_some_and(|position| self.outbox.has_written(position)) {
                    return Err(ProtocolError::Unexpected { tag: b'Z' }.into());
                }
                if self.handle_listened() {
                    return Ok(Step::Silent);
                }
                let form = self.form_of_call();
                let Some(request) = self.requests.pop_front() else {
                    return Ok(Step::Silent);
                };
                let Request {
                    ticket,
                    kind,
                    mut error,
                    name,
                    ..
                } = request;
                if let Some(form) = form {
                    let sqlstate = error.as_ref().map(|error| &*error.sqlstate);
                    if self.calls.handle_completed(form, sqlstate) {
                        error = None;
                    }
                }
                if let (Kind::Notify | Kind::NotifyIfKept, Some(error)) = (kind, &mut error) {
                    naming::blame(error, name.as_deref());
                }
                let result = error.map_or(Ok(()), |error| Err(*error));
                let Some(name) = name else {
                    return Ok(Step::Event(Event::Completed { ticket, result }));
                };
                let kept = result.and_then(|()| name.into_channel());
                Ok(if kind == Kind::Name {
                    self.handle_name(ticket, kept)
                } else {
                    let result = kept.map(|_| ());
                    Step::Event(Event::Completed { ticket, result })
                })
            }
            Phase::Authenticating(_) | Phase::Failing(_) | Phase::Over => {
                Err(ProtocolError::Unexpected { tag: b'Z' }.into())
            }
        }
    }
}

impl Session {
    /// The server was asked for the name of a channel: it is listened to now, or refused.
    fn handle_name(&mut self, ticket: Ticket, kept: Result<Channel, ServerError>) -> Step {
        match kept {
            Ok(channel) => {
                self.queue(Kind::Listen, ticket, |out| command::listen(&channel, out));
                Step::Silent
            }
            Err(error) => Step::Event(Event::Completed {
                ticket,
                result: Err(error),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::{config::Config, error::Refusal};

    fn failure(input: &[u8]) -> Option<SessionError> {
        let config = Config::parse("postgres://u@db", &|_| None).unwrap();
        let mut session = Session::new(&config, "alle");
        session.handle_input(input);
        match session.poll_event() {
            Some(Event::Failed(error)) => Some(error),
            Some(event) => panic!("{event:?}"),
            None => None,
        }
    }

    #[test]
    fn a_server_that_cannot_fork_is_heard_out_in_however_many_pieces() {
        let whole = b"Ecould not fork new process for connection: no\n\0";
        for end in 0..whole.len() {
            assert_eq!(failure(&whole[..end]), None, "{end}");
        }
        let text = "could not fork new process for connection: no".to_owned();
        let error = failure(whole).unwrap();
        assert_eq!(error, SessionError::NotBegun(text));
        assert!(error.remedy().is_some() && error.refusal() == Refusal::Passing);
        for (bytes, is_known) in [(4096, false), (4097, true)] {
            let endless = [&b"E"[..], &vec![b'x'; bytes]].concat();
            assert_eq!(failure(&endless).is_some(), is_known, "{bytes}");
        }
    }

    #[test]
    fn an_ordinary_refusal_is_none_of_those() {
        let body = b"SFATAL\0C28000\0Mno\0\0";
        let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
        let error = failure(&[&b"E"[..], &length, body].concat()).unwrap();
        assert!(matches!(error, SessionError::Server(error) if error.sqlstate == "28000"));
    }

    #[test]
    fn a_web_server_is_called_one() {
        let error = failure(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
        assert_eq!(
            error.to_string(),
            "what answers there speaks HTTP, not PostgreSQL's protocol"
        );
        assert_eq!(error.refusal(), Refusal::Hopeless);
        assert_eq!(failure(b"HTTP"), None);
    }
}
