//! A reader of events by hand: HTTP, chunks or none, and the lines of `text/event-stream`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::{harness::PATIENCE, patient::Patient, schema};

/// A stream of events that is open.
pub struct Stream {
    body: BufReader<Body>,
    /// What the bridge is told after a cut.
    pub last_event_id: String,
}

/// One event with data. Its name is empty for a notification.
#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// What came on a stream.
#[derive(Debug)]
pub enum Line {
    Event(Event),
    Comment,
    End,
}

impl Stream {
    /// Asks for `target` under the name `host`; goes on behind `last_event_id`, if that is not empty.
    /// A refusal is its status line.
    pub fn try_open(
        address: SocketAddr,
        host: &str,
        target: &str,
        last_event_id: &str,
    ) -> Result<Self, String> {
        let position = match last_event_id {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let stream = Self::ask(address, host, target, &position)?;
        Ok(Self {
            last_event_id: last_event_id.to_owned(),
            ..stream
        })
    }

    /// Asks for `target` with a token.
    #[cfg(feature = "tls")]
    pub fn try_open_with(address: SocketAddr, target: &str, token: &str) -> Result<Self, String> {
        let authorization = format!("Authorization: Bearer {token}\r\n");
        Self::ask(address, &address.to_string(), target, &authorization)
    }

    fn ask(address: SocketAddr, host: &str, target: &str, fields: &str) -> Result<Self, String> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut inner = BufReader::new(Patient(stream));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            inner.read_line(&mut line).map_err(|it| it.to_string())?;
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_ascii_lowercase()),
            }
        }
        let status = head.first().cloned().unwrap_or_default();
        if !status.contains(" 200") {
            return Err(status);
        }
        let is_chunked = head.iter().any(|it| it == "transfer-encoding: chunked");
        let body = Body {
            inner,
            is_chunked,
            left: 0,
        };
        Ok(Self {
            body: BufReader::new(body),
            last_event_id: String::new(),
        })
    }

    /// The next event, comment, or the end.
    #[track_caller]
    pub fn line(&mut self) -> Line {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            match self.body.read_line(&mut line) {
                Ok(0) => return Line::End,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing comes"),
                Err(_) => return Line::End,
            }
            let line = line.trim_end();
            if line == ":" {
                return Line::Comment;
            } else if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut self.last_event_id);
            } else if let Some(value) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(value).unwrap();
                schema::check_event(&name, &data);
                return Line::Event(Event { name, data });
            }
        }
    }

    /// The next event, or the end.
    #[track_caller]
    pub fn line_but_comments(&mut self) -> Line {
        loop {
            match self.line() {
                Line::Comment => {}
                line @ (Line::Event(_) | Line::End) => return line,
            }
        }
    }

    /// The next event; fails at the end.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        match self.line_but_comments() {
            Line::Event(event) => event,
            line @ (Line::Comment | Line::End) => panic!("{line:?}"),
        }
    }

    /// The next event, which has this name.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> Value {
        let event = self.event();
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// The payload of the next event, which is a notification.
    #[track_caller]
    pub fn payload(&mut self) -> String {
        self.expect("")["payload"].as_str().unwrap().to_owned()
    }
}

/// The bytes of a response's body.
struct Body {
    inner: BufReader<Patient>,
    is_chunked: bool,
    /// Of the chunk that was begun.
    left: usize,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_chunked {
            return self.inner.read(buffer);
        }
        if self.left == 0 {
            let mut line = String::new();
            self.inner.read_line(&mut line)?;
            if line == "\r\n" {
                line.clear();
                self.inner.read_line(&mut line)?;
            }
            self.left = usize::from_str_radix(line.trim_end(), 16).unwrap_or(0);
        }
        let wanted = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}
