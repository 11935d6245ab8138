//! One client on a non-blocking socket: it connects, subscribes, publishes, changes its
//! subscriptions, and comes back with `since` whenever its connection was lost.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use serde_json::{Value, json};
use tungstenite::{
    Error, HandshakeError, Message, WebSocket,
    client::client_with_config,
    handshake::{
        MidHandshake,
        client::{ClientHandshake, Response},
    },
    protocol::WebSocketConfig,
};

use super::{
    Phase, Shared,
    view::{Asked, Epochs, View},
};
use crate::{
    ledger::{self, Number, Outcome, Stream},
    random::Random,
};

pub struct Member {
    pub key: usize,
    pub view: View,
    /// Channels it wants now.
    pub wanted: BTreeSet<usize>,
    /// Channels it does not want for the moment.
    resting: BTreeSet<usize>,
    streams: Vec<Stream>,
    /// The last number of each stream since publishing is to end.
    last_words: BTreeMap<Stream, Number>,
    connection: Connection,
    random: Random,
    next_id: u64,
    recent: VecDeque<String>,
    /// The promise that was broken; the client is idle from then on.
    pub fault: Option<String>,
}

enum Connection {
    Away { until: Instant },
    Shaking(Option<MidHandshake<ClientHandshake<TcpStream>>>),
    Open(Box<WebSocket<TcpStream>>),
}

/// The outcome of a handshake.
type Shaken = Result<(WebSocket<TcpStream>, Response), HandshakeError<ClientHandshake<TcpStream>>>;

impl Member {
    pub fn new(key: usize, wanted: BTreeSet<usize>, streams: Vec<Stream>, random: Random) -> Self {
        Self {
            key,
            view: View::default(),
            wanted,
            resting: BTreeSet::new(),
            streams,
            last_words: BTreeMap::new(),
            // Not all in one moment.
            connection: Connection::Away {
                until: Instant::now() + ARRIVAL * u32::try_from(key).expect("few clients"),
            },
            random,
            next_id: 0,
            recent: VecDeque::new(),
            fault: None,
        }
    }

    /// Its own actions.
    pub fn tick(&mut self, registry: &Registry, shared: &Shared, epochs: &mut Epochs) {
        match &mut self.connection {
            Connection::Away { until } if *until <= Instant::now() => {
                match connect(registry, self.key, shared.address) {
                    Ok(stream) => self.begin(stream, shared, epochs),
                    Err(_) => self.cut_off(shared),
                }
            }
            Connection::Open(_) if !shared.is_in(Phase::Gathering) => {
                if self.random.below(CHURN_TICKS) == 0 {
                    self.change_mind();
                }
                if self.random.below(PUBLISH_TICKS) == 0 {
                    let burst = self.random.pick(&[1, 1, 1, 1, 5]);
                    self.publish(burst, shared);
                }
                if self.random.below(LEAVE_TICKS) == 0 {
                    self.close();
                }
            }
            Connection::Open(_) => {
                self.wanted.append(&mut self.resting);
                self.resubscribe();
                if shared.is_in(Phase::Closing) {
                    self.say_last_words(shared);
                }
            }
            Connection::Away { .. } | Connection::Shaking(_) => {}
        }
    }

    /// Something happened on the socket.
    pub fn handle_event(&mut self, shared: &Shared, epochs: &mut Epochs) {
        match &mut self.connection {
            Connection::Away { .. } => {}
            Connection::Shaking(middle) => {
                let result = middle.take().map(MidHandshake::handshake);
                self.go_on(result, shared, epochs);
            }
            Connection::Open(socket) => {
                if let Err(error) = socket.flush() {
                    // The next read tells the reason.
                    let is_over = matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                    if !would_block(&error) && !is_over {
                        self.cut_off(shared);
                        return;
                    }
                }
                self.read(shared, epochs);
            }
        }
    }

