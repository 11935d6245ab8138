//! From the configuration to what a handshake needs.
//!
//! Reads the files that are named; knows no client.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer},
    server::{NoServerSessionStorage, ProducesTickets},
};

use super::{super::tls::provider, pairs::Pairs};
use crate::config::{TlsConfig, TlsConfigError};

/// What is needed to speak TLS with clients.
#[derive(Debug)]
pub(crate) struct TlsSetup {
    pub(super) config: Arc<ServerConfig>,
    pub(super) is_for_admin: bool,
    ends_at: Option<u64>,
}

impl TlsSetup {
    /// Reads the files; `None` if clients are to speak in clear text.
    ///
    /// # Errors
    ///
    /// A file cannot be read, a pair is none, or an option stands alone.
    pub(crate) fn read(tls: &TlsConfig) -> Result<Option<Self>, TlsConfigError> {
        if !tls.is_on() {
            return match (tls.keys.is_empty(), tls.admin) {
                (false, _) => Err(TlsConfigError::Alone("--tls-key")),
                (true, true) => Err(TlsConfigError::Alone("--admin-tls")),
                (true, false) => Ok(None),
            };
        }
        let source = Source::new(tls)?;
        source.setup().map(Some)
    }

    /// When the first certificate ends, in seconds since 1970.
    pub(in crate::reactor) fn ends_at(&self) -> Option<u64> {
        self.ends_at
    }
}

/// The files, and what outlives each reading of them.
#[derive(Debug)]
struct Source {
    tls: TlsConfig,
    provider: Arc<CryptoProvider>,
    /// Its keys are this process's own, and change every six hours.
    ticketer: Arc<dyn ProducesTickets>,
}

impl Source {
    fn new(tls: &TlsConfig) -> Result<Self, TlsConfigError> {
        let (certificates, keys) = (tls.certificates.len(), tls.keys.len());
        if certificates != keys {
            return Err(TlsConfigError::Uneven(certificates, keys));
        }
        Ok(Self {
            tls: tls.clone(),
            provider: Arc::new(provider()),
            ticketer: Ticketer::new().map_err(|_| TlsConfigError::Random)?,
        })
    }

    fn setup(&self) -> Result<TlsSetup, TlsConfigError> {
        let Self { tls, provider, .. } = self;
        let files = tls.certificates.iter().zip(&tls.keys);
        let files = files.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let pairs = Pairs::read(files, provider, now())?;
        let ends_at = pairs.ends_at();
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has methods for each version");
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(pairs));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A ticket carries all: nothing is remembered for clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.ticketer);
        config.send_tls13_tickets = 1;
        Ok(TlsSetup {
            config: Arc::new(config),
            is_for_admin: tls.admin,
            ends_at,
        })
    }
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |it| it.as_secs())
}

/// The one protocol that is spoken (RFC 7301, 6; RFC 8441 is not).
const ALPN: &[u8] = b"http/1.1";
