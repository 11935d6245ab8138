//! Whether the server has the key of its certificate: its signature under the handshake.
//!
//! The key is read out of the certificate whether or not the rest of it can be judged, so that one
//! that nobody asked to judge is still no bar to encryption. Trusts nobody.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid, crypto::WebPkiSupportedAlgorithms,
    pki_types::CertificateDer,
};

use super::{
    certificate::{Certificate, PublicKey, RSA_ENCRYPTION, RSASSA_PSS},
    error::certificate_error,
};

/// What rustls can verify, and the same for keys that are for RSASSA-PSS alone.
pub(super) fn schemes(algorithms: &WebPkiSupportedAlgorithms) -> Vec<SignatureScheme> {
    let pss = PSS_KEYS.iter().map(|(scheme, _)| *scheme);
    algorithms
        .supported_schemes()
        .into_iter()
        .chain(pss)
        .collect()
}

/// Of TLS 1.2, where a scheme names the hash and the key brings its curve (RFC 8422, 5.10).
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify(message, certificate, signed, algorithms, usize::MAX)
}

/// Of TLS 1.3, where it names both and PKCS #1 is over (RFC 8446, 4.2.3).
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if PKCS1.contains(&signed.scheme) {
        return Err(unsupported(format!("signs with {:?}", signed.scheme)));
    }
    // The first one is that of the curve.
    verify(message, certificate, signed, algorithms, 1)
}

fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    count: usize,
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = Certificate::parse(certificate).ok_or(CertificateError::BadEncoding)?;
    let key = certificate.public_key;
    let pss = PSS_KEYS.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let scheme = pss.map_or(signed.scheme, |(_, like)| *like);
    let mut mapping = algorithms.mapping.iter();
    let candidates = mapping.find(|(known, _)| *known == scheme);
    let mut candidates = candidates.map_or(&[][..], |(_, found)| found).iter();
    let found = candidates.by_ref().take(count).find(|algorithm| {
        let wanted = algorithm.public_key_alg_id();
        match (pss, key.identifier()) {
            (Some(_), identifier) => identifier == RSASSA_PSS,
            // Its parameters are NULL or, against the rule, not there.
            (None, RSA_ENCRYPTION) => PublicKey::is_rsa(wanted.as_ref()),
            (None, _) => key.algorithm == wanted.as_ref(),
        }
    });
    let Some(algorithm) = found else {
        return Err(unsupported(
            "has a key of a kind that is not supported".to_owned(),
        ));
    };
    match algorithm.verify_signature(key.key, message, signed.signature()) {
        Ok(()) => Ok(HandshakeSignatureValid::assertion()),
        Err(_) => Err(match key.rsa_bits() {
            Some(bits) if !RSA_BITS.contains(&bits) => {
                unsupported(format!("has {}", rsa_bits_words(bits)))
            }
            Some(_) | None => Error::InvalidCertificate(CertificateError::BadSignature),
        }),
    }
}

/// How a key is called that is too short or too long.
pub(super) fn rsa_bits_words(bits: usize) -> String {
    let (min, max) = (RSA_BITS.start(), RSA_BITS.end());
    format!("an RSA key of {bits} bits (from {min} to {max} are supported)")
}

fn unsupported(words: String) -> Error {
    Error::InvalidCertificate(certificate_error(words))
}

/// Those of keys that are for RSASSA-PSS alone (RFC 8446, 4.2.3: `rsa_pss_pss_*`), which rustls does
/// not know, each with the one of the same signature that it does.
const PSS_KEYS: [(SignatureScheme, SignatureScheme); 3] = [
    (
        SignatureScheme::Unknown(0x0809),
        SignatureScheme::RSA_PSS_SHA256,
    ),
    (
        SignatureScheme::Unknown(0x080a),
        SignatureScheme::RSA_PSS_SHA384,
    ),
    (
        SignatureScheme::Unknown(0x080b),
        SignatureScheme::RSA_PSS_SHA512,
    ),
];
const PKCS1: [SignatureScheme; 4] = [
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];
/// What the provider verifies.
pub(super) const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
