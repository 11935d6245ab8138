//! A build without TLS has no crypto library: what is left is to say so.
//!
//! The same names as in `key.rs`, of which no key can exist.

use std::convert::Infallible;

use super::{Algorithm, KeyFault};

#[derive(Clone, Debug)]
pub(super) struct Verifier(Infallible);

impl Verifier {
    pub(super) fn secret(_secret: &[u8]) -> Result<Self, KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn rsa(_algorithm: Algorithm, _n: &[u8], _e: &[u8]) -> Result<Self, KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn p256(_x: &[u8], _y: &[u8]) -> Result<Self, KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn ed25519(_x: &[u8]) -> Result<Self, KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn pem(_text: &[u8]) -> Result<(Algorithm, Self), KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn is_public_der(_bytes: &[u8]) -> bool {
        false
    }

    pub(super) fn verify(&self, _message: &[u8], _signature: &[u8]) -> bool {
        match self.0 {}
    }
}
