//! RSASSA-PSS with any length of salt: OpenSSL signs certificates with the longest that fits,
//! the path builder takes that of the hash alone.
//!
//! Reads RSASSA-PSS-params (RFC 4055, 3.1) and verifies; trusts nobody.

use aws_lc_rs::signature::{
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPssSaltLength, VerificationAlgorithm,
};

use super::certificate::{
    Certificate, PublicKey, RSA_ENCRYPTION, RSASSA_PSS, SEQUENCE, content, element,
};

/// How a signature was made, or what a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    /// What the hash is called.
    pub(super) hash: &'a [u8],
    mask_hash: &'a [u8],
    salt: u16,
}

impl<'a> Parameters<'a> {
    /// Out of what follows the identifier; what is left out has its default.
    pub(super) fn parse(parameters: &'a [u8]) -> Option<Self> {
        let (mut rest, _) = content(SEQUENCE, parameters)?;
        let mut read = Self {
            hash: SHA1,
            mask_hash: SHA1,
            salt: 20,
        };
        while let Some((tag, explicit, behind)) = element(rest) {
            rest = behind;
            match tag {
                0xa0 => read.hash = identifier_in(explicit)?,
                0xa1 => {
                    let (mask, _) = content(SEQUENCE, explicit)?;
                    let (_mgf1, _, hash) = element(mask)?;
                    read.mask_hash = identifier_in(hash)?;
                }
                0xa2 => read.salt = small_number(explicit)?,
                // The trailer, of which there is one.
                _ => {}
            }
        }
        Some(read)
    }
}

/// Whether this AlgorithmIdentifier is that of a signature that can be verified here.
pub(super) fn is_known(algorithm: &[u8]) -> bool {
    verification(algorithm).is_some()
}

/// Whether `key` signed `certificate` in this way.
pub(super) fn is_signed_by(certificate: &Certificate<'_>, key: PublicKey<'_>) -> bool {
    let Some((parameters, verification)) = verification(certificate.signature_algorithm) else {
        return false;
    };
    let is_allowed = match key.identifier() {
        RSA_ENCRYPTION => true,
        RSASSA_PSS => {
            let limits = element(key.algorithm).map_or(&[][..], |(_, _, limits)| limits);
            limits.is_empty()
                || Parameters::parse(limits).is_some_and(|limits| {
                    limits.hash == parameters.hash && limits.salt <= parameters.salt
                })
        }
        _ => false,
    };
    let (signed, signature) = (certificate.signed, certificate.signature);
    is_allowed && verification.verify_sig(key.key, signed, signature).is_ok()
}

fn verification(algorithm: &[u8]) -> Option<(Parameters<'_>, RsaParameters)> {
    let (_, identifier, parameters) = element(algorithm)?;
    let parameters = Parameters::parse(parameters).filter(|_| identifier == RSASSA_PSS)?;
    let verification = match parameters.hash {
        SHA256 => RSA_PSS_2048_8192_SHA256,
        SHA384 => RSA_PSS_2048_8192_SHA384,
        SHA512 => RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    let salt = RsaPssSaltLength::Custom(parameters.salt);
    (parameters.hash == parameters.mask_hash)
        .then(|| (parameters, verification.with_pss_salt_length(salt)))
}

/// The identifier of the algorithm in front.
fn identifier_in(der: &[u8]) -> Option<&[u8]> {
    let (algorithm, _) = content(SEQUENCE, der)?;
    element(algorithm).map(|(_, identifier, _)| identifier)
}

fn small_number(der: &[u8]) -> Option<u16> {
    match element(der)? {
        (0x02, [byte @ 0..=0x7f], _) => Some(u16::from(*byte)),
        (0x02, &[high @ 0..=0x7f, low], _) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenSSL writes it for a key of 2,048 bits.
    const LONGEST_SALT: &[u8] = b"\x30\x35\
        \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
        \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
        \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
        \xa2\x04\x02\x02\x00\xde";

    #[test]
    fn what_is_left_out_has_its_default() {
        let longest = Parameters {
            hash: SHA256,
            mask_hash: SHA256,
            salt: 222,
        };
        assert_eq!(Parameters::parse(LONGEST_SALT), Some(longest));
        let defaults = Parameters {
            hash: SHA1,
            mask_hash: SHA1,
            salt: 20,
        };
        assert_eq!(Parameters::parse(b"\x30\x00"), Some(defaults));
        for end in 0..LONGEST_SALT.len() {
            assert_eq!(Parameters::parse(&LONGEST_SALT[..end]), None, "{end}");
        }
    }

    #[test]
    fn sha_1_and_two_hashes_at_once_are_not_known() {
        let algorithm = |parameters: &[u8]| [b"\x06\x09", RSASSA_PSS, parameters].concat();
        assert!(is_known(&algorithm(LONGEST_SALT)));
        assert!(!is_known(&algorithm(b"\x30\x00")));
        let mut other_mask = LONGEST_SALT.to_vec();
        let last = other_mask.iter().rposition(|byte| *byte == 0x05).unwrap() - 1;
        other_mask[last] = 0x02;
        assert!(!is_known(&algorithm(&other_mask)));
    }
}
