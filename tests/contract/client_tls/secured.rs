//! A bridge that speaks TLS, its certificates, and clients that trust them.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    certificates::Authority,
    client::{Client, wire::Wire},
    harness::{Bridge, NO_POSTGRES, wait_until},
    patient::Patient,
    raw::{Raw, upgrade_request},
};

/// An authority, and the pairs that it signed.
pub struct Files {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    /// With a pair for localhost.
    pub fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("of a test"),
        };
        fs::write(files.path("ca.pem"), &files.authority.pem).unwrap();
        files.sign("localhost", &["localhost", "127.0.0.1"]);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text.
    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes another pair, `NAME.crt` and `NAME.key`.
    pub fn sign(&self, name: &str, names: &[&str]) {
        let pair = self
            .authority
            .sign(name, names, &rcgen::PKCS_ECDSA_P256_SHA256);
        fs::write(self.path(&format!("{name}.crt")), pair.certificate).unwrap();
        fs::write(self.path(&format!("{name}.key")), pair.key).unwrap();
    }

    /// The same by an authority that nobody trusts.
    pub fn sign_by_another(&self, name: &str, names: &[&str]) {
        let other = Authority::new("another");
        let pair = other.sign(name, names, &rcgen::PKCS_ECDSA_P256_SHA256);
        fs::write(self.path(&format!("{name}.crt")), pair.certificate).unwrap();
        fs::write(self.path(&format!("{name}.key")), pair.key).unwrap();
    }

    /// The same, in force from the beginning of one year to that of another.
    pub fn sign_for(&self, name: &str, names: &[&str], from: i32, to: i32) {
        self.sign_as(name, names, |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        });
    }

    /// The same, in force until so soon.
    pub fn sign_until(&self, name: &str, names: &[&str], end: Duration) {
        let end = SystemTime::now() + end;
        self.sign_as(name, names, |params| params.not_after = end.into());
    }

    fn sign_as(
        &self,
        name: &str,
        names: &[&str],
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority.issuer).unwrap();
        fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// What a client needs that speaks these versions.
    pub fn config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut config = builder
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// Whom a client trusts.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path("ca.pem")).unwrap();
        roots.add(authority).unwrap();
        roots
    }

    pub fn config(&self) -> ClientConfig {
        self.config_of(rustls::ALL_VERSIONS)
    }

    pub fn shared_config(&self) -> Arc<ClientConfig> {
        Arc::new(self.config())
    }
}

/// The bridge.
pub struct Secured {
    pub bridge: Bridge,
    pub files: Files,
}

impl Secured {
    /// The TLS of a client of WebSocket that is in.
    pub fn websocket(
        &self,
        config: &Arc<ClientConfig>,
    ) -> Box<StreamOwned<ClientConnection, Patient>> {
        let Wire::Tls(mut tls) = self.wire(config).unwrap() else {
            unreachable!()
        };
        tls.write_all(upgrade_request(self.bridge.address, "/ws", "").as_bytes())
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        tls
    }

    /// Ready, with its pair for localhost and an admin address in clear text.
    #[track_caller]
    pub fn start(postgres_url: &str, arguments: &[&str]) -> Self {
        let secured = Self::serve(Files::new(), postgres_url, arguments);
        wait_until("/readyz answers 200", || {
            secured.admin("/readyz") == "ready\n"
        });
        secured
    }

    /// One for which PostgreSQL does not matter.
    #[track_caller]
    pub fn start_without_postgres(arguments: &[&str]) -> Self {
        Self::serve(Files::new(), NO_POSTGRES, arguments)
    }

    #[track_caller]
    pub fn serve(files: Files, postgres_url: &str, arguments: &[&str]) -> Self {
        let (certificate, key) = (files.name("localhost.crt"), files.name("localhost.key"));
        let mut all = vec!["--tls-cert", &certificate, "--tls-key", &key];
        all.extend(["--admin-addr", "127.0.0.1:0"]);
        all.extend(arguments);
        let bridge = Bridge::serve(postgres_url, &all);
        Self { bridge, files }
    }

    pub fn admin_address(&self) -> SocketAddr {
        let line = self.bridge.wait_for_log("health and metrics are at http");
        line.rsplit("://").next().unwrap().trim().parse().unwrap()
    }

    /// The body of an answer at the admin address.
    #[track_caller]
    pub fn admin(&self, path: &str) -> String {
        let mut raw = Raw::open(self.admin_address());
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        raw.response("GET").body
    }

    pub fn https(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.bridge.address.port())
    }

    /// A connection whose handshake is done.
    pub fn wire(&self, config: &Arc<ClientConfig>) -> io::Result<Wire> {
        let stream = TcpStream::connect(self.bridge.address).unwrap();
        Wire::secured(stream, config, "localhost")
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        self.client_on(TcpStream::connect(self.bridge.address).unwrap())
    }

    /// On a socket the test has prepared.
    #[track_caller]
    pub fn client_on(&self, stream: TcpStream) -> Client {
        let wire = Wire::secured(stream, &self.files.shared_config(), "localhost").unwrap();
        let port = self.bridge.address.port();
        Client::over(wire, format!("wss://localhost:{port}/ws"))
    }

    /// A connection on which every byte for the bridge is a packet of its own.
    pub fn by_single_bytes(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut inner, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(self.bridge.address).unwrap();
        far.set_nodelay(true).unwrap();
        let (mut back, mut forth) = (far.try_clone().unwrap(), inner.try_clone().unwrap());
        thread::spawn(move || {
            let mut byte = [0];
            while matches!(inner.read(&mut byte), Ok(1)) && far.write_all(&byte).is_ok() {}
        });
        thread::spawn(move || io::copy(&mut back, &mut forth));
        near
    }
}
