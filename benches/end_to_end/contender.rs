//! The two who do the work: `alle` between PostgreSQL and us, and the bare floor.
//!
//! Each is a child on the server's processor, with somebody who makes it send. Knows how to start
//! and to end them, not what is asked of them.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    process::{Child, Stdio},
    thread,
    time::Instant,
};

use mio::{Registry, Token};

use crate::{
    crowd::PATIENCE,
    environment, machine,
    message::{Channels, Number},
    publisher::Publisher,
};

/// Where and on what contenders run.
pub(crate) struct Site {
    pub(crate) postgres_url: String,
    pub(crate) server_cpu: Option<usize>,
}

/// A running child; killed when dropped.
pub(crate) struct Contender {
    pub(crate) address: SocketAddr,
    child: Child,
    source: Source,
}

/// Who makes it send.
enum Source {
    Postgres(Box<Publisher>),
    /// The floor's control connection. It blocks, but a few bytes always fit.
    Orders(TcpStream, String),
}

impl Contender {
    /// `alle serve` of the same profile as the bench.
    pub(crate) fn alle(site: &Site, channels: Channels) -> io::Result<Self> {
        let mut command = machine::command(env!("CARGO_BIN_EXE_alle"), site.server_cpu);
        environment::clean(&mut command);
        command.args(["serve", "-w", "127.0.0.1:0", "-p", &site.postgres_url]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let started = address_in(&mut log).and_then(|address| {
            wait_until_ready(address)?;
            let publisher = Publisher::connect(&site.postgres_url, channels.count)?;
            Ok((address, Source::Postgres(Box::new(publisher))))
        });
        let (address, source) = started.inspect_err(|_| end(&mut child))?;
        // Nobody shall wait for a full pipe; warnings are worth seeing.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("WARN") || line.contains("ERROR") {
                    eprintln!("{line}");
                }
            }
        });
        Ok(Self {
            address,
            child,
            source,
        })
    }

    /// This program as the floor.
    pub(crate) fn floor(site: &Site, channels: Channels) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let program = env::current_exe()?;
        let program = program
            .to_str()
            .ok_or_else(|| io::Error::other("a path not UTF-8"))?;
        let mut command = machine::command(program, site.server_cpu);
        command.args(["--floor", &listener.local_addr()?.to_string()]);
        command.args(["--channels", &channels.count.to_string()]);
        command.args(channels.is_shared.then_some("--shared"));
        let mut child = command.stdin(Stdio::null()).spawn()?;
        let introduced = introduction(&listener, &mut child);
        let (address, control) = introduced.inspect_err(|_| end(&mut child))?;
        let source = Source::Orders(control, String::new());
        Ok(Self {
            address,
            child,
            source,
        })
    }

    /// The child's process: `taskset` becomes what it starts.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Tells `registry` of what [`handle_event`](Self::handle_event) is for.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.source {
            Source::Postgres(publisher) => publisher.register(registry, token),
            Source::Orders(..) => Ok(()),
        }
    }

    /// Undoes it: a socket is in one poll at a time.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.source {
            Source::Postgres(publisher) => publisher.deregister(registry),
            Source::Orders(..) => Ok(()),
        }
    }

    pub(crate) fn handle_event(&mut self) -> io::Result<()> {
        match &mut self.source {
            Source::Postgres(publisher) => publisher.turn(),
            Source::Orders(..) => Ok(()),
        }
    }

    /// Queues messages that belong together.
    pub(crate) fn publish(&mut self, messages: Range<Number>) {
        match &mut self.source {
            Source::Postgres(publisher) => publisher.publish(messages),
            Source::Orders(_, lines) => {
                let count = messages.end - messages.start;
                lines.push_str(&format!("{} {count}\n", messages.start));
            }
        }
    }

    /// Hands over what is queued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.source {
            Source::Postgres(publisher) => publisher.write(),
            Source::Orders(control, lines) => {
                control.write_all(lines.as_bytes())?;
                lines.clear();
                Ok(())
            }
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _gone = child.kill();
    let _gone = child.wait();
}

/// The log says where it listens.
fn address_in(log: &mut impl BufRead) -> io::Result<SocketAddr> {
    let mut said = String::new();
    loop {
        let start = said.len();
        if log.read_line(&mut said)? == 0 {
            return Err(io::Error::other(format!("alle does not listen: {said}")));
        }
        if let Some((_, address)) = said[start..].trim_end().split_once("listening on ws://") {
            return address.parse().map_err(io::Error::other);
        }
    }
}

/// Before it has PostgreSQL it tells each client so, and takes upgrades all the same.
fn wait_until_ready(address: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("alle is not ready: {answer}")));
        }
        machine::settle();
    }
}

/// The floor connects and says where it listens.
fn introduction(listener: &TcpListener, child: &mut Child) -> io::Result<(SocketAddr, TcpStream)> {
    listener.set_nonblocking(true)?;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => machine::settle(),
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the floor ended: {status}")));
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let address = line.trim_end().parse().map_err(io::Error::other)?;
    Ok((address, stream))
}
