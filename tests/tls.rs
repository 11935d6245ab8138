//! TLS and logging in, against real servers: the meaning of `sslmode` and `channel_binding`, side
//! by side with `psql`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests are a shell: they run programs and wait, with a time-out, for what they expect"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "tls/given_up.rs"]
mod given_up;
#[path = "tls/kinds.rs"]
mod kinds;
#[path = "support/program.rs"]
#[expect(dead_code, reason = "the other tests of the program need the rest")]
mod program;
#[path = "tls/table.rs"]
mod table;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use alle::internals::sandbox::Sandbox;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use self::{
    certificates::{Authority, Identity, self_signed, write_private},
    program::{Program, alle_with, run},
};

const PASSWORD: &str = "very-secret-indeed";
/// Before PostgreSQL 14, passwords are stored for md5 by default.
const SCRAM_ROLE: &str = "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram";

/// A server with TLS, one without, and the authority to trust.
struct World {
    /// Its certificate is for localhost, signed by `authority.crt`.
    tls: Sandbox,
    plain: Sandbox,
    files: PathBuf,
    authority: Authority,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let authority = Authority::new("good");
        let tls = Sandbox::start().unwrap();
        let files = tls.socket_dir().to_owned();
        fs::write(files.join("good.crt"), &authority.pem).unwrap();
        fs::write(files.join("empty.crt"), "").unwrap();
        fs::write(files.join("wrong.crt"), Authority::new("wrong").pem).unwrap();
        let identity = authority.sign("localhost", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
        let roles = format!(
            "{SCRAM_ROLE} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE cert LOGIN; \
             SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN PASSWORD '{PASSWORD}'; \
             CREATE ROLE clear LOGIN PASSWORD '{PASSWORD}';"
        );
        tls.psql("postgres", &roles).unwrap();
        let rules = "local   all postgres trust\n\
                     host    all postgres all trust\n\
                     hostssl all cert all cert\n\
                     hostssl all scram all scram-sha-256\n\
                     hostssl all md5 all md5\n\
                     hostssl all clear all password\n";
        serve_tls(&tls, &identity, &authority.pem, rules);
        World {
            tls,
            plain: Sandbox::start().unwrap(),
            files,
            authority,
        }
    })
}

impl World {
    /// How often the server with TLS logged `text`.
    fn logged(&self, text: &str) -> usize {
        let log = fs::read(self.tls.log_file()).unwrap();
        String::from_utf8_lossy(&log).matches(text).count()
    }
}

/// Lets `server` speak TLS as `identity`.
fn serve_tls(server: &Sandbox, identity: &Identity, authority: &str, rules: &str) {
    let data = server.data_dir();
    write_private(&data.join("server.crt"), &identity.certificate);
    write_private(&data.join("server.key"), &identity.key);
    write_private(&data.join("clients.crt"), authority);
    fs::write(data.join("pg_hba.conf"), rules).unwrap();
    server
        .append_configuration("ssl = on\nssl_ca_file = 'clients.crt'\nlog_connections = on\n")
        .unwrap();
    server.restart().unwrap();
}

fn expand(text: &str) -> String {
    let world = world();
    text.replace("FILES", &world.files.to_string_lossy())
        .replace("TLS", &format!("port={}", world.tls.port()))
        .replace("PLAIN", &format!("port={}", world.plain.port()))
}

/// The environment of both programs: the test's settings alone.
fn isolated(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent");
}

/// The result of `psql`: `tls`, `plain`, or `refused`.
fn psql(settings: &str) -> &'static str {
    let mut command = Command::new(world().plain.client("psql"));
    isolated(&mut command);
    let output = command
        .args(["-X", "-A", "-t", "-w", "-c"])
        .arg("SELECT CASE WHEN ssl THEN 'tls' ELSE 'plain' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .args(["-d", settings])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match String::from_utf8_lossy(&output.stdout).trim() {
        "tls" => "tls",
        "plain" => "plain",
        _ => "refused",
    }
}

/// The result of `alle serve`: the same, and its log.
fn alle(settings: &str) -> (&'static str, String) {
    alle_trusting(settings, "/nonexistent")
}

