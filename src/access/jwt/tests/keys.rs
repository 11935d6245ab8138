//! The keys that are taken, how one is found, and what becomes of it when they are read again.

use super::*;

#[test]
fn a_key_is_found_by_its_kid_and_by_nothing_else() {
    let oct = |kid: Option<&str>, byte: u8| {
        let mut jwk = json!({"kty": "oct", "k": base64url([byte; 32])});
        if let Some(kid) = kid {
            jwk["kid"] = kid.into();
        }
        jwk
    };
    let kid = |kid: &str, byte: u8| {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        signed(&header, SOUND, by_secret(&[byte; 32]))
    };
    let none = |byte: u8| signed(HS256, SOUND, by_secret(&[byte; 32]));
    let two = jwt(
        set(&[oct(Some("a"), 1), oct(Some("b"), 2)]).unwrap(),
        JwtRules::default(),
    );
    for (token, expected) in [
        (kid("a", 1), None),
        (kid("b", 2), None),
        (kid("a", 2), Some(JwtFault::Signature)),
        (kid("c", 1), Some(JwtFault::UnknownKey)),
        (kid("", 1), Some(JwtFault::UnknownKey)),
        (kid("../../../dev/null", 0), Some(JwtFault::UnknownKey)),
        (kid("/proc/self/environ", 0), Some(JwtFault::UnknownKey)),
        (kid("a' OR '1'='1", 1), Some(JwtFault::UnknownKey)),
        (kid("a\0b", 1), Some(JwtFault::UnknownKey)),
        (none(1), Some(JwtFault::NoKey)),
    ] {
        assert_eq!(fault(&two, &token), expected, "{token}");
    }
    // Keys and addresses that a token brings along are not looked at.
    for extra in ["jwk", "jku", "x5u", "x5c"] {
        let header = json!({"alg": "HS256", "kid": "a", extra: oct(None, 9)}).to_string();
        let forged = signed(&header, SOUND, by_secret(&[9; 32]));
        assert_eq!(fault(&two, &forged), Some(JwtFault::Signature), "{extra}");
    }
    let named = jwt(set(&[oct(Some("a"), 1)]).unwrap(), JwtRules::default());
    assert_eq!(fault(&named, &none(1)), None, "the only one");
    assert_eq!(fault(&named, &kid("b", 1)), Some(JwtFault::UnknownKey));
    let nameless = jwt(one(&[1; 32]).unwrap(), JwtRules::default());
    assert_eq!(
        fault(&nameless, &kid("whichever", 1)),
        None,
        "a file has no name for its key"
    );
}

#[test]
fn keys_that_are_none_are_refused_in_words() {
    let private = rcgen::KeyPair::generate().unwrap();
    for (file, expected) in [
        (&b""[..], KeyFault::SecretShort),
        (b"0123456789abcdef0123456789abcde\n", KeyFault::SecretShort),
        (b"{\"keys\":[]}", KeyFault::Jwks),
        (private.serialize_pem().as_bytes(), KeyFault::Private),
        (
            b"-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n",
            KeyFault::NotOne,
        ),
        (&pem(b"nonsense", "PUBLIC KEY"), KeyFault::Unsupported),
        (&pem(b"nonsense", "CERTIFICATE"), KeyFault::Certificate),
    ] {
        assert_eq!(
            one(file).unwrap_err(),
            expected,
            "{}",
            String::from_utf8_lossy(file)
        );
    }
    // One line end is not part of the secret, and others are.
    let jwt = jwt(
        one(b"0123456789abcdef0123456789abcdef\r\n").unwrap(),
        JwtRules::default(),
    );
    assert_eq!(fault(&jwt, &token(HS256, SOUND)), None);
}

