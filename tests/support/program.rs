//! Runs the real `alle` and reads its output, line by line, each wait with a time-out.

#[path = "environment.rs"]
pub mod environment;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use rustix::{
    io::retry_on_intr,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

/// How long anything may take before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test: that which was built with the tests, unless `ALLE_TEST_PROGRAM` names one
/// that was built with other features, as the tests were.
pub fn path() -> String {
    env::var("ALLE_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_alle").to_owned())
}

/// `alle` with `arguments` (separated by spaces) in a clean environment.
pub fn alle(arguments: &str) -> Command {
    alle_with(&arguments.split_whitespace().collect::<Vec<_>>())
}

/// `alle` with each of `arguments` as it is.
pub fn alle_with(arguments: &[&str]) -> Command {
    let mut command = Command::new(path());
    command.args(arguments);
    environment::clean(&mut command);
    command
}

/// A running program.
pub struct Program {
    pub stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
    /// Reaped here alone: until then its number is no other process's.
    child: Mutex<Child>,
    ended: Receiver<()>,
}

/// The lines of one of its streams as they arrive.
pub struct Lines(Receiver<String>);

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line);
                let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self(receiver)
    }

    /// The next line; panics at the end or after [`PATIENCE`].
    #[track_caller]
    pub fn next(&self) -> String {
        self.0.recv_timeout(PATIENCE).expect("another line")
    }

    /// Everything up to and with `last`.
    #[track_caller]
    pub fn until(&self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(error) => panic!("{last:?} did not come ({error}), but: {lines:#?}"),
            }
            if lines.last().is_some_and(|line| line == last) {
                return lines;
            }
        }
    }

    /// Everything up to the end.
    pub fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(line) = self.0.recv_timeout(PATIENCE) {
            lines.push(line);
        }
        lines
    }
}

impl Program {
    /// Starts `command` with pipes everywhere.
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child: Child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take();
        let stdout = Lines::read(child.stdout.take().unwrap());
        let stderr = Lines::read(child.stderr.take().unwrap());
        let (sender, ended) = channel();
        let id = Pid::from_child(&child);
        thread::spawn(move || {
            let without_reaping = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            // An error means that the test failed, and has reaped the program.
            let is_over = retry_on_intr(|| waitid(WaitId::Pid(id), without_reaping)).is_ok();
            is_over.then(|| sender.send(()))
        });
        Self {
            stdin,
            stdout,
            stderr,
            child: Mutex::new(child),
            ended,
        }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until a signal has stopped it, as its parent learns.
    pub fn wait_until_stopped(&self) {
        let id = Pid::from_child(&self.child.lock().unwrap());
        let stopped = WaitIdOptions::STOPPED;
        retry_on_intr(|| waitid(WaitId::Pid(id), stopped)).unwrap();
    }

    /// Waits for its end; returns the exit status.
    #[track_caller]
    pub fn exit_code(&self) -> Option<i32> {
        self.ended.recv_timeout(PATIENCE).expect("the program ends");
        self.child.lock().unwrap().wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing running.
        let child = self.child.get_mut();
        let child = child.unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A pipe whose reader is gone.
pub fn closed_pipe() -> Stdio {
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let writer = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    writer.into()
}

/// Runs `command` to its end with nothing on stdin.
pub fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}
