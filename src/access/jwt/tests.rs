//! Vectors of the RFCs, tokens of every fault, and the keys that are taken.

mod attacks;
mod keys;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaKeyPair,
    },
};
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

const NOW: Duration = Duration::from_secs(1_300_819_000);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these texts, signed by `sign`.
fn signed(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(claims));
    let signature = base64url(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn by_secret(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// A token as it should be, but for these.
fn token(header: &str, claims: &str) -> String {
    signed(header, claims, by_secret(SECRET))
}

fn set(keys: &[Value]) -> Result<Keys, KeyFault> {
    let mut all = Keys::default();
    all.add_set(json!({ "keys": keys }).to_string().as_bytes())?;
    Ok(all)
}

fn one(file: &[u8]) -> Result<Keys, KeyFault> {
    let mut keys = Keys::default();
    keys.add_key(file)?;
    Ok(keys)
}

fn jwt(keys: Keys, rules: JwtRules) -> Jwt {
    Jwt::new(keys, rules, &mut Permissions::default()).unwrap()
}

fn of_secret(rules: JwtRules) -> Jwt {
    jwt(one(SECRET).unwrap(), rules)
}

fn fault(jwt: &Jwt, token: &str) -> Option<JwtFault> {
    jwt.verify(token, NOW).err()
}

const HS256: &str = r#"{"alg":"HS256"}"#;
const SOUND: &str = r#"{"sub":"ann","exp":1300819380}"#;
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn the_vectors_of_rfc_7515_and_7519_are_taken_until_their_exp_and_the_leeway_are_over() {
    let secret = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
    let p256 = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    for (key, header, signature) in [
        (
            &secret,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            &rsa,
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            &p256,
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let jwt = jwt(set(std::slice::from_ref(key)).unwrap(), JwtRules::default());
        let token = format!("{header}.{PAYLOAD}.{signature}");
        let end = Duration::from_secs(1_300_819_380 + 30);
        for (now, is_taken) in [
            (NOW, true),
            (end - Duration::from_millis(1), true),
            (end, false),
        ] {
            let verified = jwt.verify(&token, now);
            assert_eq!(verified.is_ok(), is_taken, "{key} {now:?}");
            if let Ok((grant, until)) = verified {
                assert_eq!((grant.identity(), until), (None, Some(end)));
            }
        }
        // One bit of any part.
        for at in [20, 60, token.len() - 20] {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(fault(&jwt, &other).is_some(), "{key}: byte {at}");
        }
    }
}

/// RFC 8037, A.4 signs a text, which is no set of claims: it fails behind the signature, not at it.
#[test]
fn the_vector_of_rfc_8037_is_signed_and_no_jwt() {
    let key =
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let jwt = jwt(set(&[key]).unwrap(), JwtRules::default());
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(
        fault(&jwt, &format!("{signed}.{signature}")),
        Some(JwtFault::Malformed)
    );
    let other = signature.replacen('h', "i", 1);
    assert_eq!(
        fault(&jwt, &format!("{signed}.{other}")),
        Some(JwtFault::Signature)
    );
}

/// RFC 7519, 6.1, and the ways to write its `alg`.
#[test]
fn an_unsecured_jwt_is_refused() {
    let jwt = of_secret(JwtRules::default());
    assert_eq!(
        fault(&jwt, &format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.")),
        Some(JwtFault::Algorithm)
    );
    for alg in [
        "none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS512", "HS384",
    ] {
        let token = token(&format!(r#"{{"alg":"{alg}"}}"#), SOUND);
        assert_eq!(fault(&jwt, &token), Some(JwtFault::Algorithm), "{alg}");
        let unsigned = token.rsplit_once('.').unwrap().0;
        assert!(fault(&jwt, &format!("{unsigned}.")).is_some(), "{alg}");
    }
    let unsigned = token(HS256, SOUND);
    let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
    assert_eq!(fault(&jwt, &unsigned), Some(JwtFault::Signature));
}

#[test]
fn a_token_is_read_strictly() {
    let jwt = of_secret(JwtRules::default());
    assert_eq!(fault(&jwt, &token(HS256, SOUND)), None);
    let (sound, padded) = (token(HS256, SOUND), token(r#"{"alg":"HS256" }"#, SOUND));
    let parts: Vec<_> = sound.split('.').collect();
    for text in [
        String::new(),
        "..".to_owned(),
        ".".to_owned(),
        parts[..2].join("."),
        format!("{sound}."),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
        format!(" {sound}"),
        format!("{sound}\n"),
        padded.replacen('.', "=.", 1),
        token("[]", SOUND),
        token("{}", SOUND),
        token(r#"{"alg":7}"#, SOUND),
        token(r#"{"alg":"HS256","alg":"none"}"#, SOUND),
        token(r#"{"alg":"HS256","kid":7}"#, SOUND),
        token(HS256, "[]"),
        token(HS256, "nonsense"),
        token(HS256, r#"{"exp":1300819380,"exp":1300819380}"#),
        token(HS256, r#"{"exp":1300819380,"sub":"ann","sub":"bob"}"#),
        token(HS256, r#"{"exp":1300819380,"a":{"b":1,"b":2}}"#),
        token(HS256, r#"{"exp":"1300819380"}"#),
        token(HS256, r#"{"exp":null}"#),
        token(HS256, r#"{"exp":1300819380,"nbf":"0"}"#),
    ] {
        assert_eq!(fault(&jwt, &text), Some(JwtFault::Malformed), "{text}");
    }
    for header in [
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
    ] {
        assert_eq!(
            fault(&jwt, &token(header, SOUND)),
            Some(JwtFault::Critical),
            "{header}"
        );
    }
}

#[test]
fn a_token_over_4_kib_is_not_read() {
    let jwt = of_secret(JwtRules::default());
    let sized = |pad: usize| {
        let claims = format!(r#"{{"exp":1300819380,"pad":"{}"}}"#, "x".repeat(pad));
        token(HS256, &claims)
    };
    let mut longest = 0;
    for pad in 2_900..3_100 {
        let token = sized(pad);
        let is_too_long = fault(&jwt, &token) == Some(JwtFault::TooLong);
        assert_eq!(is_too_long, token.len() > 4_096, "{}", token.len());
        longest = longest.max(if is_too_long { 0 } else { token.len() });
    }
    assert!(longest >= 4_095, "{longest}");
}

#[test]
fn every_claim_that_is_judged_has_its_edge() {
    let named = || JwtRules {
        issuer: Some("us".to_owned()),
        audiences: vec!["alle".to_owned(), "ours".to_owned()],
        ..JwtRules::default()
    };
    let text = str::to_owned;
    let at = |edge: &str| format!(r#"{{{edge}"iss":"us","aud":"alle","exp":1300819380}}"#);
    let (issuer, audience) = (Some(JwtFault::Issuer), Some(JwtFault::Audience));
    for (claims, expected) in [
        (at(""), None),
        (at(r#""nbf":1300819030,"#), None),
        (at(r#""nbf":1300819030.5,"#), Some(JwtFault::Early)),
        (at(r#""nbf":1300819031,"#), Some(JwtFault::Early)),
        (at(r#""iat":9999999999,"#), None),
        (text(r#"{"iss":"us","aud":"alle"}"#), Some(JwtFault::NoEnd)),
        (text(r#"{"iss":"us","aud":"alle","exp":1300818971}"#), None),
        (
            text(r#"{"iss":"us","aud":"alle","exp":1300818970}"#),
            Some(JwtFault::Expired),
        ),
        (
            text(r#"{"iss":"us","aud":"alle","exp":-1}"#),
            Some(JwtFault::Expired),
        ),
        (text(r#"{"iss":"us","aud":"alle","exp":1e300}"#), None),
        (text(r#"{"aud":"alle","exp":1300819380}"#), issuer),
        (
            text(r#"{"iss":"Us","aud":"alle","exp":1300819380}"#),
            issuer,
        ),
        (
            text(r#"{"iss":["us"],"aud":"alle","exp":1300819380}"#),
            issuer,
        ),
        (text(r#"{"iss":"us","exp":1300819380}"#), audience),
        (
            text(r#"{"iss":"us","aud":"alles","exp":1300819380}"#),
            audience,
        ),
        (text(r#"{"iss":"us","aud":[],"exp":1300819380}"#), audience),
        (
            text(r#"{"iss":"us","aud":["x","ours"],"exp":1300819380}"#),
            None,
        ),
        (
            text(r#"{"iss":"us","aud":["ours",7],"exp":1300819380}"#),
            audience,
        ),
        (
            text(r#"{"iss":"us","aud":null,"exp":1300819380}"#),
            audience,
        ),
    ] {
        assert_eq!(
            fault(&of_secret(named()), &token(HS256, &claims)),
            expected,
            "{claims}"
        );
    }
}

#[test]
fn without_a_rule_no_audience_is_ours_and_no_end_is_allowed_for() {
    // One that is named is another's.
    let anybody = of_secret(JwtRules::default());
    let claims = r#"{"aud":"alle","exp":1300819380}"#;
    assert_eq!(
        fault(&anybody, &token(HS256, claims)),
        Some(JwtFault::Audience)
    );
    let endless = of_secret(JwtRules {
        allow_no_exp: true,
        ..JwtRules::default()
    });
    assert_eq!(endless.verify(&token(HS256, "{}"), NOW).unwrap().1, None);
    let over = token(HS256, r#"{"exp":1}"#);
    assert_eq!(fault(&endless, &over), Some(JwtFault::Expired));
}

/// Keys of each kind, with what they sign with.
type Signer = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn pem(der: &[u8], label: &str) -> Vec<u8> {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|it| String::from_utf8_lossy(it))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
    .into_bytes()
}

/// The SubjectPublicKeyInfo of each kind, and a JWK.
fn pairs() -> Vec<(&'static str, Vec<u8>, Value, Signer)> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let info = |der: PublicKeyX509Der<'_>| der.as_ref().to_vec();
    let ed25519_info = info(ed25519.public_key().as_der().unwrap());
    let p256_info = info(p256.public_key().as_der().unwrap());
    let rsa_info = info(rsa.public_key().as_der().unwrap());
    let x = base64url(ed25519.public_key().as_ref());
    let point = p256.public_key().as_ref().to_vec();
    // RSAPublicKey of 2,048 bits: two headers of four bytes, a zero, the modulus, and 65537.
    let modulus = rsa.public_key().as_ref()[9..9 + 256].to_vec();
    let (p256_x, p256_y) = (base64url(&point[1..33]), base64url(&point[33..]));
    let rsa_jwk = json!({"kty": "RSA", "n": base64url(modulus), "e": "AQAB"});
    vec![
        (
            "EdDSA",
            ed25519_info,
            json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            Box::new(move |message: &[u8]| ed25519.sign(message).as_ref().to_vec()) as Signer,
        ),
        (
            "ES256",
            p256_info,
            json!({"kty": "EC", "crv": "P-256", "x": p256_x, "y": p256_y}),
            Box::new(move |message: &[u8]| p256.sign(&random, message).unwrap().as_ref().to_vec()),
        ),
        (
            "RS256",
            rsa_info,
            rsa_jwk,
            Box::new(move |message: &[u8]| {
                let mut signature = vec![0; 256];
                let random = SystemRandom::new();
                rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }),
        ),
    ]
}

#[test]
fn the_algorithm_is_the_key_s_and_no_header_changes_it() {
    for (name, info, jwk, sign) in pairs() {
        let pem = pem(&info, "PUBLIC KEY");
        let by_pem = jwt(one(&pem).unwrap(), JwtRules::default());
        let by_set = jwt(
            set(std::slice::from_ref(&jwk)).unwrap(),
            JwtRules::default(),
        );
        for jwt in [&by_pem, &by_set] {
            let sound = signed(&format!(r#"{{"alg":"{name}"}}"#), SOUND, &sign);
            assert_eq!(fault(jwt, &sound), None, "{name}");
            let (signed_part, _) = sound.rsplit_once('.').unwrap();
            let empty = format!("{signed_part}.");
            assert_eq!(fault(jwt, &empty), Some(JwtFault::Signature), "{name}");
            // The public key as a secret: everybody has it.
            for secret in [&pem[..], &info, jwk.to_string().as_bytes(), b""] {
                let forged = signed(HS256, SOUND, by_secret(secret));
                let expected = Some(JwtFault::NoKey);
                assert_eq!(fault(jwt, &forged), expected, "{name}");
                let header = r#"{"alg":"HS256","kid":"k"}"#;
                let forged = signed(header, SOUND, by_secret(secret));
                assert!(fault(jwt, &forged).is_some(), "{name}");
            }
            for other in ["EdDSA", "ES256", "RS256", "PS256"] {
                let header = format!(r#"{{"alg":"{other}"}}"#);
                let is_taken = fault(jwt, &signed(&header, SOUND, &sign)).is_none();
                assert_eq!(is_taken, other == name, "{name} as {other}");
            }
        }
        // Nor is a public key ever a secret.
        assert!(one(&info).is_err(), "{name} in DER");
        assert!(one(jwk.to_string().as_bytes()).is_err(), "{name} in JSON");
        let certificate_like = [&b"-----BEGIN PUBLIC KEY-----\n"[..], &[b'x'; 64]].concat();
        assert!(one(&certificate_like).is_err());
    }
}

#[test]
fn an_rsa_key_is_for_ps256_where_its_jwk_says_so() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let modulus = base64url(&rsa.public_key().as_ref()[9..9 + 256]);
    let jwk = json!({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "PS256", "use": "sig"});
    let jwt = jwt(set(&[jwk]).unwrap(), JwtRules::default());
    let sign = |message: &[u8]| {
        let mut signature = vec![0; 256];
        rsa.sign(
            &RSA_PSS_SHA256,
            &SystemRandom::new(),
            message,
            &mut signature,
        )
        .unwrap();
        signature
    };
    assert_eq!(
        fault(&jwt, &signed(r#"{"alg":"PS256"}"#, SOUND, sign)),
        None
    );
    assert_eq!(
        fault(&jwt, &signed(r#"{"alg":"RS256"}"#, SOUND, sign)),
        Some(JwtFault::NoKey)
    );
}

#[test]
fn claims_and_templates_say_what_a_user_may() {
    let mut everybody = Permissions {
        subscribe: Globs::parse("news,user.{sub}.*,org.{org.id}.?"),
        publish: Globs::parse("*"),
    };
    let rules = JwtRules {
        publish_claim: Some("can.say".to_owned()),
        ..JwtRules::default()
    };
    let jwt = Jwt::new(one(SECRET).unwrap(), rules, &mut everybody).unwrap();
    assert_eq!(everybody.subscribe, Globs::parse("news"));
    let of = |claims: &str| jwt.verify(&token(HS256, claims), NOW).unwrap().0;
    let check = |who: &JwtGrant, channel: &str, hears: bool, says: bool| {
        let may = (
            who.may_subscribe(&everybody.subscribe, channel),
            who.may_publish(&everybody.publish, channel),
        );
        assert_eq!(may, (hears, says), "{channel}");
    };
    let ann = of(r#"{"exp":1300819380,"sub":"ann","org":{"id":7},"can":{"say":["a","b*"]}}"#);
    assert_eq!(ann.identity(), Some("ann"));
    for (channel, hears, says) in [
        ("news", true, false),
        ("user.ann.x", true, false),
        ("user.bob.x", false, false),
        ("org.7.x", true, false),
        ("org.8.x", false, false),
        ("a", false, true),
        ("bb", false, true),
    ] {
        check(&ann, channel, hears, says);
    }
    // A name that looks like a path opens nothing, and closes nothing.
    let both =
        of(r#"{"exp":1300819380,"org.id":7,"can.say":"*","org":{"id":8},"can":{"say":"a"}}"#);
    for (channel, hears, says) in [
        ("org.7.x", false, false),
        ("org.8.x", true, false),
        ("a", false, true),
        ("b", false, false),
    ] {
        check(&both, channel, hears, says);
    }
    let literal = of(r#"{"exp":1300819380,"org.id":7,"can.say":"*"}"#);
    assert!(!literal.may_subscribe(&everybody.subscribe, "org.7.x"));
    assert!(!literal.may_publish(&everybody.publish, "a"));
    let nobody = of(r#"{"exp":1300819380,"sub":7.5,"can":{"say":true}}"#);
    assert_eq!(nobody.identity(), None);
    assert!(nobody.may_subscribe(&everybody.subscribe, "news"));
    assert!(!nobody.may_subscribe(&everybody.subscribe, "user.7.5.x"));
    assert!(
        !nobody.may_publish(&everybody.publish, "a"),
        "a claim of the wrong type"
    );
    let same = of(r#"{"can":{"say":["b*","a"]},"org":{"id":7},"sub":"ann","exp":1300819381}"#);
    assert_eq!(same, ann, "but for its end");
}
