//! Who vouches for a server's certificate that the path builder does not take: one of version 1, an
//! authority's own, one signed with RSASSA-PSS in another way.
//!
//! OpenSSL takes all three, and the commands of PostgreSQL's documentation make the first. The rules
//! are those of RFC 5280, 6.1, for as much as such a chain may have; what is beyond is refused.

use rustls::{
    CertificateError, Error,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime},
};

use super::{
    certificate::{Certificate, PublicKey, SEQUENCE, Validity, content, element},
    error::certificate_error,
    pss,
    signature::{RSA_BITS, rsa_bits_words},
};

/// Whether the path builder refuses it as a server's, whoever vouches for it.
pub(super) fn is_special(certificate: &Certificate<'_>) -> bool {
    certificate.version == 1 || path_length(certificate).is_some()
}

/// Whether a chain of `intermediates` leads from `leaf` to one of `roots`.
pub(super) fn verify(
    leaf: &Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Error> {
    check_leaf(leaf)?;
    check_validity(leaf, now)?;
    let (intermediates, roots) = (parsed(intermediates), parsed(roots));
    let mut last = leaf;
    for below in 0..=INTERMEDIATES_MAX {
        let issued = |issuer: &&Certificate<'_>| {
            issuer.subject == last.issuer && is_signed_by(last, issuer.public_key, algorithms)
        };
        let is_root = |root: &&Certificate<'_>| root.version == 1 || is_authority(root, below);
        if let Some(root) = roots.iter().filter(is_root).find(issued) {
            return check_validity(root, now);
        }
        // One that signed itself leads nowhere else.
        let is_between = |issuer: &&Certificate<'_>| {
            issuer.subject != issuer.issuer && is_authority(issuer, below)
        };
        let Some(issuer) = intermediates.iter().filter(is_between).find(issued) else {
            let issuers = intermediates.iter().chain(&roots);
            return Err(unvouched(last, issuers, algorithms));
        };
        check_validity(issuer, now)?;
        last = issuer;
    }
    Err(certificate_error("is at the end of too long a chain").into())
}

