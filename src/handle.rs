//! What a running reactor shares with other threads: that it shall stop, and where it listens.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::Waker;

/// Stops a running [`Bridge`](crate::Bridge) or [`WebSocketServer`](crate::WebSocketServer) and
/// tells where it listens, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks for the end: clients are closed with 1001, publishes under way get two seconds.
    /// Also takes effect if the server has not started yet.
    pub fn stop(&self) {
        self.shared.stop_requested.store(true, Ordering::SeqCst);
        self.shared.wake();
    }

    /// The address clients connect to. Waits until it is bound; `None` if the server ended
    /// without.
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

/// The one server of its handles: when it is dropped, started or not, nobody waits any more.
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
            // It fails only when the poll is gone, and then nobody is left to be woken.
            let _woken = waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
