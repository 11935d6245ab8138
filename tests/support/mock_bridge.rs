//! A bridge whose messages a test sends itself: accepts WebSocket clients, one message at a time.

use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use tungstenite::{
    Message, WebSocket,
    handshake::server::{Request, Response},
};

use super::{patient::Patient, program::PATIENCE};

/// A listening bridge.
pub struct MockBridge {
    listener: TcpListener,
}

/// One client of it.
pub struct MockClient {
    socket: WebSocket<Patient>,
}

impl MockBridge {
    /// Listens on a free port.
    pub fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address())
    }

    /// The next connection, before any handshake.
    pub fn accept_tcp(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The next client.
    pub fn accept(&self) -> MockClient {
        MockClient {
            socket: tungstenite::accept(Patient(self.accept_tcp())).unwrap(),
        }
    }
}

impl MockBridge {
    /// The next client, with the token that it presents.
    pub fn accept_with_token(&self) -> (MockClient, Option<String>) {
        let mut token = None;
        #[expect(
            clippy::result_large_err,
            reason = "the callback of tungstenite's is so"
        )]
        let look = |request: &Request, response: Response| {
            let field = request.headers().get("Authorization");
            let field = field.and_then(|it| it.to_str().ok()?.strip_prefix("Bearer "));
            token = field.map(str::to_owned);
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(Patient(self.accept_tcp()), look).unwrap();
        (MockClient { socket }, token)
    }
}

impl MockClient {
    /// Its next message.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        loop {
            match self.socket.read().expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed instead: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Sends `text`.
    pub fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Receives a `subscribe` for `channel` and confirms it; returns the request.
    #[track_caller]
    pub fn confirm(&mut self, channel: &str) -> Value {
        let heard = self.hear();
        assert_eq!(
            (&heard["type"], &heard["channel"]),
            (&"subscribe".into(), &channel.into())
        );
        let id = &heard["id"];
        self.say(&format!(
            r#"{{"type":"subscribed","channel":"{channel}","id":{id},"epoch":"E","seq":0}}"#
        ));
        heard
    }

    /// Closes with a close frame.
    pub fn close(mut self, code: u16, reason: &str) {
        let frame = tungstenite::protocol::CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.socket.close(Some(frame)).unwrap();
        self.socket
            .get_ref()
            .set_read_timeout(Some(PATIENCE))
            .unwrap();
        while self.socket.read().is_ok() {}
    }

    /// Sends nothing more until the client is gone.
    pub fn wait_for_end(mut self) {
        while self.socket.read().is_ok() {}
    }
}
