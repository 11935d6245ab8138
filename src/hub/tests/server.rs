//! One backend process of a PostgreSQL of a few lines.

use std::collections::VecDeque;

/// One backend process of the fake PostgreSQL.
#[derive(Default)]
pub(super) struct Server {
    pub(super) connected: bool,
    pub(super) inbox: Vec<u8>,
    pub(super) asked: Vec<String>,
    pub(super) unanswered: VecDeque<String>,
    pub(super) completed: bool,
    /// How often it measured its queue.
    pub(super) measured: usize,
    /// What is bound, with its channel.
    bound: Vec<u8>,
    /// NotificationResponses for the other session: tokens of the probe.
    pub(super) tokens: Vec<u8>,
}

impl Server {
    /// Reads whole messages; start-up, set-up and probes are answered at once, the rest waits, and
    /// so does a probe that waits for a lock.
    pub(super) fn read(&mut self, is_locked: bool, refusal: Option<Refusal>) -> Vec<u8> {
        let mut answer = Vec::new();
        loop {
            let header = usize::from(self.connected);
            let Some(length) = self.inbox.get(header..header + 4) else {
                return answer;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize + header;
            if self.inbox.len() < length {
                return answer;
            }
            let bytes: Vec<u8> = self.inbox.drain(..length).collect();
            if !self.connected {
                self.connected = true;
                answer.extend(message(b'R', &[0; 4]));
                answer.extend(message(b'K', &[0, 0, 0, 7, 0, 0, 0, 9]));
                answer.extend(message(b'S', b"server_encoding\0UTF8\0"));
                answer.extend(message(b'Z', b"I"));
                continue;
            }
            match bytes[0] {
                b'Q' => {
                    let sql = String::from_utf8(bytes[5..bytes.len() - 1].to_vec()).unwrap();
                    self.measured += usize::from(sql.contains("queue_usage"));
                    let is_ours = sql.starts_with("SELECT") || sql.contains(PROBE);
                    if is_ours && self.unanswered.is_empty() {
                        answer.extend(message(b'C', b"OK\0"));
                        answer.extend(message(b'Z', b"I"));
                    } else {
                        if !sql.is_empty() && !is_ours {
                            self.asked.extend(sql.split("; ").map(str::to_owned));
                        }
                        self.unanswered
                            .push_back(if is_ours { String::new() } else { sql });
                    }
                }
                b'B' => self.bound = bytes[15..].to_vec(),
                b'S' if refusal.is_some() => {
                    let (sqlstate, text) = refusal.unwrap();
                    answer.extend(error(sqlstate, text));
                    answer.extend(message(b'Z', b"I"));
                }
                b'S' if self.bound.starts_with(PROBE.as_bytes()) && !is_locked => {
                    let (channel, token) = self.bound.split_at(PROBE.len() + 16);
                    let token = &token[4..20];
                    let body = [&[0; 4], channel, b"\0", token, b"\0"].concat();
                    self.tokens.extend(message(b'A', &body));
                    answer.extend(message(b'C', b"OK\0"));
                    answer.extend(message(b'Z', b"I"));
                }
                b'S' => self.unanswered.push_back("notify".to_owned()),
                _ => {}
            }
        }
    }
}

/// An SQLSTATE and its text.
pub(super) type Refusal = (&'static str, &'static str);

pub(super) fn error(sqlstate: &str, text: &str) -> Vec<u8> {
    let fields = format!("SERROR\0VERROR\0C{sqlstate}\0M{text}\0\0");
    message(b'E', fields.as_bytes())
}

/// How the channel of the probe begins; sixteen characters follow.
const PROBE: &str = "alle probe ";

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}
