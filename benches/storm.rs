//! A storm of connections beside a fan-out: what others feel of it, under TLS and in clear text.
//!
//! First how many connections a second this machine opens, upgrades and closes, and what each costs
//! either side; then, beside storms that all have one rate, how long a notification takes to a client
//! of a crowd that hears the same. The storm runs on the same processors as the bridge: the rate that it
//! reaches is that of both together. `--rate N`, `--clients N`, `--rounds N`; without `--bench` it only runs
//! once, with few.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a shell of its own: it has sockets, a clock and a table to print"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "what it shares with the other benchmarks and the tests has more than it needs"
)]

#[expect(clippy::unwrap_used, reason = "the tests have it, too")]
#[path = "../tests/support/certificates.rs"]
mod certificates;
#[path = "../tests/support/environment.rs"]
mod environment;
#[path = "end_to_end/histogram.rs"]
mod histogram;
#[path = "end_to_end/machine.rs"]
mod machine;

use std::{
    env, fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use alle::internals::sandbox::Sandbox;
use mio::{Events, Interest, Poll, Token};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject},
};

use self::{certificates::Authority, histogram::Histogram};

/// What is asked of a run.
struct Options {
    /// Connections a second, where the machine makes so many.
    rate: f64,
    clients: usize,
    rounds: usize,
    /// Notifications of a round, 50 a second.
    notifications: u32,
    /// How long the fastest storm is looked at.
    look: Duration,
}

impl Options {
    fn read() -> Self {
        let words: Vec<_> = env::args().collect();
        let of = |name: &str, default: usize| {
            let at = words.iter().position(|word| word == name);
            let value = at.and_then(|at| words.get(at + 1));
            value.map_or(default, |value| value.parse().expect("a number"))
        };
        let is_measured = words.iter().any(|word| word == "--bench");
        let (clients, rounds, notifications, look_ms) = if is_measured {
            (500, 5, 200, 3_000)
        } else {
            (10, 1, 5, 50)
        };
        Self {
            rate: of("--rate", 2_000) as f64,
            clients: of("--clients", clients),
            rounds: of("--rounds", rounds),
            notifications,
            look: Duration::from_millis(look_ms),
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::read();
    let directory = tempfile::tempdir()?;
    let configs = Configs::make(directory.path())?;
    let postgres = Sandbox::start().map_err(io::Error::other)?;
    let pair = ["crt", "key"].map(|name| directory.path().join(name).display().to_string());
    let tls = ["--tls-cert", &pair[0], "--tls-key", &pair[1]];
    let plain = Bridge::start(&postgres.url(), &[])?;
    let secured = Bridge::start(&postgres.url(), &tls)?;
    let ws = Kind("ws://", &plain, None);
    let ticket = Kind("wss://, by a ticket", &secured, Some(&configs.resuming));
    let full = Kind("wss://, in full", &secured, Some(&configs.full));

    println!(
        "| storm | connections a second, at most | by a ticket | bridge: cores, us each | storm: \
         cores, us each |\n| --- | --- | --- | --- | --- |"
    );
    let fastest = [ws, ticket, full].map(|kind| fastest(kind, options.look));
    // At its limit a machine measures its queues.
    let rate = options
        .rate
        .min(0.8 * fastest.into_iter().fold(f64::INFINITY, f64::min));
    println!(
        "\n{} clients hear 50 notifications a second, which one of them measures; {} rounds of {}. All \
         storms have one rate, {rate:.0} a second.\n\n\
         | beside the clients | a second | p50, ms | p99, ms | longest, ms |\n\
         | --- | --- | --- | --- | --- |",
        options.clients, options.rounds, options.notifications
    );
    beside(&[Kind("ws://, quiet", &plain, None), ws], rate, &options)?;
    let quiet = Kind("wss://, quiet", &secured, Some(&configs.full));
    beside(&[quiet, ticket, full], rate, &options)
}

/// A kind of storm: its name, the bridge that it is for, and what it speaks TLS with.
#[derive(Clone, Copy)]
struct Kind<'a>(&'static str, &'a Bridge, Option<&'a Arc<ClientConfig>>);

/// How many connections a second there can be; prints a row.
fn fastest(Kind(name, bridge, config): Kind<'_>, look: Duration) -> f64 {
    let storm = Storm::begin(bridge.address, config, f64::INFINITY);
    thread::sleep(look / 4);
    let before = storm.figures(bridge);
    thread::sleep(look);
    let [count, resumed, bridge_s, own_s, seconds] = storm.figures(bridge).since(before);
    storm.end();
    println!(
        "| {name} | {:.0} | {:.0} % | {:.2}, {:.0} | {:.2}, {:.0} |",
        count / seconds,
        resumed / count * 100.0,
        bridge_s / seconds,
        bridge_s / count * 1e6,
        own_s / seconds,
        own_s / count * 1e6
    );
    count / seconds
}

/// What clients feel of storms for their bridge, the first of which is none; prints a row for each.
fn beside(kinds: &[Kind<'_>], rate: f64, options: &Options) -> io::Result<()> {
    let Kind(_, bridge, config) = kinds[0];
    let mut scene = Scene::set(bridge.address, config, options.clients)?;
    let mut seen: Vec<_> = kinds
        .iter()
        .map(|_| (Histogram::default(), 0.0, 0.0))
        .collect();
    for _ in 0..options.rounds {
        for (at, Kind(_, bridge, config)) in kinds.iter().enumerate() {
            let storm = Storm::begin(bridge.address, *config, if at == 0 { 0.0 } else { rate });
            let before = storm.figures(bridge);
            let (histogram, connections, span) = &mut seen[at];
            scene.measure(options.notifications, histogram)?;
            let [count, _, _, _, seconds] = storm.figures(bridge).since(before);
            storm.end();
            *connections += count;
            *span += seconds;
        }
    }
    for (Kind(name, ..), (histogram, count, seconds)) in kinds.iter().zip(seen) {
        let [p50, p99, longest] = [500, 990, 1_000].map(|it| histogram.milliseconds_at(it));
        println!(
            "| {name} | {:.0} | {p50:.1} | {p99:.1} | {longest:.1} |",
            count / seconds
        );
    }
    Ok(())
}

// ---- TLS

/// What clients speak TLS with.
struct Configs {
    full: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
}

impl Configs {
    /// With a pair for the bridge, `crt` and `key`.
    fn make(directory: &Path) -> io::Result<Self> {
        let authority = Authority::new("of a benchmark");
        let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
        let pair = authority.sign("localhost", &["localhost"], algorithm);
        fs::write(directory.join("crt"), pair.certificate)?;
        fs::write(directory.join("key"), pair.key)?;
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.pem.as_bytes());
        roots
            .add(authority.expect("it was just made"))
            .map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let resuming = config.with_root_certificates(roots).with_no_client_auth();
        let mut full = resuming.clone();
        full.resumption = Resumption::disabled();
        Ok(Self {
            full: Arc::new(full),
            resuming: Arc::new(resuming),
        })
    }
}

/// A connection, in clear text or not.
enum Wire<Socket: Read + Write> {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl<Socket: Read + Write> Wire<Socket> {
    fn on(socket: Socket, config: Option<&Arc<ClientConfig>>) -> Self {
        let Some(config) = config else {
            return Self::Plain(socket);
        };
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
        Self::Tls(Box::new(StreamOwned::new(connection, socket)))
    }

