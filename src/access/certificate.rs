//! A client known by a certificate of its own.
//!
//! A browser adds it by itself, for whichever page: whether it counts is the origin's to decide, as for a
//! cookie. Knows no certificate: others have verified it, and say whose it is and when it ends.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use super::{Credential, Grant};

/// What a certificate grants: the permissions of everybody, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateGrant {
    identity: Box<str>,
}

impl CertificateGrant {
    /// Whose the certificate is.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

impl Credential {
    /// Of a certificate whose holder has this name, up to its end, as the time since 1970.
    pub fn of_certificate(identity: &str, ends_at: Duration) -> Self {
        let milliseconds = u64::try_from(ends_at.as_millis()).unwrap_or(u64::MAX);
        Self {
            grant: Grant::Certificate(Arc::new(CertificateGrant {
                identity: identity.into(),
            })),
            ends_at: NonZeroU64::new(milliseconds),
        }
    }
}