fn parsed<'a>(certificates: &'a [CertificateDer<'_>]) -> Vec<Certificate<'a>> {
    certificates
        .iter()
        .filter_map(|der| Certificate::parse(der))
        .collect()
}

pub(super) fn check_validity(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    certificate
        .check_validity(now.as_secs())
        .map_err(|validity| {
            Error::InvalidCertificate(match validity {
                Validity::Over => CertificateError::Expired,
                Validity::NotYet => CertificateError::NotValidYet,
                Validity::Unreadable => CertificateError::BadEncoding,
            })
        })
}

/// Whether any of them, or one that cannot be read, limits the names of those it vouches for.
pub(super) fn limits_names(certificates: &[CertificateDer<'_>]) -> bool {
    certificates.iter().any(|der| {
        Certificate::parse(der).is_none_or(|it| it.extension(NAME_CONSTRAINTS).is_some())
    })
}

/// It may be a server's.
fn check_leaf(leaf: &Certificate<'_>) -> Result<(), Error> {
    // One of digitalSignature, keyEncipherment, keyAgreement, as OpenSSL wants it.
    if !has_usage(leaf, 0b1010_1000) {
        return Err(certificate_error("is not for servers (its key usage says so)").into());
    }
    if !is_for_servers(leaf) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    if has_unknown_demand(leaf) {
        return Err(CertificateError::UnhandledCriticalExtension.into());
    }
    Ok(())
}

/// Whether it may vouch for others, with `below` of its kind between it and the last one.
fn is_authority(certificate: &Certificate<'_>, below: usize) -> bool {
    path_length(certificate).is_some_and(|length| below <= length)
        && has_usage(certificate, 0b0000_0100)
        && is_for_servers(certificate)
        && !has_unknown_demand(certificate)
        && certificate.extension(NAME_CONSTRAINTS).is_none()
}

/// How many authorities may be below it; `None` if it is no authority.
fn path_length(certificate: &Certificate<'_>) -> Option<usize> {
    let constraints = certificate.extension(BASIC_CONSTRAINTS)?;
    let (fields, _) = content(SEQUENCE, constraints.value)?;
    match fields {
        [0x01, 0x01, 0xff] => Some(usize::MAX),
        [0x01, 0x01, 0xff, 0x02, 0x01, length @ 0..=0x7f] => Some(usize::from(*length)),
        _ => None,
    }
}

/// Whether its key may be used for one of these (RFC 5280, 4.2.1.3), the first being the highest.
fn has_usage(certificate: &Certificate<'_>, wanted: u8) -> bool {
    let Some(usage) = certificate.extension(KEY_USAGE) else {
        return true;
    };
    matches!(usage.value, [0x03, _, _, bits, ..] if bits & wanted != 0)
}

fn is_for_servers(certificate: &Certificate<'_>) -> bool {
    let Some(usage) = certificate.extension(EXTENDED_KEY_USAGE) else {
        return true;
    };
    let purposes = content(SEQUENCE, usage.value);
    let mut rest = purposes.map_or(&[][..], |(purposes, _)| purposes);
    while let Some((_, purpose, behind)) = element(rest) {
        if purpose == SERVER_AUTH {
            return true;
        }
        rest = behind;
    }
    false
}

fn has_unknown_demand(certificate: &Certificate<'_>) -> bool {
    let mut extensions = certificate.extensions();
    extensions.any(|it| it.is_critical && !UNDERSTOOD.contains(&it.identifier))
}

fn is_signed_by(
    certificate: &Certificate<'_>,
    key: PublicKey<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let mut algorithms = algorithms.iter().filter(|algorithm| {
        algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
            && algorithm.public_key_alg_id().as_ref() == key.algorithm
    });
    pss::is_signed_by(certificate, key)
        || algorithms.any(|algorithm| {
            let (signed, signature) = (certificate.signed, certificate.signature);
            algorithm
                .verify_signature(key.key, signed, signature)
                .is_ok()
        })
}

/// Why nobody vouches for `certificate`, though one of `issuers` may have signed it.
fn unvouched<'a>(
    certificate: &Certificate<'_>,
    issuers: impl Iterator<Item = &'a Certificate<'a>>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Error {
    let signature = certificate.signature_algorithm;
    let is_known = pss::is_known(signature)
        || algorithms
            .iter()
            .any(|it| it.signature_alg_id().as_ref() == signature);
    let mut issuers = issuers.filter(|issuer| issuer.subject == certificate.issuer);
    Error::InvalidCertificate(match issuers.next().map(|issuer| issuer.public_key) {
        Some(_) if !is_known => CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: signature.to_vec(),
            supported_algorithms: Vec::new(),
        },
        Some(key) if key.rsa_bits().is_some_and(|it| !RSA_BITS.contains(&it)) => {
            let bits = key.rsa_bits().unwrap_or_default();
            certificate_error(format!("is signed by {}", rsa_bits_words(bits)))
        }
        Some(key) if !is_known_key(key, algorithms) => {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: signature.to_vec(),
                public_key_algorithm_id: key.algorithm.to_vec(),
            }
        }
        Some(_) | None => CertificateError::UnknownIssuer,
    })
}

fn is_known_key(key: PublicKey<'_>, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
    let mut algorithms = algorithms.iter();
    key.rsa_bits().is_some()
        || algorithms.any(|it| it.public_key_alg_id().as_ref() == key.algorithm)
}

