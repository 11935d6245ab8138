//! A PostgreSQL of a hundred lines: starts up, listens, notifies, answers in order when told to.

use std::collections::{BTreeSet, VecDeque};

use alle::Channel;

use super::super::wire::{bound, text};

/// One backend.
#[derive(Default)]
pub struct Server {
    inbox: Vec<u8>,
    started: bool,
    asked: VecDeque<Request>,
    /// Executed, and waiting for their Sync.
    transaction: Vec<(String, String)>,
    said: Vec<u8>,
    listens: BTreeSet<String>,
    /// It sent bytes that no PostgreSQL sends: the frontend is not to blame for believing them.
    is_garbled: bool,
}

enum Request {
    StartUp,
    Query(String),
    /// By the function, in the extended protocol.
    Notify(Vec<(String, String)>),
    /// By the command, in one query.
    NotifyPlainly(Vec<(String, String)>),
}

impl Server {
    /// Bytes of the frontend.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        while self.take_message() {}
    }

    /// Answers the oldest request; the notifications that are now committed are handed back.
    pub fn answer(&mut self, refuse: bool) -> Option<Vec<(String, String)>> {
        let request = self.asked.pop_front()?;
        let is_start_up = matches!(request, Request::StartUp);
        let refuse = refuse
            && match &request {
                Request::StartUp => false,
                Request::Query(sql) => sql.starts_with("LISTEN"),
                Request::Notify(..) | Request::NotifyPlainly(..) => true,
            };
        let mut committed = Vec::new();
        if refuse {
            self.message(b'E', b"SERROR\0VERROR\0C42501\0Mnot allowed\0\0");
        } else {
            match request {
                Request::StartUp => {
                    self.message(b'R', &[0; 4]);
                    self.message(b'S', b"server_version\x0018.0\0");
                    self.message(b'S', b"server_encoding\0UTF8\0");
                    self.message(b'K', &[0, 0, 0, 7, 0, 0, 0, 8]);
                }
                Request::Query(sql) => self.carry_out(&sql),
                Request::Notify(transaction) => {
                    self.message(b'1', b"");
                    for _ in &transaction {
                        self.message(b'2', b"");
                        self.message(b'D', &[0, 1, 0, 0, 0, 0]);
                        self.message(b'C', b"SELECT 1\0");
                    }
                    committed = transaction;
                }
                Request::NotifyPlainly(transaction) => {
                    for _ in &transaction {
                        self.message(b'C', b"NOTIFY\0");
                    }
                    committed = transaction;
                }
            }
        }
        let pairs: BTreeSet<_> = committed.iter().collect();
        assert_eq!(pairs.len(), committed.len(), "equal pairs become one");
        debug_assert!(is_start_up || self.started);
        self.message(b'Z', b"I");
        Some(committed)
    }

    /// A session notified; it is reported if this one listens.
    pub fn notify(&mut self, channel: &str, payload: &[u8]) {
        if self.listens.contains(channel) {
            let body = [&[0, 0, 0, 9], channel.as_bytes(), &[0], payload, &[0]].concat();
            self.message(b'A', &body);
        }
    }

    /// Any bytes at all.
    pub fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        self.is_garbled |= !bytes.is_empty();
    }

    pub fn has_said(&self) -> bool {
        !self.said.is_empty()
    }

    pub fn take_said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// Nobody is there, so nothing is listened to but what always is.
    pub fn check_listens(&self, pinned: Option<&Channel>) {
        let mut listens = self.listens.iter();
        let deserted = listens.find(|name| {
            !name.starts_with("alle probe ") && pinned.is_none_or(|pinned| pinned.as_str() != *name)
        });
        assert!(
            deserted.is_none() || self.is_garbled,
            "{deserted:?} is listened to without a subscriber"
        );
    }

    fn carry_out(&mut self, sql: &str) {
        if sql.is_empty() {
            self.message(b'I', b"");
            return;
        }
        let tag = sql.split(' ').next().expect("split gives one at least");
        match tag {
            "LISTEN" => {
                for name in listened(sql) {
                    let heard = !self.listens.insert(name);
                    assert!(!heard || self.is_garbled, "one LISTEN a channel");
                    self.message(b'C', b"LISTEN\0");
                }
                return;
            }
            "UNLISTEN" => {
                let listened = self.listens.remove(&unquoted(sql));
                assert!(
                    listened || self.is_garbled,
                    "only what is heard is to be heard no more"
                );
            }
            "SELECT" => {}
            _ => panic!("no statement of ours: {sql}"),
        }
        self.message(b'C', &[tag.as_bytes(), &[0]].concat());
    }

    fn take_message(&mut self) -> bool {
        let header_bytes = usize::from(self.started);
        let Some(length) = self.inbox.get(header_bytes..header_bytes + 4) else {
            return false;
        };
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        let end = header_bytes + usize::try_from(length).expect("short");
        if self.inbox.len() < end {
            return false;
        }
        let message: Vec<u8> = self.inbox.drain(..end).collect();
        let body = &message[header_bytes + 4..];
        if !std::mem::replace(&mut self.started, true) {
            assert!(body.starts_with(&[0, 3, 0, 0]), "protocol 3.0");
            self.asked.push_back(Request::StartUp);
            return true;
        }
        match message[0] {
            b'Q' => {
                let sql = text(&body[..body.len() - 1]);
                self.asked.push_back(match sql.strip_prefix("NOTIFY ") {
                    Some(_) => Request::NotifyPlainly(pairs(&sql)),
                    None => Request::Query(sql),
                });
            }
            b'B' => self.transaction.push(bound(body)),
            b'S' => {
                let transaction = std::mem::take(&mut self.transaction);
                self.asked.push_back(Request::Notify(transaction));
            }
            b'P' | b'E' | b'X' => {}
            tag => panic!("no frontend sends {}", tag.escape_ascii()),
        }
        true
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).expect("short");
        self.said.push(tag);
        self.said.extend_from_slice(&length.to_be_bytes());
        self.said.extend_from_slice(body);
    }
}

