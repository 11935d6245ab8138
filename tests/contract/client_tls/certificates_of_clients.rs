//! A certificate of the client's own: it counts as a token does, and never instead of the origin.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::secured::Secured;
use crate::{
    harness::NO_POSTGRES,
    program::{alle_with, run},
    raw::upgrade_request,
};

/// A client with the pair of this name; it may be that of another authority.
fn with_pair(secured: &Secured, name: &str) -> Arc<ClientConfig> {
    let files = &secured.files;
    let chain = CertificateDer::from_pem_file(files.path(&format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key"))).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(files.roots());
    Arc::new(config.with_client_auth_cert(vec![chain], key).unwrap())
}

/// The status of an answer to a request for an upgrade, with a stream that holds its place; an error
/// where there is no handshake.
fn upgrade(
    secured: &Secured,
    config: &Arc<ClientConfig>,
    headers: &str,
) -> io::Result<(u16, impl Read + use<>)> {
    let mut wire = secured.wire(config)?;
    wire.write_all(upgrade_request(secured.bridge.address, "/ws", headers).as_bytes())?;
    let mut line = [0; 12];
    wire.read_exact(&mut line)?;
    let status = std::str::from_utf8(&line[9..]).unwrap().parse().unwrap();
    Ok((status, wire))
}

fn secured(arguments: &[&str]) -> Secured {
    let files = super::secured::Files::new();
    files.sign("ann", &["ann.example"]);
    files.sign("bob", &["bob.example"]);
    files.sign_by_another("eve", &["ann.example"]);
    std::fs::write(files.path("tokens"), "a-token-of-24-characters\n").unwrap();
    std::fs::copy(files.path("ca.pem"), files.path("clients.pem")).unwrap();
    let authority = files.name("clients.pem");
    let mut all = vec!["--tls-client-ca", &authority];
    all.extend(arguments);
    Secured::serve(files, NO_POSTGRES, &all)
}

/// What a program sends that is no browser: no page can.
fn native_origin(secured: &Secured) -> String {
    format!("Origin: wss://{}\r\n", secured.bridge.address)
}

/// The page of the bridge's own.
fn own_origin(secured: &Secured) -> String {
    format!("Origin: https://{}\r\n", secured.bridge.address)
}

#[test]
fn without_a_certificate_of_the_authority_there_is_no_handshake() {
    let secured = secured(&[]);
    let own = own_origin(&secured);
    let (status, _) = upgrade(&secured, &with_pair(&secured, "ann"), &own).unwrap();
    assert_eq!(status, 101);
    let error = upgrade(&secured, &secured.files.shared_config(), &own)
        .err()
        .unwrap();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let error = upgrade(&secured, &with_pair(&secured, "eve"), &own)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("received fatal alert"),
        "{error}"
    );
}

#[test]
fn a_certificate_counts_for_a_page_that_may_come_and_for_no_other() {
    let secured = secured(&["--allow-origin", "https://app.example"]);
    let ann = with_pair(&secured, "ann");
    let own = own_origin(&secured);
    for (headers, expected) in [
        (own.as_str(), 101),
        ("Origin: https://app.example\r\n", 101),
        ("Sec-Fetch-Site: none\r\n", 101),
        (&native_origin(&secured), 101),
        ("Sec-Fetch-Site: same-origin\r\n", 101),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("", 403),
    ] {
        let (status, _) = upgrade(&secured, &ann, headers).unwrap();
        assert_eq!(status, expected, "{headers}");
    }
    let line = secured.bridge.wait_for_log("Sec-Fetch-Site: none");
    assert!(line.contains("certificate"), "{line}");
}

#[test]
fn its_name_is_an_identity() {
    let secured = secured(&["--max-clients-per-identity", "1"]);
    let own = own_origin(&secured);
    let (ann, bob) = (with_pair(&secured, "ann"), with_pair(&secured, "bob"));
    let (status, first) = upgrade(&secured, &ann, &own).unwrap();
    assert_eq!(status, 101);
    let (status, _) = upgrade(&secured, &ann, &own).unwrap();
    assert_eq!(status, 429);
    let (status, _) = upgrade(&secured, &bob, &own).unwrap();
    assert_eq!(status, 101);
    // With a ticket it is the same one.
    drop(first);
    crate::harness::wait_until("ann has gone", || {
        upgrade(&secured, &ann, &own).unwrap().0 == 101
    });
}

/// A client with a ticket is not asked for its certificate: the ticket has to go with the authority.
#[test]
fn a_ticket_counts_no_longer_than_the_authority_that_it_came_by() {
    let secured = secured(&[]);
    let (own, ann) = (own_origin(&secured), with_pair(&secured, "ann"));
    let reread = |times| {
        secured.bridge.signal("HUP");
        crate::harness::wait_until("the files were read again", || {
            let log = secured.bridge.log();
            log.matches("the certificates were read again").count() >= times
        });
    };
    let resumed = || {
        let page = secured.admin("/metrics");
        crate::metrics::value(&page, "alle_tls_handshakes_total{outcome=\"resumed\"}").unwrap()
    };
    // Under TLS 1.3 the ticket comes before the answer is read.
    assert_eq!(upgrade(&secured, &ann, &own).unwrap().0, 101);
    reread(1);
    assert_eq!(upgrade(&secured, &ann, &own).unwrap().0, 101);
    assert_eq!(resumed(), 1.0);
    let authority = crate::certificates::Authority::new("another").pem;
    std::fs::write(secured.files.path("clients.pem"), authority).unwrap();
    reread(2);
    let refused = upgrade(&secured, &ann, &own).err();
    assert!(refused.is_some(), "its certificate is of nobody any more");
    assert_eq!(resumed(), 1.0);
}

#[test]
fn where_it_is_allowed_a_token_does_as_well() {
    let secured = {
        let files = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(files.path(), "a-token-of-24-characters\n").unwrap();
        let tokens = files.path().to_str().unwrap().to_owned();
        secured(&["--tls-client-auth", "allow", "--token-file", &tokens])
    };
    let (own, nobody) = (own_origin(&secured), secured.files.shared_config());
    let bearer = "Authorization: Bearer a-token-of-24-characters\r\n";
    let publish = |config: &Arc<ClientConfig>, headers: &str| {
        let mut wire = secured.wire(config).unwrap();
        let request = format!(
            "POST /publish/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n{headers}\r\nx",
            secured.bridge.address
        );
        wire.write_all(request.as_bytes()).unwrap();
        let mut line = [0; 12];
        wire.read_exact(&mut line).unwrap();
        std::str::from_utf8(&line[9..])
            .unwrap()
            .parse::<u16>()
            .unwrap()
    };
    // PostgreSQL is down: 503 is said to those that may.
    assert_eq!(publish(&nobody, ""), 401);
    assert_eq!(publish(&nobody, bearer), 503);
    assert_eq!(publish(&with_pair(&secured, "ann"), &own), 503);
    assert_eq!(publish(&with_pair(&secured, "ann"), ""), 403);
    // A wrong token is wrong, whoever brings it.
    let wrong = format!("{own}Authorization: Bearer wrong\r\n");
    assert_eq!(publish(&with_pair(&secured, "ann"), &wrong), 401);
}

#[test]
fn what_would_let_any_page_use_it_is_refused() {
    let files = super::secured::Files::new();
    let (certificate, key) = (files.name("localhost.crt"), files.name("localhost.key"));
    let authority = files.name("ca.pem");
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    for (more, expected) in [
        (
            &["--tls-client-ca", &authority, "--allow-origin", "*"][..],
            "any page could use",
        ),
        (&["--tls-client-ca", &key], "--tls-client-ca"),
        (
            &["--tls-client-auth", "allow"],
            "means nothing without --tls-client-ca",
        ),
        (&["--tls-client-auth", "maybe"], "takes require or allow"),
    ] {
        let mut words = vec!["serve", "-w", "127.0.0.1:0"];
        words.extend(tls);
        words.extend(more);
        let (code, _, stderr) = run(alle_with(&words));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}
