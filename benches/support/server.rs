//! A server in this process: the whole hub, whose clients' sockets take everything at once.
//!
//! Shared by the benchmark of fan-outs and the test that counts memory.

use std::{hint::black_box, time::Instant};

use alle::{
    Limits,
    internals::{
        delivery::{
            fanout::SLICE_WRITES,
            outgoing::{Outgoing, Written},
        },
        hub::{Action, Endpoints, Hub, Settings, feed::Fed},
        id::ClientId,
    },
};

/// The hub, for which time stands still.
pub(crate) struct Server {
    pub(crate) hub: Hub,
}

impl Server {
    #[allow(dead_code, reason = "one of those who share this needs other limits")]
    pub(crate) fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with_settings(Settings {
            limits,
            ..Settings::default()
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant"
    )]
    pub(crate) fn with_settings(settings: Settings) -> Self {
        Self {
            hub: Hub::with_feed(settings, Instant::now()),
        }
    }

    /// One more client: a real upgrade, then a real subscribe for each channel, and it reads all
    /// answers.
    pub(crate) fn connect<T: AsRef<str>>(&mut self, channels: &[T]) {
        self.connect_with("", channels);
    }

    /// The same, with further fields in its request; says which client it is.
    pub(crate) fn connect_with<T: AsRef<str>>(&mut self, fields: &str, channels: &[T]) -> ClientId {
        let client = self.hub.handle_connected(Endpoints::default());
        let mut head = format!("{UPGRADE}{fields}\r\n").into_bytes();
        self.hub.handle_client_input(client, &mut head);
        self.turn();
        for channel in channels.iter().map(AsRef::as_ref) {
            let text = format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
            let mut message = frame(&text);
            self.hub.handle_client_input(client, &mut message);
            self.turn();
        }
        client
    }

    /// One more client that reads events of these channels, and has read their beginnings.
    #[allow(dead_code, reason = "one of those who share this has no such clients")]
    pub(crate) fn stream<T: AsRef<str>>(&mut self, channels: &[T]) {
        let client = self.hub.handle_connected(Endpoints::default());
        let pairs = channels.iter().map(|it| format!("channel={}", it.as_ref()));
        let query = pairs.collect::<Vec<_>>().join("&");
        let head = format!("GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.hub.handle_client_input(client, &mut head.into_bytes());
        while self.turn() > 0 {}
    }

    /// What one turn hears, written to all it is for; says how many writes that took.
    pub(crate) fn fan_out(&mut self, heard: &[Fed]) -> usize {
        for fed in heard {
            self.hub.handle_fed(fed);
        }
        let mut writes = 0;
        loop {
            let written = self.turn();
            if written == 0 {
                return writes;
            }
            writes += written;
        }
    }

    /// One turn of the reactor's: a slice of writes, and what ends it.
    fn turn(&mut self) -> usize {
        self.turn_with(|_| Written::All, |_| {})
    }

    /// The same, where `write` says what a client's socket takes, and `act` is told of the actions.
    pub(crate) fn turn_with(
        &mut self,
        mut write: impl FnMut(usize) -> Written,
        act: impl FnMut(Action),
    ) -> usize {
        let mut writes = 0;
        for _ in 0..SLICE_WRITES {
            let Some(transmit) = self.hub.poll_transmit() else {
                break;
            };
            let bytes = match &transmit.bytes {
                Outgoing::One(bytes) => black_box(bytes.len()),
                Outgoing::Many(pieces) => black_box(pieces.slices().1),
            };
            let written = write(bytes);
            self.hub.handle_transmitted(written);
            writes += 1;
        }
        self.hub.end_turn();
        std::iter::from_fn(|| self.hub.poll_action()).for_each(act);
        writes
    }
}

/// A text frame of a client, its mask all zeros.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("short");
    assert!(length <= 125, "one byte of length");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