/// The channels of a query of LISTENs.
fn listened(sql: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = sql;
    loop {
        let command = rest
            .strip_prefix("LISTEN ")
            .expect("nothing else is sent along");
        let (name, behind) = quoted(command);
        names.push(name);
        match behind.strip_prefix("; ") {
            Some(next) => rest = next,
            None => break assert_eq!(behind, "", "nothing else is sent along"),
        }
    }
    names
}

/// The channels and payloads of a query of commands.
fn pairs(sql: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = sql;
    loop {
        let command = rest
            .strip_prefix("NOTIFY ")
            .expect("nothing else is sent along");
        let (channel, behind) = quoted(command);
        let behind = behind.strip_prefix(", E").expect("a payload follows");
        let (payload, behind) = quoted(behind);
        pairs.push((channel, payload));
        match behind.strip_prefix("; ") {
            Some(next) => rest = next,
            None => break assert_eq!(behind, "", "nothing else is sent along"),
        }
    }
    pairs
}

/// The text between the quotes at the start, and what is behind it. Quotes in it are doubled, and so
/// are backslashes.
fn quoted(sql: &str) -> (String, &str) {
    let mut letters = sql.char_indices().peekable();
    let (_, quote) = letters.next().expect("a quote");
    let mut text = String::new();
    while let Some((at, letter)) = letters.next() {
        let is_special = letter == quote || letter == '\\' && quote == '\'';
        if is_special && letters.next_if(|(_, next)| *next == letter).is_none() {
            assert_eq!(letter, quote, "a backslash alone");
            return (text, &sql[at + 1..]);
        }
        text.push(letter);
    }
    panic!("no end of {sql}");
}

fn unquoted(sql: &str) -> String {
    let name = sql
        .split_once('"')
        .and_then(|(_, name)| name.strip_suffix('"'));
    name.expect("names are quoted").replace("\"\"", "\"")
}
