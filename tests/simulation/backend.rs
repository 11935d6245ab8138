//! A PostgreSQL that speaks the wire protocol: transactions, commit order, LISTEN and NOTIFY.
//!
//! Its work between two messages is cut into steps, so that any event may happen between a commit
//! and its answer. A notification is read from the log of commits when its session is idle (or
//! about to send ReadyForQuery), and is sent if the session listens to the channel *then*.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    random::Random,
    wire::{bound, text},
};

/// The state that all sessions share: the committed notifications, in commit order.
#[derive(Default)]
pub struct Database {
    pub log: Vec<(String, String)>,
}

impl Database {
    /// One transaction: equal pairs become one notification.
    pub fn commit(&mut self, notifications: Vec<(String, String)>) -> usize {
        let mut seen = BTreeSet::new();
        let before = self.log.len();
        for notification in notifications {
            if seen.insert(notification.clone()) {
                self.log.push(notification);
            }
        }
        self.log.len() - before
    }
}

/// One backend process.
#[derive(Default)]
pub struct Process {
    inbox: VecDeque<u8>,
    /// Sent and not yet read by the frontend.
    pub outbox: VecDeque<u8>,
    started: bool,
    /// Channel to the length of the log when its LISTEN was committed.
    pub listens: BTreeMap<String, usize>,
    /// The position in the log up to which it was read.
    read: usize,
    /// The simple query whose CommandComplete was sent and whose transaction still commits.
    committing: Option<String>,
    bound: Option<(String, String)>,
    transaction: Vec<(String, String)>,
    /// An error was sent: everything up to Sync is skipped.
    failed: bool,
    /// The transaction in progress is committed, ReadyForQuery not yet sent.
    synced: bool,
    /// The backend reads no more: it has sent its last message.
    pub ended: bool,
}

/// The rates of failures, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Mood {
    pub refuse_listen: usize,
    pub refuse_notify: usize,
    pub refuse_start: usize,
    pub chatter: usize,
}

impl Mood {
    pub const GOOD: Self = Self {
        refuse_listen: 0,
        refuse_notify: 0,
        refuse_start: 0,
        chatter: 0,
    };
}

