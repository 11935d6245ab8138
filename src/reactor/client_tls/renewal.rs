//! Certificates are read again while clients are served: when somebody asks, and when their files
//! have changed.
//!
//! Owns a thread, which waits, and reads files so that the loop never does; it rotates the keys of
//! tickets as well. Knows nothing of what
//! becomes of a reading.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use mio::Waker;

use super::setup::{Source, TlsSetup};
use crate::config::TlsConfigError;

/// The thread, as long as this lives.
pub(super) struct Renewal {
    asked: Sender<()>,
    read: Arc<Mutex<Option<Reading>>>,
}

/// What a reading came to.
type Reading = Result<TlsSetup, TlsConfigError>;

impl Renewal {
    /// Looks at the files of `source` at this interval, and wakes the loop after each reading.
    pub(super) fn start(
        mut source: Source,
        interval: Duration,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let (asked, asking) = mpsc::channel();
        let read = Arc::default();
        let renewal = Self {
            asked,
            read: Arc::clone(&read),
        };
        // Before the thread has begun, somebody may have replaced them already.
        let mut seen = source.contents();
        thread::Builder::new()
            .name("alle certificates".to_owned())
            .spawn(move || {
                loop {
                    let is_asked = match asking.recv_timeout(interval) {
                        Ok(()) => true,
                        Err(RecvTimeoutError::Timeout) => false,
                        Err(RecvTimeoutError::Disconnected) => return,
                    };
                    source.rotate_ticket_keys_when_due(Instant::now());
                    let contents = source.contents();
                    if !is_asked && contents == seen {
                        continue;
                    }
                    seen = contents;
                    let reading = source.setup();
                    *read.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
                    if waker.wake().is_err() {
                        return;
                    }
                }
            })?;
        Ok(renewal)
    }

    /// Reads the files now, changed or not.
    pub(super) fn ask(&self) {
        // An error means that the thread has ended, since the loop did.
        let _ended = self.asked.send(());
    }

    /// The last reading, once.
    pub(super) fn poll(&self) -> Option<Reading> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.take()
    }
}

/// Between two looks at the files.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::fs;

    use mio::{Events, Poll, Token};
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::BridgeConfig;

    /// A link to one directory and then to another, as Kubernetes replaces a secret.
    #[test]
    fn a_change_is_seen_through_links_and_a_wrong_pair_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, of_other: bool| {
            fs::create_dir(path(name)).unwrap();
            let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap().pem();
            let key = if of_other { other } else { key };
            fs::write(path(name).join("crt"), certificate).unwrap();
            fs::write(path(name).join("key"), key.serialize_pem()).unwrap();
        };
        let turn_to = |name: &str| {
            std::os::unix::fs::symlink(path(name), path("next")).unwrap();
            fs::rename(path("next"), path("now")).unwrap();
        };
        write("first", false);
        turn_to("first");
        let config = BridgeConfig::new("", "").with_tls(path("now/crt"), path("now/key"));
        let source = Source::new(&config.tls, None).unwrap();
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let interval = Duration::from_millis(1);
        let renewal = Renewal::start(source, interval, waker).unwrap();
        let mut next = || loop {
            let mut events = Events::with_capacity(1);
            poll.poll(&mut events, Some(Duration::from_secs(60)))
                .unwrap();
            assert!(!events.is_empty(), "nothing was read");
            if let Some(reading) = renewal.poll() {
                return reading;
            }
        };
        write("second", false);
        turn_to("second");
        assert!(next().is_ok());
        write("wrong", true);
        turn_to("wrong");
        let error = next().err().unwrap().to_string();
        assert!(error.contains("not the key of the certificate"), "{error}");
        // What has not changed is not told again, unless somebody asks.
        renewal.ask();
        assert!(next().is_err());
        turn_to("second");
        assert!(next().is_ok());
    }
}
