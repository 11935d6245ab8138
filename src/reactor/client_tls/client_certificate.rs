//! Whose a client's certificate is.
//!
//! Reads a certificate that was verified; judges nothing.

use std::{fmt::Write as _, time::Duration};

use super::super::tls::{Certificate, alternative_names, content, element};

/// What the hub learns of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reactor) struct ClientCertificate {
    /// The first URI or DNS name in subjectAltName, else the whole subject.
    pub(in crate::reactor) identity: String,
    /// Its end, as the time since 1970.
    pub(in crate::reactor) ends_at: Duration,
}

impl ClientCertificate {
    /// `None` if it cannot be read.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::parse(der)?;
        let mut names = alternative_names(&certificate);
        let named = names.find(|(tag, name)| [DNS_NAME, URI].contains(tag) && !name.is_empty());
        let identity = match named {
            Some((_, name)) => String::from_utf8_lossy(name).into_owned(),
            None => subject(certificate.subject()),
        };
        Some(Self {
            identity,
            ends_at: Duration::from_secs(certificate.ends_at()?),
        })
    }
}

/// `O=Example,CN=ann`: in the order of the certificate, and so that no two are alike (RFC 4514).
fn subject(mut rest: &[u8]) -> String {
    let mut text = String::new();
    while let Some((_, mut set, behind)) = element(rest) {
        rest = behind;
        let mut separator = ",";
        while let Some((attribute, behind)) = content(SEQUENCE, set) {
            set = behind;
            let Some((identifier, value)) = content(OBJECT_IDENTIFIER, attribute) else {
                continue;
            };
            let value = element(value).map_or(&[][..], |(_, value, _)| value);
            if !text.is_empty() {
                text.push_str(separator);
            }
            // What belongs to one name is held together.
            separator = "+";
            let known = NAMES.iter().find(|(it, _)| *it == identifier);
            match known {
                Some((_, name)) => text.push_str(name),
                None => identifier.iter().for_each(|byte| {
                    let _infallible = write!(text, "{byte:02x}");
                }),
            }
            text.push('=');
            for letter in String::from_utf8_lossy(value).chars() {
                if ",+\"\\<>;=".contains(letter) || letter.is_control() {
                    text.push('\\');
                }
                text.push(letter);
            }
        }
    }
    text
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// RFC 4514, 3, and the address of mail that OpenSSL writes.
const NAMES: [(&[u8], &str); 9] = [
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn it_is_the_first_uri_or_dns_name_and_else_the_whole_subject() {
        let uri = || SanType::URI("spiffe://example/ann".try_into().unwrap());
        let dns = || SanType::DnsName("ann.example".try_into().unwrap());
        let mail = || SanType::Rfc822Name("ann@example".try_into().unwrap());
        let key = KeyPair::generate().unwrap();
        for (names, expected) in [
            (vec![uri(), dns()], "spiffe://example/ann"),
            (vec![mail(), dns(), uri()], "ann.example"),
            (vec![mail()], "O=Example\\, Inc,CN=ann"),
            (vec![], "O=Example\\, Inc,CN=ann"),
        ] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = names;
            params.distinguished_name = rcgen::DistinguishedName::new();
            let subject = &mut params.distinguished_name;
            subject.push(DnType::OrganizationName, "Example, Inc");
            subject.push(DnType::CommonName, "ann");
            params.not_after = rcgen::date_time_ymd(2_030, 1, 1);
            let der = params.self_signed(&key).unwrap();
            let read = ClientCertificate::read(der.der()).unwrap();
            assert_eq!(read.identity, expected);
            assert_eq!(read.ends_at, Duration::from_secs(1_893_456_000));
        }
        assert_eq!(ClientCertificate::read(b"\x30\x03\x02\x01\x01"), None);
    }
}
