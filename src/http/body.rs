//! The body of a request, in whatever pieces it is read (RFC 9112, 6 and 7).
//!
//! Owns where a body ends, and the framing of chunks. Refuses to know what the bytes say, how many of
//! them are kept, and the time. Stricter than the RFC where two readers of one stream could part
//! ways: a line ends with CR LF alone.

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, or an empty one.
    None,
    /// It has so many bytes, at least one.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

/// The reader of one body.
///
/// Call [`next`](Self::next) with what follows the head until [`is_complete`](Self::is_complete).
/// After an error the rest of the stream has no meaning.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    /// Bytes of chunk extensions so far, of the chunk at hand.
    extension_bytes: usize,
    /// Bytes of the trailer section, and of extensions, so far.
    discarded_bytes: usize,
}

/// The framing broke a rule: where the body ends, nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are to come.
    Length(u64),
    /// The size of a chunk, so many digits of it.
    Size {
        bytes: u64,
        digits: u8,
    },
    /// White space behind the size: an extension has to follow.
    Blank {
        bytes: u64,
    },
    Extension {
        bytes: u64,
    },
    SizeLineFeed {
        bytes: u64,
    },
    Chunk(u64),
    ChunkReturn,
    ChunkLineFeed,
    /// The start of a line of the trailer section.
    Trailer,
    /// Inside the name of a trailer field.
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Complete,
}

impl Body {
    /// A body that is delimited like this.
    pub fn new(framing: Framing) -> Self {
        Self {
            state: match framing {
                Framing::None | Framing::Length(0) => State::Complete,
                Framing::Length(bytes) => State::Length(bytes),
                Framing::Chunked => State::Size {
                    bytes: 0,
                    digits: 0,
                },
            },
            extension_bytes: 0,
            discarded_bytes: 0,
        }
    }

    /// Reads the next bytes: so many are framing, and so many behind those are of the body. Nothing
    /// behind them is read; call again with the rest.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, usize), Malformed> {
        for (at, &byte) in input.iter().enumerate() {
            if let State::Length(left) | State::Chunk(left) = self.state {
                let rest = input.len() - at;
                let bytes = rest.min(usize::try_from(left).unwrap_or(usize::MAX));
                self.state = self.behind_data(left - bytes as u64);
                return Ok((at, bytes));
            }
            if self.is_complete() {
                return Ok((at, 0));
            }
            self.state = self.step(self.state, byte)?;
        }
        Ok((input.len(), 0))
    }

    /// Whether the body has ended.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// So many bytes of what is at hand are still to come.
    fn behind_data(&self, left: u64) -> State {
        match (matches!(self.state, State::Length(_)), left) {
            (true, 0) => State::Complete,
            (true, left) => State::Length(left),
            (false, 0) => State::ChunkReturn,
            (false, left) => State::Chunk(left),
        }
    }

    /// One byte of the framing.
    fn step(&mut self, state: State, byte: u8) -> Result<State, Malformed> {
        Ok(match (state, byte) {
            (State::Size { bytes, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Malformed);
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                State::Size {
                    bytes: bytes << 4 | digit,
                    digits: digits + 1,
                }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Malformed),
            (
                State::Size { bytes, .. } | State::Blank { bytes } | State::Extension { bytes },
                b';',
            ) => {
                self.discard_extension()?;
                State::Extension { bytes }
            }
            (State::Size { bytes, .. } | State::Blank { bytes }, b' ' | b'\t') => {
                self.discard_extension()?;
                State::Blank { bytes }
            }
            (State::Size { bytes, .. } | State::Extension { bytes }, b'\r') => {
                State::SizeLineFeed { bytes }
            }
            (State::Extension { bytes }, _) if is_visible(byte) => {
                self.discard_extension()?;
                State::Extension { bytes }
            }
            (State::SizeLineFeed { bytes }, b'\n') => {
                self.extension_bytes = 0;
                if bytes == 0 {
                    State::Trailer
                } else {
                    State::Chunk(bytes)
                }
            }
            (State::ChunkReturn, b'\r') => State::ChunkLineFeed,
            (State::ChunkLineFeed, b'\n') => State::Size {
                bytes: 0,
                digits: 0,
            },
            (State::Trailer, b'\r') => State::LastLineFeed,
            (State::Trailer | State::TrailerName, _) if is_token(byte) => {
                self.discard()?;
                State::TrailerName
            }
            (State::TrailerName, b':') => {
                self.discard()?;
                State::TrailerValue
            }
            (State::TrailerValue, b'\r') => State::TrailerLineFeed,
            (State::TrailerValue, _) if is_visible(byte) => {
                self.discard()?;
                State::TrailerValue
            }
            (State::TrailerLineFeed, b'\n') => State::Trailer,
            (State::LastLineFeed, b'\n') => State::Complete,
            (_, _) => return Err(Malformed),
        })
    }

    fn discard_extension(&mut self) -> Result<(), Malformed> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(Malformed);
        }
        self.discard()
    }

    fn discard(&mut self) -> Result<(), Malformed> {
        self.discarded_bytes += 1;
        if self.discarded_bytes > DISCARDED_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(())
    }
}

