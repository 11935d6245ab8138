//! Data for tying an authentication exchange to the TLS connection it runs in.
//!
//! Knows the certificate and how it is signed; what is done with the hash is the session's.

use aws_lc_rs::digest;

use super::{
    certificate::{Certificate, RSASSA_PSS, element},
    pss::Parameters,
};

/// Data for `tls-server-end-point` (RFC 5929, 4.1): the certificate under the hash of its own
/// signature, SHA-256 where that is MD5 or SHA-1. `None` if the signature has no such hash.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::parse(certificate)?;
    let hash = hash(parsed.signature_algorithm)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The hash of a signature's algorithm.
fn hash(algorithm: &[u8]) -> Option<&'static digest::Algorithm> {
    let (_, identifier, parameters) = element(algorithm)?;
    let identifier = if identifier == RSASSA_PSS {
        Parameters::parse(parameters)?.hash
    } else {
        identifier
    };
    let (_, hash) = HASHES.iter().find(|(known, _)| *known == identifier)?;
    Some(hash)
}

const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";

/// Signature algorithms and, for RSASSA-PSS, hashes by themselves.
static HASHES: [(&[u8], &digest::Algorithm); 17] = [
    // RSA with MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", &digest::SHA224),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &digest::SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &digest::SHA512),
    // ECDSA with SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &digest::SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", &digest::SHA224),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &digest::SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &digest::SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &digest::SHA512),
    (SHA1, &digest::SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x04", &digest::SHA224),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x01", &digest::SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x02", &digest::SHA384),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x03", &digest::SHA512),
    (b"\x2a\x86\x48\xce\x38\x04\x03", &digest::SHA256),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80);
        [&[tag, length], content].concat()
    }

    fn bytes_of_hash(identifier: &[u8], parameters: &[u8]) -> Option<usize> {
        let algorithm = [der(6, identifier), parameters.to_vec()].concat();
        hash(&algorithm).map(digest::Algorithm::output_len)
    }

    #[test]
    fn the_hash_is_that_of_the_signature_and_at_least_sha_256_for_md5_and_sha_1() {
        for (identifier, bytes) in [
            (&b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"[..], Some(32)),
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", Some(28)),
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", Some(32)),
            (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", Some(48)),
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", Some(64)),
            // Ed25519.
            (b"\x2b\x65\x70", None),
        ] {
            assert_eq!(
                bytes_of_hash(identifier, b"\x05\x00"),
                bytes,
                "{identifier:x?}"
            );
        }
    }

    #[test]
    fn the_hash_of_pss_is_in_its_parameters() {
        let sha_384 = der(0x30, &der(6, b"\x60\x86\x48\x01\x65\x03\x04\x02\x02"));
        for (parameters, bytes) in [
            (der(0x30, &der(0xa0, &sha_384)), Some(48)),
            (der(0x30, b""), Some(32)),
            (vec![], None),
        ] {
            assert_eq!(bytes_of_hash(RSASSA_PSS, &parameters), bytes);
        }
    }
}
