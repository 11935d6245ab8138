//! Signing a JWT, to try a bridge: a real issuer has a library of its own for it.
//!
//! The key decides how: a secret by HS256, a private key by what it is. Knows no option.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value, json};

/// A token of these claims, signed with the key in the bytes of a file.
pub(super) fn sign(file: &[u8], claims: &Map<String, Value>) -> Result<String, String> {
    let key = Key::read(file)?;
    let header = json!({"alg": key.algorithm(), "typ": "JWT"}).to_string();
    let claims = Value::Object(claims.clone()).to_string();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", encode(&signature)))
}

enum Key {
    Secret(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
    P256(Box<EcdsaKeyPair>),
    Rsa(RsaKeyPair),
}

impl Key {
    fn read(file: &[u8]) -> Result<Self, String> {
        let Ok(pem) = PrivateKeyDer::from_pem_slice(file) else {
            let is_pem = file.windows(10).any(|it| it == b"-----BEGIN");
            if is_pem {
                return Err("it has no private key, and only that can sign".to_owned());
            }
            let secret = file.strip_suffix(b"\n").unwrap_or(file);
            let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
            if secret.len() < 32 {
                return Err(
                    "a secret for HS256 has at least 32 bytes (`openssl rand -base64 32` makes one)"
                        .to_owned(),
                );
            }
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            return Ok(Self::Secret(Box::new(key)));
        };
        let der = pem.secret_der();
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        if let Ok(key) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self::Ed25519(key));
        }
        let ec = EcdsaKeyPair::from_pkcs8(p256, der);
        if let Ok(key) = ec.or_else(|_| EcdsaKeyPair::from_private_key_der(p256, der)) {
            return Ok(Self::P256(Box::new(key)));
        }
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        rsa.map(Self::Rsa)
            .map_err(|_| "the key is none of RSA, P-256 and Ed25519".to_owned())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| "the key does not sign".to_owned();
        Ok(match self {
            Self::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::P256(key) => {
                let signature = key.sign(&random, message).map_err(failed)?;
                signature.as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                signature
            }
        })
    }
}
