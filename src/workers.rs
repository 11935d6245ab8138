//! Several bridges on one port, each a process of its own, and the parent that keeps them.
//!
//! The parent owns the sockets, so that nobody who waits at one is refused while a worker is started
//! again; the signals, the drain, the word to the service manager and the exit status; and the admin
//! address, where it answers for all. It refuses to know PostgreSQL, clients, notifications and the
//! reactor: all of that is the workers', whose side of the pipe is `worker`. It waits in one place,
//! and no peer and no worker can hold it up.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a parent is a shell: it has a clock, pipes, and a listener for operators"
)]

mod admin;
mod answers;
mod pages;
mod process;
mod program;
mod renewal;
mod seat;
mod signals;
mod tickets;
mod tries;
pub(crate) mod wire;

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    admin::Admin,
    program::Program,
    renewal::{Progress, Renewal},
    seat::Seat,
    signals::Signals,
    tickets::Tickets,
    wire::{KeptFile, Order, Place},
};
use crate::{
    access::origins::OriginPolicy,
    config::{BridgeConfig, TlsConfigError},
    error::BridgeError,
    service_manager::ServiceManager,
    startup,
    terminal::Terminal,
};

/// The parent of `count` workers. See [`run`](Self::run).
#[derive(Debug)]
pub struct Workers {
    seats: Vec<Seat>,
    admin: Admin,
    address: SocketAddr,
    /// That of the start, or of the last renewal that is done.
    program: Program,
    signals: Signals,
    terminal: Terminal,
    drain: Duration,
    service_manager: Option<ServiceManager>,
    renewal: Option<Renewal>,
    /// Where clients speak TLS.
    tickets: Option<Tickets>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not every worker runs yet.
    Starting,
    Serving,
    /// Every worker was told to end.
    Stopping {
        /// When clients are refused at the sockets.
        close_at: Option<Instant>,
        /// When those that are left are killed.
        kill_at: Instant,
    },
}

impl Workers {
    /// The most workers.
    pub const COUNT_MAX: usize = 64;

    /// Binds the addresses of `config`, or takes the sockets that a service manager passed. The
    /// workers are started by [`run`](Self::run), from the program of this process with these
    /// arguments, its own name first, and with the `files` in which other options stand, as they are
    /// here whatever becomes of them.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, or the sockets that were passed are not one for each worker.
    pub fn new(
        config: &BridgeConfig,
        count: usize,
        arguments: Vec<OsString>,
        files: Vec<KeptFile>,
    ) -> Result<Self, BridgeError> {
        if !cfg!(target_os = "linux") {
            let why = "several workers need Linux, which spreads connections over their sockets";
            return Err(BridgeError::Io(io::Error::other(why)));
        }
        if config.tls.admin {
            return Err(BridgeError::Tls(TlsConfigError::AdminOfWorkers));
        }
        let (sockets, admin) = sockets(config, count)?;
        let (sockets, address) = sockets;
        let group = match &config.group {
            Some(_) => None,
            None => Some(private_group().map_err(BridgeError::Io)?),
        };
        let now = Instant::now();
        let seats = sockets.into_iter().zip(1..).map(|(socket, number)| {
            let group = group.clone();
            let place = Place {
                number,
                count,
                group,
            };
            Seat::new(place, socket, now)
        });
        let mut seats: Vec<_> = seats.collect();
        let tickets = config.tls.is_on().then(|| Tickets::share(&mut seats, now));
        let policy = OriginPolicy {
            allow_origins: config.allow_origins.clone(),
            allow_hosts: config.allow_hosts.clone(),
            allow_local_origins: config.allow_local_origins,
        };
        Ok(Self {
            seats,
            admin: Admin::new(admin, policy).map_err(BridgeError::Io)?,
            address,
            program: Program::of_this_process(arguments, files).map_err(BridgeError::Io)?,
            signals: Signals::new().map_err(BridgeError::Io)?,
            terminal: Terminal::look(),
            drain: config.drain,
            service_manager: startup::service_manager(),
            renewal: None,
            tickets: tickets.transpose().map_err(BridgeError::Io)?,
            state: State::Starting,
        })
    }

    /// Starts the workers, and keeps them until a signal.
    ///
    /// # Errors
    ///
    /// A worker cannot be started the first time, every worker was given up, or one had to be killed
    /// at the end.
    pub fn run(mut self) -> Result<(), BridgeError> {
        tracing::info!(target: "alle::bridge", "{} workers are started", self.seats.len());
        let now = Instant::now();
        for seat in &mut self.seats {
            seat.start_when_due(&self.program, now)
                .map_err(BridgeError::Io)?;
        }
        let mut ended = Ok(true);
        while let Ok(true) = ended {
            ended = self.turn();
        }
        self.signals.end_at_the_next();
        tracing::info!(target: "alle::bridge", "stopped");
        ended.map(drop).map_err(BridgeError::Io)
    }

