//! All foes on one thread: each repeats its behaviour, and its observations are compared with the
//! promises of the bridge.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    behaviours::{Behaviour, CAUGHT_UP, End, HUNG_UP, LEFT, RESET},
    random::Random,
};

/// Runs until withdrawn.
pub struct Foes {
    is_over: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    thread: JoinHandle<()>,
}

/// The outcome of their rounds.
#[derive(Clone, Default)]
pub struct Told {
    /// The number of rounds begun, by behaviour.
    pub begun: BTreeMap<&'static str, u64>,
    /// The ends of the rounds.
    pub ended: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Errors the bridge told them, by code.
    pub refusals: BTreeMap<String, u64>,
    pub broken: Vec<String>,
}

impl Foes {
    /// This many of each behaviour; each stops reading for a number of seconds within `deaf`.
    pub fn start(
        address: SocketAddr,
        army: Vec<(Behaviour, usize)>,
        deaf: [Duration; 2],
        mut random: Random,
    ) -> io::Result<Self> {
        let (is_over, told) = (Arc::default(), Arc::default());
        let (of_thread, to_tell) = (Arc::clone(&is_over), Arc::clone(&told));
        let poll = Poll::new()?;
        let thread = thread::spawn(move || {
            let mut foes = Vec::new();
            for (behaviour, count) in &army {
                foes.extend((0..*count).map(|_| Foe {
                    behaviour,
                    round: None,
                    rests_until: Instant::now() + pause(&mut random),
                }));
            }
            let mut field = Field {
                address,
                deaf,
                random,
                told: &to_tell,
            };
            run(poll, &mut foes, &mut field, &of_thread);
        });
        Ok(Self {
            is_over,
            told,
            thread,
        })
    }

    pub fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Ends all of them at once, without a close frame.
    pub fn withdraw(self) -> Told {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().expect("foes do not panic");
        self.told.lock().unwrap().clone()
    }
}

/// The state that all foes share.
struct Field<'a> {
    address: SocketAddr,
    deaf: [Duration; 2],
    random: Random,
    told: &'a Mutex<Told>,
}

struct Foe<'a> {
    behaviour: &'a Behaviour,
    round: Option<Round>,
    rests_until: Instant,
}

/// One connection of a foe.
struct Round {
    stream: TcpStream,
    /// Of opening and assault.
    written: [usize; 2],
    inbox: Vec<u8>,
    is_upgraded: bool,
    deaf_until: Option<Instant>,
    gives_up_at: Instant,
}

fn run(mut poll: Poll, foes: &mut [Foe<'_>], field: &mut Field<'_>, is_over: &AtomicBool) {
    let mut events = Events::with_capacity(1024);
    let mut ticked_at = Instant::now();
    while !is_over.load(Ordering::SeqCst) {
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.expect("polling works"),
        }
        for event in &events {
            foes[event.token().0].advance(field);
        }
        if ticked_at.elapsed() >= TICK {
            ticked_at = Instant::now();
            for (key, foe) in foes.iter_mut().enumerate() {
                foe.tick(key, poll.registry(), field);
            }
        }
    }
}

impl Foe<'_> {
    fn tick(&mut self, key: usize, registry: &Registry, field: &mut Field<'_>) {
        let now = Instant::now();
        let Some(round) = &mut self.round else {
            if self.rests_until <= now {
                let mut told = field.told.lock().unwrap();
                *told.begun.entry(self.behaviour.name).or_default() += 1;
                drop(told);
                match Round::begin(field.address, key, registry) {
                    Ok(round) => self.round = Some(round),
                    Err(error) => self.end(format!("no connection: {error}"), field),
                }
            }
            return;
        };
        if round.gives_up_at <= now {
            let is_deaf = round.deaf_until.is_some();
            let verdict = if is_deaf { CAUGHT_UP } else { "never ended" };
            self.end(verdict.to_owned(), field);
        } else if self.behaviour.end == End::HeardSlowly || round.deaf_until.is_some() {
            self.advance(field);
        }
    }

    /// Writes and reads as far as possible.
    fn advance(&mut self, field: &mut Field<'_>) {
        let Some(round) = &mut self.round else { return };
        if let Some(verdict) = round.advance(self.behaviour, field) {
            self.end(verdict, field);
        }
    }

    fn end(&mut self, verdict: String, field: &mut Field<'_>) {
        let mut told = field.told.lock().unwrap();
        if !self.behaviour.expected.contains(&verdict.as_str()) {
            let name = self.behaviour.name;
            told.broken.push(format!("{name}: {verdict}"));
        }
        let ended = told.ended.entry(self.behaviour.name).or_default();
        *ended.entry(verdict).or_default() += 1;
        drop(told);
        self.round = None;
        self.rests_until = Instant::now() + pause(&mut field.random);
    }
}

