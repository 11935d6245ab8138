//! The methods of TLS: those of rustls with aws-lc, and the key exchange on P-521, which servers
//! may insist on and rustls leaves out.
//!
//! Knows no certificate. What was weighed against aws-lc is in docs/postgresql.md.

use aws_lc_rs::{
    agreement::{self, ECDH_P521},
    rand::SystemRandom,
};
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{
        self, ActiveKeyExchange, CryptoProvider, GetRandomFailed, SharedSecret, SupportedKxGroup,
    },
};

/// What a client of PostgreSQL offers, and our clients are offered, its own preference first.
pub(in crate::reactor) fn provider() -> CryptoProvider {
    let mut provider = crypto::aws_lc_rs::default_provider();
    // The last resort: also a server key on this curve needs it under TLS 1.2 (RFC 8422, 5.1).
    provider.kx_groups.push(&P521);
    provider
}

/// Ephemeral Diffie-Hellman on P-521 (RFC 8446, 4.2.8.2).
#[derive(Debug)]
struct P521;

struct Exchange {
    private: agreement::EphemeralPrivateKey,
    public: agreement::PublicKey,
}

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let random = SystemRandom::new();
        let private = agreement::EphemeralPrivateKey::generate(&ECDH_P521, &random)
            .map_err(|_| GetRandomFailed)?;
        let public = private.compute_public_key().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(Exchange { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        // TLS knows the uncompressed form alone.
        if peer.first() != Some(&0x04) {
            return Err(invalid());
        }
        let peer = agreement::UnparsedPublicKey::new(&ECDH_P521, peer);
        let shared = |secret: &[u8]| Ok(SharedSecret::from(secret));
        agreement::agree_ephemeral(self.private, peer, invalid(), shared)
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}
