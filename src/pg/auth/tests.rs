//! How each way of authentication goes, well and badly.

use super::*;

fn authentication(url: &str) -> Authentication {
    let config = Config::parse(url, &|_| None).unwrap();
    Authentication::new(&config, &config.servers[0], Protection::None)
}

fn request(code: u32, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], data].concat()
}

/// What the last of `requests` is answered with, the earlier ones having been fine.
fn answer(url: &str, requests: &[Vec<u8>]) -> Result<(bool, BytesMut), SessionError> {
    let mut authentication = authentication(url);
    let mut out = BytesMut::new();
    let mut admitted = false;
    for request in requests {
        out.clear();
        admitted = authentication.handle_request(request, &mut out)?;
    }
    Ok((admitted, out))
}

#[test]
fn trust_needs_no_answer() {
    let (admitted, out) = answer("postgres://u@db", &[request(0, b"")]).unwrap();
    assert!(admitted && out.is_empty());
}

#[test]
fn the_password_travels_in_the_clear_only_within_this_machine() {
    let asked = [request(3, b"")];
    for url in ["postgres://u:pw@%2Ftmp", "postgres://u:pw@[::1]"] {
        let (admitted, out) = answer(url, &asked).unwrap();
        assert!(!admitted);
        assert_eq!(out, &b"p\0\0\0\x07pw\0"[..]);
    }
    let refused = AuthenticationError::CleartextRefused.into();
    assert_eq!(answer("postgres://u:pw@db", &asked), Err(refused));
}

#[test]
fn md5_is_answered_with_the_salted_hash() {
    let asked = [request(5, &[0x2a, 0x3d, 0x8f, 0xe0])];
    let (_, out) = answer("postgres://md5_user:password@db", &asked).unwrap();
    assert_eq!(
        out,
        &b"p\0\0\0\x28md562af4dd09bbb41884907a838a3233294\0"[..]
    );
    let (admitted, _) = answer(
        "postgres://u:pw@db",
        &[request(5, b"salt"), request(0, b"")],
    )
    .unwrap();
    assert!(admitted);
    assert_eq!(
        answer("postgres://u:pw@db", &[request(5, b"sal")]),
        Err(MALFORMED.into())
    );
}

#[test]
fn a_missing_password_and_unknown_methods_are_named() {
    for asked in [request(5, b"salt"), request(10, b"SCRAM-SHA-256\0\0")] {
        let missing = AuthenticationError::PasswordMissing.into();
        assert_eq!(answer("postgres://u@db", &[asked]), Err(missing));
    }
    for (asked, method) in [
        (request(7, b""), "GSSAPI"),
        (request(9, b""), "SSPI"),
        (request(99, b""), "an unknown method"),
        (
            request(10, b"SCRAM-SHA-256-PLUS\0OAUTH\0\0"),
            "SCRAM-SHA-256-PLUS, OAUTH",
        ),
    ] {
        let method = method.to_owned();
        let expected = AuthenticationError::MethodUnsupported { method }.into();
        assert_eq!(answer("postgres://u:pw@db", &[asked]), Err(expected));
    }
}