    /// Why it would miss a number published now, if it would.
    pub fn absent(&self) -> Option<String> {
        if !matches!(self.connection, Connection::Open(_)) {
            return Some("not connected".to_owned());
        }
        if !self.resting.is_empty() || !self.wanted.iter().all(|&it| self.view.is_whole(it)) {
            return Some(format!("not subscribed to all of {:?}", self.wanted));
        }
        None
    }

    /// The first unanswered request or missing number, if there is one.
    pub fn missing(&self, shared: &Shared) -> Option<String> {
        if let Some((id, asked)) = self.view.pending.first_key_value() {
            return Some(format!("{id} was never answered: {asked:?}"));
        }
        if !self.has_said_last_words(shared) {
            return Some("its last publish was not acknowledged".to_owned());
        }
        self.wanted.iter().find_map(|&channel| {
            let mut streams = shared.ledger.streams_of(channel);
            let missing = streams.find(|&stream| {
                self.view.last(channel, stream) < shared.ledger.last_acknowledged(stream)
            });
            missing.map(|stream| format!("the end of stream {stream} never came"))
        })
    }

    /// Whether the last number of each of its streams is acknowledged.
    pub fn has_said_last_words(&self, shared: &Shared) -> bool {
        let is_acknowledged = |stream: &Stream| {
            let said = self.last_words.get(stream);
            said.is_some_and(|&number| {
                shared.ledger.outcome(*stream, number) == Outcome::Acknowledged
            })
        };
        self.streams.iter().all(is_acknowledged)
    }

    fn begin(&mut self, stream: TcpStream, shared: &Shared, epochs: &mut Epochs) {
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let url = format!("ws://{}/ws", shared.address);
        let result = client_with_config(url, stream, Some(config));
        self.go_on(Some(result), shared, epochs);
    }

    fn go_on(&mut self, result: Option<Shaken>, shared: &Shared, epochs: &mut Epochs) {
        match result {
            Some(Ok((socket, _))) => {
                self.connection = Connection::Open(Box::new(socket));
                self.view.count("connected");
                self.resubscribe();
                self.read(shared, epochs);
            }
            Some(Err(HandshakeError::Interrupted(middle))) => {
                self.connection = Connection::Shaking(Some(middle));
            }
            Some(Err(HandshakeError::Failure(_))) | None => self.cut_off(shared),
        }
    }

