//! What the server told about itself, and the questions that it answers.
//!
//! Plain values, noted by `incoming` where they arrive. Decides nothing.

use super::Session;

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
