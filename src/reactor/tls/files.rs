//! Files of certificates, and the words for what is wrong with a file.
//!
//! Knows nothing of what a file is for.

use std::{io, path::Path};

use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

use super::error::TlsError;

/// All certificates of the file, of which there is one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
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
pub(in crate::reactor) fn words(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "we may not read it".to_owned()
        }
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => {
            "nothing usable in it (PEM is wanted, a key without a passphrase)".to_owned()
        }
        // Their own words show bytes as numbers.
        pem::Error::MissingSectionEnd { end_marker } => {
            let kind = String::from_utf8_lossy(&end_marker);
            format!("it is cut off: its line -----END {kind}----- is missing")
        }
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(&line);
            format!("a line of it is spoilt: {:?}", line.trim_end())
        }
        pem::Error::Base64Decode(_) => "what is between its BEGIN and END is spoilt".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn file_error(parameter: &'static str, path: &Path, cause: String) -> TlsError {
    TlsError::File {
        parameter,
        path: path.display().to_string(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_words() {
        for (pem, expected) in [
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "it is cut off: its line -----END CERTIFICATE----- is missing",
            ),
            (
                "-----BEGIN CERT",
                "a line of it is spoilt: \"-----BEGIN CERT\"",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
                "what is between its BEGIN and END is spoilt",
            ),
        ] {
            let read = CertificateDer::from_pem_slice(pem.as_bytes());
            assert_eq!(words(read.unwrap_err()), expected);
        }
    }
}
