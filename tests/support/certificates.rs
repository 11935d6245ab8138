//! Certificates made for one test: an authority, the certificates it signs, and the files for
//! PostgreSQL.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
};

/// An authority that signs certificates.
pub struct Authority {
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::signing_with(name, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub fn signing_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate with these names (DNS or IP), signed by this authority.
    pub fn sign(
        &self,
        common_name: &str,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> Identity {
        let (params, key) = params(common_name, names, algorithm);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let key = key.serialize_pem();
        Identity { certificate, key }
    }
}

/// A self-signed certificate.
pub fn self_signed(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Identity {
    let (params, key) = params("self", names, algorithm);
    let certificate = params.self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    Identity { certificate, key }
}

fn params(
    common_name: &str,
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    (params, KeyPair::generate_for(algorithm).unwrap())
}

/// Writes `text` to `path`, readable by its owner alone; the owner is that of the directory, the
/// user that runs the server.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::MetadataExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(path.parent().unwrap()).unwrap();
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}