/// The same if the system trusts the certificates in the file `roots`.
fn alle_trusting(settings: &str, roots: &str) -> (&'static str, String) {
    // Longer than by default: a busy machine is no failure.
    let settings = &format!("{settings} connect_timeout=20");
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-l", "trace", "-p", settings]);
    isolated(&mut command);
    command
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR");
    let program = Program::start(command);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut log = String::new();
    let outcome = loop {
        assert!(Instant::now() < deadline, "{settings}: {log}");
        let line = program.stderr.next();
        log += &line;
        log += "\n";
        if line.contains("session connected") {
            break if line.contains("over TLS") {
                "tls"
            } else {
                "plain"
            };
        } else if line.contains("retrying") {
            break "refused";
        }
    };
    assert!(!log.contains(PASSWORD), "{log}");
    (outcome, log)
}

/// Both programs have the result `expected`; alle's log has `words`.
#[track_caller]
fn expect(settings: &str, expected: &str, words: &str) {
    let settings = expand(settings);
    let (outcome, log) = alle(&settings);
    assert_eq!(outcome, expected, "alle, {settings}:\n{log}");
    assert!(log.contains(words), "{words:?}, {settings}:\n{log}");
    assert_eq!(psql(&settings), expected, "psql, {settings}");
}

#[test]
fn sslmode_means_what_it_means_to_psql() {
    // The results of disable, allow, prefer, require, verify-ca, verify-full: in the clear, over
    // TLS, or refused; and the text of a refusal.
    for (server, outcomes, words) in [
        // No root certificate: any server is accepted, or none can be verified.
        ("localhost TLS", "--++xx", "sslrootcert"),
        // A missing file verifies no server.
        (
            "localhost sslrootcert=/nonexistent TLS",
            "--++xx",
            "/nonexistent",
        ),
        ("localhost sslrootcert=FILES/good.crt TLS", "--++++", ""),
        (
            "localhost sslrootcert=FILES/wrong.crt TLS",
            "---xxx",
            "is signed by nobody that sslrootcert names",
        ),
        (
            "127.0.0.1 sslrootcert=FILES/good.crt TLS",
            "--+++x",
            "is not for 127.0.0.1 but for localhost",
        ),
        (
            "localhost hostaddr=127.0.0.1 sslrootcert=FILES/good.crt TLS",
            "--++++",
            "",
        ),
        (
            "localhost sslrootcert=FILES/good.crt PLAIN",
            "---xxx",
            "does not support TLS",
        ),
        // A Unix socket never.
        ("FILES sslrootcert=FILES/good.crt TLS", "------", ""),
    ] {
        let modes = [
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
        ];
        for (mode, outcome) in modes.into_iter().zip(outcomes.chars()) {
            let settings = format!("host={server} user=postgres dbname=postgres sslmode={mode}");
            match outcome {
                '+' => expect(&settings, "tls", ""),
                '-' => expect(&settings, "plain", ""),
                _ => expect(&settings, "refused", words),
            }
        }
    }
}

/// There is TLS all the same, and no name is asked for in the clear.
#[test]
fn a_host_that_no_certificate_can_name_is_no_bar_to_tls() {
    for host in ["fe80::1%1", "under_score", "-dash-", "sp ace", "dot.", "é"] {
        let address = format!("host='{host}' hostaddr=127.0.0.1 TLS user=postgres dbname=postgres");
        let roots = "sslrootcert=FILES/good.crt";
        expect(&format!("{address} {roots} sslmode=prefer"), "tls", "");
        expect(&format!("{address} {roots} sslmode=verify-ca"), "tls", "");
        let words = format!("is not for {host} but for localhost");
        expect(
            &format!("{address} {roots} sslmode=verify-full"),
            "refused",
            &words,
        );
    }
    let nameless = "hostaddr=127.0.0.1 TLS user=postgres dbname=postgres sslmode=prefer";
    expect(nameless, "tls", "");
}

