//! The reader of the bridge's stderr, as a process of its own that can be stopped: a log shipper, or a
//! pager.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

/// Continues, and ends with the bridge, when dropped.
pub struct LogReader {
    directory: TempDir,
}

impl LogReader {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory }
    }

    /// `command` with its stderr read by another process, which writes it to where `command` would.
    pub fn in_front_of(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SCRIPT).arg(command.get_program());
        shell.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("CHAOS_LOG", self.pipe());
        shell
    }

    /// Nothing is read any more; the pipe fills up.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn pipe(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.directory.path().join("log.pid")).unwrap_or_default();
        let _may_be_gone = Command::new("kill").args(["-s", name, pid.trim()]).status();
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.go_on();
    }
}

const SCRIPT: &str = "mkfifo \"$CHAOS_LOG\" && { cat \"$CHAOS_LOG\" >&2 & } && \
    echo $! > \"$CHAOS_LOG.pid\" && exec \"$0\" \"$@\" 2> \"$CHAOS_LOG\"";
