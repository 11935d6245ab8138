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
}

impl Server {
    /// Reads whole messages; start-up and set-up are answered at once, the rest waits.
    pub(super) fn read(&mut self) -> Vec<u8> {
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
                answer.extend(message(b'S', b"server_encoding\0UTF8\0"));
                answer.extend(message(b'Z', b"I"));
                continue;
            }
            match bytes[0] {
                b'Q' => {
                    let sql = String::from_utf8(bytes[5..bytes.len() - 1].to_vec()).unwrap();
                    if sql.to_lowercase().contains("set_config") {
                        answer.extend(message(b'C', b"SELECT 1\0"));
                        answer.extend(message(b'Z', b"I"));
                    } else {
                        if !sql.is_empty() {
                            self.asked.push(sql.clone());
                        }
                        self.unanswered.push_back(sql);
                    }
                }
                b'S' => self.unanswered.push_back("notify".to_owned()),
                _ => {}
            }
        }
    }
}

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}