#[test]
fn scram_is_tied_to_tls_where_it_is_demanded() {
    let user = format!("host=localhost TLS dbname=postgres password={PASSWORD} sslmode=require");
    for (parameters, expected, words) in [
        ("user=scram channel_binding=require", "tls", ""),
        ("user=scram channel_binding=prefer", "tls", ""),
        ("user=scram channel_binding=disable", "tls", ""),
        (
            "user=md5 channel_binding=require",
            "refused",
            "channel binding is required",
        ),
        ("user=md5 channel_binding=prefer", "tls", ""),
        (
            "user=clear channel_binding=require",
            "refused",
            "channel binding is required",
        ),
        ("user=clear channel_binding=prefer", "tls", ""),
        (
            "user=postgres channel_binding=require",
            "refused",
            "channel binding is required",
        ),
    ] {
        expect(&format!("{user} {parameters}"), expected, words);
    }
    let plain = "host=localhost PLAIN dbname=postgres user=postgres channel_binding=require";
    expect(plain, "refused", "the connection is not encrypted");
}

/// A machine between us and the server that we trust, with a certificate of its own, is detected by
/// the server: our login names its certificate and not the server's. The server's error proves that
/// SCRAM-SHA-256-PLUS is used; it logs no mechanism.
#[test]
fn a_relay_in_between_is_detected_by_the_server() {
    let world = world();
    let between = world
        .authority
        .sign("between", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let relay = relay(&between);
    let found_out = "SCRAM channel binding check failed";
    let mut expected = 0;
    for (binding, outcome) in [
        ("disable", "tls"),
        ("prefer", "refused"),
        ("require", "refused"),
    ] {
        let settings = expand(&format!(
            "host=localhost port={relay} dbname=postgres user=scram password={PASSWORD} \
             sslmode=verify-full sslrootcert=FILES/good.crt channel_binding={binding}"
        ));
        // Each of the two sessions is refused so.
        let (came_to, log) = alle(&settings);
        assert_eq!(came_to, outcome, "{log}");
        let by_alle = world.logged(found_out);
        assert_eq!(psql(&settings), outcome, "psql, {settings}");
        let by_psql = world.logged(found_out);
        if outcome == "refused" {
            assert!(log.contains(found_out), "{log}");
            assert!(by_alle > expected && by_psql > by_alle, "{settings}");
        }
        expected = by_psql;
    }
}

#[test]
fn a_refusal_over_tls_is_tried_once_more_without_and_the_other_way_round() {
    // This role is let in over TLS only.
    let role = format!("host=localhost TLS dbname=postgres user=scram password={PASSWORD}");
    expect(&format!("{role} sslmode=allow"), "tls", "");
    expect(&format!("{role} sslmode=disable"), "refused", "pg_hba.conf");
    let wrong = "host=localhost TLS dbname=postgres user=scram password=wrong sslmode=prefer";
    expect(wrong, "refused", "password authentication failed");
    expect(wrong, "refused", "no pg_hba.conf entry");
}

#[test]
fn a_certificate_of_ours_lets_in() {
    let world = world();
    let identity = world
        .authority
        .sign("cert", &[], &rcgen::PKCS_ECDSA_P256_SHA256);
    let directory = tempfile(&world.files, "client", &identity);
    let user = "host=localhost TLS dbname=postgres user=cert sslmode=require";
    let key = directory.join("client.key");
    let with = format!(
        "{user} sslcert={} sslkey={}",
        directory.join("client.crt").display(),
        key.display()
    );
    expect(&with, "tls", "");
    expect(user, "refused", "certificate");
    let other = world
        .authority
        .sign("cert", &[], &rcgen::PKCS_ECDSA_P256_SHA256);
    write_private(&key, &other.key);
    expect(&with, "refused", "not the key of the client certificate");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&key, open).unwrap();
    expect(&with, "refused", "others may read it");
}

/// Writes `name.crt` and `name.key`.
fn tempfile(directory: &Path, name: &str, identity: &Identity) -> PathBuf {
    write_private(
        &directory.join(format!("{name}.crt")),
        &identity.certificate,
    );
    write_private(&directory.join(format!("{name}.key")), &identity.key);
    directory.to_owned()
}

