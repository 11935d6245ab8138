//! Client frames to messages (RFC 6455, 5), in whatever pieces they are read.
//!
//! Owns unmasking, reassembly, UTF-8 and the size limit. Refuses to know the content of a message,
//! the time, and the consequences of a violation. A complete frame is decoded in the caller's
//! buffer; an incomplete frame or message is kept until it is complete.

use std::str;

use super::{
    close::{CloseReason, ProtocolViolation, is_valid_close_code},
    header::{Control, Data, Header, Opcode, unmask},
    partial::{Complete, Partial, Place, Rest, Step},
};

/// One client's decoder: a null pointer while no frame or message is incomplete.
///
/// Call [`decode`](Self::decode) with `&mut input[consumed..]` **until it returns `None`**, even
/// when `consumed` has reached the end of the input: a message assembled from pieces is borrowed
/// from the decoder and freed by the next call, whose input may be empty. After an error, or after
/// [`Input::Close`], the rest of the stream has no meaning: do not decode it.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// An input of a client, complete and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong, solicited or not.
    Pong,
    /// A close frame, with its code and reason if it has any.
    Close(Option<(u16, &'a str)>),
}

impl Decoder {
    /// Decodes `input` up to the end of the next complete message or control frame. Returns the
    /// number of bytes consumed; without a result, all of them are consumed and more are needed.
    ///
    /// The bytes consumed are unmasked in place.
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
    ) -> Result<(usize, Option<Input<'a>>), CloseReason> {
        self.take_back();
        let mut rest = Rest { input, consumed: 0 };
        let (complete, place) = match self.advance(&mut rest, message_bytes_max) {
            Ok(Some(complete)) => complete,
            Ok(None) => return Ok((rest.consumed, None)),
            Err(reason) => {
                self.partial = None;
                return Err(reason);
            }
        };
        let Rest { input, consumed } = rest;
        let payload = match place {
            Place::Input(range) => &input[range],
            Place::Partial => self.partial.as_deref().map_or(&[][..], Partial::lent),
        };
        Ok((consumed, Some(parse(complete, payload)?)))
    }

    /// Whether the decoder holds no bytes.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Whether some fragments of a message have come, and not the last one.
    pub fn is_inside_message(&self) -> bool {
        let begun = self.partial.as_ref().and_then(|it| it.begun_bytes());
        begun.is_some()
    }

    /// The memory held, in bytes: at most some 200 more than the limit of a message, and only for
    /// bytes that have arrived.
    pub fn held_bytes(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.held_bytes())
    }

    /// Frees the payload that the last call lent.
    fn take_back(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.take_back();
            self.free_if_empty();
        }
    }

    fn free_if_empty(&mut self) {
        if self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.is_empty())
        {
            self.partial = None;
        }
    }

    /// Takes one step after the other, up to the next complete input or the end of the bytes.
    fn advance(
        &mut self,
        rest: &mut Rest<'_>,
        message_bytes_max: usize,
    ) -> Result<Option<(Complete, Place)>, CloseReason> {
        loop {
            let step = match &mut self.partial {
                Some(partial) if partial.is_inside_frame() => {
                    partial.advance(rest, message_bytes_max)?
                }
                Some(_) | None => self.begin_frame(rest, message_bytes_max)?,
            };
            match step {
                Step::Continue => {}
                Step::NeedMore => {
                    debug_assert!(rest.bytes().is_empty());
                    return Ok(None);
                }
                Step::Complete(complete, place) => {
                    // A pong leaves nothing to lend.
                    self.free_if_empty();
                    return Ok(Some((complete, place)));
                }
            }
        }
    }

    /// Between frames: the next frame is decoded in place if it is complete.
    fn begin_frame(
        &mut self,
        rest: &mut Rest<'_>,
        message_bytes_max: usize,
    ) -> Result<Step, CloseReason> {
        if rest.bytes().is_empty() {
            return Ok(Step::NeedMore);
        }
        let begun_bytes = self
            .partial
            .as_ref()
            .and_then(|partial| partial.begun_bytes());
        let Some(header) = Header::parse(rest.bytes(), begun_bytes, message_bytes_max)? else {
            return Ok(self.partial_mut().begin_small(rest));
        };
        let is_whole = rest.bytes().len() - header.header_bytes >= header.payload_bytes;
        let complete = match header.opcode {
            Opcode::Control(control) => Some(Complete::Control(control)),
            Opcode::Data(Data::Text) if header.is_final => Some(Complete::Text),
            Opcode::Data(Data::Binary) if header.is_final => Some(Complete::Binary),
            // The payload of a continuation is appended to the fragments before it.
            Opcode::Data(_) => None,
        };
        match (header.opcode, complete) {
            (_, Some(complete)) if is_whole => {
                rest.skip(header.header_bytes);
                let range = rest.skip(header.payload_bytes);
                unmask(&mut rest.input[range.clone()], header.mask);
                Ok(Step::Complete(complete, Place::Input(range)))
            }
            (Opcode::Control(_), _) => Ok(self.partial_mut().begin_small(rest)),
            (Opcode::Data(data), _) => {
                rest.skip(header.header_bytes);
                Ok(self.partial_mut().begin_payload(data, &header))
            }
        }
    }

    fn partial_mut(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }
}

/// Interprets a complete, unmasked payload.
fn parse(complete: Complete, payload: &[u8]) -> Result<Input<'_>, CloseReason> {
    Ok(match complete {
        Complete::Text => Input::Text(parse_utf8(payload)?),
        Complete::Binary => Input::Binary(payload),
        Complete::Control(Control::Ping) => Input::Ping(payload),
        Complete::Control(Control::Pong) => Input::Pong,
        Complete::Control(Control::Close) => Input::Close(parse_close(payload)?),
    })
}

/// RFC 6455, 5.5.1 and 7.4.
fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, CloseReason> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            [..] => Err(CloseReason::Protocol(ProtocolViolation::CloseTruncated)),
        };
    };
    let reason = parse_utf8(reason)?;
    let code = u16::from_be_bytes(code);
    if !is_valid_close_code(code) {
        return Err(CloseReason::Protocol(ProtocolViolation::CloseCodeInvalid));
    }
    Ok(Some((code, reason)))
}

fn parse_utf8(bytes: &[u8]) -> Result<&str, CloseReason> {
    str::from_utf8(bytes).map_err(|_| CloseReason::InvalidPayload)
}
