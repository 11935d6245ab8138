//! A bridge as one of several: the worker's side of the pipe to its parent.
//!
//! Owns the thread that takes orders and carries them out by the bridge's handle. Refuses to know
//! the other workers, and signals: those are the parent's, and are ignored here, since a terminal and
//! a service manager send them to every process.

#![expect(
    clippy::disallowed_types,
    reason = "the socket for clients and the pipe come as stdin and stdout"
)]

use std::{
    error::Error,
    fmt, fs,
    io::{self, Read, Write},
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixStream},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
    time::Duration,
};

use rustix::net::{Shutdown, shutdown};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2},
    flag,
};

use crate::{
    bridge::Bridge,
    config::{BridgeConfig, Limits},
    error::BridgeError,
    handle::Handle,
    startup,
    ticket_keys::{SharedTicketKeys, TicketKeys},
    workers::wire::{self, KeptFile, Order, Place, Report},
};

/// A process that a parent started as a worker: its socket, its pipe, and its place.
#[derive(Debug)]
pub struct Worker {
    listener: TcpListener,
    pipe: Pipe,
    place: Place,
    /// Those that the parent handed over; `None` where it wants to be told.
    files: Option<Vec<KeptFile>>,
}

impl Worker {
    /// The variable that says that a process is a worker.
    pub const VARIABLE: &'static str = wire::VARIABLE;

    /// Takes the socket that is stdin, and the first order from the pipe that is stdout, with the files
    /// that follow it.
    ///
    /// # Errors
    ///
    /// They are not what a parent gives: somebody else set the variable.
    pub fn begin() -> Result<Self, NoParent> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let listener = TcpListener::from(stdin);
        listener.local_addr()?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stream = UnixStream::from(stdout);
        stream.peer_addr()?;
        // Both are at once, or never.
        stream.set_read_timeout(Some(PIPE_TIMEOUT))?;
        stream.set_write_timeout(Some(PIPE_TIMEOUT))?;
        let input = Vec::new();
        let mut pipe = Pipe { stream, input };
        let Some(Order::Begin(place, count)) = pipe.read_order()? else {
            return Err(io::Error::other("no first order").into());
        };
        let files = count.map(|count| (0..count).map(|_| pipe.read_file()).collect());
        let files = files.transpose()?;
        pipe.stream.set_read_timeout(None)?;
        Ok(Self {
            listener,
            pipe,
            place,
            files,
        })
    }

    /// The files as the parent read them, for the options of this process. The others are read by the
    /// worker itself.
    pub fn take_files(&mut self) -> Vec<KeptFile> {
        self.files.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// From 1 on.
    pub fn number(&self) -> usize {
        self.place.number
    }

    /// Serves until the parent orders the end, or ends itself. What `config` allows all workers is
    /// divided by their number; the parent is told the `files` in which it stood, if it does not know
    /// them.
    ///
    /// # Errors
    ///
    /// Those of [`Bridge::run`].
    pub fn serve(
        self,
        mut config: BridgeConfig,
        files: Vec<KeptFile>,
        log_lines_dropped: Arc<AtomicU64>,
    ) -> Result<(), BridgeError> {
        let Self {
            listener,
            mut pipe,
            place,
            files: handed_over,
        } = self;
        if handed_over.is_none() {
            pipe.report_files(files).map_err(BridgeError::Io)?;
        }
        ignore_signals().map_err(BridgeError::Io)?;
        // For who looks at the list of processes: it would be the number of a descriptor.
        let _named = fs::write("/proc/self/comm", format!("alle worker {}", place.number));
        config.admin_addr = None;
        divide(&mut config.limits, place.count);
        // The parent's come before clients do.
        let keys = TicketKeys::new(startup::random).map_err(BridgeError::Io)?;
        let keys = SharedTicketKeys::new(keys);
        let bridge = Bridge::new(config)
            .with_listener(listener)
            .with_log_lines_dropped(log_lines_dropped)
            .with_parent(place.number == 1, place.group, keys.clone());
        let handle = bridge.handle();
        let orders = thread::Builder::new().name("orders".to_owned());
        orders
            .spawn(move || take_orders(pipe, &handle, &keys))
            .map_err(BridgeError::Io)?;
        bridge.run().wait()
    }
}

/// Carries out what the parent orders, until it ends.
fn take_orders(mut pipe: Pipe, handle: &Handle, ticket_keys: &SharedTicketKeys) {
    let mut is_ending = false;
    // An error is an end as well.
    while let Some(text) = pipe.read().ok().flatten() {
        let Some(order) = Order::parse(&text) else {
            continue;
        };
        match order {
            Order::Begin(..) | Order::File(_) => {}
            Order::Ask => {
                if pipe.report(handle).is_err() {
                    break;
                }
            }
            Order::TicketKeys(keys) => ticket_keys.set(keys),
            Order::Accept => handle.hold_clients(false),
            // Whether it worked is in the log.
            Order::Reload => drop(handle.reload().wait()),
            Order::Stop => {
                is_ending = true;
                handle.stop();
            }
            Order::Drain(span) => {
                is_ending = true;
                handle.drain(span);
            }
            Order::Retire(span) => {
                is_ending = true;
                handle.hold_clients(true);
                handle.drain(span);
            }
        }
    }
    if is_ending {
        // The parent was told twice, and has gone.
        process::exit(0);
    }
    tracing::error!(target: "alle::bridge", "the parent of this worker has ended: it stops");
    // The connections that wait would wait for nobody.
    let _closed = shutdown(io::stdin(), Shutdown::Read);
    handle.stop();
}

