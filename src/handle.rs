//! The state that a running reactor shares with other threads: its stop request and its address.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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

    /// The address for clients. Waits until it is bound; `None` if the server ended before that.
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
        drop(state);
        self.changed.notify_all();
        if self.is_stop_requested() {
            self.wake();
        }
    }

    /// The reactor is gone.
    fn detach(&self) {
        *self.lock() = State {
            waker: None,
            address: Address::Ended,
        };
        self.changed.notify_all();
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::SeqCst)
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
