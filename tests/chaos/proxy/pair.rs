//! One proxied connection: two sockets, and the bytes on their way between them.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use socket2::SockRef;

pub struct Pair {
    pub side: usize,
    /// The peer that connected to us, and the peer to which we connected.
    pub ends: [TcpStream; 2],
    flows: [Flow; 2],
    pub delay: Duration,
    pub is_black_hole: bool,
    /// It is reset after this many more bytes.
    pub bytes_left: Option<usize>,
    /// The time at which held bytes may go on; bytes that wait for a socket have an event to come.
    due: Option<Instant>,
}

/// From one end to the other.
#[derive(Default)]
struct Flow {
    /// Bytes read, and the time at which they may go on.
    held: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    is_at_end: bool,
    is_shut_down: bool,
}

impl Pair {
    pub fn new(side: usize, near: TcpStream, far: TcpStream) -> Self {
        Self {
            side,
            ends: [near, far],
            flows: Default::default(),
            delay: Duration::ZERO,
            is_black_hole: false,
            bytes_left: None,
            due: None,
        }
    }

    /// The time of the next [`pump`](Self::pump), if nothing happens before.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn mend(&mut self) {
        self.delay = Duration::ZERO;
        self.is_black_hole = false;
        self.bytes_left = None;
        let now = Instant::now();
        for flow in &mut self.flows {
            flow.held.iter_mut().for_each(|(due, _)| *due = now);
        }
    }

    /// Moves all bytes that can be moved; true when both ends have ended.
    pub fn pump(&mut self, now: Instant) -> io::Result<bool> {
        self.due = None;
        if self.is_black_hole {
            return Ok(false);
        }
        loop {
            let mut has_moved = false;
            for from in 0..2 {
                has_moved |= self.read(from, now)?;
                has_moved |= self.write(from, now)?;
            }
            if !has_moved {
                let firsts = self.flows.iter().filter_map(|flow| flow.held.front());
                self.due = firsts.map(|&(due, _)| due).filter(|&due| due > now).min();
                return Ok(self.flows.iter().all(|flow| flow.is_shut_down));
            }
        }
    }

    fn read(&mut self, from: usize, now: Instant) -> io::Result<bool> {
        let flow = &mut self.flows[from];
        if flow.is_at_end || flow.held_bytes >= HELD_BYTES_MAX {
            return Ok(false);
        }
        let mut buffer = [0; 16 * 1024];
        match self.ends[from].read(&mut buffer) {
            Ok(0) => flow.is_at_end = true,
            Ok(bytes) => {
                flow.held_bytes += bytes;
                let due = now + self.delay;
                flow.held.push_back((due, buffer[..bytes].to_vec()));
            }
            // Not connected yet.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn write(&mut self, from: usize, now: Instant) -> io::Result<bool> {
        let flow = &mut self.flows[from];
        let to = &mut self.ends[1 - from];
        let mut has_moved = false;
        while let Some((_, bytes)) = flow.held.front_mut().filter(|(due, _)| *due <= now) {
            let part = bytes.len().min(self.bytes_left.unwrap_or(usize::MAX));
            match to.write(&bytes[..part]) {
                Ok(written) => {
                    has_moved = true;
                    flow.held_bytes -= written;
                    bytes.drain(..written);
                    if bytes.is_empty() {
                        flow.held.pop_front();
                    }
                    if let Some(left) = &mut self.bytes_left {
                        *left -= written;
                        if *left == 0 {
                            return Err(ErrorKind::ConnectionReset.into());
                        }
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(has_moved);
                }
                Err(error) => return Err(error),
            }
        }
        if flow.is_at_end && flow.held.is_empty() && !flow.is_shut_down {
            flow.is_shut_down = true;
            to.shutdown(Shutdown::Write)?;
        }
        Ok(has_moved)
    }

    /// Both ends are told that the connection is broken.
    pub fn reset(self) {
        self.ends.iter().for_each(reset);
    }
}

/// The close that follows sends RST.
pub fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

const HELD_BYTES_MAX: usize = 256 * 1024;
