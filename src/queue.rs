//! From one thread to another: a queue that a thread can wait for, and that can wake a reactor.
//!
//! Knows whether either end is gone. The [`Store`] knows the items, and bounds their number.

pub(crate) mod notifications;
pub(crate) mod requests;

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, TryRecvError},
    },
    time::Duration,
};

use mio::Waker;

/// The items that wait in a [`Queue`]. A store bounds itself.
pub(crate) trait Store {
    type Item;

    fn pop(&mut self) -> Option<Self::Item>;

    fn is_empty(&self) -> bool;
}

/// Items on their way from one thread to another.
pub(crate) struct Queue<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    store: S,
    /// One of the two ends is gone.
    closed: bool,
    waker: Option<Arc<Waker>>,
}

impl<S: Store> Queue<S> {
    pub(crate) fn new(store: S) -> Self {
        let state = State {
            store,
            closed: false,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Lets `put` add to the store; `None`, without a call of it, when an end is gone.
    pub(crate) fn put<R>(&self, put: impl FnOnce(&mut S) -> R) -> Option<R> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let was_empty = state.store.is_empty();
        let result = put(&mut state.store);
        if !state.store.is_empty() {
            self.changed.notify_one();
            if let (true, Some(waker)) = (was_empty, &state.waker) {
                // An error means that the poll is gone, and then no reactor is left to be woken.
                let _woken = waker.wake();
            }
        }
        Some(result)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().store.is_empty()
    }

    /// From now on, wakes a reactor whenever an item arrives in the empty queue.
    pub(crate) fn attach(&self, waker: Option<Arc<Waker>>) {
        self.lock().waker = waker;
    }

    pub(crate) fn recv(&self) -> Option<S::Item> {
        let waited = self.changed.wait_while(self.lock(), State::is_pending);
        waited.unwrap_or_else(PoisonError::into_inner).store.pop()
    }

    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<S::Item, RecvTimeoutError> {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, State::is_pending);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.store.pop() {
            Some(item) => Ok(item),
            None if state.closed => Err(RecvTimeoutError::Disconnected),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    pub(crate) fn try_recv(&self) -> Result<S::Item, TryRecvError> {
        let mut state = self.lock();
        match state.store.pop() {
            Some(item) => Ok(item),
            None if state.closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// The sending end is gone: the items that wait can still be received.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The receiving end is gone: the items that wait are dropped.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        while state.store.pop().is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> State<S> {
    fn is_pending(&mut self) -> bool {
        self.store.is_empty() && !self.closed
    }
}

impl<S> fmt::Debug for Queue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