/// As many as the path builder takes.
const INTERMEDIATES_MAX: usize = 6;
const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
const NAME_CONSTRAINTS: &[u8] = b"\x55\x1d\x1e";
const SERVER_AUTH: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x01";
/// Those above but the limits to names, and subjectAltName.
const UNDERSTOOD: [&[u8]; 4] = [
    BASIC_CONSTRAINTS,
    KEY_USAGE,
    EXTENDED_KEY_USAGE,
    b"\x55\x1d\x11",
];

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
        GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    };
    use rustls::crypto::aws_lc_rs;

    use super::*;

    /// What one certificate of a chain is made like.
    type Change = fn(&mut CertificateParams);

    const AS_IT_IS: Change = |_| {};

    /// What comes of a chain from its root down to an authority that is somebody's server.
    fn verified(changes: &[Change]) -> Result<(), Error> {
        let mut ders = Vec::new();
        let mut issuer: Option<Issuer<'static, KeyPair>> = None;
        for (place, change) in changes.iter().enumerate() {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let name = format!("number {place}");
            params.distinguished_name.push(DnType::CommonName, name);
            change(&mut params);
            let key = KeyPair::generate().unwrap();
            let certificate = match &issuer {
                Some(issuer) => params.signed_by(&key, issuer),
                None => params.self_signed(&key),
            };
            ders.push(certificate.unwrap().der().clone());
            issuer = Some(Issuer::new(params, key));
        }
        let (leaf, above) = ders.split_last().unwrap();
        let (root, between) = above.split_first().unwrap();
        verify_der(leaf, between, root)
    }

    fn verify_der(
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        root: &CertificateDer<'_>,
    ) -> Result<(), Error> {
        let provider = aws_lc_rs::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_700_000_000));
        let leaf = Certificate::parse(leaf).unwrap();
        assert!(is_special(&leaf));
        verify(&leaf, between, std::slice::from_ref(root), now, algorithms)
    }

    #[test]
    fn only_an_authority_vouches_and_only_for_what_it_may() {
        let is_no_authority: Change = |params| params.is_ca = IsCa::ExplicitNoCa;
        let has_none_below: Change = |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        };
        let signs_no_certificates: Change = |params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        };
        let limits_names: Change = |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("example".to_owned())],
                excluded_subtrees: Vec::new(),
            });
        };
        let is_for_clients: Change = |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        let demands: Change = |params| {
            let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        };
        let is_over: Change = |params| params.not_after = rcgen::date_time_ymd(2_020, 1, 1);
        let signs_certificates_alone: Change = |params| {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        };
        for (chain, is_good) in [
            (&[AS_IT_IS, AS_IT_IS][..], true),
            (&[AS_IT_IS, AS_IT_IS, AS_IT_IS], true),
            (&[AS_IT_IS; 8], true),
            (&[AS_IT_IS; 9], false),
            (&[has_none_below, AS_IT_IS], true),
            (&[has_none_below, AS_IT_IS, AS_IT_IS], false),
            (&[AS_IT_IS, has_none_below, AS_IT_IS], true),
            (&[AS_IT_IS, has_none_below, AS_IT_IS, AS_IT_IS], false),
            (&[is_no_authority, AS_IT_IS], false),
            (&[AS_IT_IS, is_no_authority, AS_IT_IS], false),
            (&[AS_IT_IS, signs_no_certificates, AS_IT_IS], false),
            (&[AS_IT_IS, limits_names, AS_IT_IS], false),
            (&[limits_names, AS_IT_IS], false),
            (&[AS_IT_IS, is_for_clients, AS_IT_IS], false),
            (&[AS_IT_IS, demands, AS_IT_IS], false),
            (&[AS_IT_IS, is_over, AS_IT_IS], false),
            (&[is_over, AS_IT_IS], false),
            (&[AS_IT_IS, is_over], false),
            (&[AS_IT_IS, is_for_clients], false),
            (&[AS_IT_IS, demands], false),
            (&[AS_IT_IS, signs_certificates_alone], false),
            (&[AS_IT_IS, signs_no_certificates], true),
        ] {
            let result = verified(chain);
            assert_eq!(result.is_ok(), is_good, "{} {result:?}", chain.len());
        }
    }

    #[test]
    fn a_namesake_of_an_authority_is_not_believed() {
        let authority = || {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap().der().clone();
            (der, Issuer::new(params, key))
        };
        let ((root, issuer), (namesake, other)) = (authority(), authority());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let leaf = |issuer| params.signed_by(&key, issuer).unwrap().der().clone();
        assert_eq!(verify_der(&leaf(&issuer), &[], &root), Ok(()));
        let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(verify_der(&leaf(&other), &[], &root), unknown);
        let between = [namesake, leaf(&issuer)];
        assert_eq!(verify_der(&leaf(&other), &between, &root), unknown);
    }
}