    fn read(&mut self, shared: &Shared, epochs: &mut Epochs) {
        while let Connection::Open(socket) = &mut self.connection {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    if let Err(fault) = self.hear(&text, shared, epochs) {
                        let told = Vec::from(std::mem::take(&mut self.recent)).join("\n  ");
                        self.fault = Some(format!("client {}: {fault}\n  {told}", self.key));
                        self.lose(shared);
                    }
                }
                Ok(Message::Close(frame)) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    self.view.count(&format!("close {code}"));
                }
                Ok(_) => {}
                Err(error) if would_block(&error) => return,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.lose(shared),
                Err(_) => self.cut_off(shared),
            }
        }
    }

    fn hear(&mut self, text: &str, shared: &Shared, epochs: &mut Epochs) -> Result<(), String> {
        if self.recent.len() == RECENT_MESSAGES {
            self.recent.pop_front();
        }
        self.recent.push_back(text.chars().take(120).collect());
        let message: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        self.view
            .hear(&message, &shared.names, &shared.ledger, epochs)
    }

    /// Cut off against its will.
    fn cut_off(&mut self, shared: &Shared) {
        self.view.count(CUT_OFF);
        self.lose(shared);
    }

    fn lose(&mut self, shared: &Shared) {
        self.view.disconnect(&shared.ledger);
        let pause = Duration::from_millis(self.random.bits() % 400);
        let until = Instant::now() + pause;
        self.connection = Connection::Away { until };
    }

    /// Subscribes to every wanted channel without a subscription or a pending request.
    fn resubscribe(&mut self) {
        let asked = |channel: usize| {
            self.view.pending.values().any(
                |asked| matches!(asked, Asked::Subscribe { channel: of, .. } if *of == channel),
            )
        };
        let has = |channel| {
            let heard = self.view.channels.get(&channel);
            heard.is_some_and(|it| it.is_subscribed)
        };
        let missing = self.wanted.iter().copied();
        let missing: Vec<_> = missing.filter(|&it| !has(it) && !asked(it)).collect();
        missing
            .into_iter()
            .for_each(|channel| self.subscribe(channel));
    }

    fn subscribe(&mut self, channel: usize) {
        let since = self.view.position(channel);
        let name = ledger::channel_name(channel);
        let mut message = json!({"type": "subscribe", "channel": name});
        if let Some((epoch, seq)) = &since {
            message["since"] = json!({"epoch": epoch, "seq": seq});
        }
        let at = Instant::now();
        self.ask(message, Asked::Subscribe { channel, since, at });
    }

    /// Leaves a channel, or comes back to one that it left.
    fn change_mind(&mut self) {
        if !self.resting.is_empty() {
            self.wanted.append(&mut self.resting);
            self.resubscribe();
        } else if let Some(channel) = self.wanted.pop_first() {
            self.resting.insert(channel);
            let name = ledger::channel_name(channel);
            let message = json!({"type": "unsubscribe", "channel": name});
            self.ask(message, Asked::Unsubscribe { channel });
            self.ask(json!({"type": "ping"}), Asked::Ping);
        }
    }

    fn publish(&mut self, burst: usize, shared: &Shared) {
        if self.streams.is_empty() || self.view.pending.len() > PENDING_MAX {
            return;
        }
        for _ in 0..burst {
            let stream = self.random.pick(&self.streams);
            self.notify(stream, shared);
        }
    }

    fn notify(&mut self, stream: Stream, shared: &Shared) -> Number {
        let number = shared.ledger.begin(stream);
        let fill_bytes = self.random.pick(&[0, 0, 0, 100, 1_000, 7_000]);
        let channel = ledger::channel_name(shared.ledger.channel(stream));
        let payload = ledger::payload(stream, number, fill_bytes);
        let message = json!({"type": "notify", "channel": channel, "payload": payload});
        self.ask(message, Asked::Notify { stream, number });
        number
    }

    /// Publishes on each of its streams once more, until it is acknowledged.
    fn say_last_words(&mut self, shared: &Shared) {
        for at in 0..self.streams.len() {
            let stream = self.streams[at];
            let said = self.last_words.get(&stream);
            let outcome = said.map(|&number| shared.ledger.outcome(stream, number));
            if !matches!(outcome, Some(Outcome::Acknowledged | Outcome::UnderWay)) {
                let number = self.notify(stream, shared);
                self.last_words.insert(stream, number);
            }
        }
    }

    fn close(&mut self) {
        if let Connection::Open(socket) = &mut self.connection {
            // The answer to it ends the connection.
            let _ = socket.close(None);
        }
    }

    fn ask(&mut self, mut message: Value, asked: Asked) {
        self.next_id += 1;
        message["id"] = json!(self.next_id);
        self.view.pending.insert(self.next_id, asked);
        if let Connection::Open(socket) = &mut self.connection {
            // A failed write shows up as a failed read.
            let _ = socket.send(Message::text(message.to_string()));
        }
    }
}

fn connect(registry: &Registry, key: usize, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let both = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut stream, Token(key), both)?;
    Ok(stream)
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The tally of a connection that ended without a closing handshake, or did not even begin (RFC
/// 6455, 7.4.1).
const CUT_OFF: &str = "close 1006";
/// Between the first arrivals of two clients.
const ARRIVAL: Duration = Duration::from_micros(500);
const READ_BUFFER_BYTES: usize = 8 * 1024;
const RECENT_MESSAGES: usize = 12;
/// No further requests are sent while this many are unanswered.
const PENDING_MAX: usize = 20;

/// About every 10 s a client leaves a channel for about as long.
const CHURN_TICKS: usize = 1_000;
/// About ten publishes a second of each publishing client.
const PUBLISH_TICKS: usize = 10;
/// About once a minute a client closes its connection, and comes back.
const LEAVE_TICKS: usize = 6_000;
