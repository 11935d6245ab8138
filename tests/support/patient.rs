//! A socket that waits for the other side, and ends the wait only at its time-out.
//!
//! Knows that a wait with a time-out is not resumed after the process was stopped and continued
//! (signal(7), "Interruption of system calls"): a shell's job control does that to a test, and so
//! does a frozen machine. Knows nothing of the bytes.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    ops::Deref,
};

#[derive(Debug)]
pub(crate) struct Patient(pub(crate) TcpStream);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.read(buffer))
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Deref for Patient {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
