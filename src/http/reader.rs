//! The requests of one connection, one behind the other, in whatever pieces they are read.
//!
//! Owns where a request ends and the next one begins, and the head that is not complete. Refuses to
//! know what a request asks for, and keeps nothing of a body.

use super::{
    body::{Body, Framing},
    request::{self, HEAD_BYTES_MAX, Request},
    response::Status,
};

/// The reader of one connection's requests.
///
/// Call [`read`](Self::read) with `&input[consumed..]` **until it returns no event**: a head that was
/// assembled from pieces is borrowed from the reader. After an error the rest of the stream has no
/// meaning: answer and close.
#[derive(Debug, Default)]
pub struct Reader {
    /// A head that is not complete, or was lent by the last call.
    head: Vec<u8>,
    is_lent: bool,
    body: Option<Body>,
}

/// What came of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request begins.
    Head(Request<'a>),
    /// Bytes of its body.
    Data(&'a [u8]),
    /// It ends.
    End,
}

impl Reader {
    /// A reader whose first request has its head already, and a body like this behind it.
    pub fn behind_head(framing: Framing) -> Self {
        Self {
            body: Some(Body::new(framing)),
            ..Self::default()
        }
    }

    /// Reads up to the next event. Returns the number of bytes consumed; without an event, all of
    /// them are consumed and more are needed.
    pub fn read<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>), Status> {
        if std::mem::take(&mut self.is_lent) {
            self.head = Vec::new();
        }
        if let Some(body) = &mut self.body {
            return Self::read_body(body, input).map(|(consumed, event, is_complete)| {
                if is_complete && event.is_none() {
                    self.body = None;
                    return (consumed, Some(Event::End));
                }
                (consumed, event)
            });
        }
        if input.is_empty() {
            return Ok((0, None));
        }
        if self.head.is_empty() {
            let Some(request) = request::parse(input)? else {
                self.head = input.to_vec();
                return Ok((input.len(), None));
            };
            self.body = Some(Body::new(request.body));
            return Ok((request.head_bytes, Some(Event::Head(request))));
        }
        let held = self.head.len();
        let taken = input.len().min(HEAD_BYTES_MAX - held);
        self.head.extend_from_slice(&input[..taken]);
        // A head that is not complete at its longest is refused.
        let Some(request) = request::parse(&self.head)? else {
            return Ok((taken, None));
        };
        self.is_lent = true;
        self.body = Some(Body::new(request.body));
        Ok((request.head_bytes - held, Some(Event::Head(request))))
    }

    /// The next bytes of the body in one piece, or its end.
    fn read_body<'a>(
        body: &mut Body,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>, bool), Status> {
        let mut consumed = 0;
        loop {
            let piece = body.next(&input[consumed..]);
            let (framing_bytes, data_bytes) = piece.map_err(|_| Status::BadRequest)?;
            consumed += framing_bytes;
            if data_bytes > 0 {
                let data = &input[consumed..consumed + data_bytes];
                return Ok((consumed + data_bytes, Some(Event::Data(data)), false));
            }
            if body.is_complete() || consumed == input.len() {
                return Ok((consumed, None, body.is_complete()));
            }
        }
    }

    /// What holds the head that the last call lent, where that came in pieces.
    pub fn lent_head(&self) -> Option<&[u8]> {
        self.is_lent.then_some(&self.head[..])
    }

    /// Whether a request has begun and is not complete.
    pub fn is_inside_request(&self) -> bool {
        self.body.is_some() || !self.head.is_empty() && !self.is_lent
    }

    /// The memory held, in bytes: at most a head.
    pub fn held_bytes(&self) -> usize {
        self.head.len()
    }
}