/// A server of its own with a role for SCRAM, and the settings that lead to it but for the roots.
fn server_of(identity: &Identity) -> (Sandbox, String) {
    let server = Sandbox::start().unwrap();
    let role = format!("{SCRAM_ROLE} LOGIN PASSWORD '{PASSWORD}';");
    server.psql("postgres", &role).unwrap();
    let rules = "local all postgres trust\nhostssl all all all scram-sha-256\n";
    serve_tls(&server, identity, &identity.certificate, rules);
    let settings = format!(
        "host=localhost port={} dbname=postgres user=scram password={PASSWORD} \
         sslmode=verify-full",
        server.port()
    );
    (server, settings)
}

#[test]
fn a_self_signed_certificate_vouches_for_itself_where_it_is_named() {
    let identity = self_signed(&["localhost"], &rcgen::PKCS_ECDSA_P384_SHA384);
    let (server, settings) = server_of(&identity);
    let own = server.socket_dir().join("own.crt");
    fs::write(&own, &identity.certificate).unwrap();
    let own = format!("{settings} sslrootcert={}", own.display());
    expect(&own, "tls", "");
    expect(&format!("{own} channel_binding=require"), "tls", "");
    let other = format!("{settings} sslrootcert=FILES/good.crt");
    expect(&other, "refused", "nobody that sslrootcert names");
}

