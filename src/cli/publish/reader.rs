//! The lines of stdin, read by a thread: stdin may be a file, for which no poll can wait.
//!
//! Bounded, and each line wakes the loop. Refuses to know what becomes of a line.

#![expect(
    clippy::disallowed_methods,
    reason = "stdin cannot be polled wherever it comes from, so a thread blocks on it"
)]

use std::{
    io::{self, BufRead, Read as _},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use mio::Waker;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line without its end, and the bytes that it takes on stdin.
    Line(String, u64),
    /// What stands here cannot be a payload, for this reason. The last.
    Wrong(String),
    /// The end of stdin. The last.
    End,
}

/// Begins to read. The caller keeps `waker`, too: a wake is lost with the last of its owners, and
/// the thread ends before the loop has seen the end.
pub(super) fn start(waker: Arc<Waker>) -> Receiver<Read> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let read = next(&mut stdin);
            let is_last = !matches!(read, Read::Line(..));
            if sender.send(read).is_err() || waker.wake().is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn next(input: &mut impl BufRead) -> Read {
    let mut line = Vec::new();
    match input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line) {
        Err(error) => return Read::Wrong(format!("cannot read stdin: {error}")),
        Ok(0) => return Read::End,
        Ok(_) => {}
    }
    let bytes = line.len() as u64;
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    } else if bytes > LINE_BYTES_MAX {
        return Read::Wrong(format!("it has more than {LINE_BYTES_MAX} bytes"));
    }
    match String::from_utf8(line) {
        Ok(line) => Read::Line(line, bytes),
        Err(_) => Read::Wrong("it is not valid UTF-8".to_owned()),
    }
}

/// The bridge takes no longer message; what PostgreSQL takes (7,999 bytes) it says itself.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const LINES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_up_to_what_is_none() {
        let mut input = &b"a\r\n\nb c\nlast"[..];
        for expected in [("a", 3), ("", 1), ("b c", 4), ("last", 4)] {
            let (line, bytes) = expected;
            assert_eq!(next(&mut input), Read::Line(line.to_owned(), bytes));
        }
        assert_eq!(next(&mut input), Read::End);
        let wrong = |mut input: &[u8]| matches!(next(&mut input), Read::Wrong(_));
        let most = usize::try_from(LINE_BYTES_MAX).unwrap();
        assert!(wrong(b"\xff\n"));
        assert!(wrong(&vec![b'x'; most + 1]));
        assert!(!wrong(&vec![b'x'; most]));
    }
}
