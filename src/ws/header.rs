//! The header of one client frame (RFC 6455, 5.2), checked as far as its bytes are there.
//!
//! Owns the rules for a header, and the mask. Refuses to know the payload and the source of the
//! bytes. Every check is made at the first byte that decides it, in the order of the bytes: the
//! verdict on a stream does not depend on how it was cut into reads.

use super::close::{CloseReason, ProtocolViolation};

/// A header that breaks no rule. tungstenite's `FrameHeader` is not used: it reports an error only
/// once the header is complete, and its opcodes include the reserved ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Always true for a control frame.
    pub(super) is_final: bool,
    pub(super) mask: [u8; 4],
    /// At most 125 for a control frame; a data frame's fits into the message's limit.
    pub(super) payload_bytes: usize,
    /// The length of the header itself.
    pub(super) header_bytes: usize,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Data(Data),
    Control(Control),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Continuation,
    Text,
    Binary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Close,
    Ping,
    Pong,
}

impl Header {
    /// The longest header: two bytes, a 64-bit length, the mask.
    pub(super) const BYTES_MAX: usize = 14;

    /// The header at the start of `bytes`; `None` if it is not complete.
    ///
    /// `begun_bytes` is the length so far of the fragmented message around this frame, if there is
    /// one. A length in a longer form than necessary is accepted, as by most servers; RFC 6455
    /// demands the shortest form of the sender.
    pub(super) fn parse(
        bytes: &[u8],
        begun_bytes: Option<usize>,
        message_bytes_max: usize,
    ) -> Result<Option<Self>, CloseReason> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let is_final = first & FIN != 0;
        let opcode = parse_opcode(first, begun_bytes.is_some())?;

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(CloseReason::Protocol(ProtocolViolation::Unmasked));
        }
        let short = second & !MASKED;
        if matches!(opcode, Opcode::Control(_)) && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(CloseReason::Protocol(ProtocolViolation::ControlTooLong));
        }
        let (length, length_end) = match short {
            126 => {
                let Some(&length) = bytes[2..].first_chunk() else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(length)), 4)
            }
            127 => {
                let Some(&length) = bytes[2..].first_chunk() else {
                    return Ok(None);
                };
                (u64::from_be_bytes(length), 10)
            }
            _ => (u64::from(short), 2),
        };
        if length >> 63 != 0 {
            return Err(CloseReason::Protocol(ProtocolViolation::LengthTopBit));
        }
        let room_bytes = match opcode {
            Opcode::Data(_) => message_bytes_max.saturating_sub(begun_bytes.unwrap_or(0)),
            Opcode::Control(_) => CONTROL_BYTES_MAX,
        };
        let payload_bytes = usize::try_from(length)
            .ok()
            .filter(|&bytes| bytes <= room_bytes)
            .ok_or(CloseReason::MessageTooBig)?;
        let Some(&mask) = bytes[length_end..].first_chunk() else {
            return Ok(None);
        };
        let header_bytes = length_end + mask.len();
        Ok(Some(Self {
            opcode,
            is_final,
            mask,
            payload_bytes,
            header_bytes,
        }))
    }
}

/// Undoes the masking of `bytes`, eight at a time (RFC 6455, 5.3). A payload that comes in pieces is
/// continued with the mask rotated left by the length of the piece before.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for chunk in &mut words {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The opcode, if it is allowed now: everything that the first byte decides.
fn parse_opcode(first: u8, message_begun: bool) -> Result<Opcode, CloseReason> {
    if first & RESERVED != 0 {
        return Err(CloseReason::Protocol(ProtocolViolation::ReservedBit));
    }
    let opcode = match first & OPCODE {
        0x0 => Opcode::Data(Data::Continuation),
        0x1 => Opcode::Data(Data::Text),
        0x2 => Opcode::Data(Data::Binary),
        0x8 => Opcode::Control(Control::Close),
        0x9 => Opcode::Control(Control::Ping),
        0xa => Opcode::Control(Control::Pong),
        _ => return Err(CloseReason::Protocol(ProtocolViolation::UnknownOpcode)),
    };
    let violation = match opcode {
        Opcode::Control(_) if first & FIN == 0 => ProtocolViolation::ControlFragmented,
        Opcode::Data(Data::Continuation) if !message_begun => {
            ProtocolViolation::ContinuationUnexpected
        }
        Opcode::Data(Data::Text | Data::Binary) if message_begun => {
            ProtocolViolation::ContinuationExpected
        }
        Opcode::Control(_) | Opcode::Data(_) => return Ok(opcode),
    };
    Err(CloseReason::Protocol(violation))
}

