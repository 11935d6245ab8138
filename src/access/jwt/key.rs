//! One key: read from a text, and whether a signature is its own. The only file that asks the library
//! of JWTs, and the one of cryptography below it.
//!
//! A key has one algorithm from the start, and is used with no other (RFC 8725, 3.1). The library
//! reads JWKs and verifies. It also takes keys that are too weak, or that no signature will ever fit:
//! those are refused here, in words. Knows neither files nor tokens.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::PublicEncryptingKey,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RsaPublicKeyComponents, VerificationAlgorithm,
    },
};
pub(super) use jsonwebtoken::Algorithm;
use jsonwebtoken::{
    AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::aws_lc::DEFAULT_PROVIDER,
    jwk::{CommonParameters, Jwk, KeyOperations, PublicKeyUse},
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::{Map, Value};

use super::{KeyFault, claims};

/// The algorithm of this name, if it is spoken here (RFC 7518, 3.1; RFC 8037, 3.1). There is no
/// "none".
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    let algorithm = name.parse().ok()?;
    SPOKEN.contains(&algorithm).then_some(algorithm)
}

/// A key that tells its own signatures. None is ever shown.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    algorithm: Algorithm,
    /// Of bytes, never of components: a secret, a point, or DER.
    key: DecodingKey,
}

impl Verifier {
    /// The key of a file: a public key in PEM, else a secret, whose bytes are those of the file less
    /// one line end.
    pub(super) fn of_file(file: &[u8]) -> Result<Self, KeyFault> {
        if file.windows(BEGIN.len()).any(|it| it == BEGIN) {
            return Self::of_pem(file);
        }
        Self::of_secret(secret_in(file)?)
    }

    /// The key of a JWK, and its `kid`; `None` if it is of a kind, a curve, an algorithm or a use that
    /// is not ours.
    pub(super) fn of_jwk(
        jwk: &Map<String, Value>,
    ) -> Result<Option<(Option<String>, Self)>, KeyFault> {
        let text = |name: &str| match jwk.get(name) {
            Some(value) => value.as_str().map(Some).ok_or(KeyFault::Malformed),
            None => Ok(None),
        };
        let usual = match (text("kty")?, text("crv")?) {
            (Some("oct"), None) => Algorithm::HS256,
            (Some("RSA"), None) => Algorithm::RS256,
            (Some("EC"), Some("P-256")) => Algorithm::ES256,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
            (_, _) => return Ok(None),
        };
        // To the library null is as good as nothing.
        for name in ["alg", "kid", "use"] {
            text(name)?;
        }
        // Of certificates it wants more than to pass them over.
        let members = jwk.iter().filter(|(name, _)| !name.starts_with("x5"));
        let members = members.map(|(name, value)| (name.clone(), value.clone()));
        let read: Result<Jwk, _> = serde_json::from_value(Value::Object(members.collect()));
        let read = read.map_err(|_| KeyFault::Malformed)?;
        let Some(algorithm) = algorithm_of(&read.common, usual) else {
            return Ok(None);
        };
        if usual != Algorithm::HS256 && jwk.contains_key("d") {
            return Err(KeyFault::Private);
        }
        // It puts coordinates of any length behind each other.
        let is_cut = |it: &str| it.len() != COORDINATE_CHARS;
        let has_curve = matches!(usual, Algorithm::ES256 | Algorithm::EdDSA);
        if has_curve && (text("x")?.is_some_and(is_cut) || text("y")?.is_some_and(is_cut)) {
            return Err(KeyFault::Malformed);
        }
        if text("k")? == Some("") {
            return Err(KeyFault::SecretShort);
        }
        let key = DecodingKey::from_jwk(&read).map_err(|_| KeyFault::Malformed)?;
        let verifier = Self::of_decoded(&key)?;
        debug_assert_eq!(verifier.algorithm, usual);
        let verifier = Self {
            algorithm,
            ..verifier
        };
        Ok(Some((read.common.key_id, verifier)))
    }

