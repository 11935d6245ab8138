//! Names to addresses, on a thread of its own: the system's resolver blocks.

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

/// A resolution under way; dropped, its result is forgotten.
#[derive(Debug)]
pub(super) struct Resolution {
    result: mpsc::Receiver<io::Result<Vec<SocketAddr>>>,
}

impl Resolution {
    /// Asks the system's resolver; `waker` is woken when it answered.
    pub(super) fn start(host: &str, port: u16, waker: Arc<Waker>) -> io::Result<Self> {
        let (sender, result) = mpsc::sync_channel(1);
        let host = host.to_owned();
        thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || {
                let addresses = (host.as_str(), port)
                    .to_socket_addrs()
                    .map(Iterator::collect);
                // Nobody waits any more if the attempt was given up.
                if sender.send(addresses).is_ok() {
                    let _woken = waker.wake();
                }
            })?;
        Ok(Self { result })
    }

    /// The addresses, once they are known.
    pub(super) fn poll(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => {
                Some(Err(io::Error::other("the resolver's thread ended")))
            }
        }
    }
}
