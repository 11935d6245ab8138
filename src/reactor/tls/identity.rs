//! Who we say we are: our certificate and its key.
//!
//! Whether the certificate will do is for the server to say: none is judged here, of whatever
//! version it is. Reads files, opens no socket.

use std::{fs, os::unix::fs::MetadataExt, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    certificate::{Certificate, PublicKey},
    error::TlsError,
    files::{certificates, file_error, words},
};
use crate::pg::config::Tls;

/// Our certificate and its key, if there is a certificate.
pub(super) fn identity(
    tls: &Tls,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some(path) = tls.certificate.as_ref().filter(|path| path.exists()) else {
        return Ok(None);
    };
    let chain = certificates(path).map_err(|cause| file_error("sslcert", path, cause))?;
    let own = chain
        .first()
        .and_then(|certificate| Certificate::parse(certificate));
    let Some(own) = own else {
        return Err(file_error(
            "sslcert",
            path,
            "no certificate that can be read".to_owned(),
        ));
    };
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
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| failed(UNUSABLE_KEY.to_owned()))?;
    let public = key.public_key();
    let public = public.as_ref().and_then(|info| PublicKey::from_info(info));
    if public.is_some_and(|public| public.key != own.public_key.key) {
        return Err(failed(
            "not the key of the client certificate (sslcert)".to_owned(),
        ));
    }
    Ok(Some(Arc::new(CertifiedKey::new(chain, key))))
}

const UNUSABLE_KEY: &str = "not a key that is supported (RSA of 2,048 to 8,192 bits and two primes, \
     not for RSASSA-PSS alone; ECDSA on P-256, P-384 or P-521; Ed25519)";
