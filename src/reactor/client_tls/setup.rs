//! From the configuration to what a handshake needs.
//!
//! Reads the files that are named; knows no client.

use std::{path::Path, sync::Arc, time::SystemTime};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer},
    server::{
        NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
};

use super::{
    super::tls::provider,
    pairs::{self, Pairs},
};
use crate::{
    config::{ClientAuth, TlsConfig, TlsConfigError},
    regular_file,
};

/// What is needed to speak TLS with clients.
#[derive(Debug)]
pub(crate) struct TlsSetup {
    /// At the address of clients.
    pub(super) config: Arc<ServerConfig>,
    /// At the admin address, where that is to speak TLS: nobody is asked for a certificate there.
    pub(super) admin: Option<Arc<ServerConfig>>,
    ends_at: Option<u64>,
}

impl TlsSetup {
    /// When the first certificate ends, in seconds since 1970.
    pub(in crate::reactor) fn ends_at(&self) -> Option<u64> {
        self.ends_at
    }
}

/// Where TLS with clients comes from.
#[derive(Debug)]
pub(crate) struct TlsSource {
    pub(super) setup: TlsSetup,
    /// For the next reading.
    pub(super) source: Source,
}

impl TlsSource {
    /// Reads the files; `None` if clients are to speak in clear text.
    ///
    /// # Errors
    ///
    /// A file cannot be read, a pair is none, or an option stands alone.
    pub(crate) fn read(tls: &TlsConfig) -> Result<Option<Self>, TlsConfigError> {
        tls.check()?;
        if !tls.is_on() {
            return Ok(None);
        }
        let source = Source::new(tls)?;
        let setup = source.setup()?;
        Ok(Some(Self { setup, source }))
    }
}

/// The files, and what outlives each reading of them.
#[derive(Debug)]
pub(super) struct Source {
    tls: TlsConfig,
    provider: Arc<CryptoProvider>,
    /// Its keys are this process's own, and change every six hours.
    ticketer: Arc<dyn ProducesTickets>,
}

impl Source {
    pub(super) fn new(tls: &TlsConfig) -> Result<Self, TlsConfigError> {
        Ok(Self {
            tls: tls.clone(),
            provider: Arc::new(provider()),
            ticketer: ticketer()?,
        })
    }

    /// The bytes of all files, as far as they can be read: two readings with the same are the same.
    pub(super) fn contents(&self) -> Vec<Option<Vec<u8>>> {
        let TlsConfig {
            certificates,
            keys,
            client_ca,
            ..
        } = &self.tls;
        let paths = certificates.iter().chain(keys).chain(client_ca);
        let contents = paths.map(|path| regular_file::read(path, pairs::BYTES_MAX).ok());
        contents.map(|read| read.map(|(bytes, _)| bytes)).collect()
    }

    /// Reads all of them.
    pub(super) fn setup(&self) -> Result<TlsSetup, TlsConfigError> {
        let Self { tls, provider, .. } = self;
        let files = tls.certificates.iter().zip(&tls.keys);
        let files = files.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let pairs = Arc::new(Pairs::read(files, provider, now())?);
        let verifier = match &tls.client_ca {
            Some(path) => self.verifier(path)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = self.config(&pairs, verifier);
        if tls.client_ca.is_some() {
            // A client that comes again with a ticket is not asked for its certificate: one of before
            // does not count where the authorities may be others.
            config.ticketer = ticketer()?;
        }
        let admin = tls.admin.then(|| {
            let mut admin = self.config(&pairs, WebPkiClientVerifier::no_client_auth());
            // A ticket of the admin address has no certificate in it, and is good there alone.
            admin.ticketer = Arc::clone(&self.ticketer);
            Arc::new(admin)
        });
        Ok(TlsSetup {
            config: Arc::new(config),
            admin,
            ends_at: pairs.ends_at(),
        })
    }

    fn config(&self, pairs: &Arc<Pairs>, verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has methods for each version");
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::<Pairs>::clone(pairs));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A ticket carries all: nothing is remembered for clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.ticketer);
        config.send_tls13_tickets = 1;
        config
    }

    fn verifier(&self, path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
        let failed = |cause: String| TlsConfigError::File {
            option: "--tls-client-ca",
            path: path.to_owned(),
            cause,
        };
        let mut roots = RootCertStore::empty();
        for authority in pairs::certificates("--tls-client-ca", path)? {
            let added = roots.add(authority);
            added.map_err(|_| {
                failed("a certificate in it cannot be one of an authority".to_owned())
            })?;
        }
        let provider = Arc::clone(&self.provider);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.tls.client_auth {
            ClientAuth::Require => builder,
            ClientAuth::Allow => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| failed(error.to_string()))
    }
}

fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsConfigError> {
    Ticketer::new().map_err(|_| TlsConfigError::Random)
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |it| it.as_secs())
}

/// The one protocol that is spoken (RFC 7301, 6; RFC 8441 is not).
const ALPN: &[u8] = b"http/1.1";
