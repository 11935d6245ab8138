//! Whether a certificate is for the host that was asked for, as libpq decides it.
//!
//! A host is an address or a name; names may be in subjectAltName or, where nothing of the host's
//! kind is there, be the common name (libpq's `fe-secure-common.c`). Judges nothing else.

use std::{fmt, net::IpAddr};

use super::certificate::{Certificate, SEQUENCE, content, element};

/// A certificate is for others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherNames {
    host: String,
    /// Whom it is for; empty if for nobody.
    names: Vec<String>,
    /// The common name, where it does not count.
    ignored: Option<String>,
}

/// Whether `certificate` is for `host`; the common name counts where the chain limits no names, for
/// such limits do not reach it.
pub(super) fn check(
    certificate: &Certificate<'_>,
    host: &str,
    common_name_counts: bool,
) -> Result<(), OtherNames> {
    let address = host.parse::<IpAddr>().ok();
    let mut names = Vec::new();
    let mut is_alone = true;
    for (tag, name) in alternative_names(certificate) {
        let name = match tag {
            DNS_NAME => {
                is_alone &= address.is_some();
                Name::Text(name)
            }
            IP_ADDRESS => {
                is_alone &= address.is_none();
                Name::Address(name)
            }
            _ => continue,
        };
        if name.is_for(host, address) {
            return Ok(());
        }
        names.push(name.to_string());
    }
    let common_name = certificate.common_name().map(Name::Text);
    let counts = is_alone && common_name_counts;
    match common_name {
        Some(name) if counts && name.is_for(host, address) => return Ok(()),
        Some(name) if counts => names.push(name.to_string()),
        Some(_) | None => {}
    }
    Err(OtherNames {
        host: host.to_owned(),
        names,
        ignored: common_name.filter(|_| !counts).map(|name| name.to_string()),
    })
}

/// Tag and content of each.
pub(in crate::reactor) fn alternative_names<'a>(
    certificate: &Certificate<'a>,
) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
    let extension = certificate.extension(SUBJECT_ALTERNATIVE_NAME);
    let names = extension.and_then(|extension| content(SEQUENCE, extension.value));
    let mut rest = names.map_or(&[][..], |(names, _)| names);
    std::iter::from_fn(move || {
        let (tag, name, behind) = element(rest)?;
        rest = behind;
        Some((tag, name))
    })
}

#[derive(Clone, Copy, Debug)]
enum Name<'a> {
    Text(&'a [u8]),
    Address(&'a [u8]),
}

impl Name<'_> {
    fn is_for(self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Name::Address(bytes), Some(IpAddr::V4(address))) => bytes == address.octets(),
            (Name::Address(bytes), Some(IpAddr::V6(address))) => bytes == address.octets(),
            (Name::Address(_), None) => false,
            // A name that spells an address is taken; one with a wildcard spells none.
            (Name::Text(name), _) if name.eq_ignore_ascii_case(host.as_bytes()) => true,
            (Name::Text(name), None) => is_wildcard_for(name, host.as_bytes()),
            (Name::Text(_), Some(_)) => false,
        }
    }
}

/// `*` stands for the whole first label and nothing else (RFC 6125, 6.4.3).
fn is_wildcard_for(pattern: &[u8], host: &[u8]) -> bool {
    let Some(domain) = pattern.strip_prefix(b"*").filter(|it| it.starts_with(b".")) else {
        return false;
    };
    let dot = host.iter().position(|byte| *byte == b'.');
    dot.is_some_and(|dot| dot > 0 && domain.len() > 1 && domain.eq_ignore_ascii_case(&host[dot..]))
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Whoever made the certificate wrote it; a log line stays one.
            Self::Text(name) => String::from_utf8_lossy(name).escape_debug().fmt(f),
            Self::Address(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                match v4.or(v6) {
                    Ok(address) => address.fmt(f),
                    Err(_) => f.write_str("an address that is none"),
                }
            }
        }
    }
}

