//! Signing a JWT, to try a bridge: a real issuer has a library of its own for it.
//!
//! The key decides how: a secret by HS256, a private key by what it is. Knows no option.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value};

/// A token of these claims, signed with the key in the bytes of a file.
pub(super) fn sign(file: &[u8], claims: &Map<String, Value>) -> Result<String, String> {
    let (algorithm, key) = read(file)?;
    let signed = encode(&Header::new(algorithm), claims, &key);
    signed.map_err(|error| format!("the key does not sign: {error}"))
}

fn read(file: &[u8]) -> Result<(Algorithm, EncodingKey), String> {
    let Ok(pem) = PrivateKeyDer::from_pem_slice(file) else {
        let is_pem = file.windows(10).any(|it| it == b"-----BEGIN");
        if is_pem {
            return Err("it has no private key, and only that can sign".to_owned());
        }
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        let key = EncodingKey::from_secret(secret).ok();
        let key = key.filter(|_| secret.len() >= 32).ok_or(
            "a secret for HS256 has at least 32 bytes (`openssl rand -base64 32` makes one)",
        )?;
        return Ok((Algorithm::HS256, key));
    };
    let der = pem.secret_der();
    if Ed25519KeyPair::from_pkcs8(der).is_ok() {
        return Ok((Algorithm::EdDSA, EncodingKey::from_ed_der(der)));
    }
    // The library takes a P-256 key in PKCS#8 alone, and an RSA key as it is inside of that.
    let p256 = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
    if let Some(key) = p256.ok().and_then(|it| it.to_pkcs8v1().ok()) {
        return Ok((Algorithm::ES256, EncodingKey::from_ec_der(key.as_ref())));
    }
    let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
    let rsa: Option<Pkcs8V1Der<'_>> = rsa.ok().and_then(|it| it.as_der().ok());
    let rsa = rsa.ok_or("the key is none of RSA, P-256 and Ed25519")?;
    let inside = &rsa.as_ref()[PKCS8_HEAD_BYTES..];
    Ok((Algorithm::RS256, EncodingKey::from_rsa_der(inside)))
}

/// What stands before the key itself in PKCS#8 (RFC 5208, 5), as aws-lc writes it: a head of four
/// bytes, the version in 3, the algorithm in 15, and a head of four. (Of 2,048 bits and more, a length
/// always takes two.)
const PKCS8_HEAD_BYTES: usize = 26;
