//! `WebSocketServer::serve_messages`: the guarantees for a program's own protocol.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test is a shell: it opens sockets and waits, with a time-out, for what it expects"
)]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread::{self, JoinHandle},
    time::Duration,
};

use alle::{BridgeError, Handle, Limits, RawMessage, WebSocketServer};
use tungstenite::{
    Message, WebSocket,
    protocol::{CloseFrame, Role},
};

use patient::Patient;

#[path = "support/patient.rs"]
mod patient;

struct Server {
    handle: Handle,
    thread: Option<JoinHandle<Result<(), BridgeError>>>,
}

impl Server {
    fn start(
        limits: Limits,
        on_message: impl FnMut(RawMessage) -> Option<RawMessage> + Send + 'static,
    ) -> Self {
        let (server, incoming) = WebSocketServer::new("127.0.0.1:0");
        let handle = server.handle();
        let server = server.with_limits(limits);
        let thread = thread::spawn(move || server.serve_messages(on_message).wait());
        assert_eq!(incoming.recv().wait(), None, "nothing comes here");
        Self {
            handle,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> WebSocket<Patient> {
        let address = self.handle.local_addr().expect("it listens");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        tungstenite::client(format!("ws://{address}/ws"), Patient(stream))
            .unwrap()
            .0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop();
        let result = self.thread.take().unwrap().join();
        assert!(thread::panicking() || matches!(result, Ok(Ok(()))));
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[track_caller]
fn close_code(client: &mut WebSocket<Patient>) -> Option<u16> {
    match client.read().unwrap() {
        Message::Close(close) => close.map(|CloseFrame { code, .. }| code.into()),
        other => panic!("not a close frame: {other:?}"),
    }
}

/// A client's frame (RFC 6455, 5.2), masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = match u8::try_from(length) {
        Ok(short @ ..126) => vec![first, 0x80 | short],
        _ => [&[first, 0xfe], &length.to_be_bytes()[..]].concat(),
    };
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn each_message_is_answered_with_what_the_program_returns() {
    let server = Server::start(Limits::default(), |message| match message {
        RawMessage::Text(text) if text.is_empty() => None,
        RawMessage::Text(text) => Some(RawMessage::Binary(text.into_bytes())),
        RawMessage::Binary(bytes) => Some(RawMessage::Text(format!("{} bytes", bytes.len()))),
    });
    let (mut ann, mut bob) = (server.connect(), server.connect());
    bob.send(Message::text("bob's")).unwrap();
    ann.send(Message::text("")).unwrap();
    ann.send(Message::text(r#"{"type":"ping"}"#)).unwrap();
    ann.send(Message::binary(vec![0xff; 70])).unwrap();
    let said = ann.read().unwrap();
    assert_eq!(said, Message::binary(&br#"{"type":"ping"}"#[..]));
    assert_eq!(ann.read().unwrap(), Message::text("70 bytes"));
    assert_eq!(bob.read().unwrap(), Message::binary(&b"bob's"[..]));
}

#[test]
fn a_client_that_sends_more_than_its_rate_is_answered_so_far_and_closed_with_1008() {
    for (sent, answered) in [(2, 2), (3, 3), (4, 3), (5, 3)] {
        let server = Server::start(limits(|it| it.client_rate_max = Some(3)), Some);
        let mut client = server.connect();
        // In one packet, so at one time; of both kinds.
        let kinds = [0x81, 0x82].into_iter().cycle().take(sent);
        let frames: Vec<u8> = kinds.flat_map(|kind| masked(kind, b"text")).collect();
        client.get_mut().write_all(&frames).unwrap();
        for _ in 0..answered {
            assert_eq!(client.read().unwrap().into_data(), &b"text"[..], "{sent}");
        }
        if sent == answered {
            client.send(Message::Ping("not counted".into())).unwrap();
            assert!(matches!(client.read().unwrap(), Message::Pong(_)), "{sent}");
        } else {
            assert_eq!(close_code(&mut client), Some(1008), "{sent}");
        }
    }
}

#[test]
fn a_program_may_keep_its_messages() {
    let mut sum = 0;
    let server = Server::start(Limits::default(), move |message| match message {
        RawMessage::Text(text) => {
            sum += text.parse::<u64>().unwrap_or(0);
            Some(RawMessage::Text(sum.to_string()))
        }
        RawMessage::Binary(_) => None,
    });
    for (text, total) in [("1", "1"), ("20", "21"), ("300", "321")] {
        let mut client = server.connect();
        client.send(Message::text(text)).unwrap();
        assert_eq!(client.read().unwrap(), Message::text(total));
    }
}

#[test]
fn a_message_is_taken_up_to_the_limit() {
    let limits = limits(|limits| limits.message_bytes_max = 1_000);
    let server = Server::start(limits, Some);
    for (bytes, is_taken) in [(999, true), (1_000, true), (1_001, false)] {
        for message in [
            Message::text("x".repeat(bytes)),
            Message::binary(vec![7; bytes]),
        ] {
            let mut client = server.connect();
            client.send(message.clone()).unwrap();
            if is_taken {
                assert_eq!(client.read().unwrap(), message);
            } else {
                assert_eq!(close_code(&mut client), Some(1009));
            }
        }
    }
}

#[test]
fn a_reply_is_queued_up_to_the_limit() {
    let limits = limits(|limits| limits.client_queue_bytes_max = 1_000);
    let server = Server::start(limits, |message| match message {
        RawMessage::Text(text) => Some(RawMessage::Binary(vec![7; text.parse().unwrap_or(0)])),
        RawMessage::Binary(_) => None,
    });
    // With the four bytes of its header.
    for (bytes, is_sent) in [(995, true), (996, true), (997, false)] {
        let mut client = server.connect();
        client.send(Message::text(bytes.to_string())).unwrap();
        if is_sent {
            assert_eq!(client.read().unwrap(), Message::binary(vec![7; bytes]));
        } else {
            assert_eq!(close_code(&mut client), Some(4008));
        }
    }
    // More messages and the client's own close frame lie behind the one whose reply was too much.
    let stream = server.connect().get_ref().try_clone().unwrap();
    let mut client = WebSocket::from_raw_socket(Patient(stream), Role::Client, None);
    let packet = [
        masked(0x81, b"997"),
        masked(0x81, b"1"),
        masked(0x88, b"\x03\xe8"),
    ]
    .concat();
    client.get_mut().write_all(&packet).unwrap();
    assert_eq!(close_code(&mut client), Some(4008));
    assert_eq!(
        client.get_mut().read(&mut [0; 9]).unwrap(),
        0,
        "and at once"
    );
}

/// The server stops reading: what is not read is not asked for without end.
#[test]
fn a_client_that_does_not_read_its_replies_is_not_read() {
    let server = Server::start(Limits::default(), Some);
    let mut client = server.connect();
    let frame = masked(0x82, &[7; 16_000]);
    let stream = client.get_mut();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // Far more than the queue's limit, beyond which it would be closed.
    let mut frames = 0;
    let rest = loop {
        assert!(frames < 4_000, "64 MB are read and not answered");
        let mut sent = 0;
        while sent < frame.len() {
            match stream.write(&frame[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        if sent < frame.len() {
            break frame[sent..].to_vec();
        }
        frames += 1;
    };
    let mut sender = stream.try_clone().unwrap();
    sender.set_write_timeout(Some(PATIENCE)).unwrap();
    let sending = thread::spawn(move || sender.write_all(&rest));
    for _ in 0..=frames {
        assert_eq!(client.read().unwrap(), Message::binary(vec![7; 16_000]));
    }
    sending.join().unwrap().unwrap();
}

const PATIENCE: Duration = Duration::from_secs(60);
