//! Contract, section 5: users with JSON Web Tokens, from the outside.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, EcPrivateKeyRfc5915Der},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::NamedTempFile;

use crate::{
    client::{Client, End},
    harness::{Bridge, Database, NO_POSTGRES, PATIENCE},
    program::{alle_with, run},
    raw::{Raw, upgrade_request},
};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A file with one text.
pub fn file(text: &str) -> (NamedTempFile, String) {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

fn signed(claims: &Value, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The token of a user, for so many seconds.
pub fn token(sub: &str, seconds: u64) -> String {
    signed(&json!({"sub": sub, "exp": now() + seconds}), SECRET)
}

/// In seconds, the life of a token whose end a test waits for: one message, or one of each client,
/// has to arrive within it.
const BRIEF: u64 = 10;

fn bearer(bridge: &Bridge, token: &str) -> Client {
    Client::connect_with(bridge.address, &format!("Bearer {token}"))
}

fn status(bridge: &Bridge, token: &str) -> u16 {
    let mut raw = Raw::open(bridge.address);
    let field = format!("Authorization: Bearer {token}\r\n");
    raw.write(upgrade_request(bridge.address, "/ws", &field).as_bytes());
    raw.response("GET").status
}

#[test]
fn a_user_has_its_own_channels_and_is_closed_at_the_end_of_its_token() {
    let database = Database::create();
    let (_key, path) = file(&format!("{SECRET}\n"));
    let rules = [
        "--jwt-key-file",
        &path,
        "--jwt-leeway",
        "0",
        "--allow-subscribe",
        "news,user.{sub}.*",
    ];
    let bridge = Bridge::start_with(&database.url(), &rules);
    let mut ann = bearer(&bridge, &token("ann", 600));
    ann.subscribe("user.ann.x");
    ann.subscribe("news");
    for channel in ["user.bob.x", "user.{sub}.x", "other"] {
        let asked = json!({"type": "subscribe", "channel": channel});
        assert_eq!(ann.ask(&asked)["code"], "forbidden", "{channel}");
    }
    // Only this message has to arrive within the life of the token.
    let renewed = ann.ask(&json!({"type": "auth", "token": token("ann", BRIEF)}));
    assert_eq!(renewed["type"], "authenticated", "{renewed}");
    let told = ann.expect_type("auth_expiring");
    assert!(told["in"].as_u64().unwrap() <= BRIEF, "{told}");
    assert_eq!(ann.end(), End::Closed(4001, "token expired".into()));
    assert_eq!(status(&bridge, &token("ann", 0)), 401);
    bridge.wait_for_log("the JWT has expired");
    assert!(!bridge.log().contains("eyJ"), "no token is in the log");
}

/// How many users there are: few in `cargo test`, and 10,000 in `make users`.
fn user_count() -> usize {
    let users = std::env::var("ALLE_USERS");
    users.map_or(USERS, |users| users.parse().unwrap())
}

/// Those of a short run.
const USERS: usize = 100;

#[expect(clippy::print_stdout, reason = "`make users` is there to be read")]
fn report(text: &str) {
    println!("{text}");
}

/// Every client's token ends within seconds, and each brings the next one as it is told to, while
/// notifications come without a break.
#[test]
fn users_that_refresh_their_tokens_under_load_lose_nothing() {
    let count = user_count();
    let notifications = (300_000 / count).max(100);
    // Each client is asked for what it heard behind each: few are enough.
    let batch_size = (notifications / 30).max(10);
    // A round over all of them has to fit into it.
    let lifetime = 15 + count as u64 / 200;
    let patience = PATIENCE * (1 + u32::try_from(count / 500).unwrap());
    let database = Database::create();
    let (_key, path) = file(SECRET);
    let rules = ["--jwt-key-file", &path, "--jwt-leeway", "0"];
    let bridge = Bridge::start_with(&database.url(), &rules);
    let users: Vec<_> = (0..count).map(|it| format!("user{it}")).collect();
    let began = Instant::now();
    let mut clients: Vec<_> = users
        .iter()
        .map(|it| {
            let mut client = bearer(&bridge, &token(it, lifetime));
            client.subscribe("a");
            client
        })
        .collect();
    let mut sql = database.sql();
    let mut heard = vec![Vec::new(); count];
    let mut counts = BTreeMap::<String, usize>::new();
    let (connected, mut sent) = (began.elapsed(), 0);
    // Longer than any two tokens live.
    let span = Duration::from_secs(2 * lifetime + 4);
    // A busy machine makes fewer, but in a long run.
    let has_sent_all =
        |sent| sent >= notifications || (count == USERS && sent > 0 && began.elapsed() >= span);
    while !has_sent_all(sent) || began.elapsed() < span || heard.iter().any(|it| it.len() < sent) {
        assert!(began.elapsed() < patience, "{counts:?}");
        if !has_sent_all(sent) {
            let batch: String = (sent..sent + batch_size)
                .map(|it| format!("NOTIFY a, '{it}';"))
                .collect();
            sql.run(&batch);
            sent += batch_size;
        }
        for ((client, user), heard) in clients.iter_mut().zip(&users).zip(&mut heard) {
            for message in client.said_so_far() {
                let kind = message["type"].as_str().unwrap().to_owned();
                match kind.as_str() {
                    "notification" => heard.push(message["seq"].as_u64().unwrap()),
                    "auth_expiring" => {
                        client.send(&json!({"type": "auth", "token": token(user, lifetime)}));
                    }
                    "authenticated" => {}
                    _ => panic!("{message}"),
                }
                *counts.entry(kind).or_default() += 1;
            }
        }
    }
    let expected: Vec<_> = (1..=u64::try_from(sent).unwrap()).collect();
    for (heard, user) in heard.iter().zip(&users) {
        assert!(*heard == expected, "{user} heard {} of {sent}", heard.len());
    }
    assert!(counts["authenticated"] >= 2 * count, "{counts:?}");
    report(&format!(
        "{count} users, connected in {connected:.1?}, tokens of {lifetime} s, {:.1?} in all: {counts:?}",
        began.elapsed()
    ));
    let page = bridge.get("/metrics").body;
    assert!(
        page.contains("alle_closes_total{reason=\"token_expired\"} 0\n"),
        "{page}"
    );
}

#[test]
fn at_sighup_the_keys_are_read_again() {
    let (key, path) = file(SECRET);
    let bridge = Bridge::serve(NO_POSTGRES, &["--jwt-key-file", &path]);
    let mut ann = bearer(&bridge, &token("ann", 600));
    assert_eq!(ann.next()["postgres"], "down");
    fs::write(key.path(), "too short").unwrap();
    bridge.signal("HUP");
    bridge.wait_for_log("the keys of JWTs stay as they were");
    assert_eq!(ann.ask(&json!({"type": "ping"}))["type"], "pong");
    fs::write(key.path(), SECRET.replace('0', "z")).unwrap();
    bridge.signal("HUP");
    assert_eq!(ann.end(), End::Closed(4001, "token no longer valid".into()));
    bridge.wait_for_log("the keys of JWTs were read again");
    assert_eq!(status(&bridge, &token("ann", 600)), 401);
}

#[test]
fn a_bridge_whose_tokens_may_do_everything_says_so() {
    let (_key, path) = file(SECRET);
    let bridge = Bridge::serve(NO_POSTGRES, &["--jwt-key-file", &path]);
    bridge.wait_for_log("every valid JWT lets its bearer subscribe and publish to every channel");
}

#[test]
fn jwt_options_that_cannot_work_are_wrong_usage() {
    let (_short, short) = file("short");
    let (_key, key) = file(SECRET);
    for (options, words) in [
        (&["--jwt-issuer", "us"][..], "no keys"),
        (&["--jwt-key-file", &short], "32 bytes"),
        (&["--jwt-key-file", "/nowhere"], "/nowhere"),
        (&["--jwt-jwks-file", &key], "JWK Set"),
        (&["--jwt-issuer", ""], "--jwt-issuer"),
        (&["--jwt-audience", " , "], "--jwt-audience"),
        (&["--jwt-subscribe-claim", ""], "--jwt-subscribe-claim"),
        (
            &["--jwt-key-file", &key, "--allow-subscribe", "user.{sub}*"],
            "user.{sub}*",
        ),
    ] {
        let arguments = [&["serve", "-w", "127.0.0.1:0"][..], options].concat();
        let (code, _, stderr) = run(alle_with(&arguments));
        assert_eq!(code, Some(2), "{options:?}: {stderr}");
        assert!(stderr.contains(words), "{options:?}: {stderr}");
        assert!(!stderr.contains(SECRET), "{stderr}");
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let lines = STANDARD.encode(der);
    let lines: Vec<_> = lines
        .as_bytes()
        .chunks(64)
        .map(std::str::from_utf8)
        .collect();
    let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// What `alle token` signs is what a bridge takes, with each kind of key.
#[test]
fn a_token_of_ours_opens_a_bridge() {
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    // As `openssl ecparam -genkey` and `openssl genrsa -traditional` write them.
    let sec1 = {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, p256.serialized_der()).unwrap();
        let der: EcPrivateKeyRfc5915Der<'_> = key.private_key().as_der().unwrap();
        pem("EC PRIVATE KEY", der.as_ref())
    };
    let pkcs1 = {
        // Behind the algorithm, and the head of a string of bytes.
        let der = rsa.serialized_der();
        let algorithm = [0x01, 0x01, 0x01, 0x05, 0x00];
        let at = der.windows(5).position(|it| it == algorithm).unwrap();
        pem("RSA PRIVATE KEY", &der[at + 9..])
    };
    for (private, public) in [
        (SECRET.to_owned(), SECRET.to_owned()),
        (ed25519.serialize_pem(), ed25519.public_key_pem()),
        (p256.serialize_pem(), p256.public_key_pem()),
        (sec1, p256.public_key_pem()),
        (rsa.serialize_pem(), rsa.public_key_pem()),
        (pkcs1, rsa.public_key_pem()),
    ] {
        let (_private, private) = file(&private);
        let (_public, public) = file(&public);
        let bridge = Bridge::serve(NO_POSTGRES, &["--jwt-key-file", &public]);
        let claims = r#"{"sub":"eve","can":[]}"#;
        let sign = [
            "token",
            "--sign-with",
            &private,
            "--sub",
            "ann",
            "--claims",
            claims,
        ];
        let (code, token, stderr) = run(alle_with(&sign));
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(status(&bridge, token.trim()), 101, "{token}");
    }
    let (code, token, _) = run(alle_with(&["token"]));
    assert_eq!((code, token.trim().len()), (Some(0), 32), "{token}");
    let (_key, key) = file(SECRET);
    let claims = ["--sign-with", &key, "--claims"];
    for (options, words) in [
        (&["--sub", "ann"][..], "--sign-with"),
        (&["--sign-with", "/nowhere"], "/nowhere"),
        (&["--claims", "[]"], "--claims"),
        // No bridge takes these.
        (&[&claims[..], &[r#"{"exp":"tomorrow"}"#]].concat(), "exp"),
        (&[&claims[..], &[r#"{"nbf":"1300819380"}"#]].concat(), "nbf"),
        (&[&claims[..], &[r#"{"exp":null}"#]].concat(), "exp"),
    ] {
        let (code, _, stderr) = run(alle_with(&[&["token"][..], options].concat()));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}
