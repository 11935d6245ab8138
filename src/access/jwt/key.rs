//! One key, and whether a signature is its own: the only file that asks the crypto library.
//!
//! A key has one algorithm from the start, and is used with no other (RFC 8725, 3.1). Knows neither
//! files nor tokens.

use aws_lc_rs::{
    hmac,
    rsa::PublicEncryptingKey,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
    },
};
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::{Algorithm, KeyFault};

/// A key that tells its own signatures. None is ever shown.
#[derive(Clone, Debug)]
pub(super) enum Verifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Verifier {
    /// The secret of HS256.
    pub(super) fn secret(secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyFault::SecretShort);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Self::Secret(Box::new(key)))
    }

    /// An RSA key of modulus and exponent, both big-endian.
    pub(super) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let key = der(SEQUENCE, &[integer(n), integer(e)].concat());
        Self::rsa_der(algorithm, &key)
    }

    /// A point of P-256.
    pub(super) fn p256(x: &[u8], y: &[u8]) -> Result<Self, KeyFault> {
        if x.len() != 32 || y.len() != 32 {
            return Err(KeyFault::Malformed);
        }
        Self::public(&ECDSA_P256_SHA256_FIXED, &[&[4][..], x, y].concat())
    }

    /// A point of Ed25519.
    pub(super) fn ed25519(x: &[u8]) -> Result<Self, KeyFault> {
        if x.len() != 32 {
            return Err(KeyFault::Malformed);
        }
        Self::public(&ED25519, x)
    }

    /// The one public key of a PEM text, and the algorithm that its kind has.
    pub(super) fn pem(text: &[u8]) -> Result<(Algorithm, Self), KeyFault> {
        let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
            PemObject::pem_slice_iter(text).collect();
        let sections = sections.map_err(|_| KeyFault::Malformed)?;
        let [(kind, bytes)] = &sections[..] else {
            return Err(KeyFault::NotOne);
        };
        let private = [
            SectionKind::PrivateKey,
            SectionKind::RsaPrivateKey,
            SectionKind::EcPrivateKey,
        ];
        if *kind == SectionKind::PublicKey {
            Self::public_key_info(bytes)
        } else if private.contains(kind) {
            Err(KeyFault::Private)
        } else if *kind == SectionKind::Certificate {
            Err(KeyFault::Certificate)
        } else {
            Err(KeyFault::Unsupported)
        }
    }

    /// Whether bytes are a public key in DER: taken for a secret, everybody would know it.
    pub(super) fn is_public_der(bytes: &[u8]) -> bool {
        Self::public_key_info(bytes).is_ok()
            || bytes.first() == Some(&SEQUENCE) && Self::rsa_der(Algorithm::Rs256, bytes).is_ok()
    }

    /// Whether the signature of the message is this key's.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }

    /// A SubjectPublicKeyInfo (RFC 5280, 4.1.2.7). An RSA key is one for RS256: nothing in it says
    /// otherwise, and one key has one algorithm.
    fn public_key_info(bytes: &[u8]) -> Result<(Algorithm, Self), KeyFault> {
        // Bare points are keys to the library, too.
        if bytes.first() != Some(&SEQUENCE) || bytes.len() <= 32 {
            return Err(KeyFault::Unsupported);
        }
        if let Ok(key) = Self::public(&ED25519, bytes) {
            return Ok((Algorithm::EdDsa, key));
        }
        if let Ok(key) = Self::public(&ECDSA_P256_SHA256_FIXED, bytes) {
            return Ok((Algorithm::Es256, key));
        }
        if Self::public(&RSA_PKCS1_2048_8192_SHA256, bytes).is_err() {
            return Err(KeyFault::Unsupported);
        }
        Self::rsa_info(Algorithm::Rs256, bytes).map(|key| (Algorithm::Rs256, key))
    }

    /// An RSAPublicKey (RFC 8017, A.1.1).
    fn rsa_der(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyFault> {
        let bits = der(BIT_STRING, &[&[0], bytes].concat());
        let info = der(SEQUENCE, &[RSA_ENCRYPTION, &bits[..]].concat());
        Self::rsa_info(algorithm, &info)
    }

    fn rsa_info(algorithm: Algorithm, info: &[u8]) -> Result<Self, KeyFault> {
        let verification: &'static dyn VerificationAlgorithm = if algorithm == Algorithm::Ps256 {
            &RSA_PSS_2048_8192_SHA256
        } else {
            &RSA_PKCS1_2048_8192_SHA256
        };
        let key = Self::public(verification, info)?;
        // It looks at the length of the modulus, as each verification does.
        PublicEncryptingKey::from_der(info).map_err(|_| KeyFault::RsaShort)?;
        Ok(key)
    }

    fn public(
        algorithm: &'static dyn VerificationAlgorithm,
        bytes: &[u8],
    ) -> Result<Self, KeyFault> {
        let key = ParsedPublicKey::new(algorithm, bytes).map_err(|_| KeyFault::Malformed)?;
        Ok(Self::Public(key))
    }
}

/// A value in DER (X.690, 8.1), of less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut out = vec![tag];
    match length {
        [0, short @ ..=0x7f] => out.push(short),
        [0, long] => out.extend([0x81, long]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}

/// A number from zero up, given big-endian.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let bytes = &bytes[zeros..];
    let is_negative = bytes.first().is_none_or(|&byte| byte >= 0x80);
    der(INTEGER, &[&[0][..usize::from(is_negative)], bytes].concat())
}

/// The shortest secret, in bytes: as long as the hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// The AlgorithmIdentifier of rsaEncryption, its parameters NULL (RFC 3279, 2.3.1).
const RSA_ENCRYPTION: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