impl Round {
    fn begin(address: SocketAddr, key: usize, registry: &Registry) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Before connecting, since it determines the window (tcp(7)): a stalled reader is soon
        // noticed.
        socket.set_recv_buffer_size(4_096)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Err(error) = socket.connect(&address.into())
            && error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        {
            return Err(error);
        }
        let mut stream = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(key), both)?;
        Ok(Self {
            stream,
            written: [0; 2],
            inbox: Vec::new(),
            is_upgraded: false,
            deaf_until: None,
            gives_up_at: Instant::now() + PATIENCE,
        })
    }

    /// The end of the round, if it has ended.
    fn advance(&mut self, behaviour: &Behaviour, field: &mut Field<'_>) -> Option<String> {
        self.write(behaviour);
        let is_written = self.written[0] == behaviour.opening.len()
            && self.written[1] == behaviour.assault.len();
        match behaviour.end {
            End::Vanish if self.written[0] == behaviour.opening.len() => {
                return Some(LEFT.to_owned());
            }
            End::Reset if self.is_upgraded => {
                let socket = SockRef::from(&self.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return Some(LEFT.to_owned());
            }
            End::Deaf if self.is_upgraded && is_written => {
                let [least, most] = field.deaf;
                let until = *self.deaf_until.get_or_insert_with(|| {
                    let spread = field.random.below(1_000);
                    let spread = u32::try_from(spread).expect("below a thousand");
                    let until = Instant::now() + least + (most - least) * spread / 1_000;
                    self.gives_up_at = until + CATCH_UP;
                    until
                });
                if Instant::now() < until {
                    return None;
                }
            }
            End::Heard | End::HeardSlowly | End::Vanish | End::Reset | End::Deaf => {}
        }
        self.read(behaviour, field)
    }

    fn write(&mut self, behaviour: &Behaviour) {
        let parts = [&behaviour.opening, &behaviour.assault];
        for (at, part) in parts.into_iter().enumerate() {
            while self.written[at] < part.len() && (at == 0 || self.is_upgraded) {
                let is_slow = at == 0 && behaviour.end == End::HeardSlowly;
                let left = &part[self.written[at]..];
                let left = if is_slow { &left[..1] } else { left };
                match self.stream.write(left) {
                    Ok(written) => self.written[at] += written,
                    Err(error) if is_not_yet(&error) => return,
                    // The bridge has ended the connection; the bytes still to be read tell how.
                    Err(_) => self.written[at] = part.len(),
                }
                if is_slow {
                    return;
                }
            }
        }
    }

    fn read(&mut self, behaviour: &Behaviour, field: &mut Field<'_>) -> Option<String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(HUNG_UP.to_owned()),
                Ok(read) => self.inbox.extend_from_slice(&buffer[..read]),
                Err(error) if is_not_yet(&error) => return None,
                Err(_) => return Some(RESET.to_owned()),
            }
            let was_upgraded = self.is_upgraded;
            if let Some(verdict) = self.hear(field) {
                return Some(verdict);
            }
            if self.is_upgraded != was_upgraded {
                // Now it is its turn.
                return self.advance(behaviour, field);
            }
        }
    }

    /// Parses the answer and the frames.
    fn hear(&mut self, field: &Field<'_>) -> Option<String> {
        if !self.is_upgraded {
            let end = self.inbox.windows(4).position(|it| it == b"\r\n\r\n")?;
            let head: Vec<u8> = self.inbox.drain(..end + 4).collect();
            let status = String::from_utf8_lossy(head.get(9..12).unwrap_or_default()).into_owned();
            if status != "101" {
                return Some(format!("HTTP {status}"));
            }
            self.is_upgraded = true;
        }
        let mut from = 0;
        let mut verdict = None;
        while let Some((first, payload)) = frame(&self.inbox[from..]) {
            let end = from + payload.end;
            let payload = &self.inbox[from + payload.start..end];
            match (first & 0x0f, payload) {
                (8, [high, low, ..]) => {
                    let code = u16::from_be_bytes([*high, *low]);
                    verdict = Some(format!("close {code}"));
                }
                (1, text) => count_refusal(text, field),
                _ => {}
            }
            from = end;
        }
        self.inbox.drain(..from);
        verdict
    }
}

/// The first byte of the frame at the start of `bytes`, and the range of its payload; `None` if it
/// is incomplete.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (start, length) = match *bytes.get(1)? {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        length => (2, usize::from(length)),
    };
    (bytes.len() >= start + length).then_some((bytes[0], start..start + length))
}

fn count_refusal(text: &[u8], field: &Field<'_>) {
    const ERROR: &[u8] = br#"{"type":"error""#;
    if !text.starts_with(ERROR) {
        return;
    }
    let message: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let code = message["code"].as_str().unwrap_or("no code").to_owned();
    *field.told.lock().unwrap().refusals.entry(code).or_default() += 1;
}

/// `NotConnected` as long as connecting is under way.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}

/// Between two rounds, so that there are ports left for the next ones.
fn pause(random: &mut Random) -> Duration {
    Duration::from_millis(500 + random.bits() % 3_000)
}

const TICK: Duration = Duration::from_millis(10);
/// The time until a foe complains that the bridge has not closed it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time for a foe that did not read, to read what it missed.
const CATCH_UP: Duration = Duration::from_secs(8);
