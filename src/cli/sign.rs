//! Signing a JWT, to try a bridge: a real issuer has a library of its own for it.
//!
//! The key decides how: a secret by HS256, a private key by what it is. Knows no option.

use alle::internals::access::jwt::secret_in;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    error::KeyRejected,
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
        let secret = secret_in(file).map_err(|fault| fault.to_string())?;
        let key = EncodingKey::from_secret(secret).map_err(|error| error.to_string())?;
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
    let rsa = RsaKeyPair::from_pkcs8(der)
        .or_else(|first| RsaKeyPair::from_der(der).map_err(|second| [first, second]));
    let rsa = rsa.map_err(|errors| refusal(&errors))?;
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().map_err(|_| UNSUPPORTED)?;
    let inside = &rsa.as_ref()[PKCS8_HEAD_BYTES..];
    Ok((Algorithm::RS256, EncodingKey::from_rsa_der(inside)))
}

/// Why it is no RSA key for us, in either form. The library tells the reason by its name alone.
fn refusal(errors: &[KeyRejected; 2]) -> &'static str {
    let is_of_size = |it: &KeyRejected| matches!(&*it.to_string(), "TooSmall" | "TooLarge");
    if errors.iter().any(is_of_size) {
        "an RSA key has 2,048 to 8,192 bits"
    } else {
        UNSUPPORTED
    }
}

const UNSUPPORTED: &str = "the key is none of RSA, P-256 and Ed25519";
/// What stands before the key itself in PKCS#8 (RFC 5208, 5), as aws-lc writes it: a head of four
/// bytes, the version in 3, the algorithm in 15, and a head of four. (Of 2,048 bits and more, a length
/// always takes two.)
const PKCS8_HEAD_BYTES: usize = 26;

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    /// Not that it is none: whoever has one has only to make a longer one.
    #[test]
    fn an_rsa_key_that_is_too_short_is_told_so() {
        let base64: String = RSA_1024.lines().filter(|it| !it.starts_with('-')).collect();
        let inside = &STANDARD.decode(base64).unwrap()[PKCS8_HEAD_BYTES..];
        let inside = STANDARD.encode(inside);
        let label = "RSA PRIVATE KEY";
        let pkcs1 = format!("-----BEGIN {label}-----\n{inside}\n-----END {label}-----\n");
        for pem in [RSA_1024, &pkcs1] {
            let refused = sign(pem.as_bytes(), &Map::new()).unwrap_err();
            assert_eq!(refused, "an RSA key has 2,048 to 8,192 bits");
        }
    }

    /// As `openssl genrsa 1024` writes it; it opens nothing.
    const RSA_1024: &str = "-----BEGIN PRIVATE KEY-----\n\
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBALrjFOsOhEZvBjVv\n\
Bi6pOGWqAimU7R5IvBwU9dU9AfYP7VNUQHX9PL3Foaai1bodw5qxlvxKcQdrxTyD\n\
hOzFDakGdhGJaQH0+Enb5nEe1mEt5W87XDi3R1BcjM8ky01bGhQmUB2wO7GL4ZSS\n\
ZQXPMwkTlemjFXNPnjRDpq8y5awhAgMBAAECgYB8B1TMove6Xth6AdLSiM+6+Ncy\n\
jXnIjXD6GhcEi9aPXQaeNN4K8COttkmP86VwPWyhb5bKnQTibe2aOZawJB7pmTCk\n\
1uXydSFgFT6o2PACibH8Jq7qHNz//DRKc6XhzHAIxNnlfYu07Qpi9HSKiCqnnZ7U\n\
pjjcQhI2ts1iEbxDGQJBAOphSSMeoNAkPNSDUdet363dDNLwId8lbvWGIsX5ErZU\n\
sdEFAn7vHQ6Gy7Mx1v7T9Qcb0y4fb1sKGggNGqmuT48CQQDMIEibt8QpUHiVZacO\n\
OZ0AKkCqia2/W6m3DHkRy/hCy7vXG7MNIRqu3uAXsgqEe9mHoVVGxYZbcu/WOJx8\n\
s3FPAkEAqajimFmDbyfMIMkuZUGnuONadRb+bdlbCL+gTE6QDQwh63wE4n2UOv+4\n\
VG6vgqdLp2ms5KY8pVoandleg5V6YQJAa32Inq97lcHxbcKU4PHH0kFtwiA0JXOQ\n\
gHsJ+iwttIbyiIjmlcBb+8ATw4aW8UMCvuBfNqBnaxqwX196UFRyEwJAScO8EwCj\n\
kpll8inY7qfM/ulGZTPQL5eftinr8+9dOsmgQAJ5Ugh1IOJXWdx2ZjgZQmOS2OKG\n\
OsBYjaqWbuaKCA==\n\
-----END PRIVATE KEY-----\n";
}
