//! Answers to requests over HTTP: pages, errors in JSON, and refusals that are logged.
//!
//! Knows no path and no client.

use std::time::Duration;

use crate::{
    http::response::{Response, Status},
    message::{ErrorCode, ServerMessage},
    sse,
};

use super::{encode::Transport, error_status::status_of, token_refusal::TokenRefusal};

/// A response, encoded but for what the request says about its form.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    content_type: &'static str,
    /// What every page of the world may load and keep has one.
    public_tag: Option<String>,
    /// Header fields of its own, each with the end of its line.
    fields: String,
    body: String,
    /// The answer to `HEAD`: everything but the body.
    is_head_only: bool,
    /// Nothing is read behind the request.
    pub(super) is_last: bool,
    /// Why the client is refused, for the log; `None` where it is not, or nobody cares.
    pub(super) refusal: Option<String>,
    /// The bytes are `body` alone.
    is_raw: bool,
    /// The answer proper is yet to come.
    pub(super) is_interim: bool,
}

impl Answer {
    pub(super) fn new(status: Status, content_type: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type,
            public_tag: None,
            fields: String::new(),
            body: body.into(),
            is_head_only: false,
            is_last: true,
            refusal: None,
            is_raw: false,
            is_interim: false,
        }
    }

    /// A text for people.
    pub(super) fn text(status: Status, text: &str) -> Self {
        Self::new(status, TEXT, text)
    }

    /// What the client does not get, and why; one line.
    pub(super) fn refusal(status: Status, reason: &str) -> Self {
        Self {
            refusal: Some(reason.to_owned()),
            ..Self::new(status, TEXT, format!("{reason}\n"))
        }
    }

    /// The same where programs ask: the error as a WebSocket's client is told it.
    pub(super) fn error_refusal(code: ErrorCode, reason: &str, channel: Option<&str>) -> Self {
        Self {
            refusal: Some(reason.to_owned()),
            ..Self::error(code, reason, channel)
        }
    }

    /// To a program whose token does not count.
    pub(super) fn token_refusal(refusal: TokenRefusal) -> Self {
        Self::error_refusal(refusal.code(), refusal.text(), None).with_fields(refusal.challenge())
    }

    /// An error in JSON.
    pub(super) fn error(code: ErrorCode, text: &str, channel: Option<&str>) -> Self {
        Self::message(&ServerMessage::error(code, text, channel, None))
    }

    /// A message in JSON.
    pub(super) fn message(message: &ServerMessage<'_>) -> Self {
        let mut json = Vec::new();
        message.append_to(&mut json);
        let json = String::from_utf8_lossy(&json).into_owned();
        Self::new(status_of(message), JSON, json)
    }

    /// To a body that is not even read, since it has more than so many bytes.
    pub(super) fn too_large(bytes_max: usize, channel: Option<&str>) -> Self {
        let text = format!("a body may have {bytes_max} bytes");
        Self::error(ErrorCode::PayloadTooLarge, &text, channel)
    }

    /// Where no head is waited for any more.
    pub(super) fn no_room(reason: &str) -> Self {
        Self::refusal(Status::ServiceUnavailable, reason)
    }

    /// To a request that could not be read.
    pub(super) fn unreadable(status: Status) -> Self {
        let reason = if status == Status::HeaderFieldsTooLarge {
            HEAD_TOO_LARGE
        } else if status == Status::RequestTimeout {
            "the request took too long"
        } else {
            "the request is malformed"
        };
        Self::refusal(status, reason)
    }

    /// The peer may send the body.
    pub(super) fn go_on() -> Self {
        let body = "HTTP/1.1 100 Continue\r\n\r\n";
        Self {
            is_raw: true,
            is_last: false,
            is_interim: true,
            ..Self::new(Status::Ok, TEXT, body)
        }
    }

    /// A stream that ends at once, and whose reader may come again: any status but 200 would end a
    /// browser's reader for ever.
    pub(super) fn stream_end(retry: Duration, code: u16, reason: &str, fields: &str) -> Self {
        let mut bytes = Vec::new();
        append_stream_head(fields, &mut bytes);
        append_stream_end(retry, code, reason, &mut bytes);
        Self {
            is_raw: true,
            refusal: Some(reason.to_owned()),
            ..Self::new(Status::Ok, TEXT, String::from_utf8_lossy(&bytes))
        }
    }

    /// With these header fields besides its own, each with the end of its line.
    #[must_use]
    pub(super) fn with_fields(mut self, fields: &str) -> Self {
        self.fields += fields;
        self
    }

    /// With this text for people.
    #[must_use]
    pub(super) fn with_body(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    /// Every page of the world may load it, and keep it for as long as its tag is the same.
    #[must_use]
    pub(super) fn public(mut self, tag: &str) -> Self {
        self.public_tag = Some(tag.to_owned());
        self
    }

    /// As the answer to `HEAD`.
    #[must_use]
    pub(super) fn head_only(mut self, is_head_only: bool) -> Self {
        self.is_head_only = is_head_only;
        self
    }

    /// Another request may follow.
    #[must_use]
    pub(super) fn persistent(mut self, is_persistent: bool) -> Self {
        // A stream ends with its connection.
        self.is_last = self.is_raw || !is_persistent;
        self
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// Appends the bytes.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        if self.is_raw {
            out.extend_from_slice(self.body.as_bytes());
            return;
        }
        let response = Response {
            status: self.status,
            content_type: self.content_type,
            fields: &self.fields,
            body: &self.body,
            public_tag: self.public_tag.as_deref(),
            is_last: self.is_last,
        };
        response.write(self.is_head_only, out);
    }
}

/// Appends the head of an event stream.
pub(super) fn append_stream_head(fields: &str, out: &mut Vec<u8>) {
    for part in [
        "HTTP/1.1 200 OK\r\n\
         Connection: close\r\n\
         Content-Type: text/event-stream\r\n\
         Cache-Control: no-store\r\n\
         X-Accel-Buffering: no\r\n\
         X-Content-Type-Options: nosniff\r\n",
        fields,
        "\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends for how long the reader waits when the stream is cut.
pub(super) fn append_retry(retry: Duration, out: &mut Vec<u8>) {
    let milliseconds = u32::try_from(retry.as_millis()).unwrap_or(u32::MAX);
    sse::encoder::append_retry(milliseconds, out);
}

/// Appends the last events of a stream whose reader may come again after `retry`.
pub(super) fn append_stream_end(retry: Duration, code: u16, message: &str, out: &mut Vec<u8>) {
    append_retry(retry, out);
    let end = ServerMessage::StreamEnd { code, message };
    Transport::EventStream.append(&end, None, out);
}

/// The answer to a method that means nothing here.
pub(super) fn not_allowed(methods: &str) -> Answer {
    let text = format!("{methods} are taken here\n");
    let fields = format!("Allow: {methods}\r\n");
    Answer::new(Status::MethodNotAllowed, TEXT, text).with_fields(&fields)
}

/// The answer to a browser that asks whether a page may send such a request (Fetch, 3.2.4), and to
/// anybody else who asks which methods there are.
pub(super) fn preflight(methods: &str) -> Answer {
    let fields = format!(
        "Allow: {methods}\r\n\
         Access-Control-Allow-Methods: {methods}\r\n\
         Access-Control-Allow-Headers: authorization, content-type, last-event-id\r\n\
         Access-Control-Max-Age: 600\r\n"
    );
    Answer::text(Status::NoContent, "").with_fields(&fields)
}

const HEAD_TOO_LARGE: &str = "the head of the request, its cookies included, has more than 8 KiB \
     or 100 fields";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