    /// What the library made of a JWK.
    fn of_decoded(key: &DecodingKey) -> Result<Self, KeyFault> {
        match key.kind() {
            DecodingKeyKind::SecretOrDer(secret) if key.family() == AlgorithmFamily::Hmac => {
                Self::of_secret(secret)
            }
            DecodingKeyKind::SecretOrDer(point) => Self::of_public(point),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                // Some issuers put the zero of a sign in front, which aws-lc does not take.
                let [n, e] = [n, e].map(|it| {
                    let zeros = it.iter().take_while(|&&byte| byte == 0).count();
                    &it[zeros..]
                });
                let info = RsaPublicKeyComponents { n, e }.as_der();
                let info: PublicKeyX509Der<'_> = info.map_err(|_| KeyFault::Malformed)?;
                Self::of_public(info.as_ref())
            }
        }
    }

    /// The secret of HS256.
    fn of_secret(secret: &[u8]) -> Result<Self, KeyFault> {
        let secret = long_enough(secret)?;
        Ok(Self {
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret).map_err(|_| KeyFault::SecretShort)?,
        })
    }

    /// The one public key of a PEM text, which the library does not read by itself.
    fn of_pem(text: &[u8]) -> Result<Self, KeyFault> {
        use SectionKind::{Certificate, EcPrivateKey, PrivateKey, PublicKey, RsaPrivateKey};
        let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
            PemObject::pem_slice_iter(text).collect();
        let sections = sections.map_err(|_| KeyFault::Malformed)?;
        let [(kind, bytes)] = &sections[..] else {
            return Err(KeyFault::NotOne);
        };
        if matches!(kind, PrivateKey | RsaPrivateKey | EcPrivateKey) {
            Err(KeyFault::Private)
        } else if *kind == Certificate {
            Err(KeyFault::Certificate)
        } else if *kind == PublicKey && kind_of_der(bytes).is_some() {
            Self::of_public(bytes)
        } else {
            Err(KeyFault::Unsupported)
        }
    }

    /// A SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), or a point. An RSA key is one for RS256: nothing in
    /// it says otherwise, and one key has one algorithm.
    fn of_public(bytes: &[u8]) -> Result<Self, KeyFault> {
        let (algorithm, key) = kind_of(bytes).ok_or(KeyFault::Malformed)?;
        // It looks at the length of the modulus, as each verification does.
        if algorithm == Algorithm::RS256 && PublicEncryptingKey::from_der(bytes).is_err() {
            return Err(KeyFault::RsaShort);
        }
        let key = key(bytes);
        Ok(Self { algorithm, key })
    }

    /// What it verifies signatures of.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is a secret, by which everybody who has it can sign.
    pub(super) fn is_secret(&self) -> bool {
        self.algorithm == Algorithm::HS256
    }

    /// Whether both are the same key.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (self.key.try_get_as_bytes(), other.key.try_get_as_bytes());
        self.algorithm == other.algorithm && one == two
    }

    /// Whether the signature of the message is this key's.
    pub(super) fn verify(&self, message: &[u8], signature: Vec<u8>) -> bool {
        // The provider is named: that of the process could be another one, or none.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key);
        verifier.is_ok_and(|it| it.verify(message, &signature).is_ok())
    }
}

/// The secret in a file that is no PEM: its bytes, less one line end.
pub fn secret_in(file: &[u8]) -> Result<&[u8], KeyFault> {
    if claims::parse_object(file).is_some() {
        return Err(KeyFault::Jwks);
    }
    // Taken for a secret, everybody would know it.
    if kind_of_der(file).is_some() {
        return Err(KeyFault::Der);
    }
    let secret = file.strip_suffix(b"\n").unwrap_or(file);
    long_enough(secret.strip_suffix(b"\r").unwrap_or(secret))
}

fn long_enough(secret: &[u8]) -> Result<&[u8], KeyFault> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(KeyFault::SecretShort);
    }
    Ok(secret)
}

/// The algorithm of a JWK whose kind has a usual one, if it is for signatures of ours.
fn algorithm_of(jwk: &CommonParameters, usual: Algorithm) -> Option<Algorithm> {
    let signs = |it: &PublicKeyUse| *it == PublicKeyUse::Signature;
    let verifies = |it: &Vec<KeyOperations>| it.contains(&KeyOperations::Verify);
    let (usage, operations) = (&jwk.public_key_use, &jwk.key_operations);
    if !usage.as_ref().is_none_or(signs) || !operations.as_ref().is_none_or(verifies) {
        return None;
    }
    match jwk.key_algorithm.map(Algorithm::try_from) {
        None => Some(usual),
        Some(Ok(stated)) if stated == usual => Some(stated),
        Some(Ok(Algorithm::PS256)) if usual == Algorithm::RS256 => Some(Algorithm::PS256),
        // The key is for something else, as RSA-OAEP or RS512.
        Some(_) => None,
    }
}

/// The kind of a public key: its usual algorithm, and what makes a key of its bytes.
type Kind = (Algorithm, fn(&[u8]) -> DecodingKey);

/// That of a SubjectPublicKeyInfo, a bare RSAPublicKey, or a bare point.
fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let kinds: [(&'static dyn VerificationAlgorithm, Kind); 3] = [
        (&ED25519, (Algorithm::EdDSA, DecodingKey::from_ed_der)),
        (
            &ECDSA_P256_SHA256_FIXED,
            (Algorithm::ES256, DecodingKey::from_ec_der),
        ),
        (
            &RSA_PKCS1_2048_8192_SHA256,
            (Algorithm::RS256, DecodingKey::from_rsa_der),
        ),
    ];
    let found = kinds
        .into_iter()
        .find(|(it, _)| ParsedPublicKey::new(*it, bytes).is_ok());
    found.map(|(_, kind)| kind)
}

/// The same, unless it is a bare point: any 32 bytes are one of Ed25519.
fn kind_of_der(bytes: &[u8]) -> Option<Kind> {
    let is_der = bytes.first() == Some(&SEQUENCE) && bytes.len() > 32;
    is_der.then(|| kind_of(bytes))?
}

const SPOKEN: [Algorithm; 5] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// The shortest secret, in bytes: as long as the hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// A coordinate has 32 bytes, those in front of it included (RFC 7518, 6.2.1.2; RFC 8037, 2).
const COORDINATE_CHARS: usize = 43;
const BEGIN: &[u8] = b"-----BEGIN";
const SEQUENCE: u8 = 0x30;
