//! Clients that come back wherever a bridge answers, each with its positions, and check that what
//! they receive is a stretch of what was published without a hole.
//!
//! One session publishes on each channel 1, 2, 3, ...: a number that is not the one before it and 1
//! was missed, or came twice.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use crate::{harness::wait_until, sql::Sql};

/// All clients, and the session that publishes to them.
pub struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    publisher: Option<JoinHandle<()>>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub checked: AtomicU64,
    pub missed: AtomicU64,
    pub twice: AtomicU64,
    pub recovered: AtomicU64,
    pub reloaded: AtomicU64,
    pub gaps: AtomicU64,
    pub statuses: AtomicU64,
    pub connects: AtomicU64,
    /// Connections that the kernel refused, since nobody listened.
    pub refused: AtomicU64,
    /// The longest time without a connection, in milliseconds.
    pub away_max: AtomicU64,
}

struct Shared {
    /// Where they ask to go, if that is not what the address says: a proxy's name and path.
    url: Option<&'static str>,
    addresses: Mutex<Vec<SocketAddr>>,
    channels: usize,
    /// By channel: the last number that is committed.
    published: Vec<AtomicU64>,
    seen: Seen,
    /// By client and channel: the last number that it received.
    received: Vec<Mutex<BTreeMap<usize, u64>>>,
    no_more: AtomicBool,
    stop: AtomicBool,
}

#[derive(Clone)]
struct Position {
    epoch: String,
    seq: u64,
    /// What was published under that; none before the first.
    number: Option<u64>,
}

impl Crowd {
    /// So many clients, each on three of the channels.
    pub fn gather(clients: usize, channels: usize, port: u16, database: &str) -> Self {
        Self::gather_behind(None, clients, channels, port, database)
    }

    /// The same, where what is published goes to the first server on these ports that takes it.
    pub fn gather_at(ports: &[u16], clients: usize, channels: usize, database: &str) -> Self {
        Self::start(None, clients, channels, ports.to_vec(), database)
    }

    /// The same, of clients that ask for this URL at each address.
    pub fn gather_behind(
        url: Option<&'static str>,
        clients: usize,
        channels: usize,
        port: u16,
        database: &str,
    ) -> Self {
        Self::start(url, clients, channels, vec![port], database)
    }