/// What may stand in a value: no control character but the tab.
fn is_visible(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// The characters of a field's name (RFC 9110, 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Digits of the size of a chunk: all that 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;
/// The extensions of one chunk, in bytes.
pub const EXTENSION_BYTES_MAX: usize = 1_024;
/// The extensions of all chunks of a body, and its trailer section, in bytes.
pub const DISCARDED_BYTES_MAX: usize = 8 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the body, and of the bytes behind it, in pieces of every length.
    fn decode(framing: Framing, input: &[u8]) -> Result<(Vec<u8>, Option<usize>), Malformed> {
        let whole = decode_in(framing, input, usize::MAX);
        for piece in 1..input.len().min(64) {
            assert_eq!(decode_in(framing, input, piece), whole, "pieces of {piece}");
        }
        whole
    }

    fn decode_in(
        framing: Framing,
        input: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Option<usize>), Malformed> {
        let mut body = Body::new(framing);
        let (mut out, mut end) = (Vec::new(), 0);
        for piece in input.chunks(piece.min(input.len().max(1))) {
            let mut rest = piece;
            while !rest.is_empty() && !body.is_complete() {
                let (framing, data) = body.next(rest)?;
                out.extend_from_slice(&rest[framing..framing + data]);
                rest = &rest[framing + data..];
            }
            end += piece.len() - rest.len();
        }
        Ok((out, body.is_complete().then_some(end)))
    }

    #[test]
    fn a_body_with_a_length_ends_there() {
        for (length, input, out, end) in [
            (3, "abcGET", "abc", Some(3)),
            (3, "abc", "abc", Some(3)),
            (4, "abc", "abc", None),
        ] {
            assert_eq!(
                decode(Framing::Length(length), input.as_bytes()),
                Ok((out.into(), end)),
                "{input}"
            );
        }
        assert_eq!(decode(Framing::None, b"abc"), Ok((Vec::new(), Some(0))));
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers() {
        for (input, out, is_complete) in [
            ("3\r\nabc\r\n0\r\n\r\n", "abc", true),
            ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", true),
            ("A\r\n0123456789\r\n000\r\n\r\n", "0123456789", true),
            ("3;name=value\r\nabc\r\n0;last\r\n\r\n", "abc", true),
            ("3 ; a\r\nabc\r\n0\r\n\r\n", "abc", true),
            ("3\r\nabc\r\n0\r\nA: b\r\nB:\r\n\r\n", "abc", true),
            ("0\r\n\r\n", "", true),
            ("3\r\nabc\r\n0\r\n\r", "abc", false),
            ("3\r\nabc\r\n0\r\nA: b\r\n", "abc", false),
            ("3\r\nab", "ab", false),
            ("", "", false),
        ] {
            let end = is_complete.then_some(input.len());
            let expected = Ok((out.as_bytes().to_vec(), end));
            assert_eq!(
                decode(Framing::Chunked, input.as_bytes()),
                expected,
                "{input:?}"
            );
            if is_complete {
                let behind = format!("{input}POST / ");
                assert_eq!(decode(Framing::Chunked, behind.as_bytes()), expected);
            }
        }
    }

    #[test]
    fn a_chunk_that_two_readers_could_read_differently_is_refused() {
        for input in [
            "\r\nabc",
            "g\r\n",
            "-1\r\n",
            "+3\r\nabc",
            "0x3\r\nabc",
            " 3\r\nabc",
            "3 \r\nabc",
            "3\nabc",
            "3\rabc",
            "3\r\nabcd",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "3;a\nbc\r\nabc",
            "3;a\0\r\nabc",
            "00000000000000003\r\nabc",
            "10000000000000000\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\nA\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\n\n",
            "0\n\n",
            "0\r\n\rX",
        ] {
            assert_eq!(
                decode(Framing::Chunked, input.as_bytes()),
                Err(Malformed),
                "{input:?}"
            );
        }
    }

    #[test]
    fn what_is_not_kept_is_limited_too() {
        for (bytes, is_fine) in [(1_023, true), (1_024, true), (1_025, false)] {
            let extension = format!(";{}", "x".repeat(bytes - 1));
            let input = format!("1{extension}\r\na\r\n0\r\n\r\n");
            assert_eq!(
                decode_in(Framing::Chunked, input.as_bytes(), 700).is_ok(),
                is_fine
            );
        }
        for (bytes, is_fine) in [(8_191, true), (8_192, true), (8_193, false)] {
            let trailer = format!("A:{}", "x".repeat(bytes - 2));
            let input = format!("1\r\na\r\n0\r\n{trailer}\r\n\r\n");
            assert_eq!(
                decode_in(Framing::Chunked, input.as_bytes(), 700).is_ok(),
                is_fine
            );
        }
    }
}
