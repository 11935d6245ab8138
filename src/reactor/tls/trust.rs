//! Whom we trust over TLS: `sslmode` and the files of certificates.
//!
//! Reads files at each connect, so that renewed certificates are taken up; opens no socket.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

use super::{
    certificate::Certificate,
    chain,
    error::{TlsError, certificate_error},
    files::{certificates, file_error},
    identity::identity,
    name, provider, signature,
};
use crate::pg::config::{RootCertificates, SslMode, Tls};

/// Everything of `tls` in the form that rustls wants, for a server of this name or address.
pub(super) fn client_config(tls: &Tls, host: &str) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider());
    let versions: &[_] = match (tls.versions.tls12, tls.versions.tls13) {
        (true, false) => &[&TLS12],
        (false, true) => &[&TLS13],
        (_, _) => &[&TLS13, &TLS12],
    };
    let verifier = Verifier {
        roots: roots(tls)?,
        host: (tls.mode == SslMode::VerifyFull).then(|| host.to_owned()),
        provider: Arc::clone(&provider),
    };
    let identity = identity(tls, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
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
    /// Whom the certificate has to be for; whoever it is for without.
    host: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        // A certificate signed by itself is an authority, which webpki takes for no server's.
        if roots.certificates.contains(end_entity) {
            chain::check_validity(&parsed, now)?;
        } else if chain::is_special(&parsed) {
            chain::verify(&parsed, intermediates, &roots.certificates, now, algorithms)?;
        } else {
            let webpki = ParsedCertificate::try_from(end_entity)?;
            let (store, own) = (&roots.store, &roots.certificates);
            let built = verify_server_cert_signed_by_trust_anchor(
                &webpki,
                store,
                intermediates,
                now,
                algorithms,
            );
            match built {
                Err(error) if is_of_signature(&error) && !own.is_empty() => {
                    chain::verify(&parsed, intermediates, own, now, algorithms)?;
                }
                built => built?,
            }
        }
        if let Some(host) = &self.host {
            // The limits that an authority has reach no common name, and one of the system's has
            // no use for it.
            let common_name_counts = !roots.certificates.is_empty()
                && !chain::limits_names(&roots.certificates)
                && !chain::limits_names(intermediates);
            name::check(&parsed, host, common_name_counts)
                .map_err(|other| Error::InvalidCertificate(certificate_error(other)))?;
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
        signature::verify_tls12(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        signature::verify_tls13(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature::schemes(&self.provider.signature_verification_algorithms)
    }
}

/// Whether another way of verifying may do, or say what is wrong.
fn is_of_signature(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::BadSignature
                | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        )
    )
}

/// PostgreSQL's name in ALPN (PostgreSQL, "SSL Session Encryption").
pub(super) const ALPN: &[u8] = b"postgresql";