fn over_tls(url: &str, end_point: Option<&[u8]>, asked: &[u8]) -> Result<String, SessionError> {
    let config = Config::parse(url, &|_| None).unwrap();
    let end_point = end_point.map(<[u8]>::to_vec);
    let protection = Protection::Tls { end_point };
    let mut authentication = Authentication::new(&config, &config.servers[0], protection);
    let mut out = BytesMut::new();
    authentication.handle_request(asked, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn scram_is_tied_to_tls_where_both_sides_can() {
    let both = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let plain = request(10, b"SCRAM-SHA-256\0\0");
    let disabled = "postgres://u:pw@db?channel_binding=disable";
    let required = "postgres://u:pw@db?channel_binding=require";
    for (url, end_point, asked, expected) in [
        ("postgres://u:pw@db", true, &both, "SCRAM-SHA-256-PLUS\0"),
        (
            "postgres://u:pw@db",
            true,
            &both,
            "p=tls-server-end-point,,",
        ),
        (required, true, &both, "p=tls-server-end-point,,"),
        ("postgres://u:pw@db", true, &plain, "y,,"),
        ("postgres://u:pw@db", false, &both, "n,,"),
        (disabled, true, &both, "n,,"),
    ] {
        let answer = over_tls(url, end_point.then_some(b"hash"), asked).unwrap();
        assert!(answer.contains(expected), "{url}: {answer:?}");
    }
}

#[test]
fn a_demanded_binding_is_never_given_up() {
    let url = "postgres://u:pw@localhost?channel_binding=require";
    let both = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let missing = |cause| Err(AuthenticationError::BindingMissing(cause).into());
    for asked in [
        request(0, b""),
        request(3, b""),
        request(5, b"salt"),
        request(10, b"SCRAM-SHA-256\0\0"),
    ] {
        let not_offered = missing(BindingError::NotOffered);
        assert_eq!(over_tls(url, Some(b"hash"), &asked), not_offered);
    }
    assert_eq!(over_tls(url, None, &both), missing(BindingError::NoHash));
    let no_tls = missing(BindingError::NoTls);
    assert_eq!(answer(url, &[both]).map(|_| String::new()), no_tls);
}

#[test]
fn the_password_travels_in_the_clear_over_tls() {
    let sent = over_tls("postgres://u:pw@db", None, &request(3, b"")).unwrap();
    assert_eq!(sent, "p\0\0\0\x07pw\0");
}

/// Plays a server up to a point of the exchange; its nonce extends ours as it must.
fn scram_up_to_our_proof() -> Authentication {
    let mut authentication = authentication("postgres://u:pw@db");
    let mut out = BytesMut::new();
    let offer = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    assert_eq!(authentication.handle_request(&offer, &mut out), Ok(false));
    let first = String::from_utf8(out.to_vec()).unwrap();
    let (_, nonce) = first.split_once("n,,n=,r=").unwrap();
    let answer = request(11, format!("r={nonce}more,s=c2FsdA==,i=1").as_bytes());
    out.clear();
    assert_eq!(authentication.handle_request(&answer, &mut out), Ok(false));
    assert!(out.is_empty(), "the proof waits for its key");
    let derivation = authentication.take_key_derivation().unwrap();
    assert_eq!(authentication.take_key_derivation(), None);
    assert_eq!(authentication.key_iterations(), Some(1));
    let key = derivation.run(|| true).unwrap();
    authentication.handle_key(&key, &mut out).unwrap();
    assert!(out.starts_with(b"p") && authentication.key_iterations().is_none());
    authentication
}

/// PostgreSQL takes any number up to `i32::MAX`; more than a number of ours is malformed.
#[test]
fn the_server_says_how_many_iterations_there_are() {
    for (iterations, expected) in [
        ("1", Some(1)),
        ("600000", Some(600_000)),
        ("4294967295", Some(u32::MAX)),
        ("4294967296", None),
        ("0", None),
    ] {
        let mut authentication = authentication("postgres://u:pw@db");
        let mut out = BytesMut::new();
        let offer = request(10, b"SCRAM-SHA-256\0\0");
        assert_eq!(authentication.handle_request(&offer, &mut out), Ok(false));
        let first = String::from_utf8_lossy(&out).into_owned();
        let (_, nonce) = first.split_once("n,,n=,r=").unwrap();
        let challenge = format!("r={nonce}more,s=c2FsdA==,i={iterations}");
        let done = authentication.handle_request(&request(11, challenge.as_bytes()), &mut out);
        assert_eq!(done.is_ok(), expected.is_some(), "{iterations}");
        assert_eq!(authentication.key_iterations(), expected, "{iterations}");
    }
}

#[test]
fn only_the_methods_of_require_auth_are_answered() {
    let sasl = request(10, b"SCRAM-SHA-256\0\0");
    for (allowed, asked, refused) in [
        ("none", request(0, b""), None),
        ("password,none", request(0, b""), None),
        ("md5", request(0, b""), Some("none")),
        ("!none", request(0, b""), Some("none")),
        ("!none", request(5, b"salt"), None),
        ("scram-sha-256", sasl.clone(), None),
        ("scram-sha-256", request(5, b"salt"), Some("md5")),
        ("scram-sha-256", request(3, b""), Some("password")),
        ("!scram-sha-256", sasl, Some("scram-sha-256")),
        ("md5", request(7, b""), Some("gss")),
        ("md5", request(9, b""), Some("sspi")),
    ] {
        let url = format!("host=127.0.0.1 user=u password=pw require_auth={allowed}");
        let expected = match refused {
            Some(method) => Err(AuthenticationError::MethodNotAllowed { method }.into()),
            None => Ok(()),
        };
        assert_eq!(answer(&url, &[asked]).map(|_| ()), expected, "{allowed}");
    }
    // What the password was asked for is done with it: nothing is not asked for then.
    let url = "host=127.0.0.1 user=u password=pw require_auth=md5";
    let asked = [request(5, b"salt"), request(0, b"")];
    assert_eq!(answer(url, &asked).map(|(admitted, _)| admitted), Ok(true));
}

#[test]
fn a_password_is_bytes() {
    let config = Config::parse("postgres://u:J%fcrgen@%2Ftmp", &|_| None).unwrap();
    let mut authentication = Authentication::new(&config, &config.servers[0], Protection::None);
    let mut out = BytesMut::new();
    authentication
        .handle_request(&request(3, b""), &mut out)
        .unwrap();
    assert_eq!(out, &b"p\0\0\0\x0bJ\xfcrgen\0"[..]);
}

#[test]
fn a_server_that_skips_its_proof_is_refused() {
    let unproven = Err(AuthenticationError::ServerUnproven.into());
    let ok = request(0, b"");
    let begun = [request(10, b"SCRAM-SHA-256\0\0"), ok.clone()];
    assert_eq!(answer("postgres://u:pw@db", &begun).map(|_| true), unproven);
    let mut answered = scram_up_to_our_proof();
    assert_eq!(answered.handle_request(&ok, &mut BytesMut::new()), unproven);
}

#[test]
fn a_wrong_proof_and_a_foreign_nonce_are_refused() {
    let mut answered = scram_up_to_our_proof();
    let last = request(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let error = answered
        .handle_request(&last, &mut BytesMut::new())
        .unwrap_err();
    let SessionError::Authentication(AuthenticationError::Scram { cause }) = error else {
        panic!("{error}");
    };
    assert_eq!(cause, "it does not know this password's verifier");

    for data in [
        &b"r=foreign,s=c2FsdA==,i=1"[..],
        b"",
        b"\xff",
        b"r=,s=,i=",
        b"e=no",
    ] {
        let asked = [request(10, b"SCRAM-SHA-256\0\0"), request(11, data)];
        assert!(answer("postgres://u:pw@db", &asked).is_err());
    }
}

#[test]
fn requests_out_of_order_are_refused() {
    let unexpected = Err(ProtocolError::Unexpected { tag: TAG }.into());
    for requests in [
        &[request(11, b"")][..],
        &[request(12, b"")],
        &[request(5, b"salt"), request(5, b"salt")],
        &[request(5, b"salt"), request(10, b"SCRAM-SHA-256\0\0")],
        &[request(10, b"SCRAM-SHA-256\0\0"), request(3, b"")],
        &[request(10, b"SCRAM-SHA-256\0\0"), request(12, b"")],
    ] {
        assert_eq!(answer("postgres://u:pw@%2Ftmp", requests), unexpected);
    }
    for body in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\x0aSCRAM",
        b"\0\0\0\x0aSCRAM-SHA-256\0",
    ] {
        assert_eq!(
            answer("postgres://u:pw@db", &[body.to_vec()]),
            Err(MALFORMED.into())
        );
    }
}
