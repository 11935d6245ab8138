//! Our end of the shell that supervises the server, see `supervisor.sh`.
//!
//! Knows its orders and answers, and the files of a cluster that tell a server's state. Knows
//! nothing of ports, databases and SQL.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    SandboxError,
    programs::{User, without_pg_variables},
};

/// A running supervisor, its cluster's directory, and the server while there is one.
///
/// Dropping it stops the server, removes the directory and returns when both are done.
#[derive(Debug)]
pub(super) struct Supervisor {
    shell: Child,
    /// `None` only while being dropped.
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    /// One message for each start, sent once no process of that server is left.
    exits: Receiver<()>,
    directory: PathBuf,
    /// `Some` from its start until it is reaped, so that the number is not another process's.
    postmaster: Option<u32>,
}

impl Supervisor {
    /// Starts the shell as `user`, which makes its directory in the first of `bases` that it can.
    pub(super) fn start(
        bin_dir: &Path,
        bases: &[PathBuf],
        user: Option<User>,
    ) -> Result<Self, SandboxError> {
        let mut command = Command::new("sh");
        without_pg_variables(&mut command)
            .args(["-c", include_str!("supervisor.sh"), "alle-sandbox"])
            .arg(bin_dir)
            .args(bases)
            .env("LC_ALL", "C")
            .current_dir("/")
            // Ctrl-C reaches the terminal's foreground group only.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // If it were inherited, `cargo test | tee` would wait for the server's end.
            .stderr(Stdio::null());
        if let Some(User { uid, gid }) = user {
            command.uid(uid).gid(gid);
        }
        let mut shell = command.spawn().map_err(|source| SandboxError::Io {
            attempt: "run sh",
            source,
        })?;
        let orders = shell.stdin.take();
        let stdout = shell.stdout.take().ok_or(SandboxError::Supervisor)?;
        let (answers, exits) = read_lines(stdout);
        let mut supervisor = Self {
            shell,
            orders,
            answers,
            exits,
            directory: PathBuf::new(),
            postmaster: None,
        };
        supervisor.directory = supervisor.answer("the shell", ORDER_TIMEOUT)?.into();
        if supervisor.directory.as_os_str().is_empty() {
            return Err(SandboxError::NoDirectory {
                tried: bases.to_vec(),
            });
        }
        Ok(supervisor)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn postmaster(&self) -> Option<u32> {
        self.postmaster
    }

    /// Makes the cluster. Called once, before the first start.
    pub(super) fn initialize(&mut self) -> Result<(), SandboxError> {
        self.order("initialize")?;
        if self.answer("initdb", INITDB_TIMEOUT)? == "0" {
            return Ok(());
        }
        Err(SandboxError::Initialize {
            output: self.read_lossy("initdb.log"),
        })
    }

    /// Makes the cluster a copy of the one in this data directory, which has no server or one that
    /// is stopped. Called once, in place of [`initialize`](Self::initialize).
    pub(super) fn copy(&mut self, data_dir: &Path) -> Result<(), SandboxError> {
        self.order(&format!("copy {}", data_dir.display()))?;
        if self.answer("cp", INITDB_TIMEOUT)? == "0" {
            return Ok(());
        }
        Err(SandboxError::Initialize {
            output: self.read_lossy("copy.log"),
        })
    }

    /// Makes the cluster a standby's. Called before the first start.
    pub(super) fn stand_by(&mut self) -> Result<(), SandboxError> {
        self.acknowledged("stand-by")
    }

    /// Starts the server and waits until it takes connections. None may be running.
    pub(super) fn start_server(&mut self, port: u16) -> Result<(), SandboxError> {
        debug_assert!(self.postmaster.is_none());
        let logged_before = self.read_lossy("log").len();
        self.order(&format!("start {port}"))?;
        let answer = self.answer("the shell", ORDER_TIMEOUT)?;
        let postmaster = answer.parse().map_err(|_| SandboxError::Supervisor)?;
        self.postmaster = Some(postmaster);
        let deadline = Instant::now() + START_TIMEOUT;
        // The file gives no event to wait for: the wait for an exit bounds each look at it.
        loop {
            match self.exits.recv_timeout(READY_INTERVAL) {
                Ok(()) => {
                    self.reap()?;
                    let log = self.read_lossy("log").split_off(logged_before);
                    return Err(SandboxError::Start { log });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(SandboxError::Supervisor),
                Err(RecvTimeoutError::Timeout) if self.is_ready(postmaster) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    let what = "PostgreSQL's start";
                    return Err(SandboxError::TimedOut {
                        what,
                        timeout: START_TIMEOUT,
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Sends a signal ("INT") to the postmaster.
    pub(super) fn signal(&mut self, name: &str) -> Result<(), SandboxError> {
        let Some(postmaster) = self.postmaster else {
            return Ok(());
        };
        self.acknowledged(&format!("signal {name} {postmaster}"))
    }

    /// SIGKILL for every process of the server.
    pub(super) fn kill(&mut self) -> Result<(), SandboxError> {
        let Some(postmaster) = self.postmaster else {
            return Ok(());
        };
        let children = self.pause()?;
        self.acknowledged(&format!("signal KILL {postmaster}{children}"))
    }

    /// SIGSTOP for every process of the server; returns the numbers of the children, each after a
    /// blank.
    ///
    /// Signalling the process group is not enough: every child makes a session of its own.
    pub(super) fn pause(&mut self) -> Result<String, SandboxError> {
        let Some(postmaster) = self.postmaster else {
            return Ok(String::new());
        };
        // First the postmaster: stopped, it starts no more children while we look for them.
        self.acknowledged(&format!("pause {postmaster}"))?;
        let children: String = children_of(postmaster)?
            .iter()
            .map(|child| format!(" {child}"))
            .collect();
        if !children.is_empty() {
            self.acknowledged(&format!("pause{children}"))?;
        }
        Ok(children)
    }

    /// SIGCONT for every process paused.
    pub(super) fn resume(&mut self) -> Result<(), SandboxError> {
        self.acknowledged("resume")
    }

    /// Waits until no process of the server is left.
    pub(super) fn wait_until_stopped(&mut self, timeout: Duration) -> Result<(), SandboxError> {
        if self.postmaster.is_none() {
            return Ok(());
        }
        receive(&self.exits, "PostgreSQL's end", timeout)?;
        self.reap()
    }

    fn reap(&mut self) -> Result<(), SandboxError> {
        self.acknowledged("reap")?;
        self.postmaster = None;
        Ok(())
    }

    /// Whether the postmaster reports, in the eighth line of its file, that it takes connections. A
    /// server that was killed leaves such a file as well, with another number in its first line.
    fn is_ready(&self, postmaster: u32) -> bool {
        let text = self.read_lossy("data/postmaster.pid");
        let mut lines = text.lines().map(str::trim_end);
        lines.next().and_then(|line| line.parse().ok()) == Some(postmaster)
            && lines.nth(6) == Some("ready")
    }

    /// The text of a file of the cluster; empty if it cannot be read.
    fn read_lossy(&self, name: &str) -> String {
        let bytes = fs::read(self.directory.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn acknowledged(&mut self, order: &str) -> Result<(), SandboxError> {
        self.order(order)?;
        self.answer("the shell", ORDER_TIMEOUT).map(drop)
    }

    fn order(&mut self, order: &str) -> Result<(), SandboxError> {
        let orders = self.orders.as_mut().ok_or(SandboxError::Supervisor)?;
        writeln!(orders, "{order}").map_err(|_| SandboxError::Supervisor)
    }

    fn answer(&self, what: &'static str, timeout: Duration) -> Result<String, SandboxError> {
        receive(&self.answers, what, timeout)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.orders.take());
        // An error leaves nothing to do: the shell ends by itself.
        let _ = self.shell.wait();
    }
}

/// Sorts the shell's output into answers and exits. The thread ends with the shell and the server.
fn read_lines(stdout: ChildStdout) -> (Receiver<String>, Receiver<()>) {
    let (answer_sender, answers) = mpsc::channel();
    let (exit_sender, exits) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Without a receiver the thread reads on: otherwise the shell would block.
            match line.strip_prefix('=') {
                Some(answer) => drop(answer_sender.send(answer.trim().to_owned())),
                None => drop(exit_sender.send(())),
            }
        }
    });
    (answers, exits)
}

fn receive<T>(
    receiver: &Receiver<T>,
    what: &'static str,
    timeout: Duration,
) -> Result<T, SandboxError> {
    receiver.recv_timeout(timeout).map_err(|error| match error {
        RecvTimeoutError::Timeout => SandboxError::TimedOut { what, timeout },
        RecvTimeoutError::Disconnected => SandboxError::Supervisor,
    })
}

/// The processes whose parent is `parent`: from `/proc` where there is one, for a container often
/// has no `ps`.
fn children_of(parent: u32) -> Result<Vec<u32>, SandboxError> {
    let io_error = |attempt| move |source| SandboxError::Io { attempt, source };
    if Path::new("/proc/self/stat").exists() {
        let entries = fs::read_dir("/proc").map_err(io_error("read /proc"))?;
        return Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| parent_of(*pid) == Some(parent))
            .collect());
    }
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid="])
        .output()
        .map_err(io_error("run ps"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter_map(|(pid, of)| Some((pid.parse().ok()?, of.trim().parse::<u32>().ok()?)))
        .filter_map(|(pid, of)| (of == parent).then_some(pid))
        .collect())
}

/// proc(5): the parent is the second field behind the name, which may itself hold `)`.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// An order that only makes the shell do something itself. A loaded machine gets much more.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);
/// About one second; a loaded machine gets much more.
const INITDB_TIMEOUT: Duration = Duration::from_secs(120);
/// A tenth of a second; recovery after SIGKILL takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at whether the server is ready.
const READY_INTERVAL: Duration = Duration::from_millis(10);
