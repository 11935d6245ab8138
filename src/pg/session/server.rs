//! What the server told about itself, and the questions that it answers.
//!
//! Plain values, noted by `incoming` where they arrive. Decides nothing.

use super::Session;
use crate::{
    escape::escaped,
    pg::{
        error::bounded_text,
        text::{parsed, text_until_nul},
    },
};

/// What the server told about itself.
#[derive(Default)]
pub(super) struct Server {
    pub(super) version: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) in_hot_standby: bool,
    pub(super) is_read_only: bool,
    pub(super) backend_pid: Option<i32>,
    /// Proves to the server that a CancelRequest for the process is ours.
    pub(super) secret_key: Option<i32>,
    /// The process that answered us.
    pub(super) serving_pid: Option<i32>,
    pub(super) queue_usage: Option<f64>,
    pub(super) lock_holder: Option<i32>,
    /// When it was started, in microseconds.
    pub(super) start: Option<i64>,
    /// The backends that were asked about and are there.
    pub(super) present: Vec<i32>,
    /// It sent a message that we do not know, which was logged.
    pub(super) is_foreign: bool,
}

impl Session {
    /// `server_version`, once the server said it.
    pub fn server_version(&self) -> Option<&str> {
        self.server.version.as_deref()
    }

    /// `server_encoding`, once the server said it.
    pub fn server_encoding(&self) -> Option<&str> {
        self.server.encoding.as_deref()
    }

    /// Whether the server is a standby, where nobody can listen.
    pub fn in_hot_standby(&self) -> bool {
        self.server.in_hot_standby
    }

    /// Whether transactions are read-only unless they say otherwise.
    pub fn is_read_only(&self) -> bool {
        self.server.is_read_only
    }

    /// The process that says it serves us, once it said so.
    pub fn backend_pid(&self) -> Option<i32> {
        self.server.backend_pid
    }

    /// The process that answers us, which is that of our notifications, once it said so.
    pub fn serving_pid(&self) -> Option<i32> {
        self.server.serving_pid
    }

    /// When the server was started, in microseconds since 1970, once it said so.
    pub fn server_start(&self) -> Option<i64> {
        self.server.start
    }

    /// Whether another process than the one that greeted us did what we asked: a pooler, which may
    /// give us another one each time.
    pub fn is_relayed(&self) -> bool {
        let Server {
            backend_pid,
            serving_pid,
            ..
        } = self.server;
        backend_pid.is_some() && serving_pid.is_some() && backend_pid != serving_pid
    }

    /// How full the server's queue of notifications was when last measured, from 0 to 1; when it
    /// is full every NOTIFY of the server fails.
    pub fn queue_usage(&self) -> Option<f64> {
        self.server.queue_usage
    }
}

impl Server {
    /// ParameterStatus: keeps what somebody asks for.
    pub(super) fn handle_parameter(&mut self, body: &[u8]) -> Option<()> {
        let (name, body) = text_until_nul(body)?;
        let (value, rest) = text_until_nul(body)?;
        match name {
            b"server_version" => self.version = Some(escaped(&bounded_text(value)).into_owned()),
            b"server_encoding" => self.encoding = Some(bounded_text(value)),
            b"in_hot_standby" => self.in_hot_standby = value == b"on",
            b"default_transaction_read_only" => self.is_read_only = value == b"on",
            _ => {}
        }
        rest.is_empty().then_some(())
    }

    /// The answer to who and of what kind it is; other rows say nothing.
    pub(super) fn handle_row(&mut self, columns: &[&[u8]]) {
        if let [serving_pid, in_recovery, is_read_only, start] = *columns {
            self.start = parsed(start);
            self.serving_pid = parsed(serving_pid);
            self.in_hot_standby = in_recovery == b"t";
            self.is_read_only = is_read_only == b"on";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_says_so_when_asked() {
        for (columns, in_hot_standby, is_read_only) in [
            (&[&b"258"[..], b"t", b"on", b"9"][..], true, true),
            (&[b"258", b"f", b"on", b"9"], false, true),
            (&[b"258", b"f", b"off", b""], false, false),
            (&[b"258"], false, false),
        ] {
            let mut server = Server::default();
            server.handle_row(columns);
            assert_eq!(server.in_hot_standby, in_hot_standby, "{columns:?}");
            assert_eq!(server.is_read_only, is_read_only, "{columns:?}");
        }
    }

    /// It is in the log, and whatever answers on a port can say what it likes.
    #[test]
    fn a_version_ends_no_line_and_commands_no_terminal() {
        let mut server = Server::default();
        let body = b"server_version\x0015.1\n2026-01-01 forged\x1b[2J\0";
        assert_eq!(server.handle_parameter(body), Some(()));
        let version = server.version.as_deref();
        assert_eq!(version, Some("15.1\\n2026-01-01 forged\\u{1b}[2J"));
    }
}
