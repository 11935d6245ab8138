//! The state of an incomplete frame or message, and its continuation.
//!
//! Owns the bytes between two reads and their bound. Refuses to know a complete frame: the decoder
//! decodes it in place. No memory is reserved for a length that was merely announced.

use std::{mem, ops::Range, str};

use super::{
    close::CloseReason,
    header::{CONTROL_BYTES_MAX, Control, Data, Header, Opcode, unmask},
};

/// The incomplete rest of a client's input. Not kept while [`is_empty`](Self::is_empty).
#[derive(Debug, Default)]
pub(super) struct Partial {
    frame: Frame,
    /// Not `None` while `frame` is `Payload`.
    message: Message,
}

/// The frame begun.
#[derive(Debug, Default)]
enum Frame {
    #[default]
    Between,
    /// An incomplete header, or an incomplete control frame.
    Small(Small),
    /// In the payload of a data frame.
    Payload(Payload),
    /// A control frame completed from pieces, while its payload is lent out.
    Lent(Small, Range<usize>),
}

/// The message begun, which control frames may interrupt.
#[derive(Debug, Default)]
enum Message {
    #[default]
    None,
    Text(Text),
    Binary(Vec<u8>),
    /// A message completed from pieces, while it is lent out.
    Lent(Vec<u8>),
}

/// The bytes of a frame small enough to be kept as they came.
#[derive(Clone, Copy, Debug)]
struct Small {
    bytes: [u8; SMALL_BYTES_MAX],
    len: usize,
}

/// The rest of a data frame's payload.
#[derive(Debug)]
struct Payload {
    /// Rotated to the next byte.
    mask: [u8; 4],
    remaining_bytes: usize,
    is_final: bool,
}

/// Unmasked text.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// `bytes` is UTF-8 up to here; behind it is at most the beginning of one character.
    valid_bytes: usize,
}

/// The caller's buffer and how far it is consumed.
#[derive(Debug)]
pub(super) struct Rest<'a> {
    pub(super) input: &'a mut [u8],
    pub(super) consumed: usize,
}

/// The result of a step.
#[derive(Debug)]
pub(super) enum Step {
    Continue,
    /// The input is consumed.
    NeedMore,
    Complete(Complete, Place),
}

/// The kind of a complete message or control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complete {
    Text,
    Binary,
    Control(Control),
}

/// The place of its unmasked payload.
#[derive(Debug)]
pub(super) enum Place {
    Input(Range<usize>),
    Partial,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        matches!(
            (&self.frame, &self.message),
            (Frame::Between, Message::None)
        )
    }

    pub(super) fn is_inside_frame(&self) -> bool {
        matches!(self.frame, Frame::Small(_) | Frame::Payload(_))
    }

    /// The length so far of the message begun, if there is one.
    pub(super) fn begun_bytes(&self) -> Option<usize> {
        self.message.begun_bytes()
    }

    pub(super) fn held_bytes(&self) -> usize {
        let message_bytes = match &self.message {
            Message::Text(text) => text.bytes.capacity(),
            Message::Binary(bytes) | Message::Lent(bytes) => bytes.capacity(),
            Message::None => 0,
        };
        size_of::<Self>() + message_bytes
    }

    /// The payload that was completed by the last step.
    pub(super) fn lent(&self) -> &[u8] {
        match (&self.frame, &self.message) {
            (Frame::Lent(small, payload), _) => &small.bytes[payload.clone()],
            (_, Message::Lent(bytes)) => bytes,
            (_, _) => &[],
        }
    }

    /// Drops the lent payload.
    pub(super) fn take_back(&mut self) {
        if matches!(self.frame, Frame::Lent(..)) {
            self.frame = Frame::Between;
        }
        if matches!(self.message, Message::Lent(_)) {
            self.message = Message::None;
        }
    }

    /// Keeps the rest of the input, which is shorter than a header or a control frame.
    pub(super) fn begin_small(&mut self, rest: &mut Rest<'_>) -> Step {
        let mut small = Small {
            bytes: [0; SMALL_BYTES_MAX],
            len: 0,
        };
        small.fill(rest, SMALL_BYTES_MAX);
        self.frame = Frame::Small(small);
        Step::NeedMore
    }

    /// Enters the payload of a data frame whose header is consumed.
    pub(super) fn begin_payload(&mut self, data: Data, header: &Header) -> Step {
        match data {
            Data::Text => self.message = Message::Text(Text::default()),
            Data::Binary => self.message = Message::Binary(Vec::new()),
            Data::Continuation => debug_assert!(self.begun_bytes().is_some()),
        }
        self.frame = Frame::Payload(Payload {
            mask: header.mask,
            remaining_bytes: header.payload_bytes,
            is_final: header.is_final,
        });
        Step::Continue
    }

    /// Continues inside a frame.
    pub(super) fn advance(
        &mut self,
        rest: &mut Rest<'_>,
        message_bytes_max: usize,
    ) -> Result<Step, CloseReason> {
        match &mut self.frame {
            Frame::Between | Frame::Lent(..) => {
                debug_assert!(false, "the decoder begins a frame");
                Ok(Step::NeedMore)
            }
            Frame::Small(small) => {
                let begun_bytes = self.message.begun_bytes();
                let Some(header) = small.header(rest, begun_bytes, message_bytes_max)? else {
                    return Ok(Step::NeedMore);
                };
                let control = match header.opcode {
                    Opcode::Control(control) => control,
                    Opcode::Data(data) => return Ok(self.begin_payload(data, &header)),
                };
                let Some(payload) = small.payload(&header, rest) else {
                    return Ok(Step::NeedMore);
                };
                self.frame = match control {
                    Control::Close | Control::Ping => Frame::Lent(*small, payload),
                    Control::Pong => Frame::Between,
                };
                Ok(Step::Complete(Complete::Control(control), Place::Partial))
            }
            Frame::Payload(payload) => {
                self.message.take(payload, rest)?;
                if payload.remaining_bytes > 0 {
                    return Ok(Step::NeedMore);
                }
                let is_final = payload.is_final;
                self.frame = Frame::Between;
                Ok(if is_final {
                    self.message.complete()
                } else {
                    Step::Continue
                })
            }
        }
    }
}