/// For us alone: psql wants the root of the chain.
#[test]
fn a_certificate_that_is_named_vouches_whoever_signed_it() {
    let identity = world()
        .authority
        .sign("x", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let (server, settings) = server_of(&identity);
    let own = server.socket_dir().join("own.crt");
    fs::write(&own, &identity.certificate).unwrap();
    let settings = format!("{settings} sslrootcert={}", own.display());
    let (outcome, log) = alle(&settings);
    assert_eq!((outcome, psql(&settings)), ("tls", "refused"), "{log}");
}

/// For us alone: psql supports it from 16 on.
#[test]
fn certificates_that_the_system_trusts_verify_the_server() {
    let settings = "host=localhost TLS dbname=postgres user=postgres sslrootcert=system";
    let by_address = settings.replace("localhost", "127.0.0.1");
    for (settings, roots, expected, words) in [
        (settings, "FILES/good.crt", "tls", ""),
        (
            settings,
            "FILES/wrong.crt",
            "refused",
            "is signed by nobody",
        ),
        (
            &by_address,
            "FILES/good.crt",
            "refused",
            "is not for 127.0.0.1",
        ),
        (
            settings,
            "FILES/empty.crt",
            "refused",
            "the system trusts no certificate",
        ),
    ] {
        let (outcome, log) = alle_trusting(&expand(settings), &expand(roots));
        assert_eq!(outcome, expected, "{settings} {roots}:\n{log}");
        assert!(log.contains(words), "{words:?}, {settings} {roots}:\n{log}");
    }
}

/// For us alone: psql supports it from 17 on, as servers do.
#[test]
fn tls_without_being_asked_for_needs_postgresql_17() {
    let world = world();
    let version = world
        .tls
        .psql("postgres", "SHOW server_version_num")
        .unwrap();
    let settings = "dbname=postgres user=postgres sslmode=verify-full \
                    sslrootcert=FILES/good.crt sslnegotiation=direct";
    let at = |server: &str| alle(&expand(&format!("host=localhost {server} {settings}")));
    let (outcome, log) = at("TLS");
    if version.trim().parse::<u32>().unwrap() >= 170_000 {
        assert_eq!(outcome, "tls", "{log}");
    } else {
        assert_eq!(outcome, "refused", "{log}");
        assert!(
            log.contains("sslnegotiation=direct needs PostgreSQL 17"),
            "{log}"
        );
    }
    let (outcome, log) = at("PLAIN");
    assert_eq!(outcome, "refused", "{log}");
    assert!(log.contains("sslnegotiation=direct needs"), "{log}");
}

/// The port may be any HTTPS server whose certificate we happen to trust.
#[test]
fn a_server_with_direct_tls_has_to_agree_to_speak_postgresql() {
    let identity = world()
        .authority
        .sign("x", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let config = server_config(&identity);
    let port = serve(move |mut client| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let _ = connection.complete_io(&mut client);
        let _ = client.read_to_end(&mut Vec::new());
    });
    let settings = expand(&format!(
        "host=localhost port={port} user=u sslmode=verify-full sslrootcert=FILES/good.crt \
         sslnegotiation=direct"
    ));
    let (outcome, log) = alle(&settings);
    assert_eq!(outcome, "refused", "{log}");
    assert!(log.contains("did not agree to speak PostgreSQL's"), "{log}");
}

#[test]
fn a_signature_without_a_hash_has_no_channel_binding_and_says_so() {
    let authority = Authority::signing_with("ed25519", &rcgen::PKCS_ED25519);
    let identity = authority.sign("x", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let (server, settings) = server_of(&identity);
    let root = server.socket_dir().join("root.crt");
    fs::write(&root, &authority.pem).unwrap();
    let settings = format!("{settings} sslrootcert={}", root.display());
    let (outcome, log) = alle(&settings);
    assert_eq!(outcome, "tls", "{log}");
    let (outcome, log) = alle(&format!("{settings} channel_binding=require"));
    assert_eq!(outcome, "refused", "{log}");
    assert!(log.contains("has no hash to bind to"), "{log}");
}

#[test]
fn several_hosts_are_tried_in_order() {
    let both = "host=localhost,localhost dbname=postgres user=postgres";
    let world = world();
    let (tls, plain) = (world.tls.port(), world.plain.port());
    for (ports, parameters, expected) in [
        (format!("1,{plain}"), "sslmode=prefer", "plain"),
        (format!("1,{tls}"), "sslmode=require", "tls"),
        (format!("{plain},{tls}"), "sslmode=prefer", "plain"),
        (format!("{tls},{plain}"), "sslmode=prefer", "tls"),
        (
            format!("1,{tls}"),
            "target_session_attrs=standby",
            "refused",
        ),
        (
            format!("1,{tls}"),
            "target_session_attrs=prefer-standby",
            "tls",
        ),
        (
            format!("{plain}"),
            "target_session_attrs=primary sslmode=prefer",
            "plain",
        ),
    ] {
        expect(&format!("{both} port={ports} {parameters}"), expected, "");
    }
}

#[test]
fn bytes_in_the_clear_before_tls_are_not_believed() {
    let in_the_clear = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    for (answer, words) in [
        (&b"S"[..], "TLS handshake"),
        (b"ESFATAL\0C00000\0Mbelieve me\0\0", "failed"),
        (b"N", "does not support TLS"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut request = [0; 8];
                let _ = client.read_exact(&mut request);
                let _ = client.write_all(&[answer, in_the_clear].concat());
                // Until the other side gives up.
                let _ = client.read_to_end(&mut Vec::new());
            }
        });
        let settings = format!("host=127.0.0.1 port={port} user=u sslmode=require");
        let (outcome, log) = alle(&settings);
        assert_eq!(outcome, "refused", "{log}");
        assert!(log.contains(words) && !log.contains("believe me"), "{log}");
    }
}

/// Accepts clients on a port of its own, each in a thread; returns the port.
fn serve(client: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = Arc::new(client);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let client = Arc::clone(&client);
            thread::spawn(move || client(stream));
        }
    });
    port
}

/// The configuration of the server side of TLS.
fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

/// Ends TLS in front of `bridge` as a proxy does; returns its own port.
fn proxy(identity: &Identity, bridge: SocketAddr) -> u16 {
    let config = server_config(identity);
    serve(move |client| {
        client.set_read_timeout(INTERVAL).unwrap();
        let mut back = TcpStream::connect(bridge).unwrap();
        back.set_read_timeout(INTERVAL).unwrap();
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut front = StreamOwned::new(connection, client);
        while copy(&mut front, &mut back) && copy(&mut back, &mut front) {}
    })
}

