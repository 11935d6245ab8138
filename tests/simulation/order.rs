//! A PostgreSQL that does at once what it is told, and tells each session at the session's own pace.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use crate::{
    backend::take_message,
    wire::{bound, text},
};

/// The one order of commits, over all channels.
#[derive(Default)]
pub struct Commits {
    log: Vec<Commit>,
    sessions: u32,
    /// The sessions that hold the lock of the group.
    members: BTreeSet<u32>,
}

struct Commit {
    pid: u32,
    channel: String,
    payload: String,
}

/// One session, and how far it has read.
#[derive(Default)]
pub struct Session {
    pid: u32,
    inbox: VecDeque<u8>,
    /// What it says, and how much of the order it has told by then.
    outbox: VecDeque<(usize, Vec<u8>)>,
    listens: BTreeMap<String, usize>,
    read: usize,
    transaction: Vec<(String, String)>,
}

impl Commits {
    /// Somebody else notifies.
    pub fn notify(&mut self, channel: &str, number: u64) {
        self.commit(0, channel.to_owned(), number.to_string());
    }

    fn commit(&mut self, pid: u32, channel: String, payload: String) {
        self.log.push(Commit {
            pid,
            channel,
            payload,
        });
    }

    /// The numbers on these channels.
    fn numbers(&self, channels: &[&str]) -> impl DoubleEndedIterator<Item = u64> {
        let of_them = self
            .log
            .iter()
            .filter(|it| channels.contains(&&*it.channel));
        of_them.map(|it| it.payload.parse().expect("a number"))
    }

    /// The next number on one of these channels.
    pub fn next_of(&self, channels: &[&str], number: u64) -> Option<u64> {
        self.numbers(channels).find(|&it| it > number)
    }

    /// The last one, 0 if there is none.
    pub fn last_of(&self, channels: &[&str]) -> u64 {
        self.numbers(channels).next_back().unwrap_or(0)
    }
}

impl Session {
    /// Does all that it is told.
    pub fn receive(&mut self, bytes: &[u8], commits: &mut Commits) {
        self.inbox.extend(bytes);
        while let Some((tag, body)) = take_message(&mut self.inbox, self.pid > 0) {
            if self.pid == 0 {
                self.start(commits);
            } else {
                self.carry_out(tag, &body, commits);
            }
        }
    }

    fn start(&mut self, commits: &mut Commits) {
        commits.sessions += 1;
        self.pid = commits.sessions;
        self.read = commits.log.len();
        let key = [&self.pid.to_be_bytes()[..], b"key_"].concat();
        for (tag, body) in [
            (b'R', &[0; 4][..]),
            (b'S', b"server_version\x0018.0\0"),
            (b'S', b"server_encoding\0UTF8\0"),
            (b'K', &key),
            (b'Z', b"I"),
        ] {
            self.answer(tag, body, commits);
        }
    }

    fn carry_out(&mut self, tag: u8, body: &[u8], commits: &mut Commits) {
        match tag {
            b'Q' => {
                let sql = text(&body[..body.len() - 1]);
                self.query(&sql, commits);
            }
            b'S' => {
                for (channel, payload) in mem::take(&mut self.transaction) {
                    commits.commit(self.pid, channel, payload);
                }
                self.answer(b'Z', b"I", commits);
            }
            b'P' => self.answer(b'1', b"", commits),
            b'B' => {
                self.transaction.push(bound(body));
                self.answer(b'2', b"", commits);
            }
            b'E' => self.answer(b'C', b"SELECT 1\0", commits),
            _ => panic!("nothing ends here: {}", tag.escape_ascii()),
        }
    }

    /// Several commands may share a transaction.
    fn query(&mut self, sql: &str, commits: &mut Commits) {
        for command in sql.split("; ") {
            self.command(command, commits);
            match command {
                "" => self.answer(b'I', b"", commits),
                _ => self.answer(b'C', b"DONE\0", commits),
            }
        }
        self.answer(b'Z', b"I", commits);
    }

    fn command(&mut self, sql: &str, commits: &mut Commits) {
        let name = || {
            let name = sql.split_once('"').and_then(|(_, it)| it.strip_suffix('"'));
            name.expect("names are quoted").to_owned()
        };
        if sql.contains("pg_postmaster_start_time") {
            let row = row(&[&self.pid.to_string(), "f", "off", "1000"]);
            self.answer(b'D', &row, commits);
        } else if sql.contains("pg_try_advisory_lock_shared") {
            commits.members.insert(self.pid);
            self.answer(b'D', &row(&["t"]), commits);
        } else if sql.contains("'advisory'") {
            let others = commits.members.iter().filter(|&&it| it != self.pid);
            let pids: Vec<_> = others.map(u32::to_string).collect();
            self.answer(b'D', &row(&[&pids.join(",")]), commits);
        } else if sql.contains("string_agg") {
            // All of them are there.
            let (_, pids) = sql.split_once("'{").expect("a list");
            let (pids, _) = pids.split_once('}').expect("its end");
            self.answer(b'D', &row(&[pids]), commits);
        } else if sql.starts_with("LISTEN ") {
            self.listens.entry(name()).or_insert(commits.log.len());
        } else if sql.starts_with("UNLISTEN ") {
            self.listens.remove(&name());
        }
    }

    /// Behind whatever was committed by now.
    fn answer(&mut self, tag: u8, body: &[u8], commits: &Commits) {
        self.outbox
            .push_back((commits.log.len(), message(tag, body)));
    }

    /// What is told next: at most so many notifications, and the answers before and between them.
    pub fn say(&mut self, commits: &Commits, mut count: usize) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            let due = self.outbox.front().map_or(usize::MAX, |&(at, _)| at);
            if self.read >= due {
                let (_, bytes) = self.outbox.pop_front().expect("it is due");
                said.extend(bytes);
                continue;
            }
            let Some(commit) = commits.log.get(self.read).filter(|_| count > 0) else {
                return said;
            };
            let listens = self.listens.get(&commit.channel);
            if listens.is_some_and(|&from| from <= self.read) {
                let pid = commit.pid.to_be_bytes();
                let (channel, payload) = (commit.channel.as_bytes(), commit.payload.as_bytes());
                let body = [&pid, channel, &[0], payload, &[0]].concat();
                said.extend(message(b'A', &body));
                count -= 1;
            }
            self.read += 1;
        }
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// A DataRow.
fn row(columns: &[&str]) -> Vec<u8> {
    let count = u16::try_from(columns.len()).expect("few");
    let mut row = count.to_be_bytes().to_vec();
    for column in columns {
        let length = u32::try_from(column.len()).expect("short");
        row.extend_from_slice(&length.to_be_bytes());
        row.extend_from_slice(column.as_bytes());
    }
    row
}