impl fmt::Display for OtherNames {
    /// Completes the sentence "the server's certificate ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.names[..], &self.ignored) {
            ([], Some(ignored)) => write!(
                f,
                "names no host but in its common name, {ignored}, which does not count here (it \
                 needs a subjectAltName; sslmode=verify-ca does without)"
            ),
            ([], None) => f.write_str(
                "names no host (it needs a subjectAltName; sslmode=verify-ca does without)",
            ),
            (names, _) => write!(
                f,
                "is not for {} but for {} (connect to a host it names, or set sslmode=verify-ca)",
                self.host,
                names.join(", ")
            ),
        }
    }
}

impl std::error::Error for OtherNames {}

const SUBJECT_ALTERNATIVE_NAME: &[u8] = b"\x55\x1d\x11";
/// GeneralName (RFC 5280, 4.2.1.6).
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, string::Ia5String};

    use super::*;

    fn certificate(common_name: Option<&str>, names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for name in names {
            params
                .subject_alt_names
                .push(match name.strip_prefix("IP:") {
                    Some(address) => SanType::IpAddress(address.parse().unwrap()),
                    None => SanType::DnsName(Ia5String::try_from(*name).unwrap()),
                });
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn is_for(host: &str, common_name: Option<&str>, names: &[&str]) -> Result<(), String> {
        let der = certificate(common_name, names);
        let certificate = Certificate::parse(&der).unwrap();
        check(&certificate, host, true).map_err(|other| other.to_string())
    }

    #[test]
    fn a_host_is_named_as_libpq_has_it() {
        for (host, common_name, names, expected) in [
            ("a.example", None, &["b.example", "A.Example"][..], true),
            ("a.example", None, &["*.example"], true),
            ("b.a.example", None, &["*.example"], false),
            ("example", None, &["*.example"], false),
            (".example", None, &["*.example"], false),
            ("a.example", None, &["*"], false),
            ("a.", None, &["*."], false),
            ("ab.example", None, &["a*.example"], false),
            ("10.0.0.1", None, &["IP:10.0.0.1"], true),
            ("10.0.0.1", None, &["IP:10.0.0.2"], false),
            ("fe80::1", None, &["IP:fe80:0::1"], true),
            // An address that is spelled as a name.
            ("10.0.0.1", None, &["10.0.0.1"], true),
            ("10.0.0.1", None, &["*.0.0.1"], false),
            // The common name, where no other of its kind is there.
            ("a.example", Some("a.example"), &[], true),
            ("a.example", Some("*.example"), &[], true),
            ("a.example", Some("a.example"), &["IP:10.0.0.1"], true),
            ("a.example", Some("a.example"), &["b.example"], false),
            ("10.0.0.1", Some("10.0.0.1"), &["b.example"], true),
            ("10.0.0.1", Some("10.0.0.1"), &["IP:10.0.0.2"], false),
            ("a.example", Some("a.example\0.evil"), &[], false),
        ] {
            let result = is_for(host, common_name, names);
            assert_eq!(result.is_ok(), expected, "{host} {common_name:?} {names:?}");
        }
    }

    #[test]
    fn the_names_it_has_are_said() {
        let said =
            |host, common_name, names: &[&str]| is_for(host, common_name, names).unwrap_err();
        let text = said("10.0.0.1", Some("x"), &["IP:10.0.0.2", "b.example"]);
        assert!(
            text.starts_with("is not for 10.0.0.1 but for 10.0.0.2, b.example ("),
            "{text}"
        );
        assert!(said("a", Some("b\nc"), &[]).starts_with("is not for a but for b\\nc ("));
        assert!(said("a", None, &[]).starts_with("names no host ("));
    }

    #[test]
    fn a_common_name_that_does_not_count_is_said_to_be_ignored() {
        let der = certificate(Some("a.example"), &[]);
        let certificate = Certificate::parse(&der).unwrap();
        let text = check(&certificate, "a.example", false)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("its common name, a.example, which does not count"),
            "{text}"
        );
    }
}
