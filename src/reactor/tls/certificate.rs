//! The fields of a certificate, whatever its version.
//!
//! A walk over its DER (RFC 5280, 4.1), since the path builder reads no certificate of version 1,
//! and PostgreSQL's documentation makes such. Judges nothing but the dates.

/// What a certificate says, borrowed from its DER.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::reactor) struct Certificate<'a> {
    /// What is signed: everything but the signature.
    pub(super) signed: &'a [u8],
    pub(super) signature_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// Counted as people do: 1 or 3.
    pub(super) version: u8,
    /// A name in DER, as `subject` is.
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) public_key: PublicKey<'a>,
    not_before: (u8, &'a [u8]),
    not_after: (u8, &'a [u8]),
    /// A list of them, where there is one.
    extensions: Option<&'a [u8]>,
}

/// A key, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// An AlgorithmIdentifier, without tag and length.
    pub(super) algorithm: &'a [u8],
    pub(super) key: &'a [u8],
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) identifier: &'a [u8],
    pub(super) is_critical: bool,
    pub(super) value: &'a [u8],
}

/// Why a certificate is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Validity {
    Over,
    NotYet,
    Unreadable,
}

impl<'a> Certificate<'a> {
    /// `None` if it cannot be read.
    pub(in crate::reactor) fn parse(der: &'a [u8]) -> Option<Self> {
        let outer = content(SEQUENCE, der)?.0;
        let (fields, rest) = content(SEQUENCE, outer)?;
        let signed = &outer[..outer.len() - rest.len()];
        let (signature_algorithm, rest) = content(SEQUENCE, rest)?;
        let (signature, _) = content(BIT_STRING, rest)?;
        let (version, rest) = match content(VERSION, fields) {
            Some((version, rest)) => (version_of(version)?, rest),
            None => (1, fields),
        };
        let (_serial, rest) = content(INTEGER, rest)?;
        let (signature_algorithm_inside, rest) = content(SEQUENCE, rest)?;
        let (issuer, rest) = content(SEQUENCE, rest)?;
        let (validity, rest) = content(SEQUENCE, rest)?;
        let (subject, rest) = content(SEQUENCE, rest)?;
        let (public_key, mut rest) = content(SEQUENCE, rest)?;
        let (tag, not_before, behind) = element(validity)?;
        let not_before = (tag, not_before);
        let (tag, not_after, _) = element(behind)?;
        let mut extensions = None;
        while let Some((tag, inner, behind)) = element(rest) {
            if tag == EXTENSIONS {
                extensions = Some(content(SEQUENCE, inner)?.0);
            }
            rest = behind;
        }
        (signature_algorithm == signature_algorithm_inside).then_some(Self {
            signed,
            signature_algorithm,
            signature: bits(signature)?,
            version,
            issuer,
            subject,
            public_key: PublicKey::parse(public_key)?,
            not_before,
            not_after: (tag, not_after),
            extensions,
        })
    }

    /// Each extension, up to one that cannot be read.
    pub(super) fn extensions(&self) -> impl Iterator<Item = Extension<'a>> {
        let mut rest = self.extensions.unwrap_or_default();
        std::iter::from_fn(move || {
            let (fields, behind) = content(SEQUENCE, rest)?;
            rest = behind;
            let (identifier, fields) = content(OBJECT_IDENTIFIER, fields)?;
            let (is_critical, fields) = match content(BOOLEAN, fields) {
                Some((value, fields)) => (value != [0], fields),
                None => (false, fields),
            };
            let (value, _) = content(OCTET_STRING, fields)?;
            Some(Extension {
                identifier,
                is_critical,
                value,
            })
        })
    }

    pub(super) fn extension(&self, identifier: &[u8]) -> Option<Extension<'a>> {
        self.extensions().find(|it| it.identifier == identifier)
    }

    /// The first common name of the subject (X.520), whatever kind of string it is.
    pub(super) fn common_name(&self) -> Option<&'a [u8]> {
        let mut rest = self.subject;
        while let Some((mut set, behind)) = content(SET, rest) {
            rest = behind;
            while let Some((attribute, behind)) = content(SEQUENCE, set) {
                set = behind;
                let (identifier, value) = content(OBJECT_IDENTIFIER, attribute)?;
                if identifier == COMMON_NAME {
                    return element(value).map(|(_, name, _)| name);
                }
            }
        }
        None
    }

    /// What stands inside its subject.
    pub(in crate::reactor) fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// When it ends, in seconds since 1970.
    pub(in crate::reactor) fn ends_at(&self) -> Option<u64> {
        let (tag, text) = self.not_after;
        seconds(tag, text)
    }

    /// Whether it is good at `now`, in seconds since 1970.
    pub(in crate::reactor) fn check_validity(&self, now: u64) -> Result<(), Validity> {
        let at = |(tag, text)| seconds(tag, text).ok_or(Validity::Unreadable);
        if now < at(self.not_before)? {
            Err(Validity::NotYet)
        } else if now > at(self.not_after)? {
            Err(Validity::Over)
        } else {
            Ok(())
        }
    }
}