    fn start(
        url: Option<&'static str>,
        clients: usize,
        channels: usize,
        ports: Vec<u16>,
        database: &str,
    ) -> Self {
        let shared = Arc::new(Shared {
            url,
            addresses: Mutex::default(),
            channels,
            published: (0..channels).map(|_| AtomicU64::new(0)).collect(),
            seen: Seen::default(),
            received: (0..clients).map(|_| Mutex::default()).collect(),
            no_more: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let of_publisher = Arc::clone(&shared);
        let database = database.to_owned();
        let publisher = thread::spawn(move || of_publisher.publish(&ports, &database));
        let threads = (0..clients).map(|client| {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().stack_size(256 * 1024);
            builder.spawn(move || shared.attend(client)).unwrap()
        });
        Self {
            threads: threads.collect(),
            shared,
            publisher: Some(publisher),
        }
    }

    /// Where clients find a bridge from now on.
    pub fn go_to(&self, addresses: &[SocketAddr]) {
        *self.shared.addresses.lock().unwrap() = addresses.to_vec();
    }

    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Returns once every client has received a number on each of its channels that was published
    /// after this call.
    #[track_caller]
    pub fn wait_until_all_hear(&self) {
        let published = self.shared.published.iter();
        let published: Vec<_> = published.map(|it| it.load(SeqCst)).collect();
        wait_until("every client hears what is published", || {
            self.shared.received.iter().all(|received| {
                let received = received.lock().unwrap();
                let mut numbers = received.iter();
                received.len() == CHANNELS_EACH.min(self.shared.channels)
                    && numbers.all(|(&channel, &it)| it > published[channel])
            })
        });
    }

    /// Publishes no more, and returns once every client has all.
    #[track_caller]
    pub fn finish(mut self) -> Self {
        self.shared.no_more.store(true, SeqCst);
        self.publisher.take().unwrap().join().unwrap();
        wait_until("every client has received everything", || {
            self.shared.received.iter().all(|received| {
                let received = received.lock().unwrap();
                let mut numbers = received.iter();
                let published = &self.shared.published;
                numbers.all(|(&channel, &it)| it == published[channel].load(SeqCst))
            })
        });
        self.shared.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.no_more.store(true, SeqCst);
        self.shared.stop.store(true, SeqCst);
    }
}

impl Shared {
    fn publish(&self, ports: &[u16], database: &str) {
        let mut sql = None;
        let mut channel = 0;
        while !self.no_more.load(SeqCst) {
            thread::park_timeout(INTERVAL);
            let connect = |port: &u16| Sql::try_connect(*port, database).ok();
            let Some(mut session) = sql.take().or_else(|| ports.iter().find_map(connect)) else {
                continue;
            };
            channel = (channel + 1) % self.channels;
            let number = self.published[channel].load(SeqCst) + 1;
            // Its outcome is unknown where the session ends: the tests that end it count gaps alone.
            let name = format!("crowd {channel}");
            if session.try_notify(&name, &number.to_string()).is_ok() {
                self.published[channel].store(number, SeqCst);
                sql = Some(session);
            }
        }
    }

    /// The life of one client.
    fn attend(&self, client: usize) {
        let mut positions = BTreeMap::new();
        let mut turn = client;
        let mut away_since: Option<Instant> = None;
        while !self.stop.load(SeqCst) {
            let addresses = self.addresses.lock().unwrap().clone();
            turn += 1;
            let address = (!addresses.is_empty()).then(|| addresses[turn % addresses.len()]);
            let socket = address.and_then(|it| self.connect(it));
            let Some(mut socket) = socket else {
                thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            self.seen.connects.fetch_add(1, SeqCst);
            if let Some(since) = away_since.take() {
                let away = u64::try_from(since.elapsed().as_millis()).unwrap();
                self.seen.away_max.fetch_max(away, SeqCst);
            }
            self.listen(client, &mut socket, &mut positions);
            away_since = Some(Instant::now());
        }
    }

    fn connect(&self, address: SocketAddr) -> Option<WebSocket<TcpStream>> {
        let stream = TcpStream::connect(address);
        if let Err(error) = &stream {
            let is_refused = error.kind() == ErrorKind::ConnectionRefused;
            self.seen.refused.fetch_add(u64::from(is_refused), SeqCst);
        }
        connect(stream.ok()?, address, self.url)
    }

    fn listen(
        &self,
        client: usize,
        socket: &mut WebSocket<TcpStream>,
        positions: &mut BTreeMap<usize, Position>,
    ) {
        for nth in 0..CHANNELS_EACH.min(self.channels) {
            let channel = (client + nth * 7) % self.channels;
            let name = format!("crowd {channel}");
            let message = match positions.get(&channel) {
                Some(Position { epoch, seq, .. }) => {
                    json!({"type": "subscribe", "channel": name,
                        "since": {"epoch": epoch, "seq": seq}})
                }
                None => json!({"type": "subscribe", "channel": name}),
            };
            if socket.write(Message::text(message.to_string())).is_err() {
                return;
            }
        }
        let _flushed = socket.flush();
        while !self.stop.load(SeqCst) {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    self.note(client, &message, positions);
                }
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return;
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn note(&self, client: usize, message: &Value, positions: &mut BTreeMap<usize, Position>) {
        let channel = || -> usize {
            let name = message["channel"].as_str().unwrap();
            name.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let place = || {
            (
                message["epoch"].as_str().unwrap().to_owned(),
                message["seq"].as_u64().unwrap(),
            )
        };
        match message["type"].as_str().unwrap() {
            "subscribed" => {
                let (epoch, seq) = place();
                let before = positions.get(&channel()).and_then(|it| it.number);
                let number = match message.get("recovered").and_then(Value::as_bool) {
                    Some(true) => {
                        self.seen.recovered.fetch_add(1, SeqCst);
                        before
                    }
                    Some(false) => {
                        self.seen.reloaded.fetch_add(1, SeqCst);
                        None
                    }
                    None => None,
                };
                positions.insert(channel(), Position { epoch, seq, number });
            }
            "gap" => {
                self.seen.gaps.fetch_add(1, SeqCst);
                let (epoch, seq) = place();
                let number = None;
                positions.insert(channel(), Position { epoch, seq, number });
            }
            "notification" => {
                let number: u64 = message["payload"].as_str().unwrap().parse().unwrap();
                let position = positions.get_mut(&channel()).unwrap();
                let seq = message["seq"].as_u64().unwrap();
                assert_eq!(seq, position.seq + 1);
                position.seq = seq;
                if let Some(last) = position.number.replace(number) {
                    self.seen.checked.fetch_add(1, SeqCst);
                    let missed = number.saturating_sub(last + 1);
                    self.seen.missed.fetch_add(missed, SeqCst);
                    self.seen.twice.fetch_add(u64::from(number <= last), SeqCst);
                }
                let mut received = self.received[client].lock().unwrap();
                received.insert(channel(), number);
            }
            "status" => {
                self.seen.statuses.fetch_add(1, SeqCst);
            }
            other => panic!("{other}: {message}"),
        }
    }
}

fn connect(
    stream: TcpStream,
    address: SocketAddr,
    url: Option<&str>,
) -> Option<WebSocket<TcpStream>> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let url = url.map_or_else(|| format!("ws://{address}/ws"), str::to_owned);
    let (socket, _) = tungstenite::client(url, stream).ok()?;
    let stream = socket.get_ref();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .ok()?;
    Some(socket)
}

/// Channels of each client.
pub const CHANNELS_EACH: usize = 3;
/// Between two notifications.
const INTERVAL: Duration = Duration::from_millis(3);
