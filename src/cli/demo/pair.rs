//! A certificate for this machine's own names and its key, made for one run of the demo.
//!
//! Writes the DER by hand (RFC 5280, 4.1), since it is always the same one: self-signed, ECDSA on P-256.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::cli::timestamp;

/// Both in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A pair that is good for a week.
pub(super) fn generate(now: SystemTime) -> Result<Pair, Unspecified> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let mut serial = [0; 16];
    random.fill(&mut serial)?;
    // Positive, and not shorter than it looks.
    serial[0] = serial[0] & 0x3f | 0x40;
    let name = element(
        SEQUENCE,
        &[&element(
            SET,
            &[&element(
                SEQUENCE,
                &[COMMON_NAME, &element(UTF8, &[b"alle demo"])],
            )],
        )],
    );
    let validity = [now - DAY, now + 7 * DAY].map(|it| element(UTC_TIME, &[&utc_time(it)]));
    let public_key = element(
        SEQUENCE,
        &[
            &element(SEQUENCE, &[EC_PUBLIC_KEY, PRIME256V1]),
            &element(BIT_STRING, &[&[0], key.public_key().as_ref()]),
        ],
    );
    let names = element(
        SEQUENCE,
        &[
            &element(DNS_NAME, &[b"localhost"]),
            &element(IP_ADDRESS, &[&[127, 0, 0, 1]]),
            &element(
                IP_ADDRESS,
                &[&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
            ),
        ],
    );
    let names = element(
        SEQUENCE,
        &[SUBJECT_ALTERNATIVE_NAME, &element(OCTET_STRING, &[&names])],
    );
    let algorithm = element(SEQUENCE, &[ECDSA_WITH_SHA256]);
    let signed = element(
        SEQUENCE,
        &[
            // Version 3.
            &element(VERSION, &[&element(INTEGER, &[&[2]])]),
            &element(INTEGER, &[&serial]),
            &algorithm,
            &name,
            &element(SEQUENCE, &[&validity[0], &validity[1]]),
            &name,
            &public_key,
            &element(EXTENSIONS, &[&element(SEQUENCE, &[&names])]),
        ],
    );
    let signature = key.sign(&random, &signed)?;
    let signature = element(BIT_STRING, &[&[0], signature.as_ref()]);
    let certificate = element(SEQUENCE, &[&signed, &algorithm, &signature]);
    let key = key.to_pkcs8v1()?;
    Ok(Pair {
        certificate: pem("CERTIFICATE", &certificate),
        key: pem("PRIVATE KEY", key.as_ref()),
    })
}

/// A tag, the length, and what is in it.
fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|it| it.len()).sum();
    let bytes = length.to_be_bytes();
    let mut der = vec![tag];
    match length {
        0..0x80 => der.push(bytes[7]),
        0x80..0x100 => der.extend([0x81, bytes[7]]),
        _ => der.extend([0x82, bytes[6], bytes[7]]),
    }
    contents.iter().for_each(|it| der.extend_from_slice(it));
    der
}

/// `YYMMDDHHMMSSZ`.
fn utc_time(time: SystemTime) -> Vec<u8> {
    let text = timestamp::utc(time);
    let digits = text[2..].bytes().filter(u8::is_ascii_digit).take(12);
    digits.chain([b'Z']).collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem += &String::from_utf8_lossy(line);
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// Object identifiers, with their tags.
const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
const SUBJECT_ALTERNATIVE_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const PRIME256V1: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const ECDSA_WITH_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