    /// Whether the handshake went by a ticket.
    fn is_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl<Socket: Read + Write> Read for Wire<Socket> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl<Socket: Read + Write> Write for Wire<Socket> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// A client of WebSocket that is in.
fn open(address: SocketAddr, config: Option<&Arc<ClientConfig>>) -> io::Result<Wire<TcpStream>> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut wire = Wire::on(socket, config);
    wire.write_all(UPGRADE)?;
    read_until(&mut wire, b"\r\n\r\n")?;
    Ok(wire)
}

fn read_until(wire: &mut impl Read, end: &[u8]) -> io::Result<()> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4_096]);
    while !heard.windows(end.len()).any(|it| it == end) {
        match wire.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => heard.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(())
}

/// A text frame of a client.
fn send(wire: &mut impl Write, text: &str) -> io::Result<()> {
    let length = u8::try_from(text.len()).expect("it is short");
    assert!(length < 126, "it is short");
    let head = [0x81, 0x80 | length, 0, 0, 0, 0];
    wire.write_all(&[&head, text.as_bytes()].concat())
}

// ---- the bridge

struct Bridge {
    child: Child,
    address: SocketAddr,
}

impl Bridge {
    fn start(url: &str, options: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alle"));
        environment::clean(&mut command);
        command.args(["serve", "-w", "127.0.0.1:0", "-l", "alle=info", "-p", url]);
        command
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let address = loop {
            let line = log.next().ok_or(ErrorKind::UnexpectedEof)??;
            if let Some((_, address)) = line.split_once("listening on ") {
                let (_, address) = address.split_once("://").expect("a URL");
                break address.trim().parse().map_err(io::Error::other)?;
            }
        };
        thread::spawn(move || log.for_each(drop));
        Ok(Self { child, address })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

// ---- the storm

/// Threads that open connections, one after the other.
struct Storm {
    made: Arc<AtomicU64>,
    /// Those that went by a ticket.
    resumed: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Storm {
    /// So many connections a second, of all threads.
    fn begin(address: SocketAddr, config: Option<&Arc<ClientConfig>>, rate: f64) -> Self {
        let [made, resumed] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs_f64(STORMERS as f64 / rate.max(1e-3));
        let count = if rate > 0.0 { STORMERS } else { 0 };
        let threads = (0..count).map(|number| {
            let (made, resumed) = (Arc::clone(&made), Arc::clone(&resumed));
            let (is_over, config) = (Arc::clone(&is_over), config.cloned());
            thread::spawn(move || {
                let mut due = Instant::now() + pause.mul_f64(number as f64 / STORMERS as f64);
                while !is_over.load(Relaxed) {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    // Those that could not be made in time are made up for, within reason.
                    due = (due + pause).max(Instant::now() - Duration::from_millis(100));
                    if let Ok(wire) = open(address, config.as_ref()) {
                        made.fetch_add(1, Relaxed);
                        resumed.fetch_add(u64::from(wire.is_resumed()), Relaxed);
                    }
                }
            })
        });
        let threads = threads.collect();
        Self {
            made,
            resumed,
            is_over,
            threads,
        }
    }

    /// Connections made, those by a ticket, seconds of processor time of the bridge and of ourselves, and
    /// the time.
    fn figures(&self, bridge: &Bridge) -> Figures {
        let cpu = |process| machine::cpu_time(process).as_secs_f64();
        let since = START.get_or_init(Instant::now).elapsed().as_secs_f64();
        let [made, resumed] = [&self.made, &self.resumed].map(|it| it.load(Relaxed) as f64);
        Figures([
            made,
            resumed,
            cpu(bridge.child.id()),
            cpu(std::process::id()),
            since,
        ])
    }

    fn end(self) {
        self.is_over.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("it does not panic");
        }
    }
}

#[derive(Clone, Copy)]
struct Figures([f64; 5]);

impl Figures {
    fn since(self, before: Self) -> [f64; 5] {
        std::array::from_fn(|at| self.0[at] - before.0[at])
    }
}

// ---- the clients beside it

/// A crowd, one of it that measures, and one that publishes.
struct Scene {
    bystander: Wire<TcpStream>,
    sender: Wire<TcpStream>,
    is_over: Arc<AtomicBool>,
    crowd: Option<JoinHandle<()>>,
    number: u32,
}

impl Scene {
    fn set(
        address: SocketAddr,
        config: Option<&Arc<ClientConfig>>,
        count: usize,
    ) -> io::Result<Self> {
        let subscriber = || {
            let mut wire = open(address, config)?;
            send(&mut wire, r#"{"type":"subscribe","channel":"crowd"}"#)?;
            read_until(&mut wire, b"\"subscribed\"")?;
            Ok(wire)
        };
        let crowd: io::Result<Vec<_>> = (1..count).map(|_| subscriber()).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let crowd = read_all(crowd?, Arc::clone(&is_over))?;
        Ok(Self {
            bystander: subscriber()?,
            sender: open(address, config)?,
            is_over,
            crowd: Some(crowd),
            number: 0,
        })
    }

    /// Publishes so many, 50 a second, and notes how long each took to a subscriber.
    fn measure(&mut self, count: u32, histogram: &mut Histogram) -> io::Result<()> {
        let mut due = Instant::now();
        for _ in 0..count {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.number += 1;
            let payload = format!("<{}>", self.number);
            let asked = Instant::now();
            let message = format!(r#"{{"type":"notify","channel":"crowd","payload":"{payload}"}}"#);
            send(&mut self.sender, &message)?;
            read_until(&mut self.bystander, payload.as_bytes())?;
            histogram.add(asked.elapsed());
            due = (due + INTERVAL).max(Instant::now());
        }
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(crowd) = self.crowd.take() {
            let _panicked = crowd.join();
        }
    }
}

/// Reads all that comes, in a thread.
fn read_all(crowd: Vec<Wire<TcpStream>>, is_over: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
    let mut poll = Poll::new()?;
    let mut wires = Vec::new();
    for (at, wire) in crowd.into_iter().enumerate() {
        let watched = |socket: TcpStream| {
            socket.set_nonblocking(true)?;
            let mut socket = mio::net::TcpStream::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(at), Interest::READABLE)?;
            io::Result::Ok(socket)
        };
        wires.push(match wire {
            Wire::Plain(socket) => Wire::Plain(watched(socket)?),
            Wire::Tls(tls) => {
                let (connection, socket) = tls.into_parts();
                Wire::Tls(Box::new(StreamOwned::new(connection, watched(socket)?)))
            }
        });
    }
    Ok(thread::spawn(move || {
        let (mut events, mut buffer) = (Events::with_capacity(1_024), [0; 16 * 1_024]);
        while !is_over.load(Relaxed) {
            poll.poll(&mut events, Some(Duration::from_millis(100)))
                .expect("it can wait");
            for event in &events {
                let wire = &mut wires[event.token().0];
                while wire.read(&mut buffer).is_ok_and(|read| read > 0) {}
            }
        }
    }))
}

static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Most of them wait for the bridge at any time.
const STORMERS: usize = 16;
const INTERVAL: Duration = Duration::from_millis(20);
