//! What is needed to connect, on a thread of its own: the system's resolver and its files block.
//!
//! Knows one server and one attempt; which server, and when again, is the backend's.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that resolves names, off the reactor"
)]

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, mpsc},
    thread,
};

use mio::Waker;

use super::tls::{Connector, TlsError};
use crate::{
    backend::Encryption,
    pg::config::{Host, Server, Tls},
};

/// A resolution under way; dropped, its result is forgotten.
#[derive(Debug)]
pub(super) struct Resolution {
    result: mpsc::Receiver<Result<Resolved, Unresolved>>,
}

/// What is needed to connect to one server.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) addresses: Vec<SocketAddr>,
    /// Where TLS is wanted.
    pub(super) connector: Option<Connector>,
}

/// Why it is not known.
#[derive(Debug)]
pub(super) enum Unresolved {
    Name(io::Error),
    Tls(TlsError),
}

impl Resolution {
    /// Asks the system's resolver and reads what TLS needs; `waker` is woken when that is done.
    pub(super) fn start(
        server: &Server,
        tls: &Tls,
        encryption: Encryption,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let (sender, result) = mpsc::sync_channel(1);
        let (server, tls) = (server.clone(), tls.clone());
        thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || {
                let resolved = resolve(&server, &tls, encryption);
                // Nobody waits any more if the attempt was given up.
                if sender.send(resolved).is_ok() {
                    let _woken = waker.wake();
                }
            })?;
        Ok(Self { result })
    }

    /// What was found out, once it is known.
    pub(super) fn poll(&self) -> Option<Result<Resolved, Unresolved>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Err(Unresolved::Name(io::Error::other(
                "the resolver's thread ended",
            )))),
        }
    }
}

fn resolve(server: &Server, tls: &Tls, encryption: Encryption) -> Result<Resolved, Unresolved> {
    let addresses = match (server.address, &server.host) {
        (Some(address), _) => vec![SocketAddr::new(address, server.port)],
        (None, Host::Tcp(host)) => (host.as_str(), server.port)
            .to_socket_addrs()
            .map_err(Unresolved::Name)?
            .collect(),
        (None, Host::Unix(_)) => Vec::new(),
    };
    let connector = match encryption {
        Encryption::None => None,
        Encryption::Offered | Encryption::Required => {
            Some(Connector::new(tls, server).map_err(Unresolved::Tls)?)
        }
    };
    Ok(Resolved {
        addresses,
        connector,
    })
}