#[test]
fn a_set_that_is_none_is_refused_in_words() {
    for (set_text, expected) in [
        ("", KeyFault::NoSet),
        ("[]", KeyFault::NoSet),
        ("{}", KeyFault::NoSet),
        (r#"{"keys":[],"keys":[]}"#, KeyFault::NoSet),
        (r#"{"keys":{}}"#, KeyFault::NoSet),
        (r#"{"keys":["k"]}"#, KeyFault::NoSet),
        (r#"{"keys":[]}"#, KeyFault::None),
        (
            r#"{"keys":[{"kty":"OKP","crv":"X25519","x":"A"}]}"#,
            KeyFault::None,
        ),
        (
            r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
            KeyFault::SecretShort,
        ),
        (r#"{"keys":[{"kty":"oct","k":"%"}]}"#, KeyFault::Malformed),
        (r#"{"keys":[{"kty":"oct"}]}"#, KeyFault::Malformed),
        (r#"{"keys":[{"kty":7}]}"#, KeyFault::Malformed),
        (
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#,
            KeyFault::Malformed,
        ),
        (
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#,
            KeyFault::Private,
        ),
        (
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#,
            KeyFault::Malformed,
        ),
    ] {
        let found = Keys::default().add_set(set_text.as_bytes());
        assert_eq!(found.unwrap_err(), expected, "{set_text}");
    }
    let short = json!({"kty": "RSA", "e": "AQAB", "n": base64url([0xff; 128])});
    assert!(set(&[short]).is_err(), "1,024 bits");
}

/// As issuers write them, well or not: certificates that are none, and numbers with a sign in front.
#[test]
fn a_jwk_is_taken_whatever_stands_beside_its_key() {
    for (name, _, mut jwk, sign) in pairs() {
        let beside = json!({"alg": name, "use": "sig", "key_ops": ["sign", "verify"], "kid": "a",
            "x5c": "none", "x5t": 7, "x5t#S256": null, "x5u": [], "ext": true, "exp": null});
        let beside = beside.as_object().unwrap().clone();
        jwk.as_object_mut().unwrap().extend(beside);
        if name == "RS256" {
            let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
            jwk["n"] = base64url([&[0], &n[..]].concat()).into();
            jwk["e"] = base64url([0, 1, 0, 1]).into();
        }
        let jwt = jwt(set(&[jwk]).unwrap(), JwtRules::default());
        let header = json!({"alg": name, "kid": "a"}).to_string();
        assert_eq!(fault(&jwt, &signed(&header, SOUND, sign)), None, "{name}");
    }
}

#[test]
fn a_jwk_that_no_signature_would_fit_is_refused_in_words() {
    let jwks: Vec<_> = pairs().into_iter().map(|(_, _, jwk, _)| jwk).collect();
    let [ed25519, p256, rsa] = &jwks[..] else {
        panic!("three kinds");
    };
    let x = URL_SAFE_NO_PAD.decode(p256["x"].as_str().unwrap()).unwrap();
    let y = URL_SAFE_NO_PAD.decode(p256["y"].as_str().unwrap()).unwrap();
    let with = |jwk: &Value, members: Value| {
        let mut jwk = jwk.clone();
        let members = members.as_object().unwrap().clone();
        jwk.as_object_mut().unwrap().extend(members);
        jwk
    };
    let shifted = json!({"x": base64url(&x[..31]), "y": base64url([&x[31..], &y].concat())});
    let other = json!({"y": base64url([&y[..31], &[!y[31]]].concat())});
    let text = |jwk: &Value| jwk.to_string().into_bytes();
    for (jwk, expected) in [
        (with(p256, shifted), KeyFault::Malformed),
        (with(p256, other), KeyFault::Malformed),
        (with(p256, json!({"y": null})), KeyFault::Malformed),
        (with(p256, json!({"d": "AA"})), KeyFault::Private),
        (with(p256, json!({"crv": "P-384"})), KeyFault::None),
        (with(p256, json!({"crv": null})), KeyFault::Malformed),
        (
            with(
                ed25519,
                json!({"x": p256["x"].as_str().unwrap().to_owned() + "A"}),
            ),
            KeyFault::Malformed,
        ),
        (
            with(
                ed25519,
                json!({"x": ed25519["x"].as_str().unwrap().to_owned() + "="}),
            ),
            KeyFault::Malformed,
        ),
        (
            with(rsa, json!({"n": base64url([0xff; 255])})),
            KeyFault::RsaShort,
        ),
        (
            with(rsa, json!({"n": base64url([0xff; 1_025])})),
            KeyFault::RsaShort,
        ),
        (with(rsa, json!({"n": ""})), KeyFault::Malformed),
        (
            with(rsa, json!({"n": base64url([0; 256])})),
            KeyFault::Malformed,
        ),
        (with(rsa, json!({"e": "AQ"})), KeyFault::Malformed),
        (with(rsa, json!({"kid": null})), KeyFault::Malformed),
        (with(rsa, json!({"alg": null})), KeyFault::Malformed),
        (with(rsa, json!({"use": null})), KeyFault::Malformed),
        (with(rsa, json!({"use": "enc"})), KeyFault::None),
        (with(rsa, json!({"alg": "RSA-OAEP-512"})), KeyFault::None),
    ] {
        assert_eq!(
            set(std::slice::from_ref(&jwk)).unwrap_err(),
            expected,
            "{jwk}"
        );
        // Nor is one a secret.
        assert_eq!(one(&text(&jwk)).unwrap_err(), KeyFault::Jwks);
    }
    let oct = json!({"kty": "oct", "k": ""});
    assert_eq!(set(&[oct]).unwrap_err(), KeyFault::SecretShort);
    // An RSAPublicKey (RFC 8017, A.1.1) in DER: everybody knows it.
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    assert_eq!(one(pair.public_key().as_ref()).unwrap_err(), KeyFault::Der);
}

#[test]
fn keys_for_others_are_passed_over_and_the_rest_has_its_limits() {
    let oct = json!({"kty": "oct", "kid": "a", "k": base64url([1; 32])});
    assert_eq!(
        set(&[oct.clone(), oct.clone()]).unwrap_err(),
        KeyFault::Ambiguous
    );
    let mut keys = Keys::default();
    let other = |word: &str, value: Value| {
        let mut other = oct.clone();
        other[word] = value;
        other
    };
    let passed_over = [
        other("use", json!("enc")),
        other("key_ops", json!(["sign"])),
        other("alg", json!("HS512")),
        other("alg", json!("RS256")),
        other("kty", json!("new")),
        oct.clone(),
    ];
    let text = json!({ "keys": passed_over }).to_string();
    assert_eq!(keys.add_set(text.as_bytes()), Ok(5), "and one is taken");
    let many = |count: usize| {
        let keys: Vec<_> = (0..count)
            .map(|it| other("kid", json!(it.to_string())))
            .collect();
        set(&keys).err()
    };
    assert_eq!((many(100), many(101)), (None, Some(KeyFault::TooMany)));
}

#[test]
fn keys_read_again_keep_whom_they_vouched_for() {
    let oct = |kid: &str, byte: u8| json!({"kty": "oct", "kid": kid, "k": base64url([byte; 32])});
    let mut jwt = jwt(
        set(&[oct("a", 1), oct("b", 2)]).unwrap(),
        JwtRules::default(),
    );
    let grant = |jwt: &Jwt, kid: &str, byte: u8| {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        jwt.verify(&signed(&header, SOUND, by_secret(&[byte; 32])), NOW)
            .unwrap()
            .0
    };
    let (by_a, by_b) = (grant(&jwt, "a", 1), grant(&jwt, "b", 2));
    assert_ne!(by_a, by_b, "another key");
    jwt.replace_keys(set(&[oct("c", 3), oct("b", 2), oct("a", 4)]).unwrap());
    assert!(!jwt.is_current(&by_a), "the name is another key's");
    assert!(jwt.is_current(&by_b));
    assert_eq!(grant(&jwt, "b", 2), by_b);
    jwt.replace_keys(set(&[oct("a", 1)]).unwrap());
    assert!(
        !jwt.is_current(&by_a) && !jwt.is_current(&by_b),
        "no id comes back"
    );
}