impl Process {
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend(bytes);
    }

    /// One step of a backend; false if there is nothing to do.
    pub fn step(&mut self, database: &mut Database, mood: Mood, random: &mut Random) -> bool {
        if self.ended {
            return false;
        }
        if self.started && random.percent(mood.chatter) {
            self.say(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mby the way\0\0");
            self.say(b'S', b"TimeZone\0UTC\0");
        }
        if let Some(sql) = self.committing.take() {
            self.commit_listens(&sql, database.log.len());
            // Between CommandComplete and ReadyForQuery of the same command, too.
            if random.percent(50) {
                self.send_notifications(database, random);
            }
            self.say(b'Z', b"I");
            return true;
        }
        if std::mem::take(&mut self.synced) {
            self.say(b'Z', b"I");
            return true;
        }
        let idle = self.started && self.bound.is_none() && self.transaction.is_empty();
        if idle && self.read < database.log.len() && random.percent(60) {
            self.send_notifications(database, random);
            return true;
        }
        match self.take_message() {
            Some((tag, body)) => {
                self.carry_out(tag, &body, database, mood, random);
                true
            }
            None if idle && self.read < database.log.len() => {
                self.send_notifications(database, random);
                true
            }
            None => false,
        }
    }

    /// `pg_terminate_backend`, or a fast shutdown.
    pub fn terminate(&mut self) {
        self.fatal(
            "57P01",
            "terminating connection due to administrator command",
        );
    }

    fn fatal(&mut self, sqlstate: &str, text: &str) {
        self.error("FATAL", sqlstate, text);
        self.ended = true;
    }

    fn error(&mut self, severity: &str, sqlstate: &str, text: &str) {
        let body = format!("S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0");
        self.say(b'E', body.as_bytes());
    }

    fn send_notifications(&mut self, database: &Database, random: &mut Random) {
        let to =
            self.read + 1 + random.below(database.log.len() - self.read.min(database.log.len()));
        for at in self.read..to.min(database.log.len()) {
            let (channel, payload) = &database.log[at];
            if self.listens.get(channel).is_some_and(|&from| from <= at) {
                let body = [
                    &[0, 0, 0, 9],
                    channel.as_bytes(),
                    &[0],
                    payload.as_bytes(),
                    &[0],
                ]
                .concat();
                self.say(b'A', &body);
            }
            self.read = at + 1;
        }
    }

    /// LISTENs may share a transaction.
    fn commit_listens(&mut self, sql: &str, now: usize) {
        for command in sql.split("; ") {
            self.commit_listen(command, now);
        }
    }

    fn commit_listen(&mut self, sql: &str, now: usize) {
        let name = || {
            let name = sql.split_once('"').and_then(|(_, it)| it.strip_suffix('"'));
            name.expect("names are quoted").replace("\"\"", "\"")
        };
        if sql.starts_with("LISTEN ") {
            if self.listens.is_empty() {
                self.read = now;
            }
            self.listens.entry(name()).or_insert(now);
        } else if sql.starts_with("UNLISTEN ") {
            self.listens.remove(&name());
        }
    }

    fn carry_out(
        &mut self,
        tag: u8,
        body: &[u8],
        database: &mut Database,
        mood: Mood,
        random: &mut Random,
    ) {
        if !std::mem::replace(&mut self.started, true) {
            self.read = database.log.len();
            match random.percent(mood.refuse_start) {
                true if random.percent(30) => self.fatal("28P01", "password authentication failed"),
                true => self.fatal("57P03", "the database system is starting up"),
                false => {
                    self.say(b'R', &[0; 4]);
                    self.say(b'S', b"server_version\x0018.0\0");
                    self.say(b'S', b"server_encoding\0UTF8\0");
                    self.say(b'K', &[0, 0, 0, 7, 0, 0, 0, 8]);
                    self.say(b'Z', b"I");
                }
            }
            return;
        }
        match tag {
            b'Q' => self.query(text(&body[..body.len() - 1]), mood, random),
            b'S' => {
                if !std::mem::take(&mut self.failed) {
                    database.commit(std::mem::take(&mut self.transaction));
                }
                self.transaction.clear();
                self.bound = None;
                self.synced = true;
            }
            b'X' => self.ended = true,
            _ if self.failed => {}
            b'P' => self.say(b'1', b""),
            b'B' => {
                self.bound = Some(bound(body));
                self.say(b'2', b"");
            }
            b'E' if !self.is_probing() && random.percent(mood.refuse_notify) => {
                self.error("ERROR", "25006", "cannot execute NOTIFY during recovery");
                self.transaction.clear();
                self.failed = true;
            }
            b'E' => {
                self.transaction.extend(self.bound.take());
                self.say(b'D', &[0, 1, 0, 0, 0, 0]);
                self.say(b'C', b"SELECT 1\0");
            }
            tag => panic!("no frontend sends {}", tag.escape_ascii()),
        }
    }

    fn query(&mut self, sql: String, mood: Mood, random: &mut Random) {
        let tag = sql.split(' ').next().unwrap_or_default();
        match tag {
            "" => {
                self.say(b'I', b"");
                self.synced = true;
            }
            "LISTEN" if !is_probe(&sql) && random.percent(mood.refuse_listen) => {
                self.error("ERROR", "25006", "cannot execute LISTEN during recovery");
                self.synced = true;
            }
            "LISTEN" | "UNLISTEN" | "SELECT" => {
                for _ in sql.split("; ") {
                    self.say(b'C', &[tag.as_bytes(), &[0]].concat());
                }
                self.committing = Some(sql);
            }
            _ => panic!("no statement of ours: {sql}"),
        }
    }

    fn is_probing(&self) -> bool {
        self.bound
            .as_ref()
            .is_some_and(|(channel, _)| is_probe(channel))
    }

    fn take_message(&mut self) -> Option<(u8, Vec<u8>)> {
        take_message(&mut self.inbox, self.started)
    }

    fn say(&mut self, tag: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).expect("short");
        self.outbox.push_back(tag);
        self.outbox.extend(length.to_be_bytes());
        self.outbox.extend(body);
    }
}

/// Whether this is about the channel by which the bridge proves that it receives notifications:
/// clients do not see it, and it is never refused.
pub fn is_probe(name_or_sql: &str) -> bool {
    name_or_sql.contains("alle probe ")
}

/// Takes a complete message from `bytes`; the first of a frontend has no tag.
pub fn take_message(bytes: &mut VecDeque<u8>, is_tagged: bool) -> Option<(u8, Vec<u8>)> {
    let header = usize::from(is_tagged);
    if bytes.len() < header + 4 {
        return None;
    }
    let byte = |at: usize| u32::from(bytes[header + at]);
    let length = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
    let end = header + usize::try_from(length).expect("short");
    if bytes.len() < end {
        return None;
    }
    let message: Vec<u8> = bytes.drain(..end).collect();
    Some((message[0], message[header + 4..].to_vec()))
}
