//! A build without TLS has no crypto library: what is left is to say so.
//!
//! The same names as in `key.rs`, of which no key can exist.

use serde_json::{Map, Value};

use super::KeyFault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {}

pub(super) fn algorithm_named(_name: &str) -> Option<Algorithm> {
    None
}

#[derive(Clone, Debug)]
pub(super) enum Verifier {}

impl Verifier {
    pub(super) fn of_file(_file: &[u8]) -> Result<Self, KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn of_jwk(
        _jwk: &Map<String, Value>,
    ) -> Result<Option<(Option<String>, Self)>, KeyFault> {
        Err(KeyFault::NotBuilt)
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match *self {}
    }

    pub(super) fn is_secret(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_same(&self, _other: &Self) -> bool {
        match *self {}
    }

    pub(super) fn verify(&self, _message: &[u8], _signature: Vec<u8>) -> bool {
        match *self {}
    }
}
