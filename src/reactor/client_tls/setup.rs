//! From the configuration to what a handshake needs.
//!
//! Reads the files that are named; knows no client.

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    super::tls::provider,
    pairs::{self, Pairs},
    tickets::Tickets,
};
use crate::{
    config::{ClientAuth, TlsConfig, TlsConfigError},
    regular_file,
    ticket_keys::{Key, ROTATION, SharedTicketKeys, TicketKeys},
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
    /// Reads the files; `None` if clients are to speak in clear text. `keys` are those of tickets where
    /// somebody else has them and rotates them.
    ///
    /// # Errors
    ///
    /// A file cannot be read, a pair is none, or an option stands alone.
    pub(crate) fn read(
        tls: &TlsConfig,
        keys: Option<SharedTicketKeys>,
    ) -> Result<Option<Self>, TlsConfigError> {
        tls.check()?;
        if !tls.is_on() {
            return Ok(None);
        }
        let source = Source::new(tls, keys)?;
        let setup = source.setup()?;
        Ok(Some(Self { setup, source }))
    }
}

/// The files, and what outlives each reading of them.
#[derive(Debug)]
pub(super) struct Source {
    tls: TlsConfig,
    provider: Arc<CryptoProvider>,
    ticket_keys: SharedTicketKeys,
    /// Where they are this process's own.
    rotate_at: Option<Instant>,
}

impl Source {
    pub(super) fn new(
        tls: &TlsConfig,
        keys: Option<SharedTicketKeys>,
    ) -> Result<Self, TlsConfigError> {
        let (ticket_keys, rotate_at) = match keys {
            Some(keys) => (keys, None),
            None => {
                let keys = TicketKeys::new(random).map_err(|_| TlsConfigError::Random)?;
                let rotate_at = Instant::now() + ROTATION;
                (SharedTicketKeys::new(keys), Some(rotate_at))
            }
        };
        Ok(Self {
            tls: tls.clone(),
            provider: Arc::new(provider()),
            ticket_keys,
            rotate_at,
        })
    }

    /// Goes on to the next key of tickets, if that is due and ours to decide.
    pub(super) fn rotate_ticket_keys_when_due(&mut self, now: Instant) {
        if self.rotate_at.is_none_or(|at| now < at) {
            return;
        }
        // Without a random number the keys stay until there is one.
        if let Ok(next) = random() {
            let mut keys = self.ticket_keys.now();
            keys.rotate(next);
            self.ticket_keys.set(keys);
            self.rotate_at = Some(now + ROTATION);
        }
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
        // A client that comes again with a ticket is not asked for its certificate: a ticket counts only
        // where the authorities are the same, and so is the answer to clients without a certificate.
        let (verifier, purpose) = match &tls.client_ca {
            Some(path) => self.verifier(path)?,
            None => (WebPkiClientVerifier::no_client_auth(), b"nobody".to_vec()),
        };
        let config = self.config(&pairs, verifier, &purpose);
        let admin = tls.admin.then(|| {
            // A ticket of the admin address has no certificate in it, and is good there alone.
            let verifier = WebPkiClientVerifier::no_client_auth();
            Arc::new(self.config(&pairs, verifier, b"admin"))
        });
        Ok(TlsSetup {
            config: Arc::new(config),
            admin,
            ends_at: pairs.ends_at(),
        })
    }

    fn config(
        &self,
        pairs: &Arc<Pairs>,
        verifier: Arc<dyn ClientCertVerifier>,
        purpose: &[u8],
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has methods for each version");
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::<Pairs>::clone(pairs));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A ticket carries all: nothing is remembered for clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Tickets::new(self.ticket_keys.clone(), purpose));
        config.send_tls13_tickets = 1;
        config
    }

    /// Who verifies clients, and all that decides which of them may come.
    fn verifier(
        &self,
        path: &Path,
    ) -> Result<(Arc<dyn ClientCertVerifier>, Vec<u8>), TlsConfigError> {
        let failed = |cause: String| TlsConfigError::File {
            option: "--tls-client-ca",
            path: path.to_owned(),
            cause,
        };
        let mut roots = RootCertStore::empty();
        let mut purpose = format!("{:?}", self.tls.client_auth).into_bytes();
        for authority in pairs::certificates("--tls-client-ca", path)? {
            purpose.extend_from_slice(&authority);
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
        let verifier = builder.build();
        let verifier = verifier.map_err(|error| failed(error.to_string()))?;
        Ok((verifier, purpose))
    }
}

fn random() -> Result<Key, aws_lc_rs::error::Unspecified> {
    let mut key = Key::default();
    aws_lc_rs::rand::fill(&mut key)?;
    Ok(key)
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |it| it.as_secs())
}

/// The one protocol that is spoken (RFC 7301, 6; RFC 8441 is not).
const ALPN: &[u8] = b"http/1.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_tickets_are_rotated_by_whoever_made_them() {
        let tls = TlsConfig::default();
        let mut own = Source::new(&tls, None).unwrap();
        let began = Instant::now();
        let before = own.ticket_keys.now();
        own.rotate_ticket_keys_when_due(began);
        assert_eq!(own.ticket_keys.now(), before);
        own.rotate_ticket_keys_when_due(began + ROTATION);
        let after = own.ticket_keys.now();
        assert_eq!(after.all()[1..], before.all()[..2]);
        own.rotate_ticket_keys_when_due(began + ROTATION);
        assert_eq!(own.ticket_keys.now(), after);
        let shared = SharedTicketKeys::new(after.clone());
        let mut of_parent = Source::new(&tls, Some(shared.clone())).unwrap();
        of_parent.rotate_ticket_keys_when_due(began + 2 * ROTATION);
        assert_eq!(shared.now(), after);
    }
}
