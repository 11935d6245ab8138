//! What is read out of a certificate itself: how it is signed, and for how long it is good.
//!
//! A walk over the few outermost fields of its DER (RFC 5280, 4.1); no certificate is judged here.

use ring::digest;

/// Data for `tls-server-end-point` (RFC 5929, 4.1): the certificate under the hash of its own
/// signature, SHA-256 where that is MD5 or SHA-1. `None` if the signature has no such hash.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, outer, _) = element(certificate)?;
    let (_, _, behind) = element(outer)?;
    let (_, algorithm, _) = element(behind)?;
    let (_, identifier, parameters) = element(algorithm)?;
    let identifier = if identifier == RSASSA_PSS {
        pss_hash(parameters)?
    } else {
        identifier
    };
    let (_, algorithm) = HASHES.iter().find(|(known, _)| *known == identifier)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// The hash in RSASSA-PSS-params (RFC 4055, 3.1); SHA-1 where it is left out.
fn pss_hash(parameters: &[u8]) -> Option<&[u8]> {
    let (_, fields, _) = element(parameters)?;
    match element(fields) {
        Some((0xa0, explicit, _)) => {
            let (_, algorithm, _) = element(explicit)?;
            element(algorithm).map(|(_, identifier, _)| identifier)
        }
        Some(_) | None => Some(SHA1),
    }
}

/// Why a certificate is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Over,
    NotYet,
    Unreadable,
}

/// Whether `certificate` is good at `now`, in seconds since 1970.
pub(super) fn check_validity(certificate: &[u8], now: u64) -> Result<(), Validity> {
    let (not_before, not_after) = validity(certificate).ok_or(Validity::Unreadable)?;
    if now < not_before {
        Err(Validity::NotYet)
    } else if now > not_after {
        Err(Validity::Over)
    } else {
        Ok(())
    }
}

fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, outer, _) = element(certificate)?;
    let (_, fields, _) = element(outer)?;
    let (tag, _, behind) = element(fields)?;
    // The version is left out where it is 1.
    let rest = if tag == 0xa0 {
        element(behind)?.2
    } else {
        behind
    };
    let (_, _, rest) = element(rest)?; // the signature's algorithm
    let (_, _, rest) = element(rest)?; // the issuer
    let (_, validity, _) = element(rest)?;
    let (tag, not_before, behind) = element(validity)?;
    let not_before = seconds(tag, not_before)?;
    let (tag, not_after, _) = element(behind)?;
    Some((not_before, seconds(tag, not_after)?))
}

/// UTCTime or GeneralizedTime, always "Z" (RFC 5280, 4.1.2.5); what is before 1970 counts as 1970.
fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (number(0)?, number(2)?);
    let (hour, minute, second) = (number(4)?, number(6)?, number(8)?);
    if year < 1970 {
        return Some(0);
    }
    // Days since 1 March of year 0, the leap day last (Howard Hinnant, `days_from_civil`).
    let year = if month <= 2 { year - 1 } else { year };
    let days = 365 * year + year / 4 - year / 100 + year / 400;
    let days = days + (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// The element in front: tag, content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        // Four bytes are more than any certificate has.
        let fits = (1..=4).contains(&length.len());
        let fold = |sum, byte: &u8| sum << 8 | usize::from(*byte);
        (fits.then(|| length.iter().fold(0, fold))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

const RSASSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";

/// Signature algorithms and, for RSASSA-PSS, hashes by themselves.
static HASHES: [(&[u8], &digest::Algorithm); 14] = [
    // RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &digest::SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &digest::SHA512),
    // ECDSA with SHA-1, SHA-256, SHA-384, SHA-512.
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &digest::SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &digest::SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &digest::SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &digest::SHA512),
    (SHA1, &digest::SHA256),
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

    fn signed_with(identifier: &[u8], parameters: &[u8]) -> Vec<u8> {
        let algorithm = [der(6, identifier), parameters.to_vec()].concat();
        der(
            0x30,
            &[der(0x30, b"body"), der(0x30, &algorithm), der(3, b"\0")].concat(),
        )
    }

    #[test]
    fn the_hash_is_that_of_the_signature_and_at_least_sha_256() {
        for (identifier, bytes) in [
            (&b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"[..], Some(32)),
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", Some(32)),
            (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", Some(48)),
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", Some(64)),
            // Ed25519.
            (b"\x2b\x65\x70", None),
        ] {
            let hash = end_point(&signed_with(identifier, b"\x05\x00"));
            assert_eq!(hash.map(|hash| hash.len()), bytes, "{identifier:x?}");
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
            let hash = end_point(&signed_with(RSASSA_PSS, &parameters));
            assert_eq!(hash.map(|hash| hash.len()), bytes);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_hash_at_any_length() {
        let whole = signed_with(RSASSA_PSS, &der(0x30, b""));
        for end in 0..whole.len() {
            assert_eq!(end_point(&whole[..end]), None, "{end}");
            assert_eq!(check_validity(&whole[..end], 0), Err(Validity::Unreadable));
        }
        assert_eq!(
            end_point(b"\x30\x89\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
    }

    #[test]
    fn times_are_seconds_since_1970() {
        for (tag, text, expected) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "240229235959Z", Some(1_709_251_199)),
            (0x18, "20500101000000Z", Some(2_524_608_000)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x17, "500101000000Z", Some(0)),
            (0x17, "2402292359Z", None),
            (0x17, "240229235959+0100", None),
            (0x02, "240229235959Z", None),
        ] {
            assert_eq!(seconds(tag, text.as_bytes()), expected, "{text}");
        }
    }
}
