//! The program that workers are started from.
//!
//! An open file, so that all workers are of one version whatever happens to the path meanwhile: an
//! upgrade replaces the file there, and `/proc/self/exe` goes on to mean the old one.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::wire;

/// An executable file, and the arguments for it.
#[derive(Clone, Debug)]
pub(super) struct Program {
    file: std::sync::Arc<File>,
    /// Where it was when we were started.
    path: PathBuf,
    /// The name that we were called by, and what was typed behind it.
    arguments: Vec<OsString>,
}

impl Program {
    /// Our own.
    pub(super) fn of_this_process(arguments: Vec<OsString>) -> io::Result<Self> {
        let file = File::open("/proc/self/exe")
            .map_err(|error| io::Error::new(error.kind(), format!("/proc/self/exe: {error}")))?;
        Ok(Self {
            file: file.into(),
            path: env::current_exe()?,
            arguments,
        })
    }

    /// The one that is now where we were started from, if that is another one.
    pub(super) fn replacement(&self) -> Option<Self> {
        let file = File::open(&self.path)
            .inspect_err(|error| {
                let path = self.path.display();
                tracing::warn!(
                    target: "alle::bridge",
                    "{path}: {error}: the workers stay with the program that runs"
                );
            })
            .ok()?;
        let identity = |file: &File| file.metadata().map(|it| (it.dev(), it.ino(), it.mtime()));
        let is_same = matches!((identity(&file), identity(&self.file)),
            (Ok(one), Ok(other)) if one == other);
        (!is_same).then(|| Self {
            file: file.into(),
            ..self.clone()
        })
    }

    /// Starts it as a worker on this socket, with this end of the pipe.
    pub(super) fn spawn(&self, socket: OwnedFd, pipe: UnixStream) -> io::Result<Child> {
        // Resolved by the new process, which has this descriptor until it becomes the program.
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let name = self.arguments.first().map(OsString::as_os_str);
        command
            .arg0(name.unwrap_or_else(|| OsStr::new("alle")))
            .args(self.arguments.iter().skip(1))
            .env(wire::VARIABLE, "1")
            .stdin(Stdio::from(socket))
            .stdout(Stdio::from(OwnedFd::from(pipe)));
        for ours in OF_PARENT {
            command.env_remove(ours);
        }
        command.spawn()
    }
}

/// What a service manager tells the parent alone.
const OF_PARENT: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];
