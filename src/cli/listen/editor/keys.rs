//! Keys, out of the bytes that a terminal sends for them.
//!
//! Owns the bytes of a key that has not come whole yet: of a letter in UTF-8, of an escape
//! sequence. Refuses to know what a key does.

/// One key, by what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A letter, to be written.
    Letter(char),
    /// The line is complete.
    Enter,
    /// Go on with the word.
    Tab,
    /// Ctrl-D: delete a letter, or end the input.
    End,
    /// Ctrl-G: no longer search.
    Cancel,
    /// Ctrl-L.
    ClearScreen,
    /// Ctrl-R: an earlier line with this in it.
    Search,
    /// The line before, and the line behind.
    Older,
    Newer,
    Move(Reach),
    /// Delete, not to be put back.
    Delete(Reach),
    /// Delete, to be put back by [`Key::Yank`].
    Kill(Reach),
    Yank,
    /// Ctrl-T: exchange two letters.
    Transpose,
    /// Nothing here has this key.
    Unknown,
}

/// From the cursor to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Left,
    Right,
    WordLeft,
    WordRight,
    Start,
    End,
}

/// The bytes that came, and are no keys yet.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// How many of them are keys already.
    taken: usize,
}

impl Keys {
    /// Takes what the terminal sent.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next key, if it came whole.
    pub(super) fn next(&mut self) -> Option<Key> {
        let (key, length) = first(&self.bytes[self.taken..])?;
        self.taken += length;
        Some(key)
    }
}

/// The key at the start and the number of its bytes; `None` if more have to come.
fn first(bytes: &[u8]) -> Option<(Key, usize)> {
    let key = match *bytes.first()? {
        ESCAPE => return escaped(bytes),
        1 => Key::Move(Reach::Start),
        2 => Key::Move(Reach::Left),
        4 => Key::End,
        5 => Key::Move(Reach::End),
        6 => Key::Move(Reach::Right),
        7 => Key::Cancel,
        8 | 127 => Key::Delete(Reach::Left),
        b'\t' => Key::Tab,
        b'\n' | b'\r' => Key::Enter,
        11 => Key::Kill(Reach::End),
        12 => Key::ClearScreen,
        14 => Key::Newer,
        16 => Key::Older,
        18 => Key::Search,
        20 => Key::Transpose,
        21 => Key::Kill(Reach::Start),
        23 => Key::Kill(Reach::WordLeft),
        25 => Key::Yank,
        0..=31 => Key::Unknown,
        _ => return letter(bytes),
    };
    Some((key, 1))
}

/// A letter in UTF-8.
fn letter(bytes: &[u8]) -> Option<(Key, usize)> {
    let window = &bytes[..bytes.len().min(LETTER_BYTES_MAX)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return error.error_len().map(|length| (Key::Unknown, length)),
    };
    let letter = valid.chars().next()?;
    Some((Key::Letter(letter), letter.len_utf8()))
}

/// What begins with an escape: a sequence (ECMA-48), or a key with Alt.
fn escaped(bytes: &[u8]) -> Option<(Key, usize)> {
    match *bytes.get(1)? {
        b'[' => sequence(bytes),
        b'O' => Some((arrow(*bytes.get(2)?, false), 3)),
        // Alone, it does nothing.
        ESCAPE => Some((Key::Unknown, 1)),
        8 | 127 => Some((Key::Kill(Reach::WordLeft), 2)),
        b'b' => Some((Key::Move(Reach::WordLeft), 2)),
        b'd' => Some((Key::Kill(Reach::WordRight), 2)),
        b'f' => Some((Key::Move(Reach::WordRight), 2)),
        _ => first(&bytes[1..]).map(|(_, length)| (Key::Unknown, 1 + length)),
    }
}

fn sequence(bytes: &[u8]) -> Option<(Key, usize)> {
    // The function keys of the Linux console.
    if bytes.get(2) == Some(&b'[') {
        return (bytes.len() >= 4).then_some((Key::Unknown, 4));
    }
    let length = bytes.len().min(SEQUENCE_BYTES_MAX);
    let Some(end) = (2..length).find(|at| matches!(bytes[*at], 0x40..=0x7e)) else {
        return (length == SEQUENCE_BYTES_MAX).then_some((Key::Unknown, length));
    };
    let parameters = &bytes[2..end];
    let key = match bytes[end] {
        b'~' => match parameters.split(|byte| *byte == b';').next() {
            Some(b"1" | b"7") => Key::Move(Reach::Start),
            Some(b"3") => Key::Delete(Reach::Right),
            Some(b"4" | b"8") => Key::Move(Reach::End),
            _ => Key::Unknown,
        },
        // With Alt or Ctrl.
        last => arrow(last, matches!(parameters, b"1;3" | b"1;5")),
    };
    Some((key, end + 1))
}

fn arrow(last: u8, by_word: bool) -> Key {
    match last {
        b'A' => Key::Older,
        b'B' => Key::Newer,
        b'C' if by_word => Key::Move(Reach::WordRight),
        b'C' => Key::Move(Reach::Right),
        b'D' if by_word => Key::Move(Reach::WordLeft),
        b'D' => Key::Move(Reach::Left),
        b'F' => Key::Move(Reach::End),
        b'H' => Key::Move(Reach::Start),
        _ => Key::Unknown,
    }
}

const ESCAPE: u8 = 27;
const LETTER_BYTES_MAX: usize = 4;
/// A longer one is none.
const SEQUENCE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are cut, the keys are the same.
    #[test]
    fn keys_come_whole_however_the_bytes_are_cut() {
        let typed =
            "aé🐘\u{1b}[A\u{1b}OB\u{1b}[1;5C\u{1b}[3~\u{1b}b\u{1b}[[A\u{1b}[200~\x1b\x1b[D\t\r";
        let expected = [
            Key::Letter('a'),
            Key::Letter('é'),
            Key::Letter('🐘'),
            Key::Older,
            Key::Newer,
            Key::Move(Reach::WordRight),
            Key::Delete(Reach::Right),
            Key::Move(Reach::WordLeft),
            Key::Unknown,
            Key::Unknown,
            Key::Unknown,
            Key::Move(Reach::Left),
            Key::Tab,
            Key::Enter,
        ];
        for size in 1..=typed.len() {
            let mut keys = Keys::default();
            let mut found = Vec::new();
            for part in typed.as_bytes().chunks(size) {
                keys.push(part);
                found.extend(std::iter::from_fn(|| keys.next()));
            }
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn nothing_a_terminal_sends_is_kept_for_ever() {
        let mut keys = Keys::default();
        for bytes in [
            &[0xff, 0xc3, b'a'][..],
            &[0xe2, 0x82, b'b'],
            &[0xf0, 0x9f, 0x90, 0x98, 0x80],
            b"\x1b[",
            &[b'0'; 100],
        ] {
            keys.push(bytes);
            while keys.next().is_some() {}
        }
        assert!(keys.bytes.len() - keys.taken < SEQUENCE_BYTES_MAX);
        keys.push(b"x");
        let last = std::iter::from_fn(|| keys.next()).last();
        assert_eq!(last, Some(Key::Letter('x')));
    }
}