/// Ends TLS in front of the server with TLS, in PostgreSQL's way and as `identity`, and begins it
/// anew behind; returns its own port.
fn relay(identity: &Identity) -> u16 {
    let world = world();
    let config = server_config(identity);
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(world.authority.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let back_config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let back_config = Arc::new(back_config);
    let port = world.tls.port();
    serve(move |mut client| {
        let mut request = [0; SSL_REQUEST.len()];
        client.read_exact(&mut request).unwrap();
        assert_eq!(request, SSL_REQUEST);
        client.write_all(b"S").unwrap();
        let mut back = TcpStream::connect(("127.0.0.1", port)).unwrap();
        back.write_all(&SSL_REQUEST).unwrap();
        let mut answer = [0];
        back.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"S");
        // The handshake is completed before the two sides take turns: a write in the middle of it,
        // while the other side takes its time, would fail.
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        if connection.complete_io(&mut client).is_err() {
            return;
        }
        let mut front = StreamOwned::new(connection, client);
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&back_config), name).unwrap();
        connection.complete_io(&mut back).unwrap();
        let mut back = StreamOwned::new(connection, back);
        for stream in [&front.sock, &back.sock] {
            stream.set_read_timeout(INTERVAL).unwrap();
        }
        while copy(&mut front, &mut back) && copy(&mut back, &mut front) {}
    })
}

/// Between two looks at either side.
const INTERVAL: Option<Duration> = Some(Duration::from_millis(5));
/// PostgreSQL, "Message Formats": `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Copies the bytes that have arrived; returns whether there may be more.
fn copy(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; 4_096];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(bytes) => to
            .write_all(&buffer[..bytes])
            .and_then(|()| to.flush())
            .is_ok(),
        Err(error) => matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
        ),
    }
}

#[test]
fn listen_and_publish_speak_tls_to_a_bridge_they_trust() {
    let world = world();
    let postgres = world.plain.url();
    let serve = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", &postgres]);
    let bridge = Program::start(serve);
    let address = loop {
        let line = bridge.stderr.next();
        if let Some((_, address)) = line.split_once("listening on ws://") {
            break address.trim().parse().unwrap();
        }
    };
    let identity = world
        .authority
        .sign("proxy", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let port = proxy(&identity, address);
    let by_name = format!("wss://localhost:{port}");
    let command = |arguments: &[&str], roots: &str| {
        let mut command = alle_with(arguments);
        command.env("SSL_CERT_FILE", expand(roots));
        command
    };
    let listener = Program::start(command(&["listen", "-w", &by_name, "c"], "FILES/good.crt"));
    while !listener.stderr.next().contains("Waiting for notifications") {}
    let publish = ["publish", "-w", &by_name, "c", "p"];
    let (code, _, stderr) = run(command(&publish, "FILES/good.crt"));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(listener.stdout.next(), "[c] p");

    let by_address = format!("wss://127.0.0.1:{port}");
    let other_name = ["publish", "-w", &by_address, "c", "p"];
    for (arguments, roots) in [
        (&publish, "FILES/wrong.crt"),
        (&other_name, "FILES/good.crt"),
    ] {
        let (code, _, stderr) = run(command(arguments, roots));
        assert_eq!(code, Some(1), "{arguments:?} {roots}: {stderr}");
        assert!(stderr.contains("TLS: invalid peer certificate"), "{stderr}");
    }
}

/// The answer there is no TLS: that has nothing to do with certificates.
#[test]
fn a_bridge_without_tls_is_to_be_asked_without_it() {
    let bridge = Program::start(alle_with(&[
        "serve",
        "-w",
        "127.0.0.1:0",
        "-p",
        "postgresql://nobody@127.0.0.1:1/",
    ]));
    let address = loop {
        let line = bridge.stderr.next();
        if let Some((_, address)) = line.split_once("listening on ws://") {
            break address.trim().to_owned();
        }
    };
    let url = format!("wss://{address}");
    for words in [
        &["publish", "-w", &url, "c", "p"][..],
        &["listen", "-w", &url],
    ] {
        let (code, _, stderr) = run(alle_with(words));
        assert_eq!(code, Some(1), "{words:?}: {stderr}");
        let expected = format!("alle: cannot connect to {url}: no TLS there, try ws://");
        assert!(
            stderr.lines().any(|line| line == expected),
            "{words:?}: {stderr}"
        );
    }
}
