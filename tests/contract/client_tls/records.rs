//! Records of TLS made by hand: what no library sends, and an attacker does.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use rustls::{ConnectionTrafficSecrets, crypto::cipher::Nonce};

use super::secured::Secured;
use crate::{harness::Database, raw::frame};

/// The sending half of a connection under TLS 1.3.
struct Sender {
    stream: TcpStream,
    key: LessSafeKey,
    iv: rustls::crypto::cipher::Iv,
    seq: u64,
}

impl Sender {
    /// Of a client of WebSocket that is in.
    fn open(secured: &Secured) -> Self {
        let mut config = secured.files.config_of(&[&rustls::version::TLS13]);
        config.enable_secret_extraction = true;
        let tls = secured.websocket(&Arc::new(config));
        let (connection, stream) = (tls.conn, tls.sock.0);
        let secrets = connection.dangerous_extract_secrets().unwrap();
        let (seq, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
            panic!("it is AES-256")
        };
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap();
        Self {
            stream,
            key: LessSafeKey::new(key),
            iv,
            seq,
        }
    }

    /// One record (RFC 8446, 5.2).
    fn send(&mut self, content_type: u8, content: &[u8]) -> io::Result<()> {
        let mut inner = content.to_vec();
        inner.push(content_type);
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, length[0], length[1]];
        let nonce = Nonce::new(&self.iv, self.seq).0;
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        self.seq += 1;
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut inner)
            .unwrap();
        self.stream.write_all(&header)?;
        self.stream.write_all(&inner)
    }

    fn send_frame(&mut self, text: &str) {
        self.send(APPLICATION_DATA, &frame(0x81, text.as_bytes()))
            .unwrap();
    }
}

/// Meanwhile the bridge has to write to this client: it goes on with what it has of the message.
#[test]
fn a_message_of_the_handshakes_protocol_may_come_in_pieces_between_notifications() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &[]);
    let mut sender = Sender::open(&secured);
    let mut bystander = secured.client();
    bystander.subscribe("a");
    sender.send_frame(r#"{"type":"subscribe","channel":"a"}"#);
    // KeyUpdate, with a request for ours (RFC 8446, 4.6.3).
    for (n, byte) in [24, 0, 0, 1, 1].into_iter().enumerate() {
        sender.send(HANDSHAKE, &[byte]).unwrap();
        database.sql().run(&format!("NOTIFY a, '{n}'"));
        assert_eq!(bystander.payload(), n.to_string());
    }
    database.sql().run("NOTIFY a, 'after it'");
    assert_eq!(bystander.payload(), "after it");
}

/// Each of them costs the bridge more than it costs the client: it ends at once.
#[test]
fn records_without_content_and_records_that_are_forged_end_the_connection() {
    let secured = Secured::start_without_postgres(&[]);
    let mut sender = Sender::open(&secured);
    // It may have ended before the last one.
    let _sent = (0..64).try_for_each(|_| sender.send(APPLICATION_DATA, b""));
    let _end = sender.stream.read_to_end(&mut Vec::new());
    let mut sender = Sender::open(&secured);
    sender.seq += 1;
    sender.send_frame(r#"{"type":"ping"}"#);
    let _end = sender.stream.read_to_end(&mut Vec::new());
    secured.client().close();
}

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
