//! Certificates are replaced while clients are served, and chosen by name.

use std::{
    fs,
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::secured::{Files, Secured};
use crate::{
    client::{Client, wire::Wire},
    harness::{Database, wait_until},
};

/// The certificate that a client gets which asks for this name.
fn certificate_for(secured: &Secured, name: &str) -> CertificateDer<'static> {
    // A ticket would save the certificate.
    let config = secured.files.shared_config();
    let stream = TcpStream::connect(secured.bridge.address).unwrap();
    let Wire::Tls(tls) = Wire::secured(stream, &config, name).unwrap() else {
        unreachable!()
    };
    tls.conn.peer_certificates().unwrap()[0].clone()
}

fn in_file(files: &Files, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(files.path(name)).unwrap()
}

fn sample(page: &str, name: &str) -> u64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_pair() {
    let files = Files::new();
    files.sign("other", &["other.example", "*.wild.example"]);
    let pairs = [
        "--tls-cert",
        &files.name("other.crt"),
        "--tls-key",
        &files.name("other.key"),
    ]
    .map(str::to_owned);
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let secured = Secured::serve(files, crate::harness::NO_POSTGRES, &pairs);
    let [localhost, other] =
        ["localhost.crt", "other.crt"].map(|name| in_file(&secured.files, name));
    assert!(localhost != other);
    for (name, expected) in [
        ("localhost", &localhost),
        ("other.example", &other),
        ("a.wild.example", &other),
        ("127.0.0.1", &localhost),
    ] {
        assert_eq!(&certificate_for(&secured, name), expected, "{name}");
    }
    // An unknown name gets the first one, which is wrong for it, and the client says so.
    let stream = TcpStream::connect(secured.bridge.address).unwrap();
    let error = Wire::secured(stream, &secured.files.shared_config(), "unknown.example");
    let error = error.err().unwrap().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

/// 200 clients hear one notification after the other, each in its place, while the pair is replaced
/// again and again: of one bridge, and of workers.
#[test]
fn a_new_pair_is_for_new_connections_and_no_connection_is_lost() {
    for arguments in [&[][..], &["--workers", "2"]] {
        let database = Database::create();
        let secured = Secured::start(&database.url(), arguments);
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..200 {
            clients.push(secured.client());
            clients.last_mut().unwrap().subscribe("a");
            // On a busy machine the first ones are pinged before the last one is there.
            if clients.len().is_multiple_of(20) {
                clients.iter_mut().for_each(Client::expect_silence);
            }
        }
        let crowds: Vec<_> = (0..4).map(|at| clients.split_off(150 - 50 * at)).collect();
        let (is_over, published) = (AtomicBool::new(false), AtomicU64::new(0));
        let heard = thread::scope(|scope| {
            let publisher =
                scope.spawn(|| publish(&database, secured.client(), &published, &is_over));
            let crowds = crowds
                .into_iter()
                .map(|crowd| scope.spawn(|| hear_all(crowd)));
            let crowds: Vec<_> = crowds.collect();
            for round in 1..=5 {
                replace(&secured);
                wait_until("there is traffic", || published.load(SeqCst) > 2 * round);
            }
            is_over.store(true, SeqCst);
            let count = publisher.join().unwrap();
            for crowd in crowds {
                assert_eq!(crowd.join().unwrap(), count);
            }
            count
        });
        assert!(heard > 10, "there was traffic: {heard}");
    }
}

/// Another pair: newcomers get that or, before it is read, the old one, and soon none gets the old one any
/// more.
fn replace(secured: &Secured) {
    let before = certificate_for(secured, "localhost");
    secured.files.sign("localhost", &["localhost", "127.0.0.1"]);
    let new = in_file(&secured.files, "localhost.crt");
    assert!(new != before);
    secured.bridge.signal("HUP");
    let mut in_a_row = 0;
    // More than chance, where there are two workers.
    wait_until("newcomers get the new pair", || {
        let got = certificate_for(secured, "localhost");
        assert!(got == new || got == before);
        in_a_row = if got == new { in_a_row + 1 } else { 0 };
        in_a_row == 16
    });
}

/// Publishes 1, 2, 3, ..., each once the one before was heard, and at the end 0; how many.
fn publish(
    database: &Database,
    mut own: Client,
    published: &AtomicU64,
    is_over: &AtomicBool,
) -> u64 {
    let mut sql = database.sql();
    own.subscribe("a");
    let mut count = 0;
    while !is_over.load(SeqCst) {
        count += 1;
        sql.run(&format!("NOTIFY a, '{count}'"));
        assert_eq!(own.payload(), count.to_string());
        published.store(count, SeqCst);
    }
    sql.run("NOTIFY a, '0'");
    count
}

/// Hears 1, 2, 3, ... with each client, up to 0; how many.
fn hear_all(mut clients: Vec<Client>) -> u64 {
    for expected in 1.. {
        let heard: Vec<_> = clients.iter_mut().map(Client::payload).collect();
        if heard.iter().all(|it| it == "0") {
            return expected - 1;
        }
        let expected = expected.to_string();
        assert!(heard.iter().all(|it| *it == expected), "{heard:?}");
    }
    unreachable!()
}

#[test]
fn a_pair_that_does_not_fit_leaves_the_old_one_in_use() {
    let secured = Secured::start_without_postgres(&[]);
    let before = certificate_for(&secured, "localhost");
    let page = secured.admin("/metrics");
    let ends = sample(&page, "alle_tls_certificate_expiry_seconds");
    assert_eq!(sample(&page, "alle_tls_renewals_failed_total"), 0);
    let whole = fs::read(secured.files.path("localhost.crt")).unwrap();
    let old_key = fs::read(secured.files.path("localhost.key")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(secured.files.path(name), bytes).unwrap();
    let mut failures = 0;
    let mut refuse = |expected: &str| {
        secured.bridge.signal("HUP");
        secured.bridge.wait_for_log(expected);
        failures += 1;
        assert_eq!(certificate_for(&secured, "localhost"), before);
        let page = secured.admin("/metrics");
        assert_eq!(sample(&page, "alle_tls_renewals_failed_total"), failures);
        assert_eq!(sample(&page, "alle_tls_certificate_expiry_seconds"), ends);
    };
    write("localhost.crt", &whole[..whole.len() / 2]);
    refuse("ERROR alle");
    fs::remove_file(secured.files.path("localhost.crt")).unwrap();
    refuse("No such file");
    secured
        .files
        .sign_for("localhost", &["localhost"], 2001, 2002);
    refuse("the certificate has expired");
    secured.files.sign("localhost", &["localhost"]);
    write("localhost.key", &old_key);
    refuse("not the key of the certificate");
    // It is mended.
    secured
        .files
        .sign_for("localhost", &["localhost"], 2001, 2091);
    secured.bridge.signal("HUP");
    secured
        .bridge
        .wait_for_log("the certificates were read again");
    assert!(certificate_for(&secured, "localhost") != before);
    let page = secured.admin("/metrics");
    // The beginning of 2091.
    let ends = sample(&page, "alle_tls_certificate_expiry_seconds");
    assert_eq!(ends, 3_818_448_000);
}
