//! A blocking WebSocket client that speaks JSON; the WebSocket part is not ours.

#[path = "wire.rs"]
pub mod wire;

use std::{
    collections::VecDeque,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket, client::IntoClientRequest};

use self::wire::Wire;
use crate::{harness::PATIENCE, schema};

/// A client with the messages that it has read and no test has taken yet.
pub struct Client {
    socket: WebSocket<Wire>,
    unread: VecDeque<Value>,
}

/// The end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// By a close frame with this code and reason.
    Closed(u16, String),
    /// Without one.
    Lost,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_to(address, "/ws")
    }

    #[track_caller]
    pub fn connect_to(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self::on(stream, address, path)
    }

    /// With credentials.
    #[track_caller]
    pub fn connect_with(address: SocketAddr, authorization: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let value = authorization.parse().unwrap();
        request.headers_mut().insert("Authorization", value);
        Self::open(stream, request)
    }

    /// At this address, under the name that the URL has.
    #[track_caller]
    pub fn connect_as(address: SocketAddr, url: &str) -> Self {
        Self::open(TcpStream::connect(address).unwrap(), url)
    }

    /// The same, if it is let in.
    pub fn try_connect_as(address: SocketAddr, url: &str) -> Option<Self> {
        Self::try_open(TcpStream::connect(address).ok()?, url).ok()
    }

    /// On a socket the test has prepared.
    #[track_caller]
    pub fn on(stream: TcpStream, address: SocketAddr, path: &str) -> Self {
        Self::open(stream, format!("ws://{address}{path}"))
    }

    #[track_caller]
    fn open(stream: TcpStream, request: impl IntoClientRequest) -> Self {
        Self::try_open(stream, request).unwrap()
    }

    fn try_open(stream: TcpStream, request: impl IntoClientRequest) -> Result<Self, String> {
        Self::try_open_over(Wire::plain(stream), request)
    }

    /// Over whatever carries the bytes.
    #[cfg(feature = "tls")]
    #[track_caller]
    pub fn over(wire: Wire, request: impl IntoClientRequest) -> Self {
        Self::try_open_over(wire, request).unwrap()
    }

    fn try_open_over(wire: Wire, request: impl IntoClientRequest) -> Result<Self, String> {
        let opened = tungstenite::client(request, wire);
        let (socket, _) = opened.map_err(|error| error.to_string())?;
        Ok(Self {
            socket,
            unread: VecDeque::new(),
        })
    }

    /// From now on waits this long for messages of the bridge, instead of [`PATIENCE`].
    pub fn wait_at_most(&self, patience: Duration) {
        let stream = self.socket.get_ref().tcp();
        stream.set_read_timeout(Some(patience)).unwrap();
    }

    #[track_caller]
    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    #[track_caller]
    pub fn send_frame(&mut self, frame: Message) {
        self.socket.send(frame).unwrap();
    }

    /// Sends all at once, without waiting for an answer in between.
    #[track_caller]
    pub fn send_all(&mut self, messages: &[Value]) {
        for message in messages {
            self.socket
                .write(Message::text(message.to_string()))
                .unwrap();
        }
        self.socket.flush().unwrap();
    }

    /// The oldest message not taken yet.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        self.unread.pop_front().unwrap_or_else(|| self.read())
    }

    /// The oldest message for which `is_it` holds; those before it stay unread.
    #[track_caller]
    pub fn expect(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unread.iter().position(&is_it) {
            return self.unread.remove(at).unwrap();
        }
        loop {
            let message = self.read();
            if is_it(&message) {
                return message;
            }
            self.unread.push_back(message);
        }
    }

    #[track_caller]
    pub fn expect_type(&mut self, kind: &str) -> Value {
        self.expect(|message| message["type"] == kind)
    }

    /// The answer to the request with this id.
    #[track_caller]
    pub fn expect_answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        self.expect(|message| message["id"] == id)
    }

    /// The next notification's payload.
    #[track_caller]
    pub fn payload(&mut self) -> String {
        let notification = self.expect_type("notification");
        notification["payload"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.send(&json!({"type": "subscribe", "channel": channel}));
        self.expect(|message| message["type"] == "subscribed" && message["channel"] == channel)
    }

    #[track_caller]
    pub fn unsubscribe(&mut self, channel: &str) -> Value {
        self.send(&json!({"type": "unsubscribe", "channel": channel}));
        self.expect(|message| message["type"] == "unsubscribed" && message["channel"] == channel)
    }

    /// Sends a message and returns the very next one.
    #[track_caller]
    pub fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.next()
    }

    /// Publishes and returns the answer.
    #[track_caller]
    pub fn notify(&mut self, channel: &str, payload: &str) -> Value {
        self.send(&json!({"type": "notify", "channel": channel, "payload": payload, "id": "n"}));
        self.expect_answer("n")
    }

    /// All messages of the bridge before the answer to a ping sent now.
    #[track_caller]
    pub fn said_so_far(&mut self) -> Vec<Value> {
        self.send(&json!({"type": "ping", "id": "fence"}));
        self.expect(|message| message["type"] == "pong");
        self.unread.drain(..).collect()
    }

    /// Fails if the bridge has sent a message that was not taken.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        assert_eq!(self.said_so_far(), Vec::<Value>::new());
    }

    /// The next frame as it is.
    #[track_caller]
    pub fn frame(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// The next message; `None` at the end, however it comes.
    #[track_caller]
    pub fn next_or_end(&mut self) -> Option<Value> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(parsed(&text)),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing comes");
                }
                Err(_) => return None,
            }
        }
    }

    /// Reads to the end, dropping messages.
    #[track_caller]
    pub fn end(&mut self) -> End {
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => {
                    return End::Closed(frame.code.into(), frame.reason.to_string());
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("still open");
                }
                Err(_) => return End::Lost,
            }
        }
    }

    /// Sends a close frame and waits for the reply.
    #[track_caller]
    pub fn close(mut self) {
        self.socket.close(None).unwrap();
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return,
                Err(error) => panic!("no closing handshake: {error}"),
            }
        }
    }

    #[track_caller]
    fn read(&mut self) -> Value {
        let began = Instant::now();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return parsed(&text),
                Ok(Message::Ping(_) | Message::Pong(_)) => assert!(
                    began.elapsed() < 2 * PATIENCE,
                    "pings alone instead of a message; unread: {:#?}",
                    self.unread
                ),
                Ok(frame) => panic!("{frame:?} instead of a message; unread: {:#?}", self.unread),
                Err(error) => panic!("{error} instead of a message; unread: {:#?}", self.unread),
            }
        }
    }
}

/// A message of the bridge, which is one of the protocol.
#[track_caller]
fn parsed(text: &str) -> Value {
    let message: Value = serde_json::from_str(text).unwrap();
    // Hundreds of thousands of notifications are alike: some are enough.
    let is_usual = message["seq"].as_u64().is_some_and(|seq| seq % 64 > 1);
    if !is_usual || message["type"] != "notification" {
        schema::check_message(&message);
    }
    message
}
