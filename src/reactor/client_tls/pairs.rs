//! Certificates with their keys, and which of them a client gets.
//!
//! Reads their files. Whether a certificate convinces anybody is for the client to say; here it only
//! has to go with its key, and to be in force.

use std::{path::Path, sync::Arc};

use rustls::{
    client::verify_server_name,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::super::tls::{Certificate, Validity, words};
use crate::{config::TlsConfigError, regular_file};

/// All pairs of certificate and key, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Pairs(Vec<Arc<CertifiedKey>>);

impl Pairs {
    /// Reads one pair after the other. `now` is the time in seconds since 1970.
    pub(super) fn read<'a>(
        files: impl Iterator<Item = (&'a Path, &'a Path)>,
        provider: &CryptoProvider,
        now: u64,
    ) -> Result<Self, TlsConfigError> {
        let pairs = files.map(|(certificate, key)| read(certificate, key, provider, now));
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// When the first certificate ends, in seconds since 1970.
    pub(super) fn ends_at(&self) -> Option<u64> {
        let ends = self.0.iter().filter_map(|pair| {
            let leaf = pair.cert.first()?;
            Certificate::parse(leaf)?.ends_at()
        });
        ends.min()
    }
}

impl ResolvesServerCert for Pairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let fits = |pair: &&Arc<CertifiedKey>| {
            let scheme = pair.key.choose_scheme(hello.signature_schemes());
            scheme.is_some()
        };
        let named = || {
            let name = name.as_ref();
            self.0
                .iter()
                .filter(move |pair| name.is_some_and(|name| is_for(pair, name)))
        };
        named()
            .find(fits)
            .or_else(|| named().next())
            .or_else(|| self.0.iter().find(fits))
            .or_else(|| self.0.first())
            .cloned()
    }
}

fn is_for(pair: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let leaf = pair.cert.first();
    let parsed = leaf.and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    parsed.is_some_and(|leaf| verify_server_name(&leaf, name).is_ok())
}

fn read(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
    now: u64,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let chain = certificates("--tls-cert", certificate)?;
    let failed = |cause: &str| file_error("--tls-cert", certificate, cause);
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf));
    let leaf = leaf.ok_or_else(|| failed("no certificate that can be read"))?;
    match leaf.check_validity(now) {
        Ok(()) => {}
        Err(Validity::Over) => return Err(failed("the certificate has expired")),
        Err(Validity::NotYet) => {
            return Err(failed(
                "the certificate is not valid yet (if it should be, see to the clock of this machine)",
            ));
        }
        Err(Validity::Unreadable) => return Err(failed("its dates cannot be read")),
    }
    let failed = |cause: &str| file_error("--tls-key", key, cause);
    let (bytes, _) =
        regular_file::read(key, BYTES_MAX).map_err(|error| failed(&error.to_string()))?;
    let der = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| failed(&words(error)))?;
    let signing = provider.key_provider.load_private_key(der);
    let signing = signing.map_err(|_| failed(UNUSABLE_KEY))?;
    let pair = CertifiedKey::new(chain, signing);
    pair.keys_match().map_err(|_| {
        failed(&format!(
            "not the key of the certificate in {}",
            certificate.display()
        ))
    })?;
    Ok(Arc::new(pair))
}

/// All certificates of a file, of which there is one at least.
pub(super) fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let failed = |cause: &str| file_error(option, path, cause);
    let (bytes, _) =
        regular_file::read(path, BYTES_MAX).map_err(|error| failed(&error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| failed(&words(error)))?;
    if found.is_empty() {
        return Err(failed("no certificate in it (PEM is wanted)"));
    }
    Ok(found)
}

fn file_error(option: &'static str, path: &Path, cause: &str) -> TlsConfigError {
    TlsConfigError::File {
        option,
        path: path.to_owned(),
        cause: cause.to_owned(),
    }
}

const UNUSABLE_KEY: &str = "not a key that is supported (RSA of 2,048 to 8,192 bits, ECDSA on P-256, \
                            P-384 or P-521, Ed25519; PEM, without a passphrase)";
/// More than any chain has.
pub(super) const BYTES_MAX: u64 = 1024 * 1024;
