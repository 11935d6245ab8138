//! The program that workers are started from, and what it reads its options from.
//!
//! An open file, so that all workers are of one version whatever happens to the path meanwhile: an
//! upgrade replaces the file there, and `/proc/self/exe` goes on to mean the old one. The files of
//! options are kept as they were read for the same reason: half an edit is no order.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::wire::{self, KeptFile};

/// An executable file, and the arguments for it.
#[derive(Clone, Debug)]
pub(super) struct Program {
    file: std::sync::Arc<File>,
    /// Where it was when we were started.
    path: PathBuf,
    /// The name that we were called by, and what was typed behind it.
    arguments: Vec<OsString>,
    /// Where the other options stand; `None` until a worker has read it.
    files: Option<Vec<KeptFile>>,
}

impl Program {
    /// Our own, with the files that we have read.
    pub(super) fn of_this_process(
        arguments: Vec<OsString>,
        files: Vec<KeptFile>,
    ) -> io::Result<Self> {
        let file = File::open("/proc/self/exe")
            .map_err(|error| io::Error::new(error.kind(), format!("/proc/self/exe: {error}")))?;
        Ok(Self {
            file: file.into(),
            path: env::current_exe()?,
            arguments,
            files: Some(files),
        })
    }

    /// What a renewal starts, and whether that is another program: the one that is now where we were
    /// started from. It reads its files anew, unless one of them can be read but once: an empty pipe
    /// would be taken for options that say nothing.
    pub(super) fn renewed(&self) -> (Self, bool) {
        let replacement = self.replacement();
        let is_other = replacement.is_some();
        let file = replacement.map_or_else(|| self.file.clone(), Into::into);
        let pipe = self
            .files
            .iter()
            .flatten()
            .find(|it| is_read_once(&it.path));
        if let Some(KeptFile { path, .. }) = pipe {
            tracing::warn!(
                target: "alle::bridge",
                "{path} cannot be read again: all options stay as they were"
            );
        }
        let files = self.files.clone().filter(|_| pipe.is_some());
        let renewed = Self {
            file,
            files,
            ..self.clone()
        };
        (renewed, is_other)
    }

    fn replacement(&self) -> Option<File> {
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
        (!is_same).then_some(file)
    }

    /// The files to hand over to a worker; `None` where it is to read them.
    pub(super) fn files(&self) -> Option<&[KeptFile]> {
        self.files.as_deref()
    }

    /// The first worker that is ready has read these: all others go by them.
    pub(super) fn keep(&mut self, files: &[KeptFile]) {
        self.files.get_or_insert_with(|| files.to_vec());
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

/// Whether it is a pipe, or was one that is closed now.
fn is_read_once(path: &str) -> bool {
    let is_descriptor = ["/dev/fd/", "/proc/"].iter().any(|it| path.starts_with(it));
    is_descriptor || fs::metadata(path).is_ok_and(|it| !it.is_file())
}