    /// One turn; false when all is over.
    fn turn(&mut self) -> io::Result<bool> {
        let glance = Instant::now() + GLANCE;
        let due = self.poll_timeout().map_or(glance, |at| at.min(glance));
        self.wait(due)?;
        let now = Instant::now();
        if now > due + AWAY {
            self.seats.iter_mut().for_each(|seat| seat.forgive(now));
        }
        self.signals.clear();
        if self.take_signals(now) {
            let reason = "is killed: the second signal ends everything at once";
            for seat in &mut self.seats {
                seat.kill_all(reason);
            }
            return Ok(false);
        }
        let goes_on = if let State::Stopping { close_at, kill_at } = self.state {
            self.end(close_at, kill_at, now)?
        } else {
            self.keep(now)?
        };
        let is_stopping = matches!(self.state, State::Stopping { .. });
        let (seats, admin) = (&self.seats, &mut self.admin);
        admin.turn(|page| answers::answer(page, seats, is_stopping, now), now);
        Ok(goes_on)
    }

    /// Waits until something happens, or then.
    fn wait(&self, until: Instant) -> io::Result<()> {
        let signals = self.signals.pipes();
        let mut fds = signals
            .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN))
            .to_vec();
        let write_too = |is_wanted| {
            if is_wanted {
                PollFlags::IN | PollFlags::OUT
            } else {
                PollFlags::IN
            }
        };
        for process in self.seats.iter().flat_map(Seat::processes) {
            let flags = write_too(process.has_output());
            fds.push(PollFd::from_borrowed_fd(process.pipe(), flags));
        }
        for (socket, is_written) in self.admin.sockets() {
            fds.push(PollFd::from_borrowed_fd(socket, write_too(is_written)));
        }
        let timeout = until.saturating_duration_since(Instant::now());
        // A millisecond more, not to be too early again and again.
        let timeout = Timespec::try_from(timeout + Duration::from_millis(1)).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let admin = self.admin.poll_timeout().into_iter();
        if let State::Stopping { close_at, kill_at } = self.state {
            return admin.chain(close_at).chain([kill_at]).min();
        }
        let seats = self.seats.iter().filter_map(Seat::poll_timeout);
        let renewal = self.renewal.as_ref().and_then(Renewal::poll_timeout);
        let tickets = self.tickets.as_ref().map(Tickets::poll_timeout);
        admin.chain(seats).chain(renewal).chain(tickets).min()
    }

    /// Whether somebody who asked for the end asked again.
    fn take_signals(&mut self, now: Instant) -> bool {
        let is_reload = self.signals.take_reload();
        let is_over = is_reload && self.terminal.has_gone();
        let stops = self.signals.count_stops();
        if stops > 0 || is_over {
            let why = if stops > 0 {
                "SIGINT or SIGTERM"
            } else {
                "its terminal has gone"
            };
            self.stop(why, now);
        }
        if matches!(self.state, State::Stopping { .. }) {
            return stops > 1;
        }
        if is_reload {
            self.seats.iter_mut().for_each(Seat::reload);
        }
        if self.signals.take_renew() {
            self.renew(now);
        }
        false
    }

    fn stop(&mut self, why: &str, now: Instant) {
        if matches!(self.state, State::Stopping { .. }) {
            return;
        }
        tracing::info!(target: "alle::bridge", "stopping: {why}");
        if let Some(service_manager) = &self.service_manager {
            service_manager.tell_stopping();
        }
        let order = if self.drain.is_zero() {
            Order::Stop
        } else {
            Order::Drain(self.drain)
        };
        self.seats.iter_mut().for_each(|seat| seat.stop(&order));
        self.state = State::Stopping {
            close_at: Some(now + self.drain),
            kill_at: now + self.drain + STOP_TIMEOUT,
        };
    }

    /// What there is to do while workers are wanted.
    fn keep(&mut self, now: Instant) -> io::Result<bool> {
        for seat in &mut self.seats {
            seat.turn(now);
            let renewal = self.renewal.as_ref();
            let program =
                renewal.map_or(&self.program, |it| it.program(seat.number(), &self.program));
            seat.start_again_when_due(program, now);
        }
        self.go_on_with_renewal(now);
        if let Some(tickets) = &mut self.tickets {
            tickets.rotate_when_due(&mut self.seats, now);
        }
        if self.seats.iter().all(Seat::is_given_up) {
            return Err(io::Error::other("every worker was given up"));
        }
        if self.state == State::Starting && self.seats.iter().all(Seat::is_settled) {
            self.state = State::Serving;
            if let Some(service_manager) = &self.service_manager {
                service_manager.tell_ready();
            }
        }
        Ok(true)
    }

    /// What there is to do until they are gone.
    fn end(
        &mut self,
        close_at: Option<Instant>,
        kill_at: Instant,
        now: Instant,
    ) -> io::Result<bool> {
        if close_at.is_some_and(|at| now >= at) {
            self.seats.iter().for_each(Seat::close_socket);
            let close_at = None;
            self.state = State::Stopping { close_at, kill_at };
        }
        for seat in &mut self.seats {
            seat.reap_all(now);
        }
        if now >= kill_at {
            let killed = self.seats.iter_mut().filter_map(|it| {
                it.kill_all("did not stop in time, and is killed")
                    .then_some(it)
            });
            let count = killed.count();
            if count > 0 {
                let why = format!("{count} of the workers did not stop, and were killed");
                return Err(io::Error::other(why));
            }
        }
        Ok(!self.seats.iter().all(Seat::is_empty))
    }

    // ---- renewal

    fn renew(&mut self, now: Instant) {
        if self.renewal.is_some() {
            tracing::info!(
                target: "alle::bridge",
                "SIGUSR2 is passed over: the workers are being renewed already"
            );
            return;
        }
        let (program, is_other) = self.program.renewed();
        let from = if is_other {
            "another program"
        } else {
            "the same program"
        };
        tracing::info!(
            target: "alle::bridge",
            "SIGUSR2: the workers are renewed one after the other, from {from}"
        );
        self.renewal = Some(Renewal::new(program, now));
    }

    fn go_on_with_renewal(&mut self, now: Instant) {
        let Some(renewal) = &mut self.renewal else {
            return;
        };
        let address = self.address;
        let reopen = || startup::shared_socket(address).map(|(socket, _)| socket);
        let progress = renewal.turn(&mut self.seats, self.drain, reopen, now);
        match progress {
            Progress::UnderWay => return,
            Progress::Done => {
                tracing::info!(target: "alle::bridge", "every worker is renewed");
                if let Some(renewal) = self.renewal.take() {
                    self.program = renewal.into_program();
                }
            }
            Progress::GivenUp => {
                let number = renewal.number();
                tracing::error!(
                    target: "alle::bridge",
                    "the renewal is given up: worker {number} and those after it go on as they were"
                );
            }
        }
        self.renewal = None;
    }
}