/// The longest payload of a control frame (RFC 6455, 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::frame::FrameHeader;

    use super::*;

    const MAX: usize = 1000;

    fn violation(violation: ProtocolViolation) -> Result<Option<Header>, CloseReason> {
        Err(CloseReason::Protocol(violation))
    }

    /// Each rule fails at the first byte that breaks it; one byte earlier the header is incomplete.
    #[test]
    fn a_violation_is_seen_at_the_first_byte_that_decides_it() {
        use ProtocolViolation as Violation;
        let cases: &[(&[u8], Option<usize>, Violation)] = &[
            (&[0xc1], None, Violation::ReservedBit),
            (&[0xa1], None, Violation::ReservedBit),
            (&[0x91], None, Violation::ReservedBit),
            (&[0x83], None, Violation::UnknownOpcode),
            (&[0x87], None, Violation::UnknownOpcode),
            (&[0x8b], None, Violation::UnknownOpcode),
            (&[0x8f], None, Violation::UnknownOpcode),
            (&[0x08], None, Violation::ControlFragmented),
            (&[0x09], None, Violation::ControlFragmented),
            (&[0x0a], Some(0), Violation::ControlFragmented),
            (&[0x80], None, Violation::ContinuationUnexpected),
            (&[0x00], None, Violation::ContinuationUnexpected),
            (&[0x81], Some(0), Violation::ContinuationExpected),
            (&[0x02], Some(0), Violation::ContinuationExpected),
            (&[0x81, 0x05], None, Violation::Unmasked),
            (&[0x89, 0x00], None, Violation::Unmasked),
            (&[0x88, 0xfe], None, Violation::ControlTooLong),
            (&[0x89, 0xff], Some(0), Violation::ControlTooLong),
            (
                &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
                None,
                Violation::LengthTopBit,
            ),
        ];
        for &(bytes, begun_bytes, expected) in cases {
            let parse = |bytes| Header::parse(bytes, begun_bytes, MAX);
            assert_eq!(parse(bytes), violation(expected), "{bytes:x?}");
            assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(None), "{bytes:x?}");
        }
    }

    #[test]
    fn every_byte_that_is_no_violation_agrees_with_tungstenite_s_header() {
        let lengths: [&[u8]; 7] = [
            &[0x80],
            &[0xfd],
            &[0xfe, 0, 126],
            &[0xfe, 3, 232],
            &[0xff, 0, 0, 0, 0, 0, 0, 3, 232],
            &[0xff, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0x81],
        ];
        for (first, length) in (0..=u8::MAX).flat_map(|first| lengths.map(|length| (first, length)))
        {
            for begun_bytes in [None, Some(0)] {
                let mut bytes = vec![first];
                bytes.extend_from_slice(length);
                bytes.extend_from_slice(&[1, 2, 3, 4]);
                let Ok(ours) = Header::parse(&bytes, begun_bytes, MAX) else {
                    continue;
                };
                let ours = ours.unwrap();
                for end in 0..bytes.len() {
                    assert_eq!(Header::parse(&bytes[..end], begun_bytes, MAX), Ok(None));
                }
                let mut cursor = Cursor::new(&bytes);
                let (theirs, payload_bytes) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
                assert_eq!(u64::try_from(ours.payload_bytes).unwrap(), payload_bytes);
                assert_eq!(u64::try_from(ours.header_bytes).unwrap(), cursor.position());
                assert_eq!(Some(ours.mask), theirs.mask);
                assert_eq!(ours.is_final, theirs.is_final);
                assert_eq!(u8::from(theirs.opcode), first & 0x0f);
            }
        }
    }

    /// The error comes at the length, before the mask has arrived.
    #[test]
    fn a_message_s_length_is_limited_at_its_header() {
        for (begun_bytes, length, fits) in [
            (None, 999, true),
            (None, 1000, true),
            (None, 1001, false),
            (Some(400), 599, true),
            (Some(400), 600, true),
            (Some(400), 601, false),
            (Some(1000), 0, true),
            (Some(1000), 1, false),
            // The limit is a constant; a message that is over it all the same would not wrap
            // around.
            (Some(1001), 1, false),
            (None, u64::MAX >> 1, false),
        ] {
            let mut bytes = vec![if begun_bytes.is_some() { 0x80 } else { 0x81 }, 0xff];
            bytes.extend_from_slice(&length.to_be_bytes());
            let expected = if fits {
                Ok(None)
            } else {
                Err(CloseReason::MessageTooBig)
            };
            assert_eq!(
                Header::parse(&bytes, begun_bytes, MAX),
                expected,
                "{begun_bytes:?} {length}"
            );
        }
    }

    #[test]
    fn control_frames_are_limited_by_their_own_rule_only() {
        let bytes = [0x89, 0x80 | 125, 1, 2, 3, 4];
        let header = Header::parse(&bytes, Some(MAX), MAX).unwrap().unwrap();
        assert_eq!(header.payload_bytes, 125);
    }

    #[test]
    fn unmasking_in_words_is_unmasking_byte_by_byte_in_any_pieces() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..40_u8 {
            let bytes: Vec<u8> = (0..len).collect();
            let expected: Vec<u8> = bytes
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            for split in 0..=bytes.len() {
                let mut bytes = bytes.clone();
                let (head, tail) = bytes.split_at_mut(split);
                let mut rotated = mask;
                unmask(head, mask);
                rotated.rotate_left(split % 4);
                unmask(tail, rotated);
                assert_eq!(bytes, expected);
            }
        }
    }
}
