//! The assertions of a fuzzer about TLS towards clients: what any bytes come to, and that a client's own
//! bytes arrive whole in any pieces.

use std::{
    io::{Read, Write},
    sync::{Arc, LazyLock},
};

use alle::internals::client_tls::Connection;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};

/// The first byte chooses: the rest are a client's bytes as they stand, or what happens to a real client.
pub fn client_hello(data: &[u8]) {
    match data {
        [choice, rest @ ..] if choice % 2 == 0 => any_bytes(rest),
        [_, rest @ ..] => happenings(rest),
        [] => {}
    }
}

/// Neither a panic nor more than a record kept, whatever comes in whichever pieces.
fn any_bytes(mut data: &[u8]) {
    let mut server = Server::new();
    while let [length, rest @ ..] = data {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length) * 16 + 1));
        data = rest;
        if !server.receive(piece) {
            return;
        }
    }
}

/// A real client, and what its network does.
fn happenings(data: &[u8]) {
    let (mut server, mut client) = (Server::new(), client());
    let (mut queue, mut said, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_forged, mut is_ended) = (false, false);
    let mut answered = Vec::new();
    let mut renewals = 0;
    for happening in data.chunks_exact(2).take(256) {
        let amount = usize::from(happening[1]) + 1;
        match happening[0] % 7 {
            0 | 1 => {
                let bytes = if happening[0] % 7 == 0 {
                    amount
                } else {
                    queue.len()
                };
                let piece: Vec<u8> = queue.drain(..bytes.min(queue.len())).collect();
                if !server.receive(&piece) {
                    assert!(is_forged, "what a client says is understood");
                    return;
                }
            }
            2 if !is_ended => {
                let text = vec![happening[1]; amount];
                said.extend_from_slice(&text);
                renewals = 0;
                client.writer().write_all(&text).expect("it is kept");
            }
            3 => {
                let text = vec![happening[1]; amount];
                if server.send(&text) {
                    answered.extend_from_slice(&text);
                }
            }
            4 if !queue.is_empty() => {
                let at = amount % queue.len();
                queue[at] ^= happening[1] | 1;
                is_forged = true;
            }
            // One that does nothing else is let go of.
            5 if !client.is_handshaking() && !is_ended && renewals < RENEWALS_MAX => {
                renewals += 1;
                // Not under TLS 1.2.
                let _refused = client.refresh_traffic_keys();
            }
            6 if !client.is_handshaking() && !is_ended => {
                client.send_close_notify();
                is_ended = true;
            }
            _ => {}
        }
        while client.wants_write() {
            client.write_tls(&mut queue).expect("a vector takes all");
        }
        let mut out = &std::mem::take(&mut server.out)[..];
        while !out.is_empty() {
            client.read_tls(&mut out).expect("a slice gives all");
            let processed = client.process_new_packets();
            if let Err(error) = processed {
                assert!(is_forged, "{error}");
                return;
            }
            let _end = client.reader().read_to_end(&mut heard);
        }
        assert!(is_forged || said.starts_with(&server.plain));
        assert!(is_forged || answered.starts_with(&heard));
    }
    while client.wants_write() {
        client.write_tls(&mut queue).expect("a vector takes all");
    }
    // All that is on its way arrives.
    if !is_forged && server.receive(&queue) && !client.is_handshaking() {
        assert_eq!(server.plain, said);
    }
}

/// So often rustls lets a peer ask for new keys without a byte of its own in between.
const RENEWALS_MAX: usize = 32;

/// The bridge's end, as the loop drives it.
struct Server {
    connection: Connection,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        static CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| configs().0);
        Self {
            connection: Connection::new(&CONFIG).expect("the configuration is sound"),
            plain: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Whether the connection goes on.
    fn receive(&mut self, piece: &[u8]) -> bool {
        let mut buffer = self.connection.partial().to_vec();
        buffer.extend_from_slice(piece);
        let received = self
            .connection
            .receive(&mut buffer, &mut self.plain, &mut self.out);
        assert!(self.connection.partial().len() <= buffer.len());
        if received.is_err() {
            // It is let go, and says what it may on its way.
            assert_eq!(self.connection.close(&mut [0; 1_024]), 0);
        }
        received.is_ok()
    }

    /// Whether it could be sent.
    fn send(&mut self, text: &[u8]) -> bool {
        if self.connection.is_shaking() {
            return false;
        }
        let mut record = vec![0; text.len() + 512];
        let encrypted = self.connection.encrypt(text, &mut record);
        let Some(bytes) = encrypted else {
            return false;
        };
        self.out.extend_from_slice(&record[..bytes]);
        true
    }
}

fn client() -> ClientConnection {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| configs().1);
    let name = ServerName::try_from("localhost").expect("it is a name");
    ClientConnection::new(Arc::clone(&CONFIG), name).expect("the configuration is sound")
}

/// Of both ends, which trust each other.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    static CONFIGS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let pair = pair.expect("a key can be made");
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).expect("it is a key");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has methods for each version")
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .expect("they are a pair");
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone()).expect("it can be read");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has methods for each version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    });
    CONFIGS.clone()
}
