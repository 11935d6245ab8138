//! The state that a running reactor shares with other threads: its orders and its address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::Waker;

/// Stops a running [`Bridge`](crate::Bridge) or [`WebSocketServer`](crate::WebSocketServer) and
/// returns its address, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Requests a stop: clients are closed with 1001, publishes under way get two seconds. Takes
    /// effect even if the server has not started yet.
    pub fn stop(&self) {
        self.shared.stop_requested.store(true, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Requests a stop after `span`: until then `/readyz` says 503, upgrades get 503, and each
    /// client is served until it is closed with 1001 at a random time. At most
    /// [`BridgeConfig::DRAIN_MAX`](crate::BridgeConfig::DRAIN_MAX); a span of zero is
    /// [`stop`](Self::stop). Takes effect even if the server has not started yet.
    pub fn drain(&self, span: Duration) {
        if span.is_zero() {
            self.stop();
        } else {
            self.shared.lock().drain_requested = Some(span);
            self.shared.wake();
        }
    }

    /// The address for clients. Blocks until it is bound; `None` if the server ended before that.
    /// [`RunningBridge::local_addr`](crate::RunningBridge::local_addr) blocks nobody.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let mut state = self.shared.lock();
        loop {
            match state.address {
                Address::Unbound => {
                    let waited = self.shared.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Address::Bound(address) => return Some(address),
                Address::Ended => return None,
            }
        }
    }
}

/// Where clients of this address find the server: an address that stands for all of the machine's
/// is replaced by the loopback, which is sure to lead there.
pub(crate) fn ws_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("ws://{address}")
}

/// The one server of its handles: dropping it, started or not, ends every wait.
#[derive(Debug, Default)]
pub(crate) struct Owner(pub(crate) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.detach();
    }
}

/// The reactor's side.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop_requested: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waker: Option<Arc<Waker>>,
    address: Address,
    drain_requested: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Address {
    #[default]
    Unbound,
    Bound(SocketAddr),
    Ended,
}

impl Shared {
    /// The reactor listens and can be woken.
    pub(crate) fn attach(&self, waker: Arc<Waker>, address: SocketAddr) {
        let mut state = self.lock();
        state.waker = Some(waker);
        state.address = Address::Bound(address);
        let is_drain_requested = state.drain_requested.is_some();
        drop(state);
        self.changed.notify_all();
        if self.is_stop_requested() || is_drain_requested {
            self.wake();
        }
    }

    /// The reactor is gone.
    fn detach(&self) {
        *self.lock() = State {
            waker: None,
            address: Address::Ended,
            drain_requested: None,
        };
        self.changed.notify_all();
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::SeqCst)
    }

    /// The span of a drain that was requested since the last call.
    pub(crate) fn take_drain(&self) -> Option<Duration> {
        self.lock().drain_requested.take()
    }

    pub(crate) fn waker(&self) -> Option<Arc<Waker>> {
        self.lock().waker.clone()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker() {
            // An error means that the poll is gone, and then no reactor is left to be woken.
            let _woken = waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_wildcard_address_is_that_of_the_loopback() {
        for (address, url) in [
            ("127.0.0.1:80", "ws://127.0.0.1:80"),
            ("0.0.0.0:9", "ws://127.0.0.1:9"),
            ("[::]:9", "ws://[::1]:9"),
            ("10.0.0.1:9", "ws://10.0.0.1:9"),
        ] {
            assert_eq!(ws_url(address.parse().unwrap()), url);
        }
    }
}
