//! The service under test: one bridge, or a parent and its workers.
//!
//! Starts it, and reads what its processes cost.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{crowd::PATIENCE, environment, machine};

/// A running service; stopped when dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    child: Child,
    /// The processes that serve clients.
    workers: Vec<u32>,
}

impl Service {
    /// So many workers that are ready.
    pub(crate) fn start(postgres_url: &str, count: usize) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alle"));
        environment::clean(&mut command);
        command.args(["serve", "-w", "127.0.0.1:0", "-p", postgres_url]);
        command.args([
            "--admin-addr",
            "127.0.0.1:0",
            "--workers",
            &count.to_string(),
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut found = |words: &str| address_behind(&mut log, words);
        let admin = found("health and metrics are at http://")?;
        let address = found("listening on ws://")?;
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("WARN") || line.contains("ERROR") {
                    crate::complain(&line);
                }
            }
        });
        let id = child.id();
        let mut service = Self {
            address,
            child,
            workers: vec![id],
        };
        wait_until_ready(admin)?;
        if count > 1 {
            service.workers = children(id)?;
        }
        Ok(service)
    }

    /// The processor time of the workers so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(&self.workers)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Its workers end before it does.
        let _told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _gone = self.child.wait();
    }
}

/// The processor time of these processes so far.
pub(crate) fn cpu(processes: &[u32]) -> Duration {
    processes.iter().map(|it| machine::cpu_time(*it)).sum()
}

/// The processes that a process has started, and that it has not lost (proc(5)).
pub(crate) fn children(process: u32) -> io::Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    let children = children.split_whitespace().filter_map(|it| it.parse().ok());
    Ok(children.collect())
}

fn address_behind(log: &mut impl BufRead, words: &str) -> io::Result<SocketAddr> {
    let mut said = String::new();
    loop {
        let start = said.len();
        if log.read_line(&mut said)? == 0 {
            return Err(io::Error::other(format!("alle does not listen: {said}")));
        }
        if let Some((_, address)) = said[start..].trim_end().split_once(words) {
            return address.parse().map_err(io::Error::other);
        }
    }
}

fn wait_until_ready(admin: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(admin)?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("not ready: {answer}")));
        }
        machine::settle();
    }
}
