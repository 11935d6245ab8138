//! A session to PostgreSQL, independent of the program under test: simple queries over TCP.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::harness::PATIENCE;

/// An open session of the user `postgres`, which needs no password.
pub struct Sql {
    stream: TcpStream,
    heard: Vec<(String, String)>,
}

impl Sql {
    #[track_caller]
    pub fn connect(port: u16, database: &str) -> Self {
        Self::try_connect(port, database).unwrap()
    }

    /// The same for a server that may be down.
    pub fn try_connect(port: u16, database: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self {
            stream,
            heard: Vec::new(),
        };
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        for text in [
            "user",
            "postgres",
            "database",
            database,
            "client_encoding",
            "UTF8",
            "",
        ] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        let length = u32::try_from(startup.len() + 4).unwrap();
        session.stream.write_all(&length.to_be_bytes())?;
        session.stream.write_all(&startup)?;
        session.answer()?.map_err(io::Error::other)?;
        Ok(session)
    }

    /// Runs `sql`, several statements being one transaction; the first column of each row.
    #[track_caller]
    pub fn run(&mut self, sql: &str) -> Vec<String> {
        self.run_bytes(sql.as_bytes()).unwrap()
    }

    /// SQL that may be in another encoding.
    #[track_caller]
    pub fn run_bytes(&mut self, sql: &[u8]) -> Result<Vec<String>, String> {
        self.try_run(sql).unwrap()
    }

    /// The outer error is the session's, and leaves the outcome of `sql` unknown.
    pub fn try_run(&mut self, sql: &[u8]) -> io::Result<Result<Vec<String>, String>> {
        let length = u32::try_from(sql.len() + 5).unwrap();
        let mut message = vec![b'Q'];
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(sql);
        message.push(0);
        self.stream.write_all(&message)?;
        self.answer()
    }

    /// The first column of the only row.
    #[track_caller]
    pub fn one(&mut self, sql: &str) -> String {
        let rows = self.run(sql);
        assert_eq!(rows.len(), 1, "{sql}");
        rows.into_iter().next().unwrap()
    }

    /// Publishes; returns once it is committed.
    #[track_caller]
    pub fn notify(&mut self, channel: &str, payload: &str) {
        self.try_notify(channel, payload).unwrap();
    }

    /// The same for a server that may stop or refuse.
    pub fn try_notify(&mut self, channel: &str, payload: &str) -> io::Result<()> {
        let (channel, payload) = (literal(channel), literal(payload));
        let sql = format!("SELECT pg_notify({channel}, {payload})");
        self.try_run(sql.as_bytes())?.map_err(io::Error::other)?;
        Ok(())
    }

    /// The notifications that came with answers so far.
    pub fn heard(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.heard)
    }

    fn answer(&mut self) -> io::Result<Result<Vec<String>, String>> {
        let (mut rows, mut error) = (Vec::new(), None);
        loop {
            let (tag, body) = self.message()?;
            match tag {
                b'D' => rows.push(first_column(&body)),
                b'E' => error = Some(String::from_utf8_lossy(&body).into_owned()),
                b'A' => self.heard.push(notification(&body)),
                b'Z' => return Ok(error.map_or(Ok(rows), Err)),
                _ => {}
            }
        }
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) - 4;
        let mut body = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

fn first_column(body: &[u8]) -> String {
    let length = i32::from_be_bytes([body[2], body[3], body[4], body[5]]);
    let length = usize::try_from(length).unwrap_or(0);
    String::from_utf8_lossy(&body[6..6 + length]).into_owned()
}

fn notification(body: &[u8]) -> (String, String) {
    let mut texts = body[4..].split(|byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(texts.next().unwrap()).into_owned();
    (text(), text())
}

/// A text as a literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
