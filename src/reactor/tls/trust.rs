//! Whom we trust over TLS, and who we say we are: `sslmode` and the files of certificates.
//!
//! Reads files at each connect, so that renewed certificates are taken up; opens no socket.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};

use super::TlsError;
use crate::pg::config::{RootCertificates, SslMode, Tls};

/// Everything of `tls` in the form that rustls wants.
pub(super) fn client_config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match (tls.versions.tls12, tls.versions.tls13) {
        (true, false) => &[&TLS12],
        (false, true) => &[&TLS13],
        (_, _) => &[&TLS13, &TLS12],
    };
    let verifier = Verifier {
        roots: roots(tls)?,
        checks_name: tls.mode == SslMode::VerifyFull,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity(tls)? {
        Some((certificates, key)) => builder.with_client_auth_cert(certificates, key)?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = tls.server_name_indication;
    if tls.direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(config)
}

/// Who may vouch for the server; `None` if anybody is taken. As for libpq a file that is there
/// counts under every `sslmode`.
fn roots(tls: &Tls) -> Result<Option<Roots>, TlsError> {
    let mut roots = Roots {
        store: RootCertStore::empty(),
        certificates: Vec::new(),
    };
    match &tls.roots {
        RootCertificates::None if tls.mode >= SslMode::VerifyCa => Err(TlsError::File {
            parameter: "sslrootcert",
            path: "is not set".to_owned(),
            cause: format!("sslmode={} needs one, or \"system\"", tls.mode.as_str()),
        }),
        RootCertificates::None => Ok(None),
        RootCertificates::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.store.add_parsable_certificates(found.certs);
            if roots.store.is_empty() {
                return Err(TlsError::File {
                    parameter: "sslrootcert",
                    path: "system".to_owned(),
                    cause: "the system trusts no certificate (install ca-certificates)".to_owned(),
                });
            }
            Ok(Some(roots))
        }
        RootCertificates::File(path) => {
            let failed = |cause| file_error("sslrootcert", path, cause);
            if !path.exists() {
                if tls.mode < SslMode::VerifyCa {
                    return Ok(None);
                }
                let cause = "there is no such file (name another, or \"system\")";
                return Err(failed(cause.to_owned()));
            }
            roots.certificates = certificates(path).map_err(failed)?;
            for certificate in &roots.certificates {
                // What cannot vouch for others may still be the server's own.
                let _is_root = roots.store.add(certificate.clone());
            }
            Ok(Some(roots))
        }
    }
}

/// Our certificate and its key, if there is a certificate.
fn identity(
    tls: &Tls,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
    let Some(path) = tls.certificate.as_ref().filter(|path| path.exists()) else {
        return Ok(None);
    };
    let chain = certificates(path).map_err(|cause| file_error("sslcert", path, cause))?;
    let Some(path) = &tls.key else {
        return Ok(None);
    };
    let failed = |cause| file_error("sslkey", path, cause);
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    // libpq's rule: root may let a group read what it owns, nobody else may.
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        return Err(failed("others may read it (chmod 0600)".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| failed(words(error)))?;
    Ok(Some((chain, key)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).map_err(words)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(words)?;
    if found.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    Ok(found)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls's enum; only some of it has better words"
)]
fn words(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "we may not read it".to_owned()
        }
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => {
            "nothing usable in it (PEM is wanted, a key without a passphrase)".to_owned()
        }
        other => other.to_string(),
    }
}

fn file_error(parameter: &'static str, path: &Path, cause: String) -> TlsError {
    TlsError::File {
        parameter,
        path: path.display().to_string(),
        cause,
    }
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// Those of a file, any of which may be the server's own.
    certificates: Vec<CertificateDer<'static>>,
}

/// Checks as much of the server's certificate as `sslmode` asks for, and always that the server
/// has its key.
#[derive(Debug)]
struct Verifier {
    roots: Option<Roots>,
    checks_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // A certificate signed by itself is an authority, which webpki takes for no server's.
        if roots.certificates.contains(end_entity) {
            super::binding::check_validity(end_entity, now.as_secs())
                .map_err(|expired| Error::InvalidCertificate(expired_error(expired)))?;
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &roots.store,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.checks_name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn expired_error(validity: super::binding::Validity) -> CertificateError {
    match validity {
        super::binding::Validity::Over => CertificateError::Expired,
        super::binding::Validity::NotYet => CertificateError::NotValidYet,
        super::binding::Validity::Unreadable => CertificateError::BadEncoding,
    }
}

/// PostgreSQL's name in ALPN (PostgreSQL, "SSL Session Encryption").
pub(super) const ALPN: &[u8] = b"postgresql";