impl<'a> PublicKey<'a> {
    /// Out of what stands inside a SubjectPublicKeyInfo.
    fn parse(fields: &'a [u8]) -> Option<Self> {
        let (algorithm, rest) = content(SEQUENCE, fields)?;
        let key = bits(content(BIT_STRING, rest)?.0)?;
        Some(Self { algorithm, key })
    }

    /// Out of a SubjectPublicKeyInfo.
    pub(super) fn from_info(der: &'a [u8]) -> Option<Self> {
        Self::parse(content(SEQUENCE, der)?.0)
    }

    /// What the algorithm is called, without its parameters.
    pub(super) fn identifier(&self) -> &'a [u8] {
        content(OBJECT_IDENTIFIER, self.algorithm).map_or(&[], |(identifier, _)| identifier)
    }

    /// Whether this AlgorithmIdentifier is that of RSA without restrictions.
    pub(super) fn is_rsa(algorithm: &[u8]) -> bool {
        content(OBJECT_IDENTIFIER, algorithm).is_some_and(|(it, _)| it == RSA_ENCRYPTION)
    }

    /// How long the modulus is, if this is a key of RSA.
    pub(super) fn rsa_bits(&self) -> Option<usize> {
        if ![RSA_ENCRYPTION, RSASSA_PSS].contains(&self.identifier()) {
            return None;
        }
        let (modulus, _) = content(INTEGER, content(SEQUENCE, self.key)?.0)?;
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let first = modulus.get(zeros)?;
        Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
    }
}

fn version_of(explicit: &[u8]) -> Option<u8> {
    match content(INTEGER, explicit)?.0 {
        [version @ 0..=2] => Some(version + 1),
        _ => None,
    }
}

/// The bytes of a bit string of whole bytes.
fn bits(string: &[u8]) -> Option<&[u8]> {
    match string {
        [0, bytes @ ..] => Some(bytes),
        _ => None,
    }
}

/// What is in the element in front, if it has this tag, and what follows it.
pub(in crate::reactor) fn content(expected: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).and_then(|(tag, content, rest)| (tag == expected).then_some((content, rest)))
}

/// The element in front: tag, content, and what follows it.
pub(in crate::reactor) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
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

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

const COMMON_NAME: &[u8] = b"\x55\x04\x03";
pub(super) const RSA_ENCRYPTION: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
pub(super) const RSASSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

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

    fn certificate() -> Vec<u8> {
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    proptest! {
        /// Whoever answers on the port may have made it, and it is read before anybody is trusted.
        #[test]
        fn bytes_of_any_kind_are_read_to_an_end(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            tail in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(certificate);
            let mut bytes = WHOLE.clone();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            for der in [&bytes, &tail] {
                let Some(parsed) = Certificate::parse(der) else { continue };
                let seen = parsed.extensions().count();
                prop_assert!(seen <= der.len());
                let _known = (
                    parsed.common_name(),
                    parsed.check_validity(1_700_000_000),
                    parsed.public_key.rsa_bits(),
                    super::super::name::check(&parsed, "localhost", true),
                    super::super::chain::is_special(&parsed),
                    super::super::binding::end_point(der),
                );
            }
        }
    }

    #[test]
    fn a_certificate_cut_off_anywhere_is_none() {
        let whole = certificate();
        let parsed = Certificate::parse(&whole).unwrap();
        assert_eq!(parsed.version, 3);
        assert_eq!(parsed.subject, parsed.issuer);
        assert_eq!(parsed.common_name(), Some(&b"rcgen self signed cert"[..]));
        assert_eq!(parsed.extensions().count(), 1);
        assert_eq!(parsed.check_validity(1_700_000_000), Ok(()));
        assert_eq!(parsed.check_validity(0), Err(Validity::NotYet));
        assert_eq!(parsed.check_validity(u64::MAX), Err(Validity::Over));
        for end in 0..whole.len() {
            assert_eq!(Certificate::parse(&whole[..end]), None, "{end}");
        }
        // A length of nine bytes.
        let endless = b"\x30\x89\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(Certificate::parse(endless), None);
    }
}