impl Message {
    fn begun_bytes(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.bytes.len()),
            Self::Binary(bytes) => Some(bytes.len()),
            Self::None | Self::Lent(_) => None,
        }
    }

    /// Takes as much of the frame's payload as there is.
    fn take(&mut self, payload: &mut Payload, rest: &mut Rest<'_>) -> Result<(), CloseReason> {
        let len = payload.remaining_bytes.min(rest.bytes().len());
        let range = rest.skip(len);
        let piece = &mut rest.input[range];
        unmask(piece, payload.mask);
        match self {
            Self::Text(text) => text.push(piece, payload.remaining_bytes)?,
            Self::Binary(bytes) => append(bytes, piece, payload.remaining_bytes),
            Self::None | Self::Lent(_) => debug_assert!(false, "a payload without a message"),
        }
        payload.mask.rotate_left(len % 4);
        payload.remaining_bytes -= len;
        Ok(())
    }

    /// The last byte of the last frame was consumed. The decoder notices a text that ends inside a
    /// character, when it makes a `&str` of it.
    fn complete(&mut self) -> Step {
        match mem::take(self) {
            Self::Text(text) => {
                *self = Self::Lent(text.bytes);
                Step::Complete(Complete::Text, Place::Partial)
            }
            Self::Binary(bytes) => {
                *self = Self::Lent(bytes);
                Step::Complete(Complete::Binary, Place::Partial)
            }
            Self::None | Self::Lent(_) => {
                debug_assert!(false, "a frame without a message");
                Step::Continue
            }
        }
    }
}

impl Small {
    /// Takes bytes from the input until `len` are held.
    fn fill(&mut self, rest: &mut Rest<'_>, len: usize) {
        let count = len.saturating_sub(self.len).min(rest.bytes().len());
        let range = rest.skip(count);
        self.bytes[self.len..self.len + count].copy_from_slice(&rest.input[range]);
        self.len += count;
    }

    /// The header, as soon as it is complete: byte by byte, so as not to take a byte too many.
    fn header(
        &mut self,
        rest: &mut Rest<'_>,
        begun_bytes: Option<usize>,
        message_bytes_max: usize,
    ) -> Result<Option<Header>, CloseReason> {
        loop {
            let header = Header::parse(&self.bytes[..self.len], begun_bytes, message_bytes_max)?;
            if header.is_some() || rest.bytes().is_empty() {
                return Ok(header);
            }
            self.fill(rest, self.len + 1);
        }
    }

    /// The range of the control frame's payload, unmasked, as soon as it is complete.
    fn payload(&mut self, header: &Header, rest: &mut Rest<'_>) -> Option<Range<usize>> {
        let payload = header.header_bytes..header.header_bytes + header.payload_bytes;
        self.fill(rest, payload.end);
        if self.len < payload.end {
            return None;
        }
        unmask(&mut self.bytes[payload.clone()], header.mask);
        Some(payload)
    }
}

impl Text {
    /// Appends the beginning of the remaining frame, and fails at the first byte that cannot belong
    /// to UTF-8.
    fn push(&mut self, piece: &[u8], remaining_bytes: usize) -> Result<(), CloseReason> {
        append(&mut self.bytes, piece, remaining_bytes);
        match str::from_utf8(&self.bytes[self.valid_bytes..]) {
            Ok(text) => self.valid_bytes += text.len(),
            Err(error) if error.error_len().is_none() => self.valid_bytes += error.valid_up_to(),
            Err(_) => return Err(CloseReason::InvalidPayload),
        }
        Ok(())
    }
}

/// Appends `piece`, the beginning of the `remaining_bytes` of a frame.
fn append(bytes: &mut Vec<u8>, piece: &[u8], remaining_bytes: usize) {
    let needed_bytes = bytes.len() + piece.len();
    if needed_bytes > bytes.capacity() {
        // Doubles, but never beyond the end of the frame, which is within the message's limit.
        let frame_end = bytes.len() + remaining_bytes;
        let target = needed_bytes
            .max(2 * bytes.capacity())
            .max(MESSAGE_BYTES_MIN);
        bytes.reserve_exact(target.min(frame_end) - bytes.len());
    }
    bytes.extend_from_slice(piece);
}

impl Rest<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    /// Consumes `len` bytes and returns their range.
    pub(super) fn skip(&mut self, len: usize) -> Range<usize> {
        let begin = self.consumed;
        self.consumed += len;
        begin..self.consumed
    }
}

/// A control frame with its header, which is two bytes and the mask.
const SMALL_BYTES_MAX: usize = 2 + 4 + CONTROL_BYTES_MAX;

/// The first capacity for a message that arrives byte by byte.
const MESSAGE_BYTES_MIN: usize = 64;

const _: () = assert!(SMALL_BYTES_MAX >= Header::BYTES_MAX);