/// The pipe to the parent.
#[derive(Debug)]
struct Pipe {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Pipe {
    /// Waits for a message; `None` at the end.
    fn read(&mut self) -> io::Result<Option<String>> {
        let mut buffer = [0; 4 * 1024];
        loop {
            let malformed = |_| io::Error::other("no message");
            if let Some((text, length)) = wire::split(&self.input).map_err(malformed)? {
                let text = text.to_owned();
                self.input.drain(..length);
                return Ok(Some(text));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(read) => self.input.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read_order(&mut self) -> io::Result<Option<Order>> {
        Ok(self.read()?.and_then(|text| Order::parse(&text)))
    }

    fn read_file(&mut self) -> io::Result<KeptFile> {
        match self.read_order()? {
            Some(Order::File(file)) => Ok(file),
            Some(_) | None => Err(io::Error::other("a file is missing")),
        }
    }

    fn report_files(&mut self, files: Vec<KeptFile>) -> io::Result<()> {
        let mut message = Vec::new();
        for file in files {
            Report::File(file).append_to(&mut message);
        }
        self.stream.write_all(&message)
    }

    /// Says how the bridge is. That it answers at all says that its loop turns.
    fn report(&mut self, handle: &Handle) -> io::Result<()> {
        let readiness = handle.readiness().wait();
        let page = handle.metrics().wait().unwrap_or_default();
        let mut message = Vec::new();
        Report::Readiness(readiness).append_to(&mut message);
        Report::Metrics(page).append_to(&mut message);
        self.stream.write_all(&message)
    }
}

/// What all workers together may have, for one of them, rounded up.
fn divide(limits: &mut Limits, count: usize) {
    if let Some(clients_max) = &mut limits.clients_max {
        *clients_max = clients_max.div_ceil(count);
    }
    let message = limits.message_bytes_max;
    for bytes_max in [
        &mut limits.retained_bytes_max,
        &mut limits.owned_bytes_max,
        &mut limits.waiting_bytes_max,
    ] {
        // With less, nobody could even receive or send one message.
        *bytes_max = bytes_max.div_ceil(count).max(message.min(*bytes_max));
    }
    limits.history_bytes_max = limits.history_bytes_max.div_ceil(count);
}

fn ignore_signals() -> io::Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM, SIGUSR2] {
        flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// No parent has started this process as a worker.
#[derive(Debug)]
pub struct NoParent(io::Error);

impl From<io::Error> for NoParent {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for NoParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the variable {} is for the processes that 'alle serve --workers N' starts, and this is \
             none: {}",
            wire::VARIABLE,
            self.0
        )
    }
}

impl Error for NoParent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// A parent sends the first order at once, and reads answers in any state but that of a hung one.
const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_divided_and_rounded_up() {
        let whole = |retained| Limits {
            clients_max: Some(10),
            retained_bytes_max: retained,
            history_bytes_max: 16 * 1024 * 1024,
            ..Limits::default()
        };
        let divided = |retained, count| {
            let mut limits = whole(retained);
            divide(&mut limits, count);
            limits
        };
        let limits = divided(1_000_000, 3);
        assert_eq!(limits.clients_max, Some(4));
        assert_eq!(limits.retained_bytes_max, 333_334);
        assert_eq!(limits.owned_bytes_max, (128_usize << 20).div_ceil(3));
        assert_eq!(limits.waiting_bytes_max, (64_usize << 20).div_ceil(3));
        assert_eq!(limits.history_bytes_max, (16_usize << 20).div_ceil(3));
        // Never less than one message, and never more than there was.
        assert_eq!(divided(65_536, 4).retained_bytes_max, 65_536);
        assert_eq!(divided(262_145, 4).retained_bytes_max, 65_537);
        let one = divided(1_000_000, 1);
        assert_eq!(one.retained_bytes_max, 1_000_000);
        assert_eq!(one.clients_max, Some(10));
    }

    #[test]
    fn limits_of_one_address_or_client_hold_in_each_worker() {
        let mut limits = Limits {
            address_clients_max: Some(5),
            ..Limits::default()
        };
        divide(&mut limits, 4);
        assert_eq!(limits.address_clients_max, Some(5));
        assert_eq!(
            limits.client_queue_bytes_max,
            Limits::default().client_queue_bytes_max
        );
    }
}