/// Sockets for clients, with their address.
type Sockets = (Vec<OwnedFd>, SocketAddr);

/// One socket for each worker, and that of the admin address.
fn sockets(config: &BridgeConfig, count: usize) -> Result<(Sockets, OwnedFd), BridgeError> {
    let passed = startup::passed_listeners(usize::MAX).map_err(BridgeError::Passed)?;
    let (sockets, address) = match passed.clients.len() {
        0 => bind(&config.ws_bind_addr, count)?,
        it if it == count => {
            let sockets = passed.clients.into_iter().map(|it| it.into_socket());
            let sockets = sockets.collect::<io::Result<Vec<_>>>();
            let (sockets, addresses): (Vec<_>, Vec<_>) =
                sockets.map_err(BridgeError::Io)?.into_iter().unzip();
            (sockets, addresses[0])
        }
        it => {
            return Err(BridgeError::Passed(io::Error::other(format!(
                "it is one of {it} for clients, and there are {count} workers: each of them needs one \
                 of its own (ListenStream= as often as there are workers, with ReusePort=yes)"
            ))));
        }
    };
    let (admin, admin_address) = match (passed.admin, &config.admin_addr) {
        (Some(admin), _) => admin.into_socket().map_err(BridgeError::Io)?,
        (None, Some(address)) => startup::socket(address)?,
        (None, None) => {
            let why = "several workers need an address at which one answers for all";
            return Err(BridgeError::Io(io::Error::other(why)));
        }
    };
    startup::announce(address, Some(admin_address), &config.tls);
    Ok(((sockets, address), admin))
}

/// Sockets of one address, over which the kernel spreads connections.
fn bind(address: &str, count: usize) -> Result<Sockets, BridgeError> {
    let mut address = startup::resolve(address)?;
    if address.port() != 0 {
        // Another service of ours would share the port, and its clients, without a word.
        startup::probe(address).map_err(|error| BridgeError::Bind(address, error))?;
    }
    let mut sockets = Vec::new();
    for _ in 0..count {
        let bound = startup::shared_socket(address);
        let (socket, bound) = bound.map_err(|error| BridgeError::Bind(address, error))?;
        // The first one may have picked the port.
        address = bound;
        sockets.push(socket);
    }
    Ok((sockets, address))
}

/// The name and the secret of a group that nobody else can join.
fn private_group() -> io::Result<(String, Vec<u8>)> {
    let name = format!("workers-{:016x}", startup::seed()?);
    Ok((name, startup::random::<KEY_BYTES>()?.to_vec()))
}

/// The longest wait: one that was to be longer could not tell that we were stopped meanwhile.
const GLANCE: Duration = Duration::from_secs(1);
/// Whoever wakes so much later than asked was stopped, and perhaps the workers with it: their silence
/// says nothing.
const AWAY: Duration = Duration::from_secs(2);
/// A worker ends within five seconds of its order to stop; one that hangs is killed after this time.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);
const KEY_BYTES: usize = 32;
